/** Everything that is heard or measured without a call: the microphone's level, the speaker test, the ring. */

let shared: AudioContext | null = null;

function context(): AudioContext | null {
  if (!('AudioContext' in globalThis)) return null;
  shared ??= new AudioContext();
  if (shared.state === 'suspended') void shared.resume().catch(() => {});
  return shared;
}

/** How often the level is reported. */
const LEVEL_MS = 100;

/** Reports the level of a track in [0, 1]; returns what stops it. */
export function watchLevel(track: MediaStreamTrack, report: (level: number) => void): () => void {
  const audio = context();
  if (!audio) return () => {};
  const source = audio.createMediaStreamSource(new MediaStream([track]));
  const analyser = audio.createAnalyser();
  analyser.fftSize = 512;
  source.connect(analyser);
  const samples = new Uint8Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getByteTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += ((sample - 128) / 128) ** 2;
    // Speech has an RMS of about 0.02 to 0.3: the square root spreads it over the meter.
    report(Math.min(1, Math.sqrt(Math.sqrt(sum / samples.length)) * 1.4));
  }, LEVEL_MS);
  return () => {
    clearInterval(timer);
    source.disconnect();
  };
}

/** Two soft notes, one after the other. */
function chime(audio: AudioContext, output: AudioNode, notesHz: readonly number[], gain: number): void {
  notesHz.forEach((noteHz, index) => {
    const start = audio.currentTime + index * 0.28;
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = noteHz;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(gain, start + 0.03);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.6);
    tone.connect(volume).connect(output);
    tone.start(start);
    tone.stop(start + 0.65);
  });
}

/** A soft tone that nobody hears, as something to send; null where there is no audio at all. */
export function silentTone(): { track: MediaStreamTrack; stop: () => void } | null {
  const audio = context();
  if (!audio) return null;
  const output = audio.createMediaStreamDestination();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  volume.gain.value = 0.1;
  tone.connect(volume).connect(output);
  tone.start();
  const track = output.stream.getAudioTracks()[0];
  const stop = () => {
    tone.stop();
    track?.stop();
    volume.disconnect();
  };
  return track ? { track, stop } : null;
}

/** The speaker test, on the chosen speaker where the browser lets one choose. */
export async function testSpeaker(speaker: string | null): Promise<boolean> {
  const audio = context();
  if (!audio) return false;
  if (speaker === null || !('setSinkId' in HTMLMediaElement.prototype)) {
    chime(audio, audio.destination, [523.25, 659.25, 783.99], 0.25);
    return true;
  }
  const output = audio.createMediaStreamDestination();
  const element = new Audio();
  element.srcObject = output.stream;
  try {
    await element.setSinkId(speaker);
    await element.play();
  } catch {
    return false;
  }
  chime(audio, output, [523.25, 659.25, 783.99], 0.25);
  setTimeout(() => element.pause(), 2_000);
  return true;
}

/** A soft ring until it is stopped. Without a gesture on the page browsers may keep it silent; the words still show. */
export function ring(): () => void {
  const audio = context();
  if (!audio) return () => {};
  const once = () => audio.state === 'running' && chime(audio, audio.destination, [659.25, 523.25], 0.12);
  once();
  const timer = setInterval(once, 2_400);
  return () => clearInterval(timer);
}

/** Somebody knocks: two short low notes. Silent where the page may make no sound yet; the words still show. */
export function knock(): void {
  const audio = context();
  if (audio?.state === 'running') chime(audio, audio.destination, [329.63, 329.63], 0.15);
}
