/** The wiring of a call that no browser is needed for: what is told, sent and left when. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OwnMedia } from '../devices/own_media.svelte';
import type { Connection } from '../protocol/connection';
import type { Joined, Media, PeerShown } from '../protocol/wire';
import { LiveCall } from './live.svelte';

const SEEN: Media = { audio: true, video: true, screen: false };

/** As much of a browser's connection as the wiring touches: connected, with the figures that a test sets. */
class Pc {
  static all: Pc[] = [];
  static stats: (pc: Pc) => [string, object][] = () => [];
  connectionState = 'connected';
  signalingState = 'stable';
  localDescription = null;
  currentLocalDescription = null;
  closed = false;
  constructor() {
    Pc.all.push(this);
  }
  transceivers: object[] = [];
  getTransceivers = () => this.transceivers;
  getSenders = () => [];
  addTransceiver = () => this.transceivers.push({ direction: 'inactive', receiver: { track: { kind: '' } } });
  setLocalDescription = async () => {};
  getStats = async () => new Map(Pc.stats(this));
  close = () => {
    this.closed = true;
  };
}

function joined(peers: PeerShown[]): Joined {
  return {
    ok: true,
    you: { peer: 'a', person: 'mentor', role: 'mentor', polite: false, leg: 0, media: null },
    room: { slug: 'r', title: '' },
    people: ['mentor', 'mentee', 'observer'].map((person) => ({
      person,
      name: person,
      role: person === 'mentor' ? 'mentor' : 'mentee',
      tz: 'UTC',
      online: true,
      read: null,
    })),
    peers,
    call: null,
    session: null,
    log: { epoch: 'e', head: null, events: [], more: false, reset: null },
    ice: { servers: [], policy: 'all', expires_at: 0 },
  };
}

function inCall(own: object, peers: string[], ask = vi.fn(async () => new Promise(() => {}))) {
  const connection = { ask, probe: async () => ({ ok: false, lost: true }) } as unknown as Connection;
  const shown = peers.map((peer) => ({
    peer,
    person: peer === 'b' ? 'mentee' : 'observer',
    device: peer,
    state: 'here' as const,
    leg: 1,
    media: SEEN,
  }));
  const call = new LiveCall('r', connection, own as OwnMedia);
  call.dispatch({ on: 'joined', answer: joined(shown) });
  call.dispatch({ on: 'press_join' });
  call.dispatch({ on: 'join_ok', ask: 1, answer: { ok: true, call: 'c', leg: 1, peers: shown } });
  return call;
}

const streams = { camera: { id: 'camera' }, screen: { id: 'screen' } };
const track = (kind: string) => ({ kind, getSettings: () => ({ width: 1280, height: 720 }) });

beforeEach(() => {
  vi.useFakeTimers();
  Pc.all = [];
  vi.stubGlobal('RTCPeerConnection', Pc);
  vi.stubGlobal(
    'MediaStream',
    class {
      getTracks = () => [];
      getVideoTracks = () => [];
      addTrack() {}
    },
  );
  const page = { addEventListener() {}, removeEventListener() {}, visibilityState: 'visible' };
  vi.stubGlobal('document', page);
  vi.stubGlobal('navigator', {});
  vi.stubGlobal('sessionStorage', { setItem() {}, removeItem() {}, getItem: () => null });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const sends = (frames: number, extra: object = {}): [string, object][] => [
  [
    'o',
    {
      id: 'o',
      type: 'outbound-rtp',
      kind: 'video',
      mediaSourceId: 's',
      bytesSent: performance.now(),
      ...extra,
    },
  ],
  ['s', { id: 's', type: 'media-source', kind: 'video', frames }],
  [
    'i',
    {
      id: 'i',
      type: 'inbound-rtp',
      kind: 'video',
      packetsReceived: performance.now(),
      framesDecoded: performance.now(),
      bytesReceived: performance.now(),
    },
  ],
  [
    'j',
    {
      id: 'j',
      type: 'inbound-rtp',
      kind: 'audio',
      packetsReceived: performance.now(),
      bytesReceived: performance.now(),
    },
  ],
];

describe('a camera that gives no pictures', () => {
  const own = (change: object = {}) => {
    const recapture = vi.fn();
    const video = track('video');
    return {
      outgoing: { audio: null, video, screen: null, beside: true, streams },
      media: SEEN,
      muted: false,
      video,
      screen: null,
      recapture,
      ...change,
    };
  };

  it('is found in a call of three: each connection counts the pictures of its own', async () => {
    const mine = own();
    inCall(mine, ['b', 'x']);
    Pc.stats = (pc) => sends(Pc.all.indexOf(pc));
    await vi.advanceTimersByTimeAsync(3_000);
    expect(mine.recapture).toHaveBeenCalledWith('video');
  });

  it('is not a screen that stood still and has just been put away', async () => {
    const mine = own({ screen: track('video') });
    inCall(mine, ['b']);
    Pc.stats = () => sends(7);
    await vi.advanceTimersByTimeAsync(5_000);
    mine.screen = null;
    await vi.advanceTimersByTimeAsync(500);
    expect(mine.recapture).not.toHaveBeenCalled();
  });
});

describe('a weak link', () => {
  const shares = { audio: null, video: null as object | null, screen: track('video'), beside: true, streams };

  it('takes a screen that is shared without a camera away, too, and tells so', async () => {
    const own = {
      outgoing: shares,
      media: { ...SEEN, video: false, screen: true },
      muted: false,
      video: null,
      screen: shares.screen,
    };
    const told: Media[] = [];
    const ask = vi.fn(async (verb: string, command: { media: Media }) => {
      if (verb === 'call.media') told.push(command.media);
      return { ok: true };
    });
    inCall(own, ['b'], ask as never);
    Pc.stats = () => [
      ...sends(performance.now()),
      ['t', { id: 't', type: 'transport', selectedCandidatePairId: 'p' }],
      [
        'p',
        {
          id: 'p',
          type: 'candidate-pair',
          availableOutgoingBitrate: 60_000,
          bytesReceived: performance.now(),
        },
      ],
    ];
    await vi.advanceTimersByTimeAsync(12_000);
    expect(told.at(-1)).toMatchObject({ audio: true, screen: false, weak: true });
  });
});
