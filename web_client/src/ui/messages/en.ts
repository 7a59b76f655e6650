/**
 * Every word of the interface, English. Another language is a file like this one; `Words` keeps them complete.
 * Accessible names marked (name) are a contract: assistive technology, habits and tests use them.
 */
import type { Figures as CheckFigures, Verdict, Way } from '../../call/network_check';
import type { Direction, Figures, Grade } from '../../call/quality';
import type { EndReason } from '../../call/state';
import type { CaptureProblem, Kind } from '../../devices/capture';
import type { SessionEvent } from '../../room/state';

export interface Problem {
  title: string;
  text: string;
  next: string;
}

const problems = {
  unauthenticated: {
    title: 'You are not logged in here',
    text: 'This page belongs to people who have entered with their personal link.',
    next: 'Open your personal link once more on this device. If it does not work any longer, ask the person who invited you for a new one.',
  },
  not_found: {
    title: 'There is nothing here for you',
    text: 'This room does not exist, or you are not one of the people it belongs to.',
    next: 'Check the address, or go to the list of your rooms.',
  },
  gone: {
    title: 'This link has been used already, or it has expired',
    text: 'A personal link lets one person in, once, within seven days.',
    next: 'Ask the person who invited you for a new one. It takes them a moment: “telementor link” makes it.',
  },
  limited: {
    title: 'One moment, please',
    text: 'There were too many attempts in a short time.',
    next: 'Wait a minute and try again.',
  },
  unavailable: {
    title: 'The server cannot answer at the moment',
    text: 'Nothing is lost. It is usually back within a minute.',
    next: 'Try again in a moment.',
  },
  invalid: {
    title: 'This link is not complete',
    text: 'A part of it may have been lost on the way, for example in a line break of an email.',
    next: 'Copy the whole link and open it again, or ask for a new one.',
  },
  logged_out: {
    title: 'You are logged out',
    text: 'This tab does not take part any longer.',
    next: 'Open your personal link to come back.',
  },
  removed: {
    title: 'This room is closed for you',
    text: 'You are not one of the people of this room any longer, or your log-in was ended.',
    next: 'If that is not what you expect, ask the person who invited you.',
  },
} satisfies Record<string, Problem>;

const deviceNames = { audio: 'microphone', video: 'camera' };

function deviceProblem(kind: Kind, problem: CaptureProblem): string {
  const device = deviceNames[kind];
  const sentences: Record<CaptureProblem, string> = {
    denied: `Your browser does not let this page use the ${device}. Allow it in the address bar, then choose “Check camera and microphone”.`,
    dismissed: `Your browser asked whether this page may use the ${device}, and the question was closed. Choose “Check camera and microphone” and allow it.`,
    system: `Your system does not let the browser use the ${device}. Allow it in the privacy settings of your computer or phone, then come back here.`,
    policy: `The rules of this browser do not allow the ${device}. Ask whoever looks after this device, or use another one.`,
    busy: `Another program is using the ${device}. Close it there, then choose “Check camera and microphone”.`,
    stuck: `The ${device} is there, but it did not start. Close other programs that may use it or plug it in again, then choose “Check camera and microphone”.`,
    inactive: `The ${device} could not start while this page was not in front. Choose “Check camera and microphone”.`,
    muted: {
      audio:
        'Your microphone is silenced by a phone call, another program or a key on the device. You are heard again as soon as that ends.',
      video:
        'Your camera is held back by a phone call, another program or a switch on the device. You are seen again as soon as that ends.',
    }[kind],
    frozen: {
      audio: 'No sound comes from your microphone. Plug it in again, or choose another one in the settings.',
      video: 'No picture comes from your camera. Plug it in again, or choose another one in the settings.',
    }[kind],
    missing: `No ${device} was found. Plug one in, or take part without it.`,
    gone: `The ${device} is not connected any longer. Plug it in again, or another one: it is used by itself.`,
    insecure: `The ${device} works only on a secure page. Open this room with https:// in the address.`,
    unsupported: `This browser cannot use a ${device} here. Try a current Chrome, Edge, Firefox or Safari.`,
    unanswered: `Your browser is still asking whether this page may use the ${device}. It joins in as soon as you allow it.`,
    failed: `The ${device} could not be started. Unplug it and plug it in again, or restart the browser.`,
  };
  return sentences[problem];
}

/** Both for the same reason: one sentence. Null: each has its own. */
function bothProblem(problem: CaptureProblem): string | null {
  const sentences: Partial<Record<CaptureProblem, string>> = {
    denied:
      'Your browser does not let this page use the camera and the microphone. Allow them in the address bar, then choose “Check camera and microphone”.',
    dismissed:
      'Your browser asked whether this page may use the camera and the microphone, and the question was closed. Choose “Check camera and microphone” and allow them.',
    system:
      'Your system does not let the browser use the camera and the microphone. Allow them in the privacy settings of your computer or phone, then come back here.',
    busy: 'Another program is using the camera and the microphone. Close it there, then choose “Check camera and microphone”.',
    missing: 'No camera and no microphone was found. Plug one in, or take part without.',
    insecure:
      'Camera and microphone work only on a secure page. Open this room with https:// in the address.',
    unsupported:
      'This browser cannot use a camera or a microphone here. Try a current Chrome, Edge, Firefox or Safari.',
  };
  return sentences[problem] ?? null;
}

function ended(reason: EndReason, name: (person: string) => string): string {
  switch (reason.kind) {
    case 'left':
      return 'You left the call.';
    case 'partner_left':
      return `${name(reason.person)} left the call.`;
    case 'over':
      return 'The call is over.';
    case 'moved':
      return 'The call moved to another tab or device of yours.';
    case 'replaced':
      return 'The call goes on in the other tab.';
    case 'revoked':
      return 'The call ended because your log-in was ended.';
    case 'refused':
      return `The call could not be joined. ${reason.error.message}`;
  }
}

const ways: Record<Way, string> = {
  direct: '',
  direct_only:
    'This server has no relay: a call works only if the network on the other side allows direct connections too.',
  relay_refused:
    'The relay, which other networks may need, refused its key. Please tell the person who runs this server.',
  relay_silent: 'The relay, which other networks may need, could not be reached from here.',
  relay_needed: 'Your network blocks direct connections: the call will go through the relay, which works.',
  relay_by_rule: 'The call will go through the relay, as this programme wants it.',
};

function verdict(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'all':
      return `Video and sound will work. ${ways[verdict.way]}`.trim();
    case 'sound_only': {
      const why = {
        no_picture: 'no picture came back.',
        loss: 'too much is lost on the way for a picture.',
        slow: 'your connection is too slow for a picture.',
      }[verdict.why];
      return `Sound only: ${why} ${ways[verdict.way]}`.trim();
    }
    case 'poor':
      return 'Your connection is too poor to talk well. Go nearer to your Wi-Fi, or try another network. Writing works.';
    case 'nothing':
      return {
        no_relay:
          'A call will not work from here: no direct connection came about, and this server has no relay. Try another network, such as your phone.',
        relay_refused:
          'A call will not work from here: no direct connection came about, and the relay refused its key. Please tell the person who runs this server.',
        relay_silent:
          'A call will not work from here: neither a direct connection nor the relay could be reached. Try another network, such as your phone.',
        relay_useless:
          'A call may not work from here: the relay was reached, but nothing came through it. Try another network, such as your phone.',
      }[verdict.why];
    case 'busy':
      return 'Too many checks are running at the moment. You can still enter.';
    case 'no_answer':
      return 'The server did not answer the check. You can still enter, or check again.';
    case 'unsupported':
      return 'This browser cannot hold a call. Try a current Chrome, Edge, Firefox or Safari.';
  }
}

function figures({ roundTripMs, lossShare, relay }: CheckFigures): string {
  const way = { udp: 'through the relay', tcp: 'through the relay (TCP)', tls: 'through the relay (TLS)' };
  return [
    roundTripMs === null ? '' : `Round trip ${Math.max(1, Math.round(roundTripMs))} ms`,
    `loss ${Math.round(lossShare * 100)} %`,
    relay === null ? 'direct' : way[relay],
  ]
    .filter((part) => part !== '')
    .join(' · ');
}

function duration(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (seconds < 60) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  return minutes === 1 ? '1 minute' : `${minutes} minutes`;
}

function hours(count: number): string {
  return count === 1 ? '1 hour' : `${count} hours`;
}

function sign(days: number): string {
  return days < 0 ? '−' : '+';
}

// What people are told of the connection: words first, then figures.

const grades: Record<Grade, string> = { good: 'good', fair: 'fair', weak: 'weak' };
const protocols = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };
const limitations = { cpu: 'by this computer, which is busy', bandwidth: 'by the link' };

/** Figures of a direction; what the browser does not tell is missing. */
function size({ picture }: Direction): string | null {
  return picture && `${picture.width}×${picture.height}`;
}

function rate({ bitsPerS }: Direction): string | null {
  if (bitsPerS === null) return null;
  if (bitsPerS >= 1_000_000) return `${(bitsPerS / 1_000_000).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerS / 1_000)} kbit/s`;
}

function frames({ picture }: Direction): string | null {
  return picture && picture.framesPerS !== null ? `${Math.round(picture.framesPerS)}` : null;
}

function percent(share: number | null): string | null {
  return share === null ? null : `${Math.round(share * 100)} %`;
}

function roundTrip({ roundTripMs }: Figures): string | null {
  return roundTripMs === null ? null : `${Math.round(roundTripMs)} ms`;
}

function qualityInWords(figures: Figures, name: string): string[] {
  const reaches = size(figures.sent);
  const arrives = size(figures.received);
  const lost = percent(Math.max(figures.sent.lossShare ?? 0, figures.received.lossShare ?? 0));
  const link = [roundTrip(figures), `${lost} loss`].filter((one) => one !== null).join(', ');
  const path = { direct: ' Direct.', relay: ' Over a relay.' };
  return [
    reaches && `Your picture reaches ${name} in ${reaches}.`,
    arrives && `${name}’s picture reaches you in ${arrives}.`,
    `Your link: ${link}.${figures.path ? path[figures.path] : ''}`,
    figures.sent.limitation && `Your picture is limited ${limitations[figures.sent.limitation]}.`,
  ].filter((one) => one !== null);
}

function qualityTable({ sent, received }: Figures): { label: string; sent: string; received: string }[] {
  const rows: [string, string | null, string | null][] = [
    ['Picture', size(sent), size(received)],
    ['Frames per second', frames(sent), frames(received)],
    ['Rate', rate(sent), rate(received)],
    ['Loss', percent(sent.lossShare), percent(received.lossShare)],
  ];
  return rows
    .filter(([, out, back]) => out !== null || back !== null)
    .map(([label, out, back]) => ({ label, sent: out ?? '–', received: back ?? '–' }));
}

function qualityPath(figures: Figures): { label: string; value: string }[] {
  const path = { direct: 'direct', relay: 'over a relay' };
  const protocol = figures.protocol && protocols[figures.protocol];
  const way = [figures.path && path[figures.path], protocol].filter((one) => one !== null);
  const rows: [string, string | null][] = [
    ['Round trip', roundTrip(figures)],
    ['Path', way.length > 0 ? way.join(', ') : null],
    ['Limited', figures.sent.limitation && limitations[figures.sent.limitation]],
  ];
  return rows.flatMap(([label, value]) => (value === null ? [] : [{ label, value }]));
}

// Sessions in the room: what happened, in words. `when` gives the time for both sides.

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function span(minutes: number): string {
  const days = Math.floor(minutes / 1440);
  if (days >= 2) return `${days} days`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 24) return '1 day';
  if (hours === 0) return minutes === 1 ? '1 minute' : `${minutes} minutes`;
  const rest = minutes % 60;
  const whole = hours === 1 ? '1 hour' : `${hours} hours`;
  return rest === 0 ? whole : `${hours} h ${rest} min`;
}

function because(reason: string | undefined): string {
  return reason ? ` Reason: ${reason}` : '';
}

function movedSession(
  event: Extract<SessionEvent, { kind: 'session.rescheduled' }>,
  by: string,
  when: When,
): string {
  const { old, new: now } = event;
  if (event.by === 'system')
    return `The clocks have new rules there: the session is now on ${when(now.start)}.`;
  if (old.start === now.start)
    return `${by} changed the session to ${span(now.minutes)}.${because(event.reason)}`;
  const length = old.minutes === now.minutes ? '' : `, ${span(now.minutes)}`;
  const what = event.proposal ? 'took a proposed time: the session is now on' : 'moved the session to';
  return `${by} ${what} ${when(now.start)}${length}.${because(event.reason)}`;
}

type When = (start: number) => string;

/** `brief`: for ears that can look at the rest. */
function sessionHappened(
  event: SessionEvent,
  name: (person: string) => string,
  when: When,
  brief = false,
): string {
  const { session } = event;
  const by = capital(name(event.by));
  switch (event.kind) {
    case 'session.requested':
      return `${by} asked for a session on ${when(session.start)}, ${span(session.minutes)}.`;
    case 'session.confirmed':
      return `${by} accepted the session on ${when(session.start)}.`;
    case 'session.proposed': {
      const proposal = session.proposals.find(({ id }) => id === event.proposal);
      const times = (proposal?.times ?? []).map(({ start }) => when(start)).join('; ');
      const what = `${by} proposed ${proposal?.times.length === 1 ? 'another time' : 'other times'}`;
      return brief ? `${what}.` : `${what}: ${times}.${because(proposal?.reason)}`;
    }
    case 'session.declined':
      return event.proposal
        ? `${by} closed a proposal. The session stays on ${when(session.start)}.`
        : `${by} declined the session on ${when(session.start)}.`;
    case 'session.rescheduled':
      return movedSession(event, by, when);
    case 'session.cancelled':
      return `${by} cancelled the session on ${when(session.start)}.${because(event.reason)}`;
    case 'session.expired':
      return event.proposal
        ? `Nobody took a proposed time. The session stays on ${when(session.start)}.`
        : `Nobody answered in time: there is no session on ${when(session.start)}.`;
    case 'session.started':
      return 'The session began.';
    case 'session.extended':
      return `${by} extended the session by ${span(event.minutes)}.`;
    case 'session.ended':
      return event.by === 'system' ? 'The session is over.' : `${by} ended the session.`;
    case 'session.no_show':
      return `${capital(event.who.map(name).join(' and '))} did not come to the session on ${when(session.start)}.`;
    case 'session.agenda_set':
      return session.agenda === '' ? `${by} removed the agenda.` : `${by} set the agenda: ${session.agenda}`;
  }
}

export const en = {
  language: 'en',
  product: 'telementor',

  enter: {
    title: 'Welcome',
    text: 'This link is yours alone. It lets you into your mentoring room, on this device.',
    button: 'Enter the room',
    missing: {
      title: 'Welcome to telementor',
      text: 'You come in with your personal link, from the invitation that you were sent.',
      next: 'Open the link once more. If you cannot find it, ask the person who invited you for a new one.',
    },
    rooms: 'Go to my rooms',
  },

  problems,
  retry: 'Try again',

  notLoaded: {
    title: 'This could not be opened',
    next: 'The server does not answer at this moment. Please try again when you are connected.',
  },
  rooms: {
    title: 'My rooms',
    hello: (name: string) => `Good to see you, ${name}.`,
    none: 'You have no room yet. The person who runs your programme makes one.',
    loading: 'Loading your rooms…',
    logout: 'Log out',
  },

  room: {
    loading: 'Opening the room…',
    back: 'My rooms',
    you: 'You',
    times: (own: string, other: string, name: string) => `${own} for you, ${other} for ${name}`,
    sameTime: (own: string) => `${own} for both of you`,
    presence: {
      in_call: 'in the call',
      here: 'in the room',
      online: 'online',
      offline: 'not here right now',
    },
  },

  call: {
    join: 'Join call', // (name)
    leave: 'Leave call', // (name)
    decline: 'Decline',
    mute: 'Mute microphone', // (name)
    unmute: 'Unmute microphone', // (name)
    stopCamera: 'Stop camera', // (name)
    startCamera: 'Start camera', // (name)
    share: 'Share screen', // (name)
    stopSharing: 'Stop sharing', // (name)
    settings: 'Settings', // (name)
    chat: 'Chat', // (name)
    controls: 'Call controls',
    short: {
      mute: 'Mute',
      unmute: 'Unmute',
      stopCamera: 'Stop camera',
      startCamera: 'Start camera',
      share: 'Share',
      stopSharing: 'Stop sharing',
      settings: 'Settings',
      chat: 'Chat',
      leave: 'Leave',
    },
    remote: 'Remote video', // (name)
    own: 'Own video', // (name)
    moveOwn: 'Move own video with the arrow keys',
    play: 'Play',
    playWhy: 'Your browser waits for a click before it plays the sound.',
    calling: (name: string) => `${name} is calling`,
    cameraOff: (name: string) => `${name} has the camera off`,
    muted: (name: string) => `${name} is muted`,
    sharing: (name: string) => `${name} shares the screen`,
    ownCameraOff: 'Your camera is off',
    youShare: 'You are sharing your screen',
    newMessages: (count: number) => (count === 1 ? '1 new message' : `${count} new messages`),
    pictureInPicture: 'Picture in picture', // (name)
    screenFailed: 'The screen could not be shared. Your browser or your system does not allow it.',
  },

  quality: {
    connection: (grade: Grade) => `Connection: ${grades[grade]}`, // (name)
    measuring: 'Connection', // (name)
    title: 'Connection', // (name)
    direction: { of: 'Figure', sent: 'You send', received: 'You receive' },
    inWords: qualityInWords,
    table: qualityTable,
    path: qualityPath,
    none: 'Nothing is known of the connection yet.',
    copy: 'Copy for support', // (name)
    copied: 'Copied. It holds no names, no addresses and nothing of what was said.',
    copyFailed: 'Your browser does not allow copying. Select this text and copy it:',
    soundOnly: 'Weak link: sound only. Video comes back by itself.',
    partnerWeak: (name: string) => `${name}’s link is weak: sound only for now`,
    saver: 'Data saver', // (name)
    saverHint:
      'Your own picture is sent small and with fewer frames: a fraction of the data. What you see of the other stays as it is.',
  },

  devices: {
    check: 'Check camera and microphone',
    withoutCamera: 'Join without camera',
    asking: 'Your browser is asking whether this page may use your camera and microphone.',
    title: 'Camera, microphone and speaker',
    camera: 'Camera',
    microphone: 'Microphone',
    speaker: 'Speaker',
    standard: 'Standard',
    level: 'Microphone level',
    levelHint: 'Say something: the bar should move.',
    test: 'Test the speaker',
    tested: 'You should have heard three notes.',
    testFailed: 'The speaker could not be tested.',
    close: 'Close',
    preview: 'Your picture appears here after the check.',
    problem: deviceProblem,
    bothProblem,
    dismiss: 'Dismiss',
    changed: (kind: Kind, label: string) => `Your ${deviceNames[kind]} is now “${label || 'another one'}”.`,
    offered: (label: string) => `“${label}” is connected.`,
    use: 'Use it',
    without: (kinds: Kind[]) =>
      kinds.length === 2
        ? 'You take part without camera and microphone: you see, hear and write.'
        : kinds[0] === 'video'
          ? 'You take part without camera: you are heard, but not seen.'
          : 'You take part without microphone: you are seen, but not heard.',
  },

  check: {
    start: 'Check the network',
    again: 'Check again',
    running: 'Checking the network… This takes a few seconds.',
    verdict,
    figures,
  },

  screen: {
    remote: 'Remote screen', // (name)
    keepCamera: 'Keep my camera on while I share the screen',
  },

  safety: {
    open: 'Safety code', // (name)
    title: 'Safety code',
    why: 'Read these numbers to each other, aloud, in this call. If both of you see the same ones, nobody sits in between: not even this server can see or hear you.',
    codeWith: (name: string) => `Safety code with ${name}`, // (name)
    same: 'We see the same code',
    compared: (name: string) => `You compared the code with ${name}. You are told if it changes.`,
    different:
      'If the numbers differ, somebody may be listening in: leave the call, and tell the person who runs your programme.',
    none: (name: string) =>
      `There is no code for the connection with ${name}: it does not stand yet, or this browser cannot show it. A current Chrome, Edge, Firefox or Safari can.`,
    changed: (name: string) => `The safety code with ${name} has changed since you compared it.`,
    changedWhy:
      'That is so when one of you loads the page again or takes another device. It can also be somebody in between.',
    again: 'Compare again',
  },

  status: {
    label: 'Status', // (name)
    opening: 'Connecting…',
    offline: 'Reconnecting. What you write is kept.',
    offlineInCall: 'Reconnecting to the server. Your call goes on, and what you write is kept.',
    replaced: 'This room is open in another tab or window.',
    tooMany: 'You have this room open in too many places.',
    revoked: 'Your log-in was ended.',
    useHere: 'Use here',
    connecting: 'Connecting…',
    resuming: 'Going back into the call…',
    rung: (name: string) => `${name} is calling.`,
    ringing: (name: string) => `Ringing ${name}…`,
    waiting: (name: string) => `Waiting for ${name}.`,
    declined: (name: string) => `${name} cannot talk right now. Waiting for ${name}.`,
    unanswered: (name: string) => `${name} did not answer. Waiting for ${name}.`,
    connected: (name: string) => `Connected with ${name}.`,
    partnerReconnecting: (name: string) => `${name} is reconnecting…`,
    reconnecting: 'Reconnecting the call…',
    soundMissing: (name: string) => `The sound of ${name} does not arrive. Trying to bring it back…`,
    pictureMissing: (name: string) => `The picture of ${name} does not arrive. Trying to bring it back…`,
    ended,
    presence: (name: string, where: string) => `${name} is ${where}.`,
  },

  /** Sessions, as the room shows them. */
  session: {
    label: 'Session', // (name)
    length: span,
    next: (inMin: number) => `Next session in ${span(inMin)}`,
    canStart: (inMin: number) => `The session can start: it is planned in ${span(inMin)}`,
    begun: (sinceMin: number) =>
      sinceMin === 0 ? 'It is time for the session' : `The session was to start ${span(sinceMin)} ago`,
    live: (leftMin: number) => `The session is under way: ${span(leftMin)} left`,
    left: (leftMin: number) => (leftMin > 0 ? `${span(leftMin)} left` : 'The planned time is over'),
    over: 'The time of the session is over.',
    notPlanned: 'No session is planned.',
    last: {
      ended: (when: string) => `The last session was on ${when}.`,
      cancelled: (when: string) => `The session on ${when} was cancelled.`,
      declined: (when: string) => `The session on ${when} was declined.`,
      expired: (when: string) => `Nobody answered the request for ${when}.`,
      no_show: (when: string) => `The session on ${when} did not take place.`,
    },
    openAnyway: 'Write or call at any time.',
    movedBy: (name: string) => (name === en.room.you ? 'You moved it' : `Moved by ${name}`),
    was: 'was',
    ownTime: (day: string, time: string) => `${day}, ${time}`,
    following: 'Book the next session', // (name)
    again: 'Propose again', // (name)
    answerWanted: 'Session: an answer is wanted', // (name)
    knock: (name: string) => `Let ${name} know I am here`, // (name)
    knocked: (name: string) => `${name} has been told.`,
    knockAgain: (seconds: number) =>
      `You can do so again in ${seconds === 1 ? '1 second' : `${seconds} seconds`}.`,
    knocks: (name: string) => `${name} is here and would like you to come.`,
    knockTitle: (name: string) => `${name} is here`,
    late: 'Running late', // (name)
    later: (minutes: number) => `${minutes} minutes later`, // (name)
    lateReason: 'Running late',
    alone: (name: string) => `${name} has not come yet. What would you like to do?`,
    wait: 'Keep waiting', // (name)
    end: 'End session', // (name)
    more: (minutes: number) => `${minutes} more minutes`, // (name)
    continueLater: 'Continue later', // (name)
    happened: sessionHappened,
  },

  chat: {
    label: 'Chat',
    conversation: 'Conversation', // (name)
    message: 'Message', // (name)
    send: 'Send', // (name)
    placeholder: (name: string) => `Write to ${name}`,
    empty: (name: string) => `This is the beginning of your conversation with ${name}.`,
    beginning: 'The beginning of the conversation',
    notKept: 'Older messages are not kept.',
    loadingOlder: 'Loading older messages…',
    today: 'Today',
    yesterday: 'Yesterday',
    unread: 'New',
    pill: (count: number) => (count === 1 ? '1 new message' : `${count} new messages`),
    toNewest: 'To the newest message',
    waiting: 'waiting',
    sent: 'sent',
    seen: 'seen',
    edited: 'edited',
    typing: (name: string) => `${name} is typing…`,
    removed: (name: string, own: boolean) => (own ? 'You deleted a message' : `${name} deleted a message`),
    actions: 'Message actions',
    react: (emoji: string) => `React with ${emoji}`,
    reaction: (emoji: string, names: string, own: boolean) =>
      own ? `${emoji} from ${names}. Take yours back` : `${emoji} from ${names}. Add yours`,
    reply: 'Reply',
    edit: 'Edit',
    delete: 'Delete',
    copy: 'Copy text',
    replyTo: (name: string, own: boolean) => (own ? 'Reply to you' : `Reply to ${name}`),
    replyToEarlier: 'Reply to an earlier message',
    replyToRemoved: 'Reply to a deleted message',
    editing: 'Editing your message',
    cancel: 'Cancel',
    failed: (why: string) => `Not sent. ${why}`,
    failedChange: (why: string) => `Not changed. ${why}`,
    stale:
      'This was written more than a day ago, and it is not known whether it arrived. Send it again if it did not.',
    remove: 'Remove',
    copyBack: 'Copy back',
    tooLong: (count: number, bound: number) => `${count} of ${bound} characters: please shorten the message.`,
    tooManyBytes: 'This is too long for one message: please send it in two.',
    full: 'Too many messages are waiting. Send this one when the connection is back.',
    started: (name: string, own: boolean) => (own ? 'You started a call' : `${name} started a call`),
    endedAfter: (seconds: number) => `The call ended after ${duration(seconds)}`,
    missed: (name: string, own: boolean) =>
      own ? `Nobody answered your call` : `You missed a call from ${name}`,
    entry: (name: string, time: string) => `${name}, ${time}`,
    system: 'telementor',
    someone: 'Someone',
  },

  sessions: {
    noAnswer: 'The server did not answer. What you entered is still here: try again in a moment.',
    plan: 'Plan a session', // (name)
    move: 'Move session', // (name)
    propose: 'Propose other times', // (name)
    planWith: (name: string) => `Plan a session with ${name}`, // (name)
    moveWith: (name: string) => `Move the session with ${name}`, // (name)
    proposeTo: (name: string) => `Propose times to ${name}`, // (name)
    now: (when: string) => `Now: ${when}`,
    told: {
      book: (name: string) => `The time that you choose is held at once, and ${name} is asked.`,
      move: (name: string) => `The session moves to the time that you choose, and ${name} is told at once.`,
      propose: (name: string) => `Choose up to five. The session stays where it is until ${name} takes one.`,
    },
    minutes: 'Length', // (name)
    inMinutes: (minutes: number) => (minutes % 60 === 0 ? hours(minutes / 60) : `${minutes} minutes`),
    agenda: 'What is it about? (optional)', // (name)
    reason: 'Say why (optional)', // (name)
    outside: 'Also outside working hours', // (name)
    zones: (own: string, other: string, name: string) => `Yours: ${own} · ${name}: ${other}`,
    oneZone: (own: string) => `Both of you: ${own}`,
    zone: (city: string, offset: string) => `${city} (${offset})`,
    earlier: 'Earlier week', // (name)
    later: 'Later week', // (name)
    grid: 'Times that are free for both', // (name)
    gridKeys: 'Arrow keys go from time to time, Page Up and Page Down from week to week, Enter chooses.',
    looking: 'Looking for times that are free for both…',
    noneFree: 'Nothing is free for both in this week.',
    onlyOutside: (count: number) =>
      count === 1
        ? 'In this week only one time is free for both, outside of working hours.'
        : `In this week ${count} times are free for both, all outside of working hours.`,
    dayEmpty: 'nothing free',
    days: 'Days of this week', // (name)
    shift: (days: number) =>
      Math.abs(days) === 1 ? `${sign(days)}1 day` : `${sign(days)}${Math.abs(days)} days`,
    bothTimes: (own: string, ownCity: string, other: string, otherCity: string, name: string) =>
      `${own} ${ownCity} (your time) · ${other} ${otherCity} (${name})`,
    sameTime: (own: string, city: string) => `${own} ${city}, for both of you`,
    slot: (day: string, own: string, other: string | null, name: string) =>
      other === null ? `${day}, ${own} for both of you` : `${day}, ${own} your time, ${other} for ${name}`,
    outsideHoursOf: (names: string[], own: boolean) =>
      `${[...(own ? ['your'] : []), ...names.map((name) => `${name}’s`)].join(' and ')} hours`,
    outsideMark: (whose: string) => `outside ${whose}`,
    outsideYours: 'outside yours',
    outsideTheirs: (name: string) => `outside ${name}’s`,
    outsideBoth: 'outside both',
    nowMark: 'now',
    isNow: 'the time of the session now',
    typed: 'Type date and time', // (name)
    typedAt: (city: string) => `Date and time in ${city}`, // (name)
    typedButton: { book: 'Book this time', move: 'Move to this time', propose: 'Add this time' }, // (name)
    typedMissing: 'Enter a date and a time.',
    chosen: 'Your times', // (name)
    take: (when: string) => `Remove ${when}`, // (name)
    enough: 'Five times are chosen: remove one to choose another.',
    proposeButton: (count: number) => (count === 1 ? 'Propose this time' : `Propose these ${count} times`), // (name)
    working: 'One moment…',
    movedMeanwhile: (name: string | null, when: string) =>
      name === null
        ? `The session was moved meanwhile to ${when}.`
        : `${name} moved it meanwhile to ${when}.`,
    changedMeanwhile: (when: string) => `The session has been changed meanwhile; it is at ${when}.`,
    overMeanwhile: 'The session does not take place any more.',
    proposeMine: 'Propose my time instead', // (name)
    bookMine: 'Plan a new one at this time', // (name)
    twice: (when: string, offset: string) => `${when}, ${offset}`,
    onlyProposals: 'This pair agrees on a new time first, so choose what you want to propose.',
    done: {
      book: (name: string, when: string) => `${name} is asked for a session: ${when}.`,
      move: (name: string, when: string) => `The session moved to ${when}. ${name} is told.`,
      agreed: (name: string, when: string) =>
        `${name} had proposed this time as well: the session is at ${when}.`,
      propose: (name: string, count: number) =>
        count === 1 ? `One time is proposed to ${name}.` : `${count} times are proposed to ${name}.`,
    },
  },

  portal: {
    waits: 'Waits for your answer', // (name)
    newAsk: 'Something new waits for your answer.',
    pairs: 'My pairs', // (name)
    settings: 'Settings', // (name)
    partnerRole: { mentor: 'Your mentor', mentee: 'Your mentee', guest: 'A guest' },
    online: 'online',
    offline: 'not here right now',
    enter: 'Enter the room',
    unread: (count: number) =>
      count === 1 ? '1 unread message' : `${count > 98 ? '99 or more' : count} unread messages`,
    next: 'Next session',
    nothing: 'Nothing is planned.',
    live: 'Takes place now',
    begun: 'Has begun',
    about: (agenda: string) => `About: ${agenda}`,
    waitsFor: (name: string) => `Waits for ${name}’s answer`,
    youProposed: (name: string, count: number) =>
      count === 1 ? `You proposed another time to ${name}.` : `You proposed ${count} times to ${name}.`,
    takeBack: 'Take it back', // (name)
    more: (count: number) => (count === 1 ? '1 more session' : `${count} more sessions`),
    asks: (name: string) => `${name} asks for a session`,
    moved: (name: string) => `${name} moved the session`,
    proposes: (name: string) => `${name} proposes another time`,
    instead: (when: string) => `Instead of ${when}`,
    accept: 'Accept', // (name)
    decline: 'Decline', // (name)
    none: 'None of these', // (name)
    acceptTime: (when: string) => `Accept ${when}`, // (name)
    cancel: 'Cancel session', // (name)
    cancelTitle: (name: string) => `Cancel the session with ${name}?`, // (name)
    declineTitle: (name: string) => `Decline the session with ${name}?`, // (name)
    cancelText: (name: string) =>
      `It will not take place, and ${name} is told at once. To keep it at another time, move it instead.`,
    declineText: (name: string) =>
      `It will not take place, and ${name} is told at once. To keep it at another time, propose one.`,
    keep: 'Keep it', // (name)
    reallyCancel: 'Cancel it', // (name)
    reallyDecline: 'Decline it', // (name)
    accepted: (name: string, when: string) => `Agreed: ${when}. ${name} is told.`,
    declined: (name: string) => `You declined. ${name} is told.`,
    declinedProposal: (name: string) =>
      `You declined the proposal. ${name} is told, and the old time stands.`,
    cancelled: (name: string) => `The session is cancelled. ${name} is told.`,
    tookBack: 'Your proposal is taken back.',
    stale: 'This has been changed meanwhile; here is how it is now.',
    old: 'The server does not answer at the moment: this may have changed.',

    zoneAsk: (device: string, profile: string) =>
      `This device is in ${device}, your profile in ${profile}. Which time shall be yours?`,
    zoneTake: (device: string) => `Use ${device}`, // (name)
    zoneKeep: (profile: string) => `Stay with ${profile}`, // (name)
    zoneTaken: (city: string) => `Your times are shown in ${city} time from now on.`,

    hours: 'Working hours', // (name)
    hoursWhy: (city: string) =>
      `The times you are offered for, in ${city} time. Sessions outside of them are possible all the same.`,
    hoursNever: 'So far every day from 08:00 to 20:00 counts.',
    hoursWeek: 'Every week', // (name)
    hoursFree: 'no sessions',
    hoursExceptions: 'Other hours on single days', // (name)
    hoursAddException: 'Add a day', // (name)
    hoursDate: 'Day', // (name)
    hoursRemoveDay: (day: string) => `Remove ${day}`, // (name)
    hoursAdd: (day: string) => `Add hours on ${day}`, // (name)
    hoursRemove: (day: string, number: number) => `Remove hours ${number} on ${day}`, // (name)
    hoursFrom: (day: string, number: number) => `${day}, from, ${number}`, // (name)
    hoursTo: (day: string, number: number) => `${day}, to, ${number}`, // (name)
    hoursSave: 'Save hours', // (name)
    hoursStandard: 'Back to every day', // (name)
    hoursSaved: 'Your working hours are saved.',
    hoursOrder: (day: string) => `${day}: the end has to be after the beginning, and hours must not overlap.`,
    hoursTwice: (day: string) => `${day} is there twice.`,
    hoursNoDate: 'Choose a day for each exception, or remove it.',
    newDay: 'the new day',

    feed: 'Calendar', // (name)
    feedTitle: 'Your sessions in your own calendar', // (name)
    feedWhy:
      'Subscribe to a private address: your calendar then shows every session, and follows each move by itself.',
    feedSecret: 'Whoever has this address can read when your sessions are. It is shown only now.',
    feedMake: 'Make an address', // (name)
    feedRemake: 'Make a new address', // (name)
    feedAgain:
      'You have an address. A new one ends it: calendars that subscribed to the old one stay as they are.',
    feedAddress: 'Calendar address', // (name)
    feedOpen: 'Open in the calendar app', // (name)
    feedCopy: 'Copy address', // (name)
    feedCopied: 'The address is copied.',
    feedCopyFailed: 'Your browser does not allow copying: select the address and copy it.',
    feedEnd: 'End the address', // (name)
    feedEnded: 'No address leads to your sessions any more.',

    profile: 'Language and time zone', // (name)
    profileZone: 'Time zone', // (name)
    profileLanguage: 'Language of mails', // (name)
    profileSave: 'Save', // (name)
    profileSaved: 'Your settings are saved.',
    languages: { en: 'English', de: 'Deutsch', hi: 'हिन्दी' },
  },
};

export type Words = typeof en;
