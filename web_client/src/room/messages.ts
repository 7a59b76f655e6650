/**
 * The conversation as it is shown: a fold of log events into lines, with the outbox laid over it. Pure.
 */
import type { LogEvent, Refusal } from '../protocol/wire';
import { compareIds, millisecondsOf } from './ids';
import type { Entry } from './outbox';
import { isSessionEvent, type SessionEvent } from './state';

export interface Reaction {
  emoji: string;
  /** Persons, in the order in which they reacted. */
  by: string[];
}

export type Delivery =
  | { kind: 'sent' }
  | { kind: 'waiting' }
  | { kind: 'failed'; error: Refusal; entry: string }
  /** L3: older than the server remembers keys; sending it again could double it, so its author decides. */
  | { kind: 'stale'; entry: string };

export interface Message {
  kind: 'message';
  /** The log id, or the key while it has none. */
  id: string;
  key: string;
  at: number;
  by: string;
  text: string;
  replyTo: string | null;
  edited: boolean;
  reactions: Reaction[];
  delivery: Delivery;
}

export interface Removed {
  kind: 'removed';
  id: string;
  at: number;
  by: string;
}

export interface CallLine {
  kind: 'call';
  id: string;
  at: number;
  by: string;
  what: 'started' | 'ended' | 'missed';
  seconds: number;
}

/** What became of a session. */
export interface SessionLine {
  kind: 'session';
  id: string;
  at: number;
  by: string;
  event: SessionEvent;
}

export type Line = Message | Removed | CallLine | SessionLine;

const SESSION_KINDS: ReadonlySet<string> = new Set<SessionEvent['kind']>([
  'session.requested',
  'session.confirmed',
  'session.proposed',
  'session.declined',
  'session.rescheduled',
  'session.cancelled',
  'session.expired',
  'session.started',
  'session.extended',
  'session.ended',
  'session.no_show',
  'session.agenda_set',
]);

/**
 * Lines in log order. A message stands at the place of its first version (L8). What happened to a message older than
 * the window (`older`) is kept back until its place is loaded.
 */
export function fold(events: LogEvent[], older: boolean): Line[] {
  const lines = new Map<string, Line>();
  const reactions = new Map<string, Map<string, string[]>>();
  for (const event of events) {
    switch (event.kind) {
      case 'chat.posted':
        lines.set(
          event.id,
          message(event.id, event.key, event.at, event.by, event.text, event.reply_to ?? null, false),
        );
        break;
      case 'chat.edited': {
        const { at, by, reply_to } = event.posted;
        lines.set(event.ref, message(event.ref, event.key, at, by, event.text, reply_to ?? null, true));
        break;
      }
      case 'chat.deleted':
        lines.set(event.ref, { kind: 'removed', id: event.ref, at: millisecondsOf(event.ref), by: event.by });
        break;
      case 'chat.reacted':
        react(reactions, event.ref, event.emoji, event.by, event.on);
        break;
      case 'call.started':
      case 'call.ended':
      case 'call.missed':
        lines.set(event.id, {
          kind: 'call',
          id: event.id,
          at: event.at,
          by: event.by,
          what: event.kind === 'call.started' ? 'started' : event.kind === 'call.ended' ? 'ended' : 'missed',
          seconds: event.kind === 'call.ended' ? event.seconds : 0,
        });
        break;
      default: // L7: kinds that we do not know are not shown
        if (isSessionEvent(event) && SESSION_KINDS.has(event.kind)) {
          const { id, at, by } = event;
          lines.set(id, { kind: 'session', id, at, by, event });
        }
    }
  }
  for (const [ref, byEmoji] of reactions) {
    const line = lines.get(ref);
    if (line?.kind === 'message') line.reactions = reactionsOf(byEmoji);
  }
  const first = events[0];
  return [...lines.values()]
    .filter((line) => !older || first === undefined || compareIds(line.id, first.id) >= 0)
    .sort((a, b) => compareIds(a.id, b.id));
}

function message(
  id: string,
  key: string,
  at: number,
  by: string,
  text: string,
  replyTo: string | null,
  edited: boolean,
): Message {
  return {
    kind: 'message',
    id,
    key,
    at,
    by,
    text,
    replyTo,
    edited,
    reactions: [],
    delivery: { kind: 'sent' },
  };
}

type ByEmoji = Map<string, string[]>;

function react(all: Map<string, ByEmoji>, ref: string, emoji: string, by: string, on: boolean): void {
  const byEmoji = all.get(ref) ?? new Map<string, string[]>();
  all.set(ref, byEmoji);
  const others = (byEmoji.get(emoji) ?? []).filter((person) => person !== by);
  byEmoji.set(emoji, on ? [...others, by] : others);
}

function reactionsOf(byEmoji: ByEmoji): Reaction[] {
  return [...byEmoji].filter(([, by]) => by.length > 0).map(([emoji, by]) => ({ emoji, by }));
}

/**
 * The lines with the author's own pending changes laid over: new messages at the end, what is published again at the
 * place that it had, changes where they belong. What is merely kept is in the log already, or was.
 */
export function withOutbox(lines: Line[], outbox: readonly Entry[], me: string): Line[] {
  const pending = outbox.filter(({ status }) => status.kind !== 'kept');
  if (pending.length === 0) return lines;
  const shown = new Map(lines.map((line) => [line.id, line]));
  // What the log shows already, the outbox does not show again: an entry that was read back from the disk may not
  // have heard yet that its event is there.
  const logged = new Set(
    lines.flatMap((line) => (line.kind === 'message' && line.by === me ? [line.key] : [])),
  );
  const newest = lines.at(-1)?.id;
  let placed = false;
  for (const entry of pending) {
    const { request } = entry;
    if (request.verb === 'chat.send') {
      const id = entry.sent?.id ?? entry.key;
      if (shown.has(id) || logged.has(entry.key)) continue;
      const own = message(
        id,
        entry.key,
        entry.sent?.at ?? entry.madeAt,
        me,
        request.text,
        request.reply_to ?? null,
        false,
      );
      shown.set(id, { ...own, delivery: deliveryOf(entry) });
      placed ||= entry.sent !== undefined && newest !== undefined && compareIds(id, newest) < 0;
      continue;
    }
    const line = shown.get(request.id);
    if (line?.kind === 'message') shown.set(line.id, changed(line, entry, me));
  }
  return placed ? inOrder([...shown.values()]) : [...shown.values()];
}

/** By place; those that have none stay at the end as they are. */
function inOrder(lines: Line[]): Line[] {
  const waits = (line: Line) => line.kind === 'message' && line.id === line.key;
  return [
    ...lines.filter((line) => !waits(line)).sort((a, b) => compareIds(a.id, b.id)),
    ...lines.filter(waits),
  ];
}

function changed(line: Message, entry: Entry, me: string): Line {
  const { request } = entry;
  const delivery = deliveryOf(entry);
  const failed = delivery.kind === 'failed' || delivery.kind === 'stale';
  if (request.verb === 'chat.edit') {
    return failed ? { ...line, delivery } : { ...line, text: request.text, edited: true, delivery };
  }
  if (request.verb === 'chat.delete') {
    return failed ? { ...line, delivery } : { kind: 'removed', id: line.id, at: line.at, by: line.by };
  }
  if (request.verb === 'chat.react') {
    if (failed) return { ...line, delivery };
    const byEmoji: ByEmoji = new Map(line.reactions.map(({ emoji, by }) => [emoji, by]));
    react(new Map([[line.id, byEmoji]]), line.id, request.emoji, me, request.on);
    return { ...line, reactions: reactionsOf(byEmoji) };
  }
  return line;
}

function deliveryOf(entry: Entry): Delivery {
  switch (entry.status.kind) {
    case 'failed':
      return { kind: 'failed', error: entry.status.error, entry: entry.key };
    case 'stale':
      return { kind: 'stale', entry: entry.key };
    case 'sent':
      return { kind: 'sent' };
    default:
      return { kind: 'waiting' };
  }
}
