/** What a person is told about the call: every state has its word and its sentence. */
import { type CallState, type EndReason, type Flow, linksOf } from './state';

export type Shown = 'idle' | 'waiting' | 'connecting' | 'connected' | 'reconnecting' | 'ended';

/** A moment's silence is not worth a word; what is missing on a good path has a sentence of its own. */
const CONNECTED: ReadonlySet<Flow> = new Set<Flow>([
  'flowing',
  'doubtful',
  'sound_missing',
  'picture_missing',
]);

export function shown(state: CallState): Shown {
  const { phase } = state;
  if (phase.kind === 'joining') return phase.call === null ? 'connecting' : 'reconnecting';
  if (phase.kind !== 'in') return phase.kind;
  const links = linksOf(state);
  if (links.length === 0) return 'waiting';
  if (links.some((link) => CONNECTED.has(link.flow))) return 'connected';
  return links.some((link) => link.met) ? 'reconnecting' : 'connecting';
}

export type Told =
  | { kind: 'idle' | 'connecting' | 'resuming' | 'connected' }
  | {
      kind:
        | 'rung'
        | 'ringing'
        | 'waiting'
        | 'declined'
        | 'unanswered'
        | 'partner_reconnecting'
        | 'sound_missing'
        | 'picture_missing'
        | 'reconnecting';
      person: string;
    }
  | { kind: 'ended'; reason: EndReason };

/** Every state has its sentence; `person` is whom it is about. */
export function told(state: CallState): Told {
  const { phase } = state;
  if (state.ring !== null && phase.kind !== 'in') return { kind: 'rung', person: state.ring.by };
  if (phase.kind === 'ended') return { kind: 'ended', reason: phase.reason };
  if (phase.kind === 'idle') return { kind: 'idle' };
  if (phase.kind === 'joining') return { kind: phase.call === null ? 'connecting' : 'resuming' };
  const partner = Object.keys(state.roles).find((person) => person !== state.me?.person) ?? '';
  switch (shown(state)) {
    case 'waiting': {
      const waiting = { ringing: 'ringing', declined: 'declined', timeout: 'unanswered' } as const;
      const rings = phase.note === 'ringing' && !state.onlinePersons.includes(partner);
      return { kind: phase.note === null || rings ? 'waiting' : waiting[phase.note], person: partner };
    }
    case 'reconnecting': {
      const away = linksOf(state).find((link) => link.presence !== 'here');
      return away
        ? { kind: 'partner_reconnecting', person: away.person }
        : { kind: 'reconnecting', person: partner };
    }
    case 'connected': {
      const links = linksOf(state);
      const bad = links.find(({ flow }) => flow === 'sound_missing' || flow === 'picture_missing');
      if (bad?.flow === 'sound_missing' || bad?.flow === 'picture_missing')
        return { kind: bad.flow, person: bad.person };
      return { kind: 'connected' };
    }
    default:
      return { kind: 'connecting' };
  }
}
