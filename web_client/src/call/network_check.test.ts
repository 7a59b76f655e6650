import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { en } from '../ui/messages/en';
import { type Found, judge, type Verdict } from './network_check';
import type { Pair, Received, Sample, Sent } from './sample';

const pair: Pair = {
  local: 'host',
  remote: 'host',
  protocol: 'udp',
  relayProtocol: null,
  bytesReceived: 0,
  bytesSent: 0,
  roundTripMs: 24,
  outgoingBitsPerS: 800_000,
};

function look(atMs: number, change: Partial<Look> = {}): Sample {
  const { frames, lost, lossThere, audio, ...way }: Look = { ...HEALTHY, ...change };
  const share = atMs / 5_000;
  const received = (kind: 'audio' | 'video', packets: number): Received => ({
    kind,
    track: kind,
    packets: packets * share,
    packetsLost: packets * share * (lost / (1 - lost)),
    bytes: 0,
    jitterMs: 2,
    frames: kind === 'video' ? frames * share : 0,
    width: null,
    height: null,
    framesPerS: null,
    samples: 0,
    concealed: 0,
  });
  const sent: Sent = {
    kind: 'video',
    mid: '1',
    active: true,
    packets: 500 * share,
    bytes: 0,
    frames: 70,
    sourceFrames: 75,
    targetBitsPerS: null,
    width: null,
    height: null,
    framesPerS: 15,
    limitation: 'none',
    roundTripMs: 25,
    lossShare: lossThere,
  };
  return {
    atMs,
    pair: { ...pair, ...way },
    received: [received('audio', audio), received('video', frames > 0 ? 500 : 0)],
    sent: [sent],
  };
}

interface Look extends Partial<Pair> {
  frames: number;
  audio: number;
  lost: number;
  lossThere: number;
}
const HEALTHY: Look = { frames: 75, audio: 250, lost: 0, lossThere: 0 };

function found(change: Partial<Look> = {}, rest: Partial<Found> = {}): Found {
  return {
    offered: { stun: true, relay: true, relayOnly: false },
    gathered: ['host', 'srflx', 'relay'],
    errors: [],
    echo: 'answered',
    looks: [look(1_000, change), look(5_000, change)],
    ...rest,
  };
}
const NO_RELAY: Partial<Found> = {
  offered: { stun: false, relay: false, relayOnly: false },
  gathered: ['host'],
};

describe('what will work', () => {
  it('picture and sound came back', () => {
    const verdict = judge(found());
    expect(verdict).toMatchObject({ kind: 'all', way: 'direct' });
    expect(verdict).toMatchObject({ figures: { roundTripMs: 25, lossShare: 0, relay: null } });
  });

  it('sound only: no picture came back, too much is lost either way, or there is no room for it', () => {
    expect(judge(found({ frames: 0 }))).toMatchObject({ kind: 'sound_only', why: 'no_picture' });
    expect(judge(found({ lost: 0.15 }))).toMatchObject({ kind: 'sound_only', why: 'loss' });
    expect(judge(found({ lossThere: 0.15 }))).toMatchObject({ kind: 'sound_only', why: 'loss' });
    expect(judge(found({ outgoingBitsPerS: 80_000 }))).toMatchObject({ kind: 'sound_only', why: 'slow' });
    expect(judge(found({ frames: 10 }))).toMatchObject({ kind: 'sound_only', why: 'slow' });
  });

  it('a browser that does not tell its budget or the round trip is not a weak link', () => {
    expect(judge(found({ outgoingBitsPerS: null, roundTripMs: null }))).toMatchObject({
      kind: 'all',
      figures: { roundTripMs: 25 },
    });
  });

  it('poor: half of it is lost, or the answer takes seconds', () => {
    expect(judge(found({ lost: 0.5 })).kind).toBe('poor');
    expect(judge(found({ roundTripMs: 2_000 })).kind).toBe('poor');
  });

  it('loss is measured between the two looks, not since the beginning', () => {
    const [first, last] = [look(1_000), look(5_000)];
    const early: Sample = {
      ...first,
      received: first.received.map((one) => ({ ...one, packetsLost: 200 })),
    };
    const late: Sample = { ...last, received: last.received.map((one) => ({ ...one, packetsLost: 200 })) };
    expect(judge(found({}, { looks: [early, late] }))).toMatchObject({
      kind: 'all',
      figures: { lossShare: 0 },
    });
  });
});

describe('the way, and other networks', () => {
  it('a relay is needed when the pair that works is a relayed one', () => {
    expect(judge(found({ local: 'relay', relayProtocol: 'tls' }))).toMatchObject({
      kind: 'all',
      way: 'relay_needed',
      figures: { relay: 'tls' },
    });
    const hidden = { offered: { stun: false, relay: true, relayOnly: true } };
    expect(judge(found({ local: 'relay' }, hidden))).toMatchObject({ way: 'relay_by_rule' });
  });

  it('a server without a relay says so although everything works from here', () => {
    expect(judge(found({}, NO_RELAY))).toMatchObject({ kind: 'all', way: 'direct_only' });
  });

  it('a relay that refuses its credentials is told from one that is not reached', () => {
    const gathered = ['host', 'srflx'] as const;
    expect(judge(found({}, { gathered, errors: [701, 401] }))).toMatchObject({ way: 'relay_refused' });
    expect(judge(found({}, { gathered, errors: [701] }))).toMatchObject({ way: 'relay_silent' });
  });

  it('nothing came back: why', () => {
    const why = (rest: Partial<Found>) => judge(found({}, { looks: [], ...rest }));
    expect(why(NO_RELAY)).toEqual({ kind: 'nothing', why: 'no_relay' });
    expect(why({ gathered: ['host'], errors: [701, 401] })).toEqual({
      kind: 'nothing',
      why: 'relay_refused',
    });
    expect(why({ gathered: ['host'], errors: [701] })).toEqual({ kind: 'nothing', why: 'relay_silent' });
    expect(why({})).toEqual({ kind: 'nothing', why: 'relay_useless' });
  });

  it('a connection through which no sound comes is none', () => {
    expect(judge(found({ audio: 0, frames: 0 })).kind).toBe('nothing');
  });
});

describe('no check at all', () => {
  it.each(['busy', 'no_answer', 'unsupported'] as const)('%s', (echo) => {
    expect(judge(found({}, { echo }))).toEqual({ kind: echo });
  });
});

describe('every verdict has its words', () => {
  const share = fc.double({ min: 0, max: 0.9, noNaN: true });
  const anything = fc.record({
    frames: fc.integer({ min: 0, max: 150 }),
    audio: fc.constantFrom(0, 250),
    lost: share,
    lossThere: share,
    roundTripMs: fc.option(fc.integer({ min: 0, max: 5_000 })),
    outgoingBitsPerS: fc.option(fc.integer({ min: 0, max: 2_000_000 })),
    local: fc.constantFrom('host', 'srflx', 'relay' as const),
  });
  const rest = fc.record({
    offered: fc.record({ stun: fc.boolean(), relay: fc.boolean(), relayOnly: fc.boolean() }),
    gathered: fc.subarray(['host', 'srflx', 'relay'] as const),
    errors: fc.subarray([701, 401, 438, 600]),
    echo: fc.constantFrom('answered', 'answered', 'busy', 'no_answer' as const),
  });

  it('whatever was found: a sentence, and figures that are numbers', () => {
    fc.assert(
      fc.property(anything, rest, fc.boolean(), (change, other, connected) => {
        const all = found(change as Partial<Look>, other);
        const verdict: Verdict = judge(connected ? all : { ...all, looks: [] });
        expect(en.check.verdict(verdict)).toMatch(/^[A-Z].*[.]$/);
        if ('figures' in verdict) {
          expect(verdict.figures.lossShare).toBeGreaterThanOrEqual(0);
          expect(verdict.figures.lossShare).toBeLessThanOrEqual(1);
          expect(en.check.figures(verdict.figures)).not.toMatch(/NaN|null|undefined/);
        }
      }),
    );
  });
});
