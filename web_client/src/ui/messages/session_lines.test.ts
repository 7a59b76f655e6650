import { describe, expect, it } from 'vitest';
import { session } from '../../room/session_model';
import type { SessionEvent } from '../../room/state';
import { en } from './en';

const name = (person: string) => ({ mentor: 'You', mentee: 'Mio' })[person] ?? 'Someone';
const when = (start: number) => `<${start}>`;
const times = (start: number, minutes = 60) => ({ wall: '', tz: 'UTC', start, minutes });
const proposal = {
  id: 'p',
  by: 'mentee',
  times: [times(7), times(8)],
  minutes: 60,
  reason: 'a train',
  expires: 9,
};

function said(event: object, by = 'mentee'): string {
  const whole = {
    by,
    key: 'k',
    session: session({ start: 1, proposals: [proposal], agenda: 'Ch. 2' }),
    ...event,
  };
  return en.session.happened(whole as unknown as SessionEvent, name, when);
}

describe('what became of a session, in words', () => {
  const cases: [object, string][] = [
    [{ kind: 'session.requested' }, 'Mio asked for a session on <1>, 1 hour.'],
    [{ kind: 'session.confirmed' }, 'Mio accepted the session on <1>.'],
    [{ kind: 'session.proposed', proposal: 'p' }, 'Mio proposed other times: <7>; <8>. Reason: a train'],
    [{ kind: 'session.declined' }, 'Mio declined the session on <1>.'],
    [{ kind: 'session.declined', proposal: 'p' }, 'Mio closed a proposal. The session stays on <1>.'],
    [
      { kind: 'session.rescheduled', old: times(1), new: times(2, 90), reason: 'late' },
      'Mio moved the session to <2>, 1 h 30 min. Reason: late',
    ],
    [
      { kind: 'session.rescheduled', old: times(1), new: times(2), proposal: 'p' },
      'Mio took a proposed time: the session is now on <2>.',
    ],
    [
      { kind: 'session.rescheduled', old: times(1), new: times(1, 30) },
      'Mio changed the session to 30 minutes.',
    ],
    [
      { kind: 'session.rescheduled', by: 'system', old: times(1), new: times(2) },
      'The clocks have new rules there: the session is now on <2>.',
    ],
    [{ kind: 'session.cancelled', reason: 'ill' }, 'Mio cancelled the session on <1>. Reason: ill'],
    [{ kind: 'session.expired' }, 'Nobody answered in time: there is no session on <1>.'],
    [{ kind: 'session.expired', proposal: 'p' }, 'Nobody took a proposed time. The session stays on <1>.'],
    [{ kind: 'session.started' }, 'The session began.'],
    [{ kind: 'session.extended', minutes: 15 }, 'Mio extended the session by 15 minutes.'],
    [{ kind: 'session.ended' }, 'Mio ended the session.'],
    [{ kind: 'session.ended', by: 'system' }, 'The session is over.'],
    [{ kind: 'session.no_show', who: ['mentee'] }, 'Mio did not come to the session on <1>.'],
    [{ kind: 'session.agenda_set' }, 'Mio set the agenda: Ch. 2'],
  ];
  it.each(cases)('%o', (event, sentence) => {
    expect(said(event)).toBe(sentence);
  });

  it('in brief', () => {
    const event = {
      kind: 'session.proposed',
      by: 'mentee',
      key: 'k',
      proposal: 'p',
      session: session({ proposals: [proposal] }),
    };
    expect(en.session.happened(event as unknown as SessionEvent, name, when, true)).toBe(
      'Mio proposed other times.',
    );
  });

  it('of oneself', () => {
    expect(said({ kind: 'session.confirmed' }, 'mentor')).toBe('You accepted the session on <1>.');
  });
});
