/** The grid of the picker: a week of days, in each the times that are free for both. Pure. */
import type { Slot } from '../../protocol/wire';
import { addDays } from './time';

export const WEEK_DAYS = 7;

/** One column. `row` of a slot: its place among all times of day of this week, so that equal times stand side by side. */
export interface Day {
  date: string;
  slots: (Slot & { row: number })[];
}

/** `from` and what comes back are dates in the viewer's zone. Outside of working hours only if they are asked for. */
export function weekOf(slots: readonly Slot[], from: string, withOutside: boolean): Day[] {
  const shown = slots.filter(({ outside }) => withOutside || outside.length === 0);
  const timesOfDay = [...new Set(shown.map(({ wall }) => wall.slice(11)))].sort();
  return Array.from({ length: WEEK_DAYS }, (_, index) => {
    const date = addDays(from, index);
    return {
      date,
      slots: shown
        .filter(({ wall }) => wall.startsWith(date))
        .sort((a, b) => a.start - b.start)
        .map((slot) => ({ ...slot, row: timesOfDay.indexOf(slot.wall.slice(11)) })),
    };
  });
}

/** The week to begin with: this one, or the days around a session that is further away. */
export function firstDay(today: string, session: string | null): string {
  if (session === null) return today;
  return session < addDays(today, WEEK_DAYS) ? today : addDays(session, -3);
}

/** Dates such as `2026-12-01` compare as words. */
export function laterDate(a: string, b: string): string {
  return [a, b].sort()[1] ?? a;
}

/** Where a key leads: to a time, or into another week, there to the same weekday (or the first, or last) and a near time. */
export type Step = { to: number } | { week: -1 | 1; day: number } | null;

/** `at` is the start that has the focus. Left and right are those of reading, so a right-to-left page swaps them before. */
export function step(days: readonly Day[], at: number, key: string): Step {
  const column = days.findIndex(({ slots }) => slots.some(({ start }) => start === at));
  const slots = days[column]?.slots ?? [];
  const index = slots.findIndex(({ start }) => start === at);
  switch (key) {
    case 'ArrowUp':
      return to(slots[index - 1]);
    case 'ArrowDown':
      return to(slots[index + 1]);
    case 'ArrowLeft':
      return sideways(days, column, slots[index]?.row ?? 0, -1);
    case 'ArrowRight':
      return sideways(days, column, slots[index]?.row ?? 0, 1);
    case 'Home':
      return to(days.find((day) => day.slots.length > 0)?.slots[0]);
    case 'End':
      return to(days.findLast((day) => day.slots.length > 0)?.slots.at(-1));
    case 'PageUp':
      return { week: -1, day: column };
    case 'PageDown':
      return { week: 1, day: column };
    default:
      return null;
  }
}

function to(slot: Slot | undefined): Step {
  return slot ? { to: slot.start } : null;
}

function sideways(days: readonly Day[], column: number, row: number, by: -1 | 1): Step {
  for (let index = column + by; index >= 0 && index < days.length; index += by) {
    const slots = days[index]?.slots ?? [];
    if (slots.length > 0) return to(least(slots, (slot) => Math.abs(slot.row - row)));
  }
  return { week: by, day: by === 1 ? 0 : WEEK_DAYS - 1 };
}

/** What has the focus after a week was loaded: in the column that is wanted, or the nearest that has any, the time of day
 * nearest to that of the wall time `near`. Null: nothing is free. */
export function landing(days: readonly Day[], column: number, near: string): number | null {
  const full = days.map((day, index) => ({ ...day, index })).filter(({ slots }) => slots.length > 0);
  const day = least(full, ({ index }) => Math.abs(index - column));
  if (!day) return null;
  const wanted = minuteOfDay(near);
  return least(day.slots, ({ wall }) => Math.abs(minuteOfDay(wall) - wanted))?.start ?? null;
}

function minuteOfDay(wall: string): number {
  const [hour, minute] = wall.slice(11).split(':').map(Number);
  return (hour ?? 0) * 60 + (minute ?? 0);
}

/** The first of the least. */
function least<T>(all: readonly T[], measure: (one: T) => number): T | undefined {
  return all.reduce<T | undefined>(
    (best, one) => (best === undefined || measure(one) < measure(best) ? one : best),
    undefined,
  );
}
