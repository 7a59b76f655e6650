import { describe, expect, it } from 'vitest';
import { en } from '../ui/messages/en';
import { type CaptureProblem, NO_DEVICES, plugged, problemOf } from './capture';

const names: [string, CaptureProblem][] = [
  ['NotAllowedError', 'denied'],
  ['SecurityError', 'policy'],
  ['NotFoundError', 'missing'],
  ['NotReadableError', 'busy'],
  ['AbortError', 'stuck'],
  ['OverconstrainedError', 'gone'],
  ['InvalidStateError', 'inactive'],
  ['TypeError', 'unsupported'],
  ['SomethingNewError', 'failed'],
];
/** What no error names, or only its message. */
const others: CaptureProblem[] = ['dismissed', 'system', 'insecure', 'unanswered', 'muted', 'frozen'];

describe('what can go wrong with a device (W3C Media Capture §10.2)', () => {
  it.each(names)('%s is %s', (name, problem) => {
    expect(problemOf({ name }, true)).toBe(problem);
  });

  it('who did not allow it, in the words of Chromium', () => {
    const because = (message: string) => problemOf({ name: 'NotAllowedError', message }, true);
    expect(because('Permission denied')).toBe('denied');
    expect(because('Permission denied by system')).toBe('system');
    expect(because('Permission dismissed')).toBe('dismissed');
  });

  it('without HTTPS that is the reason, whatever the error says', () => {
    expect(problemOf({ name: 'NotAllowedError' }, false)).toBe('insecure');
  });

  it('each has its own sentence and next step', () => {
    const problems: CaptureProblem[] = [...names.map(([, problem]) => problem), ...others];
    const sentences = problems.flatMap((problem) => [
      en.devices.problem('audio', problem),
      en.devices.problem('video', problem),
    ]);
    expect(new Set(sentences).size).toBe(sentences.length);
    for (const sentence of sentences) expect(sentence).toMatch(/[.].*[.]$/);
  });
});

describe('what was plugged in', () => {
  const device = (deviceId: string) => ({ deviceId }) as MediaDeviceInfo;
  const list = (...ids: string[]) => ({ ...NO_DEVICES, microphones: ids.map(device) });

  it('is what was not there before', () => {
    expect(plugged(list('a'), list('a', 'b')).microphones).toEqual([device('b')]);
    expect(plugged(list('a', 'b'), list('a')).microphones).toEqual([]);
  });

  it("is never one of the browser's own names for whichever is standard", () => {
    expect(plugged(list(), list('default', 'communications', 'a')).microphones).toEqual([device('a')]);
  });
});
