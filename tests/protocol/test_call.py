"""K1, K1a: ringing, joining, leaving. (Media are in test_media, what survives a restart in test_durability.)"""

from __future__ import annotations

import asyncio

import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import (
    CAMERA,
    SOUND,
    InCall,
    call,
    history,
    join,
    kinds,
    meet,
    say,
)
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.shapes import CallJoined, shaped


async def test_K1_the_first_starts_the_call_and_rings_every_socket_of_the_partner(
    connect: Fleet, pair: Pair
) -> None:
    mentor, mentee = await meet(connect, pair)
    elsewhere = await connect(pair.mentee)
    started = shaped(await call(mentor, pair.room), CallJoined)
    assert started.peers == []
    for client in (mentee, elsewhere):
        ring = await client.next_push("call.ring")
        assert ring == ring | {"room": pair.room, "call": started.call, "by": pair.mentor.person}
    assert await kinds(mentor, pair.room) == ["call.started"]
    event = (await history(mentor, pair.room))[0]
    assert event["by"] in {pair.mentor.person, "system"}
    marker = await say(mentee, pair.room, "marker")
    await mentor.next_push("log", {"id": marker["id"]})
    assert not mentor.all("call.ring")


async def test_K1_answering_ends_the_ringing_everywhere(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    elsewhere = await connect(pair.mentee)
    started = await call(mentor, pair.room)
    caller = (await join(mentor, pair.room))["you"]["peer"]
    answered = shaped(await call(mentee, pair.room, media=SOUND), CallJoined)
    assert answered.call == started["call"]
    assert [(one.peer, one.media.audio, one.media.video) for one in answered.peers] == [(caller, True, True)]
    quiet = await elsewhere.next_push("call.quiet")
    assert quiet == quiet | {"room": pair.room, "call": started["call"], "reason": "answered"}
    assert await kinds(mentor, pair.room) == ["call.started"]
    joined = await mentor.next_push("peer", lambda push: bool(push["media"]))
    assert (joined["media"]["audio"], joined["media"]["video"]) == (True, False)


async def test_K1_declining_ends_the_ringing_everywhere(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    elsewhere = await connect(pair.mentee)
    started = await call(mentor, pair.room)
    await mentee.done("call.decline", {"room": pair.room, "call": started["call"]})
    for client in (mentee, elsewhere):
        await client.next_push("call.quiet", {"call": started["call"], "reason": "declined"})


async def test_K1_the_caller_learns_of_a_decline(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    started = await call(mentor, pair.room)
    await mentee.done("call.decline", {"room": pair.room, "call": started["call"]})
    await mentor.next_push("call.quiet", {"call": started["call"], "reason": "declined"})


async def test_K1_hanging_up_before_an_answer_is_a_missed_call(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    started = await call(mentor, pair.room)
    await mentor.done("call.leave", {"room": pair.room, "call": started["call"]})
    await mentee.next_push("call.quiet", {"call": started["call"], "reason": "cancelled"})
    await mentee.next_push("log", {"kind": "call.missed"})
    assert await kinds(mentor, pair.room) == ["call.started", "call.missed"]
    assert (await join(mentor, pair.room))["call"] is None


async def test_K1_ringing_ends_by_itself(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(RING_S=5)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentor, pair.room)
    started = await call(mentor, pair.room)
    await mentee.next_push("call.ring", {"call": started["call"]})
    await mentee.next_push("call.quiet", {"call": started["call"], "reason": "timeout"}, timeout_s=8)
    assert (await join(mentee, pair.room))["call"]["id"] == started["call"], "the caller still waits there"


async def test_K1_the_last_to_leave_ends_the_call(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    await two.caller.done("call.leave", {"room": pair.room, "call": two.call})
    await two.callee.next_push("peer", {"peer": two.peers[two.caller], "media": None})
    assert await kinds(two.callee, pair.room) == ["call.started"]
    assert (await join(two.callee, pair.room))["call"]["id"] == two.call
    await two.callee.done("call.leave", {"room": pair.room, "call": two.call})
    ended = await two.caller.next_push("log", {"kind": "call.ended"})
    assert isinstance(ended["seconds"], int)
    assert 0 <= ended["seconds"] < 60
    assert await kinds(two.caller, pair.room) == ["call.started", "call.ended"]
    assert (await join(two.caller, pair.room))["call"] is None


async def test_K1_a_call_that_is_over_is_gone(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    for client in (two.caller, two.callee):
        await client.done("call.leave", {"room": pair.room, "call": two.call})
    over = {"room": pair.room, "call": two.call}
    for event, request in (
        ("call.join", {**over, "media": CAMERA}),
        ("call.decline", over),
        ("call.media", {**over, "media": CAMERA}),
        ("call.signal", two.signal(two.caller)),
    ):
        error = await two.caller.refused(event, request)
        assert error["code"] in {"gone", "conflict"}, event
    assert await kinds(two.caller, pair.room) == ["call.started", "call.ended"]


async def test_K1_the_next_call_is_another_one(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    calls = []
    for _ in range(2):
        started = await call(mentor, pair.room)
        await call(mentee, pair.room)
        for client in (mentor, mentee):
            await client.done("call.leave", {"room": pair.room, "call": started["call"]})
        calls.append(started["call"])
    assert calls[0] != calls[1]
    rings = [(await mentee.next_push("call.ring"))["call"] for _ in calls]
    assert rings == calls


async def test_K1_both_calling_at_the_same_moment_is_one_call(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    one, other = await asyncio.gather(call(mentor, pair.room), call(mentee, pair.room))
    assert one["call"] == other["call"]
    assert sorted(len(answer["peers"]) for answer in (one, other)) == [0, 1]
    assert await kinds(mentor, pair.room) == ["call.started"]


async def test_K1_peers_that_vanish_do_not_end_it(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    ringer = two.callee
    await ringer.next_push("call.ring", {"call": two.call})
    await two.caller.drop()
    await two.callee.drop()
    back = {}
    for person, old in ((pair.mentor, two.caller), (pair.mentee, two.callee)):
        client = await connect(person, device=old.device)
        joined = await join(client, pair.room)
        assert joined["call"]["id"] == two.call
        again = await call(client, pair.room, call=two.call)
        assert again["call"] == two.call
        back[client] = joined["you"]["peer"]
    assert set(back.values()) == set(two.peers.values())
    first = next(iter(back))
    assert await kinds(first, pair.room) == ["call.started"]
    marker = await say(first, pair.room, "marker")
    for client in back:
        await client.next_push("log", {"id": marker["id"]})
        assert not client.all("call.ring")


@pytest.mark.faults
async def test_K1_a_call_that_nobody_resumes_is_ended(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(AWAY_S=1, CALL_RESUME_S=10)
    pair = await server.pair()
    two = await InCall.begin(
        pair.room,
        await connect_python(pair.mentor, server=server),
        await connect_python(pair.mentee, server=server),
    )
    late = await connect_python(pair.mentee, server=server)
    await join(late, pair.room)
    for client in (two.caller, two.callee):
        await client.drop()
        await late.next_push("peer", {"peer": two.peers[client], "state": "gone"})
    await late.next_push("log", {"kind": "call.ended"}, timeout_s=20)
    error = await late.refused("call.join", {"room": pair.room, "call": two.call, "media": CAMERA})
    assert error["code"] == "gone"
    assert (await join(late, pair.room))["call"] is None
    assert await kinds(late, pair.room) == ["call.started", "call.ended"]


async def test_K1a_a_leg_grows_with_each_join_and_is_told(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    again = await call(two.caller, pair.room, call=two.call)
    assert again["leg"] > two.legs[two.caller]
    peer = two.peers[two.caller]
    await two.callee.next_push("peer", {"peer": peer, "leg": again["leg"]})
    peers = (await join(two.callee, pair.room))["peers"]
    assert [(one["peer"], one["leg"]) for one in peers] == [(peer, again["leg"])]


async def test_K1a_a_resumed_leg_is_kept(connect: Fleet, pair: Pair) -> None:
    """Extension: `leg` in `call.join` keeps one's connections over a reconnect."""
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    await two.caller.drop()
    back = await connect(pair.mentor, device=two.caller.device)
    await join(back, pair.room)
    leg = two.legs[two.caller]
    assert (await call(back, pair.room, call=two.call, leg=leg))["leg"] == leg
    assert (await call(back, pair.room, call=two.call, leg=leg + 7))["leg"] > leg


async def test_K1_leaving_twice_is_harmless(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    leave = {"room": pair.room, "call": two.call}
    await two.caller.done("call.leave", leave)
    again = await two.caller.ask("call.leave", leave)
    assert again["ok"] or again["error"]["code"] in {"conflict", "gone"}
    assert (await join(two.callee, pair.room))["call"]["id"] == two.call


async def test_K1_a_partner_that_comes_while_it_rings_hears_it(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    await join(mentor, pair.room)
    started = await call(mentor, pair.room)
    mentee = await connect(pair.mentee)
    joined = await join(mentee, pair.room)
    assert joined["call"]["id"] == started["call"]

    async def rings() -> bool:
        return bool(mentee.all("call.ring"))

    await until(rings, "the ring for who comes late")


async def test_K1_a_mentee_calls_as_well_as_a_mentor(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    started = await call(mentee, pair.room)
    ring = await mentor.next_push("call.ring")
    assert (ring["call"], ring["by"]) == (started["call"], pair.mentee.person)
