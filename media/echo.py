"""The other end of the network check before a call (rule K6): what a browser sends comes back to it, for 20 seconds.

An aiortc peer whose encoded frames are forwarded: nothing is decoded or encoded, which costs a fifth of the processor time.
aiortc's sender takes encoded packets; its receiver offers only decoded frames, so the three private parts named in `PRIVATE`
are used here and nowhere else. aiortc is pinned to a minor version, and tests/unit/test_echo.py fails when they change.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import queue
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import MediaDescription, SessionDescription
from av import Packet

from media.ice import Address, Server

LIMIT_S: Final = 20.0
"""Round trip, loss and the way of the media are known after ten; twice that is for a slow start."""

SETUP_S: Final = 8.0
"""For an answer: aioice waits up to 5 s for a STUN server or a relay that says nothing."""

CLOSE_S: Final = 2.0
"""What a replaced check waits for its predecessor's end. A relay that went away may hold that up longer; its place is taken
until then."""

CLOSED_S: Final = 40.0
"""After this a check's place is free whatever became of its end; aioice tells a relay good-bye for 32 s."""

FRAMES_MAX: Final = 64
"""Frames that may wait to be sent, about two seconds of video; one more is dropped, as a full network would."""

OFFER_LINES: Final = 600
"""A browser's offer of sound and picture has fewer than 300; reading one takes time with the square of them."""

CANDIDATES_MAX: Final = 32
"""Addresses that one offer may have this server send checks to."""

CODECS: Final = {"audio": "audio/opus", "video": "video/VP8"}
"""Every browser has both (RFC 7874 §3, RFC 7742 §5); with one for each kind, what came in can go out as it is."""

PRIVATE: Final = {
    RTCRtpReceiver: ("_RTCRtpReceiver__decoder_queue", "_send_rtcp_pli"),
    RTCRtpSender: ("_send_keyframe",),
}


class BadOfferError(Exception):
    """The offer cannot be answered."""


class TooManyError(Exception):
    """As many checks run as may. `retry_s`: when the oldest of them ends at the latest."""

    def __init__(self, retry_s: float) -> None:
        super().__init__()
        self.retry_s = retry_s


class EchoPeers:
    """At most `at_once` checks, one for each owner. `servers` makes our own STUN server and relay, for each check anew."""

    def __init__(self, at_once: int, servers: Callable[[], Sequence[Server]]) -> None:
        self._at_once = at_once
        self._servers = servers
        self._owned: dict[str, asyncio.Task[None]] = {}
        self._running: dict[asyncio.Task[None], float] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def answer(self, owner: str, offer: str) -> str:
        """The SDP that answers an offer, with all candidates in it; the owner's check before it ends. Raises `BadOfferError`
        (then nothing has changed), `TooManyError`, and `TimeoutError` when no answer could be made in time."""
        checked = _checked(offer)
        await self.end(owner)
        loop = asyncio.get_running_loop()
        if len(self._running) >= self._at_once:
            raise TooManyError(min(self._running.values(), default=0.0) - loop.time())
        connection = RTCPeerConnection(
            RTCConfiguration(iceServers=_usable(self._servers()), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        answered: asyncio.Future[str] = loop.create_future()
        task = asyncio.create_task(self._echo(connection, checked, answered), name="network check")
        self._owned[owner] = task
        self._running[task] = loop.time() + SETUP_S + LIMIT_S
        task.add_done_callback(lambda _: self._forget(owner, task))
        return await answered

    def owned_by(self, owner: str) -> bool:
        """Whether a check of this owner's may still run."""
        return owner in self._owned

    async def end(self, owner: str) -> None:
        """The owner's check ends; waits for that, at most `CLOSE_S`."""
        if task := self._owned.pop(owner, None):
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_S)

    async def stop(self, within_s: float) -> None:
        """All end, as far as they can within that time."""
        for task in self._owned.values():
            task.cancel()
        self._owned.clear()
        if self._running:
            await asyncio.wait(list(self._running), timeout=within_s)

    def _forget(self, owner: str, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if self._owned.get(owner) is task:
            del self._owned[owner]

    async def _echo(self, connection: RTCPeerConnection, offer: str, answered: asyncio.Future[str]) -> None:
        """One check from its offer to its end. Whatever happens, the connection is closed and `answered` is done."""
        over, closed = asyncio.Event(), asyncio.Event()

        @connection.on("connectionstatechange")
        def changed() -> None:
            if connection.connectionState in ("closed", "failed"):
                over.set()
            if connection.connectionState == "closed":
                closed.set()

        try:
            async with asyncio.timeout(SETUP_S):
                answer = await _answer(connection, offer)
            if not answered.done():  # else whoever asked has gone
                answered.set_result(answer)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LIMIT_S):
                        await over.wait()
        except (BadOfferError, TimeoutError, OSError) as error:
            if not answered.done():
                answered.set_exception(error)
        except Exception as error:
            # Whatever it is: who asked would else be cancelled, and their page would never get an answer.
            if answered.done():
                raise
            answered.set_exception(error)
        finally:
            answered.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSED_S):
                    if connection.signalingState == "closed":
                        # It closes itself already: who is cancelled while waiting in `close` takes that down with him.
                        await closed.wait()
                    else:
                        await connection.close()


def _usable(servers: Sequence[Server]) -> list[RTCIceServer]:
    """aiortc takes the first STUN server and the first relay, and knows no `stuns:` and no IPv6 address in a URL. Never
    None: that would be a third party's server."""
    return [
        RTCIceServer(url, server.username, server.credential)
        for server in servers
        for url in server.urls
        if ":" not in Address.parse(url).host and not url.startswith("stuns:")
    ]


async def _answer(connection: RTCPeerConnection, offer: str) -> str:
    """Raises `BadOfferError`, whatever aiortc stumbled over."""
    for media in SessionDescription.parse(offer).media:
        _echo_back(connection, media.kind)
    try:
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        description = await connection.createAnswer()
    except Exception as error:  # aiortc has no common error, and asserts
        raise BadOfferError from error
    await connection.setLocalDescription(description)
    return str(connection.localDescription.sdp)


def _echo_back(connection: RTCPeerConnection, kind: str) -> None:
    track = _Echoed(kind)
    transceiver = connection.addTransceiver(track)
    sender, receiver = transceiver.sender, transceiver.receiver
    codecs = RTCRtpSender.getCapabilities(kind).codecs
    rtx = f"{kind}/rtx"
    transceiver.setCodecPreferences([c for c in codecs if c.mimeType in (CODECS[kind], rtx)])
    to_decode, key_frame = PRIVATE[RTCRtpReceiver][0], PRIVATE[RTCRtpSender][0]
    assert hasattr(receiver, to_decode)
    assert hasattr(sender, key_frame)
    setattr(receiver, to_decode, _Forwarding(track))
    # The browser cannot show what came back: then it is the browser that has to send a whole picture.
    setattr(sender, key_frame, lambda: _ask_for_picture(receiver))


def _ask_for_picture(receiver: Any) -> None:
    """One request for each that came; it never waits."""
    if sources := receiver.getSynchronizationSources():
        task = asyncio.ensure_future(receiver._send_rtcp_pli(sources[0].source))
        _asking.add(task)
        task.add_done_callback(_asking.discard)


_asking: set[asyncio.Future[None]] = set()


class _Echoed(MediaStreamTrack):
    """What comes from the browser, as a track that goes back to it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._frames: asyncio.Queue[Packet[Any]] = asyncio.Queue(FRAMES_MAX)

    def put(self, data: bytes, timestamp: int, clock_rate: int) -> None:
        if self._frames.full() or self.readyState != "live":
            return
        packet: Packet[Any] = Packet(data)
        packet.pts = timestamp
        packet.time_base = Fraction(1, clock_rate)
        self._frames.put_nowait(packet)

    async def recv(self) -> Packet[Any]:
        """The next encoded frame."""
        if self.readyState != "live":
            raise MediaStreamError
        return await self._frames.get()


class _Forwarding(queue.Queue[Any]):
    """Stands where aiortc's receiver puts frames for its decoder's thread: they go to the track instead, and the thread gets
    only the word to end."""

    def __init__(self, track: _Echoed) -> None:
        super().__init__()
        self._track = track

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:
            super().put(None)
        else:
            codec, frame = item
            self._track.put(frame.data, frame.timestamp, codec.clockRate)


def _checked(offer: str) -> str:
    """The offer without what this server does not act on. Raises `BadOfferError` for what aiortc would stumble over later,
    in a task where nobody could be told."""
    lines = offer.splitlines()
    if len(lines) > OFFER_LINES:
        raise BadOfferError
    # Without an end of candidates aioice keeps waiting for a browser that hides its addresses and calls first.
    kept = [line for line in lines if line != "a=end-of-candidates"]
    candidates = [line for line in kept if line.startswith("a=candidate:") and _can_be_called(line)]
    called = set(candidates[:CANDIDATES_MAX])
    text = "\r\n".join(line for line in kept if not line.startswith("a=candidate:") or line in called)
    text += "\r\n"
    try:
        parsed = SessionDescription.parse(text)
    except Exception as error:  # as above
        raise BadOfferError from error
    kinds = [media.kind for media in parsed.media]
    if not kinds or len(set(kinds)) < len(kinds) or not all(map(_is_whole, parsed.media)):
        raise BadOfferError
    return text


def _is_whole(media: MediaDescription) -> bool:
    return bool(
        media.kind in CODECS
        and media.rtp.muxId
        and media.ice
        and media.ice.usernameFragment
        and media.ice.password
        and media.dtls is not None
        and media.dtls.fingerprints
        and any(codec.mimeType.lower() == CODECS[media.kind].lower() for codec in media.rtp.codecs)
    )


def _can_be_called(line: str) -> bool:
    """An address of somebody else, over UDP: no name (mDNS hides an address that this server could not find anyway), and
    nothing that only this machine's own link knows, such as a cloud's metadata service."""
    words = line.split()
    if len(words) < 6 or words[2].lower() != "udp":
        return False
    try:
        address = ipaddress.ip_address(words[4])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    broadcast = address.version == 4 and address.is_reserved
    return not (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address.is_link_local
        or broadcast
    )
