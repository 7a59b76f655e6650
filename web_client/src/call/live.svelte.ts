/** Carries out what the call machine decides: asks the server, keeps the connections, runs the timers. */

import type { OwnMedia } from '../devices/own_media.svelte';
import { keepAwake } from '../devices/wake_lock';
import type { Connection } from '../protocol/connection';
import { retryDelayMs, worthRetrying } from '../protocol/verbs';
import type { IceShown, Media } from '../protocol/wire';
import { DataSaver } from './data_saver.svelte';
import { step } from './machine';
import { type Incoming, PeerLink } from './peer_link';
import { observe, type Quality, unknownQuality } from './quality';
import { forget, remember, remembered } from './resumption';
import type { Sample } from './sample';
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
import { LOOK_MS, lookAtSource, type SourceWatch } from './watchdog';
import { follow, linkNow, type Picture, sentPicture, strongLink, type WeakLink } from './weak_link';

/** A clock that goes wrong here must not become a storm of renewals (K4). */
const ICE_RENEW_MIN_MS = 5_000;
/** K4 promises ten minutes at least: half of them hold, whatever this clock says of the server's. */
const ICE_RENEW_MAX_MS = 300_000;
/** For how long after a hint of the browser's (another network, waking up) a silence is suspect at once. */
const HINT_MS = 5_000;
/** An answer of the server that is younger proves that the link lives and that its credentials are fresh. */
const FRESH_MS = 1_000;
/** How often a leave or a change of media that the server could not take is asked again. */
const ASKS_BOUND = 5;
/** A signal that found nobody at the other end is tried again after this, while its addressee counts as here. */
const AWAY_AGAIN_MS = 1_000;
const NO_ICE: IceShown = { servers: [], policy: 'all', expires_at: 0 };

interface Line {
  link: PeerLink;
  leg: number;
  queue: SignalQueue;
  described: Media | null;
  /** Of our own camera, as this connection counts its pictures. */
  source: SourceWatch | null;
}

export class LiveCall {
  state = $state.raw<CallState>(initialCall);
  incoming = $state.raw<Record<string, Incoming>>({});
  /** How good each connection is, by peer. */
  qualities = $state.raw<Record<string, Quality>>({});
  readonly dataSaver = new DataSaver();

  #room: string;
  #connection: Connection;
  #own: OwnMedia;
  #ice: IceShown = NO_ICE;
  #probing: Promise<boolean> | null = null;
  #iceAtMs = Number.NEGATIVE_INFINITY;
  #iceTimer: ReturnType<typeof setTimeout> | undefined;
  #lines = new Map<string, Line>();
  /** A sender's signals to a peer are counted for as long as the page lives: a greater `seq` is always new. */
  #seq = new Map<string, number>();
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #awake: (() => void) | null = null;
  #looks: ReturnType<typeof setInterval> | undefined;
  #hintedAtMs = Number.NEGATIVE_INFINITY;
  #weakLink = $state.raw<WeakLink>(strongLink);

  constructor(room: string, connection: Connection, own: OwnMedia) {
    this.#room = room;
    this.#connection = connection;
    this.#own = own;
    own.onChange = () => this.#ownChanged();
    this.dataSaver.onChange = () => this.#limit();
    connection.onDoubt = () => this.#hinted();
  }

  /** The link is weak, so nothing is sent of a picture that is there. */
  get soundOnly(): boolean {
    return this.#weakLink.picture === 'none' && this.#hasPicture;
  }

  /** A screen alone loads the link as a camera does. */
  get #hasPicture(): boolean {
    const { video, screen } = this.#own.outgoing;
    return video !== null || screen !== null;
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

  /** For good, and without a word: whoever is not in the room any more is heard and seen by nobody, and hears nobody. */
  close(): void {
    this.dispatch({ on: 'stopped', why: 'revoked' });
    clearTimeout(this.#iceTimer);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  dispatch(input: Input): void {
    if (input.on === 'joined') this.#renewIce(input.answer.ice);
    // A network that changed while nobody called is found out now, and not by a question that waits ten seconds.
    if (input.on === 'press_join') void this.#freshIce();
    const before = this.state.phase.kind;
    const [next, effects] = step(this.state, input);
    this.state = next;
    for (const effect of effects) this.#carryOut(effect);
    this.#describe();
    this.#connection.urgent = linksOf(next).some(({ met, flow }) => met && flow !== 'flowing');
    const now = next.phase.kind;
    if (now === 'in' && before !== 'in') this.#begin();
    if (now !== 'in' && before === 'in') this.#finish();
  }

  #begin(): void {
    this.#awake ??= keepAwake();
    this.#looks = setInterval(() => void this.#look(), LOOK_MS);
  }

  #finish(): void {
    this.#awake?.();
    this.#awake = null;
    clearInterval(this.#looks);
    this.qualities = {};
    this.#weakLink = strongLink;
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
      media: this.#media,
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
      this.#connection.ask('call.media', { room: this.#room, call, media: this.#media }),
    );
  }

  #remember(call: string): void {
    remember({ room: this.#room, call, muted: this.#own.muted, camera: this.#own.cameraWanted });
  }

  #ownChanged(): void {
    for (const { link } of this.#lines.values()) link.send(this.#own.outgoing);
    const { phase } = this.state;
    if (phase.kind === 'in') this.#remember(phase.call);
    this.dispatch({ on: 'media', media: this.#media });
  }

  // Connections and their signals

  #open({ peer, leg, polite, patient }: Extract<Effect, { do: 'open' }>): void {
    const { media = null, rollback = true } = linksOf(this.state).find((link) => link.peer === peer) ?? {};
    const link = new PeerLink(polite, !rollback, this.#ice, this.#own.outgoing, media, {
      signal: (gen, content) => this.#signal(peer, link, gen, content),
      flow: (flow) => this.dispatch({ on: 'flow', peer, leg, flow }),
      uneasy: () => void this.#freshIce(),
      incoming: (incoming) => {
        if (this.#lines.get(peer)?.link === link) this.incoming = { ...this.incoming, [peer]: incoming };
      },
    });
    link.limit(this.#picture);
    this.#lines.set(peer, { link, leg, queue: emptyQueue, described: media, source: null });
    // After what is delivered in the same step: an offer that is there already is answered, not met with another.
    queueMicrotask(() => link.begin(patient));
  }

  #close(peer: string): void {
    this.#lines.get(peer)?.link.close();
    this.#lines.delete(peer);
    const { [peer]: _, ...incoming } = this.incoming;
    this.incoming = incoming;
    const { [peer]: __, ...qualities } = this.qualities;
    this.qualities = qualities;
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
      // Between two sockets: perhaps they are back before anybody was told that they were away.
      if (answer.error.code === 'peer_away') setTimeout(() => this.#releaseIfHere(peer, line), AWAY_AGAIN_MS);
    }
    if (this.#lines.get(peer) === line) void this.#pump(peer);
  }

  #releaseIfHere(peer: string, line: Line): void {
    const here = linksOf(this.state).some((link) => link.peer === peer && link.presence === 'here');
    if (!here || this.#lines.get(peer) !== line) return;
    line.queue = released(line.queue);
    void this.#pump(peer);
  }

  // Watching

  #hinted(): void {
    this.#hintedAtMs = performance.now();
    void this.#look();
  }

  async #look(): Promise<void> {
    const hinted = performance.now() - this.#hintedAtMs < HINT_MS;
    for (const [peer, line] of [...this.#lines]) {
      const sample = await line.link.look(hinted);
      if (sample === null || this.#lines.get(peer) !== line) continue;
      this.#lookAtCamera(line, sample);
      this.#judge(peer, sample);
    }
    this.#followLink();
  }

  /** A camera that is live and gives no pictures is taken anew. A screen may stand still. */
  #lookAtCamera(line: Line, sample: Sample): void {
    const camera = this.#own.screen === null && this.#own.video !== null;
    const [source, stuck] = lookAtSource(camera ? line.source : null, sample);
    if (camera && line.source !== null && source.frames !== line.source.frames) this.#own.resumed('video');
    line.source = camera && !stuck ? source : null;
    if (stuck) void this.#own.recapture('video');
  }

  // Quality, and weak links

  #judge(peer: string, sample: Sample): void {
    const theirs = linksOf(this.state).find((link) => link.peer === peer)?.media.weak === true;
    const quality = observe(this.qualities[peer] ?? unknownQuality, sample, theirs || this.soundOnly);
    this.qualities = { ...this.qualities, [peer]: quality };
  }

  /** Only a connection that works tells how wide the link is; what is broken is for the repairs. */
  #followLink(): void {
    const qualities = linksOf(this.state).flatMap(({ peer, flow }) => {
      const quality = this.qualities[peer];
      // Without a budget the picture itself may be what drowns the connection, and losses are all that is known.
      const drowning = flow === 'interrupted' && quality?.samples.at(-1)?.pair?.outgoingBitsPerS == null;
      return quality && (flow === 'flowing' || drowning) ? [quality] : [];
    });
    if (qualities.length === 0) return;
    const told = this.#media.weak;
    this.#weakLink = follow(this.#weakLink, linkNow(qualities, performance.now()), this.#hasPicture);
    this.#limit();
    if (this.#media.weak !== told) this.dispatch({ on: 'media', media: this.#media });
  }

  get #picture(): Picture {
    const picture = sentPicture(this.#weakLink);
    return this.dataSaver.on && picture === 'full' ? 'small' : picture;
  }

  #limit(): void {
    for (const { link } of this.#lines.values()) link.limit(this.#picture);
  }

  /** What is sent, as the others are told. */
  get #media(): Media {
    const { media } = this.#own;
    return this.soundOnly ? { ...media, video: false, screen: false, weak: true } : media;
  }

  // Relay credentials

  async #restart(peer: string): Promise<void> {
    const line = this.#lines.get(peer);
    // Without an answer we are soon back in the room by another way, and the machine begins anew.
    if (!(await this.#freshIce())) return;
    // It may have come back by itself meanwhile.
    if (linksOf(this.state).some((link) => link.peer === peer && link.flow === 'flowing')) return;
    if (line && this.#lines.get(peer) === line) line.link.restart(this.#ice);
  }

  /** The question is also the fastest proof that the server still hears us: without an answer we connect anew. */
  #freshIce(): Promise<boolean> {
    if (performance.now() - this.#iceAtMs < FRESH_MS) return Promise.resolve(true);
    this.#probing ??= this.#connection.probe().then((answer) => {
      this.#probing = null;
      if (answer.ok) this.#renewIce(answer);
      return answer.ok || !answer.lost;
    });
    return this.#probing;
  }

  async #askIce(): Promise<void> {
    const answer = await this.#connection.ask('ice', { room: this.#room });
    if (answer.ok) this.#renewIce(answer);
    // Without an answer at all we come back to the room, which brings new ones.
    else if (!answer.lost && worthRetrying(answer.error))
      this.#renewIn(Math.max(ICE_RENEW_MIN_MS, retryDelayMs(answer.error)));
  }

  #renewIn(ms: number): void {
    clearTimeout(this.#iceTimer);
    this.#iceTimer = setTimeout(() => void this.#askIce(), ms);
  }

  #renewIce(ice: IceShown): void {
    this.#ice = ice;
    this.#iceAtMs = performance.now();
    clearTimeout(this.#iceTimer);
    if (ice.expires_at === 0) return;
    // K4: renewed at half of their life, so that whatever happens finds credentials that last.
    const inMs = Math.max(ICE_RENEW_MIN_MS, (ice.expires_at - Date.now()) / 2);
    this.#renewIn(Math.min(inMs, ICE_RENEW_MAX_MS));
  }
}
