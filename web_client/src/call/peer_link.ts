/**
 * One RTCPeerConnection to one leg of one peer: the only file that touches it. What a signal means is decided in
 * negotiation.ts; here it is carried out, one step after the other (the operations chain of W3C WebRTC §4.4.1.2).
 *
 * Audio and video have one transceiver each, made once: muting, stopping the camera and changing a device are all
 * `replaceTrack`, so that none of them negotiates. A screen beside the camera has a video of its own, made when it is
 * first needed; a screen in the camera's place, and every later one beside it, is `replaceTrack` too.
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
import { pageCertificates } from './page_certificate';
import { type Handshake, ownFingerprint, sameBytes, theirCertificate } from './safety_code';
import { type Sample, sample } from './sample';
import { sendKeyFrame, shape, shapeOf } from './sending';
import type { Content } from './signal_queue';
import { type Flow, NO_MEDIA } from './state';
import { look, type Verdict, type Watch } from './watchdog';
import type { Picture } from './weak_link';

export interface Outgoing {
  audio: MediaStreamTrack | null;
  /** The camera. */
  video: MediaStreamTrack | null;
  screen: MediaStreamTrack | null;
  /** The screen goes beside the camera, where the other side takes two videos; else in its place. */
  beside: boolean;
  /** They only lend their ids, which tell camera (with the sound) and screen apart (K4). */
  streams: { camera: MediaStream; screen: MediaStream };
}

export interface Incoming {
  /** Sound and camera, or the screen in the camera's place. The object stays the same. */
  stream: MediaStream;
  /** A video track is there and not silent. */
  video: boolean;
  /** The screen beside the camera. */
  screen: MediaStream | null;
  /** Both ends of the encryption, once it stands: what the safety code is made of. */
  handshake: Handshake | null;
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
/** Figures that take longer will not come (a connection that was closed meanwhile, a browser that stumbled). */
const STATS_MS = 3_000;

/** What comes after these builds on pictures that were lost. */
const MISSED: ReadonlySet<Verdict> = new Set<Verdict>(['doubtful', 'silent']);
/** The path is good, and something does not come out of it. */
const MISSING: ReadonlySet<Verdict> = new Set<Verdict>(['sound_missing', 'picture_missing']);

export class PeerLink {
  #pc: RTCPeerConnection;
  #negotiation: Negotiation;
  #ice: IceShown;
  #certificates = pageCertificates();
  #outgoing: Outgoing;
  #media: Media | null;
  #picture: Picture = 'full';
  #events: PeerLinkEvents;
  #chain: Promise<void> = Promise.resolve();
  #closed = false;
  #restartWanted = false;
  #localGen = 0;
  /** Our offer that waits for its answer, where it becomes our local description only with that. */
  #proposal: RTCSessionDescriptionInit | null = null;
  #flowed = false;
  #spoiled = false;
  /** Of the question that has no answer yet. */
  #statsAskedAtMs = Number.NEGATIVE_INFINITY;
  #watch: Watch | null = null;
  #verdict: Verdict = 'waiting';
  #beginTimer: ReturnType<typeof setTimeout> | undefined;
  #relentTimer: ReturnType<typeof setTimeout> | undefined;
  #repeatTimer: ReturnType<typeof setTimeout> | undefined;
  #tracks: { track: MediaStreamTrack; stream: string | null }[] = [];
  #incoming = new MediaStream();
  #screen = new MediaStream();
  /** The other side takes one video only: it said so (K3), or it refused a second. */
  #oneVideo: boolean;
  #screenOffered = false;
  /** Added once on a connection: who refuses it would refuse it again, as soon as it is asked. */
  #added = new Set<'audio' | 'video'>();
  #lastHandshake: Handshake | null = null;

  constructor(
    polite: boolean,
    oneVideo: boolean,
    ice: IceShown,
    outgoing: Outgoing,
    media: Media | null,
    events: PeerLinkEvents,
  ) {
    this.#negotiation = negotiation(polite);
    this.#oneVideo = oneVideo;
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
      const { offered, settled } = this.#negotiation;
      const repeated = this.#repeatOffer();
      // One at a time. Where the offer that waits for its answer is no restart, the restart follows the answer.
      if (repeated && offered !== settled) return;
      this.#ice = ice;
      try {
        this.#pc.setConfiguration(configuration(ice, this.#certificates));
      } catch {
        // Some browsers cannot change servers; the restart gathers anew all the same.
      }
      this.#restartWanted = true;
      if (!repeated) await this.#offer();
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
    const askedAtMs = performance.now();
    if (this.#closed || askedAtMs - this.#statsAskedAtMs < STATS_MS) return null;
    this.#statsAskedAtMs = askedAtMs;
    try {
      const stats = await pc.getStats();
      if (pc !== this.#pc || this.#closed || askedAtMs !== this.#statsAskedAtMs) return null;
      const taken = sample(stats as unknown as Iterable<[string, unknown]>, performance.now());
      if (pc.connectionState === 'connected') {
        const before = this.#verdict;
        [this.#watch, this.#verdict] = look(this.#watch, taken, this.#media ?? NO_MEDIA, hinted);
        if (this.#verdict === 'uneasy') this.#events.uneasy();
        if (MISSED.has(before) && !MISSED.has(this.#verdict)) this.#pathIsBack();
        this.#events.flow(this.#flow());
      }
      return taken;
    } catch {
      return null; // closed meanwhile
    } finally {
      if (askedAtMs === this.#statsAskedAtMs) this.#statsAskedAtMs = Number.NEGATIVE_INFINITY;
    }
  }

  close(): void {
    this.#closed = true;
    for (const timer of [this.#relentTimer, this.#repeatTimer, this.#beginTimer]) clearTimeout(timer);
    this.#disconnect();
  }

  #connect(): RTCPeerConnection {
    const pc = new RTCPeerConnection(configuration(this.#ice, this.#certificates));
    this.#screenOffered = false;
    this.#added.clear();
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
      this.#report();
      // What was seen before counts no more; a return of the path is judged by what comes over it.
      // But what was missing on a good path stays so until it comes, else its repairs would begin anew with each restart.
      if (pc.connectionState !== 'connected' && !MISSING.has(this.#verdict)) this.#watch = null;
      if (pc.connectionState === 'connected') void this.look(false);
      else this.#events.flow(this.#flow());
    };
    return pc;
  }

  /** The path was dead, probably both ways. */
  #pathIsBack(): void {
    this.#then(async () => {
      const { video, screen } = this.#transceivers();
      for (const one of [video, screen]) if (one) await sendKeyFrame(one.sender);
      await this.#shape();
    });
  }

  #disconnect(): void {
    const pc = this.#pc;
    pc.onicecandidate = pc.onnegotiationneeded = pc.ontrack = pc.onconnectionstatechange = null;
    pc.close();
  }

  #flow(): Flow {
    if (this.#spoiled && this.#flowed) return 'failed';
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

  /**
   * Who may have to give way on a connection that stands only proposes: an offer that is no local description yet needs no
   * rollback, which would cost the pictures (see `#giveWay`). A restart is for a path that is bad already, and gathers at once.
   */
  async #offer(): Promise<void> {
    const { offered, polite, settled } = this.#negotiation;
    // negotiationneeded comes again when it is settled
    if (offered !== null || this.#pc.signalingState !== 'stable') return;
    if (this.#pc.getTransceivers().length === 0) this.#addTransceivers();
    const restart = this.#restartWanted;
    if (restart) this.#pc.restartIce();
    this.#restartWanted = false;
    const gen = offerGeneration(this.#negotiation, restart);
    if (polite && settled >= 0 && !restart) this.#proposal = await this.#pc.createOffer();
    else await this.#setLocal(gen);
    const { sdp = '' } = this.#proposal ?? this.#pc.localDescription ?? {};
    this.#negotiation = offering(this.#negotiation, gen, sdp);
    this.#sendDescription(gen);
    this.#repeatLater(REPEAT_MS);
  }

  async #setLocal(gen: number, description?: RTCSessionDescriptionInit): Promise<void> {
    this.#localGen = gen;
    await this.#pc.setLocalDescription(description);
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
    const waits = this.#proposal !== null || this.#pc.signalingState === 'have-local-offer';
    if (gen === null || this.#closed || !waits) return false;
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
          await this.#agree(decision.gen, decision.description);
          break;
        case 'repeat_answer':
          this.#repeatAnswer();
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

  /**
   * A proposal is dropped; before anything was agreed, a new connection is clean. Else setRemoteDescription rolls our offer
   * back by itself. After any such rollback, also one before the first picture, Chromium (156) decodes the pictures and shows
   * none of them, whatever is attached or negotiated then: only a new connection brings them back, so this one counts as
   * failed as soon as there is something to be shown.
   */
  #giveWay(fresh: boolean, restartLost: boolean): void {
    this.#restartWanted ||= restartLost;
    if (!fresh) {
      this.#spoiled ||= this.#proposal === null;
      this.#proposal = null;
      return;
    }
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
    await this.#setLocal(gen);
    this.#sendDescription(gen);
    await this.#afterStable();
  }

  async #agree(gen: number, answer: RTCSessionDescriptionInit): Promise<void> {
    const proposal = this.#proposal;
    this.#proposal = null;
    if (proposal !== null) await this.#setLocal(gen, proposal);
    await this.#pc.setRemoteDescription(answer);
    await this.#afterStable();
  }

  async #afterStable(): Promise<void> {
    if (this.#screenOffered && !this.#transceivers().screen) {
      this.#oneVideo = true;
      await this.#applyOutgoing();
    }
    await this.#shape();
    if (this.#restartWanted) await this.#offer();
    else await this.#offerMissingTransceivers();
  }

  /** Where an offer of ours has been answered since then, theirs was, too. */
  #repeatAnswer(): void {
    const current = this.#pc.currentLocalDescription;
    if (current?.type === 'answer') this.#sendDescription(this.#negotiation.settled, current);
  }

  #sendDescription(gen: number, description = this.#proposal ?? this.#pc.localDescription): void {
    if (description === null) return;
    const { type, sdp = '' } = description;
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
    const { audio, video } = this.#wanted();
    this.#add('audio', audio);
    this.#add('video', video);
  }

  #add(kind: 'audio' | 'video', track: MediaStreamTrack | null): void {
    if (this.#added.has(kind)) return;
    this.#added.add(kind);
    const { camera } = this.#outgoing.streams;
    this.#pc.addTransceiver(track ?? kind, { direction: 'sendrecv', streams: [camera] });
  }

  /** An offer that left out what we have to send: ours adds it. */
  async #offerMissingTransceivers(): Promise<void> {
    if (this.#pc.signalingState !== 'stable' || this.#negotiation.settled < 0) return;
    const { screen } = this.#outgoing.streams;
    const wanted = this.#wanted();
    const there = this.#transceivers();
    if (wanted.audio && !there.audio) this.#add('audio', wanted.audio);
    // The first video is the camera's, also while it is off.
    if ((wanted.video || wanted.screen) && !there.video) this.#add('video', wanted.video);
    if (wanted.screen && !there.screen) {
      this.#pc.addTransceiver(wanted.screen, { direction: 'sendrecv', streams: [screen] });
      this.#screenOffered = true;
    }
  }

  /** Which track goes where: the screen has a video of its own, or the camera's. */
  #wanted(): {
    audio: MediaStreamTrack | null;
    video: MediaStreamTrack | null;
    screen: MediaStreamTrack | null;
  } {
    const { audio, video, screen, beside } = this.#outgoing;
    return beside && !this.#oneVideo
      ? { audio, video, screen }
      : { audio, video: screen ?? video, screen: null };
  }

  /** In the order in which they were made: the first video is the camera's, the next that may send is the screen's. */
  #transceivers(): Partial<Record<'audio' | 'video' | 'screen', RTCRtpTransceiver>> {
    const all = this.#pc.getTransceivers().filter(({ direction }) => direction.startsWith('send'));
    const audio = all.find(({ receiver }) => receiver.track.kind === 'audio');
    const [video, ...more] = all.filter(({ receiver }) => receiver.track.kind === 'video');
    const screen = more.find(({ currentDirection }) => currentDirection?.startsWith('send') ?? true);
    return { ...(audio && { audio }), ...(video && { video }), ...(screen && { screen }) };
  }

  async #applyOutgoing(): Promise<void> {
    const { camera, screen } = this.#outgoing.streams;
    const wanted = this.#wanted();
    const there = this.#transceivers();
    for (const kind of ['audio', 'video', 'screen'] as const) {
      const sender = there[kind]?.sender;
      if (!sender) continue;
      sender.setStreams?.(kind === 'screen' ? screen : camera);
      if (sender.track !== wanted[kind]) await sender.replaceTrack(wanted[kind]);
    }
    await this.#shape();
  }

  async #shape(): Promise<void> {
    const { audio, video, screen } = this.#transceivers();
    const { width, height } = this.#outgoing.video?.getSettings() ?? {};
    const lines = width && height ? Math.min(width, height) : null;
    const inPlace = this.#outgoing.screen !== null && this.#wanted().screen === null;
    if (audio) await shape(audio.sender, shapeOf('sound', this.#picture, null));
    if (video) await shape(video.sender, shapeOf(inPlace ? 'screen' : 'camera', this.#picture, lines));
    if (screen) await shape(screen.sender, shapeOf('screen', this.#picture, null));
  }

  #sortTracks(): void {
    const named = this.#media?.streams;
    const videos = this.#tracks.filter(({ track }) => track.kind === 'video');
    const of = (id: string | null | undefined) =>
      id ? videos.find(({ stream }) => stream === id)?.track : undefined;
    const beside = this.#media?.screen && named?.camera ? of(named.screen) : undefined;
    const others = videos.map(({ track }) => track).filter((track) => track !== beside);
    // A screen in the camera's place is named alone.
    const main = of(named?.camera ?? named?.screen) ?? others.find((track) => !track.muted) ?? others[0];
    const sound = this.#tracks.map(({ track }) => track).filter(({ kind }) => kind === 'audio');
    hold(this.#incoming, main ? [...sound, main] : sound);
    hold(this.#screen, beside ? [beside] : []);
    this.#report();
  }

  #report(): void {
    const video = this.#incoming
      .getVideoTracks()
      .some((track) => !track.muted && track.readyState === 'live');
    const screen = this.#screen.getTracks().length > 0 ? this.#screen : null;
    this.#events.incoming({ stream: this.#incoming, video, screen, handshake: this.#handshake() });
  }

  /** The object stays the same for as long as both certificates do. */
  #handshake(): Handshake | null {
    const transports = new Set(this.#pc.getSenders().map(({ transport }) => transport));
    for (const transport of transports) if (transport) transport.onstatechange = () => this.#report();
    const own = ownFingerprint(this.#pc.currentLocalDescription?.sdp ?? '');
    const theirs = theirCertificate(transports);
    if (own === null || theirs === null) return null;
    const last = this.#lastHandshake;
    if (last === null || last.own !== own || !sameBytes(last.theirs, theirs))
      this.#lastHandshake = { own, theirs };
    return this.#lastHandshake;
  }
}

/** Makes a stream hold these tracks; those that stay are not touched, so that nothing flickers. */
function hold(stream: MediaStream, tracks: MediaStreamTrack[]): void {
  for (const track of stream.getTracks()) if (!tracks.includes(track)) stream.removeTrack(track);
  for (const track of tracks) stream.addTrack(track);
}

/** The servers and the policy as the browser wants them; without a certificate it makes one. */
export function configuration(
  { servers, policy }: IceShown,
  certificates: RTCCertificate[] = [],
): RTCConfiguration {
  return {
    certificates,
    iceServers: servers.map(({ urls, username, credential }) => ({
      urls,
      ...(username == null ? {} : { username }),
      ...(credential == null ? {} : { credential }),
    })),
    iceTransportPolicy: policy,
    bundlePolicy: 'max-bundle',
  };
}
