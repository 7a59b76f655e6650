/**
 * What a client keeps of a room: the answer to `room.join`, moved on by pushes and pages. Pure: no clock, no socket.
 * Rule that the tests hold it to: snapshot + pushes = fresh snapshot.
 */
import type {
  CallShown,
  Cursor,
  IceShown,
  Joined,
  LogEvent,
  Paged,
  PeerPush,
  PeerShown,
  PersonPush,
  PersonShown,
  RoomShown,
  Session,
  You,
} from '../protocol/wire';
import { compareIds } from './ids';

export interface RoomState {
  you: You;
  room: RoomShown;
  people: PersonShown[];
  /** In the order in which they were first seen; gone ones are not kept. */
  peers: PeerShown[];
  call: CallShown | null;
  /** The live one, else the next one. */
  session: Session | null;
  ice: IceShown;
  log: LogState;
}

export type SessionEvent = Extract<LogEvent, { kind: `session.${string}` }>;

export function isSessionEvent(event: LogEvent): event is SessionEvent {
  return event.kind.startsWith('session.') && 'session' in event;
}

export interface LogState {
  epoch: string;
  /** Ascending and without a gap from the first to `tail`, but for what was deleted or edited since (L8). */
  events: LogEvent[];
  /** There are older ones than `events[0]`. */
  older: boolean;
  /** The newest entry that retention removed: nothing up to it is kept by the server (L6). Null: it removed none. */
  floor: string | null;
  /** The newest entry known: what a cursor continues from and what the next push must name as `prev`. */
  tail: { id: string; key: string | null } | null;
  /**
   * `live`: pushes are appended as they come. `catching_up`: newer pages are still being read and pushes wait in
   * `held`. `gap`: continuity could not be proved; only a new `room.join` with the cursor helps.
   */
  mode: 'live' | 'catching_up' | 'gap';
  held: LogEvent[];
  /** The newest page replaced what was there: what happened in between is not known (L3, L5). */
  resets: number;
}

/** Pushes held while catching up. At the bound they are dropped and the state says `gap`: they are read again. */
export const HELD_BOUND = 2_000;

export function cursorOf(log: LogState): Cursor {
  return log.tail === null
    ? { epoch: log.epoch, id: null }
    : log.tail.key === null
      ? { epoch: log.epoch, id: log.tail.id }
      : { epoch: log.epoch, id: log.tail.id, key: log.tail.key };
}

/** The answer to `room.join`; `before` is what was there, and counts only if the join carried its cursor. */
export function joined(before: RoomState | null, answer: Joined, cursor: Cursor | null): RoomState {
  const { you, room, people, peers, call, ice } = answer;
  const session = newer(before?.session ?? null, answer.session);
  const continued =
    before !== null && cursor !== null && answer.log.reset === null && cursor.epoch === answer.log.epoch;
  const log = continued ? resumed(before.log, answer.log) : fresh(before?.log ?? null, answer.log);
  return { you, room, people, peers, call, session, ice, log };
}

function fresh(before: LogState | null, answer: Joined['log']): LogState {
  const events = settled(answer.events);
  return {
    epoch: answer.epoch,
    events,
    older: answer.more,
    floor: answer.floor ?? null,
    tail: tailOf(answer.events, answer.head),
    mode: 'live',
    held: [],
    resets: before === null ? 0 : before.resets + 1,
  };
}

function resumed(before: LogState, answer: Joined['log']): LogState {
  const floor = answer.floor ?? before.floor;
  const log = { ...append({ ...before, held: [] }, answer.events), held: [], floor };
  if (answer.more) return { ...log, mode: 'catching_up' };
  return { ...log, mode: 'live', tail: tailOf(log.events, answer.head) ?? log.tail };
}

/** L6: the page after the tail. The last one lets the held pushes in. */
export function pagedForward(state: RoomState, page: Paged): RoomState {
  const log = append({ ...state.log, floor: page.floor ?? state.log.floor }, page.events);
  if (page.more) return { ...state, log };
  return { ...state, log: log.held.reduce(pushed, { ...log, mode: 'live', held: [] }) };
}

/** L6: the page before the first entry, when somebody scrolls back. */
export function pagedBack(state: RoomState, page: Paged): RoomState {
  const first = state.log.events[0];
  const older = first ? page.events.filter((event) => compareIds(event.id, first.id) < 0) : page.events;
  return {
    ...state,
    log: {
      ...state.log,
      events: settled([...older, ...state.log.events]),
      older: page.more,
      floor: page.floor ?? state.log.floor,
    },
  };
}

export function loggedPush(state: RoomState, event: LogEvent): RoomState {
  const call = callAfter(state.call, event);
  const session = sessionAfter(state, event);
  const log = pushed(state.log, event);
  return log === state.log && call === state.call && session === state.session
    ? state
    : { ...state, log, call, session };
}

/** L2: the one path of every entry. `prev` proves that nothing is missing. */
function pushed(log: LogState, event: LogEvent): LogState {
  if (log.mode === 'gap') return log;
  if (log.mode === 'catching_up') {
    return log.held.length < HELD_BOUND
      ? { ...log, held: [...log.held, event] }
      : { ...log, mode: 'gap', held: [] };
  }
  if (log.tail !== null && compareIds(event.id, log.tail.id) <= 0) return log;
  if ((event.prev ?? null) !== (log.tail?.id ?? null)) return { ...log, mode: 'gap' };
  return append(log, [event]);
}

function append(log: LogState, events: LogEvent[]): LogState {
  const tail = log.tail;
  const newer = tail === null ? events : events.filter((event) => compareIds(event.id, tail.id) > 0);
  const last = newer.at(-1);
  if (!last) return log;
  return {
    ...log,
    events: settled([...log.events, ...newer], newer),
    tail: { id: last.id, key: last.key ?? null },
  };
}

/**
 * L8: of a message only its newest text is kept, and of a deleted one nothing but that it was deleted. `changed` are
 * the entries that may have made others obsolete (all of them unless said otherwise).
 */
function settled(events: LogEvent[], changed: LogEvent[] = events): LogEvent[] {
  const gone = new Set<string>();
  const newest = new Map<string, string>();
  for (const event of changed) {
    if (event.kind === 'chat.deleted') gone.add(event.ref);
    else if (event.kind === 'chat.edited') newest.set(event.ref, event.id);
  }
  if (gone.size === 0 && newest.size === 0) return events;
  return events.filter((event) => {
    if (event.kind === 'chat.posted') return !gone.has(event.id) && !newest.has(event.id);
    if (event.kind === 'chat.reacted') return !gone.has(event.ref);
    if (event.kind !== 'chat.edited') return true;
    return !gone.has(event.ref) && (newest.get(event.ref) ?? event.id) === event.id;
  });
}

function tailOf(events: LogEvent[], head: string | null): LogState['tail'] {
  if (head === null) return null;
  const last = events.at(-1);
  return { id: head, key: last?.id === head ? (last.key ?? null) : null };
}

/** K1: the log says when a call begins and ends, so that the room knows without asking. */
function callAfter(call: CallShown | null, event: LogEvent): CallShown | null {
  if (event.kind === 'call.started') return { id: event.call, since: event.at };
  if ((event.kind === 'call.ended' || event.kind === 'call.missed') && call?.id === event.call) return null;
  return call;
}

/** `next` of an event is what a fresh join would say; one that was seen already says nothing of now. */
function sessionAfter({ session, log }: RoomState, event: LogEvent): Session | null {
  if (!isSessionEvent(event)) return session;
  if (log.tail !== null && compareIds(event.id, log.tail.id) <= 0) return session;
  if (event.session.id === session?.id && event.session.rev < session.rev) return session;
  return newer(session, event.next ?? null);
}

/** S4: of one session the greater `rev` is the later one, whichever way it came. */
function newer(known: Session | null, told: Session | null): Session | null {
  return known !== null && known.id === told?.id && known.rev > told.rev ? known : told;
}

/** The answer to a request of one's own, which may be quicker than its event. What comes after it is the event's to say. */
export function sessionAnswered(state: RoomState, session: Session): RoomState {
  const known = state.session;
  if (known?.id !== session.id || known.rev >= session.rev || !isOpen(session)) return state;
  return { ...state, session };
}

export function isOpen({ state }: Session): boolean {
  return state === 'requested' || state === 'confirmed' || state === 'live';
}

/** R5: one entry per device in the room. */
export function peerChanged(state: RoomState, push: PeerPush): RoomState {
  if (push.peer === state.you.peer) return state;
  const { room: _, ...peer } = push;
  const others = state.peers.filter((known) => known.peer !== peer.peer);
  if (peer.state === 'gone') return { ...state, peers: others };
  const known = others.length < state.peers.length;
  const peers = known
    ? state.peers.map((old) => (old.peer === peer.peer ? peer : old))
    : [...state.peers, peer];
  return { ...state, peers };
}

export function personChanged(state: RoomState, push: PersonPush): RoomState {
  const { person, online, tz } = push;
  return {
    ...state,
    people: state.people.map((p) => (p.person === person ? { ...p, online, tz: tz ?? p.tz } : p)),
  };
}

/** What somebody has just said of their own clock; the others read it when they join. */
export function zoneChanged(state: RoomState, person: string, tz: string): RoomState {
  return { ...state, people: state.people.map((p) => (p.person === person ? { ...p, tz } : p)) };
}

/** L10: read marks only go forward. */
export function readChanged(state: RoomState, person: string, id: string): RoomState {
  return {
    ...state,
    people: state.people.map((p) =>
      p.person === person && (p.read === null || compareIds(p.read, id) < 0) ? { ...p, read: id } : p,
    ),
  };
}
