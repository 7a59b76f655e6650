/**
 * How a sender sends (W3C WebRTC §5.2, RTCRtpSendParameters): how much, how large, what goes first, what is given up
 * first. Decided here, pure; carried out on the sender by `shape`. None of it negotiates.
 */
import type { Picture } from './weak_link';

export type Content = 'sound' | 'camera' | 'screen';

type Encoding = Pick<
  RTCRtpEncodingParameters,
  'active' | 'priority' | 'networkPriority' | 'maxBitrate' | 'maxFramerate' | 'scaleResolutionDownBy'
>;

export interface Shape {
  encoding: Encoding;
  degradationPreference?: RTCDegradationPreference;
}

/** A face may get blurred but not jerky; text on a screen may be slow but not blurred. */
const SHAPES = {
  camera: {
    degradationPreference: 'maintain-framerate',
    full: { maxBitrate: 1_500_000, maxFramerate: 30 },
    small: { maxBitrate: 200_000, maxFramerate: 15 },
  },
  screen: {
    degradationPreference: 'maintain-resolution',
    full: { maxBitrate: 2_500_000, maxFramerate: 15 },
    small: { maxBitrate: 200_000, maxFramerate: 5 },
  },
} as const;
const SMALL_LINES = 240;
/** What capture.ts asks the camera for. */
const CAPTURED_LINES = 720;

/**
 * `lines`: the shorter side of what the camera gives; null where it is not told. A picture that is off is not `active`:
 * no packet leaves, and it comes back without negotiating.
 */
export function shapeOf(content: Content, picture: Picture, lines: number | null): Shape {
  if (content === 'sound') return { encoding: { active: true, priority: 'high', networkPriority: 'high' } };
  const { degradationPreference, full, small } = SHAPES[content];
  const scaled = content === 'camera' && picture !== 'full';
  return {
    encoding: {
      active: picture !== 'none',
      priority: 'low',
      networkPriority: 'low',
      ...(picture === 'full' ? full : small),
      scaleResolutionDownBy: scaled ? Math.max(1, (lines ?? CAPTURED_LINES) / SMALL_LINES) : 1,
    },
    degradationPreference,
  };
}

/** What a browser that refuses the whole takes at least: what weak links live on. */
function essential({ encoding: { active, maxBitrate, scaleResolutionDownBy } }: Shape): Shape {
  return {
    encoding: {
      ...(active === undefined ? {} : { active }),
      ...(maxBitrate === undefined ? {} : { maxBitrate }),
      ...(scaleResolutionDownBy === undefined ? {} : { scaleResolutionDownBy }),
    },
  };
}

/** Never fails: a browser that refuses gets less, and what it refuses then stays as it was. */
export async function shape(sender: RTCRtpSender, wanted: Shape): Promise<void> {
  for (const one of [wanted, essential(wanted)]) {
    const parameters = sender.getParameters();
    const encoding = parameters.encodings?.[0];
    if (!encoding || isShaped(encoding, one.encoding)) return;
    Object.assign(encoding, one.encoding);
    if (one.degradationPreference) parameters.degradationPreference = one.degradationPreference;
    try {
      await sender.setParameters(parameters);
      return;
    } catch {
      // Some browsers refuse a field that they do not know.
    }
  }
}

/**
 * A whole picture at once, for somebody who has missed what the next ones build on: else Chromium's receiver waits up to
 * three seconds before it asks for one. A sender that is switched on again begins with a key frame.
 */
export async function sendKeyFrame(sender: RTCRtpSender): Promise<void> {
  for (const active of [false, true]) {
    const parameters = sender.getParameters();
    const encoding = parameters.encodings?.[0];
    if (!encoding || encoding.active === active) return;
    encoding.active = active;
    await sender.setParameters(parameters).catch(() => {});
  }
}

function isShaped(now: RTCRtpEncodingParameters, wanted: Encoding): boolean {
  return Object.entries(wanted).every(([field, value]) => now[field as keyof Encoding] === value);
}
