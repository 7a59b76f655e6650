// Put into a page before its own scripts: real devices that can be unplugged, silenced and plugged in on demand.
(() => {
  const devices = navigator.mediaDevices;
  const getUserMedia = devices.getUserMedia.bind(devices);
  const enumerateDevices = devices.enumerateDevices.bind(devices);
  const away = new Set(); // device ids
  const none = new Set(); // kinds of which there is no device at all
  // Chromium's second fake camera: its frames reach a <video>, but no connection while there is no GPU.
  const MJPEG = "fake_device_1";
  const silenced = new Set(); // device ids
  const tracks = [];
  let visibility = "visible";
  let error = null;
  const faults = (window.__faults = { asked: 0 });

  const live = (kind) => tracks.filter((track) => track.kind === kind && track.readyState === "live");

  devices.enumerateDevices = async () =>
    (await enumerateDevices()).filter(
      ({ deviceId, kind, label }) =>
        !away.has(deviceId) && !none.has(kind.replace("input", "")) && label !== MJPEG,
    );

  devices.getUserMedia = async (constraints) => {
    faults.asked += 1;
    if (error) throw new DOMException(error.message, error.name);
    const there = await devices.enumerateDevices();
    const wanted = { ...constraints };
    for (const kind of ["audio", "video"]) {
      if (!constraints[kind]) continue;
      const ids = there.filter((device) => device.kind === `${kind}input`).map(({ deviceId }) => deviceId);
      const exact = constraints[kind].deviceId?.exact;
      if (ids.length === 0) throw new DOMException("Requested device not found", "NotFoundError");
      if (away.size === 0) continue;
      if (exact && !ids.includes(exact)) throw new DOMException("", "OverconstrainedError");
      if (!exact) wanted[kind] = { ...constraints[kind], deviceId: { exact: ids[0] } };
    }
    const stream = await getUserMedia(wanted);
    for (const track of stream.getTracks()) {
      tracks.push(track);
      if (silenced.has(track.getSettings().deviceId)) silence(track, true);
    }
    return stream;
  };

  // A new track of a source that is silenced is silent too.
  const silence = (track, muted) =>
    Object.defineProperty(track, "muted", { configurable: true, get: () => muted });

  // The system takes a device away, as for sleep; no list changes.
  faults.end = (kind) => {
    for (const track of live(kind)) {
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }
  };
  // Unplugs the device in use (and, with `all`, every other one of its kind).
  faults.unplug = (kind, all) => {
    const used = live(kind).map((track) => track.getSettings().deviceId);
    if (all) none.add(kind);
    else for (const device of used) away.add(device);
    faults.end(kind);
    devices.dispatchEvent(new Event("devicechange"));
  };
  faults.remove = async (label) => {
    for (const device of await enumerateDevices()) if (device.label === label) away.add(device.deviceId);
    devices.dispatchEvent(new Event("devicechange"));
  };
  faults.plugIn = () => {
    away.clear();
    none.clear();
    devices.dispatchEvent(new Event("devicechange"));
  };
  // The system silences a device; `anew`: what is captured from it afterwards speaks.
  faults.mute = (kind, muted, anew) => {
    if (!muted) silenced.clear();
    for (const track of live(kind)) {
      if (muted && !anew) silenced.add(track.getSettings().deviceId);
      silence(track, muted);
      track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
    }
  };
  faults.refuse = (name, message = "") => {
    error = name && { name, message };
  };
  faults.show = (state) => {
    visibility = state;
    document.dispatchEvent(new Event("visibilitychange"));
  };
  Object.defineProperty(document, "visibilityState", { get: () => visibility });
  Object.defineProperty(document, "hidden", { get: () => visibility === "hidden" });
  faults.used = (kind) => live(kind).map(({ label }) => label);
})();
