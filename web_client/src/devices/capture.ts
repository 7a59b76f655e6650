/**
 * Camera and microphone. Whatever goes wrong with one of them, the other is still tried, and each failure has its own
 * name, which the messages file turns into a sentence with the next step.
 */
export type Kind = 'audio' | 'video';

export type CaptureProblem =
  /** The person, or a setting of the browser for this page, said no. */
  | 'denied'
  /** The browser's question was closed without an answer. */
  | 'dismissed'
  /** The operating system does not let the browser have it. */
  | 'system'
  /** The rules of whoever looks after this browser say no. */
  | 'policy'
  /** Another program holds it. */
  | 'busy'
  /** There is none. */
  | 'missing'
  /** It was there and is not there any more. */
  | 'gone'
  /** It is there and free, and did not start. */
  | 'stuck'
  /** The page was not in front. */
  | 'inactive'
  /** The page did not come over HTTPS, or the browser has no WebRTC. */
  | 'insecure'
  | 'unsupported'
  /** The question is still on the screen. */
  | 'unanswered'
  /** Silenced at its source: a phone call, another program, a key on the device. */
  | 'muted'
  /** It is there, but nothing comes from it. */
  | 'frozen'
  | 'failed';

export interface Choice {
  microphone: string | null;
  camera: string | null;
  speaker: string | null;
}

export const NO_CHOICE: Choice = { microphone: null, camera: null, speaker: null };
/** Where the choice of a kind stands. */
export const SLOT = { audio: 'microphone', video: 'camera' } as const satisfies Record<Kind, keyof Choice>;

export interface Captured {
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
  problems: Partial<Record<Kind, CaptureProblem>>;
}

/**
 * W3C Media Capture §10.2, and the older names that are still about. One name covers everything that was not allowed;
 * who did not allow it stands in the message only, in Chromium's words.
 */
export function problemOf(error: unknown, secure = globalThis.isSecureContext): CaptureProblem {
  if (!secure) return 'insecure';
  const { name, message = '' } = (error ?? {}) as { name?: string; message?: string };
  switch (name) {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
      if (/by system/i.test(message)) return 'system';
      return /dismissed/i.test(message) ? 'dismissed' : 'denied';
    case 'SecurityError':
      return 'policy';
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return 'missing';
    case 'NotReadableError':
    case 'TrackStartError':
      return 'busy';
    case 'AbortError':
      return 'stuck';
    case 'OverconstrainedError':
    case 'ConstraintNotSatisfiedError':
      return 'gone';
    case 'InvalidStateError':
      return 'inactive';
    case 'TypeError':
      return 'unsupported';
    default:
      return 'failed';
  }
}

export const KINDS = ['audio', 'video'] as const satisfies readonly Kind[];

/** Never fails: what did not come has a problem instead. */
export async function capture(wanted: Partial<Record<Kind, boolean>>, choice: Choice): Promise<Captured> {
  const kinds = KINDS.filter((kind) => wanted[kind]);
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
    const { problem } = both;
    if (isRefusal(problem) && !(await oneIsBlocked())) {
      return { ...none, problems: { audio: problem, video: problem } };
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

function isRefusal(problem: CaptureProblem): boolean {
  return problem === 'denied' || problem === 'dismissed' || problem === 'policy';
}

/** Exactly this device, or nothing: a device that somebody silenced is not replaced by another that hears them. */
export async function captureAgain(
  kind: Kind,
  device: string | undefined,
): Promise<MediaStreamTrack | CaptureProblem> {
  const chosen = { ...NO_CHOICE, [SLOT[kind]]: device ?? null };
  try {
    const { [kind]: track } = await one([kind], chosen);
    return track ?? 'failed';
  } catch (error) {
    return problemOf(error);
  }
}

type Attempt = { tracks: Partial<Record<Kind, MediaStreamTrack>> } | { problem: CaptureProblem };

/** A chosen device that is gone is no reason to fail: any other will do. */
async function attempt(kinds: Kind[], choice: Choice): Promise<Attempt> {
  for (const chosen of [choice, NO_CHOICE]) {
    try {
      return { tracks: await one(kinds, chosen) };
    } catch (error) {
      const problem = problemOf(error);
      if (problem !== 'gone' || chosen !== choice) return { problem };
    }
  }
  return { problem: 'gone' };
}

async function one(kinds: Kind[], chosen: Choice): Promise<Partial<Record<Kind, MediaStreamTrack>>> {
  const stream = await navigator.mediaDevices.getUserMedia(constraints(kinds, chosen));
  for (const track of stream.getTracks()) track.contentHint = track.kind === 'audio' ? 'speech' : 'motion';
  return Object.fromEntries(stream.getTracks().map((track) => [track.kind, track]));
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

export type Permission = PermissionState | 'unknown';

export async function permission(kind: Kind): Promise<Permission> {
  return (await permissionStatus(kind))?.state ?? 'unknown';
}

/** Null: not every browser tells. */
export async function permissionStatus(kind: Kind): Promise<PermissionStatus | null> {
  try {
    return await navigator.permissions.query({ name: SLOT[kind] as PermissionName });
  } catch {
    return null;
  }
}

async function oneIsBlocked(): Promise<boolean> {
  return ((await permission('audio')) === 'denied') !== ((await permission('video')) === 'denied');
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

/** What is in one list and not in the one before, without the browser's own names for whichever is standard now. */
export function plugged(before: Devices, now: Devices): Devices {
  const newer = (list: keyof Devices) =>
    now[list].filter(
      ({ deviceId }) =>
        !['default', 'communications'].includes(deviceId) &&
        !before[list].some((known) => known.deviceId === deviceId),
    );
  return { microphones: newer('microphones'), cameras: newer('cameras'), speakers: newer('speakers') };
}

const CHOICE = 'telementor.devices';

export function savedChoice(): Choice {
  try {
    return { ...NO_CHOICE, ...JSON.parse(localStorage.getItem(CHOICE) ?? '{}') };
  } catch {
    return NO_CHOICE;
  }
}

export function saveChoice(choice: Choice): void {
  try {
    localStorage.setItem(CHOICE, JSON.stringify(choice));
  } catch {
    // A browser without storage asks again next time.
  }
}
