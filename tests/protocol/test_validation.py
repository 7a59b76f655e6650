"""T4: what a request may be, and how a refusal names its fault."""

from __future__ import annotations

from typing import Any

from tests.protocol.phrases import InCall, history, kinds, meet, new_key, say, texts
from tests.support.fleet import Fleet
from tests.support.people import Pair


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
        ("call.join", {"room": room, "media": {**media, "weak": "very"}}, "media.weak"),
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
