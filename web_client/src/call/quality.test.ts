import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BETTER_MS, type Grade, observe, type Quality, unknownQuality, WORSE_MS } from './quality';
import type { Pair, Received, Sample, Sent } from './sample';

const STEP_MS = 500;
const PAIR: Pair = {
  local: 'host',
  remote: 'srflx',
  protocol: 'udp',
  relayProtocol: null,
  bytesReceived: 0,
  bytesSent: 0,
  roundTripMs: 30,
  outgoingBitsPerS: 1_000_000,
};
const SENT: Sent = {
  kind: 'video',
  mid: '1',
  active: true,
  packets: 0,
  bytes: 0,
  frames: 0,
  targetBitsPerS: null,
  sourceFrames: null,
  width: 640,
  height: 360,
  framesPerS: 30,
  limitation: 'none',
  roundTripMs: 40,
  lossShare: 0,
};
const RECEIVED: Received = {
  kind: 'video',
  track: 'v',
  packets: 0,
  packetsLost: 0,
  bytes: 0,
  jitterMs: 1,
  frames: 0,
  width: 1280,
  height: 720,
  framesPerS: 24,
  samples: 0,
  concealed: 0,
};

interface What {
  pair?: Partial<Pair> | null;
  sent?: Partial<Sent>;
  received?: Partial<Received>;
}

/** The n-th sample of a call that sends 12.5 kB and receives 25 kB every half a second. */
function sampleAt(n: number, { pair = {}, sent = {}, received = {} }: What = {}): Sample {
  return {
    atMs: n * STEP_MS,
    pair: pair === null ? null : { ...PAIR, ...pair },
    sent: [
      {
        ...SENT,
        kind: 'audio',
        mid: '0',
        width: null,
        height: null,
        framesPerS: null,
        limitation: null,
        packets: n * 25,
      },
      { ...SENT, packets: n * 20, bytes: n * 12_500, frames: n * 15, ...sent },
    ],
    received: [{ ...RECEIVED, packets: n * 40, bytes: n * 25_000, frames: n * 12, ...received }],
  };
}

function after(samples: Sample[], from: Quality = unknownQuality, paused = false): Quality {
  return samples.reduce((quality, sample) => observe(quality, sample, paused), from);
}

const steps = (from: number, count: number, what?: (n: number) => What) =>
  Array.from({ length: count }, (_, i) => sampleAt(from + i, what?.(from + i)));

describe('the figures', () => {
  test('of both directions', () => {
    expect(after(steps(0, 9)).figures).toEqual({
      roundTripMs: 40,
      path: 'direct',
      protocol: 'udp',
      sent: {
        bitsPerS: 200_000,
        lossShare: 0,
        picture: { width: 640, height: 360, framesPerS: 30 },
        limitation: null,
      },
      received: { bitsPerS: 400_000, lossShare: 0, picture: { width: 1280, height: 720, framesPerS: 24 } },
    });
  });

  test('are those of the last seconds only', () => {
    const lossy = steps(0, 9, (n) => ({ received: { packetsLost: n * 40 } }));
    expect(after(lossy).figures?.received.lossShare).toBe(0.5);
    const clean = steps(9, 9, () => ({ received: { packetsLost: 8 * 40 } }));
    expect(after(clean, after(lossy)).figures?.received.lossShare).toBe(0);
  });

  test('a packet that was only late is not lost', () => {
    const late = steps(0, 9, (n) => ({ received: { packetsLost: n < 4 ? 10 : 2 } }));
    expect(after(late.slice(2)).figures?.received.lossShare).toBe(0);
  });

  test('a new connection starts anew: its counters are smaller', () => {
    const again = after(
      steps(0, 3).map((one, i) => ({ ...one, atMs: (20 + i) * STEP_MS })),
      after(steps(0, 20)),
    );
    expect(again.figures?.sent.bitsPerS).toBe(200_000);
    expect(again.samples.length).toBe(3);
  });

  test('the relay and how it is reached', () => {
    const tls = after(steps(0, 3, () => ({ pair: { local: 'relay', relayProtocol: 'tls' } }))).figures;
    expect([tls?.path, tls?.protocol]).toEqual(['relay', 'tls']);
    const theirs = after(steps(0, 3, () => ({ pair: { remote: 'relay' } }))).figures;
    expect([theirs?.path, theirs?.protocol]).toEqual(['relay', 'udp']);
  });

  test('what a browser does not tell is null', () => {
    const poor = after(
      steps(0, 9, () => ({
        pair: null,
        sent: {
          width: null,
          height: null,
          framesPerS: null,
          limitation: null,
          lossShare: null,
          roundTripMs: null,
        },
        received: { width: null, height: null },
      })),
    ).figures;
    expect(poor).toEqual({
      roundTripMs: 40,
      path: null,
      protocol: null,
      sent: { bitsPerS: 200_000, lossShare: 0, picture: null, limitation: null },
      received: { bitsPerS: 400_000, lossShare: 0, picture: null },
    });
  });

  test('of a picture that is paused are not shown, and its last loss is forgotten', () => {
    const flowing = after(steps(0, 9, () => ({ sent: { lossShare: 0.5 } })));
    expect(flowing.figures?.sent.lossShare).toBe(0.5);
    const still = { packets: 160, bytes: 100_000, lossShare: 0.5, limitation: 'bandwidth' as const };
    const paused = after(
      steps(9, 9, () => ({ sent: still })),
      flowing,
    ).figures;
    expect(paused?.sent).toEqual({ bitsPerS: 0, lossShare: 0, picture: null, limitation: null });
  });
});

describe('the grade', () => {
  const good = after(steps(0, 9));
  const at = (count: number, what: What, paused = false) =>
    after(
      steps(9, count, () => what),
      good,
      paused,
    );

  test('is unknown at first, then good', () => {
    expect(after(steps(0, 3)).grade).toBeNull();
    expect(good.grade).toBe('good');
  });

  test.each<[string, What, boolean, Grade]>([
    ['a long way', { pair: { roundTripMs: 350 } }, false, 'fair'],
    ['a very long way', { pair: { roundTripMs: 900 } }, false, 'weak'],
    ['what we send is lost', { sent: { lossShare: 0.05 } }, false, 'fair'],
    ['much of what we send is lost', { sent: { lossShare: 0.2 } }, false, 'weak'],
    [
      'a narrow link',
      { pair: { outgoingBitsPerS: 300_000 }, sent: { limitation: 'bandwidth' } },
      false,
      'fair',
    ],
    ['an encoder that is cautious on a wide link', { sent: { limitation: 'bandwidth' } }, false, 'good'],
    ['a busy computer is no bad link', { sent: { limitation: 'cpu' } }, false, 'good'],
    ['sound only', {}, true, 'weak'],
  ])('%s', (_, what, paused, grade) => {
    expect(at(WORSE_MS / STEP_MS, what, paused).grade, 'not at once').toBe('good');
    expect(at(WORSE_MS / STEP_MS + 1, what, paused).grade).toBe(grade);
  });

  test('gets better more slowly than worse', () => {
    const weak = at(20, { pair: { roundTripMs: 900 } });
    expect(after(steps(29, BETTER_MS / STEP_MS), weak).grade).toBe('weak');
    expect(after(steps(29, BETTER_MS / STEP_MS + 1), weak).grade).toBe('good');
  });

  test('that is told is the mildest one that lasted', () => {
    const mixed = steps(9, WORSE_MS / STEP_MS + 1, (n) => ({ pair: { roundTripMs: n % 2 ? 900 : 350 } }));
    expect(after(mixed, good).grade).toBe('fair');
  });

  test('stays between two that take turns', () => {
    const fair = at(20, { pair: { roundTripMs: 350 } });
    expect(fair.grade).toBe('fair');
    const torn = steps(29, 60, (n) => ({ pair: { roundTripMs: n % 2 ? 900 : 40 } }));
    expect(after(torn, fair).grade).toBe('fair');
  });

  test('never changes more often than its holding time, whatever comes', () => {
    const anything = fc.array(
      fc.record({
        roundTripMs: fc.integer({ min: 0, max: 1_000 }),
        lossShare: fc.double({ min: 0, max: 0.3, noNaN: true }),
      }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(anything, (looks) => {
        let changedAtMs = Number.NEGATIVE_INFINITY;
        looks.reduce((before, { roundTripMs, lossShare }, i) => {
          const sample = sampleAt(9 + i, { pair: { roundTripMs }, sent: { lossShare } });
          const now = observe(before, sample, false);
          if (now.grade !== before.grade) {
            expect(sample.atMs - changedAtMs).toBeGreaterThanOrEqual(WORSE_MS);
            changedAtMs = sample.atMs;
          }
          return now;
        }, good);
      }),
    );
  });
});
