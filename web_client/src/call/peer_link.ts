/**
 * One RTCPeerConnection to one leg of one peer: the only file that touches it. What a signal means is decided in
 * negotiation.ts; here it is carried out, one step after the other (the operations chain of W3C WebRTC §4.4.1.2).
 *
 * Audio and video have one transceiver each, made once: muting, stopping the camera, changing a device and sharing the
 * screen are all `replaceTrack`, so that none of them negotiates.
 */
import type { IceShown, Media, SignalPush } from '../protocol/wire';
import {
  type Decision,
  type Negotiation,
  negotiation,
  offerGeneration,
  offering,
  receive,
  relent,
} from './negotiation';
import { askForOpus } from './opus';
import { type Sample, sample } from './sample';
import { shape, shapeOf } from './sending';
import type { Content } from './signal_queue';
import { type Flow, NO_MEDIA } from './state';
import { look, type Verdict, type Watch } from './watchdog';
import type { Picture } from './weak_link';

/** What is sent: the screen takes the camera's place. `stream` only lends its id, which names camera and sound. */
export interface Outgoing {
  stream: MediaStream;
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
  screen: boolean;
}

export interface Incoming {
  /** Sound, and the screen if the other side shares it as a second video, else its camera. The object stays the same. */
  stream: MediaStream;
  /** A video track is there and not silent. */
  video: boolean;
}

export interface PeerLinkEvents {
  signal(gen: number, content: Content): void;
  flow(flow: Flow): void;
  /** The media pause: not yet a fault. */
  uneasy(): void;
  incoming(incoming: Incoming): void;
}

/** An offer that stays unanswered that long while we ignore theirs: one of the two has to give way. */
const RELENT_MS = 2_500;
/** An unanswered offer is said again, as it may have gone to a socket that was dead already (K2): after this, then doubled. */
const REPEAT_MS = 2_000;
const REPEAT_MAX_MS = 16_000;
/** How long the patient side waits for the other's first offer before it makes its own. */
const PATIENCE_MS = 1_000;

export class PeerLink {
  #pc: RTCPeerConnection;
  #negotiation: Negotiation;
  #ice: IceShown;
  #outgoing: Outgoing;
  #media: Media | null;
  #picture: Picture = 'full';
  #events: PeerLinkEvents;
  #chain: Promise<void> = Promise.resolve();
  #closed = false;
  #restartWanted = false;
  #localGen = 0;
  #flowed = false;
  #looking = false;
  #watch: Watch | null = null;
  #verdict: Verdict = 'waiting';
  #beginTimer: ReturnType<typeof setTimeout> | undefined;
  #relentTimer: ReturnType<typeof setTimeout> | undefined;
  #repeatTimer: ReturnType<typeof setTimeout> | undefined;
  #tracks: { track: MediaStreamTrack; stream: string | null }[] = [];
  #incoming = new MediaStream();

  constructor(
    polite: boolean,
    ice: IceShown,
    outgoing: Outgoing,
    media: Media | null,
    events: PeerLinkEvents,
  ) {
    this.#negotiation = negotiation(polite);
    this.#ice = ice;
    this.#outgoing = outgoing;
    this.#media = media;
    this.#events = events;
    this.#pc = this.#connect();
  }

  /**
   * Makes the first offer, unless one of the other side is there already. Who would give way in glare is patient: it
   * lets the other side go first, so that in the usual case there is no glare at all.
   */
  begin(patient: boolean): void {
    const offer = () =>
      this.#then(async () => {
        if (this.#negotiation.settled < 0) await this.#offer();
      });
    if (patient) this.#beginTimer = setTimeout(offer, PATIENCE_MS);
    else offer();
  }

  deliver(signal: SignalPush): void {
    this.#then(async () => {
      const [next, decisions] = receive(this.#negotiation, signal);
      this.#negotiation = next;
      await this.#carryOut(decisions);
      clearTimeout(this.#relentTimer);
      if (next.ignored !== null) this.#relentTimer = setTimeout(() => this.#relent(), RELENT_MS);
    });
  }

  /** K3, K4: a new ICE generation with fresh servers, on the same connection. */
  restart(ice: IceShown): void {
    this.#then(async () => {
      if (this.#repeatOffer()) return; // one at a time: the other side has not answered the last one yet
      this.#ice = ice;
      try {
        this.#pc.setConfiguration(configuration(ice));
      } catch {
        // Some browsers cannot change servers; the restart gathers anew all the same.
      }
      this.#restartWanted = true;
      await this.#offer();
    });
  }

  send(outgoing: Outgoing): void {
    this.#outgoing = outgoing;
    this.#then(async () => {
      await this.#applyOutgoing();
      await this.#offerMissingTransceivers();
    });
  }

  /** How much of the picture is sent. */
  limit(picture: Picture): void {
    if (picture === this.#picture) return;
    this.#picture = picture;
    this.#then(() => this.#shape());
  }

  /** K4: the other side says which of its streams is the screen. */
  describe(media: Media): void {
    this.#media = media;
    this.#sortTracks();
  }

  /**
   * Takes a sample and lets the watchdog judge it; what changed is reported as `flow`. Null while an earlier look has no
   * answer yet, or when the connection is closed. `hinted`: the browser has just said that the network changed.
   */
  async look(hinted: boolean): Promise<Sample | null> {
    const pc = this.#pc;
    if (this.#looking || this.#closed) return null;
    this.#looking = true;
    try {
      const stats = await pc.getStats();
      if (pc !== this.#pc || this.#closed) return null;
      const taken = sample(stats as unknown as Iterable<[string, unknown]>, performance.now());
      if (pc.connectionState === 'connected') {
        [this.#watch, this.#verdict] = look(this.#watch, taken, this.#media ?? NO_MEDIA, hinted);
        if (this.#verdict === 'uneasy') this.#events.uneasy();
        this.#events.flow(this.#flow());
      }
      return taken;
    } catch {
      return null; // closed meanwhile
    } finally {
      this.#looking = false;
    }
  }

  close(): void {
    this.#closed = true;
    for (const timer of [this.#relentTimer, this.#repeatTimer, this.#beginTimer]) clearTimeout(timer);
    this.#disconnect();
  }

  #connect(): RTCPeerConnection {
    const pc = new RTCPeerConnection(configuration(this.#ice));
    pc.onicecandidate = ({ candidate }) => {
      if (pc !== this.#pc) return;
      const init = candidate?.toJSON() ?? { candidate: '' };
      this.#events.signal(this.#localGen, { candidates: [{ ...init, candidate: init.candidate ?? '' }] });
    };
    pc.onnegotiationneeded = () => this.#then(() => (pc === this.#pc ? this.#offer() : Promise.resolve()));
    pc.ontrack = ({ track, streams }) => {
      this.#tracks = [
        ...this.#tracks.filter((known) => known.track !== track),
        { track, stream: streams[0]?.id ?? null },
      ];
      track.onmute = track.onunmute = () => this.#report();
      this.#sortTracks();
    };
    pc.onconnectionstatechange = () => {
      if (pc !== this.#pc || this.#closed) return;
      // What was seen before counts no more; a return of the path is judged by what comes over it.
      if (pc.connectionState !== 'connected') this.#watch = null;
      if (pc.connectionState === 'connected') void this.look(false);
      else this.#events.flow(this.#flow());
    };
    return pc;
  }

  #disconnect(): void {
    const pc = this.#pc;
    pc.onicecandidate = pc.onnegotiationneeded = pc.ontrack = pc.onconnectionstatechange = null;
    pc.close();
  }

  #flow(): Flow {
    switch (this.#pc.connectionState) {
      case 'failed':
        return 'failed';
      case 'disconnected':
        return 'interrupted';
      case 'connected':
        return this.#connectedFlow(this.#verdict);
      default:
        return this.#flowed ? 'interrupted' : 'new';
    }
  }

  #connectedFlow(verdict: Verdict): Flow {
    if (verdict === 'flowing') this.#flowed = true;
    if (verdict === 'waiting' || verdict === 'uneasy') return this.#flowed ? 'flowing' : 'new';
    if (verdict === 'silent') return this.#flowed ? 'interrupted' : 'new';
    return verdict;
  }

  /** One step after the other; a step that fails does not stop the next. */
  #then(act: () => Promise<void>): void {
    this.#chain = this.#chain.then(async () => {
      if (this.#closed) return;
      try {
        await act();
      } catch (error) {
        // The name only: messages of WebRTC errors may quote the description.
        if (!this.#closed) console.warn('negotiation step failed', (error as Error).name);
      }
    });
  }

  async #offer(): Promise<void> {
    if (this.#pc.signalingState !== 'stable') return; // negotiationneeded comes again when it is
    if (this.#pc.getTransceivers().length === 0) this.#addTransceivers();
    const restart = this.#restartWanted;
    if (restart) this.#pc.restartIce();
    this.#restartWanted = false;
    const gen = offerGeneration(this.#negotiation, restart);
    this.#localGen = gen;
    await this.#pc.setLocalDescription();
    this.#negotiation = offering(this.#negotiation, gen);
    this.#sendDescription(gen);
    this.#repeatLater(REPEAT_MS);
  }

  #repeatLater(ms: number): void {
    clearTimeout(this.#repeatTimer);
    this.#repeatTimer = setTimeout(() => {
      if (!this.#repeatOffer()) return;
      this.#repeatLater(Math.min(ms * 2, REPEAT_MAX_MS));
    }, ms);
  }

  /** With all candidates that are known meanwhile. False: there is none that waits for an answer. */
  #repeatOffer(): boolean {
    const gen = this.#negotiation.offered;
    if (gen === null || this.#closed || this.#pc.signalingState !== 'have-local-offer') return false;
    this.#sendDescription(gen);
    return true;
  }

  async #carryOut(decisions: Decision[]): Promise<void> {
    for (const decision of decisions) {
      if (this.#closed) return;
      switch (decision.do) {
        case 'give_way':
          this.#giveWay(decision.fresh, decision.restartLost);
          break;
        case 'accept_offer':
          await this.#answer(decision.gen, decision.description);
          break;
        case 'accept_answer':
          await this.#pc.setRemoteDescription(decision.description);
          await this.#afterStable();
          break;
        case 'repeat_offer':
          this.#repeatOffer();
          break;
        case 'add_candidates':
          for (const candidate of decision.candidates) await this.#addCandidate(candidate);
          break;
      }
    }
  }

  /** Later, setRemoteDescription rolls our offer back by itself; before anything was agreed, a new connection is clean. */
  #giveWay(fresh: boolean, restartLost: boolean): void {
    this.#restartWanted = restartLost;
    if (!fresh) return;
    this.#disconnect();
    this.#tracks = [];
    this.#pc = this.#connect();
  }

  async #answer(gen: number, description: RTCSessionDescriptionInit): Promise<void> {
    await this.#pc.setRemoteDescription(description);
    for (const transceiver of this.#pc.getTransceivers()) {
      if (transceiver.currentDirection === null && transceiver.direction === 'recvonly')
        transceiver.direction = 'sendrecv';
    }
    await this.#applyOutgoing();
    this.#localGen = gen;
    await this.#pc.setLocalDescription();
    this.#sendDescription(gen);
    await this.#afterStable();
  }

  async #afterStable(): Promise<void> {
    await this.#shape();
    if (this.#restartWanted) await this.#offer();
    else await this.#offerMissingTransceivers();
  }

  #sendDescription(gen: number): void {
    const description = this.#pc.localDescription;
    if (description === null) return;
    const { type, sdp } = description;
    if (type === 'rollback') return;
    this.#events.signal(gen, { description: { type, sdp: askForOpus(sdp) } });
  }

  /** A candidate that cannot be used (of an ignored or replaced description) is not worth a failed call. */
  async #addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    const end = candidate.candidate === '';
    await this.#pc.addIceCandidate(end ? undefined : candidate).catch(() => {});
  }

  #relent(): void {
    this.#then(async () => {
      const [next, decisions] = relent(this.#negotiation);
      this.#negotiation = next;
      await this.#carryOut(decisions);
    });
  }

  #addTransceivers(): void {
    const { stream, audio, video } = this.#outgoing;
    const init: RTCRtpTransceiverInit = { direction: 'sendrecv', streams: [stream] };
    this.#pc.addTransceiver(audio ?? 'audio', init);
    this.#pc.addTransceiver(video ?? 'video', init);
  }

  /** An offer that left out what we have to send: ours adds it. */
  async #offerMissingTransceivers(): Promise<void> {
    if (this.#pc.signalingState !== 'stable' || this.#negotiation.settled < 0) return;
    const { stream, audio, video } = this.#outgoing;
    for (const track of [audio, video]) {
      if (track && !this.#sender(track.kind))
        this.#pc.addTransceiver(track, { direction: 'sendrecv', streams: [stream] });
    }
  }

  #sender(kind: string): RTCRtpSender | undefined {
    return this.#pc
      .getTransceivers()
      .find((one) => one.receiver.track.kind === kind && one.direction.startsWith('send'))?.sender;
  }

  async #applyOutgoing(): Promise<void> {
    const { stream, audio, video } = this.#outgoing;
    const wanted = { audio, video };
    for (const kind of ['audio', 'video'] as const) {
      const sender = this.#sender(kind);
      if (!sender) continue;
      sender.setStreams?.(stream);
      if (sender.track !== wanted[kind]) await sender.replaceTrack(wanted[kind]);
    }
    await this.#shape();
  }

  async #shape(): Promise<void> {
    const { video, screen } = this.#outgoing;
    const { width, height } = video?.getSettings() ?? {};
    const lines = width && height ? Math.min(width, height) : null;
    const sound = this.#sender('audio');
    const picture = this.#sender('video');
    if (sound) await shape(sound, shapeOf('sound', this.#picture, null));
    if (picture) await shape(picture, shapeOf(screen ? 'screen' : 'camera', this.#picture, lines));
  }

  #sortTracks(): void {
    const streams = this.#media?.streams;
    const videos = this.#tracks.filter(({ track }) => track.kind === 'video');
    const screen = streams?.screen && videos.find(({ stream }) => stream === streams.screen);
    const video = screen || videos.find(({ track }) => !track.muted) || videos[0];
    const wanted = new Set(this.#tracks.map(({ track }) => track).filter(({ kind }) => kind === 'audio'));
    if (video) wanted.add(video.track);
    for (const track of this.#incoming.getTracks()) if (!wanted.has(track)) this.#incoming.removeTrack(track);
    for (const track of wanted) this.#incoming.addTrack(track);
    this.#report();
  }

  #report(): void {
    const video = this.#incoming
      .getVideoTracks()
      .some((track) => !track.muted && track.readyState === 'live');
    this.#events.incoming({ stream: this.#incoming, video });
  }
}

function configuration({ servers, policy }: IceShown): RTCConfiguration {
  return {
    iceServers: servers.map(({ urls, username, credential }) => ({
      urls,
      ...(username == null ? {} : { username }),
      ...(credential == null ? {} : { credential }),
    })),
    iceTransportPolicy: policy,
    bundlePolicy: 'max-bundle',
  };
}
