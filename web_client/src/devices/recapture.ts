/**
 * When a device that stopped delivering is captured again by itself: at once, then after growing pauses, a bounded
 * number of times, and never so that the browser's question comes up again and again.
 */
import type { CaptureProblem } from './capture';

/** `ended`: unplugged or taken away. `muted`: silenced at the source by the system. `frozen`: live, but no frames come. */
export type Loss = 'ended' | 'muted' | 'frozen';

/** The pauses before the attempts of one row. After the last one, only a change begins a new row. */
export const PAUSES_MS = [0, 1_000, 3_000, 8_000, 20_000] as const;
/** A device that was well for so long is no longer the one that kept failing. */
export const WELL_MS = 60_000;
/** A source that is muted for a shorter time (another page starts the same device) heals by itself. */
export const MUTED_MS = 1_500;

/** One row of attempts; it goes on over captures that succeed and fail again soon after. */
export interface Row {
  attempts: number;
  /** When the last one began, in ms of any one clock. */
  at: number;
}

export const NEW_ROW: Row = { attempts: 0, at: 0 };

/** The next attempt of a row and the pause before it; null when the row is over. */
export function nextAttempt(row: Row, nowMs: number): { row: Row; pauseMs: number } | null {
  const attempts = nowMs - row.at > WELL_MS ? 0 : row.attempts;
  const pauseMs = PAUSES_MS[attempts];
  if (pauseMs === undefined) return null;
  return { row: { attempts: attempts + 1, at: nowMs + pauseMs }, pauseMs };
}

/** Whether time alone may change this; all else is for the person to change. */
export function mayPass(problem: CaptureProblem): boolean {
  return ['missing', 'gone', 'busy', 'stuck', 'failed', 'inactive', 'muted', 'frozen'].includes(problem);
}

/**
 * Whether a capture that nobody asked for may be tried. With a permission that lasts, always; otherwise the browser
 * may show its question, so only once for each loss and each device that was plugged in.
 */
export function mayTryAlone(
  permission: PermissionState | 'unknown',
  attempt: number,
  because: 'lost' | 'plugged' | 'visible',
): boolean {
  if (permission === 'denied') return false;
  return permission === 'granted' || (attempt === 1 && because !== 'visible');
}
