/**
 * What was said and not yet acknowledged (rule L3), and what was acknowledged a short while ago: a store that fails over
 * may roll back the end of its log, and then it is published again (L5). Pure: times are passed in; outbox_store.ts keeps
 * it over a reload.
 *
 * Guarantees, whatever the order of acks, pushes, losses, resets and rollbacks: an entry stops waiting only because its
 * event was seen, because it was acknowledged, because what it changes is gone, or because its author removed it; and it
 * is handed out again only with its own key. Entries never change places and one request is on its way at a time, so the
 * order of writing is the order in the log, what is published again included.
 */

import { retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { ChatDelete, ChatEdit, ChatReact, ChatSend, LogEvent, Refusal } from '../protocol/wire';
import { compareIds } from './ids';

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
  /** Acknowledged and in the log: over, unless the log is rolled back. */
  | { kind: 'kept' }
  | { kind: 'failed'; error: Refusal }
  | { kind: 'stale' };

/** Where the log has what was asked for. */
export interface Place {
  id: string;
  at: number;
  epoch: string;
  /** When the server said so, by our own clock. */
  heardAt: number;
}

export interface Entry {
  key: string;
  madeAt: number;
  request: Request;
  status: Status;
  /** As last heard. After a rollback: where it was. */
  sent?: Place;
  /** Ids that it had before it was published again. */
  was?: readonly string[];
  /**
   * Asked for again, or written before a reload or a reset: it may be in the log unseen, and what it refers to may not be
   * there any more.
   */
  again?: boolean;
}

export type Outbox = readonly Entry[];

/** L3: the server remembers a key for 24 h. Beyond that a repeat would be a second message. */
export const KEY_LIFE_MS = 24 * 3_600_000;
/** Entries at most, without those that are kept. At the bound `full` says so and the composer keeps its text. */
export const OUTBOX_BOUND = 200;
/** How long an acknowledged entry is kept at least: longer than it takes to notice a failover. */
export const KEPT_MS = 10 * 60_000;
/** Kept entries at most; beyond it the oldest leave. */
export const KEPT_BOUND = 100;

const NOW: Status = { kind: 'waiting', notBefore: 0 };

export function full(outbox: Outbox): boolean {
  return outbox.filter(({ status }) => status.kind !== 'kept').length >= OUTBOX_BOUND;
}

export function added(outbox: Outbox, key: string, request: Request, now: number): Outbox {
  const moved = outbox.find(({ was }) => was?.includes(referenceOf(request) ?? ''));
  const current = moved?.sent ? referring(request, moved.sent.id) : request;
  return [...outbox, { key, madeAt: now, request: current, status: NOW }];
}

/**
 * What a former page load left on the disk, before what was written since. What became of the log meanwhile was not
 * watched: what was acknowledged has yet to be seen, and a change that found nothing to change is tried once more.
 */
export function restored(outbox: Outbox, disk: Outbox, now: number): Outbox {
  const here = new Set(outbox.map(({ key }) => key));
  const former = disk
    .filter((entry) => !here.has(entry.key) && !(isAcknowledged(entry) && isOld(entry, now)))
    .map((entry) => ({ ...entry, status: restoredStatus(entry), again: true }));
  return [...former, ...outbox];
}

function restoredStatus(entry: Entry): Status {
  const { request, status } = entry;
  if (isAcknowledged(entry)) return { kind: 'sent' };
  const decided = status.kind === 'failed' && (request.verb === 'chat.send' || !saysMissing(status.error));
  return decided ? status : NOW;
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

/** `passed`: the log has been read beyond that place, so the event will not come any more. */
export function acknowledged(outbox: Outbox, key: string, place: Place, passed: boolean): Outbox {
  const after = superseding(placed(outbox, key, place, passed ? 'kept' : 'sent'), key);
  const request = after.find((entry) => entry.key === key)?.request;
  const settled =
    request?.verb === 'chat.edit'
      ? edited(after, request.id, request.text, place.id)
      : request?.verb === 'chat.delete'
        ? deleted(after, request.id)
        : after;
  return bounded(settled, place.heardAt);
}

export function refused(outbox: Outbox, key: string, error: Refusal, now: number): Outbox {
  const entry = outbox.find((one) => one.key === key);
  if (!entry || isAcknowledged(entry)) return outbox;
  if (worthRetrying(error)) {
    const status: Status = { kind: 'waiting', notBefore: now + retryDelayMs(error) };
    return changed(outbox, key, () => ({ ...entry, status }));
  }
  const reference = referenceOf(entry.request);
  // One's own message is asked for again first. Missing all the same: the log was rolled back once more, as we shall hear.
  const ours = outbox.some(({ sent }) => sent?.id === reference);
  if (!entry.again || !saysMissing(error) || reference === null || ours)
    return changed(outbox, key, () => ({ ...entry, status: { kind: 'failed', error } }));
  // What it refers to went with the rollback. Nobody did anything wrong; a text is worth more than what it answers.
  if (entry.request.verb !== 'chat.send') return removed(outbox, key);
  const { reply_to: _, ...request } = entry.request;
  return changed(outbox, key, () => ({ ...entry, request, status: NOW }));
}

/** No answer came, or the connection went: nobody knows, so the same key is asked again. */
export function lost(outbox: Outbox): Outbox {
  return outbox.map((entry) => (entry.status.kind === 'sending' ? { ...entry, status: NOW } : entry));
}

/** One's own events that came by push or page: what they stand for is done. */
export function seen(outbox: Outbox, events: readonly LogEvent[], epoch: string, now: number): Outbox {
  if (outbox.length === 0) return outbox;
  let after = outbox;
  for (const event of events) {
    const place = { id: event.id, at: event.at, epoch, heardAt: now };
    after = superseding(placed(after, event.key, place, 'kept'), event.key);
    if (event.kind === 'chat.edited') after = edited(after, event.ref, event.text, event.id);
    else if (event.kind === 'chat.deleted') after = deleted(after, event.ref);
  }
  return after === outbox ? outbox : bounded(after, now);
}

/**
 * The log was read to its head. `continuous`: from before these entries were written, so what was not seen was not
 * done. Otherwise (a reload, a reset) what is older than the server's memory is for its author to decide. What was
 * acknowledged and is not seen is asked for again with its key; in a log that began anew, or below the floor, it was
 * removed on purpose and must not come back.
 */
export function resumed(
  outbox: Outbox,
  log: { epoch: string; floor: string | null },
  continuous: boolean,
  now: number,
): Outbox {
  const left = outbox
    .filter(({ sent }) => !sent || (sent.epoch === log.epoch && !isBelow(sent.id, log.floor)))
    .map((entry): Entry => {
      const { kind } = entry.status;
      if (kind !== 'sent' && kind !== 'waiting') return entry;
      const again = entry.again === true || kind === 'sent' || !continuous;
      if (again && now - entry.madeAt >= KEY_LIFE_MS) return { ...entry, status: { kind: 'stale' } };
      return again ? { ...entry, status: kind === 'sent' ? NOW : entry.status, again } : entry;
    });
  return bounded(left, now);
}

/**
 * L5, `diverged`: the end of the log is gone, and nobody knows how much of it. Everything that may have been there is
 * asked for again, in the order of writing. It is the server that knows what it still has (L3).
 */
export function rolledBack(outbox: Outbox, now: number): Outbox {
  return outbox
    .filter((entry) => !(isAcknowledged(entry) && isOld(entry, now, KEY_LIFE_MS)))
    .map((entry) => {
      const { status } = entry;
      if (status.kind === 'stale') return entry;
      if (status.kind === 'failed' && !saysMissing(status.error)) return entry;
      return { ...entry, status: status.kind === 'waiting' ? status : NOW, again: true };
    });
}

export function removed(outbox: Outbox, key: string): Outbox {
  return outbox.filter((entry) => entry.key !== key);
}

/** Whether nothing has to be done about it, unless the log is rolled back. */
export function isAcknowledged({ status }: Entry): boolean {
  return status.kind === 'sent' || status.kind === 'kept';
}

/** Whether an entry holds a text of the message at `ref`, so that it must go with it (L8). */
export function isTextOf(entry: Entry, ref: string): boolean {
  const { request, sent } = entry;
  return request.verb === 'chat.send' ? sent?.id === ref : request.verb === 'chat.edit' && request.id === ref;
}

/**
 * The log has it at `place`. If it was elsewhere before a rollback, what referred to that refers to the new place from now
 * on, and a refusal because nothing was there counts no longer.
 */
function placed(outbox: Outbox, key: string, place: Place, kind: 'sent' | 'kept'): Outbox {
  const entry = outbox.find((one) => one.key === key);
  if (!entry || (entry.status.kind === 'kept' && entry.sent?.id === place.id)) return outbox;
  const { again: _, ...rest } = entry;
  const former = entry.sent && entry.sent.id !== place.id ? entry.sent.id : null;
  const was = former === null ? entry.was : [...(entry.was ?? []), former];
  return outbox.map((other) => {
    if (other === entry) return { ...rest, status: { kind }, sent: place, ...(was ? { was } : {}) };
    if (former === null || referenceOf(other.request) !== former) return other;
    const { status } = other;
    const retried = status.kind === 'failed' && saysMissing(status.error) ? NOW : status;
    return { ...other, request: referring(other.request, place.id), status: retried };
  });
}

/** What is in the log now must not be undone by what was written before it and is published again. */
function superseding(outbox: Outbox, key: string): Outbox {
  const at = outbox.findIndex((entry) => entry.key === key);
  const newer = outbox[at]?.request;
  if (newer?.verb !== 'chat.edit' && newer?.verb !== 'chat.react') return outbox;
  return unlessSame(
    outbox,
    outbox.filter(({ request, status }, index) => {
      const decided = status.kind === 'failed' || status.kind === 'stale';
      return index >= at || decided || !changesTheSame(request, newer);
    }),
  );
}

function changesTheSame(a: Request, b: Request): boolean {
  if (a.verb === 'chat.edit') return b.verb === 'chat.edit' && a.id === b.id;
  return a.verb === 'chat.react' && b.verb === 'chat.react' && a.id === b.id && a.emoji === b.emoji;
}

/**
 * L8: of a message only its newest text is kept, wherever that was written. That it could be edited shows that it is in
 * the log.
 */
function edited(outbox: Outbox, ref: string, text: string, id: string): Outbox {
  return unlessSame(
    outbox,
    outbox
      .filter((entry) => {
        const older = entry.sent !== undefined && compareIds(entry.sent.id, id) < 0;
        return !(
          entry.request.verb === 'chat.edit' &&
          entry.request.id === ref &&
          isAcknowledged(entry) &&
          older
        );
      })
      .map((entry) => {
        const { request, status } = entry;
        if (request.verb !== 'chat.send' || entry.sent?.id !== ref) return entry;
        if (status.kind === 'kept' && request.text === text) return entry;
        return { ...entry, status: { kind: 'kept' }, request: { ...request, text } };
      }),
  );
}

/** L8: of a deleted message nothing is kept but the request to delete it. */
function deleted(outbox: Outbox, ref: string): Outbox {
  return unlessSame(
    outbox,
    outbox.filter((entry) => !isTextOf(entry, ref)),
  );
}

function bounded(outbox: Outbox, now: number): Outbox {
  let tooMany = outbox.filter(({ status }) => status.kind === 'kept').length - KEPT_BOUND;
  return unlessSame(
    outbox,
    outbox.filter((entry) => entry.status.kind !== 'kept' || (tooMany-- <= 0 && !isOld(entry, now))),
  );
}

function isOld({ sent }: Entry, now: number, lifeMs = KEPT_MS): boolean {
  return sent === undefined || now - sent.heardAt >= lifeMs;
}

function isBelow(id: string, floor: string | null): boolean {
  return floor !== null && compareIds(id, floor) <= 0;
}

function saysMissing({ code }: Refusal): boolean {
  return code === 'not_found' || code === 'gone';
}

function referenceOf(request: Request): string | null {
  return (request.verb === 'chat.send' ? request.reply_to : request.id) ?? null;
}

function referring(request: Request, id: string): Request {
  return request.verb === 'chat.send' ? { ...request, reply_to: id } : { ...request, id };
}

function changed(outbox: Outbox, key: string, change: (entry: Entry) => Entry): Outbox {
  return outbox.map((entry) => (entry.key === key ? change(entry) : entry));
}

function unlessSame(before: Outbox, after: Outbox): Outbox {
  return after.length === before.length && after.every((entry, index) => entry === before[index])
    ? before
    : after;
}
