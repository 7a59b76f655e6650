import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Slot } from '../../protocol/wire';
import { firstDay, landing, laterDate, type Step, step, WEEK_DAYS, weekOf } from './picker';
import { addDays, startOf } from './time';

const TZ = 'Europe/London';
const FROM = '2026-12-01';

function slot(wall: string, outside: string[] = []): Slot {
  return { wall, start: startOf(wall, TZ) ?? 0, outside };
}

/** Day 0: 9:00, 9:30, 15:00 (outside) · day 1: nothing · day 2: 10:00 · day 6: 16:00. */
const SLOTS = [
  slot('2026-12-01T09:00'),
  slot('2026-12-01T09:30'),
  slot('2026-12-01T15:00', ['asha']),
  slot('2026-12-03T10:00'),
  slot('2026-12-07T16:00'),
];
const days = weekOf(SLOTS, FROM, false);
const all = weekOf(SLOTS, FROM, true);
const startAt = (wall: string) => startOf(wall, TZ) ?? 0;
const key = (wall: string, name: string, of = days) => step(of, startAt(wall), name);
const to = (wall: string): Step => ({ to: startAt(wall) });

describe('a week', () => {
  test('has seven days, and only times within the hours of both unless the others are asked for', () => {
    expect(days.map(({ date }) => date)).toEqual(
      Array.from({ length: WEEK_DAYS }, (_, n) => addDays(FROM, n)),
    );
    expect(days.map(({ slots }) => slots.length)).toEqual([2, 0, 1, 0, 0, 0, 1]);
    expect(all[0]?.slots.at(-1)?.outside).toEqual(['asha']);
  });

  test('puts equal times of day side by side', () => {
    expect(all.flatMap(({ slots }) => slots.map(({ row }) => row))).toEqual([0, 1, 3, 2, 4]);
  });

  test('begins today, or around a session that is further away, never in the past', () => {
    expect(firstDay('2026-12-01', null)).toBe('2026-12-01');
    expect(firstDay('2026-12-01', '2026-12-07')).toBe('2026-12-01');
    expect(firstDay('2026-12-01', '2026-12-08')).toBe('2026-12-05');
    expect(firstDay('2026-12-01', '2026-11-20')).toBe('2026-12-01');
    expect(laterDate('2026-12-30', '2027-01-02')).toBe('2027-01-02');
  });
});

describe('keys', () => {
  test('up and down go through a day and stop at its ends', () => {
    expect(key('2026-12-01T09:00', 'ArrowDown')).toEqual(to('2026-12-01T09:30'));
    expect(key('2026-12-01T09:30', 'ArrowUp')).toEqual(to('2026-12-01T09:00'));
    expect(key('2026-12-01T09:00', 'ArrowUp')).toBeNull();
    expect(key('2026-12-01T09:30', 'ArrowDown')).toBeNull();
  });

  test('left and right go to the nearest time of the next day that has any', () => {
    expect(key('2026-12-01T09:30', 'ArrowRight')).toEqual(to('2026-12-03T10:00'));
    expect(key('2026-12-03T10:00', 'ArrowLeft')).toEqual(to('2026-12-01T09:30'));
  });

  test('beyond the week they lead into the next one', () => {
    expect(key('2026-12-07T16:00', 'ArrowRight')).toEqual({ week: 1, day: 0 });
    expect(key('2026-12-01T09:00', 'ArrowLeft')).toEqual({ week: -1, day: 6 });
    expect(key('2026-12-03T10:00', 'PageDown')).toEqual({ week: 1, day: 2 });
    expect(key('2026-12-03T10:00', 'PageUp')).toEqual({ week: -1, day: 2 });
  });

  test('Home and End are the first and the last time of the week; other keys are none of ours', () => {
    expect(key('2026-12-03T10:00', 'Home')).toEqual(to('2026-12-01T09:00'));
    expect(key('2026-12-03T10:00', 'End')).toEqual(to('2026-12-07T16:00'));
    expect(key('2026-12-03T10:00', 'Tab')).toBeNull();
  });

  test('after a change of the week the focus lands on the same weekday and a near time', () => {
    expect(landing(all, 0, '2026-11-24T14:10')).toBe(startAt('2026-12-01T15:00'));
    expect(landing(all, 4, '2026-11-24T14:10')).toBe(startAt('2026-12-03T10:00'));
    expect(landing([], 0, '2026-11-24T14:10')).toBeNull();
  });
});

test('whatever keys are pressed, the focus stays on a time that can be seen', () => {
  const walls = fc.uniqueArray(fc.record({ day: fc.nat(6), half: fc.nat(47), outside: fc.boolean() }), {
    minLength: 1,
    maxLength: 60,
    selector: ({ day, half }) => day * 48 + half,
  });
  const keys = fc.array(fc.constantFrom('ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Home', 'End'), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(walls, keys, fc.boolean(), (times, pressed, withOutside) => {
      const slots = times.map(({ day, half, outside }) => {
        const clock = `${String(Math.floor(half / 2)).padStart(2, '0')}:${half % 2 ? '30' : '00'}`;
        return slot(`${addDays(FROM, day)}T${clock}`, outside ? ['asha'] : []);
      });
      const week = weekOf(slots, FROM, withOutside);
      const shown = new Set(week.flatMap((day) => day.slots.map(({ start }) => start)));
      let at = landing(week, 0, `${FROM}T12:00`);
      expect(at === null).toBe(shown.size === 0);
      for (const name of pressed) {
        if (at === null) break;
        const next = step(week, at, name);
        if (next && 'to' in next) at = next.to;
        expect(shown.has(at)).toBe(true);
      }
    }),
  );
});
