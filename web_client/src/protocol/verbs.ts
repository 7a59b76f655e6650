/**
 * What a client may ask and what it hears (PROTOCOL.md). The shapes are the generated ones of wire.ts; this file
 * only says which answer belongs to which verb and which refusals are worth another try.
 */
import type {
  Appended,
  CallJoined,
  Commands,
  Done,
  EchoAnswer,
  IceAnswer,
  Joined,
  Paged,
  Pushes,
  Refusal,
  SessionShown,
} from './wire';

interface Answers {
  'room.join': Joined;
  'room.leave': Done;
  'log.page': Paged;
  'chat.send': Appended;
  'chat.edit': Appended;
  'chat.delete': Appended;
  'chat.react': Appended;
  'chat.typing': Done;
  'chat.read': Done;
  'call.join': CallJoined;
  'call.leave': Done;
  'call.decline': Done;
  'call.media': Done;
  'call.signal': Done;
  ice: IceAnswer;
  echo: EchoAnswer;
  'session.book': SessionShown;
  'session.move': SessionShown;
  'session.propose': SessionShown;
  'session.answer': SessionShown;
  'session.cancel': SessionShown;
  'session.extend': SessionShown;
  'session.agenda': SessionShown;
  'session.end': SessionShown;
  'session.knock': Done;
}

export type Verb = keyof Commands & keyof Answers;
export type Command<V extends Verb> = Commands[V];

/** T2: the acknowledgement of a request. `lost` is ours: no answer came, so nobody knows whether it was carried out. */
export type Answer<V extends Verb> =
  | (Omit<Answers[V], 'ok'> & { ok: true })
  | { ok: false; error: Refusal; lost: boolean };

export type PushName = keyof Pushes;
export type Push = { [N in PushName]: { name: N; body: Pushes[N] } }[PushName];

/** T5: these say "not now"; every other code is an answer for good. */
export function worthRetrying(error: Refusal): boolean {
  return error.code === 'limited' || error.code === 'unavailable';
}

/** How long to wait before asking again when the server named no time of its own. */
export const DEFAULT_RETRY_MS = 1_000;

export function retryDelayMs(error: Refusal): number {
  return Math.max(50, error.retry_ms ?? DEFAULT_RETRY_MS);
}
