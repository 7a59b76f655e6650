/** `GET /api/me`: who this tab is and which rooms are theirs. */
import { noteLetIn, tabLogin } from '../protocol/identity';

export interface Me {
  person: { person: string; name: string; tz: string };
  rooms: { slug: string; title: string; role: 'mentor' | 'mentee' | 'guest' }[];
}

export type MeAnswer = { ok: true; me: Me } | { ok: false; code: string };

export async function fetchMe(): Promise<MeAnswer> {
  const login = tabLogin();
  try {
    const response = await fetch('/api/me', {
      headers: login === null ? {} : { 'Telementor-Login': login },
      credentials: 'same-origin',
      cache: 'no-store',
    });
    const body = await response.json();
    if (response.ok || response.status === 401) noteLetIn(response.ok);
    if (response.ok) return { ok: true, me: body as Me };
    return { ok: false, code: body?.error?.code ?? 'unavailable' };
  } catch {
    return { ok: false, code: 'unavailable' };
  }
}
