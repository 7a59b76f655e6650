/** Times of a session as two people in two zones read them. Pure: the moment is always passed in. */
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const formats = new Map<string, Intl.DateTimeFormat>();

/** `tz` undefined, or a zone that this browser does not know: the device's own. `locale` undefined: the reader's. */
function format(
  name: string,
  options: Intl.DateTimeFormatOptions,
  tz: string | undefined,
  locale?: string,
): Intl.DateTimeFormat {
  const key = `${name} ${tz ?? ''} ${locale ?? ''}`;
  const known = formats.get(key);
  if (known) return known;
  const made = new Intl.DateTimeFormat(locale, { ...options, timeZone: tz && usableZone(tz) });
  formats.set(key, made);
  return made;
}

export function deviceZone(): string {
  return new Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** The zone, or the device's where this browser does not know it: what is shown and what is sent stay the same thing. */
export function usableZone(tz: string): string {
  try {
    new Intl.DateTimeFormat('en', { timeZone: tz });
    return tz;
  } catch {
    return deviceZone();
  }
}

/** `15:00` or `3:00 PM`, as the reader is used to. */
export function timeIn(at: number, tz?: string, locale?: string): string {
  return format('time', { hour: 'numeric', minute: '2-digit' }, tz, locale).format(at);
}

/** `Tuesday, 1 December`; with the year where that is another than now. */
export function dayIn(at: number, tz: string, now: number, locale?: string): string {
  const options: Intl.DateTimeFormatOptions = { weekday: 'long', day: 'numeric', month: 'long' };
  if (wallIn(at, tz).slice(0, 4) === wallIn(now, tz).slice(0, 4))
    return format('day', options, tz, locale).format(at);
  return format('day of a year', { ...options, year: 'numeric' }, tz, locale).format(at);
}

/** `Tue`, `1`, and `December 2026` of a date such as `2026-12-01`. */
export function dateInWords(date: string, locale?: string): { weekday: string; day: string; month: string } {
  const at = Date.parse(`${date}T12:00Z`);
  return {
    weekday: format('weekday', { weekday: 'short' }, 'UTC', locale).format(at),
    day: format('number', { day: 'numeric' }, 'UTC', locale).format(at),
    month: format('month', { month: 'long', year: 'numeric' }, 'UTC', locale).format(at),
  };
}

/** `day` 0 is Monday. */
export function weekdayName(day: number, locale?: string): string {
  return format('weekday name', { weekday: 'long' }, 'UTC', locale).format((day + 4) * DAY_MS); // 1970 began on a Thursday
}

/** Local time without offset, as the protocol writes it: `2026-12-01T15:00`. */
export function wallIn(at: number, tz: string): string {
  const options: Intl.DateTimeFormatOptions = {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  };
  const parts = format('wall', options, tz, 'en-US-u-ca-gregory-nu-latn').formatToParts(at);
  const part = (type: string) => parts.find((one) => one.type === type)?.value ?? '';
  return `${part('year')}-${part('month')}-${part('day')}T${part('hour')}:${part('minute')}`;
}

export function dateIn(at: number, tz: string): string {
  return wallIn(at, tz).slice(0, 10);
}

function offsetMs(at: number, tz: string): number {
  return Date.parse(`${wallIn(at, tz)}Z`) - Math.floor(at / MINUTE_MS) * MINUTE_MS;
}

/** Every moment that reads so, in order: one; two where the clocks are set back; none where they skip it (S9). */
function momentsOf(wall: string, tz: string): number[] {
  const local = Date.parse(`${wall}Z`);
  const around = [local - DAY_MS, local + DAY_MS].map((at) => local - offsetMs(at, tz));
  const fitting = around.filter((start) => wallIn(start, tz) === wall);
  return [...new Set(fitting)].sort((a, b) => a - b);
}

/** What a typed time means: for showing it; the server decides. A skipped one is read with the offset before (RFC 5545
 * §3.3.5); null: not a time. */
export function startOf(wall: string, tz: string, fold = 0): number | null {
  const local = Date.parse(`${wall}Z`);
  if (Number.isNaN(local)) return null;
  const moments = momentsOf(wall, tz);
  return moments[fold] ?? moments[0] ?? local - offsetMs(local - DAY_MS, tz);
}

export function addDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
}

function daysBetween(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00Z`) - Date.parse(`${from}T00:00Z`)) / DAY_MS);
}

/** Both clocks at one moment. `shift`: so many days later (or earlier) the other's calendar is. */
export interface BothTimes {
  own: string;
  other: string;
  shift: number;
  same: boolean;
}

export function bothTimes(at: number, own: string, other: string, locale?: string): BothTimes {
  return {
    own: timeIn(at, own, locale),
    other: timeIn(at, other, locale),
    shift: daysBetween(dateIn(at, own), dateIn(at, other)),
    same: wallIn(at, own) === wallIn(at, other),
  };
}

/** `Europe/London` → `London`, `America/Argentina/Buenos_Aires` → `Buenos Aires`. */
export function cityOf(tz: string): string {
  const city = (tz.split('/').at(-1) ?? tz).replaceAll('_', ' ');
  return RENAMED[city] ?? city;
}

/** Browsers go on naming zones as CLDR did first; people do not. */
const RENAMED: Readonly<Record<string, string>> = {
  Asmera: 'Asmara',
  Calcutta: 'Kolkata',
  Faeroe: 'Faroe',
  Godthab: 'Nuuk',
  Katmandu: 'Kathmandu',
  Kiev: 'Kyiv',
  Rangoon: 'Yangon',
  Saigon: 'Ho Chi Minh',
};

/** `GMT+5:30`: what tells two cities or two equal wall times apart. */
export function offsetIn(at: number, tz: string): string {
  const parts = format('offset', { timeZoneName: 'shortOffset' }, tz, 'en').formatToParts(at);
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
}

/** Whether two zones show the same time, now and through a year: names alone do not matter to anybody. */
export function sameClocks(a: string, b: string, now: number): boolean {
  return [0, 91, 182, 273].every((days) => {
    const at = now + days * DAY_MS;
    return wallIn(at, a) === wallIn(at, b);
  });
}

/** `in 3 hours`, `5 minutes ago`: the largest unit that fits. */
export function relative(at: number, now: number, language: string): string {
  const ms = at - now;
  const [unit, size]: [Intl.RelativeTimeFormatUnit, number] =
    Math.abs(ms) >= 2 * DAY_MS
      ? ['day', DAY_MS]
      : Math.abs(ms) >= HOUR_MS
        ? ['hour', HOUR_MS]
        : ['minute', MINUTE_MS];
  return new Intl.RelativeTimeFormat(language, { numeric: 'always' }).format(Math.round(ms / size), unit);
}
