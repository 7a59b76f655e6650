"""T1–T3, T6: how requests and answers travel. (T4 is in test_validation, T5 holds for every ack: witness.)"""

from __future__ import annotations

import asyncio
import base64
import signal
from typing import Any

import aiohttp
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import InCall, join, meet, new_key, page, say, texts
from tests.support.client import Client, RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.js_client.bridge import JsClient
from tests.support.people import Pair
from tests.support.raw import SEPARATOR, Packet, RawPolling, packed
from tests.support.server import Server

SIGNAL_S = 1.5
"""More than any signal on one machine needs, less than any time limit of a store."""


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_T1_a_whole_chat_over_either_transport(connect: Fleet, pair: Pair, transport: str) -> None:
    mentor = await connect(pair.mentor, transports=(transport,))
    mentee = await connect(pair.mentee, transports=(transport,))
    await join(mentor, pair.room)
    await join(mentee, pair.room)
    first = await say(mentor, pair.room, "Namaste, Grüße ✓")
    assert (await mentee.next_push("log", {"id": first["id"]}))["text"] == "Namaste, Grüße ✓"
    second = await say(mentee, pair.room, "and back")
    assert (await mentor.next_push("log", {"id": second["id"]}))["prev"] == first["id"]
    await mentor.done("chat.edit", {"room": pair.room, "key": new_key(), "id": first["id"], "text": "Hello"})
    await mentee.next_push("log", {"kind": "chat.edited", "ref": first["id"]})
    assert sorted(await texts(mentor, pair.room)) == ["Hello", "and back"]


async def test_T1_polling_carries_many_packets_at_once(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor, transports=("polling",))
    await join(mentor, pair.room)
    said = [await mentor.begin("log.page", {"room": pair.room, "limit": 1}) for _ in range(40)]
    answers = await asyncio.wait_for(asyncio.gather(*said), 10)
    assert all(answer["ok"] for answer in answers)


async def _polling(server: Server, pair: Pair) -> RawPolling:
    """The mentor over bare long-polling, in the room."""
    polling = RawPolling(server.url)
    await polling.connect({"v": 1, "device": new_key(), "token": pair.mentor.token})
    await polling.ask("room.join", {"room": pair.room, "cursor": None})
    return polling


async def test_T1_a_polling_body_may_come_in_pieces(server: Server, pair: Pair) -> None:
    """As it does whenever it is larger than what the network carries at once."""
    polling = await _polling(server, pair)
    request = {"room": pair.room, "key": new_key(), "text": "in two pieces"}
    body = b"b" + base64.b64encode(packed(Packet.EVENT, ["chat.send", request], number=7))
    reader, writer = await _half_a_post(server, polling, body[:20], len(body))
    writer.write(body[20:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    acks = [packet for packet in await _packets(polling) if packet["type"] == Packet.ACK]
    assert [ack["data"][0]["ok"] for ack in acks] == [True]
    writer.close()
    await polling.stop()


async def _half_a_post(
    server: Server, polling: RawPolling, part: bytes, length: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The beginning of a body of that length, which the server has read."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /socket.io/?EIO=4&transport=polling&sid={polling.sid} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    writer.write(part)
    await writer.drain()
    await _all_is_read(server)
    return reader, writer


async def _all_is_read(server: Server) -> None:
    """What was sent to the server before is read when it has answered something that was sent later."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/healthz") as alive:
        assert alive.status == 200


async def _packets(polling: RawPolling) -> list[dict[str, Any]]:
    packets = await polling.poll()
    assert isinstance(packets, list), packets
    return packets


async def test_T1_two_polls_at_once_end_the_session(server: Server, pair: Pair) -> None:
    """The second one would take packets out of the first one's order."""
    polling = await _polling(server, pair)
    polls = await asyncio.gather(polling.poll(), polling.poll())
    assert 400 in polls
    assert await polling.poll() == 400
    await polling.stop()


async def test_T1_two_posts_at_once_end_the_session(server: Server, pair: Pair) -> None:
    """Each holds its body until it is whole: a thousand at once on one session were a gigabyte of the node."""
    polling = await _polling(server, pair)
    _, writer = await _half_a_post(server, polling, b"b", 1_000)
    assert await polling.post_text("3") == 400
    assert await polling.poll() == 400
    writer.close()
    await polling.stop()


async def test_T1_an_answer_that_does_not_arrive_ends_the_session(
    connect_python: Fleet, server: Server, pair: Pair
) -> None:
    """What it held is lost on the way: the client has to resume, not to go on with a gap."""
    mentee = await connect_python(pair.mentee)
    await join(mentee, pair.room)
    polling = await _polling(server, pair)
    await mentee.next_push("peer", {"state": "here"})
    host, _, port = server.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /socket.io/?EIO=4&transport=polling&sid={polling.sid} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    )
    await writer.drain()
    await _all_is_read(server)
    writer.transport.abort()
    await _all_is_read(server)
    await say(mentee, pair.room, "nobody will read this there")
    await mentee.next_push("peer", {"state": "away"}, timeout_s=5)
    await polling.stop()


async def test_T1_many_small_packets_are_counted_for_what_they_cost(server: Server, pair: Pair) -> None:
    """Engine.IO's UPGRADE is answered with NOOP, which has no payload at all: 3,500 of them are 512 KiB of the node."""
    polling = await _polling(server, pair)
    statuses = [await polling.post_text(SEPARATOR.join("5" * 256)) for _ in range(20)]
    assert statuses[:10] == [200] * 10
    assert statuses[-1] == 400
    await polling.stop()


async def test_T1_polling_upgrades_to_websocket(connect: Fleet, pair: Pair) -> None:
    if connect.kind == "python":
        mentor = await connect(pair.mentor, transports=("polling", "websocket"))
    else:
        mentor = await connect(pair.mentor, transports=("polling", "websocket"))
        assert isinstance(mentor, JsClient)

        async def upgraded() -> bool:
            return await mentor.transport() == "websocket"

        await until(upgraded, "the upgrade to WebSocket")
    await join(mentor, pair.room)
    assert (await say(mentor, pair.room, "after the upgrade"))["dup"] is False


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_T1_a_json_client_is_refused_readably(connect: Fleet, pair: Pair, transport: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        await connect(pair.mentor, msgpack=False, transports=(transport,))
    assert refusal.value.error["code"] in {"unsupported", "invalid"}
    assert "msgpack" in refusal.value.error["message"].lower()


async def test_T1_the_room_in_the_address_is_only_a_hint(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor, query="room=some-other-room")
    assert (await join(mentor, pair.room))["room"]["slug"] == pair.room


async def test_T1_one_socket_joins_up_to_eight_rooms(
    connect_python: Fleet, server: Server, pair: Pair
) -> None:
    mentor_words = (pair.mentor.name, pair.mentor.email)
    more = await asyncio.gather(*(server.pair(mentor=mentor_words) for _ in range(8)))
    assert {one.mentor.person for one in more} == {pair.mentor.person}
    mentor = await connect_python(pair.mentor)
    rooms = [pair.room, *(one.room for one in more)]
    for room in rooms[:8]:
        await join(mentor, room)
    await mentor.refused("room.join", {"room": rooms[8], "cursor": None})
    await say(mentor, rooms[7], "the eighth still works")
    await mentor.done("room.leave", {"room": rooms[0]})
    await join(mentor, rooms[8])


@pytest.mark.parametrize(
    "arguments",
    [(), ({}, {}), ("text",), (None,), ([],), (7,), (True,), (b"bytes",)],
    ids=["nothing", "two", "text", "null", "array", "number", "bool", "binary"],
)
async def test_T2_an_event_carries_exactly_one_object(
    connect: Fleet, pair: Pair, arguments: tuple[Any, ...]
) -> None:
    mentor = await connect(pair.mentor)
    for event in ("room.join", "call.signal"):
        assert (await mentor.refused(event, *arguments))["code"] == "invalid"


async def test_T2_a_conflict_shows_what_is_now_and_a_refusal_is_a_sentence(
    connect: Fleet, pair: Pair
) -> None:
    mentor = await connect(pair.mentor)
    error = await mentor.refused("chat.send", {"room": pair.room, "key": new_key(), "text": "not in yet"})
    assert error["code"] == "conflict"
    assert error["message"][0].isupper()
    assert " " in error["message"]


async def test_T2_optional_fields_may_be_absent_or_null(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    await mentor.done("room.join", {"room": pair.room, "cursor": None, "limit": None})
    await mentor.done(
        "chat.send",
        {"room": pair.room, "key": new_key(), "text": "nulls", "reply_to": None, "files": None},
    )
    await mentor.done("log.page", {"room": pair.room, "limit": None, "before": None, "after": None})


async def test_T3_store_requests_are_acknowledged_in_order(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    mentor.acked.clear()
    futures = []
    for number in range(8):
        futures.append(await mentor.begin("log.page", {"room": pair.room, "limit": 1}))
        futures.append(
            await mentor.begin("chat.send", {"room": pair.room, "key": new_key(), "text": f"{number}"})
        )
        futures.append(await mentor.begin("room.join", {"room": pair.room, "cursor": None}))
        futures.append(await mentor.begin("chat.send", {"room": pair.room}))
    answers = await asyncio.wait_for(asyncio.gather(*futures), 10)
    assert mentor.acked == sorted(mentor.acked)
    assert await texts(mentor, pair.room) == [f"{number}" for number in range(8)]
    joins = answers[2::4]
    assert [len(answer["log"]["events"]) for answer in joins] == list(range(1, 9))


async def test_T3_signals_are_acknowledged_in_order(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    two.caller.acked.clear()
    futures = []
    for seq in range(20):
        futures.append(await two.caller.begin("call.signal", two.signal(two.caller, seq=seq)))
        futures.append(await two.caller.begin("ice", {"room": pair.room}))
        futures.append(await two.caller.begin("call.signal", {"room": pair.room}))
    await asyncio.wait_for(asyncio.gather(*futures), 10)
    assert two.caller.acked == sorted(two.caller.acked)


@pytest.mark.faults
async def test_T3_a_stalled_store_delays_no_signal(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server()
    pair = await server.pair()
    two = await InCall.begin(
        pair.room,
        await connect_python(pair.mentor, server=server),
        await connect_python(pair.mentee, server=server),
    )
    server.signal_store(signal.SIGSTOP)
    try:
        key = new_key()
        waiting = await two.caller.begin("chat.send", {"room": pair.room, "key": key, "text": "waiting"})
        for seq in range(10):
            ack = await asyncio.wait_for(
                await two.caller.begin("call.signal", two.signal(two.caller, seq=seq)), SIGNAL_S
            )
            assert ack["ok"], ack
            await two.callee.next_push("call.signal", {"seq": seq}, timeout_s=SIGNAL_S)
        await two.caller.done("chat.typing", {"room": pair.room, "on": True})
        await two.callee.next_push("typing", {"on": True}, timeout_s=SIGNAL_S)
        assert not waiting.done(), "an ack while the store is stopped promises what nobody has"
    finally:
        server.signal_store(signal.SIGCONT)
    await asyncio.wait_for(waiting, 15)

    async def accepted() -> bool:
        ack = await two.caller.ask("chat.send", {"room": pair.room, "key": key, "text": "waiting"})
        return bool(ack["ok"])

    await until(accepted, "the store's return", timeout_s=15)
    assert (await texts(two.caller, pair.room)).count("waiting") == 1


@pytest.mark.faults
async def test_T3_what_waits_for_a_stalled_store_is_bounded_in_bytes(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server()
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    server.signal_store(signal.SIGSTOP)
    try:
        large = {"room": pair.room, "colour": "x" * 1_000_000}
        waiting = await mentor.begin("chat.send", {"room": pair.room, "key": new_key(), "text": "waits"})
        futures = [await mentor.begin("log.page", large) for _ in range(10)]
        refused = [await asyncio.wait_for(future, 10) for future in futures[5:]]
        assert {ack["error"]["code"] for ack in refused} == {"limited"}
        assert not waiting.done()
        assert not any(future.done() for future in futures[:4])
    finally:
        server.signal_store(signal.SIGCONT)
    answers = [await asyncio.wait_for(future, 15) for future in futures[:4]]
    assert {answer["error"]["code"] for answer in answers} == {"too_large"}


async def test_T6_times_are_integer_milliseconds(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ack = await say(mentor, pair.room, "when?")
    assert isinstance(ack["at"], int)
    assert ack["at"] == int(ack["id"].split("-")[0])
    pushed = await mentee.next_push("log", {"id": ack["id"]})
    paged = (await page(mentor, pair.room))["events"][-1]
    assert isinstance(pushed["at"], int)
    assert pushed["at"] == paged["at"] == ack["at"]


async def test_T2_nothing_but_answers_comes_for_a_request(connect: Fleet, pair: Pair) -> None:
    """A request that changes nothing pushes nothing, to nobody."""
    mentor, mentee = await meet(connect, pair)
    seen: list[Client] = [mentor, mentee]
    for client in seen:
        client.heard.clear()
    await page(mentor, pair.room)
    await mentor.done("ice", {"room": pair.room})
    await mentor.refused("chat.send", {"room": pair.room, "key": "bad", "text": "x"})
    marker = await say(mentor, pair.room, "marker")
    for client in seen:
        await client.next_push("log", {"id": marker["id"]})
        assert [push.name for push in client.heard if push.name not in {"peer", "person"}] == ["log"]
