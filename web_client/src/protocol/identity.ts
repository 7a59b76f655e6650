/**
 * Who this tab is. A tab keeps its own log-in selector (two personal links in two tabs are two people) and its own
 * device id (C1), both over a reload and no longer.
 */
const LOGIN = 'telementor.login';
const LOGIN_ASKED = 'telementor.login.asked';
const LET_IN = 'telementor.let_in';
const DEVICE = 'telementor.device';
/** What belongs to the device: it stays with the tab that had it first. */
const OF_THE_DEVICE = ['telementor.call'];
/** How long the other tabs of this browser have to say that a device id is theirs. */
const DUPLICATE_MS = 150;

/** A new selector for a log-in that is about to be asked for: 16 lower-case hex characters. */
export function newLogin(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The form is being submitted: the selector counts once the server has let the person in. */
export function askLogin(login: string): void {
  sessionStorage.setItem(LOGIN_ASKED, login);
}

/** The page that came back is not a refusal of the log-in: a tab that enters as somebody else becomes that person. */
export function settleLogin(letIn: boolean): void {
  const asked = sessionStorage.getItem(LOGIN_ASKED);
  if (asked === null) return;
  sessionStorage.removeItem(LOGIN_ASKED);
  if (!letIn) return;
  noteLetIn(true);
  sessionStorage.setItem(LOGIN, asked);
  for (const key of [DEVICE, ...OF_THE_DEVICE]) sessionStorage.removeItem(key);
}

/** Whether somebody was let in with this browser: only then is it worth asking the server who. */
export function everLetIn(): boolean {
  return localStorage.getItem(LET_IN) !== null;
}

export function noteLetIn(letIn: boolean): void {
  if (letIn) localStorage.setItem(LET_IN, '1');
  else localStorage.removeItem(LET_IN);
}

export function tabLogin(): string | null {
  return sessionStorage.getItem(LOGIN);
}

export function newDevice(): string {
  const device = crypto.randomUUID?.() ?? uuidFrom(crypto.getRandomValues(new Uint8Array(16)));
  sessionStorage.setItem(DEVICE, device);
  return device;
}

/** R3: a duplicated tab copies sessionStorage, so the older tab is asked; the copy takes a new device id. */
export async function tabDevice(): Promise<string> {
  const device = sessionStorage.getItem(DEVICE) ?? newDevice();
  if (!('BroadcastChannel' in window)) return device;
  const channel = new BroadcastChannel('telementor.device');
  const nonce = newLogin();
  const taken = await new Promise<boolean>((resolve) => {
    channel.onmessage = ({ data }) => data?.mine === device && data?.to === nonce && resolve(true);
    channel.postMessage({ whose: device, from: nonce });
    setTimeout(() => resolve(false), DUPLICATE_MS);
  });
  if (taken) for (const key of OF_THE_DEVICE) sessionStorage.removeItem(key);
  const own = taken ? newDevice() : device;
  channel.onmessage = ({ data }) => {
    if (data?.whose === sessionStorage.getItem(DEVICE) && typeof data.from === 'string') {
      channel.postMessage({ mine: data.whose, to: data.from });
    }
  };
  return own;
}

/** RFC 9562 §5.4, for pages without a secure context, where randomUUID is missing. */
export function uuidFrom(bytes: Uint8Array): string {
  const b = Uint8Array.from(bytes);
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x40;
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(b, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export function newKey(): string {
  return crypto.randomUUID?.() ?? uuidFrom(crypto.getRandomValues(new Uint8Array(16)));
}
