/** The switch that keeps one's own picture small, remembered on this device. */
const KEY = 'telementor.data_saver';

export class DataSaver {
  #on = $state(startsOn());
  /** After each change. */
  onChange: () => void = () => {};

  get on(): boolean {
    return this.#on;
  }

  set on(on: boolean) {
    this.#on = on;
    try {
      localStorage.setItem(KEY, on ? 'on' : 'off');
    } catch {
      // A browser without storage forgets it with the page.
    }
    this.onChange();
  }
}

/** Without a choice of the person's, what they told their browser (Save Data API); not every browser knows. */
function startsOn(): boolean {
  try {
    const chosen = localStorage.getItem(KEY);
    if (chosen !== null) return chosen === 'on';
  } catch {
    // Nothing is remembered there.
  }
  return (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;
}
