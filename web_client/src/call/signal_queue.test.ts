import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Content,
  emptyQueue,
  nextSignal,
  QUEUE_BOUND,
  queued,
  released,
  type Signal,
  type SignalQueue,
  sendingSignal,
  signalHandedOver,
  signalRefused,
} from './signal_queue';

const candidate = (name: string) => ({ candidates: [{ candidate: name }] });

describe('K2: signals on their way', () => {
  it('K2: peer_away holds them until the peer is here; the same signal goes out again', () => {
    let queue = sendingSignal(queued(emptyQueue, 1, 0, { description: { type: 'offer', sdp: '' } }));
    [queue] = signalRefused(queue, { code: 'peer_away', message: '' }, false);
    expect(nextSignal(queue)).toBe(null);
    expect(nextSignal(released(queue))?.seq).toBe(1);
  });

  it('T5: limited waits, a refusal for good gives the signal up', () => {
    const queue = sendingSignal(queued(emptyQueue, 1, 0, candidate('a')));
    expect(signalRefused(queue, { code: 'limited', message: '', retry_ms: 300 }, false)).toMatchObject([
      { waiting: [{ seq: 1 }] },
      300,
    ]);
    expect(signalRefused(queue, { code: 'gone', message: '' }, false)[0].waiting).toEqual([]);
  });

  it('K2: what left once is never changed: a repeat under the same seq would be dropped with all that was added', () => {
    let queue = sendingSignal(queued(emptyQueue, 1, 0, candidate('a')));
    [queue] = signalRefused(queue, { code: 'unavailable', message: '' }, true);
    queue = queued(queue, 2, 0, candidate('b'));
    expect(queue.waiting.map(({ seq }) => seq)).toEqual([1, 2]);
  });

  it('K2: everything arrives once and in order, and no signal holds more than 64 candidates', () => {
    const act = fc.constantFrom('description', 'candidate', 'candidate', 'send', 'ok', 'lost', 'release');
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (script) => {
        let queue: SignalQueue = emptyQueue;
        let seq = 0;
        const wanted: string[] = [];
        const arrived: string[] = [];
        let lastSeq = 0;
        let out: Signal | null = null;
        const arrive = (signal: Signal) => {
          if (signal.seq <= lastSeq) return;
          lastSeq = signal.seq;
          if ('candidates' in signal) {
            expect(signal.candidates.length).toBeLessThanOrEqual(64);
            arrived.push(...signal.candidates.map((one) => one.candidate));
          } else arrived.push(signal.description.sdp);
        };
        const play = (one: string) => {
          if (one === 'description' || one === 'candidate') {
            const name = `${one}${++seq}`;
            const content =
              one === 'candidate' ? candidate(name) : { description: { type: 'answer' as const, sdp: name } };
            if (queue.waiting.length >= QUEUE_BOUND) return;
            queue = queued(queue, seq, 0, content);
            wanted.push(name);
          } else if (one === 'send' && out === null) {
            out = nextSignal(queue);
            if (out) queue = sendingSignal(queue);
          } else if (one === 'ok' && out) {
            arrive(out);
            queue = signalHandedOver(queue);
            out = null;
          } else if (one === 'lost' && out) {
            // The request arrived, its answer did not: the worst case.
            arrive(out);
            [queue] = signalRefused(queue, { code: 'unavailable', message: '' }, true);
            out = null;
          } else if (one === 'release') queue = released(queue);
        };
        for (const one of script) play(one);
        for (let round = 0; round <= script.length; round++)
          for (const one of ['ok', 'release', 'send', 'ok']) play(one);
        expect(arrived).toEqual(wanted);
      }),
    );
  });
});

describe('an outage with an offer that has no answer', () => {
  const offer = (candidates: number): Content => ({ description: { type: 'offer', sdp: `${candidates}` } });

  it('K2: an offer that was said again while nothing could leave goes out once, in its last form', () => {
    let queue = { ...emptyQueue, held: true };
    for (let seq = 1; seq <= 300; seq++) queue = queued(queue, seq, 0, offer(seq));
    expect(queue.waiting).toEqual([{ seq: 300, gen: 0, ...offer(300) }]);
  });

  it('K2: an answer, an offer of another generation, and what may have arrived already stay', () => {
    const answer: Content = { description: { type: 'answer', sdp: '' } };
    let queue = sendingSignal(queued(emptyQueue, 1, 1, offer(1)));
    queue = queued(queue, 2, 0, answer);
    for (const [seq, gen] of [
      [3, 0],
      [4, 1],
      [5, 1],
    ] as const)
      queue = queued(queue, seq, gen, offer(seq));
    expect(queue.waiting.map(({ seq }) => seq)).toEqual([1, 2, 3, 5]);
  });
});
