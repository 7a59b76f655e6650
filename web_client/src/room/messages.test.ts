import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogModel } from './log_model';
import { fold, type Message, withOutbox } from './messages';
import { acknowledged, added, type Outbox, type Place, refused, rolledBack } from './outbox';

function place(id: string): Place {
  return { id, at: 5, epoch: 'epoch-1', heardAt: 5 };
}

function conversation(): { model: LogModel; first: string } {
  const model = new LogModel();
  const { id } = model.append({ kind: 'chat.posted', text: 'hello', by: 'ann', key: 'k1' });
  model.append({ kind: 'chat.posted', text: 'hi', by: 'bob', key: 'k2', reply_to: id });
  return { model, first: id };
}

describe('messages out of the log', () => {
  it('L8: an edited message stands at its first place, even for who never saw the first version', () => {
    const { model, first } = conversation();
    const posted = { at: 1_700_000_001_000, by: 'ann', reply_to: null };
    model.append({ kind: 'chat.edited', ref: first, text: 'hello!', posted, by: 'ann', key: 'k3' });
    const lines = fold(model.kept, false) as Message[];
    expect(lines.map(({ text }) => text)).toEqual(['hello!', 'hi']);
    expect(lines[0]).toMatchObject({ id: first, edited: true, at: 1_700_000_001_000 });
  });

  it('L8: of a deleted message only its place is left', () => {
    const { model, first } = conversation();
    model.append({ kind: 'chat.deleted', ref: first, by: 'ann', key: 'k3' });
    const lines = fold(model.kept, false);
    expect(lines[0]).toEqual({ kind: 'removed', id: first, at: 1_700_000_001_000, by: 'ann' });
    expect(JSON.stringify(lines)).not.toContain('hello');
  });

  it('L8: what happened to a message that is not loaded yet is kept back until its place is', () => {
    const { model, first } = conversation();
    model.append({ kind: 'chat.deleted', ref: first, by: 'ann', key: 'k3' });
    const newest = model.kept.slice(-1);
    expect(fold(newest, true)).toEqual([]);
    expect(fold(newest, false)).toHaveLength(1);
  });

  it('L7: reactions are counted once per person, and taken back', () => {
    const { model, first } = conversation();
    const react = (by: string, on: boolean, key: string) =>
      model.append({ kind: 'chat.reacted', ref: first, emoji: '👍', on, by, key });
    react('ann', true, 'a');
    react('bob', true, 'b');
    react('bob', true, 'c');
    expect((fold(model.kept, false)[0] as Message).reactions).toEqual([{ emoji: '👍', by: ['ann', 'bob'] }]);
    react('ann', false, 'd');
    react('bob', false, 'e');
    expect((fold(model.kept, false)[0] as Message).reactions).toEqual([]);
  });

  it('K1: calls have their lines in the conversation', () => {
    const model = new LogModel();
    model.append({ kind: 'call.started', call: 'c', by: 'ann', key: 'a' });
    model.append({ kind: 'call.ended', call: 'c', seconds: 90, by: 'system', key: 'b' });
    model.append({ kind: 'call.missed', call: 'd', by: 'ann', key: 'c' });
    expect(fold(model.kept, false)).toMatchObject([
      { kind: 'call', what: 'started' },
      { kind: 'call', what: 'ended', seconds: 90 },
      { kind: 'call', what: 'missed' },
    ]);
  });

  it('L9: a message that waits stands at the end, and is not doubled when its event is there', () => {
    const { model } = conversation();
    let outbox: Outbox = added([], 'k9', { verb: 'chat.send', text: 'new' }, 5);
    expect(withOutbox(fold(model.kept, false), outbox, 'ann').at(-1)).toMatchObject({
      text: 'new',
      delivery: { kind: 'waiting' },
    });
    const event = model.append({ kind: 'chat.posted', text: 'new', by: 'ann', key: 'k9' });
    outbox = acknowledged(outbox, 'k9', place(event.id), false);
    expect(
      withOutbox(fold(model.kept, false), outbox, 'ann').filter((line) => line.kind === 'message'),
    ).toHaveLength(3);
  });

  it('L3: an entry read back from the disk is not shown beside its own event', () => {
    const { model } = conversation();
    const outbox: Outbox = added([], 'k1', { verb: 'chat.send', text: 'hello' }, 5);
    const lines = withOutbox(fold(model.kept, false), outbox, 'ann') as Message[];
    expect(lines.map(({ key }) => key)).toEqual(['k1', 'k2']);
  });

  it('L5: what is merely kept is not shown, wherever its event went', () => {
    const { model } = conversation();
    const changes: Outbox = added([], 'k9', { verb: 'chat.edit', id: model.kept[0]?.id ?? '', text: 'x' }, 5);
    let outbox = added(changes, 'k8', { verb: 'chat.send', text: 'gone with the rollback' }, 5);
    outbox = acknowledged(acknowledged(outbox, 'k9', place('8-0'), true), 'k8', place('9-0'), true);
    const lines = fold(model.kept, false);
    expect(withOutbox(lines, outbox, 'ann')).toEqual(lines);
  });

  it('L5: what is published again waits at the place that it had, and moves when it has another', () => {
    const model = new LogModel();
    const lost = model.append({ kind: 'chat.posted', text: 'lost', by: 'ann', key: 'k1' });
    model.rollBack({ kept: [], places: [], tail: null });
    model.append({ kind: 'chat.posted', text: 'hi', by: 'bob', key: 'k2' });
    let outbox: Outbox = added([], 'k1', { verb: 'chat.send', text: 'lost' }, 5);
    outbox = rolledBack(acknowledged(outbox, 'k1', place(lost.id), true), 6);
    outbox = added(outbox, 'k3', { verb: 'chat.send', text: 'new' }, 7);
    const shown = () => withOutbox(fold(model.kept, false), outbox, 'ann') as Message[];
    expect(shown().map(({ text, delivery }) => [text, delivery.kind])).toEqual([
      ['lost', 'waiting'],
      ['hi', 'sent'],
      ['new', 'waiting'],
    ]);
    const again = model.append({ kind: 'chat.posted', text: 'lost', by: 'ann', key: 'k1' });
    outbox = acknowledged(outbox, 'k1', place(again.id), true);
    expect(shown().map(({ text }) => text)).toEqual(['hi', 'lost', 'new']);
  });

  it('T5: a refusal for good is shown at its message, and the message itself stays what the log says', () => {
    const { model, first } = conversation();
    let outbox: Outbox = added([], 'k9', { verb: 'chat.edit', id: first, text: 'changed' }, 5);
    expect((withOutbox(fold(model.kept, false), outbox, 'ann')[0] as Message).text).toBe('changed');
    outbox = refused(outbox, 'k9', { code: 'forbidden', message: 'No.' }, 6);
    expect(withOutbox(fold(model.kept, false), outbox, 'ann')[0]).toMatchObject({
      text: 'hello',
      delivery: { kind: 'failed', entry: 'k9' },
    });
  });

  it('shows every line once, whatever the outbox says', () => {
    const { model, first } = conversation();
    const request = fc.oneof(
      fc.record({ verb: fc.constant('chat.send' as const), text: fc.string({ minLength: 1 }) }),
      fc.record({
        verb: fc.constant('chat.edit' as const),
        id: fc.constant(first),
        text: fc.string({ minLength: 1 }),
      }),
      fc.record({ verb: fc.constant('chat.delete' as const), id: fc.constantFrom(first, 'unknown') }),
      fc.record({
        verb: fc.constant('chat.react' as const),
        id: fc.constant(first),
        emoji: fc.constantFrom('👍', '🎉'),
        on: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(fc.array(request, { maxLength: 12 }), (requests) => {
        const outbox = requests.reduce<Outbox>(
          (box, one, index) => added(box, `key-${index}`, one, index),
          [],
        );
        const ids = withOutbox(fold(model.kept, false), outbox, 'ann').map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids).toHaveLength(2 + requests.filter(({ verb }) => verb === 'chat.send').length);
      }),
    );
  });
});
