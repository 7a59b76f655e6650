/** What the check of the network found, and what it means for a call. Pure: echo_check.ts finds, this judges. */
import { figuresOf } from './quality';
import type { CandidateType, Sample } from './sample';

/** What was seen between this page and the echo of the server. */
export interface Found {
  /** What the server handed out for the way of the media. */
  offered: { stun: boolean; relay: boolean; relayOnly: boolean };
  /** The types of candidates on our side. */
  gathered: readonly CandidateType[];
  /** What STUN servers and relays answered instead of a candidate: codes of RFC 8489 and RFC 8656; 701 is silence. */
  errors: readonly number[];
  echo: 'answered' | 'busy' | 'no_answer' | 'unsupported';
  /** Looks at the connection, a second apart; empty when none came about. */
  looks: readonly Sample[];
}

/** How the media went, and what that says of other networks. */
export type Way =
  | 'direct'
  /** Direct, and the server has no relay for networks that do not allow that. */
  | 'direct_only'
  /** Direct; the relay was asked and refused its credentials, or was not reached. */
  | 'relay_refused'
  | 'relay_silent'
  | 'relay_needed'
  /** The programme hides addresses: every call goes through the relay. */
  | 'relay_by_rule';

export interface Figures {
  roundTripMs: number | null;
  /** The worse of both directions, in [0, 1]. */
  lossShare: number;
  relay: 'udp' | 'tcp' | 'tls' | null;
}

export type Verdict =
  | { kind: 'all'; way: Way; figures: Figures }
  | { kind: 'sound_only'; why: 'no_picture' | 'loss' | 'slow'; way: Way; figures: Figures }
  | { kind: 'poor'; figures: Figures }
  | { kind: 'nothing'; why: 'no_relay' | 'relay_refused' | 'relay_silent' | 'relay_useless' }
  | { kind: 'busy' | 'no_answer' | 'unsupported' };

/** A picture stands still more often than not from here on; sound is concealed for longer (Opus has FEC). */
const PICTURE_LOSS = 0.1;
/** Nobody is understood from here on, or everybody speaks at the same time (ITU-T G.114 sees no use above 400 ms one way). */
const SOUND_LOSS = 0.3;
const SOUND_ROUND_TRIP_MS = 1_500;
/** Sound and the smallest picture. */
const PICTURE_BITS_PER_S = 120_000;
/** Less often than that a picture is a row of stills. */
const PICTURE_FRAMES_PER_S = 4;

/** Answers of a relay that we were not let in: bad or expired credentials, forbidden, over the quota. */
const REFUSED = [401, 403, 438, 441, 486, 508];

export function judge(found: Found): Verdict {
  if (found.echo !== 'answered') return { kind: found.echo };
  const first = found.looks[0];
  const last = found.looks.at(-1);
  const seen = figures(found.looks);
  if (!first || !last || !seen || sum(last, 'audio', 'packets') === 0)
    return { kind: 'nothing', why: whyNothing(found) };
  const way = wayOf(found, seen);
  const { lossShare, roundTripMs } = seen;
  if (lossShare >= SOUND_LOSS || (roundTripMs ?? 0) >= SOUND_ROUND_TRIP_MS)
    return { kind: 'poor', figures: seen };
  const perS = framesPerS(first, last);
  const budget = last.pair?.outgoingBitsPerS ?? null;
  if (perS === 0) return { kind: 'sound_only', why: 'no_picture', way, figures: seen };
  if (lossShare >= PICTURE_LOSS) return { kind: 'sound_only', why: 'loss', way, figures: seen };
  if (perS < PICTURE_FRAMES_PER_S || (budget !== null && budget < PICTURE_BITS_PER_S))
    return { kind: 'sound_only', why: 'slow', way, figures: seen };
  return { kind: 'all', way, figures: seen };
}

function whyNothing({ offered, gathered, errors }: Found): Extract<Verdict, { kind: 'nothing' }>['why'] {
  if (!offered.relay) return 'no_relay';
  if (gathered.includes('relay')) return 'relay_useless';
  return errors.some((code) => REFUSED.includes(code)) ? 'relay_refused' : 'relay_silent';
}

function wayOf({ offered, gathered, errors }: Found, { relay }: Figures): Way {
  if (relay !== null) return offered.relayOnly ? 'relay_by_rule' : 'relay_needed';
  if (!offered.relay) return 'direct_only';
  if (gathered.includes('relay')) return 'direct';
  return errors.some((code) => REFUSED.includes(code)) ? 'relay_refused' : 'relay_silent';
}

function figures(looks: readonly Sample[]): Figures | null {
  const seen = figuresOf(looks);
  if (seen === null) return null;
  return {
    roundTripMs: seen.roundTripMs,
    lossShare: Math.max(lossThere(looks), seen.received.lossShare ?? 0),
    relay: seen.path === 'relay' ? (seen.protocol ?? 'udp') : null,
  };
}

/** Of one report alone the share would jump: a few packets stand for a second of sound. */
function lossThere(looks: readonly Sample[]): number {
  const of = (kind: 'audio' | 'video') => {
    const told = looks
      .flatMap(({ sent }) => sent.map((one) => (one.kind === kind ? one.lossShare : null)))
      .filter((share) => share !== null);
    return told.length > 0 ? told.reduce((all, share) => all + share, 0) / told.length : 0;
  };
  return Math.max(of('audio'), of('video'));
}

function framesPerS(first: Sample, last: Sample): number {
  const seconds = (last.atMs - first.atMs) / 1000;
  return seconds > 0 ? (sum(last, 'video', 'frames') - sum(first, 'video', 'frames')) / seconds : 0;
}

function sum({ received }: Sample, kind: 'audio' | 'video', what: 'packets' | 'frames'): number {
  return received.reduce((all, stream) => all + (stream.kind === kind ? stream[what] : 0), 0);
}
