import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogModel } from './log_model';
import { MINUTE, NOON, SessionsModel, session } from './session_model';
import { awaitsAnswer, isNear, lastSession, lateStart, phaseOf, recentMove } from './session_phase';

const at = (minutes: number) => NOON + minutes * MINUTE;

function kindAt(minutes: number, change = {}, partnerHere = false): string {
  return phaseOf(session(change), null, at(minutes), partnerHere).kind;
}

describe('where a room stands between its sessions', () => {
  it('each phase begins on its minute, and not a moment before', () => {
    const just = 1 / 60_000;
    expect(kindAt(-61)).toBe('planned');
    expect(kindAt(-60)).toBe('soon');
    expect(kindAt(-15 - just)).toBe('soon');
    expect(kindAt(-15)).toBe('can_start');
    expect(kindAt(-just)).toBe('can_start');
    expect(kindAt(0)).toBe('begun');
    expect(kindAt(10 - just)).toBe('begun');
    expect(kindAt(10)).toBe('alone');
    expect(kindAt(60)).toBe('over');
  });

  it('nobody is asked whether to wait while the other is here, or for a request that was never accepted', () => {
    expect(kindAt(10, {}, true)).toBe('begun');
    expect(kindAt(10, { state: 'requested' })).toBe('begun');
  });

  it('live counts down, offers more time in the last five minutes, and goes on beyond its end', () => {
    expect(phaseOf(session({ state: 'live' }), null, at(-10), true)).toMatchObject({
      kind: 'live',
      leftMin: 70,
    });
    expect(kindAt(54, { state: 'live' })).toBe('live');
    expect(phaseOf(session({ state: 'live' }), null, at(55), true)).toMatchObject({
      kind: 'last',
      leftMin: 5,
    });
    expect(phaseOf(session({ state: 'live' }), null, at(70), true)).toMatchObject({
      kind: 'last',
      leftMin: -10,
    });
  });

  it('a session that is over is none, and what is left to say is what was', () => {
    const cancelled = session({ state: 'cancelled' });
    expect(phaseOf(cancelled, null, at(-30), false)).toEqual({ kind: 'none', last: null });
    expect(phaseOf(null, cancelled, at(-30), false)).toEqual({ kind: 'none', last: cancelled });
  });

  it('the countdown never says less than there is, nor a whole minute more', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000_000 }), (ms) => {
        const phase = phaseOf(session(), null, NOON - ms, false);
        const shownMs = 'inMin' in phase ? phase.inMin * MINUTE : 0;
        expect(shownMs).toBeGreaterThanOrEqual(ms);
        expect(shownMs - ms).toBeLessThan(MINUTE);
      }),
    );
  });

  it('late is after the start, or after now where that has passed, on a whole minute', () => {
    expect(lateStart(session(), at(-3), 5)).toBe(at(5));
    expect(lateStart(session(), at(4) + 1, 10)).toBe(at(15));
    expect(lateStart(session(), at(4), 10)).toBe(at(14));
  });

  it('a knock is also written from half an hour before the start until the end', () => {
    const near = (minutes: number, change = {}) => isNear(phaseOf(session(change), null, at(minutes), false));
    expect(near(-31)).toBe(false);
    expect([-30, -10, 0, 30].map((minutes) => near(minutes))).toEqual([true, true, true, true]);
    expect(near(58, { state: 'live' })).toBe(true);
    expect(near(60)).toBe(false);
    expect(isNear({ kind: 'none', last: null })).toBe(false);
  });

  it('S2: asked is who has not answered, as long as it is open and has not begun', () => {
    const answers = { mentor: 'accepted' as const, mentee: 'needs_action' as const };
    expect(awaitsAnswer(session({ answers }), 'mentee')).toBe(true);
    expect(awaitsAnswer(session({ answers }), 'mentor')).toBe(false);
    expect(awaitsAnswer(session({ answers, state: 'live' }), 'mentee')).toBe(false);
    expect(awaitsAnswer(session({ answers, state: 'expired' }), 'mentee')).toBe(false);
  });

  it('a move is news for ten minutes, and only for the session that is shown', () => {
    const log = new LogModel();
    const model = new SessionsModel();
    const tell = (event: ReturnType<SessionsModel['happen']>) => event && log.append(event);
    tell(model.happen('book', 30, 'mentor', 'a'));
    const moved = tell(model.happen('move', 90, 'mentee', 'b'));
    const shown = model.next;
    if (!moved || !shown) throw new Error('the model moved nothing');
    expect(recentMove(log.kept, shown, moved.at)).toMatchObject({ by: 'mentee', old: { start: at(30) } });
    expect(recentMove(log.kept, shown, moved.at + 10 * MINUTE - 1)).not.toBe(null);
    expect(recentMove(log.kept, shown, moved.at + 10 * MINUTE)).toBe(null);
    expect(recentMove(log.kept, session({ id: 'other' }), moved.at)).toBe(null);
    expect(lastSession(log.kept)).toBe(null);
    tell(model.happen('cancel', 0, 'mentor', 'c'));
    expect(lastSession(log.kept)).toMatchObject({ id: 'a', state: 'cancelled' });
  });
});
