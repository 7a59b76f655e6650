/**
 * What to do with a signal (rules K2, K3; W3C WebRTC §10.7, perfect negotiation). Pure: one value for each pair of legs.
 *
 * `gen` counts ICE generations of the pair of legs, `seq` a sender's signals to a peer. The connection itself only
 * carries out what is decided here.
 */
import type { Candidate, Description, SignalPush } from '../protocol/wire';

export interface Negotiation {
  polite: boolean;
  /** The last signal that was taken in; a repeat has no greater `seq`. */
  lastSeq: number;
  /** The generation of the last description pair that was applied; -1 before the first. */
  settled: number;
  /** The greatest generation seen, own ones included. */
  seen: number;
  /** The generation of our offer that has no answer yet. */
  offered: number | null;
  /** How many sections it has: its answer has as many (RFC 3264 §6), and a repeated answer to an older offer may not. */
  sections: number;
  /** The origin of the last offer that we took: one with the same origin is the same offer (RFC 3264 §8). */
  taken: string | null;
  /** The remote side's offer that we did not take because ours stands (we are impolite), and what followed it. */
  ignored: { gen: number; description: Description; candidates: Candidate[] } | null;
  /** Candidates whose description is not there yet. */
  held: { gen: number; candidate: Candidate }[];
}

export type Decision =
  /** Forget our own offer: `fresh` says that nothing was ever agreed, so a new connection is simplest and safest. */
  | { do: 'give_way'; fresh: boolean; restartLost: boolean }
  | { do: 'accept_offer'; gen: number; description: Description }
  /** They said once more what we have answered: our answer may be lost, and what we offered since then stands. */
  | { do: 'repeat_answer' }
  | { do: 'accept_answer'; gen: number; description: Description }
  | { do: 'add_candidates'; candidates: Candidate[] }
  /** Say our offer once more: the other side may have been between two sockets when it came. */
  | { do: 'repeat_offer' };

/** Held candidates at most. At the bound the oldest go: a later generation brings its own. */
export const HELD_CANDIDATES_BOUND = 256;

/** Nobody restarts so often: a greater leap is made up, and would leave us without a number for our own. */
export const GENERATIONS_BOUND = 1_000;

export function negotiation(polite: boolean): Negotiation {
  return {
    polite,
    lastSeq: -1,
    settled: -1,
    seen: 0,
    offered: null,
    sections: 0,
    taken: null,
    ignored: null,
    held: [],
  };
}

/** K3: whoever offers a restart uses the greatest generation seen + 1; any other offer stays in its generation. */
export function offerGeneration(n: Negotiation, restart: boolean): number {
  return restart ? n.seen + 1 : Math.max(n.settled, 0);
}

export function offering(n: Negotiation, gen: number, sdp: string): Negotiation {
  return { ...n, offered: gen, sections: sectionsOf(sdp), seen: Math.max(n.seen, gen) };
}

function sectionsOf(sdp: string): number {
  return sdp.match(/^m=/gm)?.length ?? 0;
}

/** With the number of sections, since aiortc's origin is the second in which it offers. */
function originOf(sdp: string): string | null {
  const origin = sdp.match(/^o=.*/m)?.[0];
  return origin === undefined ? null : `${origin} ${sectionsOf(sdp)}`;
}

export function receive(n: Negotiation, signal: SignalPush): [Negotiation, Decision[]] {
  if (signal.seq <= n.lastSeq || signal.gen > n.seen + GENERATIONS_BOUND) return [n, []];
  const heard = { ...n, lastSeq: signal.seq, seen: Math.max(n.seen, signal.gen) };
  if (signal.description) return receiveDescription(heard, signal.gen, signal.description);
  return receiveCandidates(heard, signal.gen, signal.candidates ?? []);
}

function receiveDescription(
  n: Negotiation,
  gen: number,
  description: Description,
): [Negotiation, Decision[]] {
  if (description.type === 'answer') {
    if (n.offered === null || gen !== n.offered || sectionsOf(description.sdp) !== n.sections) return [n, []];
    return settle({ ...n, offered: null }, gen, [{ do: 'accept_answer', gen, description }]);
  }
  if (description.type !== 'offer' || gen < n.settled) return [n, []];
  const origin = originOf(description.sdp);
  if (gen === n.settled && origin !== null && origin === n.taken) return [n, [{ do: 'repeat_answer' }]];
  if (n.offered === null)
    return settle({ ...n, taken: origin }, gen, [{ do: 'accept_offer', gen, description }]);
  // Glare: both have offered. The impolite side insists, the polite one gives way.
  if (!n.polite) {
    const ignoring = { ...n, ignored: { gen, description, candidates: [] } };
    return [ignoring, [{ do: 'repeat_offer' }]];
  }
  return giveWay(n, gen, description);
}

function giveWay(n: Negotiation, gen: number, description: Description): [Negotiation, Decision[]] {
  const restartLost = n.offered !== null && n.offered > gen;
  return settle({ ...n, offered: null, taken: originOf(description.sdp) }, gen, [
    { do: 'give_way', fresh: n.settled < 0, restartLost },
    { do: 'accept_offer', gen, description },
  ]);
}

/**
 * Nobody answered our offer although we ignored theirs: the other side does not give way either (it cannot roll back,
 * or it counts politeness otherwise). Two who insist never meet, so we take their offer after all.
 */
export function relent(n: Negotiation): [Negotiation, Decision[]] {
  const { ignored } = n;
  if (ignored === null || n.offered === null) return [n, []];
  const [settled, decisions] = giveWay(n, ignored.gen, ignored.description);
  const { candidates } = ignored;
  return [settled, candidates.length > 0 ? [...decisions, { do: 'add_candidates', candidates }] : decisions];
}

function receiveCandidates(n: Negotiation, gen: number, candidates: Candidate[]): [Negotiation, Decision[]] {
  if (n.ignored !== null) {
    const all = [...n.ignored.candidates, ...candidates].slice(-HELD_CANDIDATES_BOUND);
    return [{ ...n, ignored: { ...n.ignored, candidates: all } }, []];
  }
  if (gen < n.settled) return [n, []];
  if (gen === n.settled) return [n, [{ do: 'add_candidates', candidates }]];
  const held = [...n.held, ...candidates.map((candidate) => ({ gen, candidate }))];
  return [{ ...n, held: held.slice(-HELD_CANDIDATES_BOUND) }, []];
}

/** A description of generation `gen` is applied: its candidates may follow, older ones are of no use any more. */
function settle(n: Negotiation, gen: number, decisions: Decision[]): [Negotiation, Decision[]] {
  const candidates = n.held.filter((held) => held.gen === gen).map((held) => held.candidate);
  const held = n.held.filter((h) => h.gen > gen);
  const more: Decision[] = candidates.length > 0 ? [{ do: 'add_candidates', candidates }] : [];
  return [{ ...n, settled: gen, ignored: null, held }, [...decisions, ...more]];
}
