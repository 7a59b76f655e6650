/** What a person is told about the call: every state has its word and its sentence. */
import { type CallState, type EndReason, linksOf } from './state';

export type Shown = 'idle' | 'waiting' | 'connecting' | 'connected' | 'reconnecting' | 'ended';

export function shown(state: CallState): Shown {
  const { phase } = state;
  if (phase.kind === 'joining') return phase.call === null ? 'connecting' : 'reconnecting';
  if (phase.kind !== 'in') return phase.kind;
  const links = linksOf(state);
  if (links.length === 0) return 'waiting';
  if (links.some((link) => link.flow === 'flowing')) return 'connected';
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
    case 'connected':
      return { kind: 'connected' };
    default:
      return { kind: 'connecting' };
  }
}
