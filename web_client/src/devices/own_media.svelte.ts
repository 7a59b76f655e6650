/**
 * One's own camera, microphone and screen as the screens and the call see them. A device that stops delivering is
 * captured again by itself (recapture.ts), and what cannot be repaired has a problem, which the person reads.
 */
import type { Outgoing } from '../call/peer_link';
import type { Media } from '../protocol/wire';
import {
  type Captured,
  type CaptureProblem,
  type Choice,
  capture,
  captureAgain,
  captureScreen,
  type Devices,
  KINDS,
  type Kind,
  listDevices,
  NO_DEVICES,
  permission,
  permissionStatus,
  plugged,
  SLOT,
  saveChoice,
  savedChoice,
} from './capture';
import { type Loss, MUTED_MS, mayPass, mayTryAlone, NEW_ROW, nextAttempt } from './recapture';

export type Asked = 'not_yet' | 'asking' | 'answered';

/** A device that was plugged in while another is in use: the person decides. */
export interface Offer {
  kind: 'microphone' | 'camera' | 'speaker';
  label: string;
  choice: Partial<Choice>;
}

/** The device changed by itself. */
export interface Changed {
  kind: Kind;
  label: string;
}

type Because = 'lost' | 'plugged' | 'visible';
type Device = Pick<MediaDeviceInfo, 'deviceId' | 'groupId' | 'label'>;

export class OwnMedia {
  audio = $state.raw<MediaStreamTrack | null>(null);
  video = $state.raw<MediaStreamTrack | null>(null);
  screen = $state.raw<MediaStreamTrack | null>(null);
  muted = $state(false);
  /** The person wants to be seen; whether a camera is there is another matter. */
  cameraWanted = $state(true);
  problems = $state.raw<Partial<Record<Kind | 'screen', CaptureProblem>>>({});
  asked = $state<Asked>('not_yet');
  choice = $state.raw<Choice>(savedChoice());
  devices = $state.raw<Devices>(NO_DEVICES);
  offer = $state.raw<Offer | null>(null);
  changed = $state.raw<Changed | null>(null);
  /** Who shares the screen stays to be seen beside it, with a video more to send. */
  cameraBesideScreen = $state(savedBeside());
  /** After each change of what is sent. */
  onChange: () => void = () => {};

  #streams = { camera: new MediaStream(), screen: new MediaStream() };
  #current: Promise<void> | null = null;
  /** One capture after the other: some systems give a device only once. */
  #chain: Promise<unknown> = Promise.resolve();
  /** Counts the releases, so that what an older capture still awaited does not stay on. */
  #use = 0;
  #rows = { audio: NEW_ROW, video: NEW_ROW };
  #repairs: Partial<Record<Kind, AbortController>> = {};
  /** The device that was in use when it was lost: back to it when it is back. */
  #lost: Partial<Record<Kind, Device>> = {};
  #closing = new AbortController();

  constructor() {
    const { signal } = this.#closing;
    navigator.mediaDevices?.addEventListener?.('devicechange', () => void this.#devicesChanged(), { signal });
    document.addEventListener('visibilitychange', () => this.#inFront(), { signal });
    for (const kind of KINDS) void this.#watchPermission(kind, signal);
  }

  /** For good: every device is let go and nothing is watched any more. */
  close(): void {
    this.#closing.abort();
    this.release();
  }

  get outgoing(): Outgoing {
    const { audio, video, screen, cameraBesideScreen: beside } = this;
    return { audio, video, screen, beside, streams: this.#streams };
  }

  /** K4: both streams are named when the screen goes beside the camera; in its place it goes on the camera's stream. */
  get media(): Media {
    const { camera, screen } = this.#streams;
    const sharing = this.screen !== null;
    const beside = sharing && this.cameraBesideScreen;
    const inPlace = sharing && !beside;
    return {
      audio: this.#delivers('audio') && !this.muted,
      video: this.#delivers('video') && !inPlace,
      screen: sharing,
      streams: inPlace ? { screen: camera.id } : { camera: camera.id, ...(beside && { screen: screen.id }) },
    };
  }

  /** What is silenced or stuck is not promised to the others. */
  #delivers(kind: Kind): boolean {
    const problem = this.problems[kind];
    return this[kind] !== null && problem !== 'muted' && problem !== 'frozen';
  }

  /** The chosen speaker while it is there; null is the standard one. */
  get speaker(): string | null {
    const { speaker } = this.choice;
    return this.devices.speakers.some(({ deviceId }) => deviceId === speaker) ? speaker : null;
  }

  /** Looks without asking: a permission that was given before brings the preview at once. */
  async peek(): Promise<void> {
    const states = await Promise.all(KINDS.map(permission));
    if (states.every((state) => state === 'granted')) await this.ensure();
  }

  /** Brings what is wanted and not there or not well; asks the person if the browser wants that. Never fails. */
  ensure(): Promise<void> {
    this.#current ??= this.#inTurn(() => this.#bring()).finally(() => {
      this.#current = null;
    });
    return this.#current;
  }

  async #bring(): Promise<void> {
    this.#stopRepairs();
    const wanted = { audio: this.audio === null, video: this.video === null && this.cameraWanted };
    if (wanted.audio || wanted.video) {
      const use = this.#use;
      this.asked = 'asking';
      const captured = await capture(wanted, this.choice);
      if (use !== this.#use) return stop(captured);
      this.#take(captured, wanted);
      this.asked = 'answered';
      await this.#refreshDevices();
    }
    for (const kind of KINDS) {
      const problem = this.problems[kind];
      if (this[kind] !== null && (problem === 'muted' || problem === 'frozen'))
        await this.#again(kind, problem);
    }
  }

  #take(captured: Captured, wanted: Partial<Record<Kind, boolean>>): void {
    const { audio, video } = captured;
    for (const kind of KINDS) if (wanted[kind] && !captured[kind]) this[kind] = null;
    if (video && !this.cameraWanted) video.stop();
    if (audio) this.#put('audio', audio);
    if (video && this.cameraWanted) this.#put('video', video);
    const kept = Object.entries(this.problems).filter(([kind]) => !wanted[kind as Kind]);
    this.problems = { ...Object.fromEntries(kept), ...captured.problems };
    this.onChange();
  }

  #put(kind: Kind, track: MediaStreamTrack): void {
    if (this[kind] !== track) this[kind]?.stop();
    if (kind === 'audio') track.enabled = !this.muted;
    const here = () => this[kind] === track;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const muted = () => {
      clearTimeout(timer);
      timer = setTimeout(() => here() && track.muted && this.#repair(kind, 'muted'), MUTED_MS);
    };
    track.onended = () => here() && this.#repair(kind, 'ended');
    track.onmute = muted;
    track.onunmute = () => {
      clearTimeout(timer);
      if (here() && this.problems[kind] === 'muted') this.#well(kind);
    };
    if (track.muted) muted();
    this[kind] = track;
  }

  // Repairs

  /**
   * A track that is live and delivers nothing: whoever watches the frames says so, as often as it likes. What is explained
   * already waits for a change or for the person: time that passed in that state is not time in which it was well.
   */
  recapture(kind: Kind): void {
    if (this[kind] !== null && !this.problems[kind]) this.#repair(kind, this.#loss(kind) ?? 'frozen');
  }

  /** Pictures come again by themselves. */
  resumed(kind: Kind): void {
    if (this.problems[kind] === 'frozen') this.#well(kind);
  }

  #repair(kind: Kind, loss: Loss, because: Because = 'lost'): void {
    if (!this.#inUse(kind) || this.#repairs[kind]) return;
    const repair = new AbortController();
    this.#repairs[kind] = repair;
    void this.#attempts(kind, loss, because, repair.signal).finally(() => {
      if (this.#repairs[kind] === repair) delete this.#repairs[kind];
    });
  }

  async #attempts(kind: Kind, loss: Loss, because: Because, signal: AbortSignal): Promise<void> {
    const track = this[kind];
    for (;;) {
      const next = nextAttempt(this.#rows[kind], Date.now());
      // What is silenced while the page lies behind another usually speaks again with it in front.
      const waits = loss === 'muted' && document.visibilityState === 'hidden';
      const alone = next && !waits && mayTryAlone(await permission(kind), next.row.attempts, because);
      if (signal.aborted) return;
      if (!alone) {
        if (!this.problems[kind]) this.#explain(kind, loss === 'ended' ? 'gone' : loss);
        return;
      }
      this.#rows[kind] = next.row;
      await pause(next.pauseMs, signal);
      const problem = await this.#inTurn(async () => {
        const replaced = this[kind] !== null && this[kind] !== track;
        return signal.aborted || replaced ? null : this.#again(kind, loss);
      });
      if (problem === null || !mayPass(problem)) return;
    }
  }

  /** One attempt, and what it changes; null when it is well. */
  async #again(kind: Kind, loss: Loss, home?: string): Promise<CaptureProblem | null> {
    const use = this.#use;
    const old = this[kind];
    if (old && loss === 'muted') return this.#unmute(kind, old);
    const former = old ? deviceOf(old) : this.#lost[kind];
    if (former) this.#lost[kind] ??= former;
    // A source that hangs is opened anew only once nobody holds it.
    old?.stop();
    const wished = home ?? this.choice[SLOT[kind]] ?? this.#lost[kind]?.deviceId ?? null;
    const captured = await capture({ [kind]: true }, { ...this.choice, [SLOT[kind]]: wished });
    if (use !== this.#use) {
      stop(captured);
      return null;
    }
    if (captured.problems[kind] === 'missing' && former) captured.problems[kind] = 'gone';
    this.#take(captured, { [kind]: true });
    const now = captured[kind] ? deviceOf(captured[kind]) : null;
    if (now && former && now.label !== former.label) this.changed = { kind, label: now.label };
    if (now?.deviceId === wished) delete this.#lost[kind];
    await this.#refreshDevices();
    return captured.problems[kind] ?? null;
  }

  /** The silenced track stays until there is one that speaks: it may speak again by itself. */
  async #unmute(kind: Kind, old: MediaStreamTrack): Promise<CaptureProblem | null> {
    const captured = await captureAgain(kind, old.getSettings().deviceId);
    const track = typeof captured === 'string' ? null : captured;
    const needed = this[kind] === old && old.muted;
    if (needed && track && !track.muted) {
      this.#put(kind, track);
      this.#well(kind);
      return null;
    }
    track?.stop();
    if (!needed) return null;
    this.#explain(kind, 'muted');
    return 'muted';
  }

  #explain(kind: Kind, problem: CaptureProblem): void {
    if (this.problems[kind] === problem) return;
    this.problems = { ...this.problems, [kind]: problem };
    this.onChange();
  }

  #well(kind: Kind): void {
    const { [kind]: _, ...others } = this.problems;
    this.problems = others;
    this.onChange();
  }

  /** The person, or a new device, changes everything: what was tried before does not count. */
  #stopRepairs(kinds: readonly Kind[] = KINDS): void {
    for (const kind of kinds) {
      this.#repairs[kind]?.abort();
      delete this.#repairs[kind];
      this.#rows[kind] = NEW_ROW;
    }
  }

  #inUse(kind: Kind): boolean {
    return this.asked === 'answered' && (kind === 'audio' || this.cameraWanted);
  }

  /** What is wrong with a kind now, so that a change is reason to try again. */
  #loss(kind: Kind): Loss | null {
    const track = this[kind];
    if (track === null || track.readyState === 'ended') return 'ended';
    if (track.muted) return 'muted';
    return this.problems[kind] === 'frozen' ? 'frozen' : null;
  }

  #tryAnew(kind: Kind, because: Because): void {
    const loss = this.#loss(kind);
    const problem = this.problems[kind];
    if (!this.#inUse(kind) || loss === null || (problem && !mayPass(problem))) return;
    this.#stopRepairs([kind]);
    this.#repair(kind, loss, because);
  }

  #inFront(): void {
    if (document.visibilityState !== 'visible') return;
    for (const kind of KINDS) this.#tryAnew(kind, 'visible');
  }

  async #devicesChanged(): Promise<void> {
    const before = this.devices;
    await this.#refreshDevices();
    if (this.asked !== 'answered') return;
    const newer = plugged(before, this.devices);
    for (const kind of KINDS) {
      const list = `${SLOT[kind]}s` as const;
      const home = newer[list].find((device) => this.#isHome(kind, device));
      if (home) newer[list] = newer[list].filter((device) => device !== home);
      if (this.#loss(kind) !== null) {
        this.#tryAnew(kind, 'plugged');
        newer[list] = [];
      } else if (home && this.#inUse(kind)) {
        void this.#inTurn(() => this.#again(kind, 'frozen', home.deviceId));
      }
    }
    this.#offerOneOf(newer);
  }

  /** Chosen by the person, or in use when it was lost; the browser's name `default` hides which, its group does not. */
  #isHome(kind: Kind, { deviceId, groupId }: MediaDeviceInfo): boolean {
    const lost = this.#lost[kind];
    const chosen = this.choice[SLOT[kind]];
    if (chosen !== null) return deviceId === chosen;
    return lost !== undefined && (deviceId === lost.deviceId || (groupId !== '' && groupId === lost.groupId));
  }

  /** A headset is two devices: its speaker comes with its microphone. */
  #offerOneOf({ microphones, cameras, speakers }: Devices): void {
    const { offer } = this;
    if (
      offer &&
      !this.devices[`${offer.kind}s`].some(({ deviceId }) => deviceId === offer.choice[offer.kind])
    )
      this.offer = null;
    const [microphone, camera, speaker] = [microphones[0], cameras[0], speakers[0]];
    if (microphone) {
      const own = speakers.find(({ groupId }) => groupId === microphone.groupId);
      const choice = { microphone: microphone.deviceId, ...(own && { speaker: own.deviceId }) };
      this.offer = { kind: 'microphone', label: microphone.label, choice };
    } else if (camera && this.cameraWanted)
      this.offer = { kind: 'camera', label: camera.label, choice: { camera: camera.deviceId } };
    else if (speaker)
      this.offer = { kind: 'speaker', label: speaker.label, choice: { speaker: speaker.deviceId } };
  }

  async #watchPermission(kind: Kind, signal: AbortSignal): Promise<void> {
    const status = await permissionStatus(kind);
    const changed = () => {
      if (status?.state === 'granted' && this.#inUse(kind) && this[kind] === null) void this.ensure();
    };
    status?.addEventListener('change', changed, { signal });
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#chain.then(act);
    this.#chain = turn.catch(() => {});
    return turn;
  }

  // What the person does

  async toggleMicrophone(): Promise<void> {
    if (this.audio === null) {
      this.muted = false;
      await this.ensure();
      return;
    }
    this.muted = !this.muted;
    this.audio.enabled = !this.muted;
    this.onChange();
  }

  /** Stopping really lets the camera go: its light goes out. */
  async toggleCamera(): Promise<void> {
    if (this.video === null) {
      this.cameraWanted = true;
      await this.ensure();
      return;
    }
    this.dropCamera();
    this.onChange();
  }

  dropCamera(): void {
    this.#stopRepairs(['video']);
    this.cameraWanted = false;
    this.video?.stop();
    this.video = null;
    const { video: _, ...problems } = this.problems;
    this.problems = problems;
  }

  async toggleScreen(): Promise<void> {
    if (this.screen !== null) {
      this.#stopScreen();
      return;
    }
    const track = await captureScreen();
    const { screen: _, ...problems } = this.problems;
    if (typeof track === 'string') {
      // Closing the browser's own chooser is an answer, not a failure.
      this.problems = track === 'denied' ? problems : { ...problems, screen: track };
      return;
    }
    this.problems = problems;
    track.onended = () => this.screen === track && this.#stopScreen();
    this.screen = track;
    this.onChange();
  }

  #stopScreen(): void {
    this.screen?.stop();
    this.screen = null;
    this.onChange();
  }

  keepCameraBesideScreen(beside: boolean): void {
    this.cameraBesideScreen = beside;
    saveBeside(beside);
    this.onChange();
  }

  /** A choice that cannot be had is taken back, and the person reads why. */
  async choose(choice: Partial<Choice>): Promise<void> {
    const former = this.choice;
    this.choice = { ...former, ...choice };
    this.offer = this.changed = null;
    await this.#inTurn(async () => {
      for (const kind of KINDS) {
        const slot = SLOT[kind];
        if (choice[slot] === undefined || !this.#inUse(kind)) continue;
        if (!(await this.#switch(kind))) this.choice = { ...this.choice, [slot]: former[slot] };
      }
    });
    saveChoice(this.choice);
    await this.#refreshDevices();
  }

  async #switch(kind: Kind): Promise<boolean> {
    const use = this.#use;
    const old = this[kind];
    this.#stopRepairs([kind]);
    delete this.#lost[kind];
    // Some systems give a camera only once: the old one goes first.
    old?.stop();
    let captured = await capture({ [kind]: true }, this.choice);
    const chosen = captured[kind] !== null;
    if (!chosen && old) {
      const back = await capture(
        { [kind]: true },
        { ...this.choice, [SLOT[kind]]: old.getSettings().deviceId ?? null },
      );
      captured = { ...back, problems: captured.problems };
    }
    if (use === this.#use) this.#take(captured, { [kind]: true });
    else stop(captured);
    return chosen;
  }

  /** After the call: nothing stays on. */
  release(): void {
    this.#use++;
    this.#stopRepairs();
    this.#lost = {};
    this.problems = {};
    this.offer = this.changed = null;
    this.#stopScreen();
    this.audio?.stop();
    this.video?.stop();
    this.audio = null;
    this.video = null;
    this.asked = 'not_yet';
  }

  async #refreshDevices(): Promise<void> {
    this.devices = await listDevices();
  }
}

function deviceOf(track: MediaStreamTrack): Device {
  const { deviceId = '', groupId = '' } = track.getSettings();
  return { deviceId, groupId, label: track.label };
}

function stop({ audio, video }: Captured): void {
  audio?.stop();
  video?.stop();
}

/** Ends early when it is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

const BESIDE = 'telementor.camera_beside_screen';

function savedBeside(): boolean {
  try {
    return localStorage.getItem(BESIDE) !== 'off';
  } catch {
    return true;
  }
}

function saveBeside(beside: boolean): void {
  try {
    localStorage.setItem(BESIDE, beside ? 'on' : 'off');
  } catch {
    // A browser without storage asks again next time.
  }
}
