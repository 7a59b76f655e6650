/** Shows a stream in a <video> element; Svelte has no attribute for srcObject. */
import type { Action } from 'svelte/action';

export interface Shown {
  stream: MediaStream | null;
  /** The chosen speaker, for what is heard; null is the standard one. */
  speaker?: string | null;
  /** The browser wants a click before it plays (autoplay rules). */
  onBlocked?: (blocked: boolean) => void;
}

export const showStream: Action<HTMLVideoElement, Shown> = (element, first) => {
  let shown = first;

  async function apply() {
    if (element.srcObject !== shown.stream) element.srcObject = shown.stream;
    const sink = shown.speaker ?? '';
    if ('setSinkId' in element && element.sinkId !== sink) await element.setSinkId(sink).catch(() => {});
    if (shown.stream && element.paused) await play();
  }

  async function play() {
    try {
      await element.play();
      shown.onBlocked?.(false);
    } catch (error) {
      if ((error as Error).name === 'NotAllowedError') shown.onBlocked?.(true);
    }
  }

  void apply();
  return {
    update(next) {
      shown = next;
      void apply();
    },
    destroy() {
      element.srcObject = null;
    },
  };
};
