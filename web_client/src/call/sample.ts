/**
 * What one `getStats` says of a connection, in the few numbers that the watchdog and the quality figures need (W3C
 * webrtc-stats). Pure. Counters are totals since the connection was made; null is what a browser does not tell.
 */
export interface Sample {
  /** When it was taken, in milliseconds of the page's monotonic clock. */
  atMs: number;
  /** The pair of candidates that carries the media; null before there is one. */
  pair: Pair | null;
  received: readonly Received[];
  sent: readonly Sent[];
}

export type CandidateType = 'host' | 'srflx' | 'prflx' | 'relay';

export interface Pair {
  local: CandidateType;
  remote: CandidateType;
  protocol: 'udp' | 'tcp';
  /** How we reach our own relay; null without one, or where the browser does not tell. */
  relayProtocol: 'udp' | 'tcp' | 'tls' | null;
  /** Everything that came, checks of the connection and reports of the other side included. */
  bytesReceived: number;
  bytesSent: number;
  roundTripMs: number | null;
  /** What the congestion control believes may be sent. */
  outgoingBitsPerS: number | null;
}

/** One stream from the other side. */
export interface Received {
  kind: 'audio' | 'video';
  /** The id of our receiving track. */
  track: string | null;
  packets: number;
  packetsLost: number;
  bytes: number;
  jitterMs: number | null;
  /** Video frames that were decoded; 0 for sound. */
  frames: number;
  width: number | null;
  height: number | null;
  framesPerS: number | null;
  /** Audio samples that were played, and those among them that were made up for missing ones; 0 for video. */
  samples: number;
  concealed: number;
}

/** One stream to the other side. */
export interface Sent {
  kind: 'audio' | 'video';
  mid: string | null;
  active: boolean;
  packets: number;
  bytes: number;
  /** Video frames that were encoded; 0 for sound. */
  frames: number;
  /** What the encoder may use at the moment; null where it is not told. */
  targetBitsPerS: number | null;
  /** Frames that the camera or the screen gave; null where it is not told. */
  sourceFrames: number | null;
  width: number | null;
  height: number | null;
  framesPerS: number | null;
  limitation: 'none' | 'cpu' | 'bandwidth' | 'other' | null;
  /** As the other side reports them (RTCP): round trip, and the share of packets that were lost of late, in [0, 1]. */
  roundTripMs: number | null;
  lossShare: number | null;
}

type Report = Record<string, unknown> & { id: string; type: string };

export function sample(stats: Iterable<[string, unknown]>, atMs: number): Sample {
  const reports = new Map([...stats].map(([id, report]) => [id, report as Report]));
  const ofType = (type: string) => [...reports.values()].filter((report) => report.type === type);
  return {
    atMs,
    pair: selectedPair(reports, ofType),
    received: ofType('inbound-rtp').filter(isMedia).map(received),
    sent: ofType('outbound-rtp')
      .filter(isMedia)
      .map((report) => sent(report, reports, ofType)),
  };
}

function selectedPair(reports: Map<string, Report>, ofType: (type: string) => Report[]): Pair | null {
  const pairs = ofType('candidate-pair');
  const chosen = ofType('transport').map((transport) => transport.selectedCandidatePairId);
  // Firefox has no transport report, and marks the pair itself.
  const pair =
    pairs.find(({ id }) => chosen.includes(id)) ?? pairs.find(({ selected }) => selected === true) ?? null;
  if (pair === null) return null;
  const local = reports.get(text(pair.localCandidateId) ?? '');
  const remote = reports.get(text(pair.remoteCandidateId) ?? '');
  return {
    local: (text(local?.candidateType) ?? 'host') as CandidateType,
    remote: (text(remote?.candidateType) ?? 'host') as CandidateType,
    protocol: text(local?.protocol) === 'tcp' ? 'tcp' : 'udp',
    relayProtocol: text(local?.relayProtocol) as Pair['relayProtocol'],
    bytesReceived: number(pair.bytesReceived) ?? 0,
    bytesSent: number(pair.bytesSent) ?? 0,
    roundTripMs: ms(pair.currentRoundTripTime),
    outgoingBitsPerS: number(pair.availableOutgoingBitrate),
  };
}

function received(report: Report): Received {
  return {
    kind: report.kind as Received['kind'],
    track: text(report.trackIdentifier),
    packets: number(report.packetsReceived) ?? 0,
    packetsLost: number(report.packetsLost) ?? 0,
    bytes: number(report.bytesReceived) ?? 0,
    jitterMs: ms(report.jitter),
    frames: number(report.framesDecoded) ?? 0,
    width: number(report.frameWidth),
    height: number(report.frameHeight),
    framesPerS: number(report.framesPerSecond),
    samples: number(report.totalSamplesReceived) ?? 0,
    concealed: number(report.concealedSamples) ?? 0,
  };
}

function sent(report: Report, reports: Map<string, Report>, ofType: (type: string) => Report[]): Sent {
  const source = reports.get(text(report.mediaSourceId) ?? '');
  const told =
    reports.get(text(report.remoteId) ?? '') ??
    ofType('remote-inbound-rtp').find(({ localId }) => localId === report.id);
  return {
    kind: report.kind as Sent['kind'],
    mid: text(report.mid),
    active: report.active !== false,
    packets: number(report.packetsSent) ?? 0,
    bytes: number(report.bytesSent) ?? 0,
    frames: number(report.framesEncoded) ?? 0,
    targetBitsPerS: number(report.targetBitrate),
    sourceFrames: number(source?.frames),
    width: number(report.frameWidth),
    height: number(report.frameHeight),
    framesPerS: number(report.framesPerSecond),
    limitation: text(report.qualityLimitationReason) as Sent['limitation'],
    roundTripMs: ms(told?.roundTripTime),
    lossShare: number(told?.fractionLost),
  };
}

function isMedia({ kind }: Report): boolean {
  return kind === 'audio' || kind === 'video';
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function ms(seconds: unknown): number | null {
  const known = number(seconds);
  return known === null ? null : known * 1000;
}
