import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OwnMedia } from './own_media.svelte';

/** A browser that gives a device each time it is asked, and asks the person each time. */
const asked = { times: 0 };

function track(kind: string) {
  const settings = { deviceId: kind, groupId: kind };
  return {
    kind,
    label: kind,
    readyState: 'live',
    muted: false,
    enabled: true,
    stop() {},
    getSettings: () => settings,
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  asked.times = 0;
  vi.stubGlobal('isSecureContext', true);
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('document', { addEventListener() {}, visibilityState: 'visible' });
  vi.stubGlobal('navigator', {
    permissions: { query: async () => ({ state: 'prompt', addEventListener() {} }) },
    mediaDevices: {
      enumerateDevices: async () => [],
      getUserMedia: async ({ audio, video }: MediaStreamConstraints) => {
        asked.times += 1;
        const tracks = [...(audio ? [track('audio')] : []), ...(video ? [track('video')] : [])];
        return { getTracks: () => tracks };
      },
    },
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('a camera that hangs for good', () => {
  it('does not bring the question of the browser up again and again', async () => {
    const own = new OwnMedia();
    await own.ensure();
    asked.times = 0;
    // The watch on the frames says so every two seconds, for ten minutes.
    for (let times = 0; times < 300; times++) {
      own.recapture('video');
      await vi.advanceTimersByTimeAsync(2_000);
    }
    expect(own.problems.video).toBe('frozen');
    expect(asked.times).toBe(1);
    expect(own.media.video).toBe(false);
    own.resumed('video');
    expect(own.media.video, 'pictures came again by themselves').toBe(true);
    own.close();
  });
});
