"""Socket.IO 5 over msgpack: handshake, dispatch in three lanes, acknowledgement, dismissal (rules T1–T4, C1–C4).

A python-socketio server; below it `engine`, behind it `service`. It owns the sockets of this node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec
import socketio
import structlog
from aiohttp import web
from engineio import packet as engine_packet
from msgspec import Struct

from rooms import pushes as p
from rooms.commands import Command
from rooms.errors import Gone, Invalid, Limited, RoomError, Unavailable, Unsupported
from signaling import answers, packets
from signaling.addresses import AddressRate
from signaling.buckets import TokenBucket
from signaling.connection import Identity
from signaling.engine import EngineServer, EngineSocket
from signaling.errand import Errand
from signaling.front import Opening
from signaling.handshake import Auth
from signaling.leaves import Leaves
from signaling.metrics import Metrics
from signaling.nodes import Nodes
from signaling.service import Service
from signaling.slices import Slices, in_slices
from signaling.verbs.reply import Answer, Light, Reply

log = structlog.get_logger()

IN_FLIGHT_MAX = 512
"""Requests of one socket that may wait or be under way; more are answered `limited`."""

IN_FLIGHT_BYTES = 4_194_304
"""And their bytes: while the store stalls they wait in memory."""

EARLY_MAX = 64
"""What may be said to a socket before its handshake is answered: what rings for its person, and no more."""

ALL_ANSWERED_S = 0.005
"""How often a server that ends looks whether all requests are answered."""

FULL_RETRY_MS = 5_000
"""What somebody is told to wait for whom there is no room here now."""

PING_EVERY_S = 10
PING_TIMEOUT_S = 8
"""A connection that went silently is noticed within their sum, and a beat of `engine.TICK_S`."""

SIGNALS = frozenset({"call.signal", "chat.typing", "ice"})

ECHOES_PER_S = 0.2
ECHOES_BURST = 3
"""Network checks that one socket may begin: a check takes ten seconds, a person tries another network or device."""

MESSAGE = engine_packet.MESSAGE

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be."""


class SocketLimits(Struct, frozen=True):
    message_bytes: int
    packet_bytes: int
    backlog_bytes: int
    connect_timeout_s: float
    sockets_max: int
    handshakes_max: int
    signals_per_s: float
    signals_burst: int
    typing_per_s: float


class Door(Protocol):
    """Tells who a socket is, from what it says and from the request that opened it."""

    async def identify(self, auth: Auth, request: Any, origin: str | None) -> Identity:
        """Raises `Unauthenticated`, `Forbidden` (a foreign page), `Invalid` or `Unsupported`."""
        ...


class Asked(Struct, gc=False):
    """A request that waits for its turn; `surplus`: more came than its one object."""

    name: str
    payload: msgspec.Raw
    ack_id: int | None
    size_bytes: int
    surplus: bool = False


class Lane:
    """Requests of one class of one socket: handled and acknowledged one after the other (T3)."""

    __slots__ = ("busy", "emptying", "waiting")

    def __init__(self) -> None:
        self.busy = self.emptying = False
        self.waiting: deque[Asked] | None = None


class SocketConnection:
    """`connection.Connection` over one Engine.IO socket. Until the handshake is acknowledged, what is sent waits."""

    __slots__ = (
        "_early", "dismissed", "echo_lane", "echoes", "id", "identity", "in_flight", "in_flight_bytes", "signal_lane",
        "signals", "socket", "store_lane", "typing",
    )  # fmt: skip

    def __init__(self, socket: EngineSocket, identity: Identity, limits: SocketLimits) -> None:
        self.id: str = socket.sid
        self.identity = identity
        self.socket = socket
        self.store_lane, self.signal_lane, self.echo_lane = Lane(), Lane(), Lane()
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.dismissed = False
        self.signals = TokenBucket(limits.signals_per_s, limits.signals_burst)
        self.typing = TokenBucket(limits.typing_per_s, limits.typing_per_s)
        self.echoes = TokenBucket(ECHOES_PER_S, ECHOES_BURST)
        self._early: list[tuple[bytes, bool]] | None = []

    def lane(self, verb: str) -> Lane:
        """T3: what needs the store, signals, and network checks do not wait for each other."""
        if verb in SIGNALS:
            return self.signal_lane
        return self.echo_lane if verb == "echo" else self.store_lane

    def rate(self, verb: str) -> TokenBucket | None:
        """How often a socket may ask for this; None for what is counted by the store, or not at all."""
        if verb in SIGNALS:
            return self.typing if verb == "chat.typing" else self.signals
        return self.echoes if verb == "echo" else None

    def open(self, frame: bytes) -> None:
        """The handshake's acknowledgement goes first."""
        early, self._early = self._early or [], None
        self.send(frame)
        for waiting, ephemeral in early:
            self.send(waiting, ephemeral=ephemeral)

    def send(self, frame: bytes, *, ephemeral: bool = False) -> None:
        if self._early is None:
            self.socket.push_message(frame, ephemeral=ephemeral)
        elif len(self._early) < EARLY_MAX:
            self._early.append((frame, ephemeral))
        elif not ephemeral:
            self.cut()

    def cut(self) -> None:
        if not self.dismissed:
            self.dismissed = True
            self.socket.server.on_overflow()
            self.socket.abort()

    def dismiss(self, last: p.ReplacedPush | p.RevokedPush) -> None:
        if self.dismissed:
            return
        self.dismissed = True
        name = "replaced" if isinstance(last, p.ReplacedPush) else "revoked"
        self.send(packets.event(name, packets.pack(last)))
        # A client that is told to disconnect does not come back by itself (R3, C4).
        self.send(packets.control(packets.DISCONNECT, "/"))
        asyncio.get_running_loop().call_soon(self.socket.end)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """While `draining` no new socket is taken; while `finishing` no request is."""

    def __init__(
        self,
        service: Service,
        leaves: Leaves,
        nodes: Nodes,
        door: Door,
        handshakes: AddressRate,
        limits: SocketLimits,
        metrics: Metrics,
    ) -> None:
        self._service = service
        self._leaves = leaves
        self._nodes = nodes
        self._door = door
        self._handshakes = handshakes
        self._limits = limits
        self._metrics = metrics
        metrics.handshakes.set_function(lambda: len(self._unknown))
        metrics.sockets.set_function(lambda: len(self._connections))
        self._connections: dict[str, SocketConnection] = {}
        self._entering: set[str] = set()
        self._unknown: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._errands = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False
        self.finishing = False
        self._leave_by_s = 0.0
        super().__init__(
            async_mode="aiohttp",
            serializer="msgpack",
            namespaces=["/"],
            cors_allowed_origins=[],  # no CORS at all; the door checks the origin where a cookie counts
            ping_interval=PING_EVERY_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=limits.packet_bytes,
            http_compression=False,
            logger=_quiet,
            engineio_logger=_quiet,
            admit=self._admit,
            backlog_bytes=limits.backlog_bytes,
            on_overflow=metrics.overflows.inc,
        )
        self.eio.on_message, self.eio.on_open, self.eio.on_close = self._take, self._opened, self._closed

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    # From the transport

    def open(self, opening: Opening) -> None:
        """A new WebSocket. Raises as `EngineServer.open`."""
        self.eio.open(opening)

    def _admit(self, request: web.Request | Opening) -> None:
        """Before anything is kept of a new transport. Raises `Limited`, `Unavailable`: HTTP 429, 503."""
        try:
            if self.finishing:
                raise Unavailable("This server is being restarted.", retry_ms=1_000)
            self._handshakes.take(request)
            if len(self._unknown) >= self._limits.handshakes_max:
                raise Unavailable("Too many are coming in at this moment.", retry_ms=FULL_RETRY_MS)
        except RoomError as error:
            self._metrics.refused_sockets.labels(error.code).inc()
            raise

    def _opened(self, socket: EngineSocket) -> None:
        loop = asyncio.get_running_loop()
        self._unknown[socket.sid] = loop.call_later(self._limits.connect_timeout_s, self._expire, socket)

    def _expire(self, socket: EngineSocket) -> None:
        """C2: nobody stays connected without having said who they are."""
        self._unknown.pop(socket.sid, None)
        socket.end()

    def _closed(self, socket: EngineSocket) -> None:
        if timer := self._unknown.pop(socket.sid, None):
            timer.cancel()
        if connection := self._connections.pop(socket.sid, None):
            self._nodes.forget(connection)
            self._leaves.disconnected(connection)
            if not self._connections:
                self._empty.set()

    def _take(self, socket: EngineSocket, data: bytes | str) -> None:
        """A message, as the transport hands it on."""
        if socket.closing:
            return
        if isinstance(data, str):
            self._refuse_json(socket)
            return
        connection: SocketConnection | None = socket.connection
        try:
            event = packets.read_event(data) if connection is not None else None
        except RecursionError:
            socket.end()
            return
        if connection is not None and event is not None:
            name, payload = event.data
            self._ask(connection, Asked(name, payload, event.id, len(data)))
        else:
            self._take_rare(socket, data)

    def _take_rare(self, socket: EngineSocket, data: bytes) -> None:
        """Whatever is not an event as it has to be of somebody who is known."""
        connection: SocketConnection | None = socket.connection
        try:
            incoming = packets.read(data)
            parts = packets.parts(incoming) if connection is not None else None
        except UNREADABLE:
            socket.end()
            return
        if incoming.nsp != "/":
            self._refuse_namespace(socket, incoming, known=connection is not None)
        elif connection is not None and parts is not None:
            name, rest = parts
            payload = rest[0] if rest else packets.NOTHING
            self._ask(connection, Asked(name, payload, incoming.id, len(data), surplus=len(rest) > 1))
        elif connection is None and incoming.type == packets.CONNECT and socket.sid not in self._entering:
            self._entering.add(socket.sid)
            self._own(self._welcome(socket, incoming.data))
        elif connection is None or incoming.type != packets.ACK:
            socket.end()

    def _refuse_namespace(self, socket: EngineSocket, incoming: packets.Incoming, *, known: bool) -> None:
        if incoming.type == packets.CONNECT:
            self._push(socket, _refusal(incoming.nsp, Unsupported("There is only the namespace /.")))
        if not known:
            socket.end()

    def _push(self, socket: EngineSocket, frame: bytes) -> None:
        socket.push(engine_packet.Packet(MESSAGE, frame))

    def _refuse_json(self, socket: EngineSocket) -> None:
        """T1: said in the JSON parser's own words, so that whoever chose it can read it."""
        error = Unsupported("This server speaks msgpack: use socket.io-msgpack-parser.")
        said = {"message": error.code, "data": msgspec.to_builtins(answers.refusal(error))}
        socket.push(engine_packet.Packet(MESSAGE, f"{packets.CONNECT_ERROR}{json.dumps(said)}"))
        socket.end()

    # Handshake

    async def _welcome(self, socket: EngineSocket, data: msgspec.Raw) -> None:
        try:
            connection = await self._admitted(socket, data)
        except answers.UndecodableError:
            socket.end()
            return
        except RoomError as error:
            self._metrics.refused_sockets.labels(error.code).inc()
            self._push(socket, _refusal("/", error))
            socket.end()
            return
        except Exception:  # nobody else is affected, and it is not kept quiet
            log.exception("handshake failed")
            socket.end()
            return
        finally:
            self._entering.discard(socket.sid)
        if socket.closing or socket.closed:
            self._nodes.forget(connection)
            self._leaves.disconnected(connection)
            return
        socket.knows(connection)
        self._connections[socket.sid] = connection
        self._empty.clear()
        if timer := self._unknown.pop(socket.sid, None):
            timer.cancel()
        connection.open(packets.control(packets.CONNECT, "/", {"sid": connection.id}))
        if self.draining:  # it came in while everybody else was told
            connection.send(self._goaway())

    async def _admitted(self, socket: EngineSocket, data: msgspec.Raw) -> SocketConnection:
        if self.draining:
            raise Unavailable("This server is being restarted.", retry_ms=1_000)
        if len(self._connections) + len(self._entering) > self._limits.sockets_max:
            raise Unavailable("This server is full at this moment.", retry_ms=FULL_RETRY_MS)
        if self._leaves.overdue:
            raise Unavailable("This server is catching up with its store.", retry_ms=FULL_RETRY_MS)
        auth = answers.strictly(_auth, data)
        if socket.request is None:
            raise Gone
        identity = await self._door.identify(auth, socket.request, socket.origin)
        connection = SocketConnection(socket, identity, self._limits)
        await self._nodes.hear(connection)
        try:
            await self._nodes.join(connection)
        except BaseException:
            self._leaves.disconnected(connection)
            raise
        return connection

    # Requests

    def _ask(self, connection: SocketConnection, asked: Asked) -> None:
        if self.finishing:
            return
        waiting_bytes = connection.in_flight_bytes + asked.size_bytes
        if connection.in_flight >= IN_FLIGHT_MAX or waiting_bytes > IN_FLIGHT_BYTES:
            self._acknowledge(connection, asked.ack_id, answers.refused(Limited(retry_ms=1_000)))
            return
        connection.in_flight += 1
        connection.in_flight_bytes = waiting_bytes
        lane = connection.lane(asked.name)
        if not lane.busy:
            self._serve(connection, lane, asked)
        elif lane.waiting is None:
            lane.waiting = deque((asked,))
        else:
            lane.waiting.append(asked)

    def _serve(self, connection: SocketConnection, lane: Lane, asked: Asked) -> None:
        """What needs no wait is answered at once; only what does is a task, and its lane waits for it (T3)."""
        started_s = time.perf_counter()
        answer = self._begun(connection, asked)
        if isinstance(answer, Reply):
            self._answer(connection, asked, answer, started_s)
            return
        lane.busy = True
        if isinstance(answer, Light):
            self._errands += 1
            over = partial(self._over, connection, lane, asked, started_s)
            Errand(answer.work, over, over)
        else:
            self._own(self._answer_later(connection, lane, asked, answer, started_s))

    def _over(
        self,
        connection: SocketConnection,
        lane: Lane,
        asked: Asked,
        started_s: float,
        reply: Reply | Exception,
    ) -> None:
        self._errands -= 1
        try:
            if isinstance(reply, RoomError):
                reply = self._refused(connection, asked, reply)
            elif isinstance(reply, Exception):
                reply = _broken(asked, reply)
            self._answer(connection, asked, reply, started_s)
        finally:
            self._next(connection, lane)

    def _next(self, connection: SocketConnection, lane: Lane) -> None:
        """What has come to a lane meanwhile, as long as that has no wait of its own."""
        lane.busy = False
        if lane.emptying:
            return  # whoever is at it goes on
        lane.emptying = True
        while lane.waiting and not lane.busy:
            self._serve(connection, lane, lane.waiting.popleft())
        lane.emptying = False

    async def _answer_later(
        self,
        connection: SocketConnection,
        lane: Lane,
        asked: Asked,
        answer: Awaitable[Reply],
        started_s: float,
    ) -> None:
        try:
            self._answer(connection, asked, await self._awaited(connection, asked, answer), started_s)
        finally:
            self._next(connection, lane)

    def _begun(self, connection: SocketConnection, asked: Asked) -> Answer:
        try:
            return self._service.handle(connection, self._command(connection, asked))
        except (RoomError, answers.UndecodableError) as error:
            return self._refused(connection, asked, error)
        except Exception as error:  # noqa: BLE001 - it is logged; this socket's other requests go on
            return _broken(asked, error)

    async def _awaited(self, connection: SocketConnection, asked: Asked, answer: Awaitable[Reply]) -> Reply:
        try:
            return await answer
        except RoomError as error:
            return self._refused(connection, asked, error)
        except Exception as error:  # noqa: BLE001 - as above
            return _broken(asked, error)

    def _refused(
        self,
        connection: SocketConnection,
        asked: Asked,
        error: RoomError | answers.UndecodableError,
    ) -> Reply:
        if isinstance(error, answers.UndecodableError):
            connection.socket.end()
            return Reply(b"")
        self._metrics.refused(asked.name, error.code)
        return Reply(answers.refused(error))

    def _answer(self, connection: SocketConnection, asked: Asked, reply: Reply, started_s: float) -> None:
        connection.in_flight -= 1
        connection.in_flight_bytes -= asked.size_bytes
        try:
            if reply.payload:
                self._acknowledge(connection, asked.ack_id, reply.payload)
            if reply.then:
                reply.then()
        except Exception:  # else the lane would stand still for ever; the client comes again
            log.exception("answer failed", verb=_verb(asked.name))
            connection.socket.end()
        self._metrics.handled(asked.name, time.perf_counter() - started_s)

    def _command(self, connection: SocketConnection, asked: Asked) -> Command:
        if asked.surplus:
            raise Invalid("An event carries exactly one object.")
        command = answers.decode_command(asked.name, asked.payload, self._limits.message_bytes)
        if rate := connection.rate(asked.name):
            rate.take(time.monotonic())
        return command

    def _acknowledge(self, connection: SocketConnection, ack_id: int | None, payload: bytes) -> None:
        if ack_id is not None:
            connection.send(packets.ack(ack_id, payload))

    # Farewell

    def say_goaway(self, in_ms: int) -> None:
        """C3: everybody is asked to move to another server, or to come back to this one's successor."""
        self.draining = True
        self._leave_by_s = time.monotonic() + in_ms / 1000
        told = Slices[SocketConnection](lambda connection: connection.send(self._goaway()))
        told.add(self._connections.values())

    def _goaway(self) -> bytes:
        left_ms = max(0, round((self._leave_by_s - time.monotonic()) * 1000))
        return packets.event("goaway", packets.pack(p.GoawayPush(in_ms=left_ms, reason="drain")))

    def ask_to_resume(self) -> None:
        """Closes every socket without a word: clients come back and say where they were (R2, L5, K5). The others have seen
        them go, so nobody is back before it was noticed."""
        ended = Slices[SocketConnection](self._begin_anew)
        ended.add(self._connections.values())

    def _begin_anew(self, connection: SocketConnection) -> None:
        connection.socket.end()
        self._leaves.away_now(connection.id)

    async def emptied(self, within_s: float) -> bool:
        """Waits until nobody is connected, at most `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def finish(self, within_s: float) -> None:
        """Answers the requests that are under way, takes no more, and closes every socket in order: what waits for it is
        written first. What is not done within the time is cut; its client asks again with the same key."""
        over_s = asyncio.get_running_loop().time() + within_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s / 2):
                while self._tasks or self._errands:  # noqa: ASYNC110 - once in a server's life
                    await asyncio.sleep(ALL_ANSWERED_S)
        self.finishing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(over_s):
                async for socket in in_slices(list(self.eio.sockets.values())):
                    socket.end()
                if self.eio.sockets:
                    await self.eio.empty.wait()

    def _own(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_quiet = logging.getLogger("engineio.quiet")
_quiet.setLevel(logging.CRITICAL)
"""What clients do wrong at the transport is theirs to know, not the log's to fill with; what we do wrong raises."""

_auth = msgspec.msgpack.Decoder(Auth)


def _broken(asked: Asked, error: Exception) -> Reply:
    """The answer to what failed in a way that nobody has thought of."""
    log.error("request failed", verb=_verb(asked.name), exc_info=error)
    return Reply(answers.refused(Unavailable(retry_ms=5_000)))


def _verb(name: str) -> str:
    """As it may be logged: nothing that a client made up."""
    return name if name in answers.VERBS else "unknown"


def _refusal(namespace: str, error: RoomError) -> bytes:
    """C2: CONNECT_ERROR with the code as its message."""
    data: Mapping[str, Any] = msgspec.to_builtins(answers.refusal(error))
    return packets.control(packets.CONNECT_ERROR, namespace, {"message": error.code, "data": data})
