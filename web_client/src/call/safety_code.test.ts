import { describe, expect, it } from 'vitest';
import { ownFingerprint, safetyCode, theirCertificate } from './safety_code';

const der = (...bytes: number[]) => new Uint8Array(bytes).buffer;
const count = (length: number) => der(...Array.from({ length }, (_, at) => at));
const colons = (bytes: ArrayBuffer) =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join(':');
const printOf = async (certificate: ArrayBuffer) =>
  colons(await crypto.subtle.digest('SHA-256', certificate)).toUpperCase();
const transport = (...chain: ArrayBuffer[]) => ({ getRemoteCertificates: () => chain }) as RTCDtlsTransport;

describe('K7: the safety code', () => {
  it('is the one that hashlib.pbkdf2_hmac makes of the same lines', async () => {
    const own = Array(32).fill('AB').join(':');
    const code = ['22448', '81350', '98243', '97312', '85616', '73521'];
    expect(await safetyCode({ own, theirs: count(64) })).toEqual(code);
    expect(await safetyCode({ own: own.toLowerCase(), theirs: count(64) })).toEqual(code);
  });

  it('is the same on both sides', async () => {
    const [mentor, mentee] = [count(300), count(301)];
    const here = await safetyCode({ own: await printOf(mentor), theirs: mentee });
    const there = await safetyCode({ own: await printOf(mentee), theirs: mentor });
    expect(here).toEqual(there);
  });

  it('differs with somebody in the middle, whatever certificates they take', async () => {
    const [mentor, mentee, middle, other] = [count(300), count(301), count(302), count(303)];
    const here = await safetyCode({ own: await printOf(mentor), theirs: middle });
    const there = await safetyCode({ own: await printOf(mentee), theirs: other });
    const sameForBoth = await safetyCode({ own: await printOf(mentee), theirs: middle });
    expect(new Set([here, there, sameForBoth].map(String)).size).toBe(3);
  });

  it('has six groups of five digits, also when a number is small', async () => {
    for (let length = 1; length <= 12; length++) {
      const code = await safetyCode({ own: await printOf(der(length)), theirs: count(length) });
      expect(code.join(' ')).toMatch(/^(\d{5} ){5}\d{5}$/);
    }
  });
});

describe('our own certificate (RFC 8122)', () => {
  const line = (value: string) => `m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=fingerprint:${value}\r\n`;

  it('is what all media sections name', () => {
    expect(ownFingerprint(`v=0\r\n${line('sha-256 AA:01')}${line('sha-256 AA:01')}`)).toBe('AA:01');
    expect(ownFingerprint(`v=0\r\na=fingerprint:SHA-256 aa:01\r\nm=audio 9 RTP 0\r\n`)).toBe('aa:01');
  });

  it('of several hashes it is that of SHA-256', () => {
    expect(ownFingerprint(line('sha-512 CC:03') + line('sha-256 AA:01') + line('sha-384 BB:02'))).toBe(
      'AA:01',
    );
  });

  it('is nothing when sections disagree, or when there is none', () => {
    expect(ownFingerprint(line('sha-256 AA:01') + line('sha-256 AA:02'))).toBeNull();
    expect(ownFingerprint(line('sha-512 CC:03'))).toBeNull();
    expect(ownFingerprint('')).toBeNull();
  });
});

describe("the other side's certificate", () => {
  it('is the first of the chain, the same on all transports', () => {
    expect(theirCertificate([transport(count(3), count(9))])).toEqual(count(3));
    expect(theirCertificate([transport(count(3)), transport(count(3)), null])).toEqual(count(3));
  });

  it('is nothing when two transports have two', () => {
    expect(theirCertificate([transport(count(3)), transport(count(4))])).toBeNull();
    expect(theirCertificate([transport(der(1, 2)), transport(der(1, 3))])).toBeNull();
  });

  it('is nothing before the handshake, and in a browser that does not show it', () => {
    expect(theirCertificate([transport()])).toBeNull();
    expect(theirCertificate([{} as RTCDtlsTransport])).toBeNull();
    expect(theirCertificate([])).toBeNull();
  });
});
