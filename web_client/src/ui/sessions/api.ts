/** Sessions and one's own settings over HTTP (PROTOCOL.md, "Sessions"). A refusal is a value, never an exception. */
import { tabLogin } from '../../protocol/identity';
import type {
  FeedMade,
  Hours,
  Moment,
  ProfileChange,
  ProfileShown,
  Refusal,
  Session,
  SessionAnswer,
  SessionBook,
  SessionCancel,
  SessionMove,
  SessionPropose,
  SessionShown,
  SessionsShown,
  SlotsAsked,
  SlotsShown,
} from '../../protocol/wire';
import { words } from '../words';

export type ApiAnswer<T> = (Omit<T, 'ok'> & { ok: true }) | { ok: false; error: Refusal };
export type SessionAnswered = ApiAnswer<SessionShown>;

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

export const sessionsApi = {
  list: (slug: string) => ask<SessionsShown>('GET', `${room(slug)}/sessions`),
  slots: (slug: string, asked: SlotsAsked, signal?: AbortSignal) => {
    const given = Object.entries(asked).filter(([, value]) => value !== undefined && value !== null);
    const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return ask<SlotsShown>('GET', `${room(slug)}/slots?${query}`, undefined, signal);
  },
  book: (slug: string, body: Body<SessionBook>) => ask<SessionShown>('POST', `${room(slug)}/sessions`, body),
  move: (session: string, body: Body<SessionMove>) => ask<SessionShown>('PATCH', one(session), body),
  propose: (session: string, body: Body<SessionPropose>) =>
    ask<SessionShown>('POST', `${one(session)}/proposals`, body),
  answer: (session: string, body: Body<SessionAnswer>) =>
    ask<SessionShown>('POST', `${one(session)}/answers`, body),
  cancel: (session: string, body: Body<SessionCancel>) => ask<SessionShown>('DELETE', one(session), body),

  setProfile: (change: ProfileChange) => ask<ProfileShown>('PATCH', '/api/me', change),
  setHours: (hours: Hours | null) => ask<ProfileShown>('PUT', '/api/me/hours', hours),
  makeFeed: () => ask<FeedMade>('POST', '/api/me/feed'),
  endFeed: () => ask<ProfileShown>('DELETE', '/api/me/feed'),
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
