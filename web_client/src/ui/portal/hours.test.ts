import { describe, expect, test } from 'vitest';
import { draftOf, faultOf, hoursOf } from './hours';

const TODAY = '2026-12-01';
const empty = () => draftOf({ weekly: [], exceptions: [] }, TODAY);

describe('working hours', () => {
  test('who never said begins with every day from 08:00 to 20:00', () => {
    const draft = draftOf(null, TODAY);
    expect(draft.week).toHaveLength(7);
    expect(hoursOf(draft).weekly[6]).toEqual({ day: 6, from: '08:00', to: '20:00' });
  });

  test('what was said comes back as it was, in order, without days that are past', () => {
    const hours = {
      weekly: [
        { day: 0, from: '14:00', to: '24:00' },
        { day: 0, from: '09:00', to: '12:00' },
      ],
      exceptions: [
        { date: '2026-12-24', spans: [] },
        { date: '2026-11-30', spans: [] },
      ],
    };
    expect(hoursOf(draftOf(hours, TODAY))).toEqual({
      weekly: [
        { day: 0, from: '09:00', to: '12:00' },
        { day: 0, from: '14:00', to: '24:00' },
      ],
      exceptions: [{ date: '2026-12-24', spans: [] }],
    });
  });

  test('midnight as an end is the end of the day', () => {
    const draft = empty();
    draft.week[2] = [{ from: '20:00', to: '00:00' }];
    expect(faultOf(draft)).toBeNull();
    expect(hoursOf(draft).weekly).toEqual([{ day: 2, from: '20:00', to: '24:00' }]);
  });

  test.each([
    [[{ from: '12:00', to: '12:00' }]],
    [[{ from: '12:00', to: '11:00' }]],
    [[{ from: '', to: '11:00' }]],
    [
      [
        { from: '09:00', to: '12:00' },
        { from: '11:30', to: '13:00' },
      ],
    ],
  ])('backwards, empty or over each other: %j', (spans) => {
    const draft = empty();
    draft.week[3] = spans;
    expect(faultOf(draft)).toEqual({ kind: 'order', day: 3 });
    const other = empty();
    other.exceptions = [{ date: '2026-12-24', spans }];
    expect(faultOf(other)).toEqual({ kind: 'order', day: '2026-12-24' });
  });

  test('spans may touch', () => {
    const draft = empty();
    draft.week[3] = [
      { from: '12:00', to: '13:00' },
      { from: '09:00', to: '12:00' },
    ];
    expect(faultOf(draft)).toBeNull();
  });

  test('a day without a date, and one that is there twice', () => {
    const draft = empty();
    draft.exceptions = [{ date: '', spans: [] }];
    expect(faultOf(draft)).toEqual({ kind: 'no_date' });
    draft.exceptions = [
      { date: '2026-12-24', spans: [] },
      { date: '2026-12-24', spans: [] },
    ];
    expect(faultOf(draft)).toEqual({ kind: 'twice', day: '2026-12-24' });
  });
});
