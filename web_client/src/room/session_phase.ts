/**
 * Where a room stands between one session and the next, by the clock. Pure: time is passed in. Boundaries lie on whole
 * minutes after a whole minute's start, so that a clock which ticks on the minute shows each of them.
 */
import type { LogEvent, Session, Times } from '../protocol/wire';
import { isOpen, isSessionEvent } from './state';

export const MINUTE_MS = 60_000;
/** So long before the start both may begin (PROTOCOL.md, "Sessions"). */
export const EARLY_MIN = 15;
/** Whoever has waited so long after the start is asked what to do. */
export const ALONE_MIN = 10;
/** So long before the end more time is offered, once and quietly. */
export const LAST_MIN = 5;
/** What is offered. */
export const MORE_MIN = [15, 30];
const SOON_MIN = 60;
/** So long before the start a knock is also written to whoever is not online. */
const KNOCK_MIN = 30;
/** For so long a moved session still says what it was. */
const MOVED_SHOWN_MIN = 10;

export type Phase =
  /** Nothing is planned. `last` is what was, if the conversation on the screen still knows it. */
  | { kind: 'none'; last: Session | null }
  /** `inMin`: whole minutes to the start, rounded up, so that it never says less than there is. */
  | { kind: 'planned' | 'soon' | 'can_start'; session: Session; inMin: number }
  /** The start has come, and it is not live yet. `sinceMin`: whole minutes, rounded down. */
  | { kind: 'begun' | 'alone'; session: Session; sinceMin: number }
  /** Both have met. `leftMin`: rounded up; zero and less once it is over its time. */
  | { kind: 'live' | 'last'; session: Session; leftMin: number }
  /** Its end has passed; the server says in a moment what it was. */
  | { kind: 'over'; session: Session };

export function phaseOf(
  session: Session | null,
  last: Session | null,
  now: number,
  partnerHere: boolean,
): Phase {
  if (session === null || !isOpen(session)) return { kind: 'none', last };
  const end = session.start + session.minutes * MINUTE_MS;
  if (session.state === 'live') {
    const leftMin = Math.ceil((end - now) / MINUTE_MS);
    return { kind: leftMin <= LAST_MIN ? 'last' : 'live', session, leftMin };
  }
  const inMin = Math.ceil((session.start - now) / MINUTE_MS);
  if (inMin > 0) {
    const kind = inMin > SOON_MIN ? 'planned' : inMin > EARLY_MIN ? 'soon' : 'can_start';
    return { kind, session, inMin };
  }
  if (now >= end) return { kind: 'over', session };
  const sinceMin = Math.floor((now - session.start) / MINUTE_MS);
  const alone = sinceMin >= ALONE_MIN && session.state === 'confirmed' && !partnerHere;
  return { kind: alone ? 'alone' : 'begun', session, sinceMin };
}

/** Whether a knock reaches the other side wherever they are. */
export function isNear(phase: Phase): boolean {
  return 'inMin' in phase ? phase.inMin <= KNOCK_MIN : phase.kind !== 'none' && phase.kind !== 'over';
}

/** The newest session that is over, as the loaded part of the log knows it. */
export function lastSession(events: readonly LogEvent[]): Session | null {
  const event = events.findLast((one) => isSessionEvent(one) && !isOpen(one.session));
  return event && isSessionEvent(event) ? event.session : null;
}

export interface Move {
  by: string;
  old: Times;
}

/** The newest move of the session that is shown, while it is news. */
export function recentMove(events: readonly LogEvent[], session: Session, now: number): Move | null {
  const event = events.findLast((one) => one.kind === 'session.rescheduled' && one.session.id === session.id);
  if (event?.kind !== 'session.rescheduled' || now - event.at >= MOVED_SHOWN_MIN * MINUTE_MS) return null;
  return event.old.start === session.start ? null : { by: event.by, old: event.old };
}

/** "Running late": so many minutes after the start, or after now where that has passed. */
export function lateStart(session: Session, now: number, minutes: number): number {
  const from = Math.max(Math.ceil(now / MINUTE_MS) * MINUTE_MS, session.start);
  return from + minutes * MINUTE_MS;
}

/** Whether a person is asked: for a new request, or for a time that it was moved to. */
export function awaitsAnswer(session: Session, person: string): boolean {
  return isOpen(session) && session.state !== 'live' && session.answers[person] === 'needs_action';
}
