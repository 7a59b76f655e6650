"""The transport below Socket.IO: Engine.IO 4 as python-engineio speaks it, with bounds that it does not have.

Ours: what waits for one socket is bounded in bytes and in time; a long-polling body in packets, and there is one at a time;
what is read before the log-in in a few KiB. A closed socket's transport really ends, and nothing is compressed (it costs CPU
and memory per socket and gains nothing on short msgpack frames).

What waits: from `push` until the WebSocket's writer has handed it on, or until the poll that fetched it has been answered to
its end. Beyond that there is what aiohttp and the transport hold back for one connection, about 128 KiB at most.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import engineio
from aiohttp import web
from engineio import async_socket, exceptions, packet, payload

FINISH_S = 5.0
"""A client gets this long to take what is left for it before its transport is cut."""

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
"""The largest body or WebSocket message before the log-in: there is one CONNECT packet to say. (aiohttp puts a WebSocket's
message together before we see it; `handshakes_max` bounds how many.)"""

WRITTEN_AT_ONCE = 1_000
"""Packets that a WebSocket's writer takes at a time."""

MALFORMED = (ValueError, IndexError, KeyError, UnicodeDecodeError)
"""What engineio raises for bytes that are no packet of its protocol."""

POLLED = "telementor.polled"
"""Of a request: the socket that it polls."""

payload.Payload.max_decode_packets = POLLING_PACKETS


class WebSocket:
    """An aiohttp WebSocket in the shape that engineio expects of its transports."""

    def __init__(self, handler: Any, server: Any) -> None:
        self._handler = handler
        self._server = server

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        self._request: web.Request = environ["aiohttp.request"]
        self._response = web.WebSocketResponse(
            max_msg_size=self._server.max_http_buffer_size, compress=False, timeout=FINISH_S, autoping=True
        )
        await self._response.prepare(self._request)
        await self._handler(self)
        return self._response

    async def send(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            await self._response.send_bytes(message)
        else:
            await self._response.send_str(message)

    async def wait(self) -> bytes | str:
        message = await self._response.receive()
        if not isinstance(message.data, bytes | str):
            raise OSError("closed")
        return message.data

    async def close(self) -> None:
        await self._response.close()

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()


class EngineSocket(async_socket.AsyncSocket):  # type: ignore[misc]
    """One transport. `push` never waits; beyond the bound ephemeral packets are dropped, and any other ends the socket."""

    def __init__(self, server: EngineServer, sid: str) -> None:
        super().__init__(server, sid)
        self.origin: str | None = None
        self.known = False
        """Whether somebody has logged in on it."""
        self.waiting_bytes = 0
        self.ended = asyncio.Event()
        self._aborted = False
        self._taken_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._poll: web.Request | None = None
        self._posting = False
        self._fetched_bytes = 0
        self._websocket: WebSocket | None = None
        self._cut: asyncio.TimerHandle | None = None

    async def send(self, pkt: packet.Packet) -> None:
        self.push(pkt)

    def push(self, pkt: packet.Packet, *, ephemeral: bool = False) -> None:
        if self.closed or self.closing or self._aborted:
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

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Close in order: what waits is still written, then the transport ends, at the latest after `FINISH_S`. With
        `abort` the transport is gone already. Never waits for the other side, whatever `wait` says."""
        if self.closed or self.closing:  # type: ignore[has-type]
            return
        self.closing = True
        reason = reason or self.server.reason.SERVER_DISCONNECT
        await self.server._trigger_event("disconnect", self.sid, reason, run_async=False)
        if not abort:
            self.queue.put_nowait(packet.Packet(packet.CLOSE))
        self.queue.put_nowait(None)
        if abort:
            self._end()
        else:
            self._cut = asyncio.get_running_loop().call_later(FINISH_S, self.abort)

    def abort(self) -> None:
        """End the transport at once."""
        self._aborted = True
        if self._poll is not None and self._poll.transport is not None:
            self._poll.transport.abort()
        if self._websocket is not None:
            self._websocket.abort()
        elif not self.closing:
            self.server.start_background_task(self.close, False, True)
        else:
            self._end()

    def _end(self) -> None:
        self.closed = True
        self.ended.set()
        self.server.sockets.pop(self.sid, None)
        for timer in (self._cut, self._watch):
            if timer:
                timer.cancel()

    async def poll(self) -> list[packet.Packet]:
        """The answer to a poll; empty when the socket is closed. Raises QueueEmpty after a silence."""
        packets = await self._next(POLLING_ANSWER)
        self._fetched_bytes = sum(_size(pkt) for pkt in packets)
        if self.closing and self.queue.qsize() <= 1:
            self._end()  # the last of it has been fetched
        return packets

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

    @property
    def _most_bytes(self) -> int:
        most: int = self.server.max_http_buffer_size
        return most if self.known else min(most, UNKNOWN_BYTES)

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """One at a time, as the protocol has it: each may hold a whole body for as long as it takes to come."""
        if self._posting:
            raise exceptions.EngineIOError("two posts at once")
        self._posting = True
        try:
            await self._take_post(environ)
        finally:
            self._posting = False

    async def _take_post(self, environ: dict[str, Any]) -> None:
        """As engineio does it, but for the whole body, however many pieces it comes in, and within a time."""
        self.origin = environ.get("HTTP_ORIGIN")
        try:
            length = int(environ["CONTENT_LENGTH"])
            if length > self._most_bytes:
                raise exceptions.ContentTooLongError
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                body = await environ["wsgi.input"].readexactly(length)
            packets = payload.Payload(encoded_payload=body.decode()).packets
        except (EOFError, TimeoutError, *MALFORMED) as error:
            raise exceptions.EngineIOError("malformed body") from error
        for pkt in packets:
            await self.receive(pkt)

    async def _websocket_handler(self, ws: WebSocket) -> None:
        """The life of a WebSocket: the upgrade from polling if it is one, then reading here and writing beside it."""
        if self.connected and not await self._upgraded_to(ws):  # type: ignore[has-type]
            return
        self.connected = self.upgraded = True
        self._websocket = ws
        writer = asyncio.create_task(self._write(ws))
        try:
            await self._read(ws)
        finally:
            self.queue.put_nowait(None)
            await writer
            await self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
            self._end()

    async def _upgraded_to(self, ws: WebSocket) -> bool:
        """Engine.IO protocol 4, "Upgrade": the client probes, the pending poll is ended, the client confirms."""
        self.upgrading = True
        try:
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                if await ws.wait() != f"{packet.PING}probe":
                    return False
                await ws.send(f"{packet.PONG}probe")
                self.push(packet.Packet(packet.NOOP))
                return await ws.wait() == str(packet.UPGRADE)
        except (OSError, TimeoutError):
            return False
        finally:
            self.upgrading = False

    async def _read(self, ws: WebSocket) -> None:
        silence_s = self.server.ping_interval + self.server.ping_timeout
        while not self.closed:
            try:
                async with asyncio.timeout(silence_s):
                    data = await ws.wait()
                if len(data) > self._most_bytes:
                    raise exceptions.ContentTooLongError
                await self.receive(packet.Packet(encoded_packet=data))
            except (OSError, TimeoutError, exceptions.EngineIOError, *MALFORMED):
                return

    async def _write(self, ws: WebSocket) -> None:
        """Until the socket is closed (an empty poll) or breaks."""
        try:
            while packets := await self._next(WRITTEN_AT_ONCE):
                for pkt in packets:
                    await ws.send(pkt.encode())
                    self._taken(_size(pkt))
        except (OSError, RuntimeError, exceptions.QueueEmpty):
            pass  # the reader notices and ends the socket
        await ws.close()


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """engineio's server with our socket and transport; `origin` of a WebSocket is that of its handshake.

    `admit(request)` raises for a new transport that is not wanted; it is refused before anything is kept of it.
    """

    def __init__(
        self,
        *,
        admit: Callable[[web.Request], None],
        backlog_bytes: int,
        on_overflow: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.admit = admit
        self.backlog_bytes = backlog_bytes
        self.on_overflow = on_overflow
        driver: dict[str, Any] = self._async  # type: ignore[has-type]
        self._async = {**driver, "websocket": WebSocket}

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
        self.admit(environ["aiohttp.request"])
        if self.start_service_task:  # type: ignore[has-type]
            self.start_service_task = False
            self.service_task_handle = self.start_background_task(self._service_task)
        sid = self.generate_id()
        socket = self.sockets[sid] = EngineSocket(self, sid)
        socket.origin = environ.get("HTTP_ORIGIN")
        opened = {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingTimeout": int(self.ping_timeout * 1000),
            "pingInterval": int(self.ping_interval * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        socket.push(packet.Packet(packet.OPEN, opened))
        await self._trigger_event("connect", sid, environ, run_async=False)
        socket.schedule_ping()
        if transport == "websocket":
            response = await socket.handle_get_request(environ)
            if socket.closed:
                self.sockets.pop(sid, None)
            return response
        socket.connected = True
        socket.polled_by(environ["aiohttp.request"])
        try:
            return self._ok(await socket.poll())
        except exceptions.QueueEmpty:
            return self._bad_request()


def _size(pkt: packet.Packet) -> int:
    """What a waiting packet costs."""
    return PACKET_BYTES + (len(pkt.data) if isinstance(pkt.data, bytes | str) else 0)
