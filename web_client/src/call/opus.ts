/**
 * What we ask the other side's Opus encoder for, in the `a=fmtp` of our own description (RFC 7587 §6.1): forward error
 * correction against loss, and silence that costs next to nothing. Pure.
 */
const ASKED = { useinbandfec: '1', usedtx: '1' };

export function askForOpus(sdp: string): string {
  return sdp
    .split(/(?=^m=)/m)
    .map((section) => (section.startsWith('m=audio') ? inSection(section) : section))
    .join('');
}

function inSection(section: string): string {
  const format = /^a=rtpmap:(\d+) opus\/48000/im.exec(section)?.[1];
  if (format === undefined) return section;
  const parameters = new RegExp(`^(a=fmtp:${format} )(.*?)(\r?)$`, 'm');
  if (parameters.test(section)) {
    return section.replace(parameters, (_, name, before, end) => name + asked(before) + end);
  }
  return section.replace(
    new RegExp(`^a=rtpmap:${format} .*?(\r?\n)`, 'm'),
    (line, end) => `${line}a=fmtp:${format} ${asked('')}${end}`,
  );
}

function asked(parameters: string): string {
  const kept = parameters
    .split(';')
    .map((one) => one.trim())
    .filter((one) => one !== '' && !((one.split('=')[0] ?? '') in ASKED));
  return [...kept, ...Object.entries(ASKED).map(([name, value]) => `${name}=${value}`)].join(';');
}
