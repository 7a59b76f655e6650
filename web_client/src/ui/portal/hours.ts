/** Working hours as they are edited: a list of spans for each weekday, and days that are different. Pure. */
import type { Hours, Span } from '../../protocol/wire';

/** What counts for somebody who never said (PROTOCOL.md, "Sessions"). */
const NEVER_SAID: Span = { from: '08:00', to: '20:00' };
export const NEW_SPAN: Span = { from: '09:00', to: '17:00' };
/** The server's bounds. */
export const SPANS_MAX = 4;
export const EXCEPTIONS_MAX = 100;

export interface Draft {
  /** Monday first. */
  week: Span[][];
  exceptions: { date: string; spans: Span[] }[];
}

/** A fresh draft; days that are past are left behind. */
export function draftOf(hours: Hours | null, today: string): Draft {
  const week = Array.from({ length: 7 }, (_, day) =>
    hours
      ? hours.weekly.filter((span) => span.day === day).map(({ from, to }) => ({ from, to }))
      : [{ ...NEVER_SAID }],
  );
  const exceptions = (hours?.exceptions ?? [])
    .filter(({ date }) => date >= today)
    .map(({ date, spans }) => ({ date, spans: spans.map((span) => ({ ...span })) }));
  return { week: week.map(inOrder), exceptions: exceptions.sort((a, b) => (a.date < b.date ? -1 : 1)) };
}

export function hoursOf({ week, exceptions }: Draft): Hours {
  return {
    weekly: week.flatMap((spans, day) =>
      inOrder(spans).map((span) => ({ day, from: span.from, to: ended(span) })),
    ),
    exceptions: exceptions.map(({ date, spans }) => ({
      date,
      spans: inOrder(spans).map((span) => ({ from: span.from, to: ended(span) })),
    })),
  };
}

/** What a form cannot send. `day` is a weekday, or a date. */
export type Fault =
  | { kind: 'order'; day: number | string }
  | { kind: 'twice'; day: string }
  | { kind: 'no_date' };

export function faultOf({ week, exceptions }: Draft): Fault | null {
  const weekday = week.findIndex((spans) => !fits(spans));
  if (weekday !== -1) return { kind: 'order', day: weekday };
  const dates = exceptions.map(({ date }) => date);
  if (dates.includes('')) return { kind: 'no_date' };
  const twice = dates.find((date, index) => dates.indexOf(date) !== index);
  if (twice !== undefined) return { kind: 'twice', day: twice };
  const wrong = exceptions.find(({ spans }) => !fits(spans));
  return wrong ? { kind: 'order', day: wrong.date } : null;
}

/** Each forward, none over another; they may touch. */
function fits(spans: readonly Span[]): boolean {
  return inOrder(spans).every((span, index, all) => {
    const before = all[index - 1];
    return (
      span.from !== '' && span.to !== '' && span.from < ended(span) && (!before || ended(before) <= span.from)
    );
  });
}

/** A time field has no 24:00: midnight as an end is the end of the day. */
function ended({ to }: Span): string {
  return to === '00:00' ? '24:00' : to;
}

function inOrder(spans: readonly Span[]): Span[] {
  return [...spans].sort((a, b) => (a.from < b.from ? -1 : 1));
}

/** As a time field shows it. */
export function shownEnd(to: string): string {
  return to === '24:00' ? '00:00' : to;
}
