/**
 * One certificate for all connections of this page (W3C WebRTC §4.9), so that a repair by a new connection leaves the
 * safety code as it is. Its private key never leaves the browser, and it ends with the page.
 *
 * It takes some milliseconds, while entering a call takes several trips to the server. A connection that is made before
 * it is there, or after it has expired (30 days), gets one of its own from the browser: the call works all the same.
 */
const ECDSA_P256: EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' };

let certificate: RTCCertificate | null = null;

void globalThis.RTCPeerConnection?.generateCertificate(ECDSA_P256).then(
  (made) => {
    certificate = made;
  },
  () => {},
);

/** For RTCConfiguration. A connection keeps those that it began with: other ones in `setConfiguration` are refused. */
export function pageCertificates(): RTCCertificate[] {
  return certificate !== null && certificate.expires > Date.now() ? [certificate] : [];
}
