"""R1–R6: entering a room, being in it, and being there only once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from signaling.departures import MOMENT_S
from tests.protocol.conftest import OpenRaw, OpenServer
from tests.protocol.phrases import CAMERA, OFFER, InCall, call, join, meet, new_key, say
from tests.support.client import Client
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.raw import Packet
from tests.support.shapes import Joined, PeerPush, shaped

BACK_S = 3
"""How soon others hear of somebody who left or came back."""


def _requests(room: str) -> list[tuple[str, dict[str, Any]]]:
    """One valid request of every verb of a room except `room.join`."""
    key = new_key()
    return [
        ("log.page", {"room": room, "limit": 10}),
        ("chat.send", {"room": room, "key": key, "text": "x"}),
        ("chat.edit", {"room": room, "key": key, "id": "1-1", "text": "x"}),
        ("chat.delete", {"room": room, "key": key, "id": "1-1"}),
        ("chat.react", {"room": room, "key": key, "id": "1-1", "emoji": "👍", "on": True}),
        ("chat.typing", {"room": room, "on": True}),
        ("chat.read", {"room": room, "id": "1-1"}),
        ("call.join", {"room": room, "media": CAMERA}),
        ("call.leave", {"room": room, "call": "c"}),
        ("call.decline", {"room": room, "call": "c"}),
        ("call.media", {"room": room, "call": "c", "media": CAMERA}),
        (
            "call.signal",
            {"room": room, "call": "c", "to": "p", "to_leg": 1, "seq": 0, "gen": 0, "description": OFFER},
        ),
        ("ice", {"room": room}),
    ]


async def test_R1_one_answer_holds_all_that_is_needed(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    alone = shaped(await join(mentor, pair.room), Joined)
    assert alone.room.slug == pair.room
    assert alone.you.person == pair.mentor.person
    assert alone.you.role == "mentor"
    assert alone.you.media is None
    assert alone.call is None
    assert alone.session is None
    assert alone.peers == []
    assert (alone.log.head, alone.log.events, alone.log.more, alone.log.reset) == (None, [], False, None)
    people = {one.person: one for one in alone.people}
    assert {one.person: one.role for one in alone.people} == {
        pair.mentor.person: "mentor",
        pair.mentee.person: "mentee",
    }
    assert people[pair.mentor.person].name == "Mara Mentor"
    assert people[pair.mentor.person].online is True
    assert people[pair.mentee.person].online is False
    assert people[pair.mentor.person].read is None


async def test_R1_peers_are_the_others_and_media_is_null_outside_the_call(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    you = shaped(await join(mentor, pair.room), Joined).you
    mentee = await connect(pair.mentee)
    seen = shaped(await join(mentee, pair.room), Joined)
    assert [(one.peer, one.person, one.device, one.state, one.media) for one in seen.peers] == [
        (you.peer, pair.mentor.person, mentor.device, "here", None)
    ]
    assert seen.you.role == "mentee"
    assert {one.person for one in seen.people if one.online} == {pair.mentor.person, pair.mentee.person}


async def test_R1_a_call_and_its_media_are_shown_to_who_comes_later(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    await join(mentor, pair.room)
    streams = {"camera": "stream-1", "screen": None}
    started = await call(mentor, pair.room, media={**CAMERA, "streams": streams})
    mentee = await connect(pair.mentee)
    seen = shaped(await join(mentee, pair.room), Joined)
    assert seen.call
    assert seen.call.id == started["call"]
    peer = seen.peers[0]
    assert peer.media
    assert (peer.media.audio, peer.media.video, peer.media.screen) == (True, True, False)
    assert peer.media.streams
    assert peer.media.streams.camera == "stream-1"
    assert peer.leg == started["leg"]


async def test_R1_joining_again_on_one_socket_is_harmless(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    first, again = await join(mentor, pair.room), await join(mentor, pair.room)
    assert first["you"]["peer"] == again["you"]["peer"]
    ack = await say(mentee, pair.room, "once")
    await mentor.next_push("log", {"id": ack["id"]})
    marker = await say(mentee, pair.room, "marker")
    await mentor.next_push("log", {"id": marker["id"]})
    assert len(mentor.all("log")) == 2


async def test_R1_an_outsider_gets_not_found_for_everything(connect: Fleet, pair: Pair) -> None:
    other = await connect.server.pair()
    outsider = await connect(other.mentor)
    await join(outsider, other.room)
    requests = [("room.join", {"room": pair.room, "cursor": None}), *_requests(pair.room)]
    answers = {event: (await outsider.refused(event, request))["code"] for event, request in requests}
    assert answers == dict.fromkeys(answers, "not_found")


@pytest.mark.parametrize("slug", ["nowhere", "", "../etc", "x" * 5000, "{r}", "a b", "%2e%2e", "\x00"])
async def test_R1_a_made_up_room_is_not_found(connect_python: Fleet, pair: Pair, slug: str) -> None:
    mentor = await connect_python(pair.mentor)
    error = await mentor.refused("room.join", {"room": slug, "cursor": None})
    assert error["code"] in ({"not_found", "invalid", "too_large"} if slug != "nowhere" else {"not_found"})


async def test_R1_every_verb_needs_room_join_on_that_socket_first(connect: Fleet, pair: Pair) -> None:
    await meet(connect, pair)
    newcomer = await connect(pair.mentor)
    answers = {
        event: (await newcomer.refused(event, request))["code"] for event, request in _requests(pair.room)
    }
    assert answers == dict.fromkeys(answers, "conflict")


async def test_R1_who_has_not_joined_hears_no_log(connect: Fleet, pair: Pair) -> None:
    listener = await connect(pair.mentee)
    mentor = await connect(pair.mentor)
    await join(mentor, pair.room)
    await say(mentor, pair.room, "before")
    await join(listener, pair.room)
    marker = await say(mentor, pair.room, "after")
    assert (await listener.next_push("log"))["id"] == marker["id"]


async def test_R1_online_means_a_socket_anywhere(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    await join(mentor, pair.room)
    elsewhere = await connect(pair.mentee)
    online = {"room": pair.room, "person": pair.mentee.person, "online": True}
    await mentor.next_push("person", online, timeout_s=BACK_S)
    second = await connect(pair.mentee)
    await elsewhere.drop()
    await second.drop()
    await mentor.next_push("person", online | {"online": False}, timeout_s=BACK_S)
    changes = [push["online"] for push in mentor.all("person", {"person": pair.mentee.person})]
    assert changes == [True, False]
    people = (await join(mentor, pair.room))["people"]
    assert [one["online"] for one in people if one["person"] == pair.mentee.person] == [False]


async def test_R2_a_dropped_socket_is_away_and_the_same_peer_when_back(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    peer = (await join(mentee, pair.room))["you"]["peer"]
    await mentee.drop()
    away = shaped(await mentor.next_push("peer", {"state": "away"}, timeout_s=BACK_S), PeerPush)
    assert (away.peer, away.person, away.device) == (peer, pair.mentee.person, mentee.device)
    assert [one["state"] for one in (await join(mentor, pair.room))["peers"]] == ["away"]
    back = await connect(pair.mentee, device=mentee.device)
    assert (await join(back, pair.room))["you"]["peer"] == peer
    here = await mentor.next_push("peer", lambda push: push["state"] == "here" and push["peer"] == peer)
    assert here["device"] == mentee.device
    assert {push["peer"] for push in mentor.all("peer")} == {peer}
    assert [(one["peer"], one["state"]) for one in (await join(mentor, pair.room))["peers"]] == [
        (peer, "here")
    ]


async def test_R2_who_is_back_within_a_moment_was_never_away(connect: Fleet, pair: Pair) -> None:
    mentor, device = await meet(connect, pair)
    await join(device, pair.room)
    offline = {"person": pair.mentee.person, "online": False}

    def told() -> tuple[int, int]:
        return len(mentor.all("peer", {"state": "away"})), len(mentor.all("person", offline))

    for _ in range(40):  # until the machine lets somebody be quick
        marker = await say(device, pair.room, "marker")
        await mentor.next_push("log", {"id": marker["id"]})
        before, start_s = told(), time.monotonic()
        await device.drop()
        device = await connect(pair.mentee, device=device.device)
        await join(device, pair.room)
        if time.monotonic() - start_s < MOMENT_S:
            break
    else:
        pytest.fail("nobody came back within a moment")
    await device.drop()

    async def gone() -> bool:
        shown = await join(mentor, pair.room)
        online = [one["online"] for one in shown["people"] if one["person"] == pair.mentee.person]
        return [one["state"] for one in shown["peers"]] == ["away"] and online == [False]

    await until(gone, "what the last drop leads to")
    await until(lambda: told()[1] > before[1], "word of it", timeout_s=BACK_S)
    assert told() == (before[0] + 1, before[1] + 1)


async def test_R2_a_peer_that_stays_away_is_gone(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(AWAY_S=1)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentor, pair.room)
    peer = (await join(mentee, pair.room))["you"]["peer"]
    await mentee.drop()
    await mentor.next_push("peer", {"peer": peer, "state": "away"})
    await mentor.next_push("peer", {"peer": peer, "state": "gone"}, timeout_s=1 + BACK_S)
    assert (await join(mentor, pair.room))["peers"] == []


async def test_R3_the_same_device_replaces_the_older_socket(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    peer = (await join(mentor, pair.room))["you"]["peer"]
    mentee.heard.clear()
    newer = await connect(pair.mentor, device=mentor.device)
    assert (await mentor.next_push("replaced"))["reason"]
    await mentor.closed()
    assert (await join(newer, pair.room))["you"]["peer"] == peer
    marker = await say(newer, pair.room, "it is me again")
    await mentee.next_push("log", {"id": marker["id"]})
    assert {push["peer"] for push in mentee.all("peer")} <= {peer}
    assert "gone" not in [push["state"] for push in mentee.all("peer")]
    assert [one["peer"] for one in (await join(mentee, pair.room))["peers"]] == [peer]


async def test_R3_a_replaced_transport_is_really_closed(open_raw: OpenRaw, pair: Pair) -> None:
    auth = {"v": 1, "device": new_key(), "token": pair.mentor.token}
    older, newer = await open_raw(), await open_raw()
    await older.connect(auth)
    await newer.connect(auth)
    packets = await older.closed()
    assert [packet["data"][0] for packet in packets if packet["type"] == Packet.EVENT] == ["replaced"]
    assert (await newer.ask("room.join", {"room": pair.room, "cursor": None}))["ok"]


async def test_R3_the_same_device_of_another_person_replaces_nobody(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    mentee = await connect(pair.mentee, device=mentor.device)
    await join(mentor, pair.room)
    await join(mentee, pair.room)
    marker = await say(mentee, pair.room, "we share a computer")
    await mentor.next_push("log", {"id": marker["id"]})
    assert not mentor.all("replaced")


async def test_R4_two_devices_of_one_person_both_chat(connect: Fleet, pair: Pair) -> None:
    laptop, mentee = await meet(connect, pair)
    phone = await connect(pair.mentor)
    seen = shaped(await join(phone, pair.room), Joined)
    assert {one.person for one in seen.peers} == {pair.mentor.person, pair.mentee.person}
    one, two = await say(laptop, pair.room, "from the laptop"), await say(phone, pair.room, "from the phone")
    for client in (laptop, phone, mentee):
        assert (await client.next_push("log"))["id"] == one["id"]
        assert (await client.next_push("log"))["id"] == two["id"]


async def test_R4_joining_on_a_second_device_moves_the_call(connect: Fleet, pair: Pair) -> None:
    laptop, mentee = await connect(pair.mentor), await connect(pair.mentee)
    two = await InCall.begin(pair.room, laptop, mentee)
    phone = await connect(pair.mentor)
    phone_peer = (await join(phone, pair.room))["you"]["peer"]
    moved = await call(phone, pair.room, call=two.call)
    assert moved["call"] == two.call
    assert [one["peer"] for one in moved["peers"]] == [two.peers[mentee]]
    await laptop.next_push("call.moved", {"room": pair.room})
    await mentee.next_push("peer", lambda push: push["peer"] == phone_peer and push["media"] is not None)
    await mentee.next_push("peer", lambda push: push["peer"] == two.peers[laptop] and push["media"] is None)
    assert not mentee.unread("call.ring", lambda push: push["by"] == pair.mentor.person)[1:]
    error = await laptop.refused("call.signal", two.signal(laptop))
    assert error["code"] in {"conflict", "gone"}
    assert not laptop.is_closed


async def test_R5_every_change_of_a_peer_is_pushed(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    own = (await join(mentor, pair.room))["you"]["peer"]
    mentee = await connect(pair.mentee)
    peer = (await join(mentee, pair.room))["you"]["peer"]
    here = shaped(await mentor.next_push("peer"), PeerPush)
    assert (here.room, here.peer, here.person, here.state) == (pair.room, peer, pair.mentee.person, "here")
    assert here.media is None
    started = await call(mentee, pair.room)
    in_call = shaped(await mentor.next_push("peer", lambda push: push["media"] is not None), PeerPush)
    assert (in_call.peer, in_call.leg) == (peer, started["leg"])
    media = {"audio": False, "video": True, "screen": True}
    await mentee.done("call.media", {"room": pair.room, "call": started["call"], "media": media})
    muted = await mentor.next_push("peer", lambda push: bool(push["media"] and push["media"]["screen"]))
    assert {name: muted["media"][name] for name in media} == media
    await mentee.done("call.leave", {"room": pair.room, "call": started["call"]})
    await mentor.next_push("peer", lambda push: push["peer"] == peer and push["media"] is None)
    await mentee.done("room.leave", {"room": pair.room})
    await mentor.next_push("peer", {"peer": peer, "state": "gone"}, timeout_s=BACK_S)
    assert own not in {push["peer"] for push in mentor.all("peer")}, "peers never hold oneself"


async def test_R6_leaving_is_immediate_and_ends_what_one_hears(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    await mentee.done("room.leave", {"room": pair.room})
    await mentor.next_push("peer", {"state": "gone"}, timeout_s=BACK_S)
    assert (await join(mentor, pair.room))["peers"] == []
    await say(mentor, pair.room, "nobody there")
    error = await mentee.refused("chat.send", {"room": pair.room, "key": new_key(), "text": "x"})
    assert error["code"] == "conflict"
    await join(mentee, pair.room)
    marker = await say(mentor, pair.room, "again")
    assert (await mentee.next_push("log"))["id"] == marker["id"]


async def test_R6_leaving_leaves_the_call_too(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    await two.callee.done("room.leave", {"room": pair.room})
    await two.caller.next_push("peer", {"peer": two.peers[two.callee], "state": "gone"}, timeout_s=BACK_S)
    error = await two.caller.refused("call.signal", two.signal(two.caller))
    assert error["code"] == "peer_away"


async def test_R6_leaving_a_room_one_is_not_in_is_a_conflict(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    assert (await mentor.refused("room.leave", {"room": pair.room}))["code"] == "conflict"


async def test_R2_the_others_never_see_a_second_peer_through_many_drops(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    peer = (await join(mentee, pair.room))["you"]["peer"]
    device: Client = mentee
    for _ in range(5):
        await device.drop()
        device = await connect(pair.mentee, device=mentee.device)
        assert (await join(device, pair.room))["you"]["peer"] == peer

    async def here() -> bool:
        peers = (await join(mentor, pair.room))["peers"]
        return [(one["peer"], one["state"]) for one in peers] == [(peer, "here")]

    await until(here, "the one peer, here")
    assert {push["peer"] for push in mentor.all("peer")} == {peer}
