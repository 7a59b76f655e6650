import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Media } from '../protocol/wire';
import type { Received, Sample, Sent } from './sample';
import {
  DOUBT_MS,
  LOOK_MS,
  look,
  lookAtSource,
  MISSING_MS,
  SILENT_MS,
  type SourceWatch,
  UNEASY_MS,
  type Verdict,
  type Watch,
} from './watchdog';

const SEEN: Media = { audio: true, video: true, screen: false };
const HEARD: Media = { audio: true, video: false, screen: false };
const DARK: Media = { audio: false, video: false, screen: false };

interface Totals {
  bytes: number;
  packets: number;
  frames: number;
}

const received = (kind: 'audio' | 'video', packets: number, frames: number): Received => ({
  kind,
  track: kind,
  packets,
  packetsLost: 0,
  bytes: 0,
  jitterMs: null,
  frames,
  width: null,
  height: null,
  framesPerS: null,
  samples: 0,
  concealed: 0,
});

function sampled(atMs: number, { bytes, packets, frames }: Totals): Sample {
  return {
    atMs,
    pair: {
      local: 'host',
      remote: 'host',
      protocol: 'udp',
      relayProtocol: null,
      bytesReceived: bytes,
      bytesSent: 0,
      roundTripMs: null,
      outgoingBitsPerS: null,
    },
    received: [received('audio', packets, 0), received('video', 0, frames)],
    sent: [],
  };
}

/** Looks every LOOK_MS for `forMs`, while each total grows by `grows` at every look. */
function watched(
  forMs: number,
  grows: Partial<Totals>,
  media: Media,
  from: { watch: Watch | null; atMs: number; totals: Totals } = {
    watch: null,
    atMs: 0,
    totals: { bytes: 0, packets: 0, frames: 0 },
  },
  hinted = false,
) {
  let { watch, atMs, totals } = from;
  const verdicts: [number, Verdict][] = [];
  for (let passed = 0; passed < forMs; passed += LOOK_MS) {
    atMs += LOOK_MS;
    totals = {
      bytes: totals.bytes + (grows.bytes ?? 0),
      packets: totals.packets + (grows.packets ?? 0),
      frames: totals.frames + (grows.frames ?? 0),
    };
    const [next, verdict] = look(watch, sampled(atMs, totals), media, hinted);
    watch = next;
    verdicts.push([atMs - from.atMs, verdict]);
  }
  return { watch, atMs, totals, verdicts, last: verdicts.at(-1)?.[1] };
}

const ALL = { bytes: 9000, packets: 12, frames: 7 };
const firstOf = (verdicts: [number, Verdict][], verdict: Verdict) =>
  verdicts.find(([, one]) => one === verdict)?.[0] ?? Number.POSITIVE_INFINITY;

describe('the watchdog', () => {
  it('flows when what was promised comes, and not before', () => {
    expect(watched(LOOK_MS, {}, SEEN).last).toBe('waiting');
    expect(watched(1_000, { bytes: 10, packets: 1 }, SEEN).last).toBe('waiting');
    expect(watched(1_000, ALL, SEEN).last).toBe('flowing');
    expect(watched(1_000, {}, DARK).last).toBe('flowing');
  });

  it('a cut is doubted within a second, and said within two and a quarter', () => {
    const cut = watched(4_000, {}, SEEN, watched(3_000, ALL, SEEN));
    expect(firstOf(cut.verdicts, 'uneasy')).toBeLessThanOrEqual(UNEASY_MS + LOOK_MS);
    expect(firstOf(cut.verdicts, 'doubtful')).toBeLessThanOrEqual(DOUBT_MS + LOOK_MS);
    expect(firstOf(cut.verdicts, 'silent')).toBeLessThanOrEqual(SILENT_MS + LOOK_MS);
    expect(cut.last).toBe('silent');
  });

  it('after a hint of the browser half a second is enough', () => {
    const before = watched(3_000, ALL, SEEN);
    expect(firstOf(watched(2_000, {}, SEEN, before, true).verdicts, 'doubtful')).toBeLessThanOrEqual(500);
  });

  it('sound alone may pause (Opus DTX): it is never doubted, and silent after two seconds', () => {
    const before = watched(3_000, { bytes: 90, packets: 1 }, HEARD);
    const { verdicts } = watched(1_500, {}, HEARD, before);
    expect(verdicts.map(([, verdict]) => verdict)).not.toContain('doubtful');
    expect(watched(3_000, {}, HEARD, before).last).toBe('silent');
  });

  it('the path works and a kind is missing: named within two and a half seconds', () => {
    const before = watched(3_000, ALL, SEEN);
    const frozen = watched(4_000, { bytes: 90, packets: 12 }, SEEN, before);
    expect(frozen.last).toBe('picture_missing');
    expect(firstOf(frozen.verdicts, 'picture_missing')).toBeLessThanOrEqual(MISSING_MS + LOOK_MS);
    expect(watched(4_000, { bytes: 9000, frames: 7 }, SEEN, before).last).toBe('sound_missing');
  });

  it('what nobody promises is not missed: camera off, muted, a screen that stands still', () => {
    const before = watched(3_000, ALL, SEEN);
    expect(watched(5_000, { bytes: 9, packets: 1 }, HEARD, before).last).toBe('flowing');
    expect(watched(5_000, { bytes: 9, packets: 1 }, { ...HEARD, screen: true }, before).last).toBe('flowing');
  });

  it('a camera that is switched on has its time', () => {
    const heard = watched(5_000, { bytes: 9, packets: 1 }, HEARD);
    const { verdicts } = watched(1_500, { bytes: 9, packets: 1 }, SEEN, heard);
    expect(verdicts.map(([, verdict]) => verdict)).not.toContain('picture_missing');
  });

  it('a page that was asleep blames nobody for what it did not see', () => {
    const before = watched(3_000, ALL, SEEN);
    const [, verdict] = look(before.watch, sampled(before.atMs + 60_000, before.totals), SEEN);
    expect(verdict).toBe('flowing');
    expect(watched(1_000, ALL, SEEN, { ...before, atMs: before.atMs + 60_000 }).last).toBe('flowing');
  });

  it('whatever came before: what comes is flowing within one look of each kind', () => {
    const phase = fc.record({
      forMs: fc.integer({ min: LOOK_MS, max: 4_000 }),
      grows: fc.constantFrom(ALL, {}, { bytes: 90, packets: 12 }, { bytes: 9000, frames: 7 }),
      media: fc.constantFrom(SEEN, HEARD, DARK),
      sleepMs: fc.constantFrom(0, 0, 10_000),
    });
    fc.assert(
      fc.property(fc.array(phase, { maxLength: 12 }), (phases) => {
        let now = watched(LOOK_MS, {}, SEEN);
        for (const { forMs, grows, media, sleepMs } of phases)
          now = watched(forMs, grows, media, { ...now, atMs: now.atMs + sleepMs });
        expect(watched(2 * LOOK_MS, ALL, SEEN, now).last).toBe('flowing');
        expect(watched(SILENT_MS + 2 * LOOK_MS, {}, HEARD, now).last).toBe('silent');
      }),
    );
  });
});

describe('our own camera', () => {
  const sent = (sourceFrames: number | null, active = true): Sent => ({
    kind: 'video',
    mid: '1',
    active,
    packets: 0,
    bytes: 0,
    frames: 0,
    targetBitsPerS: null,
    sourceFrames,
    width: null,
    height: null,
    framesPerS: null,
    limitation: null,
    roundTripMs: null,
    lossShare: null,
  });
  const looks = (frames: (n: number) => Sent): boolean => {
    let watch: SourceWatch | null = null;
    let stuck = false;
    for (let n = 0; n * LOOK_MS <= MISSING_MS + LOOK_MS; n++)
      [watch, stuck] = lookAtSource(watch, {
        ...sampled(n * LOOK_MS, { bytes: 0, packets: 0, frames: 0 }),
        sent: [frames(n)],
      });
    return stuck;
  };

  it('is stuck when it gives no pictures for two seconds, and only then', () => {
    expect(looks(() => sent(5))).toBe(true);
    expect(looks((n) => sent(n))).toBe(false);
    expect(
      looks(() => sent(null)),
      'a browser that does not tell',
    ).toBe(false);
    expect(
      looks(() => sent(5, false)),
      'not sent at all',
    ).toBe(false);
  });
});
