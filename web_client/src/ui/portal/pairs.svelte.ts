/** What the portal shows: who I am, my pairs, the sessions of each; asked for again when somebody may look at it. */
import type { Proposal, Session } from '../../protocol/wire';
import { fetchMe } from '../me';
import { type Me, type PairOfMine, sessionsApi } from '../sessions/api';
import { usableZone } from '../sessions/time';
import type { Sides } from '../sessions/words';

/** Other people's changes are seen at the latest after this, while the page is visible. */
export const REFRESH_MS = 60_000;
/** Of so many pairs every planned session is known; of the others only the next one. */
export const LISTED_PAIRS = 30;

const OPEN = new Set(['requested', 'confirmed', 'live']);

export interface PairShown {
  room: PairOfMine;
  sides: Sides | null;
  next: Session | null;
  later: Session[];
  asks: { session: Session; proposal: Proposal | null }[];
}

export class Pairs {
  me = $state.raw<Me | null>(null);
  /** The last time of asking there was no answer: what is shown may be old. */
  old = $state(false);
  #lists = $state.raw<ReadonlyMap<string, readonly Session[]>>(new Map());
  #asked = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** In the order of the server; `next` is live, else the one that begins first. */
  readonly shown = $derived.by((): PairShown[] => (this.me?.rooms ?? []).map((room) => this.#show(room)));

  constructor(private readonly onRefused: (code: string) => void) {}

  start(): () => void {
    void this.refresh();
    const look = () => document.visibilityState === 'visible' && void this.refresh();
    this.#timer = setInterval(look, REFRESH_MS);
    document.addEventListener('visibilitychange', look);
    window.addEventListener('focus', look);
    window.addEventListener('online', look);
    return () => {
      clearInterval(this.#timer);
      document.removeEventListener('visibilitychange', look);
      window.removeEventListener('focus', look);
      window.removeEventListener('online', look);
    };
  }

  /** The newest asking counts: an answer that was overtaken is dropped. */
  async refresh(): Promise<void> {
    this.#asked += 1;
    const mine = this.#asked;
    const answer = await fetchMe();
    if (mine !== this.#asked) return;
    if (!answer.ok) {
      if (this.me === null || answer.code === 'unauthenticated') this.onRefused(answer.code);
      else this.old = true;
      return;
    }
    const rooms = answer.me.rooms.slice(0, LISTED_PAIRS);
    const lists = await Promise.all(rooms.map(({ slug }) => sessionsApi.list(slug)));
    if (mine !== this.#asked) return;
    this.me = answer.me;
    this.old = lists.some(({ ok }) => !ok);
    this.#lists = new Map(
      rooms.map(({ slug, session }, index) => {
        const list = lists[index];
        return [slug, list?.ok ? list.sessions : (this.#lists.get(slug) ?? (session ? [session] : []))];
      }),
    );
  }

  /** An own change, before it is asked for anew. */
  put(session: Session): void {
    const before = this.#lists.get(session.room) ?? [];
    const after = [...before.filter(({ id }) => id !== session.id), session];
    this.#lists = new Map(this.#lists).set(session.room, after);
    void this.refresh();
  }

  #show(room: PairOfMine): PairShown {
    const me = this.me as Me;
    const known = this.#lists.get(room.slug) ?? (room.session ? [room.session] : []);
    const open = known
      .filter(({ state }) => OPEN.has(state))
      .sort((a, b) => Number(b.state === 'live') - Number(a.state === 'live') || a.start - b.start);
    const [next = null, ...later] = open;
    const { partner } = room;
    return {
      room,
      sides: partner && {
        own: { person: me.person.person, tz: usableZone(me.person.tz) },
        other: { person: partner.person, name: partner.name, tz: usableZone(partner.tz) },
      },
      next,
      later,
      asks: open.flatMap((session) => asksOf(session, me.person.person)),
    };
  }
}

function asksOf(session: Session, me: string): PairShown['asks'] {
  if (session.state === 'live') return [];
  const itself = session.answers[me] === 'needs_action' ? [{ session, proposal: null }] : [];
  const theirs = session.proposals.filter(({ by }) => by !== me).map((proposal) => ({ session, proposal }));
  return [...itself, ...theirs];
}
