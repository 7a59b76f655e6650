import { describe, expect, test } from 'vitest';
import { shape, shapeOf } from './sending';

describe('how a sender sends', () => {
  test('sound goes first, and is never off', () => {
    for (const picture of ['full', 'small', 'none'] as const) {
      expect(shapeOf('sound', picture, null)).toEqual({
        encoding: { active: true, priority: 'high', networkPriority: 'high' },
      });
    }
  });

  test('a camera keeps its movement: it gets smaller, whatever way the phone is held', () => {
    const { encoding, degradationPreference } = shapeOf('camera', 'small', 720);
    expect(encoding).toMatchObject({ active: true, scaleResolutionDownBy: 3, maxFramerate: 15 });
    expect(encoding.maxBitrate).toBeLessThan(250_000);
    expect(degradationPreference).toBe('maintain-framerate');
    expect(shapeOf('camera', 'small', 120).encoding.scaleResolutionDownBy, 'never enlarged').toBe(1);
  });

  test('a screen stays readable: it gets slower', () => {
    const { encoding, degradationPreference } = shapeOf('screen', 'small', 1080);
    expect(encoding).toMatchObject({ scaleResolutionDownBy: 1, maxFramerate: 5 });
    expect(degradationPreference).toBe('maintain-resolution');
  });

  test('a picture that is off sends nothing, and comes back with every field it had', () => {
    expect(shapeOf('camera', 'none', 720).encoding.active).toBe(false);
    const fields = (one: object) => Object.keys(one).sort();
    expect(fields(shapeOf('camera', 'full', 720).encoding)).toEqual(
      fields(shapeOf('camera', 'none', 720).encoding),
    );
  });
});

/** A sender of a browser that refuses fields, as some do: with an error, and changing nothing. */
class Sender {
  encoding: Record<string, unknown> = { active: true };
  refuses: string[] = [];
  asked = 0;
  getParameters = () => ({ encodings: [{ ...this.encoding }] });
  setParameters = async ({ encodings }: { encodings: Record<string, unknown>[] }) => {
    this.asked += 1;
    const wanted = encodings[0] ?? {};
    if (this.refuses.some((field) => field in wanted)) throw new TypeError('unknown field');
    this.encoding = wanted;
  };
  get real(): RTCRtpSender {
    return this as unknown as RTCRtpSender;
  }
}

describe('a browser', () => {
  test('that takes all of it is asked once, and not again for the same', async () => {
    const sender = new Sender();
    await shape(sender.real, shapeOf('camera', 'small', 720));
    await shape(sender.real, shapeOf('camera', 'small', 720));
    expect(sender.encoding).toMatchObject({ priority: 'low', maxFramerate: 15, scaleResolutionDownBy: 3 });
    expect(sender.asked).toBe(1);
  });

  test('that refuses a field still gets what weak links live on', async () => {
    const sender = new Sender();
    sender.refuses = ['networkPriority'];
    await shape(sender.real, shapeOf('camera', 'none', 720));
    expect(sender.encoding).toEqual({ active: false, maxBitrate: 200_000, scaleResolutionDownBy: 3 });
  });

  test('that refuses everything breaks nothing', async () => {
    const sender = new Sender();
    sender.refuses = ['active'];
    await shape(sender.real, shapeOf('camera', 'none', 720));
    expect(sender.encoding).toEqual({ active: true });
    expect(sender.asked).toBe(2);
  });
});
