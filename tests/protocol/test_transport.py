"""T1–T6: how requests and answers travel."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import InCall, history, join, kinds, meet, new_key, page, say, texts
from tests.support.client import Client, RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.js_client.bridge import JsClient
from tests.support.people import Pair
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


async def test_T4_an_unknown_event_is_unsupported(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    for event in ("chat.shout", "room", "", "log", "session.levitate", "__proto__"):
        assert (await mentor.refused(event, {"room": pair.room}))["code"] == "unsupported", event


async def test_T4_an_event_without_ack_is_handled_just_the_same(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    await mentor.emit("chat.send", {"room": pair.room, "key": new_key(), "text": "no ack wanted"})
    assert (await mentee.next_push("log"))["text"] == "no ack wanted"


async def test_T4_a_refused_event_without_ack_harms_nothing(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    await mentor.emit("chat.send", {"room": pair.room, "key": "no uuid", "text": "bad"})
    await mentor.emit("nonsense", {"room": pair.room})
    await mentor.emit("chat.send", "text")
    await mentor.emit("chat.send")
    marker = await say(mentor, pair.room, "still here")
    assert (await mentee.next_push("log"))["id"] == marker["id"]
    assert await texts(mentor, pair.room) == ["still here"]


def _malformed(room: str) -> list[tuple[str, dict[str, Any], str]]:
    """Requests with one fault each, and the path of the field at fault."""
    key = new_key()
    media = {"audio": True, "video": True, "screen": False}
    chat = {"room": room, "key": key, "text": "x"}
    react = {"room": room, "key": key, "id": "1-1", "emoji": "👍", "on": True}
    signal_ = {"room": room, "call": "c", "to": "p", "to_leg": 1, "seq": 0, "gen": 0}
    offer = {"type": "offer", "sdp": "v=0"}
    return [
        ("room.join", {"cursor": None}, "room"),
        ("room.join", {"room": 7, "cursor": None}, "room"),
        ("room.join", {"room": room, "cursor": 5}, "cursor"),
        ("room.join", {"room": room, "cursor": {"epoch": 5, "id": None}}, "cursor.epoch"),
        ("room.join", {"room": room, "cursor": {"epoch": key, "id": 5}}, "cursor.id"),
        ("room.join", {"room": room, "cursor": {"epoch": key, "id": "yesterday"}}, "cursor.id"),
        ("room.join", {"room": room, "cursor": {"epoch": key, "id": None, "at": 1}}, "cursor.at"),
        ("room.join", {"room": room, "cursor": None, "limit": "10"}, "limit"),
        ("room.join", {"room": room, "cursor": None, "limit": 0}, "limit"),
        ("room.join", {"room": room, "cursor": None, "limit": 1.5}, "limit"),
        ("room.join", {"room": room, "cursor": None, "colour": "red"}, "colour"),
        ("room.leave", {}, "room"),
        ("log.page", {"room": room, "limit": -1}, "limit"),
        ("log.page", {"room": room, "limit": True}, "limit"),
        ("log.page", {"room": room, "before": "x"}, "before"),
        ("log.page", {"room": room, "after": 12}, "after"),
        ("log.page", {"room": room, "after": "1-1-1"}, "after"),
        ("chat.send", {"room": room, "key": key}, "text"),
        ("chat.send", {"room": room, "text": "x"}, "key"),
        ("chat.send", {**chat, "text": 5}, "text"),
        ("chat.send", {**chat, "text": ""}, "text"),
        ("chat.send", {**chat, "text": " \n\t\u2003"}, "text"),
        ("chat.send", {**chat, "text": ["x"]}, "text"),
        ("chat.send", {**chat, "text": b"bytes"}, "text"),
        ("chat.send", {**chat, "key": "not a uuid"}, "key"),
        ("chat.send", {**chat, "key": key + "0"}, "key"),
        ("chat.send", {**chat, "key": b"0123456789abcdef"}, "key"),
        ("chat.send", {**chat, "reply_to": "x"}, "reply_to"),
        ("chat.send", {**chat, "reply_to": 4}, "reply_to"),
        ("chat.send", {**chat, "by": "somebody else"}, "by"),
        ("chat.send", {**chat, "at": 1}, "at"),
        ("chat.edit", {**chat}, "id"),
        ("chat.edit", {**chat, "id": "one"}, "id"),
        ("chat.edit", {**chat, "id": "1-1", "text": " "}, "text"),
        ("chat.delete", {"room": room, "key": key}, "id"),
        ("chat.delete", {"room": room, "key": key, "id": None}, "id"),
        ("chat.react", {**react, "emoji": ""}, "emoji"),
        ("chat.react", {**react, "emoji": "a b"}, "emoji"),
        ("chat.react", {**react, "emoji": "a\u0007"}, "emoji"),
        ("chat.react", {**react, "on": 1}, "on"),
        ("chat.react", {**react, "on": "true"}, "on"),
        ("chat.typing", {"room": room}, "on"),
        ("chat.typing", {"room": room, "on": None}, "on"),
        ("chat.read", {"room": room, "id": 5}, "id"),
        ("chat.read", {"room": room, "id": "last"}, "id"),
        ("call.join", {"room": room}, "media"),
        ("call.join", {"room": room, "media": True}, "media"),
        ("call.join", {"room": room, "media": {**media, "audio": "yes"}}, "media.audio"),
        ("call.join", {"room": room, "media": {"audio": True, "video": True}}, "media.screen"),
        ("call.join", {"room": room, "media": {**media, "smell": True}}, "media.smell"),
        ("call.join", {"room": room, "media": {**media, "streams": {"camera": 5}}}, "media.streams.camera"),
        ("call.join", {"room": room, "media": media, "rollback": "no"}, "rollback"),
        ("call.leave", {"room": room}, "call"),
        ("call.decline", {"room": room, "call": 1}, "call"),
        ("call.media", {"room": room, "call": "c"}, "media"),
        ("call.signal", {**signal_, "description": {**offer, "type": "rollback"}}, "description.type"),
        ("call.signal", {**signal_, "description": {"type": "offer"}}, "description.sdp"),
        ("call.signal", {**signal_, "description": offer, "from": "me"}, "from"),
        ("call.signal", {**signal_, "description": offer, "from_leg": 1}, "from_leg"),
        ("call.signal", {**signal_, "description": offer, "seq": -1}, "seq"),
        ("call.signal", {**signal_, "description": offer, "gen": "0"}, "gen"),
        ("call.signal", {**signal_, "description": offer, "to_leg": None}, "to_leg"),
        ("call.signal", {**signal_, "candidates": "none"}, "candidates"),
        ("ice", {}, "room"),
    ]


async def test_T4_every_fault_is_named_by_its_path(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    expected, answers = [], []
    for event, request, field in _malformed(pair.room):
        error = await mentor.refused(event, request)
        expected.append((event, str(request), "invalid", field))
        answers.append((event, str(request), error["code"], error.get("field")))
    assert answers == expected
    assert await history(mentor, pair.room) == []


async def test_T4_a_fault_inside_a_list_is_named_with_its_place(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    good = {"candidate": "candidate:1 1 UDP 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    for bad, field in (({**good, "candidate": 5}, "candidate"), ({"sdpMid": "0"}, "candidate")):
        error = await two.caller.refused("call.signal", two.signal(two.caller, candidates=[good, good, bad]))
        assert error["code"] == "invalid"
        assert error["field"] in {f"candidates[2].{field}", f"candidates.2.{field}"}
    assert not two.callee.unread("call.signal")


async def test_T4_a_signal_carries_a_description_or_candidates_but_not_both(
    connect: Fleet, pair: Pair
) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    both = two.signal(two.caller, candidates=[{"candidate": ""}]) | {
        "description": {"type": "offer", "sdp": "v"}
    }
    neither = {name: value for name, value in both.items() if name not in {"description", "candidates"}}
    for request in (both, neither, {**neither, "description": None, "candidates": None}):
        assert (await two.caller.refused("call.signal", request))["code"] == "invalid"


async def test_T4_files_are_unsupported_until_uploads_exist(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    request = {"room": pair.room, "key": new_key(), "text": "with a file", "files": [{"id": "f"}]}
    assert (await mentor.refused("chat.send", request))["code"] == "unsupported"
    assert await kinds(mentor, pair.room) == []


async def test_T4_a_refused_key_is_not_used_up(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    key = new_key()
    await mentor.refused("chat.send", {"room": pair.room, "key": key, "text": " "})
    assert (await say(mentor, pair.room, "now well", key=key))["dup"] is False


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
