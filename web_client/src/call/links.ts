/** The links to the other peers in the call: opened, rebuilt and closed as the news of them say (K1a, K3, K5, R4). */
import type { Media, PeerShown, SignalPush } from '../protocol/wire';
import {
  BACK_MS,
  type CallState,
  COMING_BACK_MS,
  closing,
  EARLY_BOUND,
  type Effect,
  FIRST_FLOW_MS,
  LINKS_BOUND,
  type Link,
  linkOf,
  linksOf,
  PARTNER_LEFT_MS,
  REBUILD_MS,
  RESTART_MS,
  rest,
  type Step,
  withLink,
  withoutLink,
} from './state';

/**
 * Links as the known peers say: opened, rebuilt for a new leg (K1a), closed for who is not in the call any more.
 * `missed`: what is new happened while we were away, so the other side's first offer was made to nobody.
 */
export function syncLinks(
  state: CallState,
  { met = new Set(), missed = false }: { met?: ReadonlySet<string>; missed?: boolean } = {},
): Step {
  const known = Object.values(state.peers);
  const present = new Set(known.map(({ peer }) => peer));
  const missing = linksOf(state).filter((link) => !present.has(link.peer));
  const gone = missing.map(
    ({ peer, person, leg }): PeerShown => ({ peer, person, leg, device: '', state: 'gone', media: null }),
  );
  return [...known, ...gone].reduce<Step>(
    ([next, effects], peer) => {
      const [synced, more] = syncLink(next, peer, { met: met.has(peer.peer), missed });
      return [synced, [...effects, ...more]];
    },
    [state, []],
  );
}

interface News {
  met: boolean;
  missed: boolean;
}

export function syncLink(
  state: CallState,
  peer: PeerShown,
  news: News = { met: false, missed: false },
): Step {
  const link = linkOf(state, peer.peer);
  if (state.phase.kind !== 'in') return [state, []];
  if (peer.state === 'gone') return link ? vanished(state, link) : [state, []];
  if (peer.media === null) {
    if (!link) return [state, []];
    // Back in the room after its grace: it is about to claim its leg again (K5), and the media never stopped.
    const returning = link.presence === 'gone' && link.flow === 'flowing';
    return returning
      ? [state, [{ do: 'timer', name: `back ${peer.peer}`, ms: BACK_MS }]]
      : hungUp(state, link);
  }
  if (link && link.leg === peer.leg) {
    const back = link.presence !== 'here' && peer.state === 'here';
    const known = withLink(state, { ...link, presence: peer.state, media: peer.media });
    if (!back) return [known, []];
    const release: Effect = { do: 'release', peer: link.peer };
    if (link.flow === 'flowing') return [known, [release]];
    // Who comes back restarts by itself (K5); we only look after it.
    const here = { ...link, presence: peer.state, media: peer.media, restarts: 0 };
    const [resting, effects] = rest(known, here, link.flowed ? COMING_BACK_MS : FIRST_FLOW_MS);
    return [resting, [release, ...effects]];
  }
  if (!link && linksOf(state).length >= LINKS_BOUND) return [state, []];
  return openLink(state, peer, peer.media, { ...news, met: link?.met ?? news.met });
}

function openLink(
  state: CallState,
  { peer, person, leg, rollback = true, state: presence }: PeerShown,
  media: Media,
  { met, missed }: News,
): Step {
  if (state.phase.kind !== 'in') return [state, []];
  const { call, leg: own } = state.phase;
  const before = linkOf(state, peer) ? closing(peer) : [];
  const yielding = politeTowards(state, peer, person);
  const link: Link = {
    peer,
    person,
    leg,
    presence,
    media,
    rollback,
    patient: rollback && yielding,
    flow: 'new',
    flowed: false,
    met,
    restarts: 0,
    heard: false,
    resting: false,
  };
  const mine = state.early.filter(
    (signal) =>
      signal.from === peer && signal.from_leg === leg && signal.to_leg === own && signal.call === call,
  );
  const early = state.early.filter(
    (signal) => signal.from !== peer || signal.from_leg > leg || signal.to_leg > own,
  );
  const entered: CallState = { ...state, early, phase: { ...state.phase, note: null } };
  const [opened, watching] = rest(entered, link, Math.max(FIRST_FLOW_MS, pauseMs(state.rebuilds)));
  return [
    opened,
    [
      ...before,
      { do: 'cancel', name: 'ring' },
      { do: 'cancel', name: 'left' },
      { do: 'open', peer, leg, polite: !rollback || yielding, patient: link.patient && !missed },
      ...mine.map((signal): Effect => ({ do: 'deliver', peer, signal })),
      ...watching,
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

export function peerChanged(before: CallState, peer: PeerShown): Step {
  if (peer.peer === before.me?.peer) return [before, []];
  const { [peer.peer]: _, ...others } = before.peers;
  const peers = peer.state === 'gone' ? others : { ...others, [peer.peer]: peer };
  return syncLink({ ...before, peers }, peer);
}

/** Its socket is gone for good, but media that flows needs no socket (K5). */
export function vanished(state: CallState, link: Link): Step {
  if (link.flow === 'flowing') return [withLink(state, { ...link, presence: 'gone' }), []];
  return [withoutLink(state, link.peer), closing(link.peer)];
}

/** The other side left the call. Between two people that is the end of it, unless they only changed devices (R4). */
export function hungUp(state: CallState, link: Link): Step {
  const left = withoutLink(state, link.peer);
  const effects = closing(link.peer);
  if (!isPair(state) || linksOf(left).length > 0) return [left, effects];
  return [left, [...effects, { do: 'timer', name: 'left', ms: PARTNER_LEFT_MS }]];
}

export function isPair(state: CallState): boolean {
  return Object.keys(state.roles).length <= 2;
}

export function pauseMs(times: number): number {
  return REBUILD_MS[Math.min(times, REBUILD_MS.length - 1)] ?? RESTART_MS;
}

/**
 * K2: a signal is for one of our legs. Until we have joined, a page that was loaded anew is handed what is for the page before
 * it; and what is for our next leg may come before we know of that. What is early is judged in `openLink`.
 */
export function signalArrived(state: CallState, signal: SignalPush): Step {
  const { phase } = state;
  const kept: CallState = { ...state, early: [...state.early, signal].slice(-EARLY_BOUND) };
  if (phase.kind !== 'in' || signal.call !== phase.call || signal.to_leg !== phase.leg) {
    const joins = phase.kind === 'joining' || (phase.kind === 'in' && phase.ask !== null);
    return [joins ? kept : state, []];
  }
  const link = phase.links[signal.from];
  if (!link || link.leg < signal.from_leg) return [kept, []];
  if (link.leg > signal.from_leg) return [state, []];
  return [withLink(state, { ...link, heard: true }), [{ do: 'deliver', peer: link.peer, signal }]];
}
