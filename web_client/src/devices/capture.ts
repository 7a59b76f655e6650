/**
 * Camera and microphone. Whatever goes wrong with one of them, the other is still tried, and each failure has its own
 * name, which the messages file turns into a sentence with the next step.
 */
export type Kind = 'audio' | 'video';

export type CaptureProblem =
  /** The person, or a rule of the browser, said no. */
  | 'denied'
  /** Another program holds it. */
  | 'busy'
  /** There is none. */
  | 'missing'
  /** The chosen one is not there any more. */
  | 'gone'
  /** The page did not come over HTTPS, or the browser has no WebRTC. */
  | 'insecure'
  | 'unsupported'
  /** The question is still on the screen. */
  | 'unanswered'
  | 'failed';

export interface Choice {
  microphone: string | null;
  camera: string | null;
  speaker: string | null;
}

export interface Captured {
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
  problems: Partial<Record<Kind, CaptureProblem>>;
}

/** W3C Media Capture §10.2, and the older names that are still about. */
export function problemOf(error: unknown, secure = globalThis.isSecureContext): CaptureProblem {
  if (!secure) return 'insecure';
  switch ((error as { name?: string } | null)?.name) {
    case 'NotAllowedError':
    case 'SecurityError':
    case 'PermissionDeniedError':
      return 'denied';
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return 'missing';
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return 'busy';
    case 'OverconstrainedError':
    case 'ConstraintNotSatisfiedError':
      return 'gone';
    case 'TypeError':
      return 'unsupported';
    default:
      return 'failed';
  }
}

export async function capture(wanted: Record<Kind, boolean>, choice: Choice): Promise<Captured> {
  const kinds = (['audio', 'video'] as const).filter((kind) => wanted[kind]);
  const none: Captured = { audio: null, video: null, problems: {} };
  if (kinds.length === 0) return none;
  if (!navigator.mediaDevices?.getUserMedia) {
    const problem = globalThis.isSecureContext ? 'unsupported' : 'insecure';
    return { ...none, problems: Object.fromEntries(kinds.map((kind) => [kind, problem])) };
  }
  if (kinds.length === 2) {
    const both = await attempt(['audio', 'video'], choice);
    if ('tracks' in both) return { ...none, ...both.tracks };
    // Refused as a whole: asking again for each would only show the same question twice.
    if (both.problem === 'denied' && !(await oneIsBlocked())) {
      return { ...none, problems: { audio: 'denied', video: 'denied' } };
    }
  }
  let found = none;
  for (const kind of kinds) {
    const one = await attempt([kind], choice);
    found =
      'tracks' in one
        ? { ...found, ...one.tracks }
        : { ...found, problems: { ...found.problems, [kind]: one.problem } };
  }
  return found;
}

type Attempt = { tracks: Partial<Record<Kind, MediaStreamTrack>> } | { problem: CaptureProblem };

/** A chosen device that is gone is no reason to fail: any other will do. */
async function attempt(kinds: Kind[], choice: Choice): Promise<Attempt> {
  for (const chosen of [choice, { microphone: null, camera: null, speaker: null }]) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(constraints(kinds, chosen));
      const tracks: Partial<Record<Kind, MediaStreamTrack>> = {};
      for (const track of stream.getTracks()) {
        track.contentHint = track.kind === 'audio' ? 'speech' : 'motion';
        tracks[track.kind as Kind] = track;
      }
      return { tracks };
    } catch (error) {
      const problem = problemOf(error);
      if (problem !== 'gone' || chosen !== choice) return { problem };
    }
  }
  return { problem: 'gone' };
}

function constraints(kinds: Kind[], { microphone, camera }: Choice): MediaStreamConstraints {
  return {
    audio: kinds.includes('audio') && {
      echoCancellation: true,
      noiseSuppression: true,
      autoGainControl: true,
      ...(microphone === null ? {} : { deviceId: { exact: microphone } }),
    },
    video: kinds.includes('video') && {
      width: { ideal: 1280 },
      height: { ideal: 720 },
      frameRate: { ideal: 30, max: 30 },
      ...(camera === null ? { facingMode: 'user' } : { deviceId: { exact: camera } }),
    },
  };
}

type Permission = PermissionState | 'unknown';

export async function permissions(): Promise<Record<Kind, Permission>> {
  return { audio: await permission('microphone'), video: await permission('camera') };
}

async function permission(name: string): Promise<Permission> {
  try {
    return (await navigator.permissions.query({ name: name as PermissionName })).state;
  } catch {
    return 'unknown'; // not every browser tells
  }
}

async function oneIsBlocked(): Promise<boolean> {
  const { audio, video } = await permissions();
  return (audio === 'denied') !== (video === 'denied');
}

export async function captureScreen(): Promise<MediaStreamTrack | CaptureProblem> {
  if (!navigator.mediaDevices?.getDisplayMedia)
    return globalThis.isSecureContext ? 'unsupported' : 'insecure';
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { max: 15 } },
      audio: false,
    });
    const track = stream.getVideoTracks()[0];
    if (!track) return 'failed';
    track.contentHint = 'detail';
    return track;
  } catch (error) {
    return problemOf(error);
  }
}

export interface Devices {
  microphones: MediaDeviceInfo[];
  cameras: MediaDeviceInfo[];
  speakers: MediaDeviceInfo[];
}

export const NO_DEVICES: Devices = { microphones: [], cameras: [], speakers: [] };

/** Names are empty until a permission was given; such entries are left out. */
export async function listDevices(): Promise<Devices> {
  try {
    const all = (await navigator.mediaDevices.enumerateDevices()).filter(({ deviceId }) => deviceId !== '');
    return {
      microphones: all.filter(({ kind }) => kind === 'audioinput'),
      cameras: all.filter(({ kind }) => kind === 'videoinput'),
      speakers: all.filter(({ kind }) => kind === 'audiooutput'),
    };
  } catch {
    return NO_DEVICES;
  }
}

const CHOICE = 'telementor.devices';

export function savedChoice(): Choice {
  const none: Choice = { microphone: null, camera: null, speaker: null };
  try {
    return { ...none, ...JSON.parse(localStorage.getItem(CHOICE) ?? '{}') };
  } catch {
    return none;
  }
}

export function saveChoice(choice: Choice): void {
  try {
    localStorage.setItem(CHOICE, JSON.stringify(choice));
  } catch {
    // A browser without storage asks again next time.
  }
}
