/**
 * A message's text as segments. Nothing is ever interpreted as HTML: the screens put each segment into a text node.
 */
export type Segment =
  | { kind: 'text'; text: string }
  | { kind: 'link'; text: string; href: string }
  | { kind: 'code'; text: string; block: boolean }
  /** A character that would act instead of being seen, shown by its name. */
  | { kind: 'control'; text: string; name: string };

const CODE = /```\n?([\s\S]+?)\n?```|`([^`\n]+)`/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: a link ends where they begin
const LINK = /\bhttps?:\/\/[^\s<>"'`\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gi;
// C0 and C1 but for tab and line ends. Bidirectional controls (UAX #9 §2) stay in the text: each segment is shown in an
// isolate of its own, which they cannot leave.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

export function segments(text: string): Segment[] {
  const found: Segment[] = [];
  let from = 0;
  for (const match of text.matchAll(CODE)) {
    found.push(...links(text.slice(from, match.index)));
    found.push({ kind: 'code', text: match[1] ?? match[2] ?? '', block: match[1] !== undefined });
    from = match.index + match[0].length;
  }
  found.push(...links(text.slice(from)));
  return found;
}

function links(text: string): Segment[] {
  const found: Segment[] = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const shown = withoutTrailing(match[0]);
    const href = safeHref(shown);
    if (href === null) continue;
    found.push(...controls(text.slice(from, match.index)));
    found.push({ kind: 'link', text: shown, href });
    from = match.index + shown.length;
  }
  found.push(...controls(text.slice(from)));
  return found;
}

/** "(see https://example.org/a)." ends before the bracket and the full stop; a bracket opened inside belongs to it. */
function withoutTrailing(link: string): string {
  let end = link.length;
  for (;;) {
    const last = link[end - 1] ?? '';
    const unopened = last === ')' && !link.slice(0, end - 1).includes('(');
    if (!'.,;:!?…]}'.includes(last) && !unopened) return link.slice(0, end);
    if (--end === 0) return link;
  }
}

export function safeHref(link: string): string | null {
  try {
    const url = new URL(link);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}

function controls(text: string): Segment[] {
  const found: Segment[] = [];
  let from = 0;
  for (const match of text.matchAll(CONTROL)) {
    if (match.index > from) found.push({ kind: 'text', text: text.slice(from, match.index) });
    const code = match[0].codePointAt(0) ?? 0;
    found.push({
      kind: 'control',
      text: match[0],
      name: `U+${code.toString(16).toUpperCase().padStart(4, '0')}`,
    });
    from = match.index + 1;
  }
  if (from < text.length) found.push({ kind: 'text', text: text.slice(from) });
  return found;
}
