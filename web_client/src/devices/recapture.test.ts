import { describe, expect, it } from 'vitest';
import { mayPass, mayTryAlone, NEW_ROW, nextAttempt, PAUSES_MS, type Row, WELL_MS } from './recapture';

function rowOf(start: Row, nowMs: number, workMs: number): number[] {
  const pauses: number[] = [];
  for (let row: Row | null = start, now = nowMs; row !== null && pauses.length < 100; ) {
    const next = nextAttempt(row, now);
    if (next) {
      pauses.push(next.pauseMs);
      now += next.pauseMs + workMs;
    }
    row = next?.row ?? null;
  }
  return pauses;
}

describe('a device that stopped delivering', () => {
  it('is captured again at once, then after growing pauses, and not for ever', () => {
    const pauses = rowOf(NEW_ROW, 1e12, 50);
    expect(pauses).toEqual([...PAUSES_MS]);
    expect(pauses[0]).toBe(0);
    for (const [index, pause] of pauses.slice(1).entries()) expect(pause).toBeGreaterThan(pauses[index] ?? 0);
  });

  it('that fails again two seconds after each capture is not captured without end either', () => {
    expect(rowOf(NEW_ROW, 1e12, 2_000)).toHaveLength(PAUSES_MS.length);
  });

  it('that was well for a while starts from the beginning', () => {
    expect(nextAttempt({ attempts: PAUSES_MS.length, at: 1_000 }, 1_000 + WELL_MS)).toBeNull();
    expect(nextAttempt({ attempts: PAUSES_MS.length, at: 1_000 }, 1_001 + WELL_MS)?.pauseMs).toBe(0);
  });
});

describe('no loop of questions', () => {
  it('what only the person can change is not tried again', () => {
    for (const problem of ['denied', 'dismissed', 'system', 'policy', 'insecure', 'unsupported'] as const)
      expect(mayPass(problem)).toBe(false);
  });

  it('where the browser would ask, one attempt, and none because the page came to the front', () => {
    expect(mayTryAlone('prompt', 1, 'lost')).toBe(true);
    expect(mayTryAlone('prompt', 2, 'lost')).toBe(false);
    expect(mayTryAlone('unknown', 1, 'plugged')).toBe(true);
    expect(mayTryAlone('prompt', 1, 'visible')).toBe(false);
    expect(mayTryAlone('denied', 1, 'plugged')).toBe(false);
    expect(mayTryAlone('granted', 5, 'visible')).toBe(true);
  });
});
