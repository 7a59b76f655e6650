"""Erasure that is interrupted, and backups of stores that are not ours (Redis and PostgreSQL)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgpack
import pytest

from rooms import events
from rooms.commands import SessionBook
from rooms.errors import Conflict, Unavailable
from rooms.events import ChatDeleted, ChatEdited, ChatPosted, ChatReacted, Posted, SessionRequested
from rooms.ids import event_at
from rooms.ports import Draft, Request, Retention, Rewrite, Seen, Written
from rooms.schedule import Rules
from rooms.session import Session
from signaling import records
from signaling.backup import BackupError, backup, restore
from signaling.open_stores import open_directory, open_store
from signaling.settings import Settings
from signaling.stores.channels import Channels
from signaling.stores.directory import Directory, Named, PairAdded
from signaling.stores.redis_log import RedisRoomLog, channel
from signaling.stores.schedule import Schedule
from tests.support.condition import until
from tests.support.postgres import postgres as postgres  # noqa: PLC0414 - a fixture
from tests.support.redis_servers import running

pytestmark = pytest.mark.integration

MARA, MIO = Named("Mara Mentor", "mara@example.org"), Named("Mio Mentee", "mio@example.org")
BIG = 1_000_000
HOUR_S = 3600


def key() -> str:
    return str(uuid.uuid4())


async def say(log: RedisRoomLog, slug: str, by: str, text: str) -> Written:
    request = Request(by, key(), "chat.send")
    body = events.encode(ChatPosted(by=by, key=request.key, text=text))
    return await log.write(slug, (Draft(request.key, body),), request=request)


async def edit(log: RedisRoomLog, slug: str, by: str, ref: str, text: str) -> Written:
    request = Request(by, key(), "chat.edit")
    posted = Posted(at=event_at(ref), by=by)
    body = events.encode(ChatEdited(by=by, key=request.key, ref=ref, text=text, posted=posted))
    rewrite = Rewrite(ref, ref, "edit")
    return await log.write(slug, (Draft(request.key, body),), request=request, rewrite=rewrite)


async def react(log: RedisRoomLog, slug: str, by: str, ref: str) -> Written:
    request = Request(by, key(), "chat.react")
    body = events.encode(ChatReacted(by=by, key=request.key, ref=ref, emoji="👍", on=True))
    rewrite = Rewrite(ref, ref, "react")
    return await log.write(slug, (Draft(request.key, body),), request=request, rewrite=rewrite)


def schedule_of(directory: Directory) -> Schedule:
    return Schedule(
        directory.database,
        rules=Rules(),
        host="example.org",
        open_max=10,
        now_ms=lambda: time.time_ns() // 1_000_000,
        new_id=key,
        new_secret=lambda: uuid.uuid4().hex,
    )


# Erasure


@pytest.fixture
def mine(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


async def test_an_erasure_that_was_interrupted_is_finished_by_the_next(mine: Settings) -> None:
    async with open_directory(mine) as directory, open_store(mine) as store:
        log = RedisRoomLog(store)
        pair = await directory.add_pair(MARA, MIO)
        token = await directory.credentials.new_token(pair.mentor.id, HOUR_S)
        said = [(await say(log, pair.slug, pair.mentor.id, f"{number}")).ids[0] for number in range(200)]
        answer = (await say(log, pair.slug, pair.mentee.id, "kept")).ids[0]
        await react(log, pair.slug, pair.mentor.id, answer)
        for person in (pair.mentor.id, pair.mentee.id):
            await log.mark_read(pair.slug, person, answer, b"push")

        heard: list[bytes] = []

        def hear(_: str, message: bytes) -> None:
            heard.append(message)
            if len(heard) == 20:
                first.cancel()

        channels = Channels(store, hear, lambda _: None)
        await channels.subscribe(channel(pair.slug))
        first = asyncio.create_task(records.erase(mine, pair.mentor.id))
        await asyncio.wait([first])
        await channels.stop()
        assert first.cancelled(), "it stopped in the middle of the deletions"
        assert (await directory.person_by_email(MARA.email)).id == pair.mentor.id, "to be found again"
        before = await log.page(pair.slug, before=None, after="0-0", limit=1000, max_bytes=BIG)
        left = sum(isinstance(events.decode(entry.body), ChatPosted) for entry in before.entries) - 1
        assert 0 < left < 200

        erased = await records.erase(mine, pair.mentor.id)
        assert (erased.messages, erased.reactions, erased.rooms_closed) == (left, 1, 1)
        after = await log.page(pair.slug, before=None, after="0-0", limit=1000, max_bytes=BIG)
        kinds = [events.decode(entry.body) for entry in after.entries]
        assert sorted(event.ref for event in kinds if isinstance(event, ChatDeleted)) == sorted(said)
        assert [event.text for event in kinds if isinstance(event, ChatPosted)] == ["kept"]
        assert not any(isinstance(event, ChatReacted) for event in kinds)
        assert (await log.resume(pair.slug, None, 1, BIG)).read == {pair.mentee.id: answer}
        assert await directory.credentials.token(token) is None, "not even its hash is kept"
        actions = [change.action for change in await directory.audit.changes_after(0)]
        assert actions[-3:] == ["person.revoked", "pair.removed", "person.erased"]


async def test_what_the_other_side_plans_during_an_erasure_is_gone_with_it(mine: Settings) -> None:
    async with open_directory(mine) as directory, open_store(mine) as store:
        log = RedisRoomLog(store)
        pair = await directory.add_pair(MARA, MIO)
        for number in range(40):
            await say(log, pair.slug, pair.mentor.id, f"{number}")
        plan = schedule_of(directory)
        planned: list[asyncio.Task[None]] = []

        async def plan_one() -> None:
            day = (datetime.now(UTC) + timedelta(days=1)).date()
            asked = SessionBook(pair.slug, key(), f"{day}T10:00", "UTC", 60, "about Mara")
            session, _ = await plan.book(pair.mentee.id, asked)
            happened = SessionRequested(by=pair.mentee.id, key=key(), session=session)
            request = Request("system", happened.key, "session")
            await log.write(pair.slug, (Draft(happened.key, events.encode(happened)),), request=request)

        def hear(_: str, message: bytes) -> None:
            if not planned and b"chat.deleted" in message:
                planned.append(asyncio.create_task(plan_one()))

        channels = Channels(store, hear, lambda _: None)
        await channels.subscribe(channel(pair.slug))
        await records.erase(mine, pair.mentor.id)
        await channels.stop()
        await planned[0]
        (session,) = await directory.sessions_of(pair.slug)
        assert (session.state, session.agenda) == ("cancelled", "")
        assert await plan.pending(10) == [], "nothing follows"
        after = await log.page(pair.slug, before=None, after="0-0", limit=1000, max_bytes=BIG)
        assert {type(events.decode(entry.body)) for entry in after.entries} == {ChatDeleted}


async def test_two_erasures_at_once_are_one(mine: Settings) -> None:
    async with open_directory(mine) as directory, open_store(mine) as store:
        log = RedisRoomLog(store)
        pair = await directory.add_pair(MARA, MIO)
        said = (await say(log, pair.slug, pair.mentor.id, "text")).ids[0]
        answers = [(await say(log, pair.slug, pair.mentee.id, f"{n}")).ids[0] for n in range(10)]
        for answer in answers:
            await react(log, pair.slug, pair.mentor.id, answer)
        heard: list[bytes] = []
        channels = Channels(store, lambda _, message: heard.append(message), lambda _: None)
        await channels.subscribe(channel(pair.slug))
        await asyncio.gather(*(records.erase(mine, pair.mentor.id) for _ in range(3)))
        page = await log.page(pair.slug, before=None, after="0-0", limit=1000, max_bytes=BIG)
        kinds = [events.decode(entry.body) for entry in page.entries]
        assert [event.ref for event in kinds if isinstance(event, ChatDeleted)] == [said]
        assert not any(isinstance(event, ChatReacted) for event in kinds)
        await until(lambda: len(heard) == 1 + len(answers), "each is told that it was taken back, once")
        undone = [events.decode(message.split(b" ", 4)[4]) for message in heard]
        assert [event.ref for event in undone if isinstance(event, ChatReacted) and not event.on] == answers
        await channels.stop()


# Backups of external stores


class House:
    """An installation on an external Redis and PostgreSQL, and what happened in it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pair: PairAdded
        self.said: list[str] = []
        self.edited = ""
        self.request: Request
        self.session: Session

    async def live(self) -> None:
        async with open_directory(self.settings) as directory, open_store(self.settings) as store:
            log = RedisRoomLog(store)
            self.pair = pair = await directory.add_pair(MARA, MIO)
            self.said = [(await say(log, pair.slug, pair.mentor.id, f"{n}")).ids[0] for n in range(6)]
            self.edited = (await edit(log, pair.slug, pair.mentor.id, self.said[4], "edited")).ids[0]
            await directory.programme.set_retention(Retention(days=None, count=3))
            while (await log.trim(pair.slug, Retention(days=None, count=3))).more:
                pass
            self.session = await self.book(directory, "15:00")
            self.request = Request(pair.mentor.id, key(), "chat.send")
            last = events.encode(ChatPosted(by=pair.mentor.id, key=self.request.key, text="last"))
            self.said += (
                await log.write(pair.slug, (Draft(self.request.key, last),), request=self.request)
            ).ids

    async def book(self, directory: Directory, clock: str) -> Session:
        """A session tomorrow, whose event waits for the room's log."""
        day = (datetime.now(UTC) + timedelta(days=1)).date()
        command = SessionBook(self.pair.slug, key(), f"{day}T{clock}", "UTC", 60, "bridges")
        return (await schedule_of(directory).book(self.pair.mentor.id, command))[0]


@pytest.fixture(scope="module", params=["valkey", "redis"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with running(request.param) as url:
        yield url


@pytest.fixture
async def house(request: pytest.FixtureRequest, store_url: str, tmp_path: Path) -> AsyncIterator[House]:
    database = request.getfixturevalue("postgres").fresh()
    made = House(Settings(data=tmp_path / "data", redis=f"{store_url}?db=0", database=database))
    await made.live()
    yield made
    async with open_store(made.settings) as store:
        await store.redis.flushall()


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, house: House, store_url: str) -> Settings:
    """Empty stores of the same kinds."""
    database = request.getfixturevalue("postgres").fresh()
    return Settings(data=house.settings.data, redis=f"{store_url}?db=1", database=database)


async def test_a_backup_of_external_stores_brings_everything_back(
    house: House, elsewhere: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    assert await backup(house.settings, file) == 1
    assert await restore(elsewhere, file) == 1
    slug = house.pair.slug
    async with open_directory(elsewhere) as directory, open_store(elsewhere) as store:
        log = RedisRoomLog(store)
        assert await directory.programme.retention() == Retention(days=None, count=3)
        assert await directory.room(slug) is not None
        resumed = await log.resume(slug, None, 10, BIG)
        assert resumed.floor == house.said[2]
        assert [entry.id for entry in resumed.entries] == [
            house.said[3],
            house.said[5],
            house.edited,
            house.said[6],
        ]
        for cursor, reset in (
            (house.said[1], "trimmed"),
            (house.said[2], None),  # the floor
            (house.said[4], None),  # removed by the edit: `gone` came back
            (house.said[6], None),
        ):
            assert (await log.resume(slug, Seen(resumed.epoch, cursor, None), 10, BIG)).reset == reset
        body = events.encode(ChatPosted(by=house.pair.mentor.id, key=house.request.key, text="last"))
        again = await log.write(slug, (Draft(house.request.key, body),), request=house.request)
        assert again == Written((house.said[6],), dup=True), "L3: the key is still known"
        found = await log.newest(slug, house.said[4], Request("x", key(), "chat.edit"))
        assert found.entry is not None
        assert found.entry.id == house.edited
        before = await directory.audit.latest_change_id()
        other = await directory.add_pair(MARA, Named("Other", "other@example.org"))
        assert other.created
        assert await directory.audit.latest_change_id() > before, "numbers go on where they were"
        assert await directory.sessions_of(slug) == [house.session]
        with pytest.raises(Conflict):
            await house.book(directory, "15:30")
        await house.book(directory, "16:00")  # with an event and notices under new numbers


async def test_L5_after_an_older_backup_a_newer_cursor_has_diverged(
    house: House, elsewhere: Settings, tmp_path: Path
) -> None:
    await backup(house.settings, tmp_path / "backup")
    slug = house.pair.slug
    async with open_store(house.settings) as store:
        log = RedisRoomLog(store)
        epoch = (await log.heads([slug]))[0].epoch
        late = (await say(log, slug, house.pair.mentor.id, "after the backup")).ids[0]
    await restore(elsewhere, tmp_path / "backup")
    async with open_store(elsewhere) as store:
        log = RedisRoomLog(store)
        assert (await log.resume(slug, Seen(epoch, late, None), 10, BIG)).reset == "diverged"
        await say(log, slug, house.pair.mentee.id, "life goes on")
        assert (await log.resume(slug, Seen(epoch, late, None), 10, BIG)).reset == "diverged"


async def test_a_restore_into_a_store_that_has_a_room_is_refused(
    house: House, elsewhere: Settings, tmp_path: Path
) -> None:
    await backup(house.settings, tmp_path / "backup")
    halfway = Settings(data=house.settings.data, redis=house.settings.redis, database=elsewhere.database)
    async with open_store(halfway) as store:
        before = {name: await store.redis.dump(name) for name in await store.redis.keys("*")}
        with pytest.raises(BackupError, match="holds a room of this backup already"):
            await restore(halfway, tmp_path / "backup")
        assert {name: await store.redis.dump(name) for name in await store.redis.keys("*")} == before
    async with open_directory(halfway) as directory:
        assert await directory.kept_rooms_of(house.pair.mentor.id) == []


async def test_a_restore_into_a_database_with_people_is_refused(house: House, tmp_path: Path) -> None:
    await backup(house.settings, tmp_path / "backup")
    with pytest.raises(BackupError, match="people in the database already"):
        await restore(house.settings, tmp_path / "backup")


async def test_a_restore_that_fails_leaves_the_stores_empty(
    house: House, elsewhere: Settings, tmp_path: Path
) -> None:
    """A room that the store does not take, after one that it took."""
    await backup(house.settings, tmp_path / "backup")
    spoilt = msgpack.packb({"room": "spoilt", "keys": {"log": (b"no dump at all", -1)}})
    (tmp_path / "spoilt").write_bytes((tmp_path / "backup").read_bytes() + spoilt)
    with pytest.raises(BackupError, match="refuses the rooms"):
        await restore(elsewhere, tmp_path / "spoilt")
    async with open_store(elsewhere) as store:
        assert await store.redis.keys("*") == []
    assert await restore(elsewhere, tmp_path / "backup") == 1


async def test_a_backup_that_fails_leaves_what_was_there(house: House, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    await backup(house.settings, file)
    before = file.read_bytes()
    away = Settings(data=house.settings.data, redis="unix:///nowhere.sock", database=house.settings.database)
    with pytest.raises(Unavailable):
        await backup(away, file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("backup")] == ["backup"]
