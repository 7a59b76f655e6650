/** The room as it lives: the connection feeds the pure state, the outbox is emptied into the connection. */
import { LiveCall } from '../call/live.svelte';
import type { Verdict } from '../call/network_check';
import type { OwnMedia } from '../devices/own_media.svelte';
import { Connection, type ConnectionState, type Identity } from '../protocol/connection';
import { newDevice, newKey } from '../protocol/identity';
import { type Answer, type Push, retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { LogEvent, Refusal, Session } from '../protocol/wire';
import { compareIds } from './ids';
import { fold, type Line, withOutbox } from './messages';
import {
  acknowledged,
  added,
  full,
  lost,
  next,
  type Outbox,
  type Request,
  refused,
  removed,
  restored,
  resumed,
  rolledBack,
  seen,
  sending,
} from './outbox';
import { OutboxStore } from './outbox_store';
import { type Change, type Changed, change, currentOf, type SessionVerb } from './session_requests';
import {
  cursorOf,
  isSessionEvent,
  joined,
  loggedPush,
  pagedBack,
  pagedForward,
  peerChanged,
  personChanged,
  type RoomState,
  readChanged,
  type SessionEvent,
  sessionAnswered,
  zoneChanged,
} from './state';

/** The first page: a screen or two. */
const FIRST_PAGE = 50;
/** Catching up and scrolling back: the most that an answer may hold (L5). */
const FULL_PAGE = 200;
const OLDER_PAGE = 100;
/** L10: the server forgets it by itself after this time, and so do we. */
const TYPING_MS = 6_000;
/** A typist says so again before it lapses. */
const TYPING_AGAIN_MS = 3_000;
const READ_MS = 400;
/** A gap right after a gap: the server is asked again, but not in a loop. */
const GAP_PAUSE_MS = 500;

/** A change of a session whose answer got lost waits so long for the room to be there again. */
const BACK_MS = 30_000;

/** Heard just now; what is read of the past is no news. */
export type News = { kind: 'session'; event: SessionEvent } | { kind: 'knock'; by: string };

export type RoomProblem = { code: string; message: string };

export class LiveRoom {
  state = $state.raw<RoomState | null>(null);
  outbox = $state.raw<Outbox>([]);
  link = $state.raw<ConnectionState>({ kind: 'connecting' });
  typing = $state.raw<readonly string[]>([]);
  /** The room is joined on the present connection. */
  entered = $state(false);
  problem = $state.raw<RoomProblem | null>(null);
  loadingOlder = $state(false);
  news = $state.raw<News | null>(null);
  readonly call: LiveCall;

  readonly lines: Line[] = $derived.by(() => {
    if (!this.state) return [];
    const { events, older } = this.state.log;
    return fold(events, older);
  });
  /** With one's own unacknowledged words and changes. */
  readonly conversation: Line[] = $derived(withOutbox(this.lines, this.outbox, this.state?.you.person ?? ''));

  #slug: string;
  #identity: Identity;
  #connection: Connection;
  #store: OutboxStore | null = null;
  #saving: Promise<void> = Promise.resolve();
  /** Pushes that came while `room.join` was being answered: they count after the snapshot. */
  #early: Push[] | null = null;
  #ready = false;
  /** How often the log was rolled back: an acknowledgement from before says nothing about what is there now (L5). */
  #rollbacks = 0;
  #outboxTimer: ReturnType<typeof setTimeout> | undefined;
  #typingTimers = new Map<string, ReturnType<typeof setTimeout>>();
  #typingSaidAt = 0;
  #typingStop: ReturnType<typeof setTimeout> | undefined;
  #readTimer: ReturnType<typeof setTimeout> | undefined;
  #readSaid: string | null = null;
  #waitingForRoom = new Set<(back: boolean) => void>();
  /** Counts the visits to the room, so that what an older one still awaited is not applied. */
  #visit = 0;

  constructor(slug: string, identity: Identity, own: OwnMedia) {
    this.#slug = slug;
    this.#identity = identity;
    this.#connection = new Connection(slug, identity);
    this.call = new LiveCall(slug, this.#connection, own);
    this.#connection.onState = (state) => this.#linkChanged(state);
    this.#connection.onPush = (push) => this.#hear(push);
  }

  start(): void {
    this.call.resumeFormer();
    this.#connection.start();
  }

  close(): void {
    this.call.close();
    this.#connection.close();
  }

  /** R3: this tab takes over again after another one replaced it. */
  useHere(): void {
    this.#identity = { ...this.#identity, device: newDevice() };
    this.#connection.resume(this.#identity);
  }

  /** What will work from here; loaded when somebody asks. Rejects when it is aborted. */
  async checkNetwork(signal: AbortSignal): Promise<Verdict> {
    const { checkNetwork } = await import('../call/echo_check');
    return checkNetwork(this.#slug, this.#connection, signal);
  }

  // Entering the room

  #linkChanged(state: ConnectionState): void {
    this.link = state;
    this.entered = false;
    this.#ready = false;
    this.#visit++;
    if (state.kind === 'online') {
      void this.#enter(this.#visit);
      return;
    }
    this.#setOutbox(lost(this.outbox));
    this.#early = null;
    this.#forgetTyping();
    if (state.kind === 'stopped') this.call.dispatch({ on: 'stopped', why: state.why });
    else this.call.dispatch({ on: 'offline' });
  }

  async #enter(visit: number, withCursor = true): Promise<void> {
    this.#early = [];
    this.#ready = false;
    const cursor = withCursor && this.state ? cursorOf(this.state.log) : null;
    const limit = cursor ? FULL_PAGE : FIRST_PAGE;
    const answer = await this.#connection.ask('room.join', {
      room: this.#slug,
      limit,
      ...(cursor ? { cursor } : {}),
    });
    if (visit !== this.#visit) return;
    if (!answer.ok) {
      if (answer.lost) return;
      if (worthRetrying(answer.error))
        setTimeout(() => visit === this.#visit && this.#enter(visit, withCursor), retryDelayMs(answer.error));
      else this.#fail(answer.error);
      return;
    }
    const before = this.state;
    const continuous = before !== null && cursor !== null && answer.log.reset === null;
    this.state = joined(before, answer, cursor);
    if (this.#store === null) await this.#restoreOutbox(this.state.you.person);
    if (visit !== this.#visit) return;
    this.entered = true;
    for (const back of this.#waitingForRoom) back(true);
    this.call.dispatch({ on: 'joined', answer });
    const early = this.#early ?? [];
    this.#early = null;
    if (answer.log.reset === 'diverged') this.#rollBack();
    for (const push of early) this.#hear(push);
    await this.#catchUp(visit);
    if (visit !== this.#visit || this.state.log.mode === 'gap') return;
    this.#see(this.state.log.events);
    this.#setOutbox(resumed(this.outbox, this.state.log, continuous, Date.now()));
    this.#ready = true;
    void this.#pump();
  }

  /** L5, L6: page by page to the head. Nothing of the outbox is sent before (L3). */
  async #catchUp(visit: number): Promise<void> {
    while (this.state?.log.mode === 'catching_up') {
      const after = this.state.log.tail?.id;
      const answer = await this.#connection.ask('log.page', {
        room: this.#slug,
        limit: FULL_PAGE,
        ...(after ? { after } : {}),
      });
      if (visit !== this.#visit || !this.state) return;
      if (answer.ok) {
        this.state = pagedForward(this.state, answer);
        this.#see(answer.events);
      } else if (!answer.lost && worthRetrying(answer.error)) {
        await new Promise((resolve) => setTimeout(resolve, retryDelayMs(answer.error)));
        if (visit !== this.#visit) return;
      } else return;
    }
    if (this.state?.log.mode === 'gap') this.#reenter(true);
  }

  #reenter(withCursor: boolean): void {
    const visit = ++this.#visit;
    this.#ready = false;
    setTimeout(
      () => visit === this.#visit && this.link.kind === 'online' && this.#enter(visit, withCursor),
      withCursor ? GAP_PAUSE_MS : 0,
    );
  }

  #fail(error: Refusal): void {
    this.problem = { code: error.code, message: error.message };
    this.#connection.close();
  }

  // Pushes

  #hear(push: Push): void {
    if ('room' in push.body && push.body.room && push.body.room !== this.#slug) return;
    if (this.#hearAtOnce(push)) return;
    const { state } = this;
    if (this.#early !== null || state === null) {
      this.#early?.push(push);
      return;
    }
    switch (push.name) {
      case 'log':
        this.#logged(state, push.body);
        break;
      case 'peer': {
        const { room: _, ...peer } = push.body;
        this.state = peerChanged(state, push.body);
        this.call.dispatch({ on: 'peer', peer });
        break;
      }
      case 'person':
        this.state = personChanged(state, push.body);
        this.call.dispatch({ on: 'person', person: push.body.person, online: push.body.online });
        break;
      case 'read':
        this.state = readChanged(state, push.body.person, push.body.id);
        break;
      case 'typing':
        this.#setTyping(push.body.person, push.body.on);
        break;
      case 'session.knock':
        if (push.body.by !== state.you.person) this.news = { kind: 'knock', by: push.body.by };
        break;
    }
  }

  /** The call's own pushes wait for no snapshot: the machine holds what comes too early. */
  #hearAtOnce(push: Push): boolean {
    switch (push.name) {
      case 'call.signal':
        this.call.dispatch({ on: 'signal', signal: push.body });
        return true;
      case 'call.ring':
        this.call.dispatch({ on: 'ring', call: push.body.call, by: push.body.by });
        return true;
      case 'call.quiet':
        this.call.dispatch({ on: 'quiet', call: push.body.call, reason: push.body.reason });
        return true;
      case 'call.moved':
        this.call.dispatch({ on: 'moved', call: push.body.call });
        return true;
      case 'revoked':
        this.#fail({ code: 'not_found', message: '' });
        return true;
      case 'reset':
        if (push.body.reason === 'diverged') this.#rollBack();
        // What is still on its way was said about a log that is not there any more.
        this.#early = [];
        this.#reenter(false);
        return true;
      default:
        return false;
    }
  }

  #logged(state: RoomState, event: LogEvent): void {
    this.state = loggedPush(state, event);
    if (event.kind === 'chat.posted') this.#setTyping(event.by, false);
    if (this.state.log.tail?.id === event.id) {
      this.#see([event]);
      if (isSessionEvent(event)) this.news = { kind: 'session', event };
    }
    if (this.state.log.mode === 'gap' && state.log.mode !== 'gap') this.#reenter(true);
  }

  #setTyping(person: string, on: boolean): void {
    if (person === this.state?.you.person) return;
    clearTimeout(this.#typingTimers.get(person));
    this.#typingTimers.delete(person);
    const others = this.typing.filter((known) => known !== person);
    if (on)
      this.#typingTimers.set(
        person,
        setTimeout(() => this.#setTyping(person, false), TYPING_MS),
      );
    if (on || others.length !== this.typing.length) this.typing = on ? [...others, person] : others;
  }

  #forgetTyping(): void {
    for (const person of this.typing) this.#setTyping(person, false);
    this.#typingSaidAt = 0;
  }

  // The outbox

  async #restoreOutbox(person: string): Promise<void> {
    this.#store = new OutboxStore(this.#slug, person);
    const disk = await this.#store.load();
    const after = restored(this.outbox, disk, Date.now());
    this.outbox = after;
    this.#save(disk, after);
  }

  /** Written down, shown, and sent as soon as possible. False if the outbox is full. */
  say(request: Request): boolean {
    if (full(this.outbox)) return false;
    this.#setOutbox(added(this.outbox, newKey(), request, Date.now()));
    if (request.verb === 'chat.send') this.stopTyping();
    void this.#pump();
    return true;
  }

  discard(key: string): void {
    this.#setOutbox(removed(this.outbox, key));
    void this.#pump();
  }

  /** What is in the log needs no sending any more, and what was deleted is nowhere, not even on the disk (L8). */
  #see(events: LogEvent[]): void {
    this.#settle(events);
    this.#forget(this.#own(events).flatMap((event) => (event.kind === 'chat.deleted' ? [event.ref] : [])));
  }

  #settle(events: LogEvent[]): void {
    if (this.state) this.#setOutbox(seen(this.outbox, this.#own(events), this.state.log.epoch, Date.now()));
  }

  /** Somebody else's event with the key of one's own proves nothing. */
  #own(events: LogEvent[]): LogEvent[] {
    return events.filter(({ by }) => by === this.state?.you.person);
  }

  /** L5: the end of the log is gone. What may have gone with it is published again, before anything that waits. */
  #rollBack(): void {
    this.#rollbacks++;
    this.#setOutbox(rolledBack(this.outbox, Date.now()));
  }

  #setOutbox(after: Outbox): void {
    const before = this.outbox;
    if (before === after) return;
    this.outbox = after;
    this.#save(before, after);
  }

  #save(before: Outbox, after: Outbox): void {
    this.#saving = this.#saving.then(() => this.#store?.save(before, after));
  }

  #forget(refs: readonly string[]): void {
    if (refs.length > 0) this.#saving = this.#saving.then(() => this.#store?.forget(refs));
  }

  async #pump(): Promise<void> {
    clearTimeout(this.#outboxTimer);
    if (!this.#ready) return;
    const visit = this.#visit;
    const now = Date.now();
    const entry = next(this.outbox, now);
    if (entry === null) return;
    if (typeof entry === 'number') {
      this.#outboxTimer = setTimeout(() => this.#pump(), entry - now);
      return;
    }
    const { key, request } = entry;
    const rollbacks = this.#rollbacks;
    this.#setOutbox(sending(this.outbox, key));
    const answer = await this.#ask(key, request);
    if (rollbacks === this.#rollbacks) this.#answered(key, request, answer, visit);
    void this.#pump();
  }

  #answered(key: string, request: Request, answer: Answer<Request['verb']>, visit: number): void {
    const log = this.state?.log;
    if (answer.ok && log) {
      const { id, at } = answer;
      const place = { id, at, epoch: log.epoch, heardAt: Date.now() };
      const passed = log.tail !== null && compareIds(id, log.tail.id) <= 0;
      this.#setOutbox(acknowledged(this.outbox, key, place, passed));
      if (request.verb === 'chat.delete') this.#forget([request.id]);
    } else if (!answer.ok && !answer.lost)
      this.#setOutbox(refused(this.outbox, key, answer.error, Date.now()));
    else if (visit === this.#visit) this.#setOutbox(lost(this.outbox));
    // The event may have overtaken its acknowledgement.
    if (log) this.#settle(log.events.slice(-FULL_PAGE));
  }

  #ask(key: string, request: Request) {
    const room = this.#slug;
    switch (request.verb) {
      case 'chat.send': {
        const { verb, text, reply_to } = request;
        return this.#connection.ask(verb, { room, key, text, ...(reply_to ? { reply_to } : {}) });
      }
      case 'chat.edit': {
        const { verb, id, text } = request;
        return this.#connection.ask(verb, { room, key, id, text });
      }
      case 'chat.delete': {
        const { verb, id } = request;
        return this.#connection.ask(verb, { room, key, id });
      }
      case 'chat.react': {
        const { verb, id, emoji, on } = request;
        return this.#connection.ask(verb, { room, key, id, emoji, on });
      }
    }
  }

  // Reading and typing

  async loadOlder(): Promise<void> {
    const { state } = this;
    if (!state?.log.older || this.loadingOlder || this.link.kind !== 'online') return;
    this.loadingOlder = true;
    const before = state.log.events[0]?.id;
    const resets = state.log.resets;
    const answer = await this.#connection.ask('log.page', {
      room: this.#slug,
      limit: OLDER_PAGE,
      ...(before ? { before } : {}),
    });
    if (answer.ok && this.state && this.state.log.resets === resets) {
      this.state = pagedBack(this.state, answer);
    }
    this.loadingOlder = false;
  }

  /** L10: everything up to the newest entry was on the screen of somebody who looked at it. */
  markRead(): void {
    const { state } = this;
    const tail = state?.log.tail?.id;
    if (!state || !tail || !this.#ready) return;
    const mine = state.people.find(({ person }) => person === state.you.person)?.read ?? null;
    const known = [mine, this.#readSaid].filter((id) => id !== null);
    if (known.some((id) => compareIds(id, tail) >= 0)) return;
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(async () => {
      const answer = await this.#connection.ask('chat.read', { room: this.#slug, id: tail });
      if (answer.ok && (this.#readSaid === null || compareIds(this.#readSaid, tail) < 0))
        this.#readSaid = tail;
    }, READ_MS);
  }

  type(): void {
    clearTimeout(this.#typingStop);
    this.#typingStop = setTimeout(() => this.stopTyping(), TYPING_AGAIN_MS);
    const now = Date.now();
    if (!this.#ready || now - this.#typingSaidAt < TYPING_AGAIN_MS) return;
    this.#typingSaidAt = now;
    void this.#connection.ask('chat.typing', { room: this.#slug, on: true });
  }

  stopTyping(): void {
    clearTimeout(this.#typingStop);
    if (this.#typingSaidAt === 0) return;
    this.#typingSaidAt = 0;
    if (this.#ready) void this.#connection.ask('chat.typing', { room: this.#slug, on: false });
  }

  // Sessions

  /** A change of a session, carried out once however often it has to be asked for. `seen`: as the person saw it. */
  async changeSession(seen: Session, wanted: Change): Promise<Changed> {
    const way = {
      ask: (asked: Change): Promise<Answer<SessionVerb>> => {
        const { verb, ...fields } = asked;
        return this.#connection.ask(verb, { room: this.#slug, ...fields });
      },
      back: () => this.#back(),
      pause: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
    };
    const changed = await change(way, this.state?.you.person ?? '', seen, wanted);
    if (this.state) {
      const current = changed.ok ? changed.session : currentOf(changed.error, seen);
      if (current !== null) this.state = sessionAnswered(this.state, current);
    }
    return changed;
  }

  /** Tells the other side that one is here. Null: done; else why not. */
  async knock(): Promise<Refusal | null> {
    const answer = await this.#connection.ask('session.knock', { room: this.#slug });
    return answer.ok ? null : answer.error;
  }

  /** The profile has another time zone now. */
  liveIn(tz: string): void {
    if (this.state) this.state = zoneChanged(this.state, this.state.you.person, tz);
  }

  #back(): Promise<boolean> {
    if (this.entered) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (back: boolean) => {
        clearTimeout(timer);
        this.#waitingForRoom.delete(done);
        resolve(back);
      };
      const timer = setTimeout(() => done(false), BACK_MS);
      this.#waitingForRoom.add(done);
    });
  }
}
