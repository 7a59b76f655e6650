import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Joined, LogEvent, LogShown, Refusal } from '../protocol/wire';
import { compareIds } from './ids';
import { LogModel } from './log_model';
import { fold, type Line, type Message, withOutbox } from './messages';
import {
  acknowledged,
  added,
  type Entry,
  full,
  KEPT_BOUND,
  KEPT_MS,
  KEY_LIFE_MS,
  lost,
  next,
  OUTBOX_BOUND,
  type Outbox,
  type Place,
  type Request,
  refused,
  removed,
  restored,
  resumed,
  rolledBack,
  seen,
  sending,
} from './outbox';
import { cursorOf, joined, loggedPush, pagedForward, type RoomState } from './state';

const LIMITED: Refusal = { code: 'limited', message: '', retry_ms: 500 };
const MISSING: Refusal = { code: 'not_found', message: '' };
/** How many stories are tried; `VITE_STORIES=400000 npm test -- --testTimeout 600000` is a long search. */
const STORIES = Number(import.meta.env.VITE_STORIES ?? 4_000);
const ME = 'ann';
const PARTNER = 'bob';

type Answer = { ok: true; id: string; at: number } | { ok: false; error: Refusal };

/** A server that appends a key once within its memory (L3), and whose store may forget the end of its log. */
class Server {
  readonly model = new LogModel();
  /** Under which key a message was first posted. Ids are never used twice. */
  readonly posted = new Map<string, string>();
  #keys = new Map<string, { id: string; at: number }>();
  #before: {
    at: number;
    log: ReturnType<LogModel['copy']>;
    keys: Map<string, { id: string; at: number }>;
  }[] = [];
  readonly #pushed: (event: LogEvent) => void;

  constructor(pushed: (event: LogEvent) => void = () => {}) {
    this.#pushed = pushed;
  }

  handle(by: string, key: string, request: Request, now: number): Answer {
    const known = this.#keys.get(key);
    if (known && now - known.at < KEY_LIFE_MS) return { ok: true, id: known.id, at: 0 };
    const reference = request.verb === 'chat.send' ? request.reply_to : request.id;
    const target = reference ? this.#message(reference) : undefined;
    if (reference && target === undefined) return { ok: false, error: MISSING };
    if (target?.kind === 'chat.deleted' && request.verb !== 'chat.send')
      return { ok: false, error: { code: 'gone', message: '' } };
    this.#before.push({ at: now, log: this.model.copy(), keys: new Map(this.#keys) });
    const event = this.#append(by, key, request, target);
    this.#keys.set(key, { id: event.id, at: now });
    if (event.kind === 'chat.posted') this.posted.set(event.id, key);
    this.#pushed(event);
    return { ok: true, id: event.id, at: event.at };
  }

  /** At most so many requests, and none older than that. Says whether anything was lost. */
  rollBack(requests: number, sinceMs: number): boolean {
    const young = this.#before.filter(({ at }) => at >= sinceMs);
    const back = young.slice(-requests)[0];
    if (!back) return false;
    this.model.rollBack(back.log);
    this.#keys = new Map(back.keys);
    this.#before = this.#before.slice(0, this.#before.indexOf(back));
    return true;
  }

  /** `room.join`, L5. */
  join(cursor: { id?: string | null; key?: string | null } | null, limit: number): LogShown {
    if (cursor === null) return this.model.newest(limit);
    const { id, key } = cursor;
    const there = this.model.places.find((place) => place.id === id);
    if (id && (!there || (key && there.key !== key)))
      return { ...this.model.newest(limit), reset: 'diverged' };
    return this.model.after(id ?? null, limit);
  }

  /** What stands in the log in the end: first key and text of each message. */
  get messages(): { key: string; text: string; by: string; liked: boolean }[] {
    return fold(this.model.kept, false)
      .filter((line): line is Message => line.kind === 'message')
      .map(({ id, text, by, reactions }) => {
        const liked = reactions.some((reaction) => reaction.by.includes(ME));
        return { key: this.posted.get(id) ?? '', text, by, liked };
      });
  }

  #message(id: string): LogEvent | undefined {
    return this.model.kept.find(
      (event) =>
        (event.kind === 'chat.posted' && event.id === id) ||
        ((event.kind === 'chat.edited' || event.kind === 'chat.deleted') && event.ref === id),
    );
  }

  #append(by: string, key: string, request: Request, target: LogEvent | undefined): LogEvent {
    const common = { by, key };
    switch (request.verb) {
      case 'chat.send':
        return this.model.append({
          kind: 'chat.posted',
          text: request.text,
          reply_to: request.reply_to ?? null,
          ...common,
        });
      case 'chat.edit': {
        const posted =
          target?.kind === 'chat.edited' ? target.posted : { at: target?.at ?? 0, by, reply_to: null };
        return this.model.append({
          kind: 'chat.edited',
          ref: request.id,
          text: request.text,
          posted,
          ...common,
        });
      }
      case 'chat.delete':
        return this.model.append({ kind: 'chat.deleted', ref: request.id, ...common });
      case 'chat.react': {
        const { id: ref, emoji, on } = request;
        return this.model.append({ kind: 'chat.reacted', ref, emoji, on, ...common });
      }
    }
  }
}

const PAGE = 4;

function answer(log: LogShown): Joined {
  return {
    ok: true,
    you: { peer: 'p', person: ME, role: 'mentor', polite: false, leg: 0, media: null },
    room: { slug: 'r', title: 'Room' },
    people: [],
    peers: [],
    call: null,
    session: null,
    log,
    ice: { servers: [], policy: 'all', expires_at: 0 },
  };
}

/** A tab of `ME`, as live.svelte.ts lives it, through losses, reloads, resets and a store that forgets. */
class Story {
  now = 0;
  outbox: Outbox = [];
  readonly server = new Server((event) => this.#pushes.push(event));
  #state: RoomState | null = null;
  #pushes: (LogEvent | 'diverged')[] = [];
  #onWay: { entry: Entry; answer: Answer | null } | null = null;
  #count = 0;
  /** The log was rolled back and this tab has not heard of it. */
  unnoticed = false;
  /** The log took something, or refused something, before this tab heard that it was rolled back: what follows came first. */
  overtaken = false;
  /** What should be there in the end, by the key of the message, in the order of writing. */
  readonly expected = new Map<string, { text: string; deleted: boolean; texts: string[]; liked: boolean }>();

  constructor() {
    this.join(true);
  }

  get lines(): Line[] {
    const log = this.#state?.log;
    return log ? withOutbox(fold(log.events, log.older), this.outbox, ME) : [];
  }

  write(what: 'send' | 'reply' | 'edit' | 'delete' | 'react', pick: number): void {
    const key = `k${this.#count++}`;
    const shown = this.lines.filter(
      (line): line is Message =>
        line.kind === 'message' && line.id !== line.key && line.delivery.kind !== 'failed',
    );
    const own = shown.filter(({ by }) => by === ME);
    const target = (what === 'edit' || what === 'delete' ? own : shown)[pick % Math.max(1, own.length)];
    if (what === 'send' || (what === 'reply' && target)) {
      const reply = what === 'reply' && target ? { reply_to: target.id } : {};
      this.expected.set(key, { text: `<${key}>`, deleted: false, texts: [`<${key}>`], liked: false });
      this.#say(key, { verb: 'chat.send', text: `<${key}>`, ...reply });
      return;
    }
    if (!target) return;
    const message = this.expected.get(this.server.posted.get(target.id) ?? '');
    if (what === 'react') {
      if (message) message.liked = pick % 2 > 0;
      this.#say(key, { verb: 'chat.react', id: target.id, emoji: '+', on: pick % 2 > 0 });
      return;
    }
    if (!message) throw new Error(`${target.id} was never posted`);
    if (what === 'edit') {
      message.text = `<${key}>`;
      message.texts.push(message.text);
      this.#say(key, { verb: 'chat.edit', id: target.id, text: message.text });
    } else {
      message.deleted = true;
      this.#say(key, { verb: 'chat.delete', id: target.id });
    }
  }

  #say(key: string, request: Request): void {
    this.outbox = added(this.outbox, key, request, this.now);
  }

  partnerWrites(): void {
    this.server.handle(PARTNER, `p${this.#count++}`, { verb: 'chat.send', text: 'of the partner' }, this.now);
  }

  send(): void {
    if (this.#state?.log.mode !== 'live' || this.#onWay) return;
    const entry = next(this.outbox, this.now);
    if (entry === null || typeof entry === 'number') return;
    const before = this.outbox.slice(0, this.outbox.indexOf(entry));
    expect(before.filter(({ status }) => status.kind === 'waiting' || status.kind === 'sending')).toEqual([]);
    this.outbox = sending(this.outbox, entry.key);
    this.#onWay = { entry, answer: null };
  }

  /** The request reaches the server. */
  arrive(limited: boolean): void {
    if (!this.#onWay || this.#onWay.answer) return;
    const { entry } = this.#onWay;
    const { length } = this.server.model.places;
    const said: Answer = limited
      ? { ok: false, error: LIMITED }
      : this.server.handle(ME, entry.key, entry.request, this.now);
    const wrote = this.server.model.places.length > length;
    if ((this.unnoticed && wrote) || (!said.ok && said.error === MISSING)) this.overtaken = true;
    this.#onWay = { entry, answer: said };
  }

  /** Its answer reaches us. */
  hear(): void {
    const said = this.#onWay?.answer;
    const key = this.#onWay?.entry.key;
    const log = this.#state?.log;
    if (!said || !key || !log) return;
    this.#onWay = null;
    if (said.ok) {
      const place = { id: said.id, at: said.at, epoch: log.epoch, heardAt: this.now };
      const passed = log.tail !== null && compareIds(said.id, log.tail.id) <= 0;
      this.outbox = acknowledged(this.outbox, key, place, passed);
    } else this.outbox = refused(this.outbox, key, said.error, this.now);
    this.#see(log.events);
  }

  push(): void {
    const push = this.#pushes.shift();
    if (push === 'diverged') {
      this.#heardOfRollback();
      this.#pushes = [];
      this.#enter(null);
    } else if (push && this.#state) {
      this.#state = loggedPush(this.#state, push);
      if (this.#state.log.tail?.id === push.id) this.#see([push]);
      if (this.#state.log.mode === 'gap') this.join(false);
    }
  }

  rollBack(requests: number): void {
    if (!this.server.rollBack(requests, this.now - KEPT_MS / 2)) return;
    this.unnoticed = true;
  }

  /** The server finds out while we are connected. */
  notice(): void {
    if (this.unnoticed) this.#pushes.push('diverged');
  }

  /** The connection goes and comes back. */
  join(reload: boolean): void {
    this.#onWay = null;
    this.#pushes = [];
    this.outbox = lost(this.outbox);
    if (reload) {
      this.outbox = restored([], this.outbox, this.now);
      this.#state = null;
    }
    this.#enter(this.#state === null ? null : cursorOf(this.#state.log));
  }

  #enter(cursor: ReturnType<typeof cursorOf> | null): void {
    const shown = this.server.join(cursor, PAGE);
    this.#state = joined(this.#state, answer(shown), cursor);
    if (shown.reset === 'diverged') this.#heardOfRollback();
    while (this.#state.log.mode === 'catching_up') {
      const { events, more } = this.server.model.after(this.#state.log.tail?.id ?? null, PAGE);
      this.#state = pagedForward(this.#state, { ok: true, events, more });
    }
    this.#see(this.#state.log.events);
    this.outbox = resumed(this.outbox, this.#state.log, cursor !== null && shown.reset === null, this.now);
    this.unnoticed = false;
  }

  #heardOfRollback(): void {
    this.outbox = rolledBack(this.outbox, this.now);
    this.#onWay = null;
  }

  #see(events: LogEvent[]): void {
    const own = events.filter(({ by }) => by === ME);
    this.outbox = seen(this.outbox, own, this.#state?.log.epoch ?? '', this.now);
  }

  /** Everything gets through at last. */
  end(): void {
    this.join(false);
    for (let round = 0; round < 8 * (this.#count + 1); round++) {
      this.now += LIMITED.retry_ms ?? 0;
      this.send();
      this.arrive(false);
      this.hear();
      this.push();
    }
  }
}

const act = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      what: fc.constantFrom(
        'send' as const,
        'reply' as const,
        'edit' as const,
        'delete' as const,
        'react' as const,
      ),
      pick: fc.nat(20),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'partnerWrites' as const }) },
  { weight: 5, arbitrary: fc.constant({ do: 'send' as const }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('arrive' as const),
      limited: fc.constantFrom(false, false, true),
    }),
  },
  { weight: 5, arbitrary: fc.constant({ do: 'hear' as const }) },
  { weight: 4, arbitrary: fc.constant({ do: 'push' as const }) },
  // The way of most requests: so that a script of some length gets somewhere.
  { weight: 6, arbitrary: fc.constant({ do: 'deliver' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('join' as const), reload: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('rollBack' as const), requests: fc.integer({ min: 1, max: 12 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'notice' as const }) },
);
const wait = fc.record({
  do: fc.constant('wait' as const),
  ms: fc.constantFrom(100, 1_000, KEPT_MS / 5, KEPT_MS),
});
const longWait = fc.record({
  do: fc.constant('wait' as const),
  ms: fc.constantFrom(KEY_LIFE_MS / 2, KEY_LIFE_MS),
});

type Act = typeof act extends fc.Arbitrary<infer A> ? A : never;
type Wait = { do: 'wait'; ms: number };

function play(story: Story, script: (Act | Wait)[], check: () => void): void {
  for (const one of script) {
    switch (one.do) {
      case 'write':
        story.write(one.what, one.pick);
        break;
      case 'arrive':
        story.arrive(one.limited);
        break;
      case 'deliver':
        story.send();
        story.arrive(false);
        story.hear();
        story.push();
        break;
      case 'join':
        story.join(one.reload);
        break;
      case 'rollBack':
        story.rollBack(one.requests);
        break;
      case 'wait':
        // What was kept lasts for as long as it takes to notice.
        story.now += story.unnoticed ? Math.min(one.ms, 1_000) : one.ms;
        // With a connection what waits is sent at once: half a day passes only without one.
        if (one.ms >= KEY_LIFE_MS / 2) story.join(false);
        break;
      default:
        story[one.do]();
    }
    check();
  }
  story.end();
  check();
}

function nothingIsMissing(story: Story): void {
  const there = new Set(story.server.messages.map(({ key }) => key));
  const here = new Set(story.outbox.map(({ key }) => key));
  for (const [key, { deleted }] of story.expected)
    if (!deleted) expect(there.has(key) || here.has(key), `${key} is nowhere`).toBe(true);
}

describe('L3, L5: the outbox over every fault', () => {
  it('L3, L5, L8: every text that was taken and not deleted is there once, every deleted one nowhere', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 12, arbitrary: act }, wait), { maxLength: 100, size: 'max' }),
        (script) => {
          const story = new Story();
          play(story, script, () => nothingIsMissing(story));
          const own = story.server.messages.filter(({ by }) => by === ME);
          const refusedReplies = new Set(
            story.outbox
              .filter(({ request, status }) => status.kind === 'failed' && request.verb === 'chat.send')
              .map(({ key }) => key),
          );
          const kept = [...story.expected].filter(
            ([key, { deleted }]) => !deleted && !refusedReplies.has(key),
          );
          const texts = (messages: { text: string }[]) => messages.map(({ text }) => text);
          expect(texts(own).toSorted()).toEqual(kept.map(([, { text }]) => text).toSorted());
          if (!story.overtaken) expect(texts(own)).toEqual(kept.map(([, { text }]) => text));
          for (const { key, liked } of own) expect(liked).toBe(story.expected.get(key)?.liked);
          // L8: neither at the server nor here, in whatever state.
          const everywhere = JSON.stringify([story.server.model.kept, story.outbox]);
          for (const { deleted, texts, text } of story.expected.values())
            for (const one of texts) if (deleted || one !== text) expect(everywhere).not.toContain(one);
          // Nothing waits, and only what refers to something of the partner's may have failed.
          const left = story.outbox.filter(({ status }) => status.kind !== 'kept');
          expect(left.filter(({ status }) => status.kind !== 'failed')).toEqual([]);
          const verbs = left.map(({ request }) => request.verb);
          expect(verbs.filter((verb) => verb === 'chat.edit' || verb === 'chat.delete')).toEqual([]);
          // What is done is not shown beside the log.
          expect(
            story.lines.filter((line) => line.kind === 'message' && line.delivery.kind === 'waiting'),
          ).toEqual([]);
          expect(new Set(story.lines.map(({ id }) => id)).size).toBe(story.lines.length);
        },
      ),
      { numRuns: STORIES },
    );
  });

  it('L3: what is older than the memory of the server is not sent twice, however long it waited', () => {
    const script = fc.array(fc.oneof({ weight: 8, arbitrary: act }, longWait), {
      maxLength: 80,
      size: 'max',
    });
    fc.assert(
      fc.property(script, (acts) => {
        const story = new Story();
        play(story, acts, () => nothingIsMissing(story));
        const keys = story.server.messages.filter(({ by }) => by === ME).map(({ key }) => key);
        expect(new Set(keys).size).toBe(keys.length);
      }),
      { numRuns: STORIES / 8 },
    );
  });
});

const said = (text: string, reply_to?: string): Request => ({
  verb: 'chat.send',
  text,
  ...(reply_to ? { reply_to } : {}),
});

function place(id: string, heardAt = 0, epoch = 'e'): Place {
  return { id, at: 0, epoch, heardAt };
}

/** Written, acknowledged and seen, in this order, at `1-0`, `2-0`, … */
function kept(...requests: Request[]): Outbox {
  return requests.reduce<Outbox>((outbox, request, index) => {
    const key = `k${index + 1}`;
    return acknowledged(added(outbox, key, request, index), key, place(`${index + 1}-0`), true);
  }, []);
}

const LOG = { epoch: 'e', floor: null };
const keys = (outbox: Outbox) => outbox.map(({ key }) => key);
const waiting = (outbox: Outbox) => keys(outbox.filter(({ status }) => status.kind === 'waiting'));
const entry = (outbox: Outbox, key: string) => outbox.find((one) => one.key === key);

describe('L3: the outbox', () => {
  const two = () => added(added([], 'a', said('a'), 0), 'b', said('b'), 0);

  it('L3: hands out one request at a time, in the order of writing', () => {
    let outbox = two();
    expect((next(outbox, 0) as Entry).key).toBe('a');
    outbox = sending(outbox, 'a');
    expect(next(outbox, 0)).toBe(null);
    outbox = acknowledged(outbox, 'a', place('1-0'), false);
    expect((next(outbox, 0) as Entry).key).toBe('b');
  });

  it('T5: limited waits as long as the server says, and nothing overtakes', () => {
    const outbox = refused(sending(two(), 'a'), 'a', LIMITED, 1_000);
    expect(next(outbox, 1_000)).toBe(1_500);
    expect((next(outbox, 1_500) as Entry).key).toBe('a');
  });

  it('T5: a refusal for good stays for its author to see, and the next goes on', () => {
    const outbox = refused(sending(two(), 'a'), 'a', { code: 'too_large', message: '' }, 0);
    expect(outbox[0]?.status.kind).toBe('failed');
    expect((next(outbox, 0) as Entry).key).toBe('b');
    expect(removed(outbox, 'a')).toHaveLength(1);
  });

  it('L3: older than 24 h and unseen after a reset is shown to its author, not sent', () => {
    const outbox = resumed(added([], 'a', said('a'), 0), LOG, false, KEY_LIFE_MS);
    expect(outbox[0]?.status.kind).toBe('stale');
    expect(next(outbox, KEY_LIFE_MS)).toBe(null);
  });

  it('L3: older than 24 h but watched all the time is sent', () => {
    const outbox = resumed(added([], 'a', said('a'), 0), LOG, true, KEY_LIFE_MS);
    expect((next(outbox, KEY_LIFE_MS) as Entry).key).toBe('a');
  });

  it('L3: what a reset left in doubt stays in doubt, however well the log goes on from there', () => {
    const outbox = resumed(rolledBack(kept(said('one')), 1), LOG, false, 1);
    expect(waiting(outbox)).toEqual(['k1']);
    expect(resumed(outbox, LOG, true, KEY_LIFE_MS)[0]?.status.kind).toBe('stale');
  });

  it('L3: acknowledged, and not in the log that was read to its head, is asked for again', () => {
    const outbox = acknowledged(added([], 'a', said('a'), 0), 'a', place('1-0'), false);
    expect(waiting(resumed(outbox, LOG, true, 1))).toEqual(['a']);
  });
});

describe('L5: what was acknowledged a short while ago', () => {
  it('L5: is kept, is handed out no more, and never counts for full', () => {
    let outbox = kept(said('one'), said('two'));
    expect(outbox.map(({ status }) => status.kind)).toEqual(['kept', 'kept']);
    expect(next(outbox, 0)).toBe(null);
    for (let count = 0; count < OUTBOX_BOUND; count++) {
      expect(full(outbox)).toBe(false);
      outbox = added(outbox, `w${count}`, said('waits'), 0);
    }
    expect(full(outbox)).toBe(true);
  });

  it('L5: leaves after its time, and at the bound the oldest leave first', () => {
    const old = kept(said('old'));
    const later = acknowledged(added(old, 'a', said('a'), 0), 'a', place('9-0', KEPT_MS), true);
    expect(keys(later)).toEqual(['a']);
    const many = kept(...Array.from({ length: KEPT_BOUND + 3 }, (_, count) => said(`${count}`)));
    expect(many).toHaveLength(KEPT_BOUND);
    expect(many[0]?.key).toBe('k4');
  });

  it('L5: after a rollback it is published again with its key, in order, before anything that waits', () => {
    let outbox = added(kept(said('one'), said('two')), 'w', said('waited'), 5);
    outbox = added(rolledBack(outbox, 6), 'n', said('new'), 7);
    const order: string[] = [];
    for (let one = next(outbox, 8); one !== null && typeof one !== 'number'; one = next(outbox, 8)) {
      order.push(one.key);
      outbox = acknowledged(sending(outbox, one.key), one.key, place(`${10 + order.length}-0`, 8), true);
    }
    expect(order).toEqual(['k1', 'k2', 'w', 'n']);
  });

  it('L5: only a rollback publishes it again: neither a resume nor a log that was trimmed or began anew', () => {
    const outbox = kept(said('one'));
    expect(waiting(resumed(outbox, LOG, true, 1))).toEqual([]);
    expect(waiting(resumed(outbox, { epoch: 'e', floor: '0-5' }, false, 1))).toEqual([]);
    for (const log of [
      { epoch: 'another', floor: null },
      { epoch: 'e', floor: '1-0' },
    ]) {
      expect(resumed(outbox, log, false, 1), 'what was erased must not come back').toEqual([]);
      expect(resumed(rolledBack(outbox, 1), log, false, 1)).toEqual([]);
    }
  });

  it('L5: what the newest page shows after a rollback is not asked for again', () => {
    const event = { kind: 'chat.posted', id: '1-0', at: 0, key: 'k1', by: ME, text: 'one' } as LogEvent;
    const outbox = seen(rolledBack(kept(said('one'), said('two')), 1), [event], 'e', 1);
    expect(waiting(outbox)).toEqual(['k2']);
  });

  it('L5: a second rollback in the middle of publishing again begins anew', () => {
    let outbox = rolledBack(kept(said('one'), said('two'), said('three')), 1);
    outbox = acknowledged(sending(outbox, 'k1'), 'k1', place('11-0'), true);
    outbox = rolledBack(sending(outbox, 'k2'), 2);
    expect(waiting(outbox)).toEqual(['k1', 'k2', 'k3']);
  });

  it('L5: a change that finds its message missing, which is asked for again, waits for news of a second rollback', () => {
    const edit: Request = { verb: 'chat.edit', id: '1-0', text: 'one!' };
    let outbox = rolledBack(added(kept(said('one')), 'e', edit, 1), 2);
    outbox = acknowledged(sending(outbox, 'k1'), 'k1', place('11-0'), true);
    outbox = refused(sending(outbox, 'e'), 'e', MISSING, 3);
    expect(entry(outbox, 'e')?.status.kind).toBe('failed');
    expect(waiting(rolledBack(outbox, 4))).toEqual(['k1', 'e']);
  });

  it('L5: what referred to a message refers to its new id, also what is written with the old one in mind', () => {
    const requests: Request[] = [
      said('one'),
      said('two', '1-0'),
      { verb: 'chat.edit', id: '1-0', text: 'one!' },
      { verb: 'chat.react', id: '1-0', emoji: '+', on: true },
    ];
    let outbox = rolledBack(added(kept(...requests), 'w', { verb: 'chat.delete', id: '1-0' }, 5), 6);
    outbox = acknowledged(outbox, 'k1', place('11-0'), false);
    outbox = added(outbox, 'n', said('new', '1-0'), 7);
    const references = outbox.map(({ request }) =>
      request.verb === 'chat.send' ? request.reply_to : request.id,
    );
    expect(references).toEqual([undefined, '11-0', '11-0', '11-0', '11-0', '11-0']);
    const again = acknowledged(rolledBack(outbox, 8), 'k1', place('21-0'), false);
    expect(entry(added(again, 'm', said('later', '1-0'), 9), 'm')?.request).toEqual(said('later', '21-0'));
  });

  it.each(['not_found', 'gone'])(
    'L5: a change of something that is not there any more (%s) is dropped',
    (code) => {
      const changes: Request[] = [
        { verb: 'chat.edit', id: '0-9', text: 'x' },
        { verb: 'chat.react', id: '0-9', emoji: '+', on: true },
        { verb: 'chat.delete', id: '0-9' },
      ];
      for (const change of changes) {
        expect(refused(rolledBack(kept(change), 1), 'k1', { code, message: '' }, 2)).toEqual([]);
        const never = refused(added([], 'a', change, 0), 'a', { code, message: '' }, 2);
        expect(never[0]?.status.kind, 'without a rollback its author is told').toBe('failed');
      }
    },
  );

  it('L5: a reply to something that is not there any more is published without it', () => {
    const outbox = refused(rolledBack(kept(said('well', '0-9')), 1), 'k1', MISSING, 2);
    expect(outbox[0]).toMatchObject({ request: said('well'), status: { kind: 'waiting' } });
    expect(outbox[0]?.request).not.toHaveProperty('reply_to');
  });

  it('L5: what was refused because the log was rolled back before we knew is asked for again', () => {
    const refusedDeletion = (outbox: Outbox) =>
      refused(sending(added(outbox, 'd', { verb: 'chat.delete', id: '1-0' }, 1), 'd'), 'd', MISSING, 1);
    const outbox = refusedDeletion(kept(said('one')));
    expect(waiting(rolledBack(outbox, 2))).toEqual(['k1', 'd']);
    // Nobody said so: the message just turns up at another place.
    const sent = acknowledged(added([], 'k1', said('one'), 0), 'k1', place('1-0'), false);
    const unseen = resumed(refusedDeletion(sent), LOG, true, 2);
    expect(waiting(unseen)).toEqual(['k1']);
    expect(waiting(acknowledged(unseen, 'k1', place('11-0'), false))).toEqual(['d']);
    // Or it does not: after a reload nobody can tell any more why nothing was there.
    const reloaded = restored([], refusedDeletion([]), 2);
    expect(waiting(reloaded)).toEqual(['d']);
    expect(refused(reloaded, 'd', MISSING, 3)).toEqual([]);
  });

  it('L8: with the acknowledgement of a deletion the texts go at once, and the deletion is still published again', () => {
    const outbox = kept(
      said('secret'),
      { verb: 'chat.edit', id: '1-0', text: 'secret, too' },
      said('other'),
      {
        verb: 'chat.delete',
        id: '1-0',
      },
    );
    expect(JSON.stringify(outbox)).not.toContain('secret');
    expect(waiting(rolledBack(outbox, 1))).toEqual(['k3', 'k4']);
  });

  it('L8: the texts go, too, when another device deleted the message', () => {
    const event = { kind: 'chat.deleted', id: '9-0', at: 0, key: 'x', by: ME, ref: '1-0' } as LogEvent;
    expect(seen(kept(said('secret')), [event], 'e', 1)).toEqual([]);
  });

  it('L8: of a kept message only the newest text is kept, whoever of one’s devices wrote it', () => {
    const outbox = kept(
      said('first'),
      { verb: 'chat.edit', id: '1-0', text: 'second' },
      {
        verb: 'chat.edit',
        id: '1-0',
        text: 'third',
      },
    );
    expect(keys(outbox)).toEqual(['k1', 'k3']);
    expect(outbox[0]?.request).toEqual(said('third'));
    const posted = { at: 0, by: ME };
    const elsewhere = {
      ...{ kind: 'chat.edited', id: '9-0', at: 0, key: 'x', by: ME },
      ...{ ref: '1-0', text: 'fourth', posted },
    } as LogEvent;
    const after = seen(outbox, [elsewhere], 'e', 1);
    expect(keys(after)).toEqual(['k1']);
    expect(after[0]?.request).toEqual(said('fourth'));
  });

  it('L5: what reached the rolled-back log before the news is not undone by what was written before it', () => {
    const changes: [Request, Request][] = [
      [
        { verb: 'chat.edit', id: '1-0', text: 'older' },
        { verb: 'chat.edit', id: '1-0', text: 'newer' },
      ],
      [
        { verb: 'chat.react', id: '1-0', emoji: '+', on: true },
        { verb: 'chat.react', id: '1-0', emoji: '+', on: false },
      ],
    ];
    for (const [older, newer] of changes) {
      const outbox = rolledBack(sending(added(kept(said('one'), older), 'n', newer, 5), 'n'), 6);
      const event = { kind: 'chat.reacted', id: '3-0', at: 0, key: 'n', by: ME, ref: '1-0' } as LogEvent;
      const after = seen(outbox, [event], 'e', 6);
      expect(waiting(after)).toEqual(['k1']);
      expect(keys(after)).toEqual(['k1', 'n']);
      const elsewhere = { verb: 'chat.react', id: '1-0', emoji: '-', on: true } as const;
      expect(keys(acknowledged(added(outbox, 'x', elsewhere, 7), 'x', place('4-0'), true))).toContain('k2');
    }
  });

  it('L3: after a day nobody knows whether it is there: it is not published again', () => {
    expect(waiting(rolledBack(kept(said('one')), KEY_LIFE_MS - 1))).toEqual(['k1']);
    expect(rolledBack(kept(said('one')), KEY_LIFE_MS)).toEqual([]);
  });

  it('L5: a reload keeps it for its time, and asks again for what the newest page does not show', () => {
    const outbox = kept(said('one'));
    expect(waiting(resumed(restored([], outbox, KEPT_MS - 1), LOG, false, KEPT_MS - 1))).toEqual(['k1']);
    expect(restored([], outbox, KEPT_MS)).toEqual([]);
  });

  it('L3, L5: two tabs that publish the same again append everything once, in order', () => {
    const turns = fc.array(fc.boolean(), { minLength: 60, maxLength: 60 });
    fc.assert(
      fc.property(turns, fc.integer({ min: 1, max: 6 }), (script, lostRequests) => {
        const server = new Server();
        let outbox: Outbox = [];
        for (let count = 0; count < 6; count++) {
          const key = `k${count}`;
          const request: Request =
            count === 3 ? { verb: 'chat.edit', id: server.model.kept[0]?.id ?? '', text: 'k0!' } : said(key);
          outbox = added(outbox, key, request, 0);
          const { id } = server.handle(ME, key, request, 0) as { id: string };
          outbox = acknowledged(outbox, key, place(id), true);
        }
        const before = server.messages;
        server.rollBack(lostRequests, 0);
        const tabs = [rolledBack(outbox, 0), rolledBack(outbox, 0)];
        for (const first of [...script, ...Array.from({ length: 20 }, (_, count) => count % 2 === 0)]) {
          const at = first ? 0 : 1;
          const tab = tabs[at] ?? [];
          const one = next(tab, 0);
          if (one === null || typeof one === 'number') continue;
          const heard = server.handle(ME, one.key, one.request, 0);
          if (!heard.ok) throw new Error(heard.error.code);
          tabs[at] = acknowledged(tab, one.key, place(heard.id), true);
        }
        expect(server.messages).toEqual(before);
      }),
    );
  });
});
