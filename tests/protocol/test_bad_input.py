"""Frames that no decent client sends: the socket is closed or the sender told; nobody else notices."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import aiohttp
import msgpack
import pytest

from tests.protocol.conftest import OpenRaw
from tests.protocol.phrases import new_key
from tests.support.people import Pair
from tests.support.raw import ClosedError, Packet, RawPolling, RawSocket, packed
from tests.support.server import Server

FUZZ_ROUNDS = 150
FUZZ_SEED = 20_260_101


async def _come_in(open_raw: OpenRaw, pair: Pair) -> RawSocket:
    socket = await open_raw()
    answer = await socket.connect({"v": 1, "device": new_key(), "token": pair.mentor.token})
    assert answer["type"] == Packet.CONNECT, answer
    assert (await socket.ask("room.join", {"room": pair.room, "cursor": None}))["ok"]
    return socket


async def _alive_or_closed(socket: RawSocket, room: str) -> bool:
    """Whether the socket still answers; False when the server closed it. Anything else is a hang."""
    try:
        ack = await socket.ask("log.page", {"room": room, "limit": 1}, number=4711)
    except (ClosedError, aiohttp.ClientError, ConnectionError):
        return False
    return bool(ack["ok"])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\xff\xff\xff\xff",
        b"not msgpack at all",
        b"\x85\xa4type",
        packed(Packet.EVENT, ["log.page", {}])[:-2],
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x81\xa4type" * 10_000,
        msgpack.packb({"type": 2, "nsp": "/", "data": ["log.page", {"room": "x"}]}) + b"\x00",
        b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa8log.page\x81\xa4room\xa2\xc3\x28\xa2id\x01",
    ],
    ids=[
        "empty",
        "reserved byte",
        "numbers",
        "prose",
        "cut short",
        "cut event",
        "array of four billion",
        "map of four billion",
        "binary of four billion",
        "100,000 nested arrays",
        "10,000 nested maps",
        "trailing byte",
        "broken UTF-8",
    ],
)
async def test_limits_what_cannot_be_decoded_closes_the_socket(
    open_raw: OpenRaw, pair: Pair, frame: bytes
) -> None:
    socket = await _come_in(open_raw, pair)
    await socket.send_bytes(frame)
    await socket.closed()


@pytest.mark.parametrize(
    "text", ["", "hello", "4", "42[", '42["log.page",{}]', "9", "4\x00", "b!!!", "51-[]"]
)
async def test_limits_text_frames_close_the_socket_or_are_ignored(
    open_raw: OpenRaw, pair: Pair, text: str
) -> None:
    socket = await _come_in(open_raw, pair)
    await socket.send_text(text)
    await _alive_or_closed(socket, pair.room)
    another = await _come_in(open_raw, pair)
    assert await _alive_or_closed(another, pair.room)


def _event(**change: Any) -> dict[str, Any]:
    return {"type": 2, "nsp": "/", "data": ["log.page", {"room": "r", "limit": 1}], "id": 5, **change}


@pytest.mark.parametrize(
    "packet",
    [
        None,
        7,
        "packet",
        [],
        {},
        {"type": 2},
        {"nsp": "/", "data": ["log.page", {}]},
        _event(type=99),
        _event(type=-1),
        _event(type="2"),
        _event(type=None),
        _event(type=2.0),
        _event(type=[2]),
        _event(nsp=7),
        _event(nsp=None),
        _event(nsp="/elsewhere"),
        _event(data=None),
        _event(data="log.page"),
        _event(data=[]),
        _event(data={}),
        _event(data=[7, {}]),
        _event(data=[None, {}]),
        _event(data=[["log.page"], {}]),
        _event(data=[b"log.page", {}]),
        _event(id="five"),
        _event(id=-1),
        _event(id=2**63),
        _event(id=1.5),
        _event(id=[5]),
        _event(type=3, data=[{"ok": True}]),
        _event(type=3, data=None, id=None),
        _event(type=4),
        _event(type=5),
        _event(type=6, attachments=1000),
        _event(type=0, data={"v": 1}),
        _event(data=["connect", {}]),
        _event(data=["disconnect", "transport close"]),
        _event(data=["connect_error", {}]),
        _event(data=["*", {}]),
        _event(data=["log.page", {"room": {"a": [1] * 1000}}]),
        _event(data=["log.page", {7: "number as a key"}]),
        _event(data=["log.page", {b"room": "binary as a key"}]),
        _event(data=["log.page", {"room": float("nan")}]),
        _event(data=["log.page", {"room": msgpack.ExtType(5, b"ext")}]),
        _event(data=["log.page", {"room": msgpack.Timestamp(1)}]),
        _event(data=["log.page", {"room": "r", "limit": 2**64 - 1}]),
        _event(data=["log.page", [{}] * 20_000]),
        _event(data=["log.page", *([{}] * 5000)]),
    ],
    ids=lambda packet: str(packet)[:70],
)
async def test_T4_packets_of_the_wrong_form_harm_nothing(open_raw: OpenRaw, pair: Pair, packet: Any) -> None:
    socket, witness = await _come_in(open_raw, pair), await _come_in(open_raw, pair)
    await socket.send_bytes(msgpack.packb(packet))
    await _alive_or_closed(socket, pair.room)
    assert await _alive_or_closed(witness, pair.room), "another socket of the same person was harmed"


@pytest.mark.parametrize("event", ["disconnect", "connect", "connect_error", "error", "message", "ping"])
async def test_T4_reserved_names_are_unsupported_events(open_raw: OpenRaw, pair: Pair, event: str) -> None:
    socket = await _come_in(open_raw, pair)
    ack = await socket.ask(event, {"room": pair.room}, number=8)
    assert ack["error"]["code"] == "unsupported"
    assert await _alive_or_closed(socket, pair.room), "the name of an event never disconnects anybody"


@pytest.mark.parametrize("field", ["text", "key", "room"])
async def test_T4_binary_where_text_belongs_is_invalid(open_raw: OpenRaw, pair: Pair, field: str) -> None:
    socket = await _come_in(open_raw, pair)
    request = {"room": pair.room, "key": new_key(), "text": "x"}
    request[field] = request[field].encode()  # type: ignore[assignment]
    ack = await socket.ask("chat.send", request)
    assert (ack["error"]["code"], ack["error"]["field"]) == ("invalid", field)


async def test_T4_a_huge_array_of_candidates_is_refused_at_once(open_raw: OpenRaw, pair: Pair) -> None:
    socket = await _come_in(open_raw, pair)
    request = {
        "room": pair.room,
        "call": "c",
        "to": "p",
        "to_leg": 1,
        "seq": 0,
        "gen": 0,
        "candidates": [None] * 100_000,
    }
    ack = await socket.ask("call.signal", request)
    assert ack["error"]["code"] in {"invalid", "too_large"}


async def test_T4_deep_nesting_inside_a_request_is_refused(open_raw: OpenRaw, pair: Pair) -> None:
    socket = await _come_in(open_raw, pair)
    deep: Any = "bottom"
    for _ in range(400):
        deep = [deep]
    ack = await socket.ask("chat.send", {"room": pair.room, "key": new_key(), "text": deep})
    assert ack["error"]["code"] == "invalid"


async def test_T4_who_a_request_is_from_cannot_be_said(open_raw: OpenRaw, pair: Pair) -> None:
    socket = await _come_in(open_raw, pair)
    for number, name in enumerate(("by", "person", "from", "peer", "at", "id", "prev", "dup"), start=20):
        request = {"room": pair.room, "key": new_key(), "text": "forged", name: "somebody"}
        ack = await socket.ask("chat.send", request, number=number)
        assert (ack["error"]["code"], ack["error"]["field"]) == ("invalid", name)


async def test_T4_the_same_field_twice_is_no_way_in(open_raw: OpenRaw, pair: Pair) -> None:
    """`{room: foreign, room: own}`: whatever is read last, it is checked."""
    socket = await _come_in(open_raw, pair)
    twice = b"\x82\xa4room" + msgpack.packb(pair.room) + b"\xa4room" + msgpack.packb("foreign")
    frame = b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x06\xa4data\x92\xa8log.page" + twice
    await socket.send_bytes(frame)
    try:
        packet = await socket.receive()
    except ClosedError:
        return
    assert packet["data"][0]["error"]["code"] in {"not_found", "invalid", "conflict"}


async def test_T1_polling_garbage_is_a_client_error(server: Server) -> None:
    polling = RawPolling(server.url)
    try:
        assert await polling.open() == 200
        status = await polling.post_text("bnot base64!\x1e9\x1e")
        assert status < 500
    finally:
        await polling.stop()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?EIO=3&transport=polling",
        "?EIO=4&transport=pigeon",
        "?EIO=4&transport=polling&sid=made-up",
        "?EIO=x",
    ],
)
async def test_T1_other_protocols_are_client_errors(server: Server, query: str) -> None:
    async with aiohttp.ClientSession() as http:
        for method in ("GET", "POST", "PUT", "DELETE"):
            async with http.request(method, f"{server.url}/socket.io/{query}", data=b"x") as answer:
                assert 400 <= answer.status < 500, (method, answer.status)


async def test_T1_a_polling_payload_of_many_packets_is_delivered_or_refused(
    server: Server, pair: Pair
) -> None:
    """Never swallowed: 40 packets in one POST are all answered, or the POST is."""
    polling = RawPolling(server.url)
    try:
        await polling.open()
        await polling.post(packed(Packet.CONNECT, {"v": 1, "device": new_key(), "token": pair.mentor.token}))
        await polling.poll()
        requests = [
            packed(Packet.EVENT, ["room.join", {"room": pair.room, "cursor": None}], number=n)
            for n in range(40)
        ]
        if await polling.post(*requests) != 200:
            return
        answered: set[int] = set()
        while len(answered) < 40:
            packets = await polling.poll()
            assert not isinstance(packets, int), packets
            answered |= {packet["id"] for packet in packets if packet["type"] == Packet.ACK}
    finally:
        await polling.stop()


def _mutated(chance: random.Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[place] = chance.randrange(256)
            case 1:
                del changed[place]
            case _:
                changed.insert(place, chance.randrange(256))
    return bytes(changed)


async def test_limits_damaged_frames_never_harm_others(open_raw: OpenRaw, pair: Pair, server: Server) -> None:
    """The seed is fixed: a failure can be had again. One socket at a time; it lives on or is closed."""
    chance = random.Random(FUZZ_SEED)
    key = new_key()
    good = [
        packed(Packet.EVENT, ["log.page", {"room": pair.room, "limit": 3}], number=1),
        packed(Packet.EVENT, ["chat.send", {"room": pair.room, "key": key, "text": "hello"}], number=2),
        packed(
            Packet.EVENT, ["room.join", {"room": pair.room, "cursor": {"epoch": key, "id": None}}], number=3
        ),
        packed(Packet.CONNECT, {"v": 1, "device": key, "token": pair.mentor.token}),
    ]
    witness = await _come_in(open_raw, await server.pair())
    heard = asyncio.create_task(witness.receive(timeout_s=60))  # and answers pings, however long it takes
    socket = await _come_in(open_raw, pair)
    for _ in range(FUZZ_ROUNDS):
        frame = _mutated(chance, chance.choice(good))
        try:
            await socket.send_bytes(frame)
            alive = await _alive_or_closed(socket, pair.room)
        except (ConnectionError, aiohttp.ClientError):
            alive = False
        if not alive:
            await socket.stop()
            socket = await _come_in(open_raw, pair)
    await witness.send(Packet.EVENT, ["ice", {}], number=1)
    assert (await heard)["type"] == Packet.ACK
