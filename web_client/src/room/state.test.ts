import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Joined, LogEvent } from '../protocol/wire';
import { compareIds } from './ids';
import { LogModel } from './log_model';
import { fold } from './messages';
import { SessionsModel, session } from './session_model';
import {
  cursorOf,
  joined,
  loggedPush,
  pagedBack,
  pagedForward,
  peerChanged,
  personChanged,
  type RoomState,
  readChanged,
  sessionAnswered,
  zoneChanged,
} from './state';

const PERSONS = ['mentor', 'mentee'];

function answer(log: Joined['log'], next: Joined['session'] = null): Joined {
  return {
    ok: true,
    you: { peer: 'p1', person: 'mentor', role: 'mentor', polite: false, leg: 0, media: null },
    room: { slug: 'r', title: 'Room' },
    people: PERSONS.map((person) => ({
      person,
      name: person,
      role: person === 'mentor' ? 'mentor' : 'mentee',
      tz: 'UTC',
      online: true,
      read: null,
    })),
    peers: [],
    call: null,
    session: next,
    log,
    ice: { servers: [], policy: 'all', expires_at: 0 },
  };
}

type Happening = { do: 'post' | 'edit' | 'delete' | 'react' | 'call'; pick: number; by: number };
type SessionAct = { do: 'session'; what: 'book' | 'move' | 'cancel' | 'agenda'; pick: number; by: number };
type Act = Happening | SessionAct | { do: 'drop' | 'lose_push' | 'page_back' };

const acts: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('post' as const), pick: fc.nat(), by: fc.nat(1) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('edit' as const, 'delete' as const, 'react' as const, 'call' as const),
      pick: fc.nat(),
      by: fc.nat(1),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('session' as const),
      what: fc.constantFrom('book' as const, 'move' as const, 'cancel' as const, 'agenda' as const),
      pick: fc.nat(500),
      by: fc.nat(1),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('drop' as const, 'lose_push' as const, 'page_back' as const),
    }),
  },
);

/** One thing that happens in the room, or nothing if there is no message to do it to. */
function happen(model: LogModel, act: Happening, count: number): LogEvent | null {
  const by = PERSONS[act.by] ?? 'mentor';
  const key = `key-${count}`;
  if (act.do === 'post') return model.append({ kind: 'chat.posted', text: `text ${count}`, by, key });
  if (act.do === 'call') return model.append({ kind: 'call.started', call: key, by, key });
  const alive = fold(model.kept, false).filter((line) => line.kind === 'message');
  const target = alive[act.pick % Math.max(1, alive.length)];
  if (target?.kind !== 'message') return null;
  const ref = target.id;
  if (act.do === 'delete') return model.append({ kind: 'chat.deleted', ref, by: target.by, key });
  if (act.do === 'react') {
    return model.append({
      kind: 'chat.reacted',
      ref,
      emoji: act.pick % 2 ? '👍' : '🎉',
      on: act.pick % 3 > 0,
      by,
      key,
    });
  }
  const posted = { at: target.at, by: target.by, reply_to: target.replyTo };
  return model.append({ kind: 'chat.edited', ref, text: `edit ${count}`, posted, by: target.by, key });
}

/** Resumes as the live room does: join with the cursor, then page by page to the head. */
function resume(
  state: RoomState,
  model: LogModel,
  pushesMeanwhile: () => LogEvent[],
  limit: number,
  planned: Joined['session'],
): RoomState {
  const cursor = cursorOf(state.log);
  let next = joined(state, answer(model.after(cursor.id, limit), planned), cursor);
  while (next.log.mode === 'catching_up') {
    const tail = next.log.tail?.id ?? null;
    for (const push of pushesMeanwhile()) next = loggedPush(next, push);
    const page = model.after(tail, limit);
    next = pagedForward(next, { ok: true, events: page.events, more: page.more });
  }
  return next;
}

describe('the room as a client keeps it', () => {
  it('L1, L2, L5, L8: snapshot + pushes + losses + resumes = fresh snapshot, for what the client keeps', () => {
    fc.assert(
      fc.property(fc.array(acts, { maxLength: 60 }), fc.integer({ min: 1, max: 8 }), (script, limit) => {
        const model = new LogModel();
        const sessions = new SessionsModel();
        let state = joined(null, answer(model.newest(limit)), null);
        let connected = true;
        script.forEach((act, count) => {
          if (act.do === 'drop') connected = false;
          else if (act.do === 'session') {
            const told = sessions.happen(act.what, act.pick, PERSONS[act.by] ?? '', `key-${count}`);
            const event = told && model.append(told);
            if (event && connected) {
              state = loggedPush(state, event);
              expect(state.session).toEqual(sessions.next);
            }
          } else if (act.do === 'page_back') {
            const first = state.log.events[0];
            if (connected && first) state = pagedBack(state, { ok: true, ...model.before(first.id, limit) });
          } else if (act.do === 'lose_push') {
            // A push that never arrives: the next one must not be believed (prev).
            happen(model, { do: 'post', pick: 0, by: 0 }, 1_000 + count);
          } else {
            const event = happen(model, act as Happening, count);
            if (event && connected) state = loggedPush(state, event);
          }
          if (state.log.mode === 'gap' || (!connected && count % 5 === 0)) {
            let extra = 2;
            state = resume(
              state,
              model,
              () =>
                (extra-- > 0
                  ? [happen(model, { do: 'post', pick: 0, by: 1 }, 2_000 + count * 3 + extra)]
                  : []) as LogEvent[],
              limit,
              sessions.next,
            );
            connected = true;
          }
        });
        if (connected) expect(state.session).toEqual(sessions.next);
        state = resume(state, model, () => [], limit, sessions.next);
        expect(state.session).toEqual(sessions.next);
        expect(state.log.mode).toBe('live');
        expect(cursorOf(state.log).id).toBe(model.tail?.id ?? null);
        const from = state.log.older ? (state.log.events[0]?.id ?? '') : '';
        const expected = fold(model.kept, false).filter(
          (line) => from === '' || compareIds(line.id, from) >= 0,
        );
        expect(fold(state.log.events, state.log.older)).toEqual(expected);
        // L8: what was deleted or edited is not even in memory any more.
        const kept = model.kept.filter((event) => from === '' || compareIds(event.id, from) >= 0);
        expect(state.log.events).toEqual(kept);
      }),
      { numRuns: 300 },
    );
  });

  it('L1: a push that names another predecessor is not shown, and the state asks to be resumed', () => {
    const model = new LogModel();
    const first = model.append({ kind: 'chat.posted', text: 'a', by: 'mentor', key: 'a' });
    const state = joined(null, answer(model.newest(50)), null);
    model.append({ kind: 'chat.posted', text: 'lost', by: 'mentee', key: 'b' });
    const third = model.append({ kind: 'chat.posted', text: 'c', by: 'mentee', key: 'c' });
    const after = loggedPush(state, third);
    expect(after.log.mode).toBe('gap');
    expect(after.log.events).toEqual([first]);
  });

  it('L1: a push that was seen before changes nothing', () => {
    const model = new LogModel();
    const event = model.append({ kind: 'chat.posted', text: 'a', by: 'mentor', key: 'a' });
    const state = joined(null, answer(model.newest(50)), null);
    expect(loggedPush(state, event)).toBe(state);
  });

  it('L5: nothing seen yet is a good cursor, and the first entry has no predecessor', () => {
    const model = new LogModel();
    const state = joined(null, answer(model.newest(50)), null);
    expect(cursorOf(state.log)).toEqual({ epoch: 'epoch-1', id: null });
    const first = model.append({ kind: 'chat.posted', text: 'a', by: 'mentee', key: 'a' });
    expect(loggedPush(state, first).log.events).toEqual([first]);
  });

  it('L5: the cursor carries the key of its entry, so that a rewritten log is noticed', () => {
    const model = new LogModel();
    model.append({ kind: 'chat.posted', text: 'a', by: 'mentee', key: 'a' });
    expect(cursorOf(joined(null, answer(model.newest(50)), null).log).key).toBe('a');
  });

  it('L5: after a reset the newest page replaces everything', () => {
    const model = new LogModel();
    model.append({ kind: 'chat.posted', text: 'a', by: 'mentee', key: 'a' });
    const state = joined(null, answer(model.newest(50)), null);
    const other = { ...new LogModel().newest(50), epoch: 'epoch-2', reset: 'epoch' as const };
    const reset = joined(state, answer(other), cursorOf(state.log));
    expect(reset.log.events).toEqual([]);
    expect(reset.log.resets).toBe(1);
    expect(reset.log.epoch).toBe('epoch-2');
  });

  it('L5: after a rollback the newest page replaces everything, and the log goes on from its new end', () => {
    const model = new LogModel();
    model.append({ kind: 'chat.posted', text: 'a', by: 'mentee', key: 'a' });
    const before = model.copy();
    model.append({ kind: 'chat.posted', text: 'b', by: 'mentee', key: 'b' });
    const state = joined(null, answer(model.newest(50)), null);
    model.rollBack(before);
    const page = { ...model.newest(50), reset: 'diverged' as const };
    const reset = joined(state, answer(page), cursorOf(state.log));
    expect(reset.log.events).toEqual(before.kept);
    expect(reset.log.resets).toBe(1);
    const again = model.append({ kind: 'chat.posted', text: 'b', by: 'mentee', key: 'b' });
    expect(loggedPush(reset, again).log.events).toEqual([...before.kept, again]);
  });

  it('L6: the floor is what was last said of it, by a join or a page in either direction', () => {
    const model = new LogModel();
    for (const key of ['a', 'b', 'c', 'd'])
      model.append({ kind: 'chat.posted', text: key, by: 'mentee', key });
    let state = joined(null, answer(model.newest(2)), null);
    expect(state.log.floor).toBe(null);
    const cursor = cursorOf(state.log);
    state = joined(state, answer({ ...model.after(cursor.id, 2), floor: '1-0' }), cursor);
    expect(state.log.floor).toBe('1-0');
    expect(joined(null, answer({ ...model.newest(2), floor: '1-0' }), null).log.floor).toBe('1-0');
    state = pagedBack(state, { ok: true, ...model.before(state.log.events[0]?.id ?? '', 1), floor: '2-0' });
    expect(state.log.floor).toBe('2-0');
    state = pagedForward(state, { ok: true, events: [], more: false, floor: '3-0' });
    expect(state.log.floor).toBe('3-0');
    state = pagedForward(state, { ok: true, events: [], more: false });
    expect(state.log.floor, 'a page that does not say it takes nothing back').toBe('3-0');
    const anew = joined(state, answer({ ...new LogModel().newest(50), reset: 'epoch' }), cursor);
    expect(anew.log.floor, 'another log has a floor of its own').toBe(null);
  });

  it('L7: kinds that a client does not know are kept in the chain and not shown', () => {
    const model = new LogModel();
    const state = joined(null, answer(model.newest(50)), null);
    const strange = model.append({
      kind: 'session.dreamt_of',
      by: 'system',
      key: 's',
      session: session(),
    } as never);
    const after = loggedPush(
      loggedPush(state, strange),
      model.append({ kind: 'chat.posted', text: 'a', by: 'mentee', key: 'a' }),
    );
    expect(after.log.mode).toBe('live');
    expect(fold(after.log.events, false)).toHaveLength(1);
  });

  it('S4: of one session the greater rev wins, whether a join or a push is the stale one', () => {
    const log = new LogModel();
    const sessions = new SessionsModel();
    const booked = log.append(sessions.happen('book', 5, 'mentor', 's') as never);
    const before = sessions.next;
    let state = joined(null, answer(log.newest(50), before), null);
    const moved = log.append(sessions.happen('move', 9, 'mentee', 'm') as never);
    state = loggedPush(state, moved);
    const stale = joined(state, answer(log.after(moved.id, 50), before), cursorOf(state.log));
    expect(stale.session).toEqual(sessions.next);
    const ahead = joined(null, answer(new LogModel().newest(50), sessions.next), null);
    expect(loggedPush(ahead, booked).session, 'a join that was ahead of the log').toEqual(sessions.next);
    const late = { ...moved, next: session({ id: 'an earlier one that is over by now' }) } as LogEvent;
    const further = joined(
      null,
      answer(new LogModel().newest(50), { ...sessions.next, rev: 9 } as never),
      null,
    );
    expect(loggedPush(further, late).session, 'an entry that a join was ahead of').toBe(further.session);
    const cancelled = loggedPush(state, log.append(sessions.happen('cancel', 0, 'mentor', 'c') as never));
    expect(loggedPush(cancelled, booked).session, 'an entry that was seen before').toBe(null);
  });

  it('history says nothing of the session that is next', () => {
    const log = new LogModel();
    const sessions = new SessionsModel();
    log.append(sessions.happen('book', 5, 'mentor', 's') as never);
    log.append({ kind: 'chat.posted', text: 'a', by: 'mentee', key: 'a' });
    const state = joined(null, answer(log.newest(1)), null);
    const paged = pagedBack(state, { ok: true, ...log.before(state.log.events[0]?.id ?? '', 50) });
    expect(paged.session).toBe(null);
    expect(fold(paged.log.events, false).map(({ kind }) => kind)).toEqual(['session', 'message']);
  });

  it('the answer to a request counts at once, if it is about the session that is shown and newer', () => {
    const shown = session({ rev: 3 });
    const state = joined(null, answer(new LogModel().newest(50), shown), null);
    const after = session({ rev: 4, agenda: 'new' });
    expect(sessionAnswered(state, after).session).toEqual(after);
    expect(sessionAnswered(state, session({ rev: 3, agenda: 'old' }))).toBe(state);
    expect(sessionAnswered(state, session({ rev: 9, id: 'other' }))).toBe(state);
    expect(sessionAnswered(state, session({ rev: 4, state: 'cancelled' }))).toBe(state);
  });

  it('R5: away and here are one peer, gone is none, and oneself is never among them', () => {
    const state = joined(null, answer(new LogModel().newest(50)), null);
    const peer = {
      room: 'r',
      peer: 'p2',
      person: 'mentee',
      device: 'd',
      state: 'here' as const,
      leg: 0,
      media: null,
    };
    const away = peerChanged(peerChanged(state, peer), { ...peer, state: 'away' });
    expect(away.peers.map((one) => one.state)).toEqual(['away']);
    expect(peerChanged(away, { ...peer, state: 'gone' }).peers).toEqual([]);
    expect(peerChanged(state, { ...peer, peer: 'p1' })).toBe(state);
  });

  it('R1: online is what was last pushed', () => {
    const state = personChanged(joined(null, answer(new LogModel().newest(50)), null), {
      room: 'room',
      person: 'mentee',
      online: false,
      tz: 'Asia/Tokyo',
    });
    expect(state.people.find(({ person }) => person === 'mentee')).toMatchObject({
      online: false,
      tz: 'Asia/Tokyo',
    });
    const push = { room: 'room', person: 'mentee', online: true };
    expect(personChanged(state, push).people.find(({ person }) => person === 'mentee')?.tz).toBe(
      'Asia/Tokyo',
    );
  });

  it('a time zone that somebody takes is theirs alone', () => {
    const state = zoneChanged(joined(null, answer(new LogModel().newest(50)), null), 'mentor', 'Asia/Tokyo');
    expect(state.people.map(({ person, tz }) => [person, tz])).toEqual([
      ['mentor', 'Asia/Tokyo'],
      ['mentee', 'UTC'],
    ]);
  });

  it('L10: read marks only go forward', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 1 }), (marks) => {
        let state = joined(null, answer(new LogModel().newest(50)), null);
        for (const mark of marks) state = readChanged(state, 'mentee', `${mark}-0`);
        expect(state.people.find(({ person }) => person === 'mentee')?.read).toBe(`${Math.max(...marks)}-0`);
      }),
    );
  });
});
