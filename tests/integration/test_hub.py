"""Delivery on one node, against a real store: order, gaps, a log that begins anew (rules L1, L2, L5, R5)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from redis.asyncio import Redis

from rooms import events
from rooms import live as live_values
from rooms.events import ChatPosted
from rooms.live import Live, Peer
from rooms.membership import Member, RoomRecord
from rooms.ports import Draft, LiveSwap
from rooms.pushes import ReplacedPush, RevokedPush
from signaling.connection import Identity
from signaling.hub import Hub, Resident
from signaling.stores import redis_client
from signaling.stores.channels import Channels
from signaling.stores.redis_log import RedisRoomLog, channel
from tests.support.condition import until
from tests.support.redis_servers import running

pytestmark = pytest.mark.integration


class Listener:
    """A `Connection` that remembers what it was sent."""

    def __init__(self, person: str) -> None:
        self.id = uuid.uuid4().hex
        self.identity = Identity(person=person, device=str(uuid.uuid4()))
        self.heard: list[tuple[str, Any]] = []
        self.cuts = 0

    def send(self, frame: bytes, *, ephemeral: bool = False) -> None:
        name, payload = msgpack.unpackb(frame)["data"]
        self.heard.append((name, payload))

    def cut(self) -> None:
        self.cuts += 1

    def dismiss(self, last: ReplacedPush | RevokedPush) -> None:
        raise AssertionError(last)

    def texts(self) -> list[str]:
        return [payload["text"] for name, payload in self.heard if name == "log"]

    def named(self, name: str) -> list[Any]:
        return [payload for heard, payload in self.heard if heard == name]


class House:
    """A hub on a real store, and one room with one listener in it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.log = RedisRoomLog(redis)
        self.channels = Channels(redis, self._heard, self._restored, 5)
        self.hub = Hub("here", self.log, self.channels.subscribe, self.channels.unsubscribe)
        self.slug = uuid.uuid4().hex
        self.lose: bytes = b""
        self.record = RoomRecord(self.slug, "t", (Member("ann", "Ann", "mentor", "UTC"),))
        self.listener = Listener("ann")

    def _heard(self, name: str, message: bytes) -> None:
        if self.lose and self.lose in message:
            return
        self.hub.on_message(name, message)

    async def _restored(self) -> None:
        await self.hub.repair_all()

    async def open(self) -> Resident:
        self.channels.start()
        resident = await self.hub.open(self.record)
        seat = self.hub.sit(resident, self.listener, "me", several=False)
        self.hub.release(seat, (await self.log.snapshot(self.slug)).head)
        return resident

    async def say(self, text: str) -> str:
        key = str(uuid.uuid4())
        body = events.encode(ChatPosted(by="ann", key=key, text=text))
        return (await self.log.write(self.slug, (Draft(key, body),))).ids[0]

    async def close(self) -> None:
        await self.hub.stop()
        await self.channels.stop()


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    with running("valkey") as url:
        yield url


@pytest.fixture
async def house(store_url: str) -> AsyncIterator[House]:
    redis = redis_client.connect(store_url, 5)
    made = House(redis)
    yield made
    await made.close()
    await redis.aclose()


async def test_L2_what_the_channel_lost_is_read_before_anything_else_is_handed_on(house: House) -> None:
    await house.open()
    house.lose = b"lost"
    for text in ("one", "lost 1", "lost 2", "two", "three"):
        await house.say(text)
    await until(lambda: len(house.listener.texts()) == 5, "all five")
    assert house.listener.texts() == ["one", "lost 1", "lost 2", "two", "three"]
    pushed = house.listener.named("log")
    assert [event["prev"] for event in pushed] == [None, *(event["id"] for event in pushed[:-1])]


async def test_L2_the_last_of_the_lost_is_found_when_the_channels_are_back(house: House) -> None:
    await house.open()
    await house.say("one")
    house.lose = b"lost"
    await house.say("lost at the end")
    house.lose = b""
    await house.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: house.listener.texts() == ["one", "lost at the end"], "what was lost")


async def test_R1_what_happens_while_somebody_joins_comes_after_the_answer_and_once(house: House) -> None:
    resident = await house.open()
    await house.say("before")
    newcomer = Listener("ann")
    seat = house.hub.sit(resident, newcomer, "new", several=False)
    await house.say("in the page")
    resumed = await house.log.resume(house.slug, None, 50, 100_000)
    await house.say("meanwhile")
    await until(lambda: len(house.listener.texts()) == 3, "delivered to who was there")
    assert newcomer.heard == []
    house.hub.release(seat, resumed.head)
    assert newcomer.texts() == ["meanwhile"]
    assert newcomer.named("log")[0]["prev"] == resumed.head


async def test_L1_a_log_that_begins_anew_is_said(house: House) -> None:
    await house.open()
    await house.say("one")
    await until(lambda: house.listener.texts() == ["one"], "the first")
    await house.redis.flushall()
    await house.say("of another epoch")
    await until(lambda: len(house.listener.texts()) == 2, "the new log")
    assert [push["reason"] for push in house.listener.named("reset")] == ["epoch"]


async def test_L5_a_rolled_back_log_is_said(house: House) -> None:
    await house.open()
    first = await house.say("one")
    second = await house.say("two")
    await until(lambda: len(house.listener.texts()) == 2, "both")
    await house.redis.xdel(f"{{{house.slug}}}:log", second)
    await house.redis.hset(f"{{{house.slug}}}:meta", "tail", first)
    await house.hub.repair_all()
    await until(lambda: house.listener.named("reset"), "the reset")
    assert house.listener.named("reset") == [{"room": house.slug, "reason": "diverged"}]


async def test_R5_a_node_that_missed_steps_tells_the_sum_of_them(house: House) -> None:
    await house.open()
    here = Peer("p1", "bob", "d1", "n1", "s1")
    house.lose = b"S1 "
    await house.log.write(house.slug, (), live=LiveSwap(0, live_values.encode(Live({"p1": here}))))
    away = Peer("p1", "bob", "d1", "n1", "s1", away_until=5)
    await house.log.write(house.slug, (), live=LiveSwap(1, live_values.encode(Live({"p1": away}))))
    await until(lambda: house.listener.named("peer"), "the peer")
    assert [(push["peer"], push["state"]) for push in house.listener.named("peer")] == [("p1", "away")]


async def test_an_event_that_the_store_never_had_stops_nobody(house: House) -> None:
    """Published, then lost with a store that does not sync: its gap cannot be read, and life goes on."""
    resident = await house.open()
    await house.say("one")
    await until(lambda: house.listener.texts() == ["one"], "the first")
    ghost = (
        b"L"
        + resident.epoch.encode()
        + b" 9999999999999-0 9999999999998-0 k "
        + events.encode(ChatPosted(by="ann", key="k", text="ghost"))
    )
    house.hub.on_message(channel(house.slug), ghost)
    await house.say("two")
    await until(lambda: house.listener.texts() == ["one", "two"], "the second")


async def test_limits_what_is_held_while_a_join_hangs_is_bounded_in_bytes(house: House) -> None:
    resident = await house.open()
    newcomer = Listener("ann")
    seat = house.hub.sit(resident, newcomer, "new", several=False)
    for _ in range(40):
        house.hub.whisper(resident, "typing", msgpack.packb("x" * 16_000))
    assert newcomer.cuts == 0, "the ephemeral is dropped first"
    assert seat.held_bytes <= 524_288
    await house.say("small enough")
    await until(house.listener.texts, "the event")
    assert newcomer.cuts == 0
    for number in range(40):
        await house.say(f"{number} " + "x" * 16_000)
    await until(lambda: len(house.listener.texts()) == 41, "all of it")
    assert newcomer.cuts
    assert seat.held == []
    assert newcomer.heard == []
