/**
 * What was said and not yet acknowledged (rule L3). Pure: times are passed in; outbox_store.ts keeps it over a reload.
 *
 * Guarantees, whatever the order of acks, pushes, losses and resets: an entry leaves only because its event was seen,
 * because it was acknowledged and a fresh snapshot was taken since, or because its author removed it; and it is handed
 * out again only with its own key. One request is on its way at a time, so the order of writing is the order in the log.
 */

import { retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { ChatDelete, ChatEdit, ChatReact, ChatSend, Refusal } from '../protocol/wire';

export type Request =
  | ({ verb: 'chat.send' } & Omit<ChatSend, 'key' | 'room' | 'files'>)
  | ({ verb: 'chat.edit' } & Omit<ChatEdit, 'key' | 'room'>)
  | ({ verb: 'chat.delete' } & Omit<ChatDelete, 'key' | 'room'>)
  | ({ verb: 'chat.react' } & Omit<ChatReact, 'key' | 'room'>);

export type Status =
  | { kind: 'waiting'; notBefore: number }
  | { kind: 'sending' }
  /** Acknowledged; its event is still on its way to us. */
  | { kind: 'sent' }
  | { kind: 'failed'; error: Refusal }
  | { kind: 'stale' };

export interface Entry {
  key: string;
  madeAt: number;
  request: Request;
  status: Status;
  sent?: { id: string; at: number };
  /** Written before this page was loaded: what came of it then was not watched. */
  restored?: boolean;
}

export type Outbox = readonly Entry[];

/** L3: the server remembers a key for 24 h. Beyond that a repeat would be a second message. */
export const KEY_LIFE_MS = 24 * 3_600_000;
/** Entries at most. At the bound `full` says so and the composer keeps its text. */
export const OUTBOX_BOUND = 200;

export function full(outbox: Outbox): boolean {
  return outbox.length >= OUTBOX_BOUND;
}

export function added(outbox: Outbox, key: string, request: Request, now: number): Outbox {
  return [...outbox, { key, madeAt: now, request, status: { kind: 'waiting', notBefore: 0 } }];
}

/** What a former page load left behind, before what was written since. */
export function restored(outbox: Outbox, kept: Outbox): Outbox {
  const here = new Set(outbox.map((entry) => entry.key));
  const former = kept.filter((entry) => !here.has(entry.key)).map((entry) => ({ ...entry, restored: true }));
  return [...former, ...outbox];
}

/** The request to send now, `null` if there is none, or the time at which to ask again. */
export function next(outbox: Outbox, now: number): Entry | number | null {
  for (const entry of outbox) {
    if (entry.status.kind === 'sending') return null;
    if (entry.status.kind === 'waiting')
      return entry.status.notBefore <= now ? entry : entry.status.notBefore;
  }
  return null;
}

export function sending(outbox: Outbox, key: string): Outbox {
  return changed(outbox, key, (entry) => ({ ...entry, status: { kind: 'sending' } }));
}

export function acknowledged(outbox: Outbox, key: string, id: string, at: number): Outbox {
  return changed(outbox, key, (entry) => ({ ...entry, status: { kind: 'sent' }, sent: { id, at } }));
}

export function refused(outbox: Outbox, key: string, error: Refusal, now: number): Outbox {
  const status: Status = worthRetrying(error)
    ? { kind: 'waiting', notBefore: now + retryDelayMs(error) }
    : { kind: 'failed', error };
  return changed(outbox, key, (entry) => (entry.status.kind === 'sent' ? entry : { ...entry, status }));
}

/** No answer came, or the connection went: nobody knows, so the same key is asked again. */
export function lost(outbox: Outbox): Outbox {
  return outbox.map((entry) =>
    entry.status.kind === 'sending' ? { ...entry, status: { kind: 'waiting', notBefore: 0 } } : entry,
  );
}

/** Events that came by push or page: what they stand for is done. */
export function seen(outbox: Outbox, keys: ReadonlySet<string>): Outbox {
  const left = outbox.filter((entry) => !keys.has(entry.key));
  return left.length === outbox.length ? outbox : left;
}

/**
 * The log was read to its head. `continuous`: from before these entries were written, so what was not seen was not
 * done. Otherwise (a reload, a reset) what is older than the server's memory is for its author to decide, and what
 * was acknowledged is durable wherever it stands in the log.
 */
export function resumed(outbox: Outbox, continuous: boolean, now: number): Outbox {
  return outbox
    .filter((entry) => continuous || entry.status.kind !== 'sent')
    .map((entry) => {
      const watched = continuous && !entry.restored;
      const old = entry.status.kind === 'waiting' && now - entry.madeAt >= KEY_LIFE_MS;
      return old && !watched ? { ...entry, status: { kind: 'stale' } as const } : entry;
    });
}

export function removed(outbox: Outbox, key: string): Outbox {
  return outbox.filter((entry) => entry.key !== key);
}

function changed(outbox: Outbox, key: string, change: (entry: Entry) => Entry): Outbox {
  return outbox.map((entry) => (entry.key === key ? change(entry) : entry));
}
