/** Negotiation with another side that is not as ours is. The browser's part is as small as these rules need it. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Outgoing, PeerLink } from './peer_link';

class Pc {
  static last: Pc;
  connectionState = 'new';
  signalingState = 'stable';
  localDescription: { type: string; sdp: string } | null = null;
  currentLocalDescription = null;
  restarts = 0;
  servers: unknown[] = [];
  transceivers: { direction: string; currentDirection: null; receiver: object; sender: object }[] = [];
  onnegotiationneeded: (() => void) | null = null;
  constructor() {
    Pc.last = this;
  }
  getTransceivers = () => this.transceivers;
  getSenders = () => [];
  addTransceiver = (trackOrKind: { kind: string } | string) => {
    const kind = typeof trackOrKind === 'string' ? trackOrKind : trackOrKind.kind;
    const sender = { track: null, getParameters: () => ({}), replaceTrack: async () => {} };
    this.transceivers.push({
      direction: 'sendrecv',
      currentDirection: null,
      receiver: { track: { kind } },
      sender,
    });
    queueMicrotask(() => this.onnegotiationneeded?.());
  };
  setConfiguration = ({ iceServers }: RTCConfiguration) => {
    this.servers = iceServers ?? [];
  };
  restartIce = () => {
    this.restarts += 1;
  };
  setLocalDescription = async () => {
    this.localDescription = { type: 'offer', sdp: '' };
    this.signalingState = 'have-local-offer';
  };
  setRemoteDescription = async ({ sdp }: { sdp: string }) => {
    this.signalingState = 'stable';
    // JSEP §5.11: what is refused is stopped, and stopped transceivers go.
    if (sdp === 'refuses video')
      this.transceivers = this.transceivers.filter(
        ({ receiver }) => (receiver as { track: { kind: string } }).track.kind !== 'video',
      );
  };
  stats: [string, object][] = [];
  onconnectionstatechange: (() => void) | null = null;
  getStats = async () => new Map(this.stats);
  become(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
  close() {}
}

const camera = { kind: 'video', getSettings: () => ({}) };
const streams = { camera: {}, screen: {} };
const outgoing = {
  audio: { kind: 'audio' },
  video: camera,
  screen: null,
  beside: true,
  streams,
} as unknown as Outgoing;
const ICE = { servers: [], policy: 'all' as const, expires_at: 0 };

/** A link, and the generations of the offers that it made. */
function linked(): { link: PeerLink; offers: number[]; answer: (sdp: string) => Promise<void> } {
  const offers: number[] = [];
  let seq = 0;
  const link = new PeerLink(false, false, ICE, outgoing, null, {
    signal: (gen, content) => 'description' in content && offers.push(gen),
    flow() {},
    uneasy() {},
    incoming() {},
  });
  const answer = async (sdp: string) => {
    const gen = offers.at(-1) ?? 0;
    link.deliver({
      room: 'r',
      call: 'c',
      from: 'b',
      from_leg: 1,
      seq: seq++,
      gen,
      description: { type: 'answer', sdp },
    });
    await vi.advanceTimersByTimeAsync(50);
  };
  return { link, offers, answer };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('RTCPeerConnection', Pc);
  vi.stubGlobal(
    'MediaStream',
    class {
      getTracks = () => [];
      getVideoTracks = () => [];
    },
  );
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('another side', () => {
  it('K3: that refuses the picture is not asked for it again and again', async () => {
    const { link, offers, answer } = linked();
    link.begin(false);
    await vi.advanceTimersByTimeAsync(50);
    for (let times = 0; times < 10; times++) await answer('refuses video');
    expect(offers.length).toBeLessThanOrEqual(2);
    link.close();
  });

  it('K3: that has not answered yet when the network changes is restarted as soon as it has, with fresh servers', async () => {
    const { link, offers, answer } = linked();
    link.begin(false);
    await vi.advanceTimersByTimeAsync(50);
    await answer('');
    Pc.last.addTransceiver('video');
    await vi.advanceTimersByTimeAsync(50);
    link.restart({ ...ICE, servers: [{ urls: ['turn:fresh'] }] });
    await vi.advanceTimersByTimeAsync(50);
    expect(Pc.last.servers).toMatchObject([{ urls: ['turn:fresh'] }]);
    await answer('');
    expect(Pc.last.restarts).toBe(1);
    expect(offers.at(-1)).toBe(1);
    link.close();
  });
});

describe('a picture that is promised and does not come', () => {
  it('is still missing after a restart that brings nothing: else the repairs would begin anew without end', async () => {
    const flows: string[] = [];
    const seen = { audio: true, video: true, screen: false };
    const link = new PeerLink(false, false, ICE, outgoing, seen, {
      signal() {},
      flow: (flow) => flows.push(flow),
      uneasy() {},
      incoming() {},
    });
    const lookFor = async (ms: number, frames: () => number) => {
      for (
        const end = performance.now() + ms;
        performance.now() < end;
        await vi.advanceTimersByTimeAsync(150)
      ) {
        const now = performance.now();
        Pc.last.stats = [
          ['v', { id: 'v', type: 'inbound-rtp', kind: 'video', framesDecoded: frames(), bytesReceived: now }],
          ['a', { id: 'a', type: 'inbound-rtp', kind: 'audio', packetsReceived: now, bytesReceived: now }],
        ];
        await link.look(false);
      }
    };
    Pc.last.become('connected');
    await lookFor(1_000, () => performance.now());
    expect(flows.at(-1)).toBe('flowing');
    await lookFor(3_000, () => 7);
    expect(flows.at(-1)).toBe('picture_missing');
    flows.length = 0;
    Pc.last.become('connecting');
    Pc.last.become('connected');
    await lookFor(3_000, () => 7);
    expect(flows).not.toContain('flowing');
    await lookFor(500, () => performance.now());
    expect(flows.at(-1)).toBe('flowing');
    link.close();
  });
});

describe('a browser that does not answer for its figures', () => {
  it('is asked again: the watch on the call does not end with one question', async () => {
    const { link } = linked();
    Pc.last.become('connected');
    await vi.advanceTimersByTimeAsync(150);
    Pc.last.getStats = () => new Promise(() => {});
    void link.look(false);
    Pc.last.getStats = async () => new Map();
    expect(await link.look(false), 'one at a time').toBeNull();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await link.look(false)).not.toBeNull();
    link.close();
  });
});
