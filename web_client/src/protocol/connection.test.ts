import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection } from './connection';

/** Every attempt of the socket fails at once, or else connects and answers after `roundTripMs`. */
const attempts = vi.hoisted(() => ({ atMs: [] as number[], roundTripMs: null as number | null }));
vi.mock('socket.io-client', () => ({
  io: () => {
    attempts.atMs.push(performance.now());
    return {
      connected: true,
      on: (event: string, hear: (error?: Error) => void) => {
        const failed = attempts.roundTripMs === null;
        if (event === 'connect_error' && failed) queueMicrotask(() => hear(new Error('xhr poll error')));
        if (event === 'connect' && !failed) queueMicrotask(hear);
      },
      timeout: () => ({
        emit: (_verb: string, _command: object, hear: (lost: null, answer: object) => void) =>
          setTimeout(() => hear(null, { ok: true }), attempts.roundTripMs ?? 0),
      }),
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
  attempts.roundTripMs = null;
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

describe('is the link alive?', () => {
  it('a link that got slow is not taken for dead again and again: one slow answer is enough to know', async () => {
    attempts.roundTripMs = 50;
    const connection = new Connection('r', { device: 'd', login: null });
    connection.start();
    await vi.advanceTimersByTimeAsync(10);
    const asked = async (ask: Promise<unknown>) => {
      await vi.advanceTimersByTimeAsync(3_000);
      await ask;
    };
    for (let times = 0; times < 10; times++) await asked(connection.ask('ice', { room: 'r' }));
    attempts.roundTripMs = 800;
    await asked(connection.ask('ice', { room: 'r' }));
    await asked(connection.probe());
    expect(attempts.atMs).toHaveLength(1);
    connection.close();
  });
});
