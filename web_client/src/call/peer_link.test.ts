/** Negotiation with another side that is not as ours is. The browser's part is as small as these rules need it. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Media } from '../protocol/wire';
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
  rollbacks = 0;
  proposals = 0;
  createOffer = async () => ({ type: 'offer', sdp: `proposal ${++this.proposals}` });
  setLocalDescription = async (proposal?: { type: string; sdp: string }) => {
    const answers = this.signalingState === 'have-remote-offer';
    this.localDescription = proposal ?? { type: answers ? 'answer' : 'offer', sdp: '' };
    this.signalingState = answers ? 'stable' : 'have-local-offer';
  };
  setRemoteDescription = async ({ type, sdp }: { type: string; sdp: string }) => {
    if (type === 'offer' && this.signalingState === 'have-local-offer') this.rollbacks += 1;
    this.signalingState = type === 'offer' ? 'have-remote-offer' : 'stable';
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

const SEEN = { audio: true, video: true, screen: false };

/** A link, the generations of the offers that it made, and what it reported. */
function linked({ polite = false, seen = null as Media | null } = {}) {
  const offers: number[] = [];
  const flows: string[] = [];
  let seq = 0;
  const link = new PeerLink(polite, false, ICE, outgoing, seen, {
    signal: (gen, content) =>
      'description' in content && content.description?.type === 'offer' && offers.push(gen),
    flow: (flow) => flows.push(flow),
    uneasy() {},
    incoming() {},
  });
  const hear = async (type: 'offer' | 'answer', sdp = '') => {
    const gen = offers.at(-1) ?? 0;
    link.deliver({
      room: 'r',
      call: 'c',
      from: 'b',
      from_leg: 1,
      to_leg: 1,
      seq: seq++,
      gen,
      description: { type, sdp },
    });
    await vi.advanceTimersByTimeAsync(50);
  };
  /** Looks for so long; sound comes all the time, and pictures as `frames` says. */
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
  return { link, offers, flows, hear, lookFor };
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
    const { link, offers, hear } = linked();
    link.begin(false);
    await vi.advanceTimersByTimeAsync(50);
    for (let times = 0; times < 10; times++) await hear('answer', 'refuses video');
    expect(offers.length).toBeLessThanOrEqual(2);
    link.close();
  });

  it('K3: that has not answered yet when the network changes is restarted as soon as it has, with fresh servers', async () => {
    const { link, offers, hear } = linked();
    link.begin(false);
    await vi.advanceTimersByTimeAsync(50);
    await hear('answer');
    Pc.last.addTransceiver('video');
    await vi.advanceTimersByTimeAsync(50);
    link.restart({ ...ICE, servers: [{ urls: ['turn:fresh'] }] });
    await vi.advanceTimersByTimeAsync(50);
    expect(Pc.last.servers).toMatchObject([{ urls: ['turn:fresh'] }]);
    await hear('answer');
    expect(Pc.last.restarts).toBe(1);
    expect(offers.at(-1)).toBe(1);
    link.close();
  });
});

describe('a picture that is promised and does not come', () => {
  it('is still missing after a restart that brings nothing: else the repairs would begin anew without end', async () => {
    const { link, flows, lookFor } = linked({ seen: SEEN });
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

describe('an offer that meets one of the other side', () => {
  const need = async () => {
    Pc.last.onnegotiationneeded?.();
    await vi.advanceTimersByTimeAsync(50);
  };

  it('K3: of who gives way was a proposal only: it is dropped, nothing is rolled back, and the pictures stay', async () => {
    const { link, offers, flows, hear, lookFor } = linked({ polite: true, seen: SEEN });
    await hear('offer');
    Pc.last.become('connected');
    await need();
    expect(offers.length).toBe(1);
    await hear('offer');
    await lookFor(1_000, () => performance.now());
    expect(Pc.last.rollbacks).toBe(0);
    expect(flows.at(-1)).toBe('flowing');
    await need();
    expect(offers.length, 'what is still needed is offered anew').toBe(2);
    await hear('answer');
    expect(Pc.last.signalingState).toBe('stable');
    expect(Pc.last.localDescription?.sdp).toBe('proposal 2');
    link.close();
  });

  it('K2: is said again while it waits for its answer, and only then', async () => {
    const { link, offers, hear } = linked({ polite: true });
    await hear('offer');
    await need();
    await vi.advanceTimersByTimeAsync(7_000);
    expect(offers.length).toBe(3);
    await hear('answer');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(offers.length).toBe(3);
    link.close();
  });

  it.each([0, 1_000])(
    'spoils the connection if it is rolled back, also %d ms after it was agreed',
    async (ms) => {
      const { link, flows, hear, lookFor } = linked({ polite: true, seen: SEEN });
      await hear('offer');
      Pc.last.become('connected');
      await hear('answer'); // to what their offer left out
      await lookFor(ms, () => performance.now());
      link.restart(ICE);
      await vi.advanceTimersByTimeAsync(50);
      await hear('offer');
      expect(Pc.last.rollbacks).toBe(1);
      await lookFor(1_000, () => performance.now());
      expect(flows).toContain('flowing');
      expect(flows.at(-1)).toBe('failed');
      link.close();
    },
  );
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
