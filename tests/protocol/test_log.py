"""L1–L3: everything durable, in one order. (L4 and what survives a kill is in test_durability.)"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
import redis.asyncio as redis

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import history, join, meet, new_key, page, say, texts
from tests.support.client import Client
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.redis_servers import running
from tests.support.witness import check_event, order


async def _push_of(client: Client, ack: dict[str, Any]) -> dict[str, Any]:
    return await client.next_push("log", {"id": ack["id"]})


def _without_room(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "room"}


async def test_L1_an_event_is_the_same_object_pushed_and_in_history(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    ack = await say(mentor, pair.room, "the same", key=key)
    pushed = await _push_of(mentee, ack)
    assert pushed["room"] == pair.room
    assert (
        pushed
        | {
            "prev": None,
            "by": pair.mentor.person,
            "kind": "chat.posted",
            "key": key,
            "text": "the same",
        }
        == pushed
    )
    paged = (await page(mentor, pair.room))["events"]
    resumed = (await join(mentee, pair.room))["log"]["events"]
    assert [_without_room(one) for one in paged] == [_without_room(pushed)]
    assert [_without_room(one) for one in resumed] == [_without_room(pushed)]
    check_event(paged[0])


async def test_L1_prev_chains_every_push_to_the_one_before(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    acks = [await say(mentor if n % 2 else mentee, pair.room, f"{n}") for n in range(6)]
    ids = [ack["id"] for ack in acks]
    pushes = [await _push_of(mentee, ack) for ack in acks]
    assert [push["prev"] for push in pushes] == [None, *ids[:-1]]
    paged = await history(mentor, pair.room)
    assert [_without_room(one) for one in paged] == [_without_room(push) for push in pushes]


async def test_L1_an_epoch_is_a_uuid_and_stays(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    first = (await join(mentor, pair.room))["log"]["epoch"]
    assert str(uuid.UUID(first)) == first
    await say(mentor, pair.room, "x")
    assert (await join(mentee, pair.room))["log"]["epoch"] == first
    other = await connect.server.pair()
    stranger = await connect(other.mentor)
    assert (await join(stranger, other.room))["log"]["epoch"] != first


async def test_L1_events_of_the_server_carry_a_key_too(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    await mentor.done(
        "call.join", {"room": pair.room, "media": {"audio": True, "video": False, "screen": False}}
    )
    started = (await history(mentor, pair.room))[-1]
    assert started["kind"] == "call.started"
    check_event(started)


async def test_L2_everyone_hears_the_same_events_in_the_same_order(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    phone = await connect(pair.mentor)
    await join(phone, pair.room)
    clients = (mentor, mentee, phone)
    acks = await asyncio.gather(
        *(say(client, pair.room, f"{client.device} {n}") for n in range(9) for client in clients)
    )
    ids = sorted((ack["id"] for ack in acks), key=order)
    for client in clients:
        await client.next_push("log", {"id": ids[-1]})
        heard = client.all("log")
        assert [push["id"] for push in heard] == ids
        assert [push["prev"] for push in heard] == [None, *ids[:-1]]
        own = [push["text"] for push in heard if push["text"].startswith(client.device)]
        assert own == [f"{client.device} {n}" for n in range(9)]


async def test_L3_same_key_appends_once_and_acks_the_first_id_again(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    first = await say(mentor, pair.room, "once", key=key)
    again = await say(mentor, pair.room, "once", key=key)
    assert (first["dup"], again["dup"]) == (False, True)
    assert (again["id"], again["at"]) == (first["id"], first["at"])
    marker = await say(mentor, pair.room, "marker")
    await _push_of(mentee, marker)
    assert [push["text"] for push in mentee.all("log")] == ["once", "marker"]


async def test_L3_same_key_at_the_same_moment_appends_once(connect: Fleet, pair: Pair) -> None:
    laptop, _ = await meet(connect, pair)
    phone = await connect(pair.mentor)
    await join(phone, pair.room)
    key = new_key()
    acks = await asyncio.gather(*(say(one, pair.room, "race", key=key) for one in (laptop, phone) * 4))
    assert len({ack["id"] for ack in acks}) == 1
    assert sorted(ack["dup"] for ack in acks) == [False] + [True] * 7
    assert await texts(laptop, pair.room) == ["race"]


async def test_L3_same_key_across_a_reconnect_and_from_another_device(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    key = new_key()
    first = await say(mentor, pair.room, "before the drop", key=key)
    await mentor.drop()
    for device in (mentor.device, new_key()):
        back = await connect(pair.mentor, device=device)
        await join(back, pair.room)
        again = await say(back, pair.room, "before the drop", key=key)
        assert (again["id"], again["dup"]) == (first["id"], True)


async def test_L3_same_key_of_another_person_is_another_key(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    one, other = await say(mentor, pair.room, "mine", key=key), await say(mentee, pair.room, "mine", key=key)
    assert other["dup"] is False
    assert one["id"] != other["id"]


async def test_L3_same_key_with_another_verb_is_a_conflict(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    key = new_key()
    ack = await say(mentor, pair.room, "the message", key=key)
    mark = {"room": pair.room, "key": key, "id": ack["id"]}
    for event, more in (
        ("chat.edit", {"text": "other"}),
        ("chat.delete", {}),
        ("chat.react", {"emoji": "👍", "on": True}),
    ):
        assert (await mentor.refused(event, {**mark, **more}))["code"] == "conflict", event
    reacted = new_key()
    await mentor.done("chat.react", {**mark, "key": reacted, "emoji": "👍", "on": True})
    error = await mentor.refused("chat.send", {"room": pair.room, "key": reacted, "text": "x"})
    assert error["code"] == "conflict"
    assert await texts(mentor, pair.room) == ["the message"]


async def test_L3_same_key_in_another_room_is_a_conflict(connect: Fleet, pair: Pair) -> None:
    other = await connect.server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    mentor, _ = await meet(connect, pair)
    await join(mentor, other.room)
    key = new_key()
    await say(mentor, pair.room, "here", key=key)
    error = await mentor.refused("chat.send", {"room": other.room, "key": key, "text": "here"})
    assert error["code"] == "conflict"
    assert await texts(mentor, other.room) == []


@pytest.mark.parametrize("where", ["the same socket", "another socket"])
async def test_L3_a_room_that_somebody_got_later_counts_as_well(
    connect_python: Fleet, pair: Pair, where: str
) -> None:
    mentor, _ = await meet(connect_python, pair)
    other = await connect_python.server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    there = mentor if where == "the same socket" else await connect_python(pair.mentor)
    await join(there, other.room)

    async def noticed() -> bool:
        """By a node that polls for such changes."""
        key = new_key()
        first = await mentor.ask("chat.send", {"room": pair.room, "key": key, "text": "here"})
        again = await there.ask("chat.send", {"room": other.room, "key": key, "text": "here"})
        return bool(first["ok"]) and not again["ok"] and again["error"]["code"] == "conflict"

    if there is mentor:
        assert await noticed()
    else:
        await until(noticed, "the keys of the first room to be claimed", timeout_s=5)


async def test_L3_a_flood_over_the_rate_leaves_no_key_for_long(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """Of somebody with several rooms each key is claimed before the rate is known: only what was written keeps its claim."""
    with running("redis") as url:
        server = await own_server(REDIS=url)
        pair = await server.pair()
        await server.pair(mentor=(pair.mentor.name, pair.mentor.email))
        mentor = await connect_python(pair.mentor, server=server)
        await join(mentor, pair.room)
        said = [
            await mentor.begin("chat.send", {"room": pair.room, "key": new_key(), "text": f"{n}"})
            for n in range(200)
        ]
        acks = await asyncio.wait_for(asyncio.gather(*said), 20)
        written = sum(ack["ok"] for ack in acks)
        assert 0 < written < 200
        async with redis.Redis.from_url(url) as store:
            lives_s = [await store.ttl(name) async for name in store.scan_iter("*:key:*", count=1_000)]
        assert len(lives_s) == 200
        assert sum(life_s > 86_400 for life_s in lives_s) == written
        assert all(0 < life_s <= 60 for life_s in sorted(lives_s)[:-written])


async def test_L3_edit_delete_and_react_repeat_harmlessly(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    message = (await say(mentor, pair.room, "first"))["id"]
    for event, more in (
        ("chat.react", {"emoji": "🎉", "on": True}),
        ("chat.edit", {"text": "second"}),
        ("chat.delete", {}),
    ):
        request = {"room": pair.room, "key": new_key(), "id": message, **more}
        first, again = await mentor.done(event, request), await mentor.done(event, request)
        assert (again["id"], again["dup"]) == (first["id"], True), event
