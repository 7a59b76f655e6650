/**
 * Signals on their way to one peer (rule K2): in order, one at a time, each with its own `seq`, sent again with the same
 * `seq` after a lost answer. Pure.
 */

import { retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { Candidate, Description, Refusal } from '../protocol/wire';

export type Content = { description: Description } | { candidates: Candidate[] };
export type Signal = { seq: number; gen: number } & Content;

export interface SignalQueue {
  waiting: readonly Signal[];
  /** The first of `waiting` is on its way. */
  busy: boolean;
  /** `peer_away`: nothing goes out until the peer is here. */
  held: boolean;
  /** The last `seq` that was ever sent: what left once may have arrived, so it is never changed. */
  tried: number;
}

/** The wire's limit of candidates in one signal. */
const CANDIDATES_BOUND = 64;
/** Signals waiting at most: an outage makes candidates, not many. Beyond it a new connection is due anyway. */
export const QUEUE_BOUND = 128;

export const emptyQueue: SignalQueue = { waiting: [], busy: false, held: false, tried: 0 };

/** Candidates join those that still wait, so that a burst is one signal. */
export function queued(queue: SignalQueue, seq: number, gen: number, content: Content): SignalQueue {
  const last = queue.waiting.at(-1);
  const untried = last !== undefined && last.seq > queue.tried;
  if (untried && 'candidates' in content && 'candidates' in last && last.gen === gen) {
    const candidates = [...last.candidates, ...content.candidates];
    if (candidates.length <= CANDIDATES_BOUND) {
      return { ...queue, waiting: [...queue.waiting.slice(0, -1), { ...last, candidates }] };
    }
  }
  const waiting = queue.waiting.filter((one) => one.seq <= queue.tried || !isSaidAgain(one, gen, content));
  if (waiting.length >= QUEUE_BOUND) return queue;
  return { ...queue, waiting: [...waiting, { seq, gen, ...content }] };
}

/** An offer that is repeated holds all that the one before it held: in a long outage they would pile up. */
function isSaidAgain(waiting: Signal, gen: number, content: Content): boolean {
  const offers = [waiting, content].every((one) => 'description' in one && one.description.type === 'offer');
  return offers && waiting.gen === gen;
}

export function nextSignal(queue: SignalQueue): Signal | null {
  return queue.busy || queue.held ? null : (queue.waiting[0] ?? null);
}

export function sendingSignal(queue: SignalQueue): SignalQueue {
  return { ...queue, busy: true, tried: queue.waiting[0]?.seq ?? queue.tried };
}

export function signalHandedOver(queue: SignalQueue): SignalQueue {
  return { ...queue, busy: false, waiting: queue.waiting.slice(1) };
}

/** What to do after a refusal: wait (`retryMs`), hold until the peer is here, or give this signal up. */
export function signalRefused(
  queue: SignalQueue,
  error: Refusal,
  lost: boolean,
): [SignalQueue, number | null] {
  const free = { ...queue, busy: false };
  if (lost) return [{ ...free, held: true }, null];
  if (error.code === 'peer_away') return [{ ...free, held: true }, null];
  if (worthRetrying(error)) return [free, retryDelayMs(error)];
  return [{ ...free, waiting: free.waiting.slice(1) }, null];
}

export function released(queue: SignalQueue): SignalQueue {
  return { ...queue, held: false };
}
