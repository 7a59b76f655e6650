/** Sessions and one's own settings over HTTP (PROTOCOL.md, "Sessions"). A refusal is a value, never an exception. */
import { tabLogin } from '../../protocol/identity';
import type {
  Moment,
  Refusal,
  Session,
  SessionAnswer,
  SessionBook,
  SessionCancel,
  SessionMove,
  SessionPropose,
} from '../../protocol/wire';
import { words } from '../words';
import type { Slot } from './picker';

export type Moves = 'free' | 'approve';
export type Role = 'mentor' | 'mentee' | 'guest';

export interface PairOfMine {
  slug: string;
  title: string;
  role: Role;
  moves: Moves;
  partner: { person: string; name: string; role: Role; tz: string; online: boolean } | null;
  session: Session | null;
  unread: number;
}

export interface Me {
  person: { person: string; name: string; tz: string; language: string; hours: Hours | null };
  rooms: PairOfMine[];
}

/** `from` and `to` such as `09:00`; `to` may be `24:00`. */
export interface Span {
  from: string;
  to: string;
}

/** In the person's own zone; `day` 0 is Monday. An exception replaces its whole day; without spans: not at all. */
export interface Hours {
  weekly: (Span & { day: number })[];
  exceptions: { date: string; spans: Span[] }[];
}

export type ApiAnswer<T> = (T & { ok: true }) | { ok: false; error: Refusal };
export type SessionAnswered = ApiAnswer<{ session: Session }>;

/** What the path names is not in the body. */
type Body<Command> = Omit<Command, 'room' | 'session'>;

/** Then nobody knows whether it was done; asking again with the same key or rev is harmless. */
const ANSWER_MS = 15_000;

export async function ask<T>(
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<ApiAnswer<T>> {
  const login = tabLogin();
  const headers: Record<string, string> = {};
  if (login !== null) headers['Telementor-Login'] = login;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const late = AbortSignal.timeout(ANSWER_MS);
  try {
    const response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    const answer = await response.json();
    if (response.ok) return { ...answer, ok: true };
    if (answer?.error?.code) return { ok: false, error: answer.error };
  } catch {
    // no answer, or none of ours
  }
  return { ok: false, error: { code: 'unavailable', message: words.sessions.noAnswer } };
}

const room = (slug: string) => `/api/rooms/${encodeURIComponent(slug)}`;
const one = (session: string) => `/api/sessions/${encodeURIComponent(session)}`;

export interface SlotsWanted {
  from: string;
  days: number;
  minutes: number;
  tz: string;
  session?: string;
}

export const sessionsApi = {
  list: (slug: string) => ask<{ sessions: Session[] }>('GET', `${room(slug)}/sessions`),
  slots: (slug: string, wanted: SlotsWanted, signal?: AbortSignal) => {
    const query = new URLSearchParams({
      from: wanted.from,
      days: String(wanted.days),
      minutes: String(wanted.minutes),
      tz: wanted.tz,
    });
    if (wanted.session) query.set('session', wanted.session);
    return ask<{ slots: Slot[] }>('GET', `${room(slug)}/slots?${query}`, undefined, signal);
  },
  book: (slug: string, body: Body<SessionBook>): Promise<SessionAnswered> =>
    ask('POST', `${room(slug)}/sessions`, body),
  move: (session: string, body: Body<SessionMove>): Promise<SessionAnswered> =>
    ask('PATCH', one(session), body),
  propose: (session: string, body: Body<SessionPropose>): Promise<SessionAnswered> =>
    ask('POST', `${one(session)}/proposals`, body),
  answer: (session: string, body: Body<SessionAnswer>): Promise<SessionAnswered> =>
    ask('POST', `${one(session)}/answers`, body),
  cancel: (session: string, body: Body<SessionCancel>): Promise<SessionAnswered> =>
    ask('DELETE', one(session), body),

  setProfile: (profile: { tz?: string; language?: string }) => ask<object>('PATCH', '/api/me', profile),
  setHours: (hours: Hours | null) => ask<object>('PUT', '/api/me/hours', hours),
  makeFeed: () => ask<{ url: string }>('POST', '/api/me/feed'),
  endFeed: () => ask<object>('DELETE', '/api/me/feed'),
};

export type SessionsApi = typeof sessionsApi;

/** S4: the session as it is, of a refusal that says so. */
export function currentOf(error: Refusal): Session | null {
  const current = error.current;
  return current && typeof current.id === 'string' && typeof current.rev === 'number'
    ? (current as unknown as Session)
    : null;
}

/** S9: the times that may be meant instead. */
export function choicesOf(error: Refusal): Moment[] {
  const choices = error.current?.choices;
  return Array.isArray(choices) ? choices : [];
}
