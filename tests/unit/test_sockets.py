"""One socket, without a network: what is said to it before its handshake is answered."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest
from engineio import packet
from structlog.testing import capture_logs

from rooms.commands import ChatSend, Command
from signaling import packets
from signaling.addresses import Addresses, AddressRate
from signaling.connection import Identity
from signaling.engine import EngineServer, EngineSocket
from signaling.leaves import Leaves
from signaling.metrics import Metrics
from signaling.service import Service
from signaling.slices import AT_ONCE
from signaling.sockets import EARLY_MAX, Door, SocketConnection, SocketLimits, SocketServer
from signaling.verbs.reply import Answer, Light, Reply
from tests.support.condition import until

pytestmark = pytest.mark.unit

LIMITS = SocketLimits(
    message_bytes=131_072,
    packet_bytes=1_048_576,
    backlog_bytes=524_288,
    connect_timeout_s=5,
    sockets_max=10,
    handshakes_max=10,
    signals_per_s=100,
    signals_burst=300,
    typing_per_s=2,
)


async def test_what_is_said_before_the_handshakes_answer_waits_and_is_bounded() -> None:
    overflows: list[None] = []
    server = EngineServer(
        admit=lambda _: None,
        backlog_bytes=LIMITS.backlog_bytes,
        on_overflow=lambda: overflows.append(None),
        async_mode="aiohttp",
    )
    socket = EngineSocket(server, "sid")
    connection = SocketConnection(socket, Identity(person="ann", device="laptop"), LIMITS)
    for number in range(EARLY_MAX):
        connection.send(b"%d" % number)
    connection.send(b"typing", ephemeral=True)
    assert (socket.queue.qsize(), overflows) == (0, [])
    connection.open(b"welcome")
    said = [socket.queue.get_nowait().data for _ in range(socket.queue.qsize())]
    assert said == [b"welcome", *(b"%d" % number for number in range(EARLY_MAX))]

    late = SocketConnection(EngineSocket(server, "late"), Identity(person="ann", device="phone"), LIMITS)
    for number in range(EARLY_MAX + 2):
        late.send(b"%d" % number)
    assert len(overflows) == 1
    late.open(b"welcome")
    assert late.socket.queue.empty(), "it is over"


SAID = {"room": "r" * 26, "key": "0190b9f2-0000-7000-8000-000000000001", "text": "hello"}


class Rooms:
    """Of a service: all answers are `reply`, each in the way that its request names."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked = 0

    def handle(self, _: SocketConnection, command: Command) -> Answer:
        self.asked += 1
        assert isinstance(command, ChatSend)
        ways: dict[str, Callable[[], Answer]] = {
            "at once": lambda: self.reply,
            "errand": lambda: Light(self._later()),
            "task": self._later,
        }
        return ways[command.text]()

    async def _later(self) -> Reply:
        return self.reply


class Listening:
    """Of the nodes: nobody else is there."""

    def forget(self, _: SocketConnection) -> None:
        pass


def _server(rooms: Rooms) -> SocketServer:
    rate = AddressRate(Addresses([]), 1, 1, lambda: None)
    return SocketServer(
        cast("Service", rooms),
        cast("Leaves", None),
        cast("Any", Listening()),
        cast("Door", None),
        rate,
        LIMITS,
        Metrics(),
    )


def _known(server: SocketServer) -> SocketConnection:
    """Somebody who has logged in."""
    socket = server.eio.sockets["sid"] = EngineSocket(server.eio, "sid")
    connection = SocketConnection(socket, Identity(person="ann", device="laptop"), LIMITS)
    socket.knows(connection)
    connection.open(b"welcome")
    return connection


@pytest.mark.parametrize("way", ["at once", "errand", "task"])
async def test_an_answer_that_cannot_be_given_ends_its_socket_and_holds_up_no_lane(way: str) -> None:
    """T3: a lane waits for the request before; one whose answer failed would have it wait for ever."""

    def fail() -> None:
        raise RuntimeError("what follows from it failed")

    rooms = Rooms(Reply(b"\x80", then=fail))
    server = _server(rooms)
    connection = _known(server)
    socket = connection.socket
    lane = connection.store_lane
    with capture_logs() as logs:
        words = packets.pack(["chat.send", {**SAID, "text": way}])
        server._take(socket, packets.pack({"type": 2, "nsp": "/", "id": 1, "data": packets.Raw(words)}))
        await until(lambda: not lane.busy and not server._tasks, "the answer")
    assert [line["event"] for line in logs] == ["answer failed"]
    assert (rooms.asked, lane.emptying, connection.in_flight, connection.in_flight_bytes) == (1, False, 0, 0)
    assert socket.closing
    last = [socket.queue.get_nowait() for _ in range(socket.queue.qsize())]
    assert last[-2] is not None
    assert (last[-2].packet_type, last[-1]) == (packet.CLOSE, None), "the client knows, and comes again"


async def test_a_socket_that_has_ended_is_no_cycle() -> None:
    """The collector does not look at what is there for long (`collector`): it has to go by itself."""
    server = _server(Rooms(Reply(b"\x80")))
    connection = _known(server)
    gone = weakref.ref(connection.socket)
    gc.collect()
    gc.disable()
    try:
        connection.socket.end(abort=True)
        del connection
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("step", [1, -1], ids=["forwards", "backwards"])
@pytest.mark.parametrize(
    ("kind", "namespace", "ends"),
    [(packets.ACK, "/", False), (packets.EVENT, "/x", False), (packets.EVENT, "/", True)],
)
async def test_what_a_packet_is_does_not_depend_on_the_order_of_its_fields(
    kind: int, namespace: str, ends: bool, step: int
) -> None:
    """What nobody listens to may be called anything, also what is no text."""
    fields = {"type": kind, "nsp": namespace, "data": ["name", {}]}
    frame = packets.pack(dict(list(fields.items())[::step]))
    socket = _known(server := _server(Rooms(Reply(b"")))).socket
    server.eio.on_message(socket, frame.replace(packets.pack("name"), b"\xa4\xff\xff\xff\xff"))
    assert socket.closing == ends


class Ending:
    """A socket of a server; its transport ends at once."""

    def __init__(self, server: EngineServer, ended: list[Ending]) -> None:
        self.server = server
        self.ended = ended
        server.sockets[id(self)] = self

    def end(self) -> None:
        self.ended.append(self)
        del self.server.sockets[id(self)]
        if not self.server.sockets:
            self.server.empty.set()


async def test_C3_a_crowd_is_closed_in_slices_and_within_the_time() -> None:
    """Ten thousand may be there at a stop, and what others asked is answered meanwhile."""
    server = _server(Rooms(Reply(b"\x80")))
    ended: list[Ending] = []
    crowd = [Ending(server.eio, ended) for _ in range(5 * AT_ONCE)]
    finishing = asyncio.create_task(server.finish(20))
    seen = [0]
    while not finishing.done():
        await asyncio.sleep(0)
        seen.append(len(ended))
    assert ended == crowd
    assert max(after - before for before, after in pairwise(seen)) == AT_ONCE

    late = [Ending(server.eio, ended) for _ in range(50 * AT_ONCE)]
    await server.finish(0)
    assert ended[: len(crowd) + AT_ONCE] == [*crowd, *late[:AT_ONCE]]
    assert server.eio.sockets, "the others are cut"
