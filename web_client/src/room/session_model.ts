/** For tests: a room's sessions, as the server changes them and tells of it. */
import type { Session } from '../protocol/wire';
import type { Event } from './log_model';
import { isOpen } from './state';

export const NOON = Date.UTC(2026, 11, 1, 12);
export const MINUTE = 60_000;

export function session(change: Partial<Session> = {}): Session {
  return {
    id: 's1',
    uid: 's1@example.org',
    room: 'r',
    state: 'confirmed',
    wall: '2026-12-01T12:00',
    tz: 'UTC',
    start: NOON,
    minutes: 60,
    seq: 0,
    rev: 1,
    by: 'mentor',
    agenda: '',
    proposals: [],
    answers: { mentor: 'accepted', mentee: 'accepted' },
    ...change,
  };
}

export class SessionsModel {
  #all = new Map<string, Session>();

  /** What `room.join` says: the live one, else the next one. */
  get next(): Session | null {
    const open = [...this.#all.values()].filter(isOpen);
    const order = (one: Session) => (one.state === 'live' ? Number.NEGATIVE_INFINITY : one.start);
    return open.sort((a, b) => order(a) - order(b))[0] ?? null;
  }

  /** A new session, or a change of an open one: the event that is appended then. */
  happen(what: 'book' | 'move' | 'cancel' | 'agenda', pick: number, by: string, key: string): Event | null {
    if (what === 'book') {
      const made = session({ id: key, start: NOON + pick * MINUTE, state: 'requested', by });
      return this.#told({ kind: 'session.requested', by, key, session: made });
    }
    const open = [...this.#all.values()].filter(isOpen);
    const before = open[pick % Math.max(1, open.length)];
    if (!before) return null;
    const rev = before.rev + 1;
    if (what === 'cancel') {
      return this.#told({
        kind: 'session.cancelled',
        by,
        key,
        session: { ...before, rev, state: 'cancelled' },
      });
    }
    if (what === 'agenda') {
      return this.#told({ kind: 'session.agenda_set', by, key, session: { ...before, rev, agenda: key } });
    }
    const after = { ...before, rev, start: NOON + pick * MINUTE };
    const times = ({ wall, tz, start, minutes }: Session) => ({ wall, tz, start, minutes });
    return this.#told({
      kind: 'session.rescheduled',
      by,
      key,
      session: after,
      old: times(before),
      new: times(after),
    });
  }

  #told(event: Extract<Event, { session: Session }>): Event {
    this.#all.set(event.session.id, event.session);
    return { ...event, next: this.next };
  }
}
