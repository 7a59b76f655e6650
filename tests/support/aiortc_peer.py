"""An aiortc peer as one end of a call: it negotiates over `call.signal` only, sends a tone and a picture, counts frames.

aiortc knows neither ICE restart nor rollback: it joins with `rollback: false` and is impolite (K3). Only host candidates:
`iceServers=[]`, as the default is a third party's STUN. aioice leaves 127.0.0.1 out, so the peers need an interface of their
own; see private_network.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
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
LISTEN_S = 120


class AiortcPeer:
    """Owns a connection and the tasks that consume its tracks (an unconsumed track leaks)."""

    def __init__(self, *, video: bool = True, sent: Sequence[MediaStreamTrack] | None = None) -> None:
        """`sent`: a tone, and a picture if `video`, unless told otherwise."""
        self.frames = {"audio": 0, "video": 0}
        self.offers = 0
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []
        self._connection.on("track", self._on_track)
        tone_and_picture = [AudioStreamTrack(), VideoStreamTrack()] if video else [AudioStreamTrack()]
        self._sent = tone_and_picture if sent is None else list(sent)
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

    async def add_candidates(self, candidates: list[dict[str, Any]]) -> None:
        """Candidates that came over the wire one by one; the empty one ends them."""
        for init in candidates:
            if not init["candidate"]:
                continue
            candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = init.get("sdpMid"), init.get("sdpMLineIndex")
            await self._connection.addIceCandidate(candidate)

    def stop_picture(self) -> None:
        """A camera that gives nothing any more, on a path that works."""
        self._sent[1].stop()

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


class AiortcMember:
    """Somebody whose client is made of aiortc: in the room and the call, it answers each leg of the other side anew."""

    def __init__(
        self,
        client: Client,
        room: str,
        *,
        make: Callable[[], AiortcPeer] = AiortcPeer,
        rollback: bool = False,
    ) -> None:
        """`make` makes the peer of each leg; `rollback` is what the client says of itself (K3)."""
        self.client = client
        self.room = room
        self._make = make
        self._rollback = rollback
        self.peer: AiortcPeer | None = None
        self.legs: list[int] = []
        self._seq = itertools.count()
        self._listener: asyncio.Task[None] | None = None

    async def join(self) -> AiortcMember:
        """Enter the room and the call, and answer whatever is offered there."""
        await self.client.done("room.join", {"room": self.room, "cursor": None})
        media = {"audio": True, "video": True, "screen": False}
        await self.client.done("call.join", {"room": self.room, "media": media, "rollback": self._rollback})
        self._listener = asyncio.create_task(self._listen())
        return self

    async def _listen(self) -> None:
        while True:
            signal = await self.client.next_push("call.signal", timeout_s=LISTEN_S)
            description = signal.get("description")
            if description and description["type"] == "offer":
                await self._answer(signal)
            elif self.peer and signal["from_leg"] == self.legs[-1] and signal.get("candidates"):
                await self.peer.add_candidates(signal["candidates"])

    async def _answer(self, signal: dict[str, Any]) -> None:
        if self.legs[-1:] != [signal["from_leg"]]:
            await self._hang_up()
            self.legs.append(signal["from_leg"])
            self.peer = self._make()
        assert self.peer
        answer = await self.peer.answer(signal["description"])
        told = {"room": self.room, "call": signal["call"], "gen": signal["gen"], "seq": next(self._seq)}
        to = {"to": signal["from"], "to_leg": signal["from_leg"]}
        await self.client.done("call.signal", {**told, **to, "description": answer})

    async def _hang_up(self) -> None:
        if self.peer:
            await self.peer.close()
        self.peer = None

    async def vanish(self) -> None:
        """The connection ends without a word over the wire."""
        await self._hang_up()

    async def close(self) -> None:
        """End everything that this member started; what went wrong meanwhile fails the test."""
        if self._listener:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        await self._hang_up()
