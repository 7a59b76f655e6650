import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection } from './connection';

/** Every attempt of the socket fails at once. */
const attempts = vi.hoisted(() => ({ atMs: [] as number[] }));
vi.mock('socket.io-client', () => ({
  io: () => {
    attempts.atMs.push(performance.now());
    return {
      on: (event: string, hear: (error: Error) => void) =>
        event === 'connect_error' && queueMicrotask(() => hear(new Error('xhr poll error'))),
      onAny() {},
      offAny() {},
      disconnect() {},
      io: {},
    };
  },
}));

beforeEach(() => {
  vi.useFakeTimers();
  attempts.atMs = [];
  vi.stubGlobal('window', { addEventListener() {} });
  vi.stubGlobal('document', { addEventListener() {} });
  vi.stubGlobal('navigator', {});
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('while a call stands still', () => {
  it('the attempts are never far apart, and never in step with those of the others', async () => {
    const connection = new Connection('r', { device: 'd', login: null });
    connection.urgent = true;
    connection.start();
    await vi.advanceTimersByTimeAsync(60_000);
    connection.close();
    const pauses = attempts.atMs.slice(1).map((at, before) => at - (attempts.atMs[before] ?? 0));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(1_000);
    const later = pauses.slice(10);
    expect(new Set(later.map((ms) => Math.round(ms / 50))).size, `${later}`).toBeGreaterThan(4);
  });
});
