import { describe, expect, test } from 'vitest';
import {
  addDays,
  bothTimes,
  cityOf,
  dateInWords,
  dayIn,
  offsetIn,
  relative,
  sameClocks,
  startOf,
  timeIn,
  usableZone,
  wallIn,
  weekdayName,
} from './time';

const LONDON = 'Europe/London';
const KOLKATA = 'Asia/Kolkata';
const at = (text: string) => Date.parse(text);

describe('both times', () => {
  test('a session at 15:00 in London is at 20:30 in Kolkata', () => {
    expect(bothTimes(at('2026-12-01T15:00Z'), LONDON, KOLKATA, 'en-GB')).toEqual({
      own: '15:00',
      other: '20:30',
      shift: 0,
      same: false,
    });
  });

  test("the other's calendar can be a day ahead, or behind", () => {
    const late = at('2026-12-01T20:00Z');
    expect(bothTimes(late, LONDON, KOLKATA, 'en-GB').shift).toBe(1);
    expect(bothTimes(late, KOLKATA, LONDON, 'en-GB').shift).toBe(-1);
    // Across the date line: Kiritimati is 26 hours ahead of Baker Island's neighbours.
    expect(bothTimes(at('2026-12-01T10:30Z'), 'Pacific/Pago_Pago', 'Pacific/Kiritimati').shift).toBe(2);
  });

  test('zones with another name can have the same clocks', () => {
    expect(bothTimes(at('2026-12-01T20:00Z'), 'Asia/Kolkata', 'Asia/Calcutta').same).toBe(true);
    expect(sameClocks('Asia/Kolkata', 'Asia/Calcutta', at('2026-12-01T00:00Z'))).toBe(true);
  });

  test('the same clocks now and others in summer are not the same', () => {
    const winter = at('2026-12-01T00:00Z');
    expect(wallIn(winter, LONDON)).toBe(wallIn(winter, 'Africa/Abidjan'));
    expect(sameClocks(LONDON, 'Africa/Abidjan', winter)).toBe(false);
  });
});

describe('wall times', () => {
  test('as the protocol writes them, midnight included, whatever the reader is used to', () => {
    expect(wallIn(at('2026-12-01T18:30Z'), KOLKATA)).toBe('2026-12-02T00:00');
  });

  test('S9: what a typed time means, on ordinary days and over clock changes', () => {
    expect(startOf('2026-12-01T15:00', LONDON)).toBe(at('2026-12-01T15:00Z'));
    expect(startOf('2026-06-01T15:00', LONDON)).toBe(at('2026-06-01T14:00Z'));
    expect(startOf('2026-10-25T01:30', LONDON, 0)).toBe(at('2026-10-25T00:30Z'));
    expect(startOf('2026-10-25T01:30', LONDON, 1)).toBe(at('2026-10-25T01:30Z'));
    expect(startOf('2026-03-29T01:30', LONDON)).toBe(at('2026-03-29T01:30Z')); // skipped: with the offset before
    expect(startOf('2026-04-05T01:45', 'Australia/Lord_Howe', 1)).toBe(at('2026-04-04T15:15Z')); // half an hour back
    expect(startOf('', LONDON)).toBeNull();
  });

  test('moments of a whole year come back from what clocks show', () => {
    for (const tz of [
      LONDON,
      'America/St_Johns',
      'Australia/Lord_Howe',
      'Africa/Casablanca',
      'Asia/Kathmandu',
    ]) {
      for (let start = at('2026-01-01T00:00Z'); start < at('2027-01-01T00:00Z'); start += 25.25 * 3_600_000) {
        const found = [0, 1].map((fold) => startOf(wallIn(start, tz), tz, fold));
        expect(found, `${tz} ${new Date(start).toISOString()}`).toContain(start);
      }
    }
  });

  test('days are counted on the calendar, also where one has 23 hours', () => {
    expect(addDays('2026-03-28', 2)).toBe('2026-03-30');
    expect(addDays('2026-12-30', 7)).toBe('2027-01-06');
    expect(addDays('2026-12-01', -3)).toBe('2026-11-28');
  });
});

describe('in words', () => {
  test('days, with the year only where it is another one', () => {
    const now = at('2026-12-01T12:00Z');
    expect(dayIn(at('2026-12-02T20:00Z'), KOLKATA, now, 'en-GB')).toBe('Thursday 3 December');
    expect(dayIn(at('2027-01-02T12:00Z'), LONDON, now, 'en-GB')).toContain('2027');
    expect(dateInWords('2026-12-01', 'en-GB')).toEqual({ weekday: 'Tue', day: '1', month: 'December 2026' });
    expect([0, 6].map((day) => weekdayName(day, 'en'))).toEqual(['Monday', 'Sunday']);
  });

  test('cities and what their clocks are', () => {
    expect(cityOf('America/Argentina/Buenos_Aires')).toBe('Buenos Aires');
    expect(cityOf('UTC')).toBe('UTC');
    expect(cityOf('Asia/Calcutta')).toBe('Kolkata');
    expect(offsetIn(at('2026-12-01T00:00Z'), KOLKATA)).toBe('GMT+5:30');
    expect(offsetIn(at('2026-06-01T00:00Z'), LONDON)).toBe('GMT+1');
  });

  test('how long until, in the largest unit that fits', () => {
    const now = at('2026-12-01T12:00Z');
    const inMinutes = (minutes: number) => relative(now + minutes * 60_000, now, 'en');
    expect(inMinutes(1)).toBe('in 1 minute');
    expect(inMinutes(59)).toBe('in 59 minutes');
    expect(inMinutes(90)).toBe('in 2 hours');
    expect(inMinutes(47 * 60)).toBe('in 47 hours');
    expect(inMinutes(49 * 60)).toBe('in 2 days');
    expect(inMinutes(-5)).toBe('5 minutes ago');
  });

  test("a zone that this browser does not know is shown, and sent, as the device's own", () => {
    expect(usableZone('Mars/Olympus')).toBe(Intl.DateTimeFormat().resolvedOptions().timeZone);
    expect(timeIn(at('2026-12-01T15:00Z'), 'Mars/Olympus')).toBe(timeIn(at('2026-12-01T15:00Z')));
    expect(usableZone(KOLKATA)).toBe(KOLKATA);
  });
});
