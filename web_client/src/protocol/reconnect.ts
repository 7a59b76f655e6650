/** When to try again after the connection went away. */
export interface ReconnectPolicy {
  /** Milliseconds to wait before attempt number `attempt` (0 = the first after a loss); `random` is in [0, 1). */
  delayMs(attempt: number, random: number): number;
}

/**
 * Doubles from `baseMs` up to `capMs`, for as long as it takes. Half of each delay is random, so that a server which
 * comes back is not met by everybody in the same instant.
 */
export function cappedBackoff(baseMs = 200, capMs = 8_000): ReconnectPolicy {
  return {
    delayMs(attempt, random) {
      const full = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 20));
      return Math.round(full / 2 + (full / 2) * random);
    },
  };
}

/** While a call stands still: never long, and with the same spread. */
export const URGENT = cappedBackoff(200, 1_000);
