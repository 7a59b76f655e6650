import { describe, expect, it } from 'vitest';
import type { Answer } from '../protocol/verbs';
import type { Refusal, Session } from '../protocol/wire';
import { session } from './session_model';
import { type Change, change, type SessionVerb, shows } from './session_requests';

type Said = Answer<SessionVerb>;

const lost: Said = { ok: false, lost: true, error: { code: 'unavailable', message: 'No connection.' } };
const done = (after: Session): Said => ({ ok: true, session: after });
const refused = (error: Partial<Refusal>): Said => ({
  ok: false,
  lost: false,
  error: { code: 'conflict', message: 'No.', ...error },
});

const move: Change = { verb: 'session.move', session: 's1', rev: 1, wall: '2026-12-01T13:00', tz: 'UTC' };
const moved = session({ rev: 2, wall: '2026-12-01T13:00' });

/** Answers one after the other; the last one again and again. */
async function asking(answers: Said[], wanted: Change = move, back = true) {
  let asked = 0;
  const pauses: number[] = [];
  const result = await change(
    {
      ask: async () => answers[Math.min(asked++, answers.length - 1)] as Said,
      back: async () => back,
      pause: async (ms) => {
        pauses.push(ms);
      },
    },
    'mentor',
    session(),
    wanted,
  );
  return { result, asked, pauses };
}

describe('a change of a session', () => {
  it('S4: a lost answer is asked for again, and a stale rev then shows that it was done', async () => {
    const { result, asked } = await asking([lost, refused({ field: 'rev', current: { ...moved } })]);
    expect(result).toEqual({ ok: true, session: moved });
    expect(asked).toBe(2);
  });

  it('S4: a stale rev is a refusal when nothing was lost, or when it shows what somebody else did', async () => {
    const stale = refused({ field: 'rev', current: { ...moved } });
    expect((await asking([stale])).result.ok).toBe(false);
    const otherwise = refused({
      field: 'rev',
      current: { ...session({ rev: 2, wall: '2026-12-01T14:00' }) },
    });
    expect((await asking([lost, otherwise])).result.ok).toBe(false);
  });

  it('an answer that got lost before anything was done is carried out by the second request', async () => {
    expect((await asking([lost, done(moved)])).result).toEqual({ ok: true, session: moved });
  });

  it('is asked five times at most, and not at all once the room does not come back', async () => {
    expect((await asking([lost])).asked).toBe(5);
    expect((await asking([lost], move, false)).asked).toBe(1);
  });

  it('waits as long as the server says', async () => {
    const limited = refused({ code: 'limited', retry_ms: 700 });
    expect((await asking([limited, done(moved)])).pauses).toEqual([700]);
  });

  it('what is wrong for good is not asked twice', async () => {
    expect((await asking([refused({ code: 'invalid', field: 'wall' })])).asked).toBe(1);
  });
});

describe('whether a session shows that a change was done', () => {
  const times = [{ wall: '2026-12-02T09:00', tz: 'UTC', start: 5 }];
  const proposal = { id: 'p', by: 'mentee', times, minutes: 60, reason: '', expires: 9 };
  const seen = session({ proposals: [proposal] });
  const which = { session: 's1', rev: 1 };
  const cases: [string, Change, Partial<Session>, Partial<Session>][] = [
    ['move', move, { wall: '2026-12-01T13:00' }, { wall: '2026-12-01T13:00', minutes: 90 }],
    [
      'propose',
      { verb: 'session.propose', ...which, times },
      { proposals: [{ ...proposal, by: 'mentor' }] },
      { proposals: [proposal] },
    ],
    [
      'accept',
      { verb: 'session.answer', ...which, proposal: null, accept: 0 },
      {},
      { answers: { mentor: 'needs_action' } },
    ],
    [
      'decline',
      { verb: 'session.answer', ...which, proposal: null, accept: null },
      { answers: { mentor: 'declined' } },
      {},
    ],
    [
      'take a time',
      { verb: 'session.answer', ...which, proposal: 'p', accept: 0 },
      { start: 5 },
      { start: 6 },
    ],
    [
      'take no time',
      { verb: 'session.answer', ...which, proposal: 'p', accept: null },
      {},
      { proposals: [proposal] },
    ],
    ['cancel', { verb: 'session.cancel', ...which }, { state: 'cancelled' }, { state: 'declined' }],
    ['extend', { verb: 'session.extend', ...which, minutes: 15 }, { minutes: 75 }, { minutes: 90 }],
    ['agenda', { verb: 'session.agenda', ...which, agenda: 'a' }, { agenda: 'a' }, { agenda: 'b' }],
    ['end', { verb: 'session.end', ...which }, { state: 'no_show' }, { state: 'cancelled' }],
  ];
  it.each(cases)('%s', (_, wanted, yes, no) => {
    expect(shows(session({ rev: 2, ...yes }), 'mentor', seen, wanted)).toBe(true);
    expect(shows(session({ rev: 2, ...no }), 'mentor', seen, wanted)).toBe(false);
    expect(shows(session({ rev: 1, ...yes }), 'mentor', seen, wanted)).toBe(false);
  });
});
