"""T1, C2: Socket.IO protocol 5 over Engine.IO protocol 4 as their documents have it, spoken by hand to a whole server: the
scenarios of their public test suites, as far as no other test here has them (tests/integration/test_engine_io_protocol.py
has what is said byte by byte, test_connect.py who is let in, test_bad_input.py what is no packet at all).
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgpack
import pytest
import pytest_asyncio

from tests.protocol.phrases import new_key
from tests.support.people import Pair
from tests.support.raw import RECEIVE_S, SEPARATOR, Packet, packed
from tests.support.server import Server

PING_S, PONG_S, CONNECT_S = 1, 1, 2
SHORT = (
    "from signaling import cli, sockets;"
    f"sockets.PING_EVERY_S, sockets.PING_TIMEOUT_S = {PING_S}, {PONG_S}; cli.main()"
)
TICK_S = 0.25
"""Pings go out on a common beat: each at most so much before its time."""
TEXT_ONLY = "text/plain; charset=utf-8"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def brisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server whose heart beats fast."""
    settings = {"TELEMENTOR_CONNECT_TIMEOUT_S": str(CONNECT_S)}
    folder = tmp_path_factory.mktemp("brisk")
    server = await Server(folder, settings, program=(sys.executable, "-c", SHORT)).start()
    yield server
    await server.close()
    assert "Traceback" not in server.log, f"the server tripped:\n{server.log[-4000:]}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two(brisk: Server) -> Pair:
    """Somebody to log in as."""
    return await brisk.pair()


class Line:
    """One Engine.IO session by hand: nothing is answered, and nothing skipped, that a test does not say so."""

    def __init__(self, server: Server) -> None:
        self.url = f"{server.url}/socket.io/?EIO=4"
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RECEIVE_S))
        self.opened: dict[str, Any] = {}
        self._waiting: list[str | bytes] = []
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def open(self, carrier: str) -> Line:
        if carrier == "websocket":
            await self.dial()
        first = await self.next()
        assert isinstance(first, str)
        assert first[0] == "0", first
        self.opened = json.loads(first[1:])
        return self

    @property
    def polling(self) -> str:
        """The address of this session's polls and posts."""
        sid = self.opened.get("sid")
        return f"{self.url}&transport=polling" + (f"&sid={sid}" if sid else "")

    async def dial(self) -> None:
        sid = self.opened.get("sid")
        url = f"{self.url}&transport=websocket" + (f"&sid={sid}" if sid else "")
        self._socket = await self.http.ws_connect(url, autoping=False, compress=15)

    async def poll(self) -> tuple[int, str]:
        async with self.http.get(self.polling) as answer:
            return answer.status, await answer.text()

    async def post(self, *packets: str | bytes) -> int:
        texts = [one if isinstance(one, str) else "b" + base64.b64encode(one).decode() for one in packets]
        async with self.http.post(self.polling, data=SEPARATOR.join(texts)) as answer:
            return answer.status

    async def say(self, *packets: str | bytes) -> None:
        """Engine.IO packets: text as it is, a binary message as its payload."""
        if self._socket is None:
            assert await self.post(*packets) == 200
            return
        for one in packets:
            await (self._socket.send_str(one) if isinstance(one, str) else self._socket.send_bytes(one))

    async def next(self) -> str | bytes | None:
        """The next Engine.IO packet, None when the session is over."""
        if self._socket is not None and not self._waiting:
            message = await self._socket.receive(timeout=RECEIVE_S)
            known = message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
            return message.data if known else None
        while not self._waiting:
            status, body = await self.poll()
            if status != 200:
                return None
            for part in body.split(SEPARATOR):
                self._waiting.append(base64.b64decode(part[1:]) if part[:1] == "b" else part)
        return self._waiting.pop(0)

    async def told(self) -> Any:
        """The next Socket.IO packet, None when the session is over; pings are answered on the way."""
        while isinstance(said := await self.next(), str):
            if said == "2":
                await self.say("3")
        return None if said is None else msgpack.unpackb(said)

    async def enter(self, pair: Pair) -> Line:
        await self.say(packed(Packet.CONNECT, _auth(pair)))
        assert (await self.told())["type"] == Packet.CONNECT
        return self

    async def over(self) -> None:
        """Waits for the end of the session, whatever is said before it."""
        async with asyncio.timeout(RECEIVE_S):
            while await self.told() is not None:
                pass


def _auth(pair: Pair) -> dict[str, Any]:
    return {"v": 1, "device": new_key(), "token": pair.mentor.token}


@pytest_asyncio.fixture(loop_scope="session")
async def lines(brisk: Server) -> AsyncIterator[Any]:
    """`await lines("polling")`: a session over that carrier; without a carrier one that is not opened."""
    made: list[Line] = []

    async def line(carrier: str = "") -> Line:
        made.append(Line(brisk))
        return await made[-1].open(carrier) if carrier else made[-1]

    yield line
    for one in made:
        await one.http.close()


CARRIERS = ("websocket", "polling")
BOTH = pytest.mark.parametrize("carrier", CARRIERS)


# Engine.IO: handshake


@BOTH
async def test_T1_a_session_is_opened_with_what_a_client_has_to_know(lines: Any, carrier: str) -> None:
    line = await lines(carrier)
    assert isinstance(line.opened.pop("sid"), str)
    assert line.opened == {
        "upgrades": ["websocket"] if carrier == "polling" else [],
        "pingInterval": PING_S * 1000, "pingTimeout": PONG_S * 1000, "maxPayload": 1_048_576,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    ["transport=websocket", "EIO=3&transport=websocket", "EIO=4&transport=websocket&sid=made-up", "EIO=4"],
)
async def test_T1_a_websocket_is_opened_with_the_same_care(brisk: Server, query: str) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await http.ws_connect(f"{brisk.url}/socket.io/?{query}")
    assert refusal.value.status in (400, 200)
    assert (refusal.value.status == 200) == (query == "EIO=4"), "polling is what nobody names"


async def test_T1_a_websocket_needs_an_upgrade_and_a_post_a_session(brisk: Server) -> None:
    url = f"{brisk.url}/socket.io/?EIO=4"
    async with aiohttp.ClientSession() as http:
        for method, transport in (("GET", "websocket"), ("POST", "polling"), ("POST", "websocket")):
            async with http.request(method, f"{url}&transport={transport}", data=b"") as answer:
                assert answer.status == 400, (method, transport)
        for method in ("PUT", "DELETE", "PATCH"):
            async with http.request(method, f"{url}&transport=polling") as answer:
                assert answer.status == 405, method


async def test_T1_nothing_is_compressed_though_it_was_offered(lines: Any) -> None:
    """RFC 7692: an offer of permessage-deflate that is not taken up is no reason to refuse."""
    line = await lines("websocket")
    assert line._socket.compress == 0


# Engine.IO: messages and heartbeat


async def test_T1_polling_says_text_and_takes_several_packets_at_once(lines: Any, two: Pair) -> None:
    line = await lines()
    async with line.http.get(line.polling) as answer:
        assert answer.headers["Content-Type"].lower() == TEXT_ONLY
        line.opened = json.loads((await answer.text())[1:])
    await line.enter(two)
    asked = [packed(Packet.EVENT, ["nonsense", {}], number=number) for number in range(5)]
    async with line.http.post(
        line.polling, data=SEPARATOR.join(["3", *("b" + base64.b64encode(one).decode() for one in asked)])
    ) as answer:
        assert (answer.status, (await answer.text()).lower()) == (200, "ok")
    assert [(await line.told())["id"] for _ in range(5)] == list(range(5))


async def test_T1_who_answers_pings_stays_and_who_answers_none_is_closed_when_both_times_are_over(
    lines: Any, two: Pair
) -> None:
    async def answers(carrier: str) -> None:
        line = await (await lines(carrier)).enter(two)
        for _ in range(3):
            assert await line.next() == "2"
            await line.say("3")
        await line.say(packed(Packet.EVENT, ["nonsense", {}], number=1))
        assert (await line.told())["id"] == 1

    async def is_silent(carrier: str) -> None:
        opened_s = time.monotonic()
        line = await (await lines(carrier)).enter(two)
        said = []
        async with asyncio.timeout(RECEIVE_S):
            while (one := await line.next()) is not None:
                said.append(one)
        assert said == ["2", "1"], "one ping, and the close packet"
        assert time.monotonic() - opened_s >= PING_S + PONG_S - TICK_S

    await asyncio.gather(*(does(carrier) for does in (answers, is_silent) for carrier in CARRIERS))


@BOTH
async def test_T1_a_close_packet_ends_the_session(lines: Any, carrier: str, two: Pair) -> None:
    line = await (await lines(carrier)).enter(two)
    await line.say("1")
    await line.over()


# Engine.IO: upgrade


async def test_T1_an_upgrade_loses_nothing_and_keeps_the_order(lines: Any, two: Pair) -> None:
    """What is answered while the WebSocket is probed waits for it, and comes before what is said then."""
    line = await (await lines("polling")).enter(two)
    upgraded = Line.__new__(Line)
    upgraded.__dict__ |= line.__dict__
    await upgraded.dial()
    await upgraded.say("2probe")
    assert await upgraded.next() == "3probe"
    assert await line.poll() == (200, "6"), "the old transport is let go"
    asked = [packed(Packet.EVENT, ["nonsense", {}], number=number) for number in range(6)]
    await line.say(*asked[:3])
    assert await line.poll() == (200, "6"), "and takes nothing with it"
    await upgraded.say("5", *asked[3:])
    assert [(await upgraded.told())["id"] for _ in range(6)] == list(range(6))
    assert (await line.poll())[0] == 400
    assert await line.post(asked[0]) == 400
    assert await upgraded.next() == "2", "and it is the WebSocket that is asked whether it lives"


async def test_T1_a_session_that_began_as_a_websocket_is_one(lines: Any) -> None:
    line = await lines("websocket")
    assert (await line.poll())[0] == 400
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await line.dial()


# Socket.IO


@BOTH
async def test_C1_connect_is_answered_with_a_session_of_its_own(lines: Any, carrier: str, two: Pair) -> None:
    line = await lines(carrier)
    await line.say(packed(Packet.CONNECT, _auth(two)))
    answer = await line.told()
    assert (answer["type"], answer["nsp"], list(answer["data"])) == (Packet.CONNECT, "/", ["sid"])


async def test_C2_who_never_connects_is_closed_in_time_though_it_answers_pings(lines: Any) -> None:
    async def only_answers_pings(carrier: str) -> None:
        opened_s = time.monotonic()
        await (await lines(carrier)).over()
        assert time.monotonic() - opened_s >= CONNECT_S

    await asyncio.gather(*(only_answers_pings(carrier) for carrier in CARRIERS))


@BOTH
async def test_C2_another_namespace_is_refused_by_its_name(lines: Any, carrier: str, two: Pair) -> None:
    line = await lines(carrier)
    await line.say(packed(Packet.CONNECT, _auth(two), nsp="/random"))
    refusal = await line.told()
    assert (refusal["type"], refusal["nsp"]) == (Packet.CONNECT_ERROR, "/random")
    assert refusal["data"]["message"] == "unsupported"
    await line.over()


@BOTH
async def test_T2_an_ack_has_the_number_of_its_event_and_an_event_without_has_none(
    lines: Any, carrier: str, two: Pair
) -> None:
    line = await (await lines(carrier)).enter(two)
    numbers = [7, 0, None, 456, 2**53 - 1, None, 1]
    await line.say(*(packed(Packet.EVENT, ["ice", {"room": "x"}], number=number) for number in numbers))
    acks = [await line.told() for number in numbers if number is not None]
    assert [ack["id"] for ack in acks] == [number for number in numbers if number is not None]
    assert {(ack["type"], ack["nsp"], len(ack["data"])) for ack in acks} == {(Packet.ACK, "/", 1)}
    await line.say(packed(Packet.EVENT, ["ice", {"room": "x"}], number=99))
    assert (await line.told())["id"] == 99, "nothing came in between"


@BOTH
async def test_T1_what_the_official_parser_adds_to_a_packet_is_left_alone(
    lines: Any, carrier: str, two: Pair
) -> None:
    """`options` of socket.io-client, and `attachments` of the JSON parser: here bytes are a type of their own."""
    line = await (await lines(carrier)).enter(two)
    event = {"type": 2, "nsp": "/", "options": {"compress": True}, "attachments": 1, "id": 3}
    await line.say(msgpack.packb({**event, "data": ["ice", {"room": b"\x01\x02"}]}))
    ack = await line.told()
    assert (ack["id"], ack["data"][0]["error"]["code"]) == (3, "invalid")


@BOTH
@pytest.mark.parametrize(
    "packet",
    [
        packed(Packet.CONNECT, {}),
        packed(Packet.CONNECT_ERROR, {}),
        packed(Packet.DISCONNECT),
        msgpack.packb({"type": 5, "nsp": "/", "data": ["ice", {}], "id": 1}),
        msgpack.packb({"type": 6, "nsp": "/", "data": [{}], "id": 1}),
        msgpack.packb({"type": 7, "nsp": "/", "data": ["ice", {}], "id": 1}),
        msgpack.packb({"type": "abc", "nsp": "/"}),
        msgpack.packb({"type": 2, "nsp": "/", "data": [], "id": 1}),
        msgpack.packb({"type": 2, "nsp": "/", "data": "ice", "id": 1}),
        msgpack.packb({"type": 2, "nsp": "/", "data": ["ice", {}], "id": "1"}),
        b"abc",
    ],
    ids=[
        "a second CONNECT", "CONNECT_ERROR", "DISCONNECT", "BINARY_EVENT", "BINARY_ACK", "no type", "no number",
        "an event without a name", "an event that is no list", "an id that is no number", "no packet",
    ],
)  # fmt: skip
async def test_T1_what_no_client_says_ends_the_session_and_is_not_answered(
    lines: Any, carrier: str, packet: bytes, two: Pair
) -> None:
    """BINARY_EVENT and BINARY_ACK are of the JSON parser; DISCONNECT leaves nobody in any namespace."""
    line = await (await lines(carrier)).enter(two)
    await line.say(packet)
    assert await line.told() is None


@BOTH
async def test_T1_an_ack_that_nobody_asked_for_is_ignored(lines: Any, carrier: str, two: Pair) -> None:
    line = await (await lines(carrier)).enter(two)
    await line.say(packed(Packet.ACK, [{}], number=12), packed(Packet.ACK, None))
    await line.say(packed(Packet.EVENT, ["ice", {"room": "x"}], number=1))
    assert (await line.told())["id"] == 1


@pytest.mark.parametrize("last", [packed(Packet.DISCONNECT), b"no packet"], ids=["DISCONNECT", "nonsense"])
async def test_T1_what_is_said_behind_the_end_in_the_same_breath_is_not_heard(
    lines: Any, last: bytes, two: Pair
) -> None:
    line = await (await lines("polling")).enter(two)  # one POST is one breath
    await line.say(last, packed(Packet.EVENT, ["nonsense", {}], number=1))
    assert await line.told() is None
