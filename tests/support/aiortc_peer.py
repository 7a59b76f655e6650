"""An aiortc peer as one end of a call: it negotiates over `call.signal` only, sends a tone and a picture, counts frames.

aiortc knows neither ICE restart nor rollback: it joins with `rollback: false` and is impolite (K3). Only host candidates:
`iceServers=[]`, as the default is a third party's STUN. aioice leaves 127.0.0.1 out, so the peers need an interface of their
own; see private_network.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError

GOOD_FRAMES = 5


class AiortcPeer:
    """Owns a connection and the tasks that consume its tracks (an unconsumed track leaks)."""

    def __init__(self, *, video: bool = True) -> None:
        self.frames = {"audio": 0, "video": 0}
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []
        self._connection.on("track", self._on_track)
        self._sent = [AudioStreamTrack(), VideoStreamTrack()] if video else [AudioStreamTrack()]
        for track in self._sent:
            self._connection.addTrack(track)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._consume(track)))

    async def _consume(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.frames[track.kind] += 1

    @property
    def _own(self) -> dict[str, Any]:
        local = self._connection.localDescription
        return {"type": local.type, "sdp": local.sdp}

    async def offer(self) -> dict[str, Any]:
        """A description with all candidates in it (aiortc does not trickle)."""
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._own

    async def answer(self, offer: dict[str, Any]) -> dict[str, Any]:
        """The answer to a description that came over the wire."""
        await self.accept(offer)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._own

    async def accept(self, description: dict[str, Any]) -> None:
        """Take the other side's description."""
        await self._connection.setRemoteDescription(RTCSessionDescription(**description))

    def flowing(self) -> bool:
        """Whether both sound and picture have come."""
        return all(self.frames[track.kind] >= GOOD_FRAMES for track in self._sent)

    @property
    def remote_sdp(self) -> str:
        """What the other side described itself by."""
        return self._connection.remoteDescription.sdp

    def vanish(self) -> None:
        """Its network is gone: what it sends arrives nowhere, what is sent to it neither."""
        for receiver in self._connection.getReceivers():
            for protocol in receiver.transport.transport._connection._protocols:
                protocol.transport.abort()

    @property
    def state(self) -> str:
        """RTCPeerConnection.connectionState."""
        return self._connection.connectionState

    async def reported_loss(self) -> dict[str, int]:
        """Packets that the other side says it missed, for each kind of which it has reported (RTCP receiver reports)."""
        stats = (await self._connection.getStats()).values()
        return {one.kind: one.packetsLost for one in stats if one.type == "remote-inbound-rtp"}

    async def received_packets(self) -> int:
        """RTP packets that have come."""
        stats = (await self._connection.getStats()).values()
        return sum(one.packetsReceived for one in stats if one.type == "inbound-rtp")

    async def close(self) -> None:
        """End the connection and everything that this peer started."""
        for track in self._sent:
            track.stop()
        await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
