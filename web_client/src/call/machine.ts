/**
 * The call as a state machine: state + input → state + effects. Pure: no clock, no socket, no RTCPeerConnection.
 *
 * Rules K1–K5 of the protocol; the connections themselves (peer_link.ts) and the asking (live.svelte.ts) only carry out
 * the effects. The repair ladder is `repair`.
 */
import type { CallJoined, Joined, Refusal } from '../protocol/wire';
import { hungUp, isPair, pauseMs, peerChanged, signalArrived, syncLinks, vanished } from './links';
import {
  type CallState,
  closing,
  type Effect,
  type EndReason,
  FIRST_FLOW_MS,
  type Flow,
  type Input,
  JUST_BACK_MS,
  type Link,
  linkOf,
  linksOf,
  MISSING_REBUILDS_BOUND,
  type Phase,
  RESTART_MS,
  RESTARTS_BOUND,
  RING_MS,
  rest,
  type Step,
  withLink,
  withoutRepairs,
} from './state';

type Handlers = { [K in Input['on']]: (state: CallState, input: Extract<Input, { on: K }>) => Step };

const handlers: Handlers = {
  joined: (state, { answer }) => joinedRoom(state, answer),
  offline: (state) => withoutRepairs({ ...state, online: false, phase: withoutAsk(state.phase) }),
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
      : [{ ...withoutOldEnd(state), ring: null }, [{ do: 'decline', call: state.ring.call }]],
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
    const quiet = state.ring?.call === call ? { ...withoutOldEnd(state), ring: null } : state;
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

/** How an earlier call ended is no news any more once another has rung. */
function withoutOldEnd(state: CallState): CallState {
  return state.phase.kind === 'ended' ? { ...state, phase: { kind: 'idle' } } : state;
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
  // K5: whatever happened to the socket, media that flows keeps its leg. Where nothing flows, a new one is cleaner.
  const flows = linksOf(state).some((link) => link.flow === 'flowing');
  if (!stillIn) return askJoin(state, flows ? phase.leg : null);
  const [kept, effects] = keepLeg({ ...state, justBack: true });
  const told: Effect = { do: 'tell_media', call: phase.call, media: state.media };
  return [kept, [told, { do: 'timer', name: 'just_back', ms: JUST_BACK_MS }, ...effects]];
}

/**
 * Back in the call with the same leg: connections that flow stand (K5). Where the server and the media were both lost, our
 * network is another one. A new connection is then the quicker way: after an ICE restart Chromium stays with the dead
 * pair of candidates for 3.5 s, unless the new one has a higher priority.
 */
function keepLeg(state: CallState): Step {
  const [synced, effects] = syncLinks(state, { missed: true });
  const back = linksOf(synced).flatMap((link): Effect[] => [{ do: 'release', peer: link.peer }]);
  const stopped = linksOf(synced).filter((link) => link.flow !== 'flowing' && link.presence === 'here');
  return stopped.reduce<Step>(
    ([next, done], link) => {
      const [repaired, more] = link.flowed
        ? repair(withLink(next, { ...link, restarts: RESTARTS_BOUND, heard: true }), link.peer)
        : rest(next, link, FIRST_FLOW_MS);
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
  const [synced, opened] = syncLinks(entered, { met });
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

function partnerLeft(state: CallState): Step {
  if (state.phase.kind !== 'in' || linksOf(state).length > 0 || !isPair(state)) return [state, []];
  const person = Object.keys(state.roles).find((one) => one !== state.me?.person) ?? '';
  const [ended, effects] = end(state, { kind: 'partner_left', person });
  return [ended, [...effects, { do: 'leave', call: state.phase.call }]];
}

// Media and its repair

function flowChanged(state: CallState, peer: string, leg: number, flow: Flow): Step {
  const link = linkOf(state, peer);
  if (!link || link.leg !== leg || link.flow === flow) return [state, []];
  const changed = { ...link, flow };
  if (flow === 'flowing') {
    const flowing = { ...changed, flowed: true, met: true, restarts: 0 };
    const known = { ...state, rebuilds: 0 };
    // A repair keeps its time even if it helped at once: that bounds the repairs of a link that comes and goes.
    if (link.flowed) return [withLink(known, flowing), []];
    return [withLink(known, { ...flowing, resting: false }), [{ do: 'cancel', name: `repair ${peer}` }]];
  }
  const next = withLink(state, changed);
  if (link.presence === 'gone') return vanished(next, changed);
  return flow === 'new' ? [next, []] : repair(next, peer);
}

/**
 * The ladder: flowing → leave alone; else ICE restarts with fresh servers; else a new connection by a new leg (K1a).
 * Each rung has its time. While a side is away from the server, nothing is tried: its return begins anew (keepLeg). Who
 * does not answer cannot hear us: a new connection would only take down the one that may come back by itself.
 */
function repair(state: CallState, peer: string): Step {
  const link = linkOf(state, peer);
  if (!link || link.flow === 'flowing') return [state, []];
  // What has failed for good is not waited for.
  if (link.resting && !(link.flowed && link.flow === 'failed')) return [state, []];
  if (!state.online || state.phase.kind !== 'in' || link.presence !== 'here') return [state, []];
  const missing = link.flow === 'sound_missing' || link.flow === 'picture_missing';
  const moved = state.justBack && !missing;
  // Both doubt at the same moment, and only one of them is to offer: glare costs a connection (peer_link.ts).
  if (link.flow === 'doubtful' && link.patient && !moved) return [state, []];
  const bound = missing || !link.rollback ? 1 : RESTARTS_BOUND;
  const othersFlow = linksOf(state).some((other) => other.peer !== peer && other.flow === 'flowing');
  const inVain = moved || (link.restarts >= bound && (link.heard || !link.rollback));
  // A new leg is new for everybody: who cannot be reached never costs the others what flows, and is tried ever more rarely.
  if ((link.flowed && link.flow !== 'failed' && !inVain) || othersFlow) {
    const restarting = { ...link, restarts: link.restarts + 1, heard: false };
    const pause = othersFlow && link.restarts >= bound ? pauseMs(link.restarts - bound) : RESTART_MS;
    const [resting, effects] = rest(state, restarting, pause);
    // Who cannot restart only gets the time of it: many a path comes back by itself.
    return [resting, link.rollback ? [{ do: 'restart', peer }, ...effects] : effects];
  }
  if (missing && state.rebuilds >= MISSING_REBUILDS_BOUND) return [state, []];
  return rebuild(state, link);
}

function rebuild(state: CallState, link: Link): Step {
  const [resting, effects] = rest(state, link, pauseMs(state.rebuilds));
  if (state.phase.kind === 'in' && state.phase.ask !== null) return [resting, effects];
  const [asked, asking] = askJoin({ ...resting, justBack: false, rebuilds: state.rebuilds + 1 });
  return [asked, [...asking, ...effects]];
}

function timerFired(state: CallState, name: string): Step {
  if (name === 'left') return partnerLeft(state);
  if (name === 'just_back') return [{ ...state, justBack: false }, []];
  if (name === 'ring') {
    const { phase } = state;
    return phase.kind === 'in' && phase.note === 'ringing'
      ? [{ ...state, phase: { ...phase, note: 'timeout' } }, []]
      : [state, []];
  }
  if (name.startsWith('back ')) {
    const link = linkOf(state, name.slice('back '.length));
    const stillOut = link?.presence === 'gone' && state.peers[link.peer]?.media === null;
    return link && stillOut ? hungUp(state, link) : [state, []];
  }
  return name.startsWith('repair ') ? rested(state, name.slice('repair '.length)) : [state, []];
}

function rested(state: CallState, peer: string): Step {
  const link = linkOf(state, peer);
  return link ? repair(withLink(state, { ...link, resting: false }), peer) : [state, []];
}
