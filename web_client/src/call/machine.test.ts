import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Joined, Media, PeerShown, SignalPush } from '../protocol/wire';
import { step } from './machine';
import {
  AFTER_YOU_MS,
  type CallState,
  COMING_BACK_MS,
  EARLY_BOUND,
  type Effect,
  type Flow,
  type Input,
  initialCall,
  LINKS_BOUND,
  linksOf,
  NO_MEDIA,
  RESTART_MS,
  RESTARTS_BOUND,
} from './state';
import { shown, told } from './told';

const SEEN: Media = { audio: true, video: true, screen: false };

function peer(change: Partial<PeerShown> = {}): PeerShown {
  return { peer: 'b', person: 'mentee', device: 'd', state: 'here', leg: 1, media: SEEN, ...change };
}

function joined(change: Partial<Joined> = {}, persons = ['mentor', 'mentee']): Joined {
  return {
    ok: true,
    you: { peer: 'a', person: 'mentor', role: 'mentor', polite: false, leg: 0, media: null },
    room: { slug: 'r', title: '' },
    people: persons.map((person) => ({
      person,
      name: person,
      role: person === 'mentor' ? 'mentor' : 'mentee',
      tz: 'UTC',
      online: true,
      read: null,
    })),
    peers: [],
    call: null,
    session: null,
    log: { epoch: 'e', head: null, events: [], more: false, reset: null },
    ice: { servers: [], policy: 'all', expires_at: 0 },
    ...change,
  };
}

/** Runs inputs, collecting what is to be done. */
function play(inputs: Input[], from: CallState = initialCall): [CallState, Effect[]] {
  return inputs.reduce<[CallState, Effect[]]>(
    ([state, all], input) => {
      const [next, effects] = step(state, input);
      return [next, [...all, ...effects]];
    },
    [from, []],
  );
}

function signal(change: Partial<SignalPush> = {}): SignalPush {
  return {
    room: 'r',
    call: 'c',
    from: 'b',
    from_leg: 1,
    to_leg: 1,
    seq: 1,
    gen: 0,
    candidates: [],
    ...change,
  };
}

const enterAlone: Input[] = [
  { on: 'joined', answer: joined() },
  { on: 'press_join' },
  { on: 'join_ok', ask: 1, answer: { ok: true, call: 'c', leg: 1, peers: [] } },
];
const together: Input[] = [
  ...enterAlone,
  { on: 'peer', peer: peer() },
  { on: 'flow', peer: 'b', leg: 1, flow: 'flowing' },
];
const stillIn = (leg: number, peers: PeerShown[]) =>
  joined({
    you: { peer: 'a', person: 'mentor', role: 'mentor', polite: false, leg, media: SEEN },
    call: { id: 'c', since: 0 },
    peers,
  });

function dos(effects: Effect[]): string[] {
  return effects.map((effect) => effect.do);
}

/** The signals that reach a connection, by their `seq`. */
function delivered(effects: Effect[]): number[] {
  return effects.flatMap((effect) => (effect.do === 'deliver' ? [effect.signal.seq] : []));
}

describe('K1: joining and leaving', () => {
  it('K1: the first one waits while the partner is rung', () => {
    const [state, effects] = play(enterAlone);
    expect(shown(state)).toBe('waiting');
    expect(told(state)).toEqual({ kind: 'ringing', person: 'mentee' });
    expect(effects).toContainEqual({ do: 'remember', call: 'c' });
  });

  it('K1: declined and unanswered are said', () => {
    const [declined] = play([...enterAlone, { on: 'quiet', call: 'c', reason: 'declined' }]);
    expect(told(declined).kind).toBe('declined');
    const [unanswered] = play([...enterAlone, { on: 'timer', name: 'ring' }]);
    expect(told(unanswered).kind).toBe('unanswered');
  });

  it('K1: a ring is answered by joining, or declined, or ends by itself', () => {
    const rung: Input[] = [
      { on: 'joined', answer: joined() },
      { on: 'ring', call: 'c', by: 'mentee' },
    ];
    expect(told(play(rung)[0])).toEqual({ kind: 'rung', person: 'mentee' });
    expect(play([...rung, { on: 'press_decline' }])[1]).toContainEqual({ do: 'decline', call: 'c' });
    expect(play([...rung, { on: 'quiet', call: 'c', reason: 'timeout' }])[0].ring).toBe(null);
    expect(dos(play([...rung, { on: 'press_join' }])[1])).toContain('join');
  });

  it('K1: pressed while the server is away, the join is asked as soon as it is back', () => {
    const [waiting, nothing] = play([{ on: 'press_join' }]);
    expect(shown(waiting)).toBe('connecting');
    expect(dos(nothing)).not.toContain('join');
    expect(dos(step(waiting, { on: 'joined', answer: joined() })[1])).toContain('join');
  });

  it('K1: a reload goes back into its call silently, and forgets a call that is over', () => {
    const [resuming, effects] = play([
      { on: 'resume', call: 'c' },
      { on: 'joined', answer: joined() },
    ]);
    expect(effects).toContainEqual({ do: 'join', ask: 1, call: 'c', leg: null });
    const [over, done] = step(resuming, { on: 'join_refused', ask: 1, error: { code: 'gone', message: '' } });
    expect(shown(over)).toBe('idle');
    expect(dos(done)).toContain('forget');
  });

  it('K1: left while the answer was on its way, the server is told', () => {
    const [state, effects] = play([
      { on: 'joined', answer: joined() },
      { on: 'press_join' },
      { on: 'press_leave' },
      { on: 'join_ok', ask: 1, answer: { ok: true, call: 'c', leg: 1, peers: [] } },
    ]);
    expect(shown(state)).toBe('idle');
    expect(effects).toContainEqual({ do: 'leave', call: 'c' });
  });

  it('K1: left while the server could not hear it, the server is told on the return', () => {
    const [left] = play([...together, { on: 'offline' }, { on: 'press_leave' }]);
    expect(step(left, { on: 'joined', answer: stillIn(1, [peer()]) })[1]).toContainEqual({
      do: 'leave',
      call: 'c',
    });
  });

  it('K1: the partner hangs up: between two that is the end, in a larger room it is not', () => {
    const hungUp: Input = { on: 'peer', peer: peer({ media: null }) };
    const [waiting, effects] = play([...together, hungUp]);
    expect(dos(effects)).toContain('close');
    const [ended, done] = step(waiting, { on: 'timer', name: 'left' });
    expect(told(ended)).toEqual({ kind: 'ended', reason: { kind: 'partner_left', person: 'mentee' } });
    expect(done).toContainEqual({ do: 'leave', call: 'c' });
    const group = together.map(
      (input): Input =>
        input.on === 'joined' ? { on: 'joined', answer: joined({}, ['mentor', 'mentee', 'other']) } : input,
    );
    expect(shown(play([...group, hungUp, { on: 'timer', name: 'left' }])[0])).toBe('waiting');
  });

  it('R4: a partner who changes devices does not end the call, in whichever order the news comes', () => {
    const oldDevice: Input = { on: 'peer', peer: peer({ media: null }) };
    const newDevice: Input = { on: 'peer', peer: peer({ peer: 'b2', leg: 1 }) };
    for (const news of [
      [oldDevice, newDevice],
      [newDevice, oldDevice],
    ]) {
      const [state] = play([...together, ...news, { on: 'timer', name: 'left' }]);
      expect(linksOf(state).map((link) => link.peer)).toEqual(['b2']);
    }
  });

  it('R4: the call moved to another device of ours: connections are closed, and nothing is asked', () => {
    const [state, effects] = step(play(together)[0], { on: 'moved', call: 'c' });
    expect(told(state)).toEqual({ kind: 'ended', reason: { kind: 'moved' } });
    expect(dos(effects)).toContain('close');
    expect(dos(effects)).not.toContain('leave');
  });
});

describe('K5: signaling and media are two things', () => {
  it('K5: the socket drops and comes back within the grace: nothing is rebuilt or restarted', () => {
    const [offline] = play([...together, { on: 'offline' }]);
    expect(shown(offline)).toBe('connected');
    const [back, effects] = step(offline, { on: 'joined', answer: stillIn(1, [peer()]) });
    expect(shown(back)).toBe('connected');
    expect(dos(effects)).toEqual(expect.arrayContaining(['release', 'tell_media']));
    for (const rebuilt of ['open', 'close', 'restart', 'join']) expect(dos(effects)).not.toContain(rebuilt);
  });

  it('K5: after a longer outage the leg is kept by asking for it', () => {
    const [offline] = play([...together, { on: 'offline' }]);
    const [asked, effects] = step(offline, { on: 'joined', answer: joined({ peers: [] }) });
    expect(effects).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: 1 });
    expect(dos(effects)).not.toContain('close');
    const [kept, done] = step(asked, {
      on: 'join_ok',
      ask: 2,
      answer: { ok: true, call: 'c', leg: 1, peers: [{ peer: 'b', person: 'mentee', leg: 1, media: SEEN }] },
    });
    expect(shown(kept)).toBe('connected');
    expect(dos(done)).not.toContain('open');
  });

  it('K1a: another leg than ours means new connections', () => {
    const [asked] = play([...together, { on: 'offline' }, { on: 'joined', answer: joined() }]);
    const [, done] = step(asked, {
      on: 'join_ok',
      ask: 2,
      answer: { ok: true, call: 'c', leg: 2, peers: [{ peer: 'b', person: 'mentee', leg: 1, media: SEEN }] },
    });
    expect(dos(done)).toEqual(expect.arrayContaining(['close', 'open']));
  });

  it('K1a: a new leg of the other side means a new connection, an older one nothing', () => {
    const [, effects] = step(play(together)[0], { on: 'peer', peer: peer({ leg: 2 }) });
    expect(dos(effects)).toEqual(expect.arrayContaining(['close', 'open']));
  });

  it('K5: media stopped while the socket was away: our network is another one, a new leg on the return', () => {
    const [stopped] = play([
      ...together,
      { on: 'offline' },
      { on: 'flow', peer: 'b', leg: 1, flow: 'interrupted' },
    ]);
    expect(shown(stopped)).toBe('reconnecting');
    const [, effects] = step(stopped, { on: 'joined', answer: stillIn(1, [peer()]) });
    expect(effects).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
    expect(dos(effects)).not.toContain('restart');
  });

  it('K5: the partner is away and media flows: nothing is said; it stops: the partner is reconnecting', () => {
    const [away] = play([...together, { on: 'peer', peer: peer({ state: 'away' }) }]);
    expect(told(away).kind).toBe('connected');
    const [stopped] = step(away, { on: 'flow', peer: 'b', leg: 1, flow: 'interrupted' });
    expect(told(stopped)).toEqual({ kind: 'partner_reconnecting', person: 'mentee' });
  });

  it('K5: gone with media flowing stays; when it stops we wait for the partner', () => {
    const [gone] = play([...together, { on: 'peer', peer: peer({ state: 'gone', media: null }) }]);
    expect(shown(gone)).toBe('connected');
    const [waiting, effects] = step(gone, { on: 'flow', peer: 'b', leg: 1, flow: 'interrupted' });
    expect(shown(waiting)).toBe('waiting');
    expect(dos(effects)).toContain('close');
  });

  it('K5: the partner comes back after its grace: first without media, then with its leg, and nothing is rebuilt', () => {
    const [gone] = play([...together, { on: 'peer', peer: peer({ state: 'gone', media: null }) }]);
    const [returning, first] = step(gone, { on: 'peer', peer: peer({ leg: 0, media: null }) });
    expect(dos(first)).toEqual(['timer']);
    const [back, second] = step(returning, { on: 'peer', peer: peer() });
    for (const rebuilt of ['open', 'close', 'restart']) expect(dos(second)).not.toContain(rebuilt);
    expect(shown(step(back, { on: 'timer', name: 'back b' })[0])).toBe('connected');
    const [left] = play(
      [
        { on: 'timer', name: 'back b' },
        { on: 'timer', name: 'left' },
      ],
      returning,
    );
    expect(told(left).kind).toBe('ended');
  });

  it('K5: the outage outlived the call, but media flows: it goes on in a new call', () => {
    const [asked] = play([...together, { on: 'offline' }, { on: 'joined', answer: joined() }]);
    const [again, effects] = step(asked, {
      on: 'join_refused',
      ask: 2,
      error: { code: 'gone', message: '' },
    });
    expect(shown(again)).toBe('connected');
    expect(effects).toContainEqual({ do: 'join', ask: 3, call: null, leg: null });
  });
});

describe('repair', () => {
  const flow = (flow: Flow): Input => ({ on: 'flow', peer: 'b', leg: 1, flow });
  const later: Input = { on: 'timer', name: 'repair b' };

  it('the ladder: two restarts, then a new leg, each with its time', () => {
    const [interrupted, first] = step(play(together)[0], flow('interrupted'));
    expect(first).toEqual([
      { do: 'restart', peer: 'b' },
      { do: 'timer', name: 'repair b', ms: RESTART_MS },
    ]);
    const [again, second] = step(interrupted, later);
    expect(dos(second)).toEqual(['restart', 'timer']);
    const [, unheard] = step(again, later);
    expect(dos(unheard), 'no answer: who cannot hear us would not hear of a new leg either').toEqual([
      'restart',
      'timer',
    ]);
    const [heard] = step(again, { on: 'signal', signal: signal() });
    expect(step(heard, later)[1]).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
  });

  it('failed: a new leg without a detour', () => {
    const [, effects] = step(play(together)[0], flow('failed'));
    expect(effects).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
    expect(dos(effects)).not.toContain('restart');
  });

  it('a moment of silence is restarted before anybody is alarmed, and what flows again is left alone', () => {
    const [doubtful, first] = step(play(together)[0], flow('doubtful'));
    expect(dos(first)).toEqual(['restart', 'timer']);
    expect(shown(doubtful)).toBe('connected');
    const [interrupted, second] = step(doubtful, flow('interrupted'));
    expect(second, 'the restart keeps its time').toEqual([]);
    expect(shown(interrupted)).toBe('reconnecting');
    const [flowing] = step(interrupted, flow('flowing'));
    expect(shown(flowing)).toBe('connected');
    expect(step(flowing, later)[1]).toEqual([]);
  });

  it('a link that comes and goes is restarted once in the time of a repair', () => {
    const flapping = Array.from({ length: 20 }, (_, n) => flow(n % 2 ? 'flowing' : 'doubtful'));
    const [, effects] = play(flapping, play(together)[0]);
    expect(dos(effects).filter((one) => one === 'restart')).toHaveLength(1);
  });

  it.each(['sound_missing', 'picture_missing'] as const)(
    '%s: one restart, one new leg, then it is only said',
    (missing) => {
      const answered: Input = { on: 'signal', signal: signal() };
      const [state, effects] = play([flow(missing), answered, later], play(together)[0]);
      expect(dos(effects).filter((one) => one === 'restart')).toHaveLength(1);
      expect(effects).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
      expect(told(state)).toEqual({ kind: missing, person: 'mentee' });
      const [, more] = play([later, later, later], { ...state, rebuilds: 1 });
      expect(dos(more)).not.toContain('join');
    },
  );

  it('the server is away: nothing is tried, and its return begins the ladder anew', () => {
    const [away, nothing] = play(
      [flow('doubtful'), { on: 'offline' }, flow('interrupted'), later],
      play(together)[0],
    );
    expect(dos(nothing).filter((one) => one === 'restart')).toHaveLength(1);
    const [, effects] = step(away, { on: 'joined', answer: stillIn(1, [peer()]) });
    expect(effects).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
  });

  it('K5: the server forgot us and nothing flows: a new leg, not a claim on the old one', () => {
    const [, effects] = play(
      [flow('interrupted'), { on: 'offline' }, { on: 'joined', answer: joined() }],
      play(together)[0],
    );
    expect(effects.filter((effect) => effect.do === 'join')).toEqual([
      { do: 'join', ask: 2, call: 'c', leg: null },
    ]);
  });

  it('a partner who comes back has the first word, and then we restart', () => {
    const [back, effects] = play(
      [{ on: 'peer', peer: peer({ state: 'away' }) }, flow('interrupted'), { on: 'peer', peer: peer() }],
      play(together)[0],
    );
    expect(dos(effects)).not.toContain('restart');
    expect(effects).toContainEqual({ do: 'timer', name: 'repair b', ms: COMING_BACK_MS });
    expect(dos(step(back, later)[1])).toContain('restart');
  });

  it('a socket that is back before the media are missed: our network is another one, a new leg at once', () => {
    const back: Input = { on: 'joined', answer: stillIn(1, [peer()]) };
    const [flowing, first] = play([{ on: 'offline' }, back], play(together)[0]);
    expect(dos(first)).not.toContain('join');
    expect(step(flowing, flow('doubtful'))[1]).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
    const [later_] = step(flowing, { on: 'timer', name: 'just_back' });
    expect(dos(step(later_, flow('doubtful'))[1])).toEqual(['restart', 'timer']);
  });

  it('what failed for good is made anew at once, also while a restart has its time', () => {
    const [, effects] = play([flow('doubtful'), flow('failed')], play(together)[0]);
    expect(effects).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: null });
  });

  it('of two who doubt at the same moment only the one who insists makes an offer', () => {
    const mentee = joined({
      you: { peer: 'a', person: 'mentee', role: 'mentee', polite: true, leg: 0, media: null },
    });
    const inputs: Input[] = [
      { on: 'joined', answer: mentee },
      ...together.slice(1, 3),
      { on: 'peer', peer: peer({ person: 'mentor' }) },
      flow('flowing'),
      flow('doubtful'),
    ];
    expect(dos(play(inputs)[1])).not.toContain('restart');
    expect(dos(play([...inputs, flow('interrupted')])[1])).toContain('restart');
  });

  it('of two who see the same failure the patient one leaves the other time', () => {
    const mentee = joined({
      you: { peer: 'a', person: 'mentee', role: 'mentee', polite: true, leg: 0, media: null },
    });
    const [, effects] = play([
      { on: 'joined', answer: mentee },
      ...together.slice(1, 3),
      { on: 'peer', peer: peer({ person: 'mentor' }) },
      flow('flowing'),
      flow('interrupted'),
    ]);
    expect(effects).toContainEqual({ do: 'timer', name: 'repair b', ms: RESTART_MS + AFTER_YOU_MS });
  });

  it('K3: a peer that cannot restart gets a new leg at once', () => {
    const aiortc = together.map(
      (input): Input => (input.on === 'peer' ? { on: 'peer', peer: peer({ rollback: false }) } : input),
    );
    const [, effects] = step(play(aiortc)[0], { on: 'flow', peer: 'b', leg: 1, flow: 'failed' });
    expect(dos(effects)).toContain('join');
    const [, waiting] = play([flow('doubtful'), flow('interrupted')], play(aiortc)[0]);
    expect(dos(waiting), 'and first the time to come back by itself').toEqual(['timer']);
    const [, all] = play([flow('doubtful'), flow('interrupted'), later], play(aiortc)[0]);
    expect(dos(all)).toContain('join');
    expect(dos([...effects, ...all])).not.toContain('restart');
  });

  it('K3: the mentor insists, the mentee gives way, and who cannot roll back always insists', () => {
    const open = (effects: Effect[]) => effects.find((effect) => effect.do === 'open');
    expect(open(play(together)[1])).toMatchObject({ polite: false });
    const [entered] = play(enterAlone);
    expect(open(step(entered, { on: 'peer', peer: peer({ rollback: false }) })[1])).toMatchObject({
      polite: true,
    });
  });

  it('one broken link of a mesh is restarted, never rebuilt at the cost of those that flow', () => {
    const [mesh] = play([
      ...together,
      { on: 'peer', peer: peer({ peer: 'c', person: 'other' }) },
      { on: 'flow', peer: 'c', leg: 1, flow: 'flowing' },
      { on: 'flow', peer: 'b', leg: 1, flow: 'failed' },
      ...Array(RESTARTS_BOUND + 1).fill({ on: 'timer', name: 'repair b' }),
    ]);
    const [, effects] = step(mesh, { on: 'timer', name: 'repair b' });
    expect(dos(effects)).toEqual(['restart', 'timer']);
  });
});

describe('K2: signals', () => {
  it('K2: a signal that overtakes the news of its leg waits for it', () => {
    const [early, nothing] = play([...enterAlone, { on: 'signal', signal: signal() }]);
    expect(dos(nothing)).not.toContain('deliver');
    const [, effects] = step(early, { on: 'peer', peer: peer() });
    expect(dos(effects).indexOf('deliver')).toBeGreaterThan(dos(effects).indexOf('open'));
  });

  it('K1a: a signal of an older leg or of another call is dropped', () => {
    const [renewed] = play([...together, { on: 'peer', peer: peer({ leg: 2 }) }]);
    expect(step(renewed, { on: 'signal', signal: signal({ from_leg: 1 }) })[1]).toEqual([]);
    expect(step(renewed, { on: 'signal', signal: signal({ from_leg: 2, call: 'x' }) })[1]).toEqual([]);
    expect(dos(step(renewed, { on: 'signal', signal: signal({ from_leg: 2 }) })[1])).toEqual(['deliver']);
  });

  const answered = (ask: number, leg: number): Input => ({
    on: 'join_ok',
    ask,
    answer: { ok: true, call: 'c', leg, peers: [{ peer: 'b', person: 'mentee', leg: 1, media: SEEN }] },
  });

  it('K2: what was for the page before a reload is dropped once the new one knows its leg', () => {
    const [state, effects] = play([
      { on: 'resume', call: 'c' },
      { on: 'joined', answer: joined({ peers: [peer()] }) },
      { on: 'signal', signal: signal({ seq: 7, to_leg: 1 }) },
      { on: 'signal', signal: signal({ seq: 8, to_leg: 2 }) },
      answered(1, 2),
      { on: 'signal', signal: signal({ seq: 9, to_leg: 1 }) },
    ]);
    expect(delivered(effects)).toEqual([8]);
    expect(state.early).toEqual([]);
  });

  it('K2: what is for the next leg waits for the connection of that leg', () => {
    const [asking] = play([
      ...together,
      { on: 'offline' },
      { on: 'flow', peer: 'b', leg: 1, flow: 'failed' },
    ]);
    const [, effects] = play(
      [
        { on: 'joined', answer: stillIn(2, [peer()]) },
        { on: 'signal', signal: signal({ seq: 7, to_leg: 2 }) },
        { on: 'signal', signal: signal({ seq: 8, to_leg: 1 }) },
        answered(2, 2),
      ],
      asking,
    );
    expect(delivered(effects)).toEqual([8, 7]);
    expect(dos(effects).lastIndexOf('deliver')).toBeGreaterThan(dos(effects).indexOf('open'));
  });

  it('K5: who comes back with the leg it had still hears what is for it', () => {
    const back: Input[] = [...together, { on: 'offline' }, { on: 'joined', answer: stillIn(1, [peer()]) }];
    expect(dos(step(play(back)[0], { on: 'signal', signal: signal() })[1])).toEqual(['deliver']);
    const [claiming, asked] = play([
      ...together,
      { on: 'offline' },
      { on: 'joined', answer: joined({ peers: [peer()] }) },
    ]);
    expect(asked).toContainEqual({ do: 'join', ask: 2, call: 'c', leg: 1 });
    const [, effects] = play([{ on: 'signal', signal: signal({ seq: 7 }) }, answered(2, 1)], claiming);
    expect(delivered(effects)).toEqual([7]);
    expect(dos(effects)).not.toContain('open');
  });
});

const anyMedia = fc.constantFrom(null, SEEN, NO_MEDIA);
const anyPeer: fc.Arbitrary<PeerShown> = fc.record({
  peer: fc.constantFrom(...'bcdefghijkl'),
  person: fc.constantFrom('mentor', 'mentee', 'other'),
  device: fc.constant('d'),
  state: fc.constantFrom('here', 'away', 'gone'),
  leg: fc.nat(3),
  media: anyMedia,
});
const anyCall = fc.constantFrom('c', 'x');
const anyInput: fc.Arbitrary<Input> = fc.oneof(
  fc.record({
    on: fc.constant('joined' as const),
    answer: fc
      .record({
        peers: fc.array(anyPeer, { maxLength: 3 }),
        call: fc.option(fc.record({ id: anyCall, since: fc.constant(0) })),
        leg: fc.nat(3),
        media: anyMedia,
      })
      .map(({ leg, media, ...rest }) =>
        joined({ ...rest, you: { peer: 'a', person: 'mentor', role: 'mentor', polite: false, leg, media } }),
      ),
  }),
  fc.constantFrom<Input>(
    { on: 'offline' },
    { on: 'press_join' },
    { on: 'press_leave' },
    { on: 'press_decline' },
  ),
  fc.record({
    on: fc.constant('stopped' as const),
    why: fc.constantFrom('replaced' as const, 'revoked' as const),
  }),
  fc.record({ on: fc.constant('resume' as const), call: anyCall }),
  fc.record({
    on: fc.constant('join_ok' as const),
    ask: fc.nat(12),
    answer: fc.record({
      ok: fc.constant(true),
      call: anyCall,
      leg: fc.nat(3),
      peers: fc.array(
        fc.record({
          peer: fc.constantFrom('b', 'c'),
          person: fc.constant('mentee'),
          leg: fc.nat(3),
          media: anyMedia,
        }),
        { maxLength: 2 },
      ),
    }),
  }),
  fc.record({
    on: fc.constant('join_refused' as const),
    ask: fc.nat(12),
    error: fc.record({ code: fc.constantFrom('gone', 'conflict', 'invalid'), message: fc.constant('') }),
  }),
  fc.record({ on: fc.constant('peer' as const), peer: anyPeer }),
  fc.record({ on: fc.constant('person' as const), person: fc.constant('mentee'), online: fc.boolean() }),
  fc.record({
    on: fc.constant('signal' as const),
    signal: fc
      .record({
        call: anyCall,
        from: fc.constantFrom('b', 'c'),
        from_leg: fc.nat(3),
        to_leg: fc.nat(3),
        seq: fc.nat(50),
      })
      .map((change) => signal(change)),
  }),
  fc.record({ on: fc.constant('ring' as const), call: anyCall, by: fc.constantFrom('mentee', 'mentor') }),
  fc.record({
    on: fc.constant('quiet' as const),
    call: anyCall,
    reason: fc.constantFrom(
      'answered' as const,
      'declined' as const,
      'cancelled' as const,
      'timeout' as const,
    ),
  }),
  fc.record({ on: fc.constant('moved' as const), call: anyCall }),
  fc.record({
    on: fc.constant('flow' as const),
    peer: fc.constantFrom('b', 'c'),
    leg: fc.nat(3),
    flow: fc.constantFrom<Flow>(
      'new',
      'flowing',
      'doubtful',
      'interrupted',
      'sound_missing',
      'picture_missing',
      'failed',
    ),
  }),
  fc.record({ on: fc.constant('media' as const), media: fc.constantFrom(SEEN, NO_MEDIA) }),
  fc.record({
    on: fc.constant('timer' as const),
    name: fc.constantFrom('left', 'ring', 'repair b', 'repair c', 'back b'),
  }),
);

/** What the effects leave behind: connections that are open and what is remembered over a reload. */
function carryOut(open: Map<string, number>, own: number | null, effects: Effect[]): void {
  for (const effect of effects) {
    if (effect.do === 'open') {
      expect(open.has(effect.peer), 'opened over an open one').toBe(false);
      open.set(effect.peer, effect.leg);
    }
    if (effect.do === 'close') open.delete(effect.peer);
    if (effect.do === 'deliver') {
      const { from_leg, to_leg } = effect.signal;
      expect([from_leg, to_leg]).toEqual([open.get(effect.peer), own]);
    }
    if (effect.do === 'restart') expect(open.has(effect.peer)).toBe(true);
  }
}

describe('whatever happens', () => {
  it('K1–K5: is bounded, has a sentence for the person, and the connections are those of the state', () => {
    fc.assert(
      fc.property(fc.array(anyInput, { maxLength: 120, size: 'max' }), (inputs) => {
        let state = initialCall;
        const open = new Map<string, number>();
        for (const drawn of inputs) {
          // Most answers are to the last question, else hardly any call would come about.
          const input = drawn.on === 'join_ok' && drawn.ask > 3 ? { ...drawn, ask: state.asks } : drawn;
          const [next, effects] = step(state, input);
          carryOut(open, next.phase.kind === 'in' ? next.phase.leg : null, effects);
          state = next;
          expect(['idle', 'waiting', 'connecting', 'connected', 'reconnecting', 'ended']).toContain(
            shown(state),
          );
          expect(told(state).kind).toBeTruthy();
          expect(linksOf(state).length).toBeLessThanOrEqual(LINKS_BOUND);
          expect(state.early.length).toBeLessThanOrEqual(EARLY_BOUND);
          expect(effects.length).toBeLessThan(20 + LINKS_BOUND * 8);
          expect(effects.filter((effect) => effect.do === 'join').length).toBeLessThanOrEqual(1);
          expect(new Map(linksOf(state).map((link) => [link.peer, link.leg]))).toEqual(open);
          if (!state.online) for (const out of ['join', 'restart']) expect(dos(effects)).not.toContain(out);
        }
      }),
      { numRuns: 200 },
    );
  }, 20_000);
});

describe('a mesh', () => {
  const third = (change: Partial<PeerShown> = {}) =>
    peer({ peer: 'x', person: 'observer', device: 'dx', ...change });
  const trio: Input[] = [
    { on: 'joined', answer: joined({}, ['mentor', 'mentee', 'observer']) },
    ...enterAlone.slice(1),
    { on: 'peer', peer: peer() },
    { on: 'flow', peer: 'b', leg: 1, flow: 'flowing' },
  ];

  it('K1a: who cannot be reached, and cannot restart, never costs the others their connections', () => {
    let [state] = play([...trio, { on: 'peer', peer: third({ rollback: false }) }]);
    const asked: Effect[] = [];
    for (let times = 0; times < 20; times++) {
      const [next, effects] = play(
        [
          { on: 'flow', peer: 'x', leg: 1, flow: 'failed' },
          { on: 'timer', name: 'repair x' },
        ],
        state,
      );
      state = next;
      asked.push(...effects);
    }
    expect(dos(asked)).not.toContain('join');
  });

  it('K1a: the restarts towards one who cannot be reached get rarer', () => {
    let [state] = play([...trio, { on: 'peer', peer: third() }]);
    const pauses: number[] = [];
    for (let times = 0; times < 8; times++) {
      const [next, effects] = play(
        [
          { on: 'flow', peer: 'x', leg: 1, flow: 'failed' },
          { on: 'timer', name: 'repair x' },
        ],
        state,
      );
      state = next;
      pauses.push(
        ...effects.flatMap((effect) =>
          effect.do === 'timer' && effect.name === 'repair x' ? [effect.ms] : [],
        ),
      );
    }
    expect(Math.max(...pauses)).toBeGreaterThanOrEqual(60_000);
  });
});
