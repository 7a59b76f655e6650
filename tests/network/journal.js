// Put into every page after page_watch.js: when the pictures of the other side were shown, and what happened meanwhile.
// Times are milliseconds of the machine's clock, so that the pages of both people fit together. Reads only.
(() => {
  if (window.__journal) return;
  const journal = (window.__journal = { began: Date.now(), shown: [], entries: [] });
  const note = (what, detail = "") => {
    const last = journal.entries.at(-1);
    if (last?.[1] !== what || last?.[2] !== detail) journal.entries.push([Date.now(), what, String(detail)]);
  };

  // A picture counts when it is shown to the person (https://wicg.github.io/video-rvfc/), not when it is decoded.
  const watched = new WeakSet();
  setInterval(() => {
    const remote = new Set(window.__watch.connections.flatMap((one) => one.getReceivers().map(({ track }) => track)));
    for (const video of document.querySelectorAll("video")) {
      if (watched.has(video) || !video.srcObject?.getVideoTracks().some((track) => remote.has(track))) continue;
      watched.add(video);
      const shown = () => {
        journal.shown.push(Date.now());
        video.requestVideoFrameCallback(shown);
      };
      video.requestVideoFrameCallback(shown);
    }
  }, 20);

  addEventListener("click", ({ target }) => note("click", target.closest?.("button")?.innerText ?? ""), true);
  for (const name of ["online", "offline"]) addEventListener(name, () => note(name));
  navigator.connection?.addEventListener("change", () => note("network changed"));
  document.addEventListener("visibilitychange", () => note(document.visibilityState));

  new MutationObserver(() => {
    for (const name of ["call", "link"]) {
      const value = document.documentElement.dataset[name];
      if (value !== journal[name]) note(name, value);
      journal[name] = value;
    }
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-call", "data-link"], childList: true });

  const NativeSocket = window.WebSocket;
  window.WebSocket = class WebSocket extends NativeSocket {
    constructor(...args) {
      super(...args);
      note("socket", "asked for");
      this.addEventListener("open", () => note("socket", "open"));
      this.addEventListener("close", () => note("socket", "closed"));
    }
  };

  const Watched = window.RTCPeerConnection;
  if (!Watched) return;
  let made = 0;
  window.RTCPeerConnection = class RTCPeerConnection extends Watched {
    constructor(...args) {
      super(...args);
      const number = ++made;
      const tell = (what, detail) => note(`connection ${number}`, `${what} ${detail}`);
      tell("made", "");
      for (const name of ["connectionState", "iceConnectionState", "iceGatheringState", "signalingState"])
        this.addEventListener(name.toLowerCase() + "change", () => tell(name, this[name]));
      this.addEventListener("icecandidate", ({ candidate }) => {
        if (candidate?.candidate) tell("candidate", `${candidate.type} ${candidate.protocol} ${candidate.address}`);
      });
      this.addEventListener("track", ({ transceiver }) => {
        const ice = transceiver.receiver.transport?.iceTransport;
        if (!ice || ice.watched) return;
        ice.watched = true;
        ice.addEventListener("selectedcandidatepairchange", () => {
          const pair = ice.getSelectedCandidatePair();
          tell("pair", pair ? `${pair.local.type} ${pair.local.address} - ${pair.remote.type} ${pair.remote.address}` : "");
        });
      });
    }
    restartIce() {
      note("restart");
      super.restartIce();
    }
  };
})();
