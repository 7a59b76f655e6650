/**
 * Audio first: what becomes of our picture when the link gets weak. Pure: one value, moved on by each look at the link.
 *
 * The picture falls to a small size, then away, within seconds; it comes back step by step, and never sooner than a minute
 * after it fell: so it cannot go up twice, or down twice, within a minute, with the other direction in between. While no
 * picture is sent, nobody knows what the link would carry (a congestion control only learns from traffic). So after a
 * growing pause the small picture is tried: it is sent, but the other side is told of it only when it went well, and a
 * trial that fails is seen by nobody.
 */
import type { Quality } from './quality';
import type { Sample, Sent } from './sample';

export type Picture = 'full' | 'small' | 'none';

export interface LinkNow {
  atMs: number;
  /** What the congestion control believes may be sent; null where the browser does not tell. */
  budgetBitsPerS: number | null;
  lossShare: number | null;
  roundTripMs: number | null;
  /** The picture needs less than it may use, as one without movement does: the budget cannot grow then. */
  eased: boolean;
}

export interface WeakLink {
  /** What the other side gets, and is told of. */
  picture: Picture;
  /** The small picture is tried, unseen: since when, and the round trip before it; null while it is not. */
  trial: { sinceMs: number; roundTripMs: number } | null;
  /** Since when the link has been too weak for what is sent, and since when it could do more. */
  weakSinceMs: number | null;
  strongSinceMs: number | null;
  /** The picture does not come back before that moment. */
  notBeforeMs: number;
  /** From a fall, or a trial that failed, to the next attempt. */
  pauseMs: number;
  climbedAtMs: number;
  lookedAtMs: number;
}

/** Sound takes about 50 kbit/s, headers included; a small picture is worth its place from 50 kbit/s on. */
const SMALL_NEEDS_BITS_PER_S = 100_000;
const FULL_NEEDS_BITS_PER_S = 250_000;
/** A congestion control believes in up to 1.5 times what it sees sent: more could not be asked of the small picture. */
const SMALL_RETURNS_BITS_PER_S = 130_000;
const FULL_RETURNS_BITS_PER_S = 310_000;

/** Where the budget tells nothing. Losses alone are often not ours to cure, so these are late. */
const BAD = { full: { loss: 0.2, roundTripMs: 1_000 }, small: { loss: 0.3, roundTripMs: 1_500 } };
const CLEAN = { loss: 0.05, roundTripMs: 500 };

/** An encoder with something to do uses nearly all of what it may. */
const EASED_SHARE = 0.7;

/** How long the link has to be too weak, or strong enough, before the picture follows. */
export const FALL_MS = 3_000;
export const CLIMB_MS = 10_000;
/** A trial is looked at when figures from before it are out of sight; then it goes well for `TRIED_MS`, or fails. */
const SETTLE_MS = 4_500;
export const TRIED_MS = 3_000;
export const TRIAL_MS = 20_000;
/** So much more of a round trip is felt in a talk, and the trial ends when it lasted. */
const HARM_MS = 250;
export const HARMED_MS = 1_000;
export const FIRST_PAUSE_MS = 60_000;
export const LONGEST_PAUSE_MS = 240_000;
/** A page that was asleep knows nothing of the time between. */
const ASLEEP_MS = 3_000;

export const strongLink: WeakLink = {
  picture: 'full',
  trial: null,
  weakSinceMs: null,
  strongSinceMs: null,
  notBeforeMs: 0,
  pauseMs: FIRST_PAUSE_MS,
  climbedAtMs: Number.NEGATIVE_INFINITY,
  lookedAtMs: Number.NEGATIVE_INFINITY,
};

/** What is really sent: a trial sends the small picture although it is shown to nobody. */
export function sentPicture({ picture, trial }: WeakLink): Picture {
  return trial === null ? picture : 'small';
}

/**
 * With several others the link is as good as the best of the connections: if only one of them is weak, it is the other's
 * link, and the congestion control of that connection sees to it.
 */
export function linkNow(qualities: readonly Quality[], atMs: number): LinkNow {
  return {
    atMs,
    budgetBitsPerS: best(
      qualities.map(({ samples }) => samples.at(-1)?.pair?.outgoingBitsPerS ?? null),
      Math.max,
    ),
    lossShare: best(qualities.map(lossOf), Math.min),
    roundTripMs: best(
      qualities.map(({ figures }) => figures?.roundTripMs ?? null),
      Math.min,
    ),
    eased: qualities.some(({ samples }) => isEased(samples)),
  };
}

function best(values: (number | null)[], choose: (...known: number[]) => number): number | null {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? choose(...known) : null;
}

function picture(sample: Sample | undefined): Sent | undefined {
  return sample?.sent.find(({ kind, active }) => kind === 'video' && active);
}

/** Reports on the picture come once a second, those on sound every five: after a cut these would be believed too long. */
function lossOf({ samples, figures }: Quality): number | null {
  return picture(samples.at(-1))?.lossShare ?? figures?.sent.lossShare ?? null;
}

function isEased(samples: readonly Sample[]): boolean {
  const first = picture(samples[0]);
  const last = picture(samples.at(-1));
  const seconds = ((samples.at(-1)?.atMs ?? 0) - (samples[0]?.atMs ?? 0)) / 1000;
  if (!first || !last || last.targetBitsPerS === null || seconds <= 0) return false;
  return ((last.bytes - first.bytes) * 8) / seconds < last.targetBitsPerS * EASED_SHARE;
}

/** `wanted`: there is a picture to send. Without one the link is not judged, for nothing loads it. */
export function follow(before: WeakLink, now: LinkNow, wanted: boolean): WeakLink {
  const { atMs } = now;
  const asleep = atMs - before.lookedAtMs > ASLEEP_MS;
  if (!wanted || asleep) {
    return { ...before, lookedAtMs: atMs, trial: null, weakSinceMs: null, strongSinceMs: null };
  }
  const strong = couldDoMore(before, now);
  const link: WeakLink = {
    ...before,
    lookedAtMs: atMs,
    weakSinceMs: isTooWeak(before, now) ? (before.weakSinceMs ?? atMs) : null,
    strongSinceMs: strong ? (before.strongSinceMs ?? atMs) : null,
  };
  if (link.trial !== null) return goOnTrying(link, link.trial.sinceMs, atMs);
  if (lasted(link.weakSinceMs, atMs, FALL_MS)) return fall(link, now);
  if (atMs < link.notBeforeMs || !strong) return link;
  if (link.picture === 'none') {
    return { ...link, trial: { sinceMs: atMs, roundTripMs: now.roundTripMs ?? 0 }, strongSinceMs: null };
  }
  return lasted(link.strongSinceMs, atMs, CLIMB_MS) ? climb(link, 'full', atMs) : link;
}

/** Nobody was told of the trial, so its end is no change for anybody. */
function goOnTrying(link: WeakLink, sinceMs: number, atMs: number): WeakLink {
  if (lasted(link.strongSinceMs, atMs, TRIED_MS)) return climb(link, 'small', atMs);
  if (atMs - sinceMs < TRIAL_MS && !lasted(link.weakSinceMs, atMs, HARMED_MS)) return link;
  return paused({ ...link, trial: null }, Math.min(link.pauseMs * 2, LONGEST_PAUSE_MS), atMs);
}

function fall(link: WeakLink, now: LinkNow): WeakLink {
  const picture = link.picture === 'full' && carries(now, 'small') ? 'small' : 'none';
  // What did not last longer than its pause was an attempt that failed: the next one comes later.
  const soon = now.atMs - link.climbedAtMs < link.pauseMs;
  return paused(
    { ...link, picture },
    soon ? Math.min(link.pauseMs * 2, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS,
    now.atMs,
  );
}

function paused(link: WeakLink, pauseMs: number, atMs: number): WeakLink {
  return { ...link, pauseMs, notBeforeMs: atMs + pauseMs, weakSinceMs: null, strongSinceMs: null };
}

function climb(link: WeakLink, picture: Picture, atMs: number): WeakLink {
  return {
    ...link,
    picture,
    trial: null,
    weakSinceMs: null,
    strongSinceMs: null,
    climbedAtMs: atMs,
  };
}

/** In a trial the budget has yet to grow from what sound needs: there only loss and delay say no. */
function isTooWeak({ picture, trial }: WeakLink, now: LinkNow): boolean {
  if (trial === null) return picture !== 'none' && !carries(now, picture);
  return !unharmed(now, 'small') || (now.roundTripMs ?? 0) >= trial.roundTripMs + HARM_MS;
}

function carries(now: LinkNow, picture: 'full' | 'small'): boolean {
  if (now.budgetBitsPerS === null || isFree(now)) return unharmed(now, picture);
  return now.budgetBitsPerS >= (picture === 'full' ? FULL_NEEDS_BITS_PER_S : SMALL_NEEDS_BITS_PER_S);
}

function unharmed({ lossShare, roundTripMs }: LinkNow, picture: 'full' | 'small'): boolean {
  const bad = BAD[picture];
  return (lossShare ?? 0) < bad.loss && (roundTripMs ?? 0) < bad.roundTripMs;
}

function isClean({ lossShare, roundTripMs }: LinkNow): boolean {
  return (lossShare ?? 0) < CLEAN.loss && (roundTripMs ?? 0) < CLEAN.roundTripMs;
}

/** All that the picture needs gets through: then a small budget says nothing about the link. */
function isFree(now: LinkNow): boolean {
  return now.eased && isClean(now);
}

function couldDoMore({ picture, trial }: WeakLink, now: LinkNow): boolean {
  if (picture === 'full') return false;
  if (picture === 'none' && trial === null) return unharmed(now, 'small');
  if (trial !== null && now.atMs - trial.sinceMs < SETTLE_MS) return false;
  if (now.budgetBitsPerS === null) return isClean(now);
  if (isFree(now)) return true;
  return now.budgetBitsPerS >= (picture === 'small' ? FULL_RETURNS_BITS_PER_S : SMALL_RETURNS_BITS_PER_S);
}

function lasted(sinceMs: number | null, atMs: number, ms: number): boolean {
  return sinceMs !== null && atMs - sinceMs >= ms;
}
