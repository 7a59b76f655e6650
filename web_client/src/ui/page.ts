/** Which page this is: one index.html serves them all, and says on <html> if the server refused. */
import { settleLogin } from '../protocol/identity';
import { words } from './words';

export type ProblemCode = keyof typeof words.problems;

export type Page =
  | { kind: 'enter'; token: string | null }
  | { kind: 'room'; slug: string }
  | { kind: 'rooms' }
  | { kind: 'problem'; code: ProblemCode };

export function isProblem(code: string | undefined): code is ProblemCode {
  return code !== undefined && code in words.problems;
}

/** Read once, at load: the token leaves the address bar and stays in memory only. */
export function currentPage(): Page {
  const problem = document.documentElement.dataset.problem;
  settleLogin(!problem);
  if (problem) return { kind: 'problem', code: isProblem(problem) ? problem : 'unavailable' };
  const path = location.pathname;
  if (path === '/enter') {
    const token = location.hash.slice(1) || null;
    if (token) history.replaceState(null, '', '/enter');
    return { kind: 'enter', token };
  }
  const room = /^\/r\/([^/]+)\/?$/.exec(path);
  if (room?.[1]) return { kind: 'room', slug: decodeURIComponent(room[1]) };
  return path === '/' ? { kind: 'rooms' } : { kind: 'problem', code: 'not_found' };
}
