"""Engine.IO 4 and the WebSocket below it, spoken byte by byte to a server that echoes: the scenarios of the protocol's
public test suite, and of RFC 6455 what a client can do wrong.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from engineio import packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from rooms.errors import Limited
from signaling import engine
from signaling.engine import PACKET_BYTES, UNKNOWN_MESSAGE_BYTES, EngineServer, EngineSocket
from signaling.front import Front, Opening
from signaling.websocket import NOT_UTF8, PROTOCOL_ERROR, TOO_BIG
from tests.support.condition import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

INTERVAL_S, TIMEOUT_S = 0.3, 0.2
MOST_BYTES = 100_000
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
READ_S = 5
COUNTED = (
    "EngineSocket", "WebSocket", "Outbox", "Request", "RequestHandler", "Task", "Future", "TimerHandle", "Handle",
    "function", "method", "partial", "coroutine", "_SelectorSocketTransport",
)  # fmt: skip


class Echo:
    """An Engine.IO server that says again whatever it is told."""

    def __init__(self) -> None:
        self.server = EngineServer(
            admit=lambda _: None,
            backlog_bytes=1_000_000,
            on_overflow=lambda: None,
            async_mode="aiohttp",
            ping_interval=INTERVAL_S,
            ping_timeout=TIMEOUT_S,
            max_http_buffer_size=MOST_BYTES,
            cors_allowed_origins=[],
        )
        self.server.on_message = self._echo
        self.url = ""
        self.port = 0
        self.opened = 0
        """How many came by the short way."""

    def _open(self, opening: Opening) -> None:
        self.opened += 1
        self.server.open(opening)

    def others(self) -> list[Any]:
        """Connections that are aiohttp's."""
        assert self.runner.server
        return self.runner.server.connections

    def _echo(self, socket: EngineSocket, data: bytes | str) -> None:
        socket.push(packet.Packet(packet.MESSAGE, data))

    async def start(self, way: str) -> web.AppRunner:
        application = web.Application()
        self.server.attach(application, "socket.io")
        runner = self.runner = web.AppRunner(application, shutdown_timeout=0.2)
        await runner.setup()
        assert runner.server
        other = runner.server
        made = (lambda: Front(other, self._open)) if way == "front" else other
        self.front = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
        self.port = self.front.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/socket.io/?EIO=4"
        return runner


@pytest_asyncio.fixture(params=["front", "aiohttp"])
async def echo(request: pytest.FixtureRequest) -> AsyncIterator[Echo]:
    """By the short way, and by the one for whatever is unusual."""
    echo = Echo()
    runner = await echo.start(request.param)
    yield echo
    echo.front.close()
    await runner.cleanup()


@pytest_asyncio.fixture
async def front() -> AsyncIterator[Echo]:
    """By the short way where that is possible."""
    echo = Echo()
    runner = await echo.start("front")
    yield echo
    echo.front.close()
    await runner.cleanup()


class Wire:
    """A WebSocket as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def ask(
        cls, echo: Echo, query: str = "", *, pieces: int = 1, early: bytes = b"", **headers: str
    ) -> tuple[int, Wire]:
        """The handshake, said in so many pieces, and what is said behind it at once: the HTTP status that answers it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        said = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in said.items() if value]
        whole = "\r\n".join([*lines, "", ""]).encode() + early
        for start in range(0, len(whole), -(-len(whole) // pieces)):
            writer.write(whole[start : start + -(-len(whole) // pieces)])
            if pieces > 1:
                await until(echo.others, "the beginning handed on")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_S)
        return int(head.split()[1]), cls(reader, writer)

    @classmethod
    async def open(cls, echo: Echo, query: str = "") -> Wire:
        status, wire = await cls.ask(echo, query)
        assert status == 101
        return wire

    @classmethod
    async def begun(cls, echo: Echo) -> Wire:
        """A session of its own, its open packet read."""
        wire = await cls.open(echo)
        kind, opened = await wire.read()
        assert (kind, opened[:1]) == (TEXT, b"0")
        return wire

    def send(self, kind: int, payload: bytes = b"", *, fin: bool = True, pieces: int = 0, **how: Any) -> None:
        """One frame; with `pieces` its bytes in so many pieces."""
        packed = frame(kind, payload, fin=fin, **how)
        for start in range(0, len(packed), pieces or len(packed)):
            self._writer.write(packed[start : start + (pieces or len(packed))])

    async def read(self) -> tuple[int, bytes]:
        """The next frame: its kind and payload."""
        async with asyncio.timeout(READ_S):
            first, length = await self._reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self._reader.readexactly(8), "big")
            return first & 0x0F, await self._reader.readexactly(length)

    async def next(self) -> tuple[int, bytes]:
        """The next frame that is no ping of Engine.IO's."""
        while (found := await self.read()) == (TEXT, b"2"):
            self.send(TEXT, b"3")
        return found

    async def ended_with(self) -> int:
        """The code of the close frame, behind which the connection ends."""
        while (found := await self.next())[0] != CLOSE:
            pass
        self.send(CLOSE, found[1])
        assert await asyncio.wait_for(self._reader.read(), READ_S) == b""
        return int.from_bytes(found[1][:2], "big")

    async def gone(self) -> None:
        """Whatever still comes, the connection ends."""
        await asyncio.wait_for(self._reader.read(), READ_S)

    async def drop(self) -> None:
        """The connection is lost."""
        self._writer.transport.abort()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def stop(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def frame(kind: int, payload: bytes, *, fin: bool = True, masked: bool = True, extension: int = 0) -> bytes:
    """RFC 6455, section 5.2."""
    size = len(payload)
    length = 126 if size < 65_536 else 127
    if size < 126:
        head = bytes((kind | extension | fin << 7, size | masked << 7))
    else:
        head = bytes((kind | extension | fin << 7, length | masked << 7))
        head += size.to_bytes(2 if length == 126 else 8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


# Handshake


async def test_a_session_is_opened_over_either_transport(echo: Echo) -> None:
    wire = await Wire.open(echo)
    _, opened = await wire.read()
    async with aiohttp.ClientSession() as http, http.get(f"{echo.url}&transport=polling") as answer:
        polled = await answer.text()
    for said, upgrades in ((opened.decode(), []), (polled, ["websocket"])):
        assert said[0] == "0"
        session = json.loads(said[1:])
        assert session.pop("sid")
        assert session == {
            "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": MOST_BYTES,
        }  # fmt: skip
    await wire.stop()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_WebSocket_Key": "short"},
        {"Sec_WebSocket_Key": ""},
        {"Sec_WebSocket_Version": "8"},
        {
            "Connection": "keep-alive"
        },  # it is for the next hop only: a proxy has handed on what is not its own
    ],
)
async def test_a_handshake_that_is_none_is_refused_and_leaves_nothing(
    echo: Echo, headers: dict[str, str]
) -> None:
    status, wire = await Wire.ask(echo, **headers)
    assert (status, echo.server.sockets) == (400, {})
    await wire.stop()


@pytest.mark.parametrize(
    ("query", "headers", "pieces", "short"),
    [
        ("&room=abc&t=1.2", {"upgrade": "WebSocket", "Upgrade": "", "Cookie": "a=b; c=d"}, 1, True),
        ("", {}, 2, False),
        ("&t=%41", {}, 1, False),
        ("", {"X-Name": "é"}, 1, False),
        ("", {"X-Long": "x" * 8_190}, 1, False),
    ],
)
async def test_whatever_is_unusual_in_a_request_is_aiohttps_to_read(
    front: Echo, query: str, headers: dict[str, str], pieces: int, short: bool
) -> None:
    status, wire = await Wire.ask(front, query, pieces=pieces, **headers)
    assert (status, front.opened) == (101, int(short))
    await wire.stop()


async def test_a_session_that_is_there_is_no_new_one(front: Echo) -> None:
    status, wire = await Wire.ask(front, "&sid=unknown")
    assert (status, front.opened, front.server.sockets) == (400, 0, {})
    await wire.stop()


async def test_who_is_not_wanted_is_told_so_and_leaves_nothing(front: Echo) -> None:
    def admit(_: object) -> None:
        raise Limited(retry_ms=1_500)

    front.server.admit = admit
    url = f"{front.url}&transport=websocket"
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        assert (await answer.json())["error"]["code"] == "limited"
    assert (front.opened, front.server.sockets) == (1, {})


async def test_who_asks_nothing_is_not_kept(front: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.front.SILENCE_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    assert await asyncio.wait_for(reader.read(), READ_S) == b""
    writer.close()


@pytest.mark.parametrize("early_bytes", [1, 4, 200])
async def test_who_does_not_wait_for_the_answer_to_the_handshake_is_refused(
    echo: Echo, early_bytes: int
) -> None:
    """RFC 6455, section 4.1: what aiohttp has read of a frame then would be missing from it."""
    early = frame(BINARY, b"early" * 40)[:early_bytes]
    status, wire = await Wire.ask(echo, early=early)
    assert (status, echo.server.sockets) == (400, {})
    await wire.stop()


# Messages


@given(
    sizes=st.lists(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]), max_size=4),
    piece=st.integers(1, 9),
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_messages_come_whole_however_the_network_cuts_them(sizes: list[int], piece: int) -> None:
    async def whole() -> None:
        echo = Echo()
        runner = await echo.start("front")
        wire = await Wire.begun(echo)
        for size in sizes:
            wire.send(BINARY, b"x" * size, pieces=piece if size < 200 else 9_999)
        for size in sizes:
            assert await wire.next() == (BINARY, b"x" * size)
        await wire.stop()
        echo.front.close()
        await runner.cleanup()

    asyncio.run(whole())


async def test_a_text_message_is_a_packet_and_comes_back_as_one(echo: Echo) -> None:
    wire = await Wire.begun(echo)
    wire.send(TEXT, "4häh".encode())
    assert await wire.next() == (TEXT, "4häh".encode())
    await wire.stop()


async def test_pieces_of_a_message_with_a_ping_between_them(echo: Echo) -> None:
    wire = await Wire.begun(echo)
    wire.send(BINARY, b"one ", fin=False)
    wire.send(PING, b"there?")
    wire.send(0, b"two ", fin=False)
    wire.send(0, b"three")
    assert await wire.next() == (PONG, b"there?")
    assert await wire.next() == (BINARY, b"one two three")
    await wire.stop()


@pytest.mark.parametrize("said", [b"", b"abc", b"2", b"99"])
async def test_what_no_client_says_ends_the_session(echo: Echo, said: bytes) -> None:
    wire = await Wire.begun(echo)
    wire.send(TEXT, said)
    await wire.gone()
    await wire.stop()


# What is against RFC 6455


@pytest.mark.parametrize(
    ("kind", "payload", "how", "code"),
    [
        (BINARY, b"x", {"masked": False}, PROTOCOL_ERROR),
        (BINARY, b"x", {"extension": 0x40}, PROTOCOL_ERROR),
        (0x3, b"x", {}, PROTOCOL_ERROR),
        (0xB, b"x", {}, PROTOCOL_ERROR),
        (0x0, b"nothing to go on with", {}, PROTOCOL_ERROR),
        (PING, b"x", {"fin": False}, PROTOCOL_ERROR),
        (PING, b"x" * 126, {}, PROTOCOL_ERROR),
        (TEXT, b"4\xff", {}, NOT_UTF8),
        (BINARY, b"x" * (MOST_BYTES + 1), {}, TOO_BIG),
    ],
)
async def test_a_frame_against_the_protocol_ends_the_connection(
    echo: Echo, kind: int, payload: bytes, how: dict[str, Any], code: int
) -> None:
    wire = await Wire.begun(echo)
    wire.send(kind, payload, **how)
    assert await wire.ended_with() == code
    await wire.stop()


async def test_a_message_cannot_grow_over_the_bound_in_pieces(echo: Echo) -> None:
    wire = await Wire.begun(echo)
    wire.send(BINARY, b"", fin=False)
    for _ in range(MOST_BYTES // 64 + 2):
        wire.send(0, b"", fin=False)
    assert await wire.ended_with() == TOO_BIG
    await wire.stop()


async def test_a_new_message_inside_of_another_ends_the_connection(echo: Echo) -> None:
    wire = await Wire.begun(echo)
    wire.send(BINARY, b"one", fin=False)
    wire.send(BINARY, b"another")
    assert await wire.ended_with() == PROTOCOL_ERROR
    await wire.stop()


# Somebody who does not read


async def test_what_waits_is_bounded_to_the_byte_and_comes_in_order_when_it_is_read(echo: Echo) -> None:
    """Limits: the bound itself is allowed; above it what is ephemeral is dropped, and anything else ends the session."""
    overflows: list[None] = []
    echo.server.on_overflow = lambda: overflows.append(None)
    echo.server.ping_timeout = READ_S
    wires = [await Wire.begun(echo) for _ in range(2)]
    for wire, socket in zip(wires, list(echo.server.sockets.values()), strict=True):
        sent = 0
        while not socket.waiting_bytes:
            socket.push_message(b"%d" % sent + b" " * 30_000)
            sent += 1
            await asyncio.sleep(0)
        left = echo.server.backlog_bytes - socket.waiting_bytes
        socket.push_message(b"x" * (left - PACKET_BYTES))
        assert (socket.waiting_bytes, overflows) == (echo.server.backlog_bytes, [])
        socket.push_message(b"", ephemeral=True)
        assert (socket.waiting_bytes, overflows) == (echo.server.backlog_bytes, [])
        if wire is wires[0]:
            for number in range(sent):
                kind, payload = await wire.next()
                assert (kind, int(payload)) == (BINARY, number)
            assert await wire.next() == (BINARY, b"x" * (left - PACKET_BYTES))
            assert socket.waiting_bytes == 0
        else:
            socket.push_message(b"")
            assert overflows == [None]
            await wire.gone()
            assert socket.sid not in echo.server.sockets
        await wire.stop()


# Heartbeat and end


async def test_who_answers_pings_stays_and_who_does_not_is_told_and_cut(echo: Echo) -> None:
    answers, silent = await Wire.begun(echo), await Wire.begun(echo)
    answering = asyncio.create_task(answers.next())
    assert await silent.read() == (TEXT, b"2")
    assert await silent.read() == (TEXT, b"1")
    assert await silent.ended_with() == 1000
    answers.send(BINARY, b"still here")
    assert await answering == (BINARY, b"still here")
    await answers.stop()
    await silent.stop()


async def test_whatever_comes_is_a_sign_of_life(echo: Echo) -> None:
    wire = await Wire.begun(echo)
    for _ in range(4):
        assert await wire.read() == (TEXT, b"2")
        wire.send(BINARY, b"busy")
        assert await wire.read() == (BINARY, b"busy")
    await wire.stop()


@pytest.mark.parametrize(
    ("kind", "payload"), [(TEXT, b"1"), (CLOSE, (1000).to_bytes(2, "big")), (CLOSE, b"")]
)
async def test_a_client_closes(echo: Echo, kind: int, payload: bytes) -> None:
    wire = await Wire.begun(echo)
    wire.send(kind, payload)
    await wire.gone()
    assert echo.server.sockets == {}
    await wire.stop()


async def test_a_close_packet_answers_the_pending_poll_with_a_packet(echo: Echo) -> None:
    async with aiohttp.ClientSession() as http:
        sid = await _polling(echo, http)
        url = f"{echo.url}&transport=polling&sid={sid}"
        poll = asyncio.create_task(http.get(url))
        await until(lambda: echo.server.sockets[sid].queue._reader is not None, "the poll")
        async with http.post(url, data="1") as answer:
            assert (answer.status, await answer.text()) == (200, "ok")  # in the protocol's own letters
        assert await (await asyncio.wait_for(poll, READ_S)).text() == "6"
        async with http.get(url) as answer:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"\x03", PROTOCOL_ERROR),
        *(((number).to_bytes(2, "big"), PROTOCOL_ERROR) for number in (0, 999, 1004, 1005, 1006, 1015, 5000)),
        ((1000).to_bytes(2, "big") + b"\xff", NOT_UTF8),
        ((1001).to_bytes(2, "big") + "tschüß".encode(), 1001),
        ((3000).to_bytes(2, "big"), 3000),
        ((4999).to_bytes(2, "big"), 4999),
    ],
)
async def test_a_close_frame_is_answered_with_its_own_code_if_that_may_be_said(
    echo: Echo, said: bytes, code: int
) -> None:
    """RFC 6455, sections 5.5.1 and 7.4."""
    wire = await Wire.begun(echo)
    wire.send(CLOSE, said)
    assert await wire.next() == (CLOSE, code.to_bytes(2, "big"))
    await wire.gone()
    await wire.stop()


async def test_what_comes_behind_a_close_frame_is_not_heard(echo: Echo) -> None:
    """RFC 6455, section 5.5.1, whatever it is and however it comes."""
    heard: list[bytes | str] = []
    echo.server.on_message = lambda _, data: heard.append(data)
    wire = await Wire.begun(echo)
    wire.send(CLOSE, (1000).to_bytes(2, "big"))
    wire.send(BINARY, b"late")
    wire.send(PING)
    wire.send(CLOSE)
    wire.send(BINARY, b"x", masked=False)
    assert await wire.next() == (CLOSE, (1000).to_bytes(2, "big"))
    await wire.gone()
    assert (heard, echo.server.sockets) == ([], {})
    await wire.stop()


async def test_what_a_handler_raises_is_logged_and_ends_the_session_all_the_same(echo: Echo) -> None:
    def broken(*_: object) -> None:
        raise LookupError("nobody thought of it")

    echo.server.on_close = broken
    wire = await Wire.begun(echo)
    with capture_logs() as logged:
        wire.send(TEXT, b"1")
        await wire.gone()
    assert [(line["log_level"], line["transport_event"]) for line in logged] == [("error", "disconnect")]
    assert echo.server.sockets == {}
    await wire.stop()


async def test_what_a_posted_message_raises_is_logged_and_ends_the_session(echo: Echo) -> None:
    """Not 200, as if it had been taken."""

    def broken(*_: object) -> None:
        raise LookupError("nobody thought of it")

    echo.server.on_message = broken
    async with aiohttp.ClientSession() as http:
        url = f"{echo.url}&transport=polling&sid={await _polling(echo, http)}"
        with capture_logs() as logged:
            async with http.post(url, data="4x") as answer:
                assert answer.status == 400
        assert [line["log_level"] for line in logged] == ["error"]
        async with http.get(url) as answer:
            assert answer.status == 400


# Upgrade


async def _polling(echo: Echo, http: aiohttp.ClientSession) -> str:
    async with http.get(f"{echo.url}&transport=polling") as answer:
        return str(json.loads((await answer.text())[1:])["sid"])


async def test_an_upgrade_ends_the_pending_poll_and_polling(echo: Echo) -> None:
    async with aiohttp.ClientSession() as http:
        sid = await _polling(echo, http)
        url = f"{echo.url}&transport=polling&sid={sid}"
        wire = await Wire.open(echo, f"&sid={sid}")
        poll = asyncio.create_task(http.get(url))
        wire.send(TEXT, b"2probe")
        assert await wire.next() == (TEXT, b"3probe")
        assert await (await asyncio.wait_for(poll, READ_S)).text() == "6"
        second, other = await Wire.ask(echo, f"&sid={sid}")
        assert second == 400
        wire.send(TEXT, b"5")
        wire.send(TEXT, b"4hello")
        assert await wire.next() == (TEXT, b"6")  # was for the poll, had it not come too late for that
        assert await wire.next() == (TEXT, b"4hello")
        async with http.get(url) as answer:
            assert answer.status == 400
        late, third = await Wire.ask(echo, f"&sid={sid}")
        assert late == 400
        for one in (wire, other, third):
            await one.stop()


async def test_a_probe_that_is_none_leaves_polling_as_it_was(echo: Echo) -> None:
    async with aiohttp.ClientSession() as http:
        sid = await _polling(echo, http)
        url = f"{echo.url}&transport=polling&sid={sid}"
        wire = await Wire.open(echo, f"&sid={sid}")
        wire.send(TEXT, b"4not a probe")
        assert await wire.ended_with() == 1000
        async with http.post(url, data="4hello") as answer:
            assert answer.status == 200
        async with http.get(url) as answer:
            assert "4hello" in (await answer.text()).split("\x1e")
        await wire.stop()


async def test_an_upgrade_that_does_not_wait_for_its_poll_ends_that_and_keeps_the_session(echo: Echo) -> None:
    """Else the poll would wait beside the WebSocket, take from it what waits, and end the session with its own time."""
    async with aiohttp.ClientSession() as http:
        sid = await _polling(echo, http)
        poll = asyncio.create_task(http.get(f"{echo.url}&transport=polling&sid={sid}"))
        await until(lambda: echo.server.sockets[sid].queue._reader is not None, "the poll")
        wire = await Wire.open(echo, f"&sid={sid}")
        wire.send(TEXT, b"2probe")
        wire.send(TEXT, b"5")
        assert await wire.next() == (TEXT, b"3probe")
        assert await (await asyncio.wait_for(poll, READ_S)).text() == "6"
        assert await wire.next() == (TEXT, b"6")
        wire.send(TEXT, b"4still here")
        assert await wire.next() == (TEXT, b"4still here")
        await wire.stop()


async def test_a_log_in_by_polling_counts_for_the_websocket_that_is_probed_then(echo: Echo) -> None:
    """Limits: before the log-in a message is small; the official client upgrades while it says CONNECT."""
    echo.server.max_http_buffer_size = 2 * UNKNOWN_MESSAGE_BYTES
    async with aiohttp.ClientSession() as http:
        sid = await _polling(echo, http)
        wire = await Wire.open(echo, f"&sid={sid}")
        wire.send(TEXT, b"2probe")
        assert await wire.next() == (TEXT, b"3probe")
        echo.server.sockets[sid].knows("somebody")
        wire.send(TEXT, b"5")
        large = b"x" * (UNKNOWN_MESSAGE_BYTES + 1)
        wire.send(BINARY, large)
        assert await wire.next() == (TEXT, b"6")
        assert await wire.next() == (BINARY, large)
        await wire.stop()


async def test_a_body_that_comes_when_its_session_has_ended_is_a_client_error(
    echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    async with aiohttp.ClientSession() as http:
        sid = await _polling(echo, http)
        url = f"{echo.url}&transport=polling&sid={sid}"
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        path = url.removeprefix(f"http://127.0.0.1:{echo.port}")
        writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n4".encode())
        await until(lambda: echo.server.sockets[sid]._posting, "the beginning of the body")
        async with http.post(url, data="4another") as answer:
            assert answer.status == 400
        writer.write(b"\xff" * 8)
        assert int((await asyncio.wait_for(reader.readline(), READ_S)).split()[1]) < 500
        assert "Traceback" not in caplog.text
        writer.close()


# What is left of them


async def _come_and_go(echo: Echo, http: aiohttp.ClientSession, how: str) -> None:
    if how == "no handshake":
        _, wire = await Wire.ask(echo, Sec_WebSocket_Key="short")
    elif how in ("polls no more", "lost while it upgrades", "lost behind its upgrade"):
        sid = await _polling(echo, http)
        if how == "polls no more":
            return
        wire = await Wire.open(echo, f"&sid={sid}")
        wire.send(TEXT, b"2probe")
        assert await wire.next() == (TEXT, b"3probe")
        if how == "lost behind its upgrade":
            wire.send(TEXT, b"5")
    else:
        wire = await Wire.begun(echo)
    if how == "says good-bye":
        wire.send(CLOSE)
        await wire.gone()
    elif how == "speaks nonsense":
        wire.send(BINARY, b"x", masked=False)
        await wire.ended_with()
    elif how == "lost in a frame":
        wire.send(BINARY, b"piece", fin=False)
        wire.send(BINARY, frame(BINARY, b"x" * 200)[:50])
    await wire.drop()


async def test_connections_that_are_over_leave_nothing_behind(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they end: no session, no task, no request, no closure for each."""
    monkeypatch.setattr(engine, "FINISH_S", 0.1)
    ways = (
        "no handshake", "polls no more", "lost while it upgrades", "lost behind its upgrade", "says good-bye",
        "speaks nonsense", "lost in a frame", "lost",
    )  # fmt: skip

    def is_quiet() -> bool:
        return not echo.server.sockets and echo.server._ticking is None and len(asyncio.all_tasks()) == 1

    def living() -> Counter[str]:
        gc.collect()
        kinds = Counter(type(one).__name__ for one in gc.get_objects())
        return Counter({kind: kinds[kind] for kind in COUNTED})

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        for how in ways:
            await _come_and_go(echo, http, how)
        await until(is_quiet, "the first are gone")
        before = living()
        for how in ways * 12:
            await _come_and_go(echo, http, how)
        await until(is_quiet, "all are gone")
        left = living() - before
    assert max(left.values(), default=0) < 12, f"one of each, or more: {left}"
