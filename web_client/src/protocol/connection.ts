/**
 * The socket as the rest of the client sees it: a state, requests with one answer each, and pushes.
 *
 * Every attempt is a new Socket.IO socket; the reconnect policy is ours (`reconnection: false`). Nothing is queued
 * here: a request made while there is no connection is answered `unavailable` at once, and what must not be lost waits
 * in the outbox.
 */
import { io, type Socket } from 'socket.io-client';
import * as parser from 'socket.io-msgpack-parser';
import { cappedBackoff, type ReconnectPolicy, URGENT } from './reconnect';
import {
  type Answer,
  type Command,
  type Push,
  type PushName,
  retryDelayMs,
  type Verb,
  worthRetrying,
} from './verbs';
import type { GoawayPush, Refusal, ReplacedPush, RevokedPush } from './wire';

export type ConnectionState =
  | { kind: 'connecting' }
  | { kind: 'online' }
  | { kind: 'offline'; attempt: number }
  /** It does not come back by itself: somebody has to decide (`resume`). */
  | { kind: 'stopped'; why: 'replaced' | 'revoked' | 'refused'; code: string; message: string };

export interface Identity {
  device: string;
  login: string | null;
}

/** An answer that takes longer than this will not come: the link is dead, even if nobody has said so yet. */
const ANSWER_MS = 10_000;
/** A connection that is not there by then is tried again, with the other transport first. */
const CONNECT_MS = 5_000;
/**
 * How long a live link may take to answer when there is reason to doubt it (a network change, waking up, a silent
 * call): a few of its round trips, within these bounds. Connecting anew in vain costs four of them and loses nothing.
 */
const PROBE_ROUND_TRIPS = 2;
const PROBE_MIN_MS = 150;
const PROBE_MAX_MS = 3_000;

const LOST: Refusal = { code: 'unavailable', message: 'There is no connection to the server at the moment.' };
const PUSHES: ReadonlySet<string> = new Set<PushName>([
  'log',
  'peer',
  'person',
  'typing',
  'read',
  'call.ring',
  'call.quiet',
  'call.moved',
  'call.signal',
  'session.knock',
  'reset',
  'replaced',
  'revoked',
  'goaway',
]);

export class Connection {
  state: ConnectionState = { kind: 'connecting' };
  onState: (state: ConnectionState) => void = () => {};
  onPush: (push: Push) => void = () => {};
  /** A call stands still until there is a connection. */
  urgent = false;
  /** The network may have changed under us, or the page was asleep. */
  onDoubt: () => void = () => {};

  #room: string;
  #identity: Identity;
  #policy: ReconnectPolicy;
  #socket: Socket | null = null;
  #attempt = 0;
  #pollingFirst = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watching: AbortController | null = null;
  #roundTripMs: number | null = null;

  constructor(room: string, identity: Identity, policy: ReconnectPolicy = cappedBackoff()) {
    this.#room = room;
    this.#identity = identity;
    this.#policy = policy;
  }

  start(): void {
    this.#watching = new AbortController();
    const { signal } = this.#watching;
    const doubt = () => this.#doubt();
    window.addEventListener('online', doubt, { signal });
    window.addEventListener('offline', doubt, { signal });
    window.addEventListener('pageshow', doubt, { signal });
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && doubt(), {
      signal,
    });
    const network = (navigator as { connection?: EventTarget }).connection;
    network?.addEventListener?.('change', doubt, { signal });
    this.#open();
  }

  /** For good: no state is reported any more. */
  close(): void {
    this.#watching?.abort();
    this.#drop();
    this.onState = () => {};
    this.onPush = () => {};
    this.onDoubt = () => {};
  }

  /** The person decided that this tab should be connected again after `stopped`. */
  resume(identity: Identity = this.#identity): void {
    this.#identity = identity;
    this.#attempt = 0;
    this.#open();
  }

  get online(): boolean {
    return this.state.kind === 'online';
  }

  ask<V extends Verb>(verb: V, command: Command<V>, answerMs = ANSWER_MS): Promise<Answer<V>> {
    const socket = this.#socket;
    if (!this.online || !socket?.connected) return Promise.resolve({ ok: false, error: LOST, lost: true });
    const askedAtMs = performance.now();
    return new Promise((resolve) => {
      socket
        .timeout(answerMs)
        .emit(verb, withoutUndefined(command), (lost: Error | null, answer: Answer<V>) => {
          if (!lost) {
            this.#measured(performance.now() - askedAtMs);
            resolve(answer.ok ? answer : { ...answer, lost: false });
            return;
          }
          resolve({ ok: false, error: LOST, lost: true });
          if (socket === this.#socket) this.#lose();
        });
    });
  }

  /** Is the link alive? Asks for fresh relay credentials; without an answer in a short time we connect anew, at once. */
  async probe(): Promise<Answer<'ice'>> {
    const socket = this.#socket;
    const patienceMs = PROBE_ROUND_TRIPS * (this.#roundTripMs ?? PROBE_MAX_MS);
    const withinMs = Math.min(PROBE_MAX_MS, Math.max(PROBE_MIN_MS, patienceMs));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<Answer<'ice'>>((resolve) => {
      timer = setTimeout(() => {
        resolve({ ok: false, error: LOST, lost: true });
        if (socket === this.#socket && this.online) this.#reopen();
      }, withinMs);
    });
    const answer = await Promise.race([this.ask('ice', { room: this.#room }), silence]);
    clearTimeout(timer);
    return answer;
  }

  /** Smoothed as TCP does it (RFC 6298 §2.3); but a link that got slower, as a full one does, has done so at once. */
  #measured(roundTripMs: number): void {
    const before = this.#roundTripMs ?? roundTripMs;
    this.#roundTripMs = Math.max(roundTripMs, before + (roundTripMs - before) / 8);
  }

  #reopen(): void {
    this.#attempt = 0;
    this.#report({ kind: 'offline', attempt: 0 });
    this.#open();
  }

  #open(): void {
    this.#drop();
    const transports = this.#pollingFirst ? ['polling', 'websocket'] : ['websocket', 'polling'];
    const auth: Record<string, unknown> = { v: 1, device: this.#identity.device };
    if (this.#identity.login !== null) auth.login = this.#identity.login;
    const socket = io({
      path: '/socket.io/',
      query: { room: this.#room },
      auth,
      parser,
      transports,
      // A proxy that refuses WebSocket: the next transport is tried within the same attempt.
      tryAllTransports: true,
      forceNew: true,
      reconnection: false,
      timeout: CONNECT_MS,
    });
    this.#socket = socket;
    const mine = (act: () => void) => () => {
      if (socket === this.#socket) act();
    };
    socket.on(
      'connect',
      mine(() => {
        this.#attempt = 0;
        clearTimeout(this.#timer);
        this.#report({ kind: 'online' });
      }),
    );
    socket.on('connect_error', (error: Error & { data?: unknown }) => {
      if (socket === this.#socket) this.#refused(error);
    });
    socket.on(
      'disconnect',
      mine(() => this.#lose()),
    );
    socket.onAny((name: string, body: unknown) => {
      if (socket === this.#socket && PUSHES.has(name)) this.#hear({ name, body } as Push);
    });
    // A proxy may swallow the WebSocket handshake without a word, and then no transport error ever comes.
    this.#timer = setTimeout(
      mine(() => {
        this.#pollingFirst = !this.#pollingFirst;
        this.#lose();
      }),
      CONNECT_MS + 500,
    );
    if (this.state.kind === 'stopped') this.#report({ kind: 'connecting' });
  }

  #hear(push: Push): void {
    if (push.name === 'goaway') this.#goAway(push.body);
    else if (push.name === 'replaced') this.#stop('replaced', push.body.reason);
    else if (push.name === 'revoked' && !push.body.room) this.#stop('revoked', push.body.reason);
    else this.onPush(push);
  }

  /** C3: come back at a random moment within `in_ms`. The call does not notice. */
  #goAway(goaway: GoawayPush): void {
    const socket = this.#socket;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (socket === this.#socket) this.#open();
    }, goaway.in_ms * Math.random());
  }

  /** C2: a refusal with an error of the server's own, or a transport that did not get through. */
  #refused(error: Error & { data?: unknown }): void {
    const refusal = error.data as Refusal | undefined;
    if (refusal?.code && !worthRetrying(refusal)) {
      this.#drop();
      this.#report({ kind: 'stopped', why: 'refused', code: refusal.code, message: refusal.message });
      return;
    }
    if (!refusal?.code && error.message === 'timeout') this.#pollingFirst = !this.#pollingFirst;
    this.#lose(refusal?.code ? retryDelayMs(refusal) : 0);
  }

  #lose(atLeastMs = 0): void {
    this.#drop();
    const attempt = this.#attempt++;
    this.#report({ kind: 'offline', attempt });
    const policy = this.urgent ? URGENT : this.#policy;
    const pauseMs = policy.delayMs(attempt, Math.random());
    this.#timer = setTimeout(() => this.#open(), Math.max(atLeastMs, pauseMs));
  }

  #stop(why: 'replaced' | 'revoked', code: ReplacedPush['reason'] | RevokedPush['reason']): void {
    this.#drop();
    this.#report({ kind: 'stopped', why, code, message: '' });
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.offAny();
    socket?.disconnect();
    socket?.io.engine?.close();
  }

  /** The network may have changed under us: connect at once, or make sure that the link still answers. */
  #doubt(): void {
    this.onDoubt();
    if (this.state.kind === 'offline') this.#reopen();
    else if (this.online) void this.probe();
  }

  #report(state: ConnectionState): void {
    this.state = state;
    this.onState(state);
  }
}

/** msgpack has no `undefined`: it would become a null or an extension type, and the server is strict (T4). */
function withoutUndefined<T extends object>(command: T): T {
  return Object.fromEntries(Object.entries(command).filter(([, value]) => value !== undefined)) as T;
}
