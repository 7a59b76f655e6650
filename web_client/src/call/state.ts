/** The call's state, what can happen to it, and what is then to be done: the vocabulary of the call machine. */
import type { CallJoined, Joined, Media, PeerShown, QuietPush, Refusal, SignalPush } from '../protocol/wire';

/** What a connection reports of its media: ICE's word (W3C WebRTC §4.3.3) and the watchdog's together. */
export type Flow =
  | 'new'
  | 'flowing'
  /** Nothing has come for a moment. No reason to alarm a person, reason enough to restart. */
  | 'doubtful'
  /** Nothing comes. */
  | 'interrupted'
  /** Connected, but the promised sound or picture does not come. */
  | 'sound_missing'
  | 'picture_missing'
  | 'failed';

export interface Link {
  peer: string;
  person: string;
  leg: number;
  presence: PeerShown['state'];
  media: Media;
  /** False: it cannot roll back and knows no ICE restart (K3); only a new connection repairs it. */
  rollback: boolean;
  /** The other side goes first, with the first offer and with a new connection. */
  patient: boolean;
  flow: Flow;
  /** Media flowed on this connection: an ICE restart can bring it back. */
  flowed: boolean;
  /** Media flowed with this peer, on whichever connection: what is missing now is a reconnection. */
  met: boolean;
  /** ICE restarts since media last flowed. */
  restarts: number;
  /** The other side has answered, or asked, since our last restart: it can hear us. */
  heard: boolean;
  /** A repair is under way and has its time: `repair PEER` runs. */
  resting: boolean;
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
  /** Signals that overtook the news of a leg, their sender's or ours. */
  early: readonly SignalPush[];
  asks: number;
  rebuilds: number;
  /** We came back to the room a moment ago: media that stop now do so because our network is another one. */
  justBack: boolean;
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
  /** `patient`: the other side is expected to make the first offer. */
  | { do: 'open'; peer: string; leg: number; polite: boolean; patient: boolean }
  | { do: 'close'; peer: string }
  | { do: 'deliver'; peer: string; signal: SignalPush }
  | { do: 'release'; peer: string }
  | { do: 'restart'; peer: string }
  | { do: 'timer'; name: string; ms: number }
  | { do: 'cancel'; name: string }
  | { do: 'remember'; call: string }
  | { do: 'forget' };

export type Step = [CallState, Effect[]];

export const NO_MEDIA: Media = { audio: false, video: false, screen: false };

/** A mesh beyond this many links is an SFU's work; more are not opened. */
export const LINKS_BOUND = 8;
/** Signals that wait for the news of a leg. The oldest go first: a new offer follows anyway. */
export const EARLY_BOUND = 128;
/** A first connection takes under a second; on a poor relay several. Then a new one is tried. */
export const FIRST_FLOW_MS = 15_000;
/** Who comes back restarts by itself (K5); after so long we do. */
export const COMING_BACK_MS = 3_000;
/** A new socket can be there before the media are missed: so long after it they are missed for the same reason. */
export const JUST_BACK_MS = 3_000;
/** Restarts without success before a new connection is made. */
export const RESTARTS_BOUND = 2;
/** How long a restart has before the next repair: gathering at a slow relay and a dozen checks. */
export const RESTART_MS = 4_000;
/** Two who see the same failure: the polite one leaves the other time to make the new connection. */
export const AFTER_YOU_MS = 1_500;
/** New connections for a sound or picture that does not come although the path works. Then it is only explained. */
export const MISSING_REBUILDS_BOUND = 1;
/** The pauses between new connections, so that two who cannot meet do not storm the server. */
export const REBUILD_MS = [8_000, 15_000, 30_000, 60_000] as const;
/** Rule R4: a partner who changes devices leaves with one and joins with the other; that is no hang-up. */
export const PARTNER_LEFT_MS = 800;
/** How long somebody who came back to the room has to come back into the call before it counts as a hang-up. */
export const BACK_MS = 5_000;
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
  justBack: false,
};

export function linksOf(state: CallState): Link[] {
  return state.phase.kind === 'in' ? Object.values(state.phase.links) : [];
}

export function linkOf(state: CallState, peer: string): Link | undefined {
  return state.phase.kind === 'in' ? state.phase.links[peer] : undefined;
}

export function withLink(state: CallState, link: Link): CallState {
  if (state.phase.kind !== 'in') return state;
  return { ...state, phase: { ...state.phase, links: { ...state.phase.links, [link.peer]: link } } };
}

export function withoutLink(state: CallState, peer: string): CallState {
  if (state.phase.kind !== 'in') return state;
  const { [peer]: _, ...links } = state.phase.links;
  return { ...state, phase: { ...state.phase, links } };
}

export function closing(peer: string): Effect[] {
  return [
    { do: 'cancel', name: `repair ${peer}` },
    { do: 'cancel', name: `back ${peer}` },
    { do: 'close', peer },
  ];
}

/**
 * A repair of this link has `ms` before the next one. The patient side waits a little longer, so that of two who see the
 * same failure one makes the new connection.
 */
export function rest(state: CallState, link: Link, ms: number): Step {
  const effect: Effect = {
    do: 'timer',
    name: `repair ${link.peer}`,
    ms: link.patient ? ms + AFTER_YOU_MS : ms,
  };
  return [withLink(state, { ...link, resting: true }), [effect]];
}

export function withoutRepairs(state: CallState): Step {
  return linksOf(state).reduce<Step>(
    ([next, effects], link) => [
      withLink(next, { ...link, resting: false }),
      [...effects, { do: 'cancel', name: `repair ${link.peer}` }],
    ],
    [state, []],
  );
}
