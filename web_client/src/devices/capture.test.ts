import { describe, expect, it } from 'vitest';
import { en } from '../ui/messages/en';
import { type CaptureProblem, problemOf } from './capture';

const names: [string, CaptureProblem][] = [
  ['NotAllowedError', 'denied'],
  ['NotFoundError', 'missing'],
  ['NotReadableError', 'busy'],
  ['OverconstrainedError', 'gone'],
  ['TypeError', 'unsupported'],
  ['SomethingNewError', 'failed'],
];

describe('what can go wrong with a device (W3C Media Capture §10.2)', () => {
  it.each(names)('%s is %s', (name, problem) => {
    expect(problemOf({ name }, true)).toBe(problem);
  });

  it('without HTTPS that is the reason, whatever the error says', () => {
    expect(problemOf({ name: 'NotAllowedError' }, false)).toBe('insecure');
  });

  it('each has its own sentence and next step', () => {
    const problems: CaptureProblem[] = [...names.map(([, problem]) => problem), 'insecure', 'unanswered'];
    const sentences = problems.flatMap((problem) => [
      en.devices.problem('audio', problem),
      en.devices.problem('video', problem),
    ]);
    expect(new Set(sentences).size).toBe(sentences.length);
    for (const sentence of sentences) expect(sentence).toMatch(/[.]$/);
  });
});
