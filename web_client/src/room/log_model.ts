/** For tests: a room's log as the rules L1–L8 say that a server keeps it. */
import type { LogEvent, LogShown } from '../protocol/wire';
import { compareIds } from './ids';

// A union's `Omit` would forget which fields belong together.
type Unplaced<E> = E extends unknown ? Omit<E, 'room' | 'id' | 'prev' | 'at'> : never;
export type Event = Unplaced<LogEvent>;

export class LogModel {
  readonly epoch = 'epoch-1';
  /** What history returns: without what was removed since (L8). */
  kept: LogEvent[] = [];
  tail: { id: string; key: string } | null = null;
  /** Every id with its key, those of removed entries too: a cursor on one is good (L8). */
  places: { id: string; key: string }[] = [];
  #count = 0;

  append(event: Event): LogEvent {
    this.#count += 1;
    const at = 1_700_000_000_000 + this.#count * 1_000;
    const placed = { ...event, room: 'r', id: `${at}-0`, prev: this.tail?.id ?? null, at } as LogEvent;
    if (event.kind === 'chat.deleted') this.#remove(event.ref, true);
    if (event.kind === 'chat.edited') this.#remove(event.ref, false);
    this.kept.push(placed);
    this.tail = { id: placed.id, key: placed.key };
    this.places.push(this.tail);
    return placed;
  }

  /** What a failover may bring back: the log as it was. The clock goes on. */
  copy(): Pick<LogModel, 'kept' | 'places' | 'tail'> {
    return { kept: [...this.kept], places: [...this.places], tail: this.tail };
  }

  rollBack(to: Pick<LogModel, 'kept' | 'places' | 'tail'>): void {
    this.kept = [...to.kept];
    this.places = [...to.places];
    this.tail = to.tail;
  }

  #remove(ref: string, reactions: boolean): void {
    this.kept = this.kept.filter(
      (event) =>
        event.id !== ref &&
        !(event.kind === 'chat.edited' && event.ref === ref) &&
        !(reactions && event.kind === 'chat.reacted' && event.ref === ref),
    );
  }

  newest(limit: number): LogShown {
    return {
      epoch: this.epoch,
      head: this.tail?.id ?? null,
      events: this.kept.slice(-limit),
      more: this.kept.length > limit,
      reset: null,
    };
  }

  after(id: string | null, limit: number): LogShown {
    const events = id === null ? this.kept : this.kept.filter((event) => compareIds(event.id, id) > 0);
    return {
      epoch: this.epoch,
      head: this.tail?.id ?? null,
      events: events.slice(0, limit),
      more: events.length > limit,
      reset: null,
    };
  }

  before(id: string, limit: number): { events: LogEvent[]; more: boolean } {
    const events = this.kept.filter((event) => compareIds(event.id, id) < 0);
    return { events: events.slice(-limit), more: events.length > limit };
  }
}
