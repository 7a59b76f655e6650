"""What one network check costs (K6): Chromium sends 720p and sound for the whole time that a check has."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Page

from tests.bench.page import Say, delays, percentile, table
from tests.protocol.phrases import join
from tests.support.chromium import chromium, new_context
from tests.support.client import Client, Options, PythonClient
from tests.support.private_network import private_network
from tests.support.server import Server

OFFER = """async () => {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
  const connection = (window.connection = new RTCPeerConnection());
  for (const track of media.getTracks()) connection.addTrack(track, media);
  for (const sender of connection.getSenders().filter(({ track }) => track.kind === "video")) {
    const parameters = sender.getParameters();
    parameters.encodings[0].maxBitrate = 1_500_000;
    await sender.setParameters(parameters);
  }
  window.first = new Promise((resolve) => {
    connection.ontrack = ({ track }) => {
      if (track.kind !== "video") return;
      const video = document.createElement("video");
      video.srcObject = new MediaStream([track]);
      video.muted = true;
      video.requestVideoFrameCallback(() => resolve(performance.now() - window.began));
      void video.play();
      document.body.append(video);
    };
  });
  await connection.setLocalDescription();
  await new Promise((resolve) => {
    connection.onicecandidate = ({ candidate }) => candidate ?? resolve();
  });
  window.began = performance.now();
  return connection.localDescription.sdp;
}"""

STATS = """async () => {
  const all = [...(await window.connection.getStats()).values()];
  const of = (type, kind) => all.find((one) => one.type === type && one.kind === kind) ?? {};
  const back = of("inbound-rtp", "video");
  return {
    first_s: (await window.first) / 1000,
    width: back.frameWidth, decoded: back.framesDecoded, kbit: (back.bytesReceived * 8) / 1000,
    sound: of("inbound-rtp", "audio").packetsReceived, lost: of("remote-inbound-rtp", "video").packetsLost,
    round_trip_s: of("remote-inbound-rtp", "video").roundTripTime,
  };
}"""

TRANSCODING = (sys.executable, "-m", "tests.bench.transcoding_server")


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """`seconds` of each kind; 20 are a whole check."""
    seconds = min(seconds, 19.0)
    rows = []
    with private_network():
        async with chromium() as browser:
            context = await new_context(browser)
            programs: dict[str, Sequence[str]] = {"forwarded": (), "decoded and encoded": TRANSCODING}
            for name, program in programs.items():
                place = folder / f"echo-{len(rows)}"
                place.mkdir()
                server = await Server(place, program=program).start()
                try:
                    rows.append([name, *await _row(server, await context.new_page(), seconds)])
                finally:
                    await server.close()
    say("\n## A network check\n")
    say("Chromium's fake camera at 1280 × 720 (1.5 Mbit/s at most) and microphone, to the server and back,")
    say(f"{seconds:.0f} s of the 20 that a check has.\n")
    headings = [
        "frames are", "CPU-s of the server", "of them idle", "CPU-s a whole check", "first frame back, s", "frames shown",
        "width", "kbit/s back", "`ice` p50 / p99, ms", "its longest, ms", "while idle, ms",
    ]  # fmt: skip
    say(table(headings, rows))


async def _row(server: Server, page: Page, seconds: float) -> list[str]:
    pair = await server.pair()
    client = await PythonClient(server.url, pair.mentor, Options()).connect()
    await join(client, pair.room)
    await page.goto(server.url)
    idle_s, idle_delays = await _while(server, client, pair.room, seconds / 4)
    offer = await page.evaluate(OFFER)
    measured = asyncio.create_task(_while(server, client, pair.room, seconds))
    description = {"type": "offer", "sdp": offer}
    await _accept(page, await client.done("echo", {"room": pair.room, "description": description}))
    spent_s, during = await measured
    stats = await page.evaluate(STATS)
    await page.close()
    await client.drop()
    idle_s *= 4
    return [
        f"{spent_s:.2f}",
        f"{idle_s:.2f}",
        f"{(spent_s - idle_s) * 20 / seconds:.2f}",
        f"{stats['first_s']:.2f}",
        str(stats["decoded"]),
        str(stats["width"]),
        f"{stats['kbit'] / seconds:.0f}",
        delays(during),
        f"{percentile(during, 0.9999) * 1000:.0f}",
        f"{percentile(idle_delays, 0.9999) * 1000:.0f}",
    ]


async def _accept(page: Page, answer: dict[str, Any]) -> None:
    await page.evaluate("(answer) => window.connection.setRemoteDescription(answer)", answer["description"])


async def _while(server: Server, client: Client, room: str, seconds: float) -> tuple[float, list[float]]:
    """CPU seconds of the server in that time, and how long `ice` took again and again: nothing is to hold it up."""
    process = psutil.Process(server.pid)
    before, end_s = process.cpu_times(), time.monotonic() + seconds
    waits = []
    while time.monotonic() < end_s:
        asked_s = time.perf_counter()
        await client.done("ice", {"room": room})
        waits.append(time.perf_counter() - asked_s)
        await asyncio.sleep(0.015)
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system, waits
