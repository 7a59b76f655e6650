/**
 * How good a connection is, in figures for both directions and in one word. Pure: one value, moved on by each sample.
 *
 * The figures are those of the last seconds; the word follows them slowly, so that it does not flicker. What a browser does
 * not tell is null, and is left out of what people see.
 */
import type { Received, Sample, Sent } from './sample';

export type Grade = 'good' | 'fair' | 'weak';

export interface Direction {
  bitsPerS: number | null;
  /** The share of packets that were lost, in [0, 1]. */
  lossShare: number | null;
  picture: { width: number; height: number; framesPerS: number | null } | null;
}

export interface Figures {
  roundTripMs: number | null;
  path: 'direct' | 'relay' | null;
  protocol: 'udp' | 'tcp' | 'tls' | null;
  sent: Direction & { limitation: 'cpu' | 'bandwidth' | null };
  received: Direction;
}

export interface Quality {
  /** The samples that the figures are made of, oldest first. */
  samples: readonly Sample[];
  figures: Figures | null;
  /** Null until enough has been seen. */
  grade: Grade | null;
  /** The figures speak for another grade, and since when. */
  leaning: { grade: Grade; sinceMs: number } | null;
}

/** Reports of the other side come about once a second: a shorter window would miss them. */
const WINDOW_MS = 4_000;
/** The first grade needs that much of a window. */
const FIRST_GRADE_MS = 2_000;
/** Another grade has to be true that long before it is said: worse sooner than better. */
export const WORSE_MS = 3_000;
export const BETTER_MS = 8_000;

/** A good picture needs no more. */
const WIDE_BITS_PER_S = 1_000_000;

/** Talking gets hard beyond these (ITU-T G.114 for the delay of both ways; Opus conceals and corrects some loss). */
const FAIR = { roundTripMs: 300, lossShare: 0.03 };
const WEAK = { roundTripMs: 700, lossShare: 0.1 };

const GRADES: readonly Grade[] = ['good', 'fair', 'weak'];

export const unknownQuality: Quality = { samples: [], figures: null, grade: null, leaning: null };

/** `paused`: one of the two sends no picture because its link is weak. */
export function observe(before: Quality, sample: Sample, paused: boolean): Quality {
  const samples = [...before.samples.filter((one) => continues(one, sample)), sample];
  const figures = figuresOf(samples);
  const seenMs = sample.atMs - (samples[0]?.atMs ?? sample.atMs);
  const judged = grade(figures, paused);
  if (before.grade === null) {
    return { samples, figures, grade: seenMs >= FIRST_GRADE_MS ? judged : null, leaning: null };
  }
  return { samples, figures, ...settled(before.grade, before.leaning, judged, sample.atMs) };
}

/** An older sample of the same connection, near enough: counters of another connection start anew. */
function continues(older: Sample, sample: Sample): boolean {
  const sameConnection = traffic(older) <= traffic(sample);
  return sameConnection && sample.atMs - older.atMs <= WINDOW_MS && sample.atMs - older.atMs > 0;
}

function traffic({ sent, received }: Sample): number {
  return total(sent, 'bytes') + total(received, 'bytes');
}

/** From the first to the last of these samples of one connection. */
export function figuresOf(samples: readonly Sample[]): Figures | null {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last) return null;
  const seconds = (last.atMs - first.atMs) / 1000;
  const rate = (bytes: number) => (seconds > 0 ? Math.max(0, Math.round((bytes * 8) / seconds)) : null);
  const flowing = last.sent.filter((one) => one.packets > (counterpart(first.sent, one)?.packets ?? 0));
  const { pair } = last;
  const relayed = pair?.local === 'relay' || pair?.remote === 'relay';
  return {
    // Checks of the path can overtake nothing and are rare; the reports of the streams tell of a queue sooner.
    roundTripMs: largest([pair?.roundTripMs ?? null, ...flowing.map(({ roundTripMs }) => roundTripMs)]),
    path: pair === null ? null : relayed ? 'relay' : 'direct',
    protocol: pair === null ? null : pair.local === 'relay' ? pair.relayProtocol : pair.protocol,
    sent: {
      bitsPerS: rate(total(last.sent, 'bytes') - total(first.sent, 'bytes')),
      lossShare: largest(flowing.map(({ lossShare }) => lossShare)),
      picture: picture(flowing),
      limitation: limitation(flowing, pair?.outgoingBitsPerS ?? null),
    },
    received: {
      bitsPerS: rate(total(last.received, 'bytes') - total(first.received, 'bytes')),
      lossShare: lostOf(first.received, last.received),
      picture: picture(
        last.received.filter((one) => one.frames > (counterpart(first.received, one)?.frames ?? 0)),
      ),
    },
  };
}

function lostOf(first: readonly Received[], last: readonly Received[]): number | null {
  // A packet that was late is taken back from the lost ones, so the difference may be negative.
  const lost = Math.max(0, total(last, 'packetsLost') - total(first, 'packetsLost'));
  const came = Math.max(0, total(last, 'packets') - total(first, 'packets'));
  return lost + came > 0 ? lost / (lost + came) : null;
}

/** At the beginning of a call an encoder is still cautious although the link is wide: that is no limit of the link. */
function limitation(sent: readonly Sent[], budgetBitsPerS: number | null): Figures['sent']['limitation'] {
  const reason = sent.find(({ kind }) => kind === 'video')?.limitation;
  if (reason === 'bandwidth') return (budgetBitsPerS ?? 0) < WIDE_BITS_PER_S ? reason : null;
  return reason === 'cpu' ? reason : null;
}

function picture(streams: readonly (Sent | Received)[]): Direction['picture'] {
  const seen = streams.find(
    ({ kind, width, height }) => kind === 'video' && width !== null && height !== null,
  );
  if (!seen || seen.width === null || seen.height === null) return null;
  return { width: seen.width, height: seen.height, framesPerS: seen.framesPerS };
}

/** The same stream in an earlier sample. */
function counterpart<T extends Sent | Received>(streams: readonly T[], stream: T): T | undefined {
  const key = (one: Sent | Received) => ('mid' in one ? one.mid : one.track);
  return streams.find((one) => one.kind === stream.kind && key(one) === key(stream));
}

function total<K extends string>(streams: readonly Record<K, number>[], field: K): number {
  return streams.reduce((sum, stream) => sum + stream[field], 0);
}

function largest(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? Math.max(...known) : null;
}

function grade(figures: Figures | null, paused: boolean): Grade {
  if (figures === null) return 'good';
  const { roundTripMs, sent, received } = figures;
  const lossShare = Math.max(sent.lossShare ?? 0, received.lossShare ?? 0);
  const beyond = (bound: typeof FAIR) =>
    (roundTripMs ?? 0) >= bound.roundTripMs || lossShare >= bound.lossShare;
  if (paused || beyond(WEAK)) return 'weak';
  return beyond(FAIR) || sent.limitation === 'bandwidth' ? 'fair' : 'good';
}

/** The mildest of the grades that the figures spoke for without a break is the one that is said at last. */
function settled(
  now: Grade,
  leaning: Quality['leaning'],
  judged: Grade,
  atMs: number,
): Pick<Quality, 'grade' | 'leaning'> {
  if (judged === now) return { grade: now, leaning: null };
  const worse = rank(judged) > rank(now);
  const goesOn = leaning !== null && rank(leaning.grade) > rank(now) === worse;
  const mildest = goesOn && Math.abs(rank(leaning.grade) - rank(now)) < Math.abs(rank(judged) - rank(now));
  const next = { grade: mildest ? leaning.grade : judged, sinceMs: goesOn ? leaning.sinceMs : atMs };
  const lasted = atMs - next.sinceMs >= (worse ? WORSE_MS : BETTER_MS);
  return lasted ? { grade: next.grade, leaning: null } : { grade: now, leaning: next };
}

function rank(grade: Grade): number {
  return GRADES.indexOf(grade);
}
