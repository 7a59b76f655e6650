"""Reminders and mails about missed messages follow from the rows: in their own time, once, whoever derives them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rooms import commands as c
from rooms import events, live
from rooms.live import Live, Peer
from rooms.ports import Draft, LiveSwap
from rooms.session import MINUTE_MS
from signaling import reminders
from signaling.reminders import UNREAD_MS, Reminders
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.registry import Registry
from signaling.stores.store import Store
from signaling.stores.turns import Turns
from tests.support.condition import until
from tests.support.planned import Clock, Planned, planned
from tests.support.redis_servers import running as store_running

pytestmark = pytest.mark.integration

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    with store_running("valkey") as url:
        yield url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    client = connect(store_url, 5)
    await client.redis.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[Planned]:
    async with planned(f"sqlite:///{tmp_path}/telementor.db", clock) as made:
        yield made


def node(house: Planned, store: Store, name: str = "one") -> Reminders:
    return Reminders(
        house.notices,
        RedisRoomLog(store),
        Registry(store),
        Turns(store, name),
        lambda: {"one", "two"},
        house.clock,
    )


async def reminded(house: Planned, store: Store) -> list[str]:
    """Kinds that are new, for whom; a pass of another node right after it finds nothing."""
    await node(house, store).remind()
    assert await node(house, store, "two").remind() == 0, "once, whoever derives them"
    found = [f"{kind} {house.role(who)}" for kind, who in await house.kinds() if kind.startswith("reminder")]
    await house.mark_all("sent")
    return sorted(found)


async def test_a_session_is_reminded_of_three_times_and_each_once(house: Planned, store: Store) -> None:
    session = await house.agree("2027-02-06T15:00")
    told = {}
    for minutes in (2000, 1441, 1440, 1000, 61, 60, 30, 11, 10, 5, 0, -1):
        house.clock.now = session.start - minutes * MINUTE_MS
        told[minutes] = await reminded(house, store)
    assert {minutes: kinds for minutes, kinds in told.items() if kinds} == {
        1440: ["reminder_24h mentee", "reminder_24h mentor"],
        60: ["reminder_1h mentee", "reminder_1h mentor"],
        10: ["reminder_10m mentee", "reminder_10m mentor"],
    }


async def test_after_an_outage_the_one_comes_whose_window_it_is(house: Planned, store: Store) -> None:
    session = await house.agree("2027-02-06T15:00")
    house.clock.now = session.start - 40 * MINUTE_MS
    assert await reminded(house, store) == ["reminder_1h mentee", "reminder_1h mentor"]


async def test_what_was_due_before_the_session_had_its_time_is_not_sent(house: Planned, store: Store) -> None:
    session = await house.agree("2027-02-03T15:00")  # in three hours
    assert await reminded(house, store) == []
    house.clock.now = session.start - HOUR_MS
    assert await reminded(house, store) == ["reminder_1h mentee", "reminder_1h mentor"]


async def test_S2_a_move_is_reminded_of_anew(house: Planned, store: Store) -> None:
    session = await house.agree("2027-02-06T15:00")
    house.clock.now = session.start - DAY_MS
    assert len(await reminded(house, store)) == 2
    session = await house.move(session, "2027-02-08T15:00")
    assert await reminded(house, store) == []
    house.clock.now = session.start - DAY_MS
    assert await reminded(house, store) == ["reminder_24h mentee", "reminder_24h mentor"]


async def test_only_confirmed_sessions_of_living_rooms(house: Planned, store: Store) -> None:
    booked = await house.book("2027-02-06T15:00")
    house.clock.now = booked.start - DAY_MS
    assert await reminded(house, store) == []
    session = await house.ask(house.pair.mentor.id, c.SessionAnswer, booked, proposal=None, accept=0)
    await house.ask(house.pair.mentor.id, c.SessionCancel, session)
    assert await reminded(house, store) == []


async def test_who_is_in_the_room_needs_no_last_reminder(house: Planned, store: Store) -> None:
    session = await house.agree("2027-02-06T15:00")
    here = Peer("p", house.pair.mentee.id, "d", "one", "s")
    away = Peer("q", house.pair.mentor.id, "d", "one", "t", away_until=1)
    blob = live.encode(Live(peers={"p": here, "q": away}))
    await RedisRoomLog(store).write(house.pair.slug, (), live=LiveSwap(0, blob))
    house.clock.now = session.start - 10 * MINUTE_MS
    assert await reminded(house, store) == ["reminder_10m mentor"]


async def test_a_room_that_cannot_be_asked_who_is_there_holds_up_no_other(
    house: Planned, store: Store
) -> None:
    """As when a part of a Cluster is away; it is asked again at the next turn."""
    away = house.pair
    session = await house.agree()
    there = await house.meet()
    await house.agree()
    await store.run("SET", f"{{{away.slug}}}:live", "no hash")
    house.clock.now = session.start - 10 * MINUTE_MS
    assert await node(house, store).remind() == 2
    assert {who for kind, who in await house.kinds() if kind == "reminder_10m"} == {
        there.mentor.id,
        there.mentee.id,
    }
    await store.run("DEL", f"{{{away.slug}}}:live")
    assert await node(house, store).remind() == 2


async def test_more_sessions_than_are_read_in_one_go(
    house: Planned, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminders, "PAGE", 2)
    for hour in range(9, 14):
        session = await house.agree(f"2027-02-06T{hour:02}:00")
    house.clock.now = session.start - DAY_MS
    assert len(await reminded(house, store)) == 10


# ------------------------------------------------------------------------------------------- missed messages


class Room:
    """What people say and read in the pair's room, in the store's own time."""

    def __init__(self, house: Planned, store: Store) -> None:
        self.house = house
        self.log = RedisRoomLog(store)
        self.registry = Registry(store)
        self.slug = house.pair.slug
        self.mentor, self.mentee = house.pair.mentor.id, house.pair.mentee.id

    async def say(self, by: str) -> str:
        key = str(uuid.uuid4())
        body = events.encode(events.ChatPosted(by=by, key=key, text="Hello"))
        (id_,) = (await self.log.write(self.slug, (Draft(key, body),))).ids
        self.house.clock.now = max(self.house.clock.now, int(id_.partition("-")[0]))
        return id_

    async def read(self, person: str, id_: str) -> None:
        await self.log.mark_read(self.slug, person, id_, b"")

    async def come(self, person: str) -> None:
        await self.registry.connect(person, "s1", "one", "d1", ("one",), 8)

    async def go(self, person: str) -> None:
        await self.registry.disconnect(person, "s1", ("one",))


@pytest.fixture
async def room(house: Planned, store: Store) -> Room:
    made = Room(house, store)
    now, _ = await store.redis.time()
    house.clock.now = now * 1000
    return made


async def test_a_message_that_was_missed_is_mailed_once_until_it_is_read(
    house: Planned, store: Store, room: Room
) -> None:
    one, two = node(house, store), node(house, store, "two")
    first = await room.say(room.mentor)
    assert await one.digest() == 0, "not five minutes old"
    house.clock.now += UNREAD_MS
    assert await one.digest() == 1
    assert await two.digest() == 0
    assert await house.kinds() == [("digest", room.mentee)]
    await room.say(room.mentor)
    house.clock.now += UNREAD_MS
    assert await one.digest() == await two.digest() == 0, "one until they have read"
    assert await one.is_missed(room.slug, room.mentee, room.mentor, "")
    await room.read(room.mentee, first)
    assert not await one.is_missed(room.slug, room.mentee, room.mentor, ""), "the first mail is out of date"
    await room.say(room.mentor)
    house.clock.now += UNREAD_MS
    assert await one.digest() == 1
    assert await two.digest() == 0


async def test_who_is_there_or_has_read_or_wrote_it_themselves_gets_none(
    house: Planned, store: Store, room: Room
) -> None:
    one = node(house, store)
    await room.come(room.mentee)
    last = await room.say(room.mentor)
    house.clock.now += UNREAD_MS
    assert await one.digest() == 0, "online; and the mentor wrote it"
    await room.go(room.mentee)
    await room.read(room.mentee, last)
    assert await one.digest() == 0, "read"


async def test_who_leaves_without_having_read_gets_it_then(house: Planned, store: Store, room: Room) -> None:
    one = node(house, store)
    await room.come(room.mentee)
    await room.say(room.mentor)
    house.clock.now += UNREAD_MS
    assert await one.digest() == 0
    await room.go(room.mentee)
    assert await one.digest() == 1


async def test_a_room_in_which_there_is_nothing_to_tell_is_read_once(
    house: Planned, store: Store, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = node(house, store)
    await room.say(room.mentor)
    house.clock.now += UNREAD_MS
    assert await one.digest() == 1
    monkeypatch.setattr(one, "_oldest_unread", None)
    assert await one.digest() == 0


async def test_a_room_where_nothing_has_happened_for_long_is_left_alone(
    house: Planned, store: Store, room: Room
) -> None:
    await room.say(room.mentor)
    house.clock.now += reminders.LOOKED_BACK_MS + 1
    assert await node(house, store).digest() == 0


async def test_nodes_derive_by_turns_for_as_long_as_they_run(
    house: Planned, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminders, "ASKED_S", 0.02)
    session = await house.agree("2027-02-06T15:00")
    house.clock.now = session.start - HOUR_MS
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(node(house, store, name).run()) for name in ("one", "two")]

        async def derived() -> bool:
            return [kind for kind, _ in await house.kinds()].count("reminder_1h") == 2

        await until(derived, "the reminders")
        for task in running:
            task.cancel()
