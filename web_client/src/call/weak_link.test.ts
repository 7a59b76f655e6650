import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { observe, type Quality, unknownQuality } from './quality';
import type { Sample } from './sample';
import {
  CLIMB_MS,
  FALL_MS,
  FIRST_PAUSE_MS,
  follow,
  HARMED_MS,
  type LinkNow,
  LONGEST_PAUSE_MS,
  linkNow,
  type Picture,
  sentPicture,
  strongLink,
  TRIAL_MS,
  type WeakLink,
} from './weak_link';

const LOOK_MS = 500;
const RANK: Record<Picture, number> = { none: 0, small: 1, full: 2 };
const STRONG = { budgetBitsPerS: 2_000_000, lossShare: 0, roundTripMs: 40, eased: false };
const WEAK = { budgetBitsPerS: 60_000, lossShare: 0.02, roundTripMs: 300, eased: false };

type Link = Omit<LinkNow, 'atMs'>;

/** The link stays like that for a while; returns every value on the way. */
function during(from: WeakLink, link: Link, ms: number, wanted = true): WeakLink[] {
  const states = [from];
  for (let past = LOOK_MS; past <= ms; past += LOOK_MS) {
    const last = states.at(-1) as WeakLink;
    const atMs = Number.isFinite(last.lookedAtMs) ? last.lookedAtMs + LOOK_MS : 0;
    states.push(follow(last, { ...link, atMs }, wanted));
  }
  return states;
}

const after = (...args: Parameters<typeof during>) => during(...args).at(-1) as WeakLink;
const pictures = (states: WeakLink[]) =>
  states.map(({ picture }) => picture).filter((one, i, all) => one !== all[i - 1]);

describe('a link that gets weak', () => {
  const fallen = after(strongLink, WEAK, 10_000);

  test('keeps the picture through a short dip', () => {
    const dip = after(strongLink, WEAK, FALL_MS);
    expect(dip.picture).toBe('full');
    expect(pictures(during(after(dip, STRONG, 1_000), WEAK, FALL_MS - LOOK_MS))).toEqual(['full']);
  });

  test('loses its picture within five seconds when it carries sound only', () => {
    expect(pictures(during(strongLink, WEAK, 5_000))).toEqual(['full', 'none']);
  });

  test('keeps a small picture while it carries that', () => {
    const narrow = { ...WEAK, budgetBitsPerS: 180_000 };
    expect(pictures(during(strongLink, narrow, 300_000))).toEqual(['full', 'small']);
  });

  test('gets its picture back by itself, step by step, not before a minute', () => {
    const states = during(fallen, STRONG, FIRST_PAUSE_MS + TRIAL_MS + CLIMB_MS);
    expect(pictures(states)).toEqual(['none', 'small', 'full']);
    const back = states.find(({ picture }) => picture !== 'none');
    expect((back?.climbedAtMs ?? 0) - (fallen.notBeforeMs - FIRST_PAUSE_MS)).toBeGreaterThanOrEqual(60_000);
  });

  test('is tried unseen, with growing pauses, as long as it does not carry a picture', () => {
    const states = during(fallen, WEAK, 15 * 60_000);
    expect(pictures(states)).toEqual(['none']);
    const trials = states.filter(({ trial }, i) => trial !== null && states[i - 1]?.trial === null);
    const pauses = trials.slice(1).map(({ lookedAtMs }, i) => lookedAtMs - (trials[i]?.lookedAtMs ?? 0));
    expect(pauses.length).toBeGreaterThan(2);
    expect(pauses[0]).toBeGreaterThan(FIRST_PAUSE_MS);
    expect(pauses.at(-1)).toBeGreaterThan(LONGEST_PAUSE_MS);
  });

  test('a trial that hurts the sound ends within two seconds', () => {
    const trying = during(fallen, WEAK, FIRST_PAUSE_MS).at(-1) as WeakLink;
    expect(sentPicture(trying)).toBe('small');
    for (const hurt of [
      { ...WEAK, lossShare: 0.4 },
      { ...WEAK, roundTripMs: WEAK.roundTripMs + 300 },
    ]) {
      expect(sentPicture(after(trying, hurt, HARMED_MS + 2 * LOOK_MS))).toBe('none');
    }
    expect(sentPicture(after(trying, WEAK, HARMED_MS + 2 * LOOK_MS)), 'as it was before').toBe('small');
  });

  test('that carries a picture without movement has it back although the budget cannot grow', () => {
    const still = { budgetBitsPerS: 110_000, lossShare: 0, roundTripMs: 40, eased: true };
    expect(pictures(during(fallen, still, FIRST_PAUSE_MS + TRIAL_MS + CLIMB_MS))).toEqual([
      'none',
      'small',
      'full',
    ]);
    const crowded = { ...still, roundTripMs: 800 };
    expect(pictures(during(fallen, crowded, 10 * 60_000))).toEqual(['none']);
  });

  test('is not judged while there is no picture to send', () => {
    expect(after(strongLink, WEAK, 60_000, false).picture).toBe('full');
    const asleep = follow(after(strongLink, WEAK, 2_500), { ...WEAK, atMs: 60_000 }, true);
    expect(asleep.picture, 'a page that slept').toBe('full');
  });

  test('without a budget, loss and delay decide', () => {
    const lossy = { budgetBitsPerS: null, lossShare: 0.35, roundTripMs: 100, eased: false };
    expect(pictures(during(strongLink, lossy, 10_000))).toEqual(['full', 'none']);
    const late = { budgetBitsPerS: null, lossShare: 0, roundTripMs: 1_200, eased: false };
    expect(pictures(during(strongLink, late, 60_000))).toEqual(['full', 'small']);
    const untold = { budgetBitsPerS: null, lossShare: null, roundTripMs: null, eased: false };
    expect(after(strongLink, untold, 60_000).picture).toBe('full');
    expect(after(fallen, untold, 100_000).picture).toBe('full');
  });
});

describe('what is known of the link', () => {
  const PAIR = {
    local: 'host',
    remote: 'host',
    protocol: 'udp',
    relayProtocol: null,
    bytesReceived: 0,
    bytesSent: 0,
  } as const;
  const VIDEO = {
    kind: 'video',
    mid: '1',
    active: true,
    sourceFrames: null,
    width: null,
    height: null,
    framesPerS: null,
    limitation: null,
    roundTripMs: null,
  } as const;

  /** Three seconds of a connection that sends so many bytes of picture a second. */
  function seen(
    pair: { outgoingBitsPerS: number | null; roundTripMs: number | null },
    lossShare: number | null,
    bytesPerS = 10_000,
  ) {
    return [0, 1, 2, 3].reduce<Quality>((quality, second) => {
      const count = { packets: second * 20, bytes: second * bytesPerS, frames: second * 15 };
      const sent = { ...VIDEO, ...count, targetBitsPerS: 100_000, lossShare };
      const sample: Sample = { atMs: second * 1_000, pair: { ...PAIR, ...pair }, received: [], sent: [sent] };
      return observe(quality, sample, false);
    }, unknownQuality);
  }

  test('with several others it is as good as the best connection', () => {
    const poor = seen({ outgoingBitsPerS: 50_000, roundTripMs: 900 }, 0.3);
    const fine = seen({ outgoingBitsPerS: 900_000, roundTripMs: 40 }, 0.01);
    expect(linkNow([poor, fine], 7)).toEqual({
      atMs: 7,
      budgetBitsPerS: 900_000,
      lossShare: 0.01,
      roundTripMs: 40,
      eased: false,
    });
    expect(linkNow([seen({ outgoingBitsPerS: null, roundTripMs: null }, null)], 0).budgetBitsPerS).toBeNull();
  });

  test('a picture that needs less than it may use says so', () => {
    const pair = { outgoingBitsPerS: 120_000, roundTripMs: 40 };
    expect(linkNow([seen(pair, 0, 12_000)], 0).eased).toBe(false);
    expect(linkNow([seen(pair, 0, 5_000)], 0).eased).toBe(true);
  });
});

// Whatever happens to the link

const anyLink: fc.Arbitrary<Link> = fc.record({
  budgetBitsPerS: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 500_000 })),
  lossShare: fc.oneof(fc.constant(null), fc.double({ min: 0, max: 0.6, noNaN: true })),
  roundTripMs: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 2_500 })),
  eased: fc.boolean(),
});
const anyStretch = fc.record({
  link: anyLink,
  wanted: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  looks: fc.integer({ min: 1, max: 200 }),
  everyMs: fc.integer({ min: 100, max: 1_500 }),
});
const anyPast = fc.array(anyStretch, { maxLength: 40 });

function live(past: { link: Link; wanted: boolean; looks: number; everyMs: number }[]): WeakLink[] {
  const states = [strongLink];
  let atMs = 0;
  for (const { link, wanted, looks, everyMs } of past) {
    for (let look = 0; look < looks; look++) {
      atMs += everyMs;
      states.push(follow(states.at(-1) as WeakLink, { ...link, atMs }, wanted));
    }
  }
  return states;
}

describe('whatever happens to the link', () => {
  test('the picture comes back a minute after it fell at the earliest: no direction turns twice in a minute', () => {
    fc.assert(
      fc.property(anyPast, (past) => {
        let fellAtMs = Number.NEGATIVE_INFINITY;
        let direction = 0;
        const turns: Record<string, number> = {};
        live(past).reduce((before, now) => {
          const change = Math.sign(RANK[now.picture] - RANK[before.picture]);
          if (change > 0) expect(now.lookedAtMs - fellAtMs).toBeGreaterThanOrEqual(60_000);
          if (change < 0) fellAtMs = now.lookedAtMs;
          if (change !== 0 && change !== direction) {
            expect(now.lookedAtMs - (turns[change] ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(
              60_000,
            );
            turns[change] = now.lookedAtMs;
            direction = change;
          }
          return now;
        });
      }),
    );
  });

  test('it comes up one step at a time, and a trial never shows more than the small picture', () => {
    fc.assert(
      fc.property(anyPast, (past) => {
        live(past).reduce((before, now) => {
          expect(RANK[now.picture] - RANK[before.picture]).toBeLessThanOrEqual(1);
          if (now.trial !== null) expect(now.picture).toBe('none');
          expect(now.notBeforeMs - now.lookedAtMs).toBeLessThanOrEqual(LONGEST_PAUSE_MS);
          return now;
        });
      }),
    );
  });

  test('a link that is strong from now on has its full picture in a bounded time', () => {
    fc.assert(
      fc.property(anyPast, (past) => {
        const now = live(past).at(-1) as WeakLink;
        const bound = LONGEST_PAUSE_MS + TRIAL_MS + CLIMB_MS + 4 * LOOK_MS;
        expect(after(now, STRONG, bound).picture).toBe('full');
      }),
    );
  });

  test('a link that carries sound only from now on sends nothing else, but for short trials', () => {
    fc.assert(
      fc.property(anyPast, (past) => {
        const states = during(live(past).at(-1) as WeakLink, WEAK, 20 * 60_000);
        const settled = states.slice((TRIAL_MS + 2 * FALL_MS) / LOOK_MS);
        expect(settled.every(({ picture }) => picture === 'none')).toBe(true);
        const trying = settled.filter(({ trial }) => trial !== null).length;
        expect(trying / settled.length).toBeLessThan(0.2);
      }),
    );
  });
});
