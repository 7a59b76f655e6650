"""The transport below Socket.IO: Engine.IO 4 as python-engineio speaks it, with bounds that it does not have.

Ours: what waits for one socket is bounded in bytes, a long-polling body in packets, a closed socket's transport really
ends, and no compression (it costs CPU and memory per socket and gains nothing on short msgpack frames).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import engineio
from aiohttp import web
from engineio import async_socket, exceptions, packet, payload

FINISH_S = 5.0
"""A client gets this long to take what is left for it before its transport is cut."""

POLLING_PACKETS = 256
"""Packets in one long-polling body, either way. More are refused and close the socket; engineio's 16 would answer 200 and
deliver none of them."""

POLLING_ANSWER = 16
"""Packets in one answer to a poll: python-socketio's clients take no more (`Payload.max_decode_packets`)."""

MALFORMED = (ValueError, IndexError, KeyError, UnicodeDecodeError)
"""What engineio raises for bytes that are no packet of its protocol."""

payload.Payload.max_decode_packets = POLLING_PACKETS


class WebSocket:
    """An aiohttp WebSocket in the shape that engineio expects of its transports."""

    def __init__(self, handler: Any, server: Any) -> None:
        self._handler = handler
        self._server = server
        self.on_written: Callable[[int], None] = lambda _: None

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
        self.on_written(len(message) if isinstance(message, bytes) else 0)

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
        self.waiting_bytes = 0
        self.ended = asyncio.Event()
        self._websocket: WebSocket | None = None
        self._cut: asyncio.TimerHandle | None = None

    async def send(self, pkt: packet.Packet) -> None:
        self.push(pkt)

    def push(self, pkt: packet.Packet, *, ephemeral: bool = False) -> None:
        if self.closed or self.closing:
            return
        size_bytes = _size(pkt)
        if self.waiting_bytes + size_bytes > self.server.backlog_bytes:
            if not ephemeral:
                self.server.on_overflow()
                self.abort()
            return
        self.waiting_bytes += size_bytes
        self.queue.put_nowait(pkt)

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
        if self._cut:
            self._cut.cancel()

    def _written(self, size_bytes: int) -> None:
        self.waiting_bytes -= size_bytes

    async def poll(self) -> list[packet.Packet]:
        """What there is to write now; empty when the socket is closed. Raises QueueEmpty after a silence."""
        try:
            async with asyncio.timeout(self.server.ping_interval + self.server.ping_timeout):
                first = await self.queue.get()
        except TimeoutError:
            raise exceptions.QueueEmpty from None
        packets = [] if first is None else [first]
        most = POLLING_ANSWER if not self.upgraded else self.queue.qsize() + 1
        while packets and len(packets) < most and not self.queue.empty():
            pkt = self.queue.get_nowait()
            if pkt is None:
                self.queue.put_nowait(None)  # the next poll says that it is the end
                break
            packets.append(pkt)
        if not self.upgraded:
            self._written(sum(_size(pkt) for pkt in packets))
            if self.closing and (first is None or self.queue.qsize() <= 1):
                self._end()  # the last of it has been fetched
        return packets

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        self.origin = environ.get("HTTP_ORIGIN")
        try:
            await super().handle_post_request(environ)
        except MALFORMED as error:
            raise exceptions.EngineIOError("malformed body") from error

    async def _websocket_handler(self, ws: WebSocket) -> None:
        """The life of a WebSocket: the upgrade from polling if it is one, then reading here and writing beside it."""
        if self.connected and not await self._upgraded_to(ws):  # type: ignore[has-type]
            return
        self.connected = self.upgraded = True
        self._websocket, ws.on_written = ws, self._written
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
                await self.receive(packet.Packet(encoded_packet=data))
            except (OSError, TimeoutError, exceptions.EngineIOError, *MALFORMED):
                return

    async def _write(self, ws: WebSocket) -> None:
        """Until the socket is closed (an empty poll) or breaks."""
        try:
            while packets := await self.poll():
                for pkt in packets:
                    await ws.send(pkt.encode())
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
        try:
            return self._ok(await socket.poll())
        except exceptions.QueueEmpty:
            return self._bad_request()


def _size(pkt: packet.Packet | None) -> int:
    """Bytes of a packet on a WebSocket; its type character is not counted for binary ones, nor on others worth it."""
    return len(pkt.data) if pkt is not None and isinstance(pkt.data, bytes) else 0
