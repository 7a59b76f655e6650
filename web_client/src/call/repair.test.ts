/**
 * Two call machines, a server and a network, simulated: whatever happens to the paths and the sockets, both end connected
 * in bounded time and with a bounded number of requests. The connections are modelled as browsers behave: a path that
 * broke for less than ICE's patience heals by itself, a changed network needs a restart, a failed one a new connection.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Joined, PeerShown } from '../protocol/wire';
import { step } from './machine';
import { type CallState, type Effect, type Flow, type Input, initialCall, type Link, linksOf } from './state';
import { shown, told } from './told';
import { DOUBT_MS, SILENT_MS } from './watchdog';

const SEEN = { audio: true, video: true, screen: false };
const PEER_GRACE_MS = 30_000;
const ICE_PATIENCE_MS = 15_000;
const SETUP_MS = 300;
const HOP_MS = 40;

class Side {
  state: CallState = initialCall;
  /** Sockets: the side can reach the server / the server knows. */
  reachable = true;
  presence: PeerShown['state'] = 'here';
  leg = 0;
  inCall = false;
  joins = 0;
  restarts = 0;
  other!: Side;
  timers = new Map<string, number>();
  /** A restart or first offer that the other side has not heard yet. */
  held = false;

  constructor(
    readonly peer: string,
    readonly person: 'mentor' | 'mentee',
  ) {}

  get link(): Link | undefined {
    return linksOf(this.state)[0];
  }

  get shown(): PeerShown {
    const { peer, person, presence, leg, inCall } = this;
    return { peer, person, device: peer, state: presence, leg, media: inCall ? SEEN : null };
  }
}

class World {
  now = 0;
  a = new Side('a', 'mentor');
  b = new Side('b', 'mentee');
  #events: { at: number; order: number; act: () => void }[] = [];
  #order = 0;
  #pathUp = true;
  /** Grows when a side changes its network: connections of an older one need a restart. */
  #network = 0;
  /** The network on which the present connection of both legs stands; null before it does. */
  #standsOn: number | null = null;
  #failed = false;

  constructor() {
    this.a.other = this.b;
    this.b.other = this.a;
    for (const side of [this.a, this.b]) this.#rejoin(side);
    this.dispatch(this.a, { on: 'press_join' });
    this.dispatch(this.b, { on: 'press_join' });
  }

  later(ms: number, act: () => void): number {
    const order = this.#order++;
    this.#events.push({ at: this.now + ms, order, act });
    return order;
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      this.#events.sort((x, y) => x.at - y.at || x.order - y.order);
      const next = this.#events[0];
      if (!next || next.at > end) break;
      this.#events.shift();
      this.now = next.at;
      next.act();
    }
    this.now = end;
  }

  // What happens to them

  cut(ms: number): void {
    this.#pathUp = false;
    this.#pathChanged();
    this.later(ms, () => {
      this.#pathUp = true;
      this.#pathChanged();
    });
  }

  switchNetwork(side: Side, ms: number): void {
    this.#network++;
    this.#pathChanged();
    this.socketDown(side, ms);
  }

  socketDown(side: Side, ms: number): void {
    if (!side.reachable) return;
    side.reachable = false;
    this.dispatch(side, { on: 'offline' });
    this.later(HOP_MS, () => this.#presence(side, 'away'));
    const gone = this.later(PEER_GRACE_MS, () => !side.reachable && this.#presence(side, 'gone'));
    this.later(ms, () => {
      this.#events = this.#events.filter(({ order }) => order !== gone);
      side.reachable = true;
      this.#rejoin(side);
    });
  }

  // The server

  #rejoin(side: Side): void {
    const { other } = side;
    if (side.presence === 'gone') side.inCall = false;
    this.#presence(side, 'here');
    const answer = {
      ok: true,
      you: { ...side.shown, role: side.person, polite: side.person === 'mentee' },
      room: { slug: 'r', title: '' },
      people: [side, other].map(({ person }) => ({
        person,
        name: '',
        role: person,
        tz: 'UTC',
        online: true,
        read: null,
      })),
      peers: other.presence === 'gone' ? [] : [other.shown],
      call: side.inCall || other.inCall || side.leg > 0 ? { id: 'c', since: 0 } : null,
      session: null,
      log: { epoch: 'e', head: null, events: [], more: false, reset: null },
      ice: { servers: [], policy: 'all', expires_at: 0 },
    } as unknown as Joined;
    this.dispatch(side, { on: 'joined', answer });
    for (const one of [side, other]) this.#deliverHeld(one);
  }

  #presence(side: Side, presence: PeerShown['state']): void {
    if (side.presence === presence && presence !== 'here') return;
    side.presence = presence;
    this.#tell(side);
  }

  #tell(side: Side): void {
    const peer = side.shown;
    this.later(HOP_MS, () => side.other.reachable && this.dispatch(side.other, { on: 'peer', peer }));
  }

  #join(side: Side, { ask, leg }: Extract<Effect, { do: 'join' }>): void {
    side.joins++;
    this.later(HOP_MS, () => {
      if (!side.reachable) return;
      const keeps = leg !== null && leg === side.leg;
      if (!keeps) side.leg++;
      side.inCall = true;
      this.#tell(side);
      const peers = side.other.inCall && side.other.presence !== 'gone' ? [side.other.shown] : [];
      const answer = { ok: true as const, call: 'c', leg: side.leg, peers: peers as never };
      this.dispatch(side, { on: 'join_ok', ask, answer });
    });
  }

  // The connections

  /** Both have opened a connection to the present leg of the other. */
  get #matched(): boolean {
    const { a, b } = this;
    return a.link?.leg === b.leg && b.link?.leg === a.leg;
  }

  get #flows(): boolean {
    return this.#pathUp && this.#matched && !this.#failed && this.#standsOn === this.#network;
  }

  #offer(side: Side): void {
    side.held = true;
    this.#deliverHeld(side);
  }

  #deliverHeld(side: Side): void {
    if (!side.held) return;
    this.later(SETUP_MS, () => {
      if (!side.held || !side.reachable || !side.other.reachable || !this.#matched) return;
      side.held = false;
      for (const one of [side, side.other]) this.#signal(one);
      if (this.#failed && this.#standsOn !== null) return;
      this.#standsOn = this.#network;
      this.#pathChanged();
    });
  }

  /** The offer, or its answer. */
  #signal({ peer: from, leg: from_leg, other }: Side): void {
    const to_leg = other.leg;
    const signal = { room: 'r', call: 'c', from, from_leg, to_leg, seq: 1, gen: 0, candidates: [] };
    this.dispatch(other, { on: 'signal', signal });
  }

  #pathChanged(): void {
    if (this.#flows) {
      for (const side of [this.a, this.b]) this.#flow(side, 'flowing');
      return;
    }
    const network = this.#network;
    const check = (ms: number, flow: Flow) =>
      this.later(ms, () => {
        if (this.#flows || this.#standsOn === null || network !== this.#network) return;
        if (flow === 'failed') this.#failed = true;
        for (const side of [this.a, this.b]) this.#flow(side, flow);
      });
    check(DOUBT_MS, 'doubtful');
    check(SILENT_MS, 'interrupted');
    check(ICE_PATIENCE_MS, 'failed');
  }

  #flow(side: Side, flow: Flow): void {
    const { link } = side;
    if (link) this.dispatch(side, { on: 'flow', peer: link.peer, leg: link.leg, flow });
  }

  dispatch(side: Side, input: Input): void {
    const [next, effects] = step(side.state, input);
    side.state = next;
    for (const effect of effects) this.#carryOut(side, effect);
  }

  #carryOut(side: Side, effect: Effect): void {
    switch (effect.do) {
      case 'join':
        this.#join(side, effect);
        break;
      case 'open':
        this.#standsOn = null;
        this.#failed = false;
        this.#offer(side);
        break;
      case 'close':
        side.held = false;
        break;
      case 'restart':
        side.restarts++;
        this.#offer(side);
        break;
      case 'release':
        this.#deliverHeld(side);
        break;
      case 'timer': {
        const { name, ms } = effect;
        const order = this.later(
          ms,
          () => side.timers.delete(name) && this.dispatch(side, { on: 'timer', name }),
        );
        this.#cancel(side, name);
        side.timers.set(name, order);
        break;
      }
      case 'cancel':
        this.#cancel(side, effect.name);
        break;
    }
  }

  #cancel(side: Side, name: string): void {
    const known = side.timers.get(name);
    side.timers.delete(name);
    this.#events = this.#events.filter(({ order }) => order !== known);
  }
}

type Trouble = { kind: 'cut'; ms: number } | { kind: 'switch' | 'socket'; who: 'a' | 'b'; ms: number };

const anyTrouble: fc.Arbitrary<Trouble> = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), ms: fc.integer({ min: 100, max: 70_000 }) }),
  fc.record({
    kind: fc.constantFrom('switch' as const, 'socket' as const),
    who: fc.constantFrom('a' as const, 'b' as const),
    ms: fc.integer({ min: 50, max: 120_000 }),
  }),
);

function befall(world: World, trouble: Trouble): void {
  if (trouble.kind === 'cut') world.cut(trouble.ms);
  else if (trouble.kind === 'switch') world.switchNetwork(world[trouble.who], trouble.ms);
  else world.socketDown(world[trouble.who], trouble.ms);
}

/** Both connected; returns how many simulated milliseconds that took. */
function connectedWithin(world: World, ms: number): number {
  const began = world.now;
  while (world.now - began < ms) {
    if (shown(world.a.state) === 'connected' && shown(world.b.state) === 'connected')
      return world.now - began;
    world.run(50);
  }
  throw new Error(`not connected after ${ms} ms: ${told(world.a.state).kind}, ${told(world.b.state).kind}`);
}

describe('the call repairs itself', () => {
  it('two who join are connected', () => {
    expect(connectedWithin(new World(), 5_000)).toBeLessThan(1_000);
  });

  it('another network: one new connection as soon as the socket is back', () => {
    const world = new World();
    connectedWithin(world, 5_000);
    world.switchNetwork(world.b, 700);
    world.run(1_600);
    expect(shown(world.a.state)).toBe('connected');
    expect(world.a.joins + world.b.joins).toBe(3);
    expect(told(world.a.state).kind).toBe('connected');
  });

  it('K5: an outage of the server, however long, never touches media that flows', () => {
    const world = new World();
    connectedWithin(world, 5_000);
    world.socketDown(world.a, 120_000);
    world.socketDown(world.b, 120_000);
    world.run(119_000);
    expect(shown(world.a.state)).toBe('connected');
    world.run(5_000);
    expect(shown(world.a.state)).toBe('connected');
    expect(world.a.restarts + world.b.restarts).toBe(0);
  });

  it('a path that stays dead: attempts are bounded, and both are told', () => {
    const world = new World();
    connectedWithin(world, 5_000);
    world.cut(1_800_000);
    world.run(1_790_000);
    for (const side of [world.a, world.b]) {
      expect(side.joins, 'half an hour').toBeLessThan(60);
      expect(side.restarts).toBeLessThan(60);
      expect(['reconnecting', 'partner_reconnecting', 'connecting']).toContain(told(side.state).kind);
    }
  });

  it('whatever happens to paths and sockets, both end connected, in bounded time and with a bounded number of requests', () => {
    const troubles = fc.array(
      fc.record({ afterMs: fc.integer({ min: 0, max: 20_000 }), trouble: anyTrouble }),
      {
        maxLength: 8,
      },
    );
    fc.assert(
      fc.property(troubles, (all) => {
        const world = new World();
        world.run(1_000);
        for (const { afterMs, trouble } of all) {
          befall(world, trouble);
          world.run(afterMs);
        }
        world.run(130_000); // everything is up again
        connectedWithin(world, 90_000);
        const asked = world.a.joins + world.b.joins + world.a.restarts + world.b.restarts;
        expect(asked).toBeLessThan(40 + 20 * all.length);
      }),
      { numRuns: 300 },
    );
  });
});
