/** Carries out what the call machine decides: asks the server, keeps the connections, runs the timers. */

import type { OwnMedia } from '../devices/own_media.svelte';
import { keepAwake } from '../devices/wake_lock';
import type { Connection } from '../protocol/connection';
import { retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { IceShown, Media } from '../protocol/wire';
import { step } from './machine';
import { type Incoming, PeerLink } from './peer_link';
import { forget, remember, remembered } from './resumption';
import {
  type Content,
  emptyQueue,
  nextSignal,
  queued,
  released,
  type SignalQueue,
  sendingSignal,
  signalHandedOver,
  signalRefused,
} from './signal_queue';
import { type CallState, type Effect, type Input, initialCall, linksOf } from './state';

/** Relay credentials are renewed this long before they expire (K4). */
const ICE_AHEAD_MS = 60_000;
/** How often a leave or a change of media that the server could not take is asked again. */
const ASKS_BOUND = 5;
const NO_ICE: IceShown = { servers: [], policy: 'all', expires_at: 0 };

interface Line {
  link: PeerLink;
  leg: number;
  queue: SignalQueue;
  described: Media | null;
}

export class LiveCall {
  state = $state.raw<CallState>(initialCall);
  incoming = $state.raw<Record<string, Incoming>>({});

  #room: string;
  #connection: Connection;
  #own: OwnMedia;
  #ice: IceShown = NO_ICE;
  #iceTimer: ReturnType<typeof setTimeout> | undefined;
  #lines = new Map<string, Line>();
  /** A sender's signals to a peer are counted for as long as the page lives: a greater `seq` is always new. */
  #seq = new Map<string, number>();
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #awake: (() => void) | null = null;

  constructor(room: string, connection: Connection, own: OwnMedia) {
    this.#room = room;
    this.#connection = connection;
    this.#own = own;
    own.onChange = () => this.#ownChanged();
  }

  /** A reload in a call goes back into it, as it was. */
  resumeFormer(): void {
    const former = remembered(this.#room);
    if (!former) return;
    this.#own.muted = former.muted;
    this.#own.cameraWanted = former.camera;
    void this.#own.ensure();
    this.dispatch({ on: 'resume', call: former.call });
  }

  dispatch(input: Input): void {
    if (input.on === 'joined') this.#renewIce(input.answer.ice);
    const before = this.state.phase.kind;
    const [next, effects] = step(this.state, input);
    this.state = next;
    for (const effect of effects) this.#carryOut(effect);
    this.#describe();
    const now = next.phase.kind;
    if (now === 'in' && before !== 'in') this.#awake ??= keepAwake();
    if (now !== 'in' && before === 'in') {
      this.#awake?.();
      this.#awake = null;
    }
  }

  #carryOut(effect: Effect): void {
    switch (effect.do) {
      case 'join':
        void this.#join(effect);
        break;
      case 'leave':
        void this.#insist(() => this.#connection.ask('call.leave', { room: this.#room, call: effect.call }));
        break;
      case 'decline':
        void this.#insist(() =>
          this.#connection.ask('call.decline', { room: this.#room, call: effect.call }),
        );
        break;
      case 'tell_media':
        void this.#tellMedia(effect.call);
        break;
      case 'open':
        this.#open(effect);
        break;
      case 'close':
        this.#close(effect.peer);
        break;
      case 'deliver':
        this.#lines.get(effect.peer)?.link.deliver(effect.signal);
        break;
      case 'release':
        this.#update(effect.peer, released);
        void this.#pump(effect.peer);
        break;
      case 'restart':
        void this.#restart(effect.peer);
        break;
      case 'timer':
        clearTimeout(this.#timers.get(effect.name));
        this.#timers.set(
          effect.name,
          setTimeout(() => {
            this.#timers.delete(effect.name);
            this.dispatch({ on: 'timer', name: effect.name });
          }, effect.ms),
        );
        break;
      case 'cancel':
        clearTimeout(this.#timers.get(effect.name));
        this.#timers.delete(effect.name);
        break;
      case 'remember':
        this.#remember(effect.call);
        break;
      case 'forget':
        forget();
        break;
    }
  }

  async #join(effect: Extract<Effect, { do: 'join' }>): Promise<void> {
    const answer = await this.#connection.ask('call.join', {
      room: this.#room,
      media: this.#own.media,
      ...(effect.call === null ? {} : { call: effect.call }),
      ...(effect.leg === null ? {} : { leg: effect.leg }),
    });
    const { ask } = effect;
    if (answer.ok) this.dispatch({ on: 'join_ok', ask, answer });
    else if (answer.lost)
      return; // the next `joined` asks again
    else if (!worthRetrying(answer.error)) this.dispatch({ on: 'join_refused', ask, error: answer.error });
    else {
      setTimeout(() => {
        const { phase } = this.state;
        if ((phase.kind === 'joining' || phase.kind === 'in') && phase.ask === ask) void this.#join(effect);
      }, retryDelayMs(answer.error));
    }
  }

  async #insist(ask: () => ReturnType<Connection['ask']>): Promise<void> {
    for (let attempt = 0; attempt < ASKS_BOUND; attempt++) {
      const answer = await ask();
      if (answer.ok || answer.lost || !worthRetrying(answer.error)) return;
      await new Promise((resolve) => setTimeout(resolve, retryDelayMs(answer.error)));
    }
  }

  async #tellMedia(call: string): Promise<void> {
    await this.#insist(() =>
      this.#connection.ask('call.media', { room: this.#room, call, media: this.#own.media }),
    );
  }

  #remember(call: string): void {
    remember({ room: this.#room, call, muted: this.#own.muted, camera: this.#own.cameraWanted });
  }

  #ownChanged(): void {
    for (const { link } of this.#lines.values()) link.send(this.#own.outgoing);
    const { phase } = this.state;
    if (phase.kind === 'in') this.#remember(phase.call);
    this.dispatch({ on: 'media', media: this.#own.media });
  }

  // Connections and their signals

  #open({ peer, leg, polite, patient }: Extract<Effect, { do: 'open' }>): void {
    const { media = null, rollback = true } = linksOf(this.state).find((link) => link.peer === peer) ?? {};
    const link = new PeerLink(polite, !rollback, this.#ice, this.#own.outgoing, media, {
      signal: (gen, content) => this.#signal(peer, link, gen, content),
      flow: (flow) => this.dispatch({ on: 'flow', peer, leg, flow }),
      incoming: (incoming) => {
        if (this.#lines.get(peer)?.link === link) this.incoming = { ...this.incoming, [peer]: incoming };
      },
    });
    this.#lines.set(peer, { link, leg, queue: emptyQueue, described: media });
    // After what is delivered in the same step: an offer that is there already is answered, not met with another.
    queueMicrotask(() => link.begin(patient));
  }

  #close(peer: string): void {
    this.#lines.get(peer)?.link.close();
    this.#lines.delete(peer);
    const { [peer]: _, ...incoming } = this.incoming;
    this.incoming = incoming;
  }

  #describe(): void {
    for (const { peer, media } of linksOf(this.state)) {
      const line = this.#lines.get(peer);
      if (!line || line.described === media) continue;
      line.described = media;
      line.link.describe(media);
    }
  }

  #signal(peer: string, link: PeerLink, gen: number, content: Content): void {
    if (this.#lines.get(peer)?.link !== link) return;
    const seq = (this.#seq.get(peer) ?? 0) + 1;
    this.#seq.set(peer, seq);
    this.#update(peer, (queue) => queued(queue, seq, gen, content));
    void this.#pump(peer);
  }

  #update(peer: string, change: (queue: SignalQueue) => SignalQueue): void {
    const line = this.#lines.get(peer);
    if (line) line.queue = change(line.queue);
  }

  async #pump(peer: string): Promise<void> {
    const line = this.#lines.get(peer);
    const { phase, online } = this.state;
    if (!line || phase.kind !== 'in' || !online) return;
    const signal = nextSignal(line.queue);
    if (signal === null) return;
    line.queue = sendingSignal(line.queue);
    const answer = await this.#connection.ask('call.signal', {
      room: this.#room,
      call: phase.call,
      to: peer,
      to_leg: line.leg,
      ...signal,
    });
    if (answer.ok) line.queue = signalHandedOver(line.queue);
    else {
      const [queue, retryMs] = signalRefused(line.queue, answer.error, answer.lost);
      line.queue = queue;
      if (retryMs !== null) {
        setTimeout(() => this.#pump(peer), retryMs);
        return;
      }
    }
    if (this.#lines.get(peer) === line) void this.#pump(peer);
  }

  async #restart(peer: string): Promise<void> {
    const line = this.#lines.get(peer);
    await this.#askIce();
    if (line && this.#lines.get(peer) === line) line.link.restart(this.#ice);
  }

  async #askIce(): Promise<void> {
    const answer = await this.#connection.ask('ice', { room: this.#room });
    if (answer.ok) this.#renewIce(answer);
  }

  #renewIce(ice: IceShown): void {
    this.#ice = ice;
    clearTimeout(this.#iceTimer);
    if (ice.expires_at === 0) return;
    const inMs = Math.max(10_000, ice.expires_at - Date.now() - ICE_AHEAD_MS);
    this.#iceTimer = setTimeout(() => void this.#askIce(), Math.min(inMs, 2 ** 31 - 1));
  }
}
