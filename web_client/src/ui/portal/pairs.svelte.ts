/** What the portal shows: who I am, my pairs, the sessions of each; asked for again when somebody may look at it. */
import type { Me, Profile, Proposal, RoomCard, Session } from '../../protocol/wire';
import { fetchMe } from '../me';
import { sessionsApi } from '../sessions/api';
import { usableZone } from '../sessions/time';
import type { Sides } from '../sessions/words';

/** Other people's changes are seen at the latest after this, while the page is visible. */
export const REFRESH_MS = 60_000;
/** Of so many pairs every planned session is known; of the others only the next one. */
export const LISTED_PAIRS = 30;

const OPEN = new Set(['requested', 'confirmed', 'live']);

export interface PairShown {
  room: RoomCard;
  sides: Sides;
  next: Session | null;
  later: Session[];
  asks: { session: Session; proposal: Proposal | null }[];
}

export class Pairs {
  me = $state.raw<Omit<Me, 'ok'> | null>(null);
  /** The last time of asking there was no answer: what is shown may be old. */
  old = $state(false);
  #lists = $state.raw<ReadonlyMap<string, readonly Session[]>>(new Map());
  #asked = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** In the order of the server. */
  readonly shown = $derived.by((): PairShown[] => {
    const me = this.me;
    return me ? me.rooms.map((room) => pairOf(room, me.person, this.#known(room))) : [];
  });

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

  #known({ slug, session }: RoomCard): readonly Session[] {
    return this.#lists.get(slug) ?? (session ? [session] : []);
  }
}

/** `next` is the live session, else the one that begins first. */
function pairOf(room: RoomCard, me: Profile, known: readonly Session[]): PairShown {
  const { partner } = room;
  const [next = null, ...later] = known
    .filter(({ state }) => OPEN.has(state))
    .sort((a, b) => Number(b.state === 'live') - Number(a.state === 'live') || a.start - b.start);
  return {
    room,
    sides: {
      own: { person: me.person, tz: usableZone(me.tz) },
      other: { person: partner.person, name: partner.name, tz: usableZone(partner.tz) },
    },
    next,
    later,
    asks: (next ? [next, ...later] : []).flatMap((session) => asksOf(session, me.person)),
  };
}

function asksOf(session: Session, me: string): PairShown['asks'] {
  if (session.state === 'live') return [];
  const itself = session.answers[me] === 'needs_action' ? [{ session, proposal: null }] : [];
  const theirs = session.proposals.filter(({ by }) => by !== me).map((proposal) => ({ session, proposal }));
  return [...itself, ...theirs];
}
