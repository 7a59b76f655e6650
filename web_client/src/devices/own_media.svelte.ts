/** One's own camera, microphone and screen as the screens and the call see them. */
import type { Outgoing } from '../call/peer_link';
import type { Media } from '../protocol/wire';
import {
  type Captured,
  type CaptureProblem,
  type Choice,
  capture,
  captureScreen,
  type Devices,
  type Kind,
  listDevices,
  NO_DEVICES,
  permissions,
  saveChoice,
  savedChoice,
} from './capture';

export type Asked = 'not_yet' | 'asking' | 'answered';

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
  /** Who shares the screen stays to be seen beside it, with a video more to send. */
  cameraBesideScreen = $state(savedBeside());
  /** After each change of what is sent. */
  onChange: () => void = () => {};

  #streams = { camera: new MediaStream(), screen: new MediaStream() };
  #current: Promise<void> | null = null;

  constructor() {
    navigator.mediaDevices?.addEventListener?.('devicechange', () => void this.#refreshDevices());
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
      audio: this.audio !== null && !this.muted,
      video: this.video !== null && !inPlace,
      screen: sharing,
      streams: inPlace ? { screen: camera.id } : { camera: camera.id, ...(beside && { screen: screen.id }) },
    };
  }

  /** Looks without asking: a permission that was given before brings the preview at once. */
  async peek(): Promise<void> {
    const { audio, video } = await permissions();
    if (audio === 'granted' && video === 'granted') await this.ensure();
  }

  /** Brings what is wanted and not there yet; asks the person if the browser wants that. Never fails. */
  ensure(): Promise<void> {
    this.#current ??= this.#bring().finally(() => {
      this.#current = null;
    });
    return this.#current;
  }

  async #bring(): Promise<void> {
    const wanted = { audio: this.audio === null, video: this.video === null && this.cameraWanted };
    if (!wanted.audio && !wanted.video) return;
    this.asked = 'asking';
    this.#take(await capture(wanted, this.choice), wanted);
    this.asked = 'answered';
    await this.#refreshDevices();
  }

  #take(captured: Captured, wanted: Record<Kind, boolean>): void {
    const { audio, video } = captured;
    if (video && !this.cameraWanted) video.stop();
    if (audio) this.#setAudio(audio);
    if (video && this.cameraWanted) this.#setVideo(video);
    const solved = Object.keys(this.problems).filter((kind) => !wanted[kind as Kind]);
    const kept = Object.fromEntries(solved.map((kind) => [kind, this.problems[kind as Kind]]));
    this.problems = { ...kept, ...captured.problems };
    this.onChange();
  }

  #setAudio(track: MediaStreamTrack): void {
    if (this.audio !== track) this.audio?.stop();
    track.enabled = !this.muted;
    track.onended = () => {
      if (this.audio === track) this.#lost('audio');
    };
    this.audio = track;
  }

  #setVideo(track: MediaStreamTrack): void {
    if (this.video !== track) this.video?.stop();
    track.onended = () => {
      if (this.video === track) this.#lost('video');
    };
    this.video = track;
  }

  /** Unplugged, or taken away by the system. */
  #lost(kind: Kind): void {
    if (kind === 'audio') this.audio = null;
    else this.video = null;
    this.problems = { ...this.problems, [kind]: 'gone' };
    this.onChange();
  }

  /** A device that is there and gives nothing is taken anew. */
  async recapture(kind: Kind): Promise<void> {
    const wanted = { audio: kind === 'audio', video: kind === 'video' };
    this.#take(await capture(wanted, this.choice), wanted);
  }

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

  async choose(choice: Partial<Choice>): Promise<void> {
    this.choice = { ...this.choice, ...choice };
    saveChoice(this.choice);
    const wanted = {
      audio: choice.microphone !== undefined && this.audio !== null,
      video: choice.camera !== undefined && this.video !== null,
    };
    if (!wanted.audio && !wanted.video) return;
    // Some systems give a camera only once: the old one goes first.
    if (wanted.video) this.video?.stop();
    this.#take(await capture(wanted, this.choice), wanted);
    await this.#refreshDevices();
  }

  /** After the call: nothing stays on. */
  release(): void {
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
