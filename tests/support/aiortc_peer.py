"""An aiortc peer as one end of a call: it negotiates over `call.signal` only, sends a tone and a picture, counts frames.

aiortc knows neither ICE restart nor rollback: it joins with `rollback: false` and is impolite (K3). Only host candidates:
`iceServers=[]`, as the default is a third party's STUN. aioice leaves 127.0.0.1 out, so the peers need an interface of their
own; see private_network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
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
from aiortc.sdp import candidate_from_sdp

from tests.support.client import Client

GOOD_FRAMES = 5


class AiortcPeer:
    """Owns a connection and the tasks that consume its tracks (an unconsumed track leaks)."""

    def __init__(self, client: Client, sent: Sequence[MediaStreamTrack] | None = None) -> None:
        """`sent`: its own tone and picture unless told otherwise."""
        self.client = client
        self.frames = {"audio": 0, "video": 0}
        self.offers = 0
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []
        self._connection.on("track", self._on_track)
        self._sent = [AudioStreamTrack(), VideoStreamTrack()] if sent is None else list(sent)
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
        self.offers += 1
        await self.accept(offer)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._own

    async def accept(self, description: dict[str, Any]) -> None:
        """Take the other side's description."""
        await self._connection.setRemoteDescription(RTCSessionDescription(**description))

    async def take_part(self, room: str, *, rollback: bool = False) -> None:
        """Join the room and the call, and answer whatever the other side offers, until cancelled (K2, K3)."""
        await self.client.done("room.join", {"room": room, "cursor": None})
        media = {"audio": True, "video": True, "screen": False}
        joined = await self.client.done("call.join", {"room": room, "media": media, "rollback": rollback})
        for seq in range(1000):
            signal = await self._next_description()
            reply = {
                "room": room,
                "call": joined["call"],
                "to": signal["from"],
                "to_leg": signal["from_leg"],
                "seq": seq,
                "gen": signal["gen"],
                "description": await self.answer(signal["description"]),
            }
            await self.client.done("call.signal", reply)

    async def _next_description(self) -> dict[str, Any]:
        """The next signal with a description; candidates that come before it belong to the last one."""
        while True:
            signal = await self.client.next_push("call.signal", timeout_s=60)
            if signal.get("description"):
                return signal
            for one in signal["candidates"]:
                await self._add(one)

    async def _add(self, init: dict[str, Any]) -> None:
        if not init["candidate"]:
            await self._connection.addIceCandidate(None)
            return
        candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = init.get("sdpMid"), init.get("sdpMLineIndex")
        await self._connection.addIceCandidate(candidate)

    def flowing(self) -> bool:
        """Whether both sound and picture have come."""
        return min(self.frames.values()) >= GOOD_FRAMES

    async def close(self) -> None:
        """End the connection and everything that this peer started."""
        for track in self._sent:
            track.stop()
        await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
