/**
 * Changes of a session over the socket. An answer that got lost is asked for again: `rev` makes that safe, because a
 * request that was carried out is stale the second time, and `current` shows that it was done (S4).
 */
import { type Answer, type Command, retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { Refusal, Session } from '../protocol/wire';

export type SessionVerb =
  | 'session.move'
  | 'session.propose'
  | 'session.answer'
  | 'session.cancel'
  | 'session.extend'
  | 'session.agenda'
  | 'session.end';

/** Without the room, which is always this one. */
export type Change<V extends SessionVerb = SessionVerb> = V extends SessionVerb
  ? { verb: V } & Omit<Command<V>, 'room'>
  : never;

export type Changed = { ok: true; session: Session } | { ok: false; error: Refusal };

export interface Way {
  ask: (change: Change) => Promise<Answer<SessionVerb>>;
  /** Resolves when the room is joined again, or false after a while. */
  back: () => Promise<boolean>;
  pause: (ms: number) => Promise<void>;
}

/** How often it is asked again before the person is told that nobody knows. */
const ASKS_BOUND = 5;

/** `seen`: the session that the change is about, as it was when the person decided. */
export async function change(way: Way, me: string, seen: Session, wanted: Change): Promise<Changed> {
  let doubtful = false;
  for (let asked = 1; ; asked++) {
    const answer = await way.ask(wanted);
    if (answer.ok) return { ok: true, session: answer.session };
    const { error } = answer;
    const current = currentOf(error, seen);
    if (doubtful && current && shows(current, me, seen, wanted)) return { ok: true, session: current };
    if (!answer.lost && !worthRetrying(error)) return { ok: false, error };
    if (asked >= ASKS_BOUND) return { ok: false, error };
    if (answer.lost) {
      doubtful = true;
      if (!(await way.back())) return { ok: false, error };
    } else await way.pause(retryDelayMs(error));
  }
}

/** The session as it is, of a refusal that says so. */
export function currentOf(error: Refusal, seen: Session): Session | null {
  const current = error.current as unknown as Session | null | undefined;
  return current?.id === seen.id && typeof current.rev === 'number' ? current : null;
}

/** Whether a session shows that a change was carried out, as the very next one. */
export function shows(current: Session, me: string, seen: Session, wanted: Change): boolean {
  if (current.rev <= seen.rev) return false;
  switch (wanted.verb) {
    case 'session.move':
      return (
        current.wall === wanted.wall &&
        current.tz === wanted.tz &&
        current.minutes === (wanted.minutes ?? seen.minutes)
      );
    case 'session.propose': {
      const own = current.proposals.find(({ by }) => by === me);
      return (
        own !== undefined &&
        own.times.map(({ wall }) => wall).join() === wanted.times.map(({ wall }) => wall).join()
      );
    }
    case 'session.answer':
      return answered(current, me, seen, wanted);
    case 'session.cancel':
      return current.state === 'cancelled';
    case 'session.extend':
      return current.minutes === seen.minutes + wanted.minutes;
    case 'session.agenda':
      return current.agenda === wanted.agenda;
    case 'session.end':
      return current.state === 'ended' || current.state === 'no_show';
  }
}

function answered(current: Session, me: string, seen: Session, wanted: Change<'session.answer'>): boolean {
  const accept = wanted.accept ?? null;
  if (wanted.proposal == null) return current.answers[me] === (accept === null ? 'declined' : 'accepted');
  if (current.proposals.some(({ id }) => id === wanted.proposal)) return false;
  if (accept === null) return true;
  const time = seen.proposals.find(({ id }) => id === wanted.proposal)?.times[accept];
  return time !== undefined && current.start === time.start;
}
