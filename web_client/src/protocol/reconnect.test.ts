import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { uuidFrom } from './identity';
import { cappedBackoff } from './reconnect';
import { retryDelayMs, worthRetrying } from './verbs';

describe('reconnecting', () => {
  it('never waits longer than the cap and never less than half of the doubled base, for any attempt', () => {
    const policy = cappedBackoff(400, 8_000);
    fc.assert(
      fc.property(
        fc.nat(10_000),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        (attempt, random) => {
          const delayMs = policy.delayMs(attempt, random);
          expect(delayMs).toBeGreaterThanOrEqual(200);
          expect(delayMs).toBeLessThanOrEqual(8_000);
        },
      ),
    );
  });

  it('T5: only limited and unavailable are worth another try, after the time that the server names', () => {
    expect(worthRetrying({ code: 'limited', message: '' })).toBe(true);
    expect(worthRetrying({ code: 'unavailable', message: '' })).toBe(true);
    for (const code of [
      'invalid',
      'forbidden',
      'not_found',
      'gone',
      'conflict',
      'too_large',
      'unsupported',
    ]) {
      expect(worthRetrying({ code, message: '' })).toBe(false);
    }
    expect(retryDelayMs({ code: 'limited', message: '', retry_ms: 700 })).toBe(700);
    expect(retryDelayMs({ code: 'limited', message: '' })).toBe(1_000);
  });

  it('L3: a key is a uuid of version 4 even where the browser has no randomUUID', () => {
    const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(uuidFrom(bytes)).toMatch(uuid);
      }),
    );
  });
});
