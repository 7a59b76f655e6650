import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { safeHref, segments } from './text';

describe('text of a message', () => {
  it('links http and https only, without the punctuation after them', () => {
    expect(segments('see https://example.org/a_(b)?c=1. ok')).toEqual([
      { kind: 'text', text: 'see ' },
      { kind: 'link', text: 'https://example.org/a_(b)?c=1', href: 'https://example.org/a_(b)?c=1' },
      { kind: 'text', text: '. ok' },
    ]);
    expect(segments('(http://example.org)').map(({ kind }) => kind)).toEqual(['text', 'link', 'text']);
    for (const text of ['javascript:alert(1)', 'data:text/html,x', 'ftp://example.org', 'https://']) {
      expect(segments(text).every(({ kind }) => kind === 'text')).toBe(true);
    }
    expect(safeHref('javascript:alert(1)//https://a')).toBe(null);
  });

  it('sets code in backticks as code, and never links inside it', () => {
    expect(segments('run `curl https://a.b` now')).toEqual([
      { kind: 'text', text: 'run ' },
      { kind: 'code', text: 'curl https://a.b', block: false },
      { kind: 'text', text: ' now' },
    ]);
    expect(segments('```\na\nb\n```')).toEqual([{ kind: 'code', text: 'a\nb', block: true }]);
    expect(segments('a ` b')).toEqual([{ kind: 'text', text: 'a ` b' }]);
  });

  it('shows control characters by their names', () => {
    expect(segments('a\u0007b')).toEqual([
      { kind: 'text', text: 'a' },
      { kind: 'control', text: '\u0007', name: 'U+0007' },
      { kind: 'text', text: 'b' },
    ]);
  });

  it('loses nothing: the segments are the text, but for the marks of code', () => {
    const anything = fc.array(
      fc.constantFrom(
        'a',
        ' ',
        '\n',
        '`',
        'https://a.b/c',
        ')',
        '.',
        '\u202e',
        '\u0000',
        'ש',
        '👍',
        '<b>',
        '&amp;',
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(anything, (parts) => {
        const text = parts.join('');
        const shown = segments(text)
          .map((segment) => segment.text)
          .join('');
        const bare = (s: string) => s.replaceAll('`', '').replaceAll('\n', '');
        expect(bare(shown)).toBe(bare(text));
      }),
    );
  });
});
