import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SignalPush } from '../protocol/wire';
import {
  type Decision,
  HELD_CANDIDATES_BOUND,
  type Negotiation,
  negotiation,
  offerGeneration,
  offering,
  receive,
  relent,
} from './negotiation';

function signal(change: Partial<SignalPush>): SignalPush {
  return { room: 'r', call: 'c', from: 'b', from_leg: 1, to_leg: 1, seq: 1, gen: 0, ...change };
}
const offer = (seq: number, gen: number, sdp = 'offer') =>
  signal({ seq, gen, description: { type: 'offer', sdp } });
const answer = (seq: number, gen: number) =>
  signal({ seq, gen, description: { type: 'answer', sdp: 'answer' } });
const candidates = (seq: number, gen: number, ...names: string[]) =>
  signal({ seq, gen, candidates: names.map((candidate) => ({ candidate })) });

function hear(n: Negotiation, ...signals: SignalPush[]): [Negotiation, Decision[]] {
  return signals.reduce<[Negotiation, Decision[]]>(
    ([state, all], one) => {
      const [next, decisions] = receive(state, one);
      return [next, [...all, ...decisions]];
    },
    [n, []],
  );
}

describe('K2, K3: what to do with a signal', () => {
  it('K2: candidates wait for their description', () => {
    const [early, none] = hear(negotiation(true), candidates(1, 0, 'a'));
    expect(none).toEqual([]);
    const [, decisions] = hear(early, offer(2, 0), candidates(3, 0, 'b'));
    expect(decisions.map(({ do: what }) => what)).toEqual([
      'accept_offer',
      'add_candidates',
      'add_candidates',
    ]);
  });

  it('K2: a sender may count from 0', () => {
    expect(hear(negotiation(true), offer(0, 0))[1]).toMatchObject([{ do: 'accept_offer' }]);
  });

  it('K3: a repeat is dropped', () => {
    const [once] = hear(negotiation(true), offer(1, 0));
    expect(hear(once, offer(1, 0))[1]).toEqual([]);
  });

  it('K3: older generations are dropped', () => {
    const [restarted] = hear(negotiation(true), offer(1, 0), offer(2, 1));
    expect(hear(restarted, candidates(3, 0, 'old'), offer(4, 0))[1]).toEqual([]);
  });

  it('K3: a generation that nobody can have reached is no news', () => {
    const [n, nothing] = hear(negotiation(true), offer(1, Number.MAX_SAFE_INTEGER));
    expect(nothing).toEqual([]);
    expect(offerGeneration(n, true)).toBe(1);
  });

  it('K3: an answer counts only for the offer that stands', () => {
    const waiting = offering(negotiation(true), 1, '');
    expect(hear(waiting, answer(1, 0))[1]).toEqual([]);
    expect(hear(waiting, answer(1, 1))[1]).toMatchObject([{ do: 'accept_answer' }]);
  });

  it('K3: in glare the polite side gives way, the impolite one insists', () => {
    const polite = offering(negotiation(true), 0, '');
    expect(hear(polite, offer(1, 0))[1]).toMatchObject([
      { do: 'give_way', fresh: true },
      { do: 'accept_offer' },
    ]);
    const impolite = offering(negotiation(false), 0, '');
    const [insisting, again] = hear(impolite, offer(1, 0), candidates(2, 0, 'ignored'));
    expect(again, 'its own may have been lost between two sockets').toEqual([{ do: 'repeat_offer' }]);
    const [, settled] = hear(insisting, answer(3, 0));
    expect(settled).toMatchObject([{ do: 'accept_answer' }]);
  });

  it('K3: an offer that is said again is answered again, and costs nothing that was offered since then', () => {
    const theirs = 'o=- 7 2 IN IP4 127.0.0.1\r\nm=audio\r\n';
    for (const polite of [true, false]) {
      const [agreed] = hear(negotiation(polite), offer(1, 0, theirs));
      const own = offering(agreed, 0, 'm=audio\r\nm=video\r\n');
      const [standing, again] = hear(own, offer(2, 0, `${theirs}a=candidate:1\r\n`));
      expect(again).toEqual([{ do: 'repeat_answer' }]);
      expect(standing).toMatchObject({ offered: 0, ignored: null });
      // Another version is another offer; so is one more section, for aiortc's version is the second in which it offers.
      for (const another of [theirs.replace(' 2 ', ' 3 '), `${theirs}m=video\r\n`]) {
        const [, glare] = hear(own, offer(2, 0, another));
        expect(glare[0]?.do).toBe(polite ? 'give_way' : 'repeat_offer');
      }
    }
  });

  it('K3: an answer with fewer sections than our offer answers an older one', () => {
    const waiting = offering(negotiation(true), 0, 'm=audio\r\nm=video\r\n');
    const said = (sdp: string) => signal({ seq: 1, gen: 0, description: { type: 'answer', sdp } });
    expect(hear(waiting, said('m=audio\r\n'))[1]).toEqual([]);
    expect(hear(waiting, said('m=audio\r\nm=video\r\n'))[1]).toMatchObject([{ do: 'accept_answer' }]);
  });

  it('K3: a polite restart that loses the glare is remembered', () => {
    const [agreed] = hear(negotiation(true), offer(1, 0));
    const restarting = offering(agreed, offerGeneration(agreed, true), '');
    expect(hear(restarting, offer(2, 0))[1]).toMatchObject([
      { do: 'give_way', fresh: false, restartLost: true },
      {},
    ]);
  });

  it('K3: a restart takes the greatest generation seen + 1, another offer stays in its own', () => {
    const [agreed] = hear(negotiation(true), offer(1, 0), offer(2, 4));
    expect(offerGeneration(agreed, true)).toBe(5);
    expect(offerGeneration(agreed, false)).toBe(4);
  });

  it('two who both insist meet after all, and the ignored candidates are not lost', () => {
    const [insisting] = hear(offering(negotiation(false), 0, ''), offer(1, 0), candidates(2, 0, 'a'));
    expect(relent(insisting)[1]).toMatchObject([
      { do: 'give_way' },
      { do: 'accept_offer' },
      { do: 'add_candidates' },
    ]);
    expect(relent(negotiation(false))[1]).toEqual([]);
  });

  it('K2: held candidates are bounded', () => {
    let n = negotiation(true);
    for (let seq = 1; seq < 400; seq++) n = receive(n, candidates(seq, 7, `c${seq}`))[0];
    expect(n.held.length).toBe(HELD_CANDIDATES_BOUND);
  });
});

/** One side of a call: applies decisions as a connection would, and sends in order with repeats after lost answers. */
class Side {
  n: Negotiation;
  /** Which offer (its text) both sides should agree on, and in which generation. */
  agreed: { offer: string; gen: number } | null = null;
  outbox: SignalPush[] = [];
  wantsRestart = false;
  #own: { sdp: string; gen: number } | null = null;
  #seq = 0;
  #offers = 0;

  constructor(
    readonly name: string,
    polite: boolean,
  ) {
    this.n = negotiation(polite);
  }

  offer(restart: boolean): void {
    if (this.n.offered !== null) {
      this.wantsRestart ||= restart;
      return;
    }
    const gen = offerGeneration(this.n, restart);
    this.n = offering(this.n, gen, '');
    this.#own = { sdp: `${this.name}${this.#offers++}`, gen };
    this.outbox.push(offer(++this.#seq, gen, this.#own.sdp), candidates(++this.#seq, gen, this.name));
  }

  hear(heard: SignalPush): void {
    const [next, decisions] = receive(this.n, heard);
    this.n = next;
    for (const decision of decisions) this.#apply(decision);
  }

  #apply(decision: Decision): void {
    if (decision.do === 'give_way') this.wantsRestart ||= decision.restartLost;
    if (decision.do === 'accept_offer') {
      this.agreed = { offer: decision.description.sdp, gen: decision.gen };
      this.outbox.push(answer(++this.#seq, decision.gen), candidates(++this.#seq, decision.gen, this.name));
    }
    if (decision.do === 'accept_answer') this.agreed = { offer: this.#own?.sdp ?? '', gen: decision.gen };
    if (
      decision.do !== 'add_candidates' &&
      this.n.offered === null &&
      this.wantsRestart &&
      decision.do !== 'give_way'
    ) {
      this.wantsRestart = false;
      this.offer(true);
    }
  }
}

describe('K3: perfect negotiation', () => {
  it('K2, K3: both sides agree in the end, whatever they offer and however signals are delayed and repeated', () => {
    const act = fc.oneof(
      fc.record({ do: fc.constant('offer' as const), side: fc.nat(1), restart: fc.boolean() }),
      fc.record({ do: fc.constant('deliver' as const), side: fc.nat(1), repeat: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (script) => {
        const sides = [new Side('m', false), new Side('p', true)] as const;
        const deliver = (side: Side, other: Side, repeat: boolean) => {
          const first = side.outbox[0];
          if (!first) return;
          if (!repeat) side.outbox.shift();
          other.hear(first);
        };
        for (const one of script) {
          const [side, other] = one.side === 0 ? sides : ([sides[1], sides[0]] as const);
          if (one.do === 'offer') side.offer(one.restart && side.n.settled >= 0);
          else deliver(side, other, one.repeat);
        }
        for (let round = 0; round < 400; round++) {
          deliver(sides[0], sides[1], false);
          deliver(sides[1], sides[0], false);
        }
        expect(sides[0].outbox).toEqual([]);
        expect(sides[1].outbox).toEqual([]);
        expect(sides[0].n.offered).toBe(null);
        expect(sides[1].n.offered).toBe(null);
        expect(sides[0].agreed).toEqual(sides[1].agreed);
      }),
      { numRuns: 1_000 },
    );
  });
});
