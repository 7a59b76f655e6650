/** Times as people read them. The screens' only clock: it ticks on the minute, and when the page is looked at again. */
import { wallIn } from './sessions/time';
import { words } from './words';

export const clock = $state({ now: Date.now() });

let next: ReturnType<typeof setTimeout>;

function tick(): void {
  clearTimeout(next);
  clock.now = Date.now();
  next = setTimeout(tick, 60_000 - (clock.now % 60_000) + 20);
}
tick();
// A device that slept, or a page that was behind others, has missed minutes.
document.addEventListener('visibilitychange', tick);

export { timeIn } from './sessions/time';

/** The local calendar day, as a key that can be compared. */
export function dayOf(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

const fullDay = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
});
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

export function dayName(at: number, now: number): string {
  if (dayOf(at) === dayOf(now)) return words.chat.today;
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayOf(at) === dayOf(yesterday.getTime())) return words.chat.yesterday;
  return new Date(at).getFullYear() === new Date(now).getFullYear()
    ? thisYear.format(at)
    : fullDay.format(at);
}

export function sameWallClock(a: string, b: string, now: number): boolean {
  return wallIn(now, a) === wallIn(now, b);
}
