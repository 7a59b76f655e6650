"""The echo peer itself, in a network of its own: what it forwards, when it ends, what it leaves behind (K6)."""

from __future__ import annotations

import asyncio
import os
import queue
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import psutil
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from av import Packet

from media import echo
from media.echo import PRIVATE, BadOfferError, EchoPeers
from media.ice import IceServers
from tests.support.aiortc_peer import AiortcPeer
from tests.support.condition import until
from tests.support.private_network import ADDRESS, private_network
from tests.support.turn_server import SECRET, TurnServer

pytestmark = pytest.mark.integration


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """What no task of aiortc's may say to nobody."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    return said


@asynccontextmanager
async def echoing(at_once: int = 1, ice: IceServers | None = None) -> AsyncIterator[EchoPeers]:
    """Echo peers that end with the block, and nothing is left of them."""
    with private_network():
        before = len(psutil.Process().net_connections()), threading.active_count()
        peers = EchoPeers(
            at_once, lambda: ice.configuration("check", time.time_ns() // 1_000_000).servers if ice else ()
        )
        yield peers
        await peers.stop(5)
        assert len(peers) == 0
        await until(lambda: threading.active_count() <= before[1] + executors(), "the threads to end")
        assert len(psutil.Process().net_connections()) <= before[0]


def executors() -> int:
    """The loop's own threads for blocking calls, which stay."""
    return sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())


@asynccontextmanager
async def browser(peers: EchoPeers, **options: Any) -> AsyncIterator[AiortcPeer]:
    """A peer that has the echo's answer."""
    peer = AiortcPeer(**options)
    try:
        answer = await peers.answer("owner", (await peer.offer())["sdp"])
        await peer.accept({"type": "answer", "sdp": answer})
        yield peer
    finally:
        await peer.close()


async def test_K6_it_ends_by_itself_after_its_time(
    monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(echo, "LIMIT_S", 1.5)
    async with echoing() as peers, browser(peers) as peer:
        await until(peer.flowing, "sound and picture")
        await until(lambda: peer.state == "closed", "the end of the check", timeout_s=3)
        await until(lambda: len(peers) == 0, "its place to be free")
    assert complaints == []


async def test_K6_a_browser_that_never_connects_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(echo, "LIMIT_S", 0.3)
    async with echoing() as peers:
        peer = AiortcPeer()
        offer = (await peer.offer())["sdp"]
        await peer.close()
        await peers.answer("owner", offer)
        await until(lambda: len(peers) == 0, "its end", timeout_s=3)
    assert complaints == []


async def test_K6_a_browser_that_vanishes_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]]
) -> None:
    """No good-bye of any kind: its network is gone."""
    monkeypatch.setattr(echo, "LIMIT_S", 2.0)
    async with echoing() as peers, browser(peers) as peer:
        await until(peer.flowing, "sound and picture")
        peer.vanish()
        await until(lambda: len(peers) == 0, "its end", timeout_s=4)
    assert complaints == []


async def test_K6_no_line_of_an_offer_can_trip_it(complaints: list[dict[str, Any]]) -> None:
    random.seed(1)
    async with echoing() as peers:
        peer = AiortcPeer()
        lines = (await peer.offer())["sdp"].splitlines()
        await peer.close()
        outcomes = []
        for number, line in enumerate(lines):
            cut = random.randrange(len(line))
            for wrong in ([], [line[:cut]], [line[:cut] + "\N{PILE OF POO}" + line[cut:]], [line, line]):
                changed = [*lines[:number], *wrong, *lines[number + 1 :]]
                outcomes.append(await outcome(peers, "\r\n".join(changed) + "\r\n"))
        assert set(outcomes) == {"answered", "bad"}, "nothing else came of it"
        assert outcomes.count("bad") > 20
    assert complaints == []


async def outcome(peers: EchoPeers, offer: str) -> str:
    """What came of one offer; its check is ended."""
    try:
        await peers.answer("owner", offer)
    except BadOfferError:
        return "bad"
    await peers.end("owner")
    return "answered"


class Sending(MediaStreamTrack):
    """Frames that no decoder could read, 50 a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    async def recv(self) -> Packet[Any]:
        await asyncio.sleep(0.02)
        self.sent.append(b"\x00" + os.urandom(3_000))
        packet: Packet[Any] = Packet(self.sent[-1])
        packet.pts, packet.time_base = len(self.sent) * 1_800, Fraction(1, 90_000)
        return packet


class Recording(queue.Queue[Any]):
    """Stands before a decoder and keeps what it would get."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:
            super().put(None)
        else:
            self.frames.append(item[1].data)


async def test_K6_frames_come_back_as_they_are_and_a_lost_picture_is_asked_for_at_its_source(
    complaints: list[dict[str, Any]],
) -> None:
    async with echoing() as peers:
        connection, track, back = RTCPeerConnection(RTCConfiguration(iceServers=[])), Sending(), Recording()
        asked: list[bool] = []
        try:
            transceiver = connection.addTransceiver(track)
            setattr(transceiver.receiver, PRIVATE[RTCRtpReceiver][0], back)
            transceiver.sender._send_keyframe = lambda: asked.append(True)
            await connection.setLocalDescription(await connection.createOffer())
            answer = await peers.answer("owner", connection.localDescription.sdp)
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: len(back.frames) >= 20, "20 frames to come back")
            where = track.sent.index(back.frames[0])
            assert back.frames[:20] == track.sent[where : where + 20]
            assert asked == []
            await transceiver.receiver._send_rtcp_pli(
                transceiver.receiver.getSynchronizationSources()[0].source
            )
            await until(lambda: asked, "the request for a whole picture to come to the sender")
        finally:
            await connection.close()
    assert complaints == []


async def test_K6_it_can_be_reached_over_the_relay(tmp_path: Any, complaints: list[dict[str, Any]]) -> None:
    with private_network():
        relay = TurnServer(tmp_path, address=ADDRESS, options=[f"--allowed-peer-ip={ADDRESS}"])
        await relay.start()
        ice = IceServers(turn_urls=("turn:[::1]:1", relay.urls["tcp"]), turn_secret=SECRET)
        peers = EchoPeers(1, lambda: ice.configuration("check", time.time_ns() // 1_000_000).servers)
        try:
            async with browser(peers) as peer:
                assert "typ relay" in peer.remote_sdp
                await until(peer.flowing, "sound and picture")
        finally:
            await peers.stop(5)
            await relay.stop()
    assert complaints == []
