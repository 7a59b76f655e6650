"""One socket, without a network: what is said to it before its handshake is answered."""

from __future__ import annotations

import pytest

from signaling.connection import Identity
from signaling.engine import EngineServer, EngineSocket
from signaling.sockets import EARLY_MAX, SocketConnection, SocketLimits

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
