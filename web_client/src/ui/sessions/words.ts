/** A session in words, as one of the two reads it. */
import { words } from '../words';
import { bothTimes, cityOf, dayIn } from './time';

/** Who the two are, from one's own side. */
export interface Sides {
  own: { person: string; tz: string };
  other: { person: string; name: string; tz: string };
}

/** `15:00 London (your time) · 20:30 Kolkata (Asha)`, with `+1 day` where the other's calendar is on another day. */
export function timesInWords(start: number, { own, other }: Sides): string {
  const both = bothTimes(start, own.tz, other.tz);
  if (both.same) return words.sessions.sameTime(both.own, cityOf(own.tz));
  const shifted = both.shift === 0 ? both.other : `${both.other} ${words.sessions.shift(both.shift)}`;
  return words.sessions.bothTimes(both.own, cityOf(own.tz), shifted, cityOf(other.tz), other.name);
}

export function whenInWords(start: number, sides: Sides, now: number): string {
  return `${dayIn(start, sides.own.tz, now)}, ${timesInWords(start, sides)}`;
}

/** The name of a time in the grid, for ears: day, both times, whose hours it is outside of. */
export function slotInWords(
  start: number,
  outside: readonly string[],
  { own, other }: Sides,
  now: number,
): string {
  const both = bothTimes(start, own.tz, other.tz);
  const shifted = both.shift === 0 ? both.other : `${both.other} (${words.sessions.shift(both.shift)})`;
  const when = words.sessions.slot(
    dayIn(start, own.tz, now),
    both.own,
    both.same ? null : shifted,
    other.name,
  );
  const whose = outsideInWords(outside, { own, other });
  return whose === null ? when : `${when}, ${words.sessions.outsideMark(whose)}`;
}

/** `Asha’s hours`, `your and Asha’s hours`; null: inside of everybody's. */
export function outsideInWords(outside: readonly string[], { own, other }: Sides): string | null {
  if (outside.length === 0) return null;
  const names = outside.includes(other.person) ? [other.name] : [];
  return words.sessions.outsideHoursOf(names, outside.includes(own.person));
}

/** The same on a small button. */
export function outsideShort(outside: readonly string[], { own, other }: Sides): string {
  if (!outside.includes(other.person)) return words.sessions.outsideYours;
  return outside.includes(own.person) ? words.sessions.outsideBoth : words.sessions.outsideTheirs(other.name);
}
