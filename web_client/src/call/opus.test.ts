import { describe, expect, test } from 'vitest';
import { askForOpus } from './opus';

const sdp = (...lines: string[]) => lines.map((line) => `${line}\r\n`).join('');
const HEAD = ['v=0', 's=-', 't=0 0'];
const VIDEO = ['m=video 9 UDP/TLS/RTP/SAVPF 96', 'a=rtpmap:96 VP8/90000', 'a=fmtp:96 max-fs=12288'];

describe('what we ask the Opus encoder of the other side for', () => {
  test('stands beside what the browser has written already, once', () => {
    const before = sdp(
      ...HEAD,
      'm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9',
      'a=rtpmap:111 opus/48000/2',
      'a=rtcp-fb:111 transport-cc',
      'a=fmtp:111 minptime=10;useinbandfec=1',
      'a=rtpmap:63 red/48000/2',
      'a=fmtp:63 111/111',
      ...VIDEO,
    );
    const after = askForOpus(before);
    expect(after).toBe(before.replace('minptime=10;useinbandfec=1', 'minptime=10;useinbandfec=1;usedtx=1'));
    expect(askForOpus(after), 'asking twice changes nothing').toBe(after);
  });

  test('overrules what a browser has switched off', () => {
    const before = sdp(
      'm=audio 9 X 109',
      'a=rtpmap:109 opus/48000/2',
      'a=fmtp:109 usedtx=0; useinbandfec=0;stereo=1',
    );
    expect(askForOpus(before)).toContain('a=fmtp:109 stereo=1;useinbandfec=1;usedtx=1\r\n');
  });

  test('gets a line of its own where there is none', () => {
    const before = sdp('m=audio 9 X 109 0', 'a=rtpmap:109 opus/48000/2', 'a=rtpmap:0 PCMU/8000');
    expect(askForOpus(before)).toBe(
      sdp(
        'm=audio 9 X 109 0',
        'a=rtpmap:109 opus/48000/2',
        'a=fmtp:109 useinbandfec=1;usedtx=1',
        'a=rtpmap:0 PCMU/8000',
      ),
    );
  });

  test('is left out where there is no Opus, and in the picture', () => {
    const before = sdp(...HEAD, 'm=audio 9 X 0', 'a=rtpmap:0 PCMU/8000', 'a=fmtp:111 x=1', ...VIDEO);
    expect(askForOpus(before)).toBe(before);
  });
});
