/**
 * The safety code (K7): a short number that two people read to each other, to know that nobody sits in between, the server
 * included. Media are encrypted between the two holders of the DTLS certificates (RFC 8827 §6.5), but the fingerprints
 * travel through the server, so a dishonest one could put itself in the middle with certificates of its own. Then each
 * side's code is made of another pair of certificates, and the two codes differ.
 *
 * **Source.** The other side's certificate is the one that the DTLS handshake really ended with, as the transport shows it
 * (`RTCDtlsTransport.getRemoteCertificates`, in Chromium, Firefox and Safari), not what a description said: a description
 * may list several fingerprints, and can be replaced later. A browser that does not show it gets no code.
 *
 * **Length.** Six groups of five digits, 99.7 bits. Nobody commits to a certificate before seeing the other's (ZRTP,
 * RFC 6189 §4.4.1.1, does, and can do with 16 bits), so somebody in the middle may try certificates of its own on *both*
 * sides until the two codes meet: a birthday search over half of the bits, 2^50 tries. (Signal's 60 digits are two halves of 30
 * for the same reason.) Each try costs 2^18 rounds of PBKDF2, that is 2^19 compressions of SHA-256: together about 2^69, and
 * they have to fit between the moment at which both pages have shown their certificates and the call. Here it takes 50 ms, once.
 *
 * **Limit.** The page itself comes from the server too; the code is as honest as the page that shows it.
 */
export interface Handshake {
  /** The fingerprint of our own certificate, as `AA:BB:…` of SHA-256. */
  own: string;
  /** The other side's certificate, DER. */
  theirs: ArrayBuffer;
}

const LABEL = 'telementor safety code 1';
const ROUNDS = 2 ** 18;
const GROUPS = 6;
const DIGITS = 5;
const BYTES_PER_GROUP = 5;

/** The same on both sides: groups of digits. */
export async function safetyCode({ own, theirs }: Handshake): Promise<string[]> {
  const text = new TextEncoder();
  const lines = [own, await fingerprint(theirs)].map((one) => `sha-256 ${one.toUpperCase()}`).sort();
  const key = await crypto.subtle.importKey('raw', text.encode(lines.join('\n')), 'PBKDF2', false, [
    'deriveBits',
  ]);
  const stretched = await crypto.subtle.deriveBits(
    { name: 'PBKDF2', hash: 'SHA-256', salt: text.encode(LABEL), iterations: ROUNDS },
    key,
    GROUPS * BYTES_PER_GROUP * 8,
  );
  return Array.from({ length: GROUPS }, (_, at) => {
    const bytes = new Uint8Array(stretched, at * BYTES_PER_GROUP, BYTES_PER_GROUP);
    const number = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    return String(number % 10 ** DIGITS).padStart(DIGITS, '0');
  });
}

/** RFC 8122 §5: upper case, a colon between the bytes. */
async function fingerprint(certificate: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', certificate));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Our own certificate as our browser describes it. All media sections must name the same one; null if they do not. */
export function ownFingerprint(sdp: string): string | null {
  return only([...sdp.matchAll(/^a=fingerprint:sha-256 ([0-9a-f:]+)\s*$/gim)].map(([, value]) => `${value}`));
}

/** The certificate of the other side on all transports (one, where media are bundled); null if they differ. */
export function theirCertificate(transports: Iterable<RTCDtlsTransport | null>): ArrayBuffer | null {
  const leaves = Array.from(transports, (one) => one?.getRemoteCertificates?.()[0]).filter(
    (one) => one !== undefined,
  );
  const first = leaves[0];
  return first !== undefined && leaves.every((one) => sameBytes(one, first)) ? first : null;
}

function only(values: string[]): string | null {
  return new Set(values).size === 1 ? (values[0] ?? null) : null;
}

export function sameBytes(one: ArrayBuffer, other: ArrayBuffer): boolean {
  const bytes = new Uint8Array(other);
  return one.byteLength === other.byteLength && new Uint8Array(one).every((byte, at) => byte === bytes[at]);
}
