"""Delivery on one node, against a real store: order, gaps, a log that begins anew (rules L1, L2, L5, R5)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest

from rooms import events
from rooms import live as live_values
from rooms.events import ChatPosted
from rooms.live import Live, Peer
from rooms.membership import Member, RoomRecord
from rooms.ports import Draft, LiveSwap, Written
from rooms.pushes import ReplacedPush, RevokedPush
from signaling.connection import Identity
from signaling.hub import Hub, Resident
from signaling.stores.channels import Channels
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog, channel
from signaling.stores.store import Store
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

    def __init__(self, store: Store) -> None:
        self.redis: Any = store.redis
        self.log = RedisRoomLog(store)
        self.hub = Hub("here", self.log, self._subscribe, self._unsubscribe)
        self.channels = Channels(store, self._heard, self.hub.restored)
        self._task = asyncio.create_task(self.channels.run())
        self.slug = uuid.uuid4().hex
        self.lose: bytes = b""
        self.record = RoomRecord(self.slug, "t", (Member("ann", "Ann", "mentor", "UTC"),))
        self.listener = Listener("ann")

    async def _subscribe(self, name: str) -> None:
        await self.channels.subscribe(name)

    def _unsubscribe(self, name: str) -> None:
        self.channels.unsubscribe(name)

    def _heard(self, name: str, message: bytes) -> None:
        if self.lose and self.lose in message:
            return
        self.hub.on_message(name, message)

    async def open(self) -> Resident:
        me = Live({"me": Peer("me", "ann", self.listener.identity.device, "here", self.listener.id)})
        await self.step(me)
        resident = await self.hub.open(self.record)
        seat = self.hub.sit(resident, self.listener, "me", several=False)
        self.hub.release(seat, resident.tail)
        return resident

    async def step(self, live: Live) -> Written:
        """A change of presence or call that somebody decided."""
        seen = (await self.log.live(self.slug)).version
        return await self.log.write(self.slug, (), live=LiveSwap(seen, live_values.encode(live)))

    async def say(self, text: str) -> str:
        key = str(uuid.uuid4())
        body = events.encode(ChatPosted(by="ann", key=key, text=text))
        return (await self.log.write(self.slug, (Draft(key, body),))).ids[0]

    async def write_as(self, text: str, id_: str) -> None:
        """Append with an id of one's own, as a primary whose clock is behind would."""
        key, log = str(uuid.uuid4()), f"{{{self.slug}}}"
        body = events.encode(ChatPosted(by="ann", key=key, text=text))
        epoch, prev = await self.redis.hmget(f"{log}:meta", "epoch", "tail")
        await self.redis.xadd(f"{log}:log", {"p": prev, "k": key}, id=id_)
        await self.redis.hset(f"{log}:bodies", id_, body)
        await self.redis.hset(f"{log}:meta", mapping={"tail": id_, "key": key})
        words = b" ".join((epoch, id_.encode(), prev, key.encode()))
        await self.redis.execute_command("SPUBLISH", channel(self.slug), b"L" + words + b" " + body)

    async def close(self) -> None:
        await self.hub.stop()
        self._task.cancel()
        await self.channels.stop()


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    with running("valkey") as url:
        yield url


@pytest.fixture
async def house(store_url: str) -> AsyncIterator[House]:
    store = connect(store_url, 5)
    made = House(store)
    yield made
    await made.close()
    await store.aclose()


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
    resident = await house.open()
    await house.say("one")
    await until(lambda: house.listener.texts() == ["one"], "the first")
    await house.redis.flushall()
    again = await house.say("of another epoch")
    await until(lambda: house.listener.named("reset"), "the reset")
    assert house.listener.named("reset") == [{"room": house.slug, "reason": "epoch"}]
    assert resident.tail == again
    await house.say("and on")
    await until(lambda: house.listener.texts() == ["one", "and on"], "what came after it")
    assert house.listener.named("log")[-1]["prev"] == again, "what the reset page ends with"


async def test_L2_a_lost_last_message_is_found_within_5_s(house: House) -> None:
    await house.open()
    await house.say("one")
    await until(lambda: house.listener.texts() == ["one"], "the first")
    sweeping = asyncio.create_task(house.hub.sweep())
    house.lose = b"lost"
    await house.say("lost at the end")
    await until(lambda: house.listener.texts() == ["one", "lost at the end"], "the last", timeout_s=5)
    sweeping.cancel()
    assert not house.listener.named("reset")


async def test_R5_a_lost_last_step_is_found_within_5_s(house: House) -> None:
    await house.open()
    there = Live({**(await live_of(house)).peers, "p1": Peer("p1", "bob", "d1", "n1", "s1")})
    sweeping = asyncio.create_task(house.hub.sweep())
    house.lose = b"p1"
    await house.step(there)
    await until(lambda: house.listener.named("peer"), "the peer", timeout_s=5)
    sweeping.cancel()


async def live_of(house: House) -> Live:
    return live_values.decode((await house.log.live(house.slug)).blob)


class RolledBack:
    """A store that was failed over to a replica: what was said since `here` is gone, without a word."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._dumps: dict[bytes, bytes] = {}

    async def here(self) -> None:
        async for name in self._house.redis.scan_iter(match=f"{{{self._house.slug}}}*"):
            self._dumps[name] = await self._house.redis.dump(name)

    async def back(self) -> None:
        redis = self._house.redis
        async with redis.pipeline(transaction=True) as pipe:
            async for name in redis.scan_iter(match=f"{{{self._house.slug}}}*"):
                pipe.delete(name)
            for name, dumped in self._dumps.items():
                pipe.restore(name, 0, dumped)
            await pipe.execute()


@pytest.mark.parametrize("since", ["nothing", "a message", "an older clock", "the same id"])
async def test_L5_a_rolled_back_log_is_said(house: House, since: str) -> None:
    resident = await house.open()
    await house.say("one")
    failover = RolledBack(house)
    await failover.here()
    lost = await house.say("two")
    await until(lambda: len(house.listener.texts()) == 2, "both")
    await failover.back()
    if since == "a message":
        await house.say("three")
    elif since == "nothing":
        house.hub.restored(channel(house.slug))
    else:
        # The new primary gives an id that is not after the lost one, or that very id.
        at, seq = (int(part) for part in lost.split("-"))
        await house.write_as("three", f"{at}-{seq}" if since == "the same id" else f"{at - 1}-{seq + 7}")
    await until(lambda: house.listener.named("reset"), "the reset")
    assert house.listener.named("reset") == [{"room": house.slug, "reason": "diverged"}]
    assert resident.tail == (await house.log.heads([house.slug]))[0].id
    await house.say("four")
    await until(lambda: house.listener.texts() == ["one", "two", "four"], "life goes on")
    assert len(house.listener.named("reset")) == 1


@pytest.mark.parametrize("others_since", [0, 1, 2])
async def test_R5_people_whom_a_rolled_back_store_has_forgotten_come_again(
    house: House, others_since: int
) -> None:
    """Whether the version went back, is the same again or has gone on: who is here and not in the value joins again."""
    await house.log.resume(house.slug, None, 1, 1_000)  # the epoch is older than what is lost
    failover = RolledBack(house)
    await failover.here()
    await house.open()
    await failover.back()
    for number in range(others_since):
        await house.step(Live({"p1": Peer("p1", "bob", f"d{number}", "n1", "s1")}))
    house.hub.restored(channel(house.slug))
    await until(lambda: house.listener.named("reset"), "the reset, so that they join again")


async def test_R5_a_step_that_is_shown_while_the_log_is_read_is_not_taken_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a repair is read after that of a commit which was done later."""
    resident = await house.open()
    read, was_read, go = house.log.resume, asyncio.Event(), asyncio.Event()

    async def late(*words: Any) -> Any:
        answer = await read(*words)
        was_read.set()
        await go.wait()
        return answer

    monkeypatch.setattr(house.log, "resume", late)
    house.hub.restored(channel(house.slug))
    await was_read.wait()
    bob = Live({**(await live_of(house)).peers, "p1": Peer("p1", "bob", "d1", "n1", "s1")})
    written = await house.step(bob)
    house.hub.show_live(resident, written.version, bob)
    go.set()
    await until(lambda: resident.waiting is None, "the repair")
    assert [(push["peer"], push["state"]) for push in house.listener.named("peer")] == [("p1", "here")]
    assert house.listener.named("reset") == []


async def test_R5_a_node_that_missed_steps_tells_the_sum_of_them(house: House) -> None:
    await house.open()
    here = Peer("p1", "bob", "lost", "n1", "s1")
    me = (await live_of(house)).peers
    house.lose = b"lost"
    await house.step(Live({**me, "p1": here}))
    away = Peer("p1", "bob", "d1", "n1", "s1", away_until=5)
    await house.step(Live({**me, "p1": away}))
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
