"""The transport below Socket.IO: Engine.IO 4 as python-engineio speaks it, with bounds that it does not have.

Ours: what waits for one socket is bounded in bytes and in time; a long-polling body in packets, and there is one at a time;
what is read before the log-in in a few KiB. A closed socket's transport really ends, and nothing is compressed (it costs CPU
and memory per socket and gains nothing on short msgpack frames).

What waits: from `push` until the WebSocket takes it, or until the poll that fetched it has been answered to its end. Beyond
that there is what the transport holds back for one connection: 64 KiB, and the one message that went over it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import engineio
import msgspec
import structlog
from aiohttp import web
from engineio import async_socket, exceptions, packet, payload

from signaling.front import Opening
from signaling.websocket import FINISH_S, Taken, Turn, WebSocket, accept, framed

log = structlog.get_logger()

STALL_S = 10.0
"""A socket that takes nothing for this long while something waits for it is cut, and its client resumes."""

PACKET_BYTES = 150
"""What a waiting packet costs beside its payload (measured: 145): many small ones are counted for what they are."""

POLLING_PACKETS = 256
"""Packets in one long-polling body, either way. More are refused and close the socket; engineio's 16 would answer 200 and
deliver none of them."""

POLLING_ANSWER = 16
"""Packets in one answer to a poll: python-socketio's clients take no more (`Payload.max_decode_packets`)."""

UNKNOWN_BYTES = 16_384
"""The largest POST before the log-in: there is one CONNECT packet to say."""

UNKNOWN_MESSAGE_BYTES = 131_072
"""And the largest message of a WebSocket."""

MALFORMED = (ValueError, IndexError, KeyError, UnicodeDecodeError)
"""What engineio raises for bytes that are no packet of its protocol."""

TAKEN = Taken()

SID_BYTES = 15
"""A session's name is a secret: whoever knows it may poll for it. 120 random bits."""

PING, PONG = framed(str(packet.PING)), str(packet.PONG)
"""Of a WebSocket: the frame, and what its text is."""

TICK_S = 0.25
"""Who is due within it is pinged now: many at a time wake the node up, and are answered, at once."""

payload.Payload.max_decode_packets = POLLING_PACKETS


class Outbox:
    """What waits for one socket, in the order of saying; None is its end. One reader at a time. An `asyncio.Queue`, which
    engineio takes, would be half of what an idle client costs."""

    __slots__ = ("_packets", "_reader")

    def __init__(self) -> None:
        self._packets: deque[packet.Packet | None] | None = None
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, pkt: packet.Packet | None) -> None:
        if self._packets is None:
            self._packets = deque()
        self._packets.append(pkt)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def qsize(self) -> int:
        return len(self._packets or ())

    def empty(self) -> bool:
        return not self._packets

    def get_nowait(self) -> packet.Packet | None:
        """Raises `asyncio.QueueEmpty`."""
        if not self._packets:
            raise asyncio.QueueEmpty
        pkt = self._packets.popleft()
        if not self._packets:
            self._packets = None
        return pkt

    async def get(self) -> packet.Packet | None:
        """Raises `asyncio.QueueEmpty` when what there was has been taken meanwhile."""
        if not self._packets:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.get_nowait()


class EngineSocket(async_socket.AsyncSocket):  # type: ignore[misc]
    """One transport. `push` never waits; beyond the bound ephemeral packets are dropped, and any other ends the socket.

    A WebSocket is written to at once, as long as it takes what it is given; only what it does not take waits in the queue.
    """

    def __init__(self, server: EngineServer, sid: str) -> None:
        super().__init__(server, sid)
        self.origin: str | None = None
        self.request: web.Request | Opening | None = None
        """The one that it began with, until somebody has logged in."""
        self.known = False
        """Whether somebody has logged in on it."""
        self.connection: Any = None
        """Who is at the other end, once that is known."""
        self.waiting_bytes = 0
        self.ended = False
        self._aborted = False
        self._taken_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._poll: web.Request | None = None
        self._posting = False
        self._fetched_bytes = 0
        self._websocket: WebSocket | None = None
        self._probing: WebSocket | None = None
        self._cut: asyncio.TimerHandle | None = None
        self.heard = True
        """Whether anything has come since the last ping: that is a sign of life as a pong is."""

    # What is sent

    async def send(self, pkt: packet.Packet) -> None:
        self.push(pkt)

    def push_message(self, frame: bytes, *, ephemeral: bool = False) -> None:
        """A binary message."""
        websocket = self._websocket
        if websocket is not None and not websocket.paused and not self.closing and not self.waiting_bytes:
            websocket.send(frame)
        else:
            self.push(packet.Packet(packet.MESSAGE, frame), ephemeral=ephemeral)

    def push(self, pkt: packet.Packet, *, ephemeral: bool = False) -> None:
        if self.closed or self.closing or self._aborted:
            return
        websocket = self._websocket
        if websocket is not None and not websocket.paused and not self.waiting_bytes:
            websocket.send(pkt.encode())
            return
        size_bytes = _size(pkt)
        if self.waiting_bytes + size_bytes > self.server.backlog_bytes:
            if not ephemeral:
                self.server.on_overflow()
                self.abort()
            return
        if self._watch is None:
            loop = asyncio.get_running_loop()
            self._taken_s, self._watch = loop.time(), loop.call_later(STALL_S, self._look)
        self.waiting_bytes += size_bytes
        self.queue.put_nowait(pkt)

    def _taken(self, size_bytes: int) -> None:
        self.waiting_bytes -= size_bytes
        self._taken_s = asyncio.get_running_loop().time()

    def _look(self) -> None:
        """Has anything been taken lately of what waits? One timer per socket and silence, not one per packet."""
        self._watch = None
        if not self.waiting_bytes or self.closed:
            return
        loop = asyncio.get_running_loop()
        left_s = self._taken_s + STALL_S - loop.time()
        if left_s <= 0:
            self.server.on_overflow()
            self.abort()
        else:
            self._watch = loop.call_later(left_s, self._look)

    def _write_on(self) -> None:
        """What waited for the WebSocket, as far as it takes it now."""
        websocket = self._websocket
        assert websocket is not None
        while not websocket.paused and not self.queue.empty():
            pkt = self.queue.get_nowait()
            if pkt is None:
                websocket.close()
                return
            websocket.send(pkt.encode())
            self._taken(_size(pkt))

    # The end

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Close in order: what waits is still written, then the transport ends, at the latest after `FINISH_S`. With
        `abort` the transport is gone already. Never waits for the other side, whatever `wait` says."""
        self.end(abort=abort)

    def end(self, *, abort: bool = False) -> None:
        """As `close`."""
        if self.closed or self.closing:  # type: ignore[has-type]
            return
        self.closing = True
        self.request = None
        try:
            self.server.on_close(self)
        except Exception:  # the transport ends all the same
            log.exception("transport event failed", transport_event="disconnect")
        if not abort:
            self.queue.put_nowait(packet.Packet(packet.CLOSE))
        self.queue.put_nowait(None)
        if abort:
            self._end()
            return
        self._cut = asyncio.get_running_loop().call_later(FINISH_S, self.abort)
        if self._websocket is not None:
            self._write_on()

    def abort(self) -> None:
        """End the transport at once."""
        self._aborted = True
        if self._poll is not None and self._poll.transport is not None:
            self._poll.transport.abort()
        if self._websocket is not None:
            self._websocket.abort()
        elif not self.closing:
            # Not within whatever hands out a message to many.
            asyncio.get_running_loop().call_soon(partial(self.end, abort=True))
        else:
            self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = self.closed = True
        self.connection = None  # it refers to us: a cycle would stay (`collector`)
        self.server.sockets.pop(self.sid, None)
        for timer in (self._cut, self._watch):
            if timer:
                timer.cancel()
        for websocket in (self._websocket, self._probing):
            if websocket is not None:
                websocket.abort()
        if not self.server.sockets:
            self.server.empty.set()

    # Is it still there? Engine.IO protocol 4, "Heartbeat"

    def schedule_ping(self) -> None:
        """Pings are the server's to send, to all at once."""

    def ping(self) -> None:
        self.heard = False
        if self._websocket is not None and not self.waiting_bytes:
            self._websocket.send_frame(PING)
        else:
            self.push(packet.Packet(packet.PING))

    async def check_ping_timeout(self) -> bool:
        return not self.closed

    # What comes

    async def receive(self, pkt: packet.Packet) -> None:
        self.take(pkt)

    def take(self, pkt: packet.Packet) -> None:
        """Raises UnknownPacketError for what no client sends."""
        self.heard = True
        if pkt.packet_type == packet.MESSAGE:
            self.server.on_message(self, pkt.data)
        elif pkt.packet_type == packet.PONG:
            pass
        elif pkt.packet_type == packet.UPGRADE:
            self.push(packet.Packet(packet.NOOP))
        elif pkt.packet_type == packet.CLOSE:
            self.end(abort=True)
        else:
            raise exceptions.UnknownPacketError

    def _take_frame(self, data: bytes | str) -> None:
        if type(data) is bytes:
            self.heard = True
            self.server.on_message(self, data)
            return
        if data == PONG:
            self.heard = True
            return
        try:
            self.take(packet.Packet(encoded_packet=data))
        except (exceptions.EngineIOError, *MALFORMED):
            self.abort()

    # Long-polling

    async def poll(self) -> list[packet.Packet]:
        """The answer to a poll: NOOP when there is nothing to say. Raises QueueEmpty after a silence."""
        try:
            packets = await self._next(POLLING_ANSWER)
        except asyncio.QueueEmpty:  # the client did not wait for its poll: the WebSocket has it now
            packets = []
        self._fetched_bytes = sum(_size(pkt) for pkt in packets)
        if self.closing and self.queue.qsize() <= 1:
            self._end()  # the last of it has been fetched
        return packets or [packet.Packet(packet.NOOP)]

    async def _next(self, most: int) -> list[packet.Packet]:
        """What there is to write now, `most` packets of it; empty when the socket is closed. Raises QueueEmpty."""
        try:
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                first = await self.queue.get()
        except TimeoutError:
            raise exceptions.QueueEmpty from None
        packets = [] if first is None else [first]
        while packets and len(packets) < most and not self.queue.empty():
            pkt = self.queue.get_nowait()
            if pkt is None:
                self.queue.put_nowait(None)  # the next one hears that it is the end
                break
            packets.append(pkt)
        return packets

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            self.polled_by(environ["aiohttp.request"])
        return await super().handle_get_request(environ)

    def polled_by(self, request: web.Request) -> None:
        """One poll at a time, as the protocol has it: a second one would take packets out of the first one's order, and what
        is fetched and not read would have no bound."""
        if self._poll is not None:
            raise exceptions.EngineIOError("two polls at once")
        self._poll = request
        request[POLLED] = self

    def answered(self, *, whole: bool) -> None:
        """The poll is over. What was fetched and did not get there is lost to this session: the client has to resume."""
        self._poll = None
        self._taken(self._fetched_bytes)
        self._fetched_bytes = 0
        if not whole:
            self.abort()

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """One at a time, as the protocol has it: each may hold a whole body for as long as it takes to come."""
        if self._posting:
            raise exceptions.EngineIOError("two posts at once")
        self._posting = True
        try:
            await self._take_post(environ)
        except exceptions.EngineIOError:
            if self.sid in self.server.sockets:  # else engineio has no answer: the next request is told
                raise
        finally:
            self._posting = False

    async def _take_post(self, environ: dict[str, Any]) -> None:
        """As engineio does it, but for the whole body, however many pieces it comes in, and within a time."""
        self.origin = environ.get("HTTP_ORIGIN")
        try:
            length = int(environ["CONTENT_LENGTH"])
            most = self.server.max_http_buffer_size
            if length > (most if self.known else min(most, UNKNOWN_BYTES)):
                raise exceptions.ContentTooLongError
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                body = await environ["wsgi.input"].readexactly(length)
            packets = payload.Payload(encoded_payload=body.decode()).packets
        except (EOFError, TimeoutError, *MALFORMED) as error:
            raise exceptions.EngineIOError("malformed body") from error
        for pkt in packets:
            try:
                await self.receive(pkt)
            except exceptions.EngineIOError:
                raise
            except Exception as error:  # engineio would keep it to itself, and answer 200
                log.exception("message failed")
                raise exceptions.EngineIOError("a message failed") from error

    # A WebSocket, from the beginning or as an upgrade of polling

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        if self._websocket is not None or self._probing is not None:
            return self.server._bad_request("There is a WebSocket already")
        self._probe(self._accept(environ["aiohttp.request"]))
        return TAKEN

    def carry(self, request: web.Request | Opening) -> None:
        """From the beginning by a WebSocket. Raises HTTPBadRequest and ConnectionError."""
        self._carry(self._accept(request))

    def _accept(self, request: web.Request | Opening) -> WebSocket:
        most = self.server.max_http_buffer_size
        return accept(request, most if self.known else min(most, UNKNOWN_MESSAGE_BYTES), self.server.turn)

    def _carry(self, websocket: WebSocket) -> None:
        self.connected = self.upgraded = True
        self._websocket = websocket
        if self.known:  # it may have logged in by polling while the WebSocket was probed
            websocket.most_bytes = self.server.max_http_buffer_size
        websocket.on_message = self._take_frame
        websocket.on_writable = self._write_on
        websocket.on_lost = self._lost
        self._write_on()

    def _lost(self) -> None:
        self._websocket = None
        if self.closing:
            self._end()
        else:
            self.end(abort=True)

    def _probe(self, websocket: WebSocket) -> None:
        """Engine.IO protocol 4, "Upgrade": the client probes, the pending poll is ended, the client confirms. Until then the
        session goes on by polling, whatever becomes of the WebSocket."""
        self.upgrading, self._probing = True, websocket
        most_s = self.server.ping_interval + self.server.ping_timeout
        late = asyncio.get_running_loop().call_later(most_s, websocket.abort)

        def probed(data: bytes | str) -> None:
            if data != f"{packet.PING}probe":
                websocket.close()
                return
            websocket.on_message = confirmed
            websocket.send(f"{packet.PONG}probe")
            self.push(packet.Packet(packet.NOOP))

        def confirmed(data: bytes | str) -> None:
            if data != str(packet.UPGRADE):
                websocket.close()
                return
            over()
            self._carry(websocket)

        def over() -> None:
            late.cancel()
            self.upgrading, self._probing = False, None

        websocket.on_message, websocket.on_lost, websocket.on_writable = probed, over, lambda: None

    def knows(self, connection: Any) -> None:
        """Somebody has logged in on it."""
        self.known, self.connection, self.request = True, connection, None
        if self._websocket is not None:
            self._websocket.most_bytes = self.server.max_http_buffer_size


POLLED = web.RequestKey("telementor.polled", EngineSocket)
"""Of a request: the socket that it polls."""


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """engineio's server with our socket and transport; `origin` of a WebSocket is that of its handshake.

    `admit(request)` raises for a new transport that is not wanted; it is refused before anything is kept of it.
    `on_message(socket, data)` takes each message, in order and at once: a task for each would cost more than most messages.
    So do `on_open(socket)` and `on_close(socket)` hear of each socket.
    """

    def __init__(
        self,
        *,
        admit: Callable[[web.Request | Opening], None],
        backlog_bytes: int,
        on_overflow: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.on_message: Callable[[EngineSocket, bytes | str], None]
        self.on_open: Callable[[EngineSocket], None] = _untold
        self.on_close: Callable[[EngineSocket], None] = _untold
        # Whom to ping, and whose answer is due: each with when it was pinged last (at first: opened). Both stay in order
        # because every wait is as long as every other: whoever is next stands first.
        self._to_ping: deque[tuple[float, EngineSocket]] = deque()
        self._pinged: deque[tuple[float, EngineSocket]] = deque()
        self._ticking: asyncio.TimerHandle | None = None
        self.turn = Turn()
        self.empty = asyncio.Event()
        """Whether every transport has ended."""
        self.admit = admit
        self.backlog_bytes = backlog_bytes
        self.on_overflow = on_overflow

    # Heartbeat: a ping after `ping_interval`, and within `ping_timeout` after it a sign of life

    def _watch_over(self, socket: EngineSocket) -> None:
        loop = asyncio.get_running_loop()
        self._to_ping.append((loop.time(), socket))
        if self._ticking is None:
            self._ticking = loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        while self._pinged and self._pinged[0][0] + self.ping_timeout <= now_s:
            _, socket = self._pinged.popleft()
            if not socket.heard and not socket.closing:
                socket.end()
        before_s = now_s + TICK_S - self.ping_interval
        while self._to_ping and self._to_ping[0][0] <= before_s:
            _, socket = self._to_ping.popleft()
            if socket.heard and not socket.closing:
                socket.ping()
                pinged = (now_s, socket)
                self._pinged.append(pinged)
                self._to_ping.append(pinged)
        waited_for = self._to_ping or self._pinged
        self._ticking = loop.call_later(TICK_S, self._tick) if waited_for else None

    def create_queue(self) -> Outbox:
        return Outbox()

    async def handle_request(self, request: web.Request) -> Any:
        """As engineio does it, and a poll's answer is written here, to see what becomes of it."""
        whole = False
        try:
            response = await super().handle_request(request)
            if POLLED in request:
                with contextlib.suppress(ConnectionError):
                    await response.prepare(request)
                    await response.write_eof()
                    whole = True
            return response
        finally:
            if POLLED in request:
                request[POLLED].answered(whole=whole)

    async def _handle_connect(
        self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        """As engineio 4.15 does it, but for the class of the socket."""
        if jsonp_index is not None:
            return self._bad_request("JSONP is not served")
        request = environ["aiohttp.request"]
        if transport == "websocket":
            self.open(request)
            return TAKEN
        socket = self._begin(request)
        socket.push(self._opening(socket.sid, transport))
        socket.connected = True
        socket.polled_by(request)
        try:
            return self._ok(await socket.poll())
        except exceptions.QueueEmpty:
            return self._bad_request()

    def open(self, request: web.Request | Opening) -> None:
        """A new session with a WebSocket. Raises what `admit` raises, and HTTPBadRequest for a handshake that is none."""
        socket = self._begin(request)
        try:
            socket.carry(request)
            socket.push(self._opening(socket.sid, "websocket"))
        except ConnectionError:
            socket.end(abort=True)
        except BaseException:
            socket.end(abort=True)
            raise

    def _begin(self, request: web.Request | Opening) -> EngineSocket:
        """Raises what `admit` raises."""
        self.admit(request)
        sid = base64.urlsafe_b64encode(os.urandom(SID_BYTES)).decode()
        socket = self.sockets[sid] = EngineSocket(self, sid)
        self.empty.clear()
        socket.request, socket.origin = request, request.headers.get("Origin")
        self.on_open(socket)
        self._watch_over(socket)
        return socket

    def _ok(self, packets: Any = None, headers: Any = None, jsonp_index: int | None = None) -> dict[str, Any]:
        """As engineio does it, but that a POST is answered as the protocol has it: `ok`, not in capitals."""
        answer: dict[str, Any] = super()._ok(packets, headers, jsonp_index)
        return answer if packets is not None else {**answer, "response": b"ok"}

    def _opening(self, sid: str, transport: str) -> packet.Packet:
        opened: dict[str, Any] = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        return packet.Packet(packet.OPEN, msgspec.json.encode(opened).decode())


def _untold(_: EngineSocket) -> None:
    pass


def _size(pkt: packet.Packet) -> int:
    """What a waiting packet costs."""
    return PACKET_BYTES + (len(pkt.data) if isinstance(pkt.data, bytes | str) else 0)
