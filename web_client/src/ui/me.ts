/** `GET /api/me`: who this tab is and which rooms are theirs. */
import { noteLetIn } from '../protocol/identity';
import type { Me } from '../protocol/wire';
import { ask } from './sessions/api';

export type MeAnswer = { ok: true; me: Omit<Me, 'ok'> } | { ok: false; code: string };

export async function fetchMe(): Promise<MeAnswer> {
  const answer = await ask<Me>('GET', '/api/me');
  if (answer.ok || answer.error.code === 'unauthenticated') noteLetIn(answer.ok);
  return answer.ok ? { ok: true, me: answer } : { ok: false, code: answer.error.code };
}
