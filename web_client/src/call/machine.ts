/**
 * The call as a state machine: state + input → state + effects. Pure: no clock, no socket, no RTCPeerConnection.
 *
 * Rules K1–K5 of the protocol; the connections themselves (peer_link.ts) and the asking (live.svelte.ts) only carry out
 * the effects. A later repair ladder grows in `repair`.
 */
import type { CallJoined, Joined, Media, PeerShown, QuietPush, Refusal, SignalPush } from '../protocol/wire';

/** What a connection reports of its media. */
export type Flow = 'new' | 'flowing' | 'interrupted' | 'failed';

export interface Link {
  peer: string;
  person: string;
  leg: number;
  presence: PeerShown['state'];
  media: Media;
  /** False: it cannot roll back and knows no ICE restart (K3); only a new connection repairs it. */
  rollback: boolean;
  flow: Flow;
  /** Media flowed on this connection: an ICE restart can bring it back. */
  flowed: boolean;
  /** Media flowed with this peer, on whichever connection: what is missing now is a reconnection. */
  met: boolean;
  /** Repairs since media last flowed. */
  repairs: number;
}

export type EndReason =
  | { kind: 'left' }
  | { kind: 'partner_left'; person: string }
  | { kind: 'over' }
  | { kind: 'moved' }
  | { kind: 'replaced' }
  | { kind: 'revoked' }
  | { kind: 'refused'; error: Refusal };

export type Phase =
  | { kind: 'idle' }
  /** `call` names the call that is being resumed silently (a reload); null starts or joins the current one. */
  | { kind: 'joining'; call: string | null; ask: number | null }
  /** `ask`: a `call.join` that is under way, to keep or to renew the leg. */
  | { kind: 'in'; call: string; leg: number; links: Record<string, Link>; ask: number | null; note: Note }
  | { kind: 'ended'; reason: EndReason };

/** What became of ringing the partner. */
export type Note = null | 'ringing' | Exclude<QuietPush['reason'], 'answered' | 'cancelled'>;

export interface CallState {
  phase: Phase;
  ring: { call: string; by: string } | null;
  /** The room is joined on a living socket. */
  online: boolean;
  me: { peer: string; person: string } | null;
  roles: Record<string, string>;
  /** Who of the room is online, so that "calling" and "waiting" can be told apart. */
  onlinePersons: readonly string[];
  peers: Record<string, PeerShown>;
  media: Media;
  /** Signals that overtook the news of their sender's leg. */
  early: readonly SignalPush[];
  asks: number;
  rebuilds: number;
}

export type Input =
  | { on: 'joined'; answer: Joined }
  | { on: 'offline' }
  | { on: 'stopped'; why: 'replaced' | 'revoked' | 'refused' }
  | { on: 'press_join' }
  | { on: 'press_leave' }
  | { on: 'press_decline' }
  | { on: 'resume'; call: string }
  | { on: 'join_ok'; ask: number; answer: CallJoined }
  | { on: 'join_refused'; ask: number; error: Refusal }
  | { on: 'peer'; peer: PeerShown }
  | { on: 'person'; person: string; online: boolean }
  | { on: 'signal'; signal: SignalPush }
  | { on: 'ring'; call: string; by: string }
  | { on: 'quiet'; call: string; reason: QuietPush['reason'] }
  | { on: 'moved'; call: string }
  | { on: 'flow'; peer: string; leg: number; flow: Flow }
  | { on: 'media'; media: Media }
  | { on: 'timer'; name: string };

export type Effect =
  | { do: 'join'; ask: number; call: string | null; leg: number | null }
  | { do: 'leave'; call: string }
  | { do: 'decline'; call: string }
  | { do: 'tell_media'; call: string; media: Media }
  | { do: 'open'; peer: string; leg: number; polite: boolean }
  | { do: 'close'; peer: string }
  | { do: 'deliver'; peer: string; signal: SignalPush }
  | { do: 'release'; peer: string }
  | { do: 'restart'; peer: string }
  | { do: 'timer'; name: string; ms: number }
  | { do: 'cancel'; name: string }
  | { do: 'remember'; call: string }
  | { do: 'forget' };

type Step = [CallState, Effect[]];

export const NO_MEDIA: Media = { audio: false, video: false, screen: false };

/** A mesh beyond this many links is an SFU's work; more are not opened. */
export const LINKS_BOUND = 8;
/** Signals that wait for the news of their sender's leg. The oldest go first: a new offer follows anyway. */
export const EARLY_BOUND = 128;
/** A first connection takes under a second; on a poor relay several. Then a new one is tried. */
export const FIRST_FLOW_MS = 15_000;
/** `disconnected` often heals by itself within a second; waiting longer only makes the silence longer. */
export const INTERRUPTED_MS = 1_500;
/** How long a restart has before the next repair. */
export const RESTART_MS = 8_000;
/** The pauses between new connections, so that two who cannot meet do not storm the server. */
export const REBUILD_MS = [8_000, 15_000, 30_000, 60_000] as const;
/** Rule R4: a partner who changes devices leaves with one and joins with the other; that is no hang-up. */
export const PARTNER_LEFT_MS = 800;
/** K1: the partner's devices ring this long. */
export const RING_MS = 45_000;

export const initialCall: CallState = {
  phase: { kind: 'idle' },
  ring: null,
  online: false,
  me: null,
  roles: {},
  onlinePersons: [],
  peers: {},
  media: NO_MEDIA,
  early: [],
  asks: 0,
  rebuilds: 0,
};

type Handlers = { [K in Input['on']]: (state: CallState, input: Extract<Input, { on: K }>) => Step };

const handlers: Handlers = {
  joined: (state, { answer }) => joinedRoom(state, answer),
  offline: (state) => [{ ...state, online: false, phase: withoutAsk(state.phase) }, cancelRepairs(state)],
  stopped: (state, { why }) => {
    const stopped = { ...state, online: false, ring: null };
    if (state.phase.kind !== 'in' && state.phase.kind !== 'joining') return [stopped, []];
    return end(stopped, { kind: why === 'replaced' ? 'replaced' : 'revoked' });
  },
  press_join: (state) => {
    if (state.phase.kind === 'in' || state.phase.kind === 'joining') return [state, []];
    return askJoin({ ...state, ring: null, phase: { kind: 'joining', call: null, ask: null } });
  },
  press_leave: (state) => {
    if (state.phase.kind === 'in') {
      const [ended, effects] = end(state, { kind: 'left' });
      return [ended, [...effects, { do: 'leave', call: state.phase.call }]];
    }
    // The answer to the join that is under way finds nobody and is followed by a leave.
    return state.phase.kind === 'joining'
      ? [{ ...state, phase: { kind: 'idle' } }, [{ do: 'forget' }]]
      : [state, []];
  },
  press_decline: (state) =>
    state.ring === null
      ? [state, []]
      : [{ ...state, ring: null }, [{ do: 'decline', call: state.ring.call }]],
  resume: (state, { call }) =>
    state.phase.kind === 'idle'
      ? askJoin({ ...state, phase: { kind: 'joining', call, ask: null } })
      : [state, []],
  join_ok: (state, { ask, answer }) => joinOk(state, ask, answer),
  join_refused: (state, { ask, error }) => joinRefused(state, ask, error),
  peer: (state, { peer }) => peerChanged(state, peer),
  person: (state, { person, online }) => {
    const others = state.onlinePersons.filter((known) => known !== person);
    return [{ ...state, onlinePersons: online ? [...others, person] : others }, []];
  },
  signal: (state, { signal }) => signalArrived(state, signal),
  ring: (state, { call, by }) => {
    const mine = by === state.me?.person || (state.phase.kind === 'in' && state.phase.call === call);
    return mine || state.phase.kind === 'joining' ? [state, []] : [{ ...state, ring: { call, by } }, []];
  },
  quiet: (state, { call, reason }) => {
    const quiet = state.ring?.call === call ? { ...state, ring: null } : state;
    if (quiet.phase.kind !== 'in' || quiet.phase.call !== call) return [quiet, []];
    const note = reason === 'declined' || reason === 'timeout' ? reason : null;
    return [{ ...quiet, phase: { ...quiet.phase, note } }, [{ do: 'cancel', name: 'ring' }]];
  },
  moved: (state, { call }) =>
    state.phase.kind === 'in' && state.phase.call === call ? end(state, { kind: 'moved' }) : [state, []],
  flow: (state, { peer, leg, flow }) => flowChanged(state, peer, leg, flow),
  media: (state, { media }) => {
    const told = { ...state, media };
    if (state.phase.kind !== 'in' || !state.online) return [told, []];
    return [told, [{ do: 'tell_media', call: state.phase.call, media }]];
  },
  timer: (state, { name }) => timerFired(state, name),
};

export function step(state: CallState, input: Input): Step {
  const handle = handlers[input.on] as (state: CallState, input: Input) => Step;
  return handle(state, input);
}

// Joining and leaving

function askJoin(state: CallState, leg: number | null = null, call?: string | null): Step {
  const { phase } = state;
  if (phase.kind !== 'joining' && phase.kind !== 'in') return [state, []];
  if (!state.online) return [{ ...state, phase: { ...phase, ask: null } }, []];
  const ask = state.asks + 1;
  const wanted = call === undefined ? phase.call : call;
  return [{ ...state, asks: ask, phase: { ...phase, ask } }, [{ do: 'join', ask, call: wanted, leg }]];
}

function withoutAsk(phase: Phase): Phase {
  return phase.kind === 'joining' || phase.kind === 'in' ? { ...phase, ask: null } : phase;
}

function end(state: CallState, reason: EndReason): Step {
  const effects: Effect[] = [
    ...linksOf(state).flatMap((link) => closing(link.peer)),
    { do: 'cancel', name: 'ring' },
    { do: 'cancel', name: 'left' },
    { do: 'forget' },
  ];
  return [{ ...state, phase: { kind: 'ended', reason }, early: [], rebuilds: 0 }, effects];
}

function joinedRoom(before: CallState, answer: Joined): Step {
  const { you, people, peers } = answer;
  const state: CallState = {
    ...before,
    online: true,
    me: { peer: you.peer, person: you.person },
    roles: Object.fromEntries(people.map(({ person, role }) => [person, role])),
    onlinePersons: people.filter(({ online }) => online).map(({ person }) => person),
    peers: Object.fromEntries(peers.map((peer) => [peer.peer, peer])),
  };
  const { phase } = state;
  if (phase.kind === 'joining') return askJoin(state);
  if (phase.kind !== 'in') {
    // The server still has us in a call that we left while it could not hear us.
    const forgotten = you.media !== null && answer.call !== null;
    return [state, forgotten ? [{ do: 'leave', call: answer.call?.id ?? '' }] : []];
  }
  const stillIn = answer.call?.id === phase.call && you.media !== null && you.leg === phase.leg;
  // K5: whatever happened to the socket, the media may still flow: the leg is kept.
  if (!stillIn) return askJoin(state, phase.leg);
  const [kept, effects] = keepLeg(state);
  return [kept, [{ do: 'tell_media', call: phase.call, media: state.media }, ...effects]];
}

/** Back in the call with the same leg: the others' connections stand, what does not flow is restarted (K5). */
function keepLeg(state: CallState): Step {
  const [synced, effects] = syncLinks(state);
  const back = linksOf(synced).flatMap((link): Effect[] => [{ do: 'release', peer: link.peer }]);
  const stopped = linksOf(synced).filter((link) => link.flow !== 'flowing' && link.presence === 'here');
  return stopped.reduce<Step>(
    ([next, done], link) => {
      const [repaired, more] = link.flowed
        ? repair(next, link.peer)
        : [next, [watch(link.peer, FIRST_FLOW_MS)]];
      return [repaired, [...done, ...more]];
    },
    [synced, [...effects, ...back]],
  );
}

function joinOk(state: CallState, ask: number, answer: CallJoined): Step {
  const { phase } = state;
  if (phase.kind !== 'joining' && phase.kind !== 'in') return [state, [{ do: 'leave', call: answer.call }]];
  if (phase.ask !== ask) return [state, []];
  const peers = { ...state.peers };
  for (const joined of answer.peers) {
    peers[joined.peer] = { device: '', state: 'here', ...peers[joined.peer], ...joined };
  }
  const known = { ...state, peers };
  const remember: Effect = { do: 'remember', call: answer.call };
  if (phase.kind === 'in' && phase.call === answer.call && phase.leg === answer.leg) {
    const [kept, effects] = keepLeg({ ...known, phase: { ...phase, ask: null } });
    return [kept, [remember, ...effects]];
  }
  const met = new Set(
    linksOf(state)
      .filter((link) => link.met)
      .map((link) => link.peer),
  );
  const closed = linksOf(state).flatMap((link) => closing(link.peer));
  const alone = answer.peers.length === 0;
  const rings = alone && phase.kind === 'joining' && phase.call === null;
  const entered: CallState = {
    ...known,
    ring: null,
    phase: {
      kind: 'in',
      call: answer.call,
      leg: answer.leg,
      links: {},
      ask: null,
      note: rings ? 'ringing' : null,
    },
  };
  const [synced, opened] = syncLinks(entered, met);
  const ringing: Effect[] = rings ? [{ do: 'timer', name: 'ring', ms: RING_MS }] : [];
  return [synced, [...closed, remember, ...ringing, ...opened]];
}

function joinRefused(state: CallState, ask: number, error: Refusal): Step {
  const { phase } = state;
  if ((phase.kind !== 'joining' && phase.kind !== 'in') || phase.ask !== ask) return [state, []];
  if (phase.kind === 'joining') {
    if (phase.call !== null) return [{ ...state, phase: { kind: 'idle' } }, [{ do: 'forget' }]];
    return end(state, { kind: 'refused', error });
  }
  if (error.code !== 'gone') return end(state, { kind: 'refused', error });
  // K1: the outage was so long that the call is over for the server. Media that still flows goes on in a new one.
  if (linksOf(state).some((link) => link.flow === 'flowing')) return askJoin(state, null, null);
  return end(state, { kind: 'over' });
}

// Links to the other peers

export function linksOf(state: CallState): Link[] {
  return state.phase.kind === 'in' ? Object.values(state.phase.links) : [];
}

function linkOf(state: CallState, peer: string): Link | undefined {
  return state.phase.kind === 'in' ? state.phase.links[peer] : undefined;
}

function withLink(state: CallState, link: Link): CallState {
  if (state.phase.kind !== 'in') return state;
  return { ...state, phase: { ...state.phase, links: { ...state.phase.links, [link.peer]: link } } };
}

function withoutLink(state: CallState, peer: string): CallState {
  if (state.phase.kind !== 'in') return state;
  const { [peer]: _, ...links } = state.phase.links;
  return { ...state, phase: { ...state.phase, links } };
}

function closing(peer: string): Effect[] {
  return [
    { do: 'cancel', name: `repair ${peer}` },
    { do: 'close', peer },
  ];
}

function watch(peer: string, ms: number): Effect {
  return { do: 'timer', name: `repair ${peer}`, ms };
}

function cancelRepairs(state: CallState): Effect[] {
  return linksOf(state).map((link) => ({ do: 'cancel', name: `repair ${link.peer}` }));
}

/** Links as the known peers say: opened, rebuilt for a new leg (K1a), closed for who is not in the call any more. */
function syncLinks(state: CallState, met: ReadonlySet<string> = new Set()): Step {
  const known = Object.values(state.peers);
  const present = new Set(known.map(({ peer }) => peer));
  const missing = linksOf(state).filter((link) => !present.has(link.peer));
  const gone = missing.map(
    ({ peer, person, leg }): PeerShown => ({ peer, person, leg, device: '', state: 'gone', media: null }),
  );
  return [...known, ...gone].reduce<Step>(
    ([next, effects], peer) => {
      const [synced, more] = syncLink(next, peer, met.has(peer.peer));
      return [synced, [...effects, ...more]];
    },
    [state, []],
  );
}

function syncLink(state: CallState, peer: PeerShown, met = false): Step {
  const link = linkOf(state, peer.peer);
  if (state.phase.kind !== 'in') return [state, []];
  if (peer.state === 'gone') return link ? vanished(state, link) : [state, []];
  if (peer.media === null) return link ? hungUp(state, link) : [state, []];
  if (link && link.leg === peer.leg) {
    const back = link.presence !== 'here' && peer.state === 'here';
    const known = withLink(state, { ...link, presence: peer.state, media: peer.media });
    if (!back) return [known, []];
    // Who comes back restarts by itself (K5); we only look after it.
    const watching =
      link.flow === 'flowing' ? [] : [watch(link.peer, link.flowed ? INTERRUPTED_MS * 2 : FIRST_FLOW_MS)];
    return [known, [{ do: 'release', peer: link.peer }, ...watching]];
  }
  if (!link && linksOf(state).length >= LINKS_BOUND) return [state, []];
  return openLink(state, peer, peer.media, link?.met ?? met);
}

function openLink(
  state: CallState,
  { peer, person, leg, rollback = true, state: presence }: PeerShown,
  media: Media,
  met: boolean,
): Step {
  if (state.phase.kind !== 'in') return [state, []];
  const { call } = state.phase;
  const before = linkOf(state, peer) ? closing(peer) : [];
  const link: Link = {
    peer,
    person,
    leg,
    presence,
    media,
    rollback,
    flow: 'new',
    flowed: false,
    met,
    repairs: 0,
  };
  const mine = state.early.filter(
    (signal) => signal.from === peer && signal.from_leg === leg && signal.call === call,
  );
  const early = state.early.filter((signal) => signal.from !== peer || signal.from_leg > leg);
  const opened = withLink({ ...state, early, phase: { ...state.phase, note: null } }, link);
  return [
    opened,
    [
      ...before,
      { do: 'cancel', name: 'ring' },
      { do: 'cancel', name: 'left' },
      { do: 'open', peer, leg, polite: !rollback || politeTowards(state, peer, person) },
      ...mine.map((signal): Effect => ({ do: 'deliver', peer, signal })),
      watch(peer, Math.max(FIRST_FLOW_MS, pauseMs(state.rebuilds))),
    ],
  ];
}

/** K3: the mentor insists, the mentee gives way; among others the greater peer id is the polite one. */
function politeTowards({ me, roles }: CallState, peer: string, person: string): boolean {
  const mine = roles[me?.person ?? ''];
  const theirs = roles[person];
  if (mine === 'mentor' && theirs === 'mentee') return false;
  if (mine === 'mentee' && theirs === 'mentor') return true;
  return (me?.peer ?? '') > peer;
}

function peerChanged(before: CallState, peer: PeerShown): Step {
  if (peer.peer === before.me?.peer) return [before, []];
  const { [peer.peer]: _, ...others } = before.peers;
  const peers = peer.state === 'gone' ? others : { ...others, [peer.peer]: peer };
  return syncLink({ ...before, peers }, peer);
}

/** Its socket is gone for good, but media that flows needs no socket (K5). */
function vanished(state: CallState, link: Link): Step {
  if (link.flow === 'flowing') return [withLink(state, { ...link, presence: 'gone' }), []];
  return [withoutLink(state, link.peer), closing(link.peer)];
}

/** The other side left the call. Between two people that is the end of it, unless they only changed devices (R4). */
function hungUp(state: CallState, link: Link): Step {
  const left = withoutLink(state, link.peer);
  const effects = closing(link.peer);
  if (!isPair(state) || linksOf(left).length > 0) return [left, effects];
  return [left, [...effects, { do: 'timer', name: 'left', ms: PARTNER_LEFT_MS }]];
}

function isPair(state: CallState): boolean {
  return Object.keys(state.roles).length <= 2;
}

function partnerLeft(state: CallState): Step {
  if (state.phase.kind !== 'in' || linksOf(state).length > 0 || !isPair(state)) return [state, []];
  const person = Object.keys(state.roles).find((one) => one !== state.me?.person) ?? '';
  const [ended, effects] = end(state, { kind: 'partner_left', person });
  return [ended, [...effects, { do: 'leave', call: state.phase.call }]];
}

function signalArrived(state: CallState, signal: SignalPush): Step {
  const { phase } = state;
  if (phase.kind === 'in' && signal.call === phase.call) {
    const link = phase.links[signal.from];
    if (link && link.leg === signal.from_leg) return [state, [{ do: 'deliver', peer: link.peer, signal }]];
    if (link && link.leg > signal.from_leg) return [state, []];
  } else if (phase.kind !== 'joining' && !(phase.kind === 'in' && phase.ask !== null)) {
    return [state, []];
  }
  return [{ ...state, early: [...state.early, signal].slice(-EARLY_BOUND) }, []];
}

// Media and its repair

function flowChanged(state: CallState, peer: string, leg: number, flow: Flow): Step {
  const link = linkOf(state, peer);
  if (!link || link.leg !== leg || link.flow === flow) return [state, []];
  const changed = { ...link, flow };
  if (flow === 'flowing') {
    const flowing = { ...changed, flowed: true, met: true, repairs: 0 };
    return [{ ...withLink(state, flowing), rebuilds: 0 }, [{ do: 'cancel', name: `repair ${peer}` }]];
  }
  if (link.presence === 'gone') return vanished(withLink(state, changed), changed);
  const next = withLink(state, changed);
  if (flow === 'failed') return repair(next, peer);
  return [next, flow === 'interrupted' ? [watch(peer, INTERRUPTED_MS)] : []];
}

/** First an ICE restart with fresh servers; if that does not help, a new connection by a new leg (K1a). */
function repair(state: CallState, peer: string): Step {
  const link = linkOf(state, peer);
  const possible =
    state.online && state.phase.kind === 'in' && link?.presence === 'here' && link.flow !== 'flowing';
  if (!possible || !link) return [state, []];
  const othersFlow = linksOf(state).some((other) => other.peer !== peer && other.flow === 'flowing');
  const counted = withLink(state, { ...link, repairs: link.repairs + 1 });
  if (link.rollback && ((link.flowed && link.repairs < 1) || othersFlow)) {
    return [counted, [{ do: 'restart', peer }, watch(peer, pauseMs(link.repairs))]];
  }
  const pause = watch(peer, pauseMs(state.rebuilds));
  if (state.phase.kind === 'in' && state.phase.ask !== null) return [counted, [pause]];
  const [asked, effects] = askJoin({ ...counted, rebuilds: state.rebuilds + 1 });
  return [asked, [...effects, pause]];
}

function pauseMs(times: number): number {
  return REBUILD_MS[Math.min(times, REBUILD_MS.length - 1)] ?? RESTART_MS;
}

function timerFired(state: CallState, name: string): Step {
  if (name === 'left') return partnerLeft(state);
  if (name === 'ring') {
    const { phase } = state;
    return phase.kind === 'in' && phase.note === 'ringing'
      ? [{ ...state, phase: { ...phase, note: 'timeout' } }, []]
      : [state, []];
  }
  return name.startsWith('repair ') ? repair(state, name.slice('repair '.length)) : [state, []];
}

// What a person is told

export type Shown = 'idle' | 'waiting' | 'connecting' | 'connected' | 'reconnecting' | 'ended';

export function shown(state: CallState): Shown {
  const { phase } = state;
  if (phase.kind === 'joining') return phase.call === null ? 'connecting' : 'reconnecting';
  if (phase.kind !== 'in') return phase.kind;
  const links = linksOf(state);
  if (links.length === 0) return 'waiting';
  if (links.some((link) => link.flow === 'flowing')) return 'connected';
  return links.some((link) => link.met) ? 'reconnecting' : 'connecting';
}

export type Told =
  | { kind: 'idle' | 'connecting' | 'resuming' | 'connected' }
  | {
      kind:
        | 'rung'
        | 'ringing'
        | 'waiting'
        | 'declined'
        | 'unanswered'
        | 'partner_reconnecting'
        | 'reconnecting';
      person: string;
    }
  | { kind: 'ended'; reason: EndReason };

/** Every state has its sentence; `person` is whom it is about. */
export function told(state: CallState): Told {
  const { phase } = state;
  if (state.ring !== null && phase.kind !== 'in') return { kind: 'rung', person: state.ring.by };
  if (phase.kind === 'ended') return { kind: 'ended', reason: phase.reason };
  if (phase.kind === 'idle') return { kind: 'idle' };
  if (phase.kind === 'joining') return { kind: phase.call === null ? 'connecting' : 'resuming' };
  const partner = Object.keys(state.roles).find((person) => person !== state.me?.person) ?? '';
  switch (shown(state)) {
    case 'waiting': {
      const waiting = { ringing: 'ringing', declined: 'declined', timeout: 'unanswered' } as const;
      const rings = phase.note === 'ringing' && !state.onlinePersons.includes(partner);
      return { kind: phase.note === null || rings ? 'waiting' : waiting[phase.note], person: partner };
    }
    case 'reconnecting': {
      const away = linksOf(state).find((link) => link.presence !== 'here');
      return away
        ? { kind: 'partner_reconnecting', person: away.person }
        : { kind: 'reconnecting', person: partner };
    }
    case 'connected':
      return { kind: 'connected' };
    default:
      return { kind: 'connecting' };
  }
}
