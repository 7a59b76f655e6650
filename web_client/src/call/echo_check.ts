/**
 * The check of the network before a call: a tone and a moving pattern go to the echo of the server and come back. Made
 * for it, so that nobody's voice or picture leaves the device for a check, and it needs no camera. Everything that is
 * opened here is closed here, whatever happens.
 */
import { silentTone } from '../devices/sound';
import type { Connection } from '../protocol/connection';
import type { IceShown } from '../protocol/wire';
import { type Found, judge, type Verdict } from './network_check';
import { configuration } from './peer_link';
import { type CandidateType, type Sample, sample } from './sample';

/** A relay that is there answers within a second; what was found by then is offered. */
const GATHER_MS = 3_000;
/** A direct pair takes a moment; one through a relay over TLS on a slow link some seconds. */
const CONNECT_MS = 6_000;
const LOOK_MS = 1_000;
const LOOKS = 6;
/** Enough for a picture, and little for the server. */
const PICTURE_BITS_PER_S = 400_000;

/** Rejects only when it is aborted. */
export async function checkNetwork(
  room: string,
  connection: Connection,
  signal: AbortSignal,
): Promise<Verdict> {
  if (!('RTCPeerConnection' in globalThis)) return { kind: 'unsupported' };
  const ice = await connection.ask('ice', { room });
  signal.throwIfAborted();
  if (!ice.ok) return { kind: 'no_answer' };
  const media = testMedia();
  const pc = new RTCPeerConnection(configuration(ice));
  try {
    for (const track of media.tracks) pc.addTransceiver(track, { direction: 'sendrecv' });
    const found = await find(pc, ice, room, connection, signal);
    signal.throwIfAborted();
    return judge(found);
  } finally {
    pc.close();
    media.stop();
  }
}

async function find(
  pc: RTCPeerConnection,
  { servers, policy }: IceShown,
  room: string,
  connection: Connection,
  signal: AbortSignal,
): Promise<Found> {
  const urls = servers.flatMap((server) => server.urls);
  const gathered: CandidateType[] = [];
  const errors: number[] = [];
  const found = {
    offered: {
      stun: urls.some((url) => url.startsWith('stun')),
      relay: urls.some((url) => url.startsWith('turn')),
      relayOnly: policy === 'relay',
    },
    gathered,
    errors,
  };
  pc.onicecandidate = ({ candidate }) => candidate?.type && gathered.push(candidate.type);
  pc.onicecandidateerror = ({ errorCode }) => errors.push(errorCode);
  await pc.setLocalDescription();
  // The echo does not trickle: its offer holds every candidate that was found in time.
  await happens(pc, 'icegatheringstatechange', () => pc.iceGatheringState === 'complete', GATHER_MS, signal);
  const sdp = pc.localDescription?.sdp ?? '';
  const answer = await connection.ask('echo', { room, description: { type: 'offer', sdp } });
  signal.throwIfAborted();
  if (!answer.ok)
    return { ...found, echo: answer.error.code === 'limited' ? 'busy' : 'no_answer', looks: [] };
  await pc.setRemoteDescription(answer.description);
  await limitPicture(pc);
  const settled = () => ['connected', 'failed'].includes(pc.connectionState);
  await happens(pc, 'connectionstatechange', settled, CONNECT_MS, signal);
  return { ...found, echo: 'answered', looks: await look(pc, signal) };
}

async function look(pc: RTCPeerConnection, signal: AbortSignal): Promise<Sample[]> {
  const looks: Sample[] = [];
  while (looks.length < LOOKS && pc.connectionState === 'connected') {
    await happens(pc, 'connectionstatechange', () => pc.connectionState !== 'connected', LOOK_MS, signal);
    signal.throwIfAborted();
    looks.push(sample(await pc.getStats(), performance.now()));
  }
  return looks;
}

async function limitPicture(pc: RTCPeerConnection): Promise<void> {
  const sender = pc.getSenders().find(({ track }) => track?.kind === 'video');
  const parameters = sender?.getParameters();
  const encoding = parameters?.encodings[0];
  if (!sender || !parameters || !encoding) return;
  encoding.maxBitrate = PICTURE_BITS_PER_S;
  await sender.setParameters(parameters).catch(() => {});
}

/** Waits until it is so, but not longer, and not when the check is aborted. */
function happens(
  target: EventTarget,
  event: string,
  so: () => boolean,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { signal: over.signal });
    target.addEventListener(event, () => so() && end(), { signal: over.signal });
    if (so() || signal.aborted) end();
  });
}

function testMedia(): { tracks: MediaStreamTrack[]; stop: () => void } {
  const tone = silentTone();
  const pattern = movingPattern();
  const tracks = [...(tone ? [tone.track] : []), ...(pattern ? [pattern.track] : [])];
  return {
    tracks,
    stop: () => {
      tone?.stop();
      pattern?.stop();
    },
  };
}

const FRAMES_PER_S = 15;
const COLUMNS = 20;
const ROWS = 12;
const CELL_PX = 16;

/** A row of colours that wanders: no frame is like the one before it, so that the encoder has something to do. */
function movingPattern(): { track: MediaStreamTrack; stop: () => void } | null {
  const canvas = document.createElement('canvas');
  canvas.width = COLUMNS * CELL_PX;
  canvas.height = ROWS * CELL_PX;
  const paint = canvas.getContext('2d');
  if (!paint || !('captureStream' in canvas)) return null;
  let step = 0;
  const draw = () => {
    step++;
    for (let column = 0; column < COLUMNS; column++) {
      for (let row = 0; row < ROWS; row++) {
        paint.fillStyle = `hsl(${((column + step) * 37 + row * 83 + column * row * 19) % 360} 70% 50%)`;
        paint.fillRect(column * CELL_PX, row * CELL_PX, CELL_PX, CELL_PX);
      }
    }
  };
  draw();
  const track = canvas.captureStream(FRAMES_PER_S).getVideoTracks()[0];
  const timer = setInterval(draw, 1_000 / FRAMES_PER_S);
  const stop = () => {
    clearInterval(timer);
    track?.stop();
  };
  return track ? { track, stop } : null;
}
