// Put into every page before its own scripts: remembers what a test wants to know afterwards. Reads only.
(() => {
  if (window.__watch) return;
  const watch = (window.__watch = { connections: [], violations: [], locks: [] });
  document.addEventListener("securitypolicyviolation", (event) => {
    watch.violations.push(`${event.effectiveDirective} ${event.blockedURI}`);
  });
  const wakeLock = navigator.wakeLock;
  const request = wakeLock?.request.bind(wakeLock);
  if (request) wakeLock.request = async (type) => {
    const lock = await request(type);
    watch.locks.push(lock);
    return lock;
  };
  const Native = window.RTCPeerConnection;
  if (!Native) return;
  window.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(...args) {
      super(...args);
      watch.connections.push(this);
    }
  };

  // Sums over what is open: frames and packets that came, in each kind.
  watch.received = async () => {
    const sums = { frames: 0, audio: 0, video: 0, open: 0, made: watch.connections.length };
    for (const connection of watch.connections) {
      if (connection.connectionState === "closed") continue;
      sums.open += 1;
      // Firefox never answers for a connection that is closed meanwhile.
      const nothing = new Promise((resolve) => setTimeout(resolve, 1000, new Map()));
      for (const report of (await Promise.race([connection.getStats(), nothing])).values()) {
        if (report.type !== "inbound-rtp") continue;
        sums[report.kind] += report.packetsReceived ?? 0;
        sums.frames += report.framesDecoded ?? 0;
      }
    }
    return sums;
  };

  // Which way the media take: the selected pair of each open connection.
  watch.paths = async () => {
    const paths = [];
    for (const connection of watch.connections) {
      if (connection.connectionState === "closed") continue;
      const stats = await connection.getStats();
      const chosen = [...stats.values()].filter(({ type }) => type === "transport").map((one) => one.selectedCandidatePairId);
      for (const pair of stats.values()) {
        if (pair.type !== "candidate-pair" || !(pair.selected || chosen.includes(pair.id))) continue;
        const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
        paths.push({ local: local.candidateType, remote: remote.candidateType, protocol: local.relayProtocol ?? local.protocol });
      }
    }
    return paths;
  };

  // Decoded frames of each video of the open connections, by its place in the description.
  watch.pictures = async () => {
    const frames = {};
    for (const connection of watch.connections) {
      if (connection.connectionState === "closed") continue;
      for (const report of (await connection.getStats()).values()) {
        if (report.type === "inbound-rtp" && report.kind === "video") frames[report.mid] = report.framesDecoded ?? 0;
      }
    }
    return frames;
  };
})();
