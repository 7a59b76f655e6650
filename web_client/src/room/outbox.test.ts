import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  acknowledged,
  added,
  type Entry,
  KEY_LIFE_MS,
  lost,
  next,
  type Outbox,
  refused,
  removed,
  restored,
  resumed,
  seen,
  sending,
} from './outbox';

const LIMITED = { code: 'limited', message: '', retry_ms: 500 };

/** A server that appends a key once within its memory, and a client that lives through losses, reloads and resets. */
class Story {
  outbox: Outbox = [];
  now = 0;
  /** What the server has, in its order; `forgotten` keys are older than its memory. */
  log: { key: string; at: number }[] = [];
  #seenUpTo = 0;
  #written = 0;
  #appendOrder: string[] = [];
  #inFlight: Entry | null = null;
  readonly taken: string[] = [];

  write(): void {
    const key = `k${this.#written++}`;
    this.taken.push(key);
    this.outbox = added(this.outbox, key, { verb: 'chat.send', text: key }, this.now);
  }

  send(): void {
    const entry = next(this.outbox, this.now);
    if (entry === null || typeof entry === 'number') return;
    this.outbox = sending(this.outbox, entry.key);
    this.#inFlight = entry;
  }

  /** The request reaches the server; whether its answer comes back is another matter. */
  arrive(answered: boolean, refuse: boolean): void {
    const entry = this.#inFlight;
    if (!entry) return;
    this.#inFlight = null;
    if (refuse) {
      this.outbox = answered ? refused(this.outbox, entry.key, LIMITED, this.now) : lost(this.outbox);
      return;
    }
    const known = this.log.find(({ key, at }) => key === entry.key && this.now - at < KEY_LIFE_MS);
    if (!known) {
      this.log.push({ key: entry.key, at: this.now });
      this.#appendOrder.push(entry.key);
    }
    this.outbox = answered
      ? acknowledged(this.outbox, entry.key, `${this.log.length}-0`, this.now)
      : lost(this.outbox);
  }

  push(): void {
    const event = this.log[this.#seenUpTo];
    if (!event) return;
    this.#seenUpTo += 1;
    this.outbox = seen(this.outbox, new Set([event.key]));
  }

  reconnect(continuous: boolean, reload: boolean): void {
    this.#inFlight = null;
    this.outbox = lost(this.outbox);
    if (reload) {
      const disk = this.outbox.filter(({ status }) => status.kind !== 'sent');
      this.outbox = restored(
        [],
        disk.map((entry) => ({ ...entry, status: { kind: 'waiting', notBefore: 0 } })),
      );
    }
    const wholly = continuous && !reload;
    // After a reset or a reload only the newest page is read; the entries before it stay unseen.
    const page = wholly ? this.log.slice(this.#seenUpTo) : this.log.slice(-1);
    this.outbox = seen(this.outbox, new Set(page.map(({ key }) => key)));
    this.#seenUpTo = this.log.length;
    this.outbox = resumed(this.outbox, wholly, this.now);
  }

  get order(): string[] {
    return this.#appendOrder;
  }
}

const acts = fc.oneof(
  fc.constant({ do: 'write' as const }),
  fc.constant({ do: 'send' as const }),
  fc.record({ do: fc.constant('arrive' as const), answered: fc.boolean(), refuse: fc.boolean() }),
  fc.constant({ do: 'push' as const }),
  fc.record({ do: fc.constant('reconnect' as const), continuous: fc.boolean(), reload: fc.boolean() }),
  fc.record({
    do: fc.constant('wait' as const),
    ms: fc.constantFrom(100, 1_000, KEY_LIFE_MS / 2, KEY_LIFE_MS),
  }),
);

describe('L3: the outbox', () => {
  it('loses nothing and doubles nothing, whatever the order of answers, pushes, losses, reloads and resets', () => {
    fc.assert(
      fc.property(fc.array(acts, { maxLength: 80 }), (script) => {
        const story = new Story();
        for (const act of script) {
          if (act.do === 'write') story.write();
          else if (act.do === 'send') story.send();
          else if (act.do === 'arrive') story.arrive(act.answered, act.refuse);
          else if (act.do === 'push') story.push();
          else if (act.do === 'reconnect') story.reconnect(act.continuous, act.reload);
          else story.now += act.ms;
          const at_server = new Set(story.log.map(({ key }) => key));
          const here = new Set(story.outbox.map(({ key }) => key));
          for (const key of story.taken) expect(at_server.has(key) || here.has(key)).toBe(true);
        }
        story.reconnect(true, false);
        for (let round = 0; round < story.taken.length + 1; round++) {
          story.now += 1_000;
          story.send();
          story.arrive(true, false);
          story.push();
        }
        const left = story.outbox.filter(({ status }) => status.kind !== 'stale');
        expect(left).toEqual([]);
        // Not sent again after the server forgot the key: its author is asked.
        expect(new Set(story.order).size).toBe(story.order.length);
      }),
      { numRuns: 500 },
    );
  });

  it('L3: hands out one request at a time, in the order of writing', () => {
    let outbox = added(
      added([], 'a', { verb: 'chat.send', text: 'a' }, 0),
      'b',
      { verb: 'chat.send', text: 'b' },
      0,
    );
    expect((next(outbox, 0) as Entry).key).toBe('a');
    outbox = sending(outbox, 'a');
    expect(next(outbox, 0)).toBe(null);
    outbox = acknowledged(outbox, 'a', '1-0', 1);
    expect((next(outbox, 0) as Entry).key).toBe('b');
  });

  it('T5: limited waits as long as the server says, and nothing overtakes', () => {
    let outbox = added(
      added([], 'a', { verb: 'chat.send', text: 'a' }, 0),
      'b',
      { verb: 'chat.send', text: 'b' },
      0,
    );
    outbox = refused(sending(outbox, 'a'), 'a', LIMITED, 1_000);
    expect(next(outbox, 1_000)).toBe(1_500);
    expect((next(outbox, 1_500) as Entry).key).toBe('a');
  });

  it('T5: a refusal for good stays for its author to see, and the next goes on', () => {
    let outbox = added(
      added([], 'a', { verb: 'chat.send', text: 'a' }, 0),
      'b',
      { verb: 'chat.send', text: 'b' },
      0,
    );
    outbox = refused(sending(outbox, 'a'), 'a', { code: 'too_large', message: '' }, 0);
    expect(outbox[0]?.status.kind).toBe('failed');
    expect((next(outbox, 0) as Entry).key).toBe('b');
    expect(removed(outbox, 'a')).toHaveLength(1);
  });

  it('L3: older than 24 h and unseen after a reset is shown to its author, not sent', () => {
    const outbox = resumed(added([], 'a', { verb: 'chat.send', text: 'a' }, 0), false, KEY_LIFE_MS);
    expect(outbox[0]?.status.kind).toBe('stale');
    expect(next(outbox, KEY_LIFE_MS)).toBe(null);
  });

  it('L3: older than 24 h but watched all the time is sent', () => {
    const outbox = resumed(added([], 'a', { verb: 'chat.send', text: 'a' }, 0), true, KEY_LIFE_MS);
    expect((next(outbox, KEY_LIFE_MS) as Entry).key).toBe('a');
  });
});
