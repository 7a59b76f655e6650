"""Sessions in SQL: one suite, on SQLite and on a real PostgreSQL (rules S1 to S6)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import create_async_engine

from rooms import commands as c
from rooms import events, zones
from rooms.errors import Conflict, Forbidden, Gone, NotFound, Unavailable
from rooms.ports import Draft, Request, RoomLog
from rooms.schedule import BUCKET_MS, Rules
from rooms.session import MINUTE_MS, Session
from signaling import timekeeper
from signaling.outbox import VERB, Outbox
from signaling.stores import tables
from signaling.stores.directory import Directory, Named, PairAdded
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.schedule import Present, Schedule
from signaling.stores.store import Store
from signaling.stores.turns import Turns
from signaling.timekeeper import Timekeeper
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.postgres import Postgres
from tests.support.postgres import postgres as postgres  # noqa: PLC0414 - a fixture
from tests.support.redis_servers import running

pytestmark = [pytest.mark.integration, pytest.mark.contract]

MARA = Named("Mara Mentor", "mara@example.org")
MIO = Named("Mio Mentee", "mio@example.org")
MAX = Named("Max Mentee", "max@example.org")
NOW = 1_801_656_000_000
"""2027-02-03 12:00 UTC."""
HOUR_MS = 60 * MINUTE_MS
ONE, THREE, FOUR, FIVE = (f"2027-02-03T{hour}:00" for hour in (13, 15, 16, 17))


class Node:
    """A directory and the schedule beside it, as a server has them. Its time is that of the test."""

    def __init__(self, directory: Directory, clock: Clock, rules: Rules) -> None:
        self.directory = directory
        self.clock = clock
        self.schedule = Schedule(
            directory.database,
            rules=rules,
            host="mentoring.example.org",
            open_max=5,
            now_ms=clock,
            new_id=lambda: str(uuid.uuid4()),
            new_secret=lambda: uuid.uuid4().hex,
        )


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


OpenNode = Callable[..., Awaitable[Node]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('sessions')}/telementor.db"
    return str(request.getfixturevalue("postgres").fresh())


@pytest.fixture
async def open_node(url: str, clock: Clock) -> AsyncIterator[OpenNode]:
    """The database is made once, and left empty for the next test."""
    opened: list[Directory] = []

    async def another(rules: Rules | None = None) -> Node:
        opened.append(await Directory.open(url, clock))
        return Node(opened[-1], clock, rules or Rules())

    yield another
    async with opened[0].database.writing() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            if table is not tables.programme:
                await connection.execute(sa.delete(table))
    for directory in opened:
        await directory.close()


@pytest.fixture
async def node(open_node: OpenNode) -> Node:
    return await open_node()


@pytest.fixture
async def pair(node: Node) -> PairAdded:
    return await node.directory.add_pair(MARA, MIO)


async def book(
    node: Node, pair: PairAdded, wall: str = THREE, *, by: str | None = None, **fields: Any
) -> Session:
    asked = {"key": str(uuid.uuid4()), "tz": "UTC", "minutes": 60, "agenda": "bridges", **fields}
    command = c.SessionBook(room=pair.slug, wall=wall, **asked)
    return (await node.schedule.book(by or pair.mentee.id, command))[0]


async def agree(node: Node, pair: PairAdded, wall: str = THREE) -> Session:
    booked = await book(node, pair, wall)
    return await ask(node, pair.mentor.id, c.SessionAnswer, booked, accept=0)


async def ask(node: Node, person: str, kind: Any, session: Session, **fields: Any) -> Session:
    fields = {"rev": session.rev, **fields}
    return (await node.schedule.change(person, kind(room=session.room, session=session.id, **fields))).session


async def move(node: Node, person: str, session: Session, wall: str, **fields: Any) -> Session:
    return await ask(node, person, c.SessionMove, session, wall=wall, tz="UTC", **fields)


async def rows(node: Node, table: sa.Table, *columns: str) -> list[Any]:
    chosen = [table.c[name] for name in columns] or [table]
    async with node.directory.database.reading() as connection:
        return [tuple(row) for row in await connection.execute(sa.select(*chosen))]


async def everything(node: Node) -> str:
    return repr([await rows(node, table) for table in tables.metadata.sorted_tables])


async def said(node: Node) -> list[Any]:
    """The events that wait for their rooms, in order."""
    return [events.decode(one.body) for one in await node.schedule.pending(1000)]


def kinds(happened: list[Any]) -> list[str]:
    return [one.__struct_config__.tag for one in happened]


def buckets(session: Session) -> set[int]:
    return set(range(session.start // BUCKET_MS, -(-session.end // BUCKET_MS)))


# ----------------------------------------------------------------------------------------- booking (L3, S3)


async def test_what_was_booked_is_read_as_it_was_answered(node: Node, pair: PairAdded) -> None:
    booked = await book(node, pair)
    assert booked.uid == f"{booked.id}@mentoring.example.org"
    assert (booked.state, booked.by, booked.agenda, booked.seq, booked.rev) == (
        "requested", pair.mentee.id, "bridges", 0, 1,
    )  # fmt: skip
    assert await node.schedule.session(pair.mentor.id, booked.id) == booked
    assert await node.schedule.of_room(pair.mentee.id, pair.slug) == [booked]


async def test_L3_the_same_key_is_the_same_session_whatever_else_is_asked(
    open_node: OpenNode, node: Node, pair: PairAdded, clock: Clock
) -> None:
    key, other = str(uuid.uuid4()), await open_node()
    nodes = [node, other] * 5
    booked = await asyncio.gather(*(book(one, pair, key=key) for one in nodes))
    assert len({one.id for one in booked}) == 1
    clock.now += (
        30 * 24 * HOUR_MS
    )  # its time has passed; the answer was lost, though, and the first is asked for
    assert await book(node, pair, key=key.upper(), minutes=5) == booked[0]
    assert len(await rows(node, tables.session)) == 1
    assert kinds(await said(node)) == ["session.requested"]


async def test_L3_a_key_belongs_to_its_person_and_room(node: Node, pair: PairAdded) -> None:
    other, key = await node.directory.add_pair(MARA, MAX), str(uuid.uuid4())
    await book(node, pair, key=key, by=pair.mentor.id)
    with pytest.raises(Conflict) as refused:
        await book(node, other, FIVE, key=key, by=pair.mentor.id)
    assert refused.value.field == "key"
    assert (await book(node, pair, FIVE, key=key)).by == pair.mentee.id


async def test_S3_who_is_in_another_session_then_is_said_and_nothing_changes(
    node: Node, pair: PairAdded
) -> None:
    other = await node.directory.add_pair(MARA, MAX)
    await book(node, pair)
    free = await book(node, other, FIVE)
    before = await everything(node)
    for wall, minutes in ((THREE, 60), ("2027-02-03T14:59", 5), ("2027-02-03T15:59", 5)):
        with pytest.raises(Conflict, match="Mara Mentor has another session at that time") as refused:
            await book(node, other, wall, minutes=minutes)
        assert refused.value.field == "wall"
    with pytest.raises(Conflict, match="You have another session at that time"):
        await move(node, pair.mentor.id, free, THREE)
    assert await everything(node) == before
    await book(node, other, FOUR)  # one begins when the other ends


async def test_S3_a_move_swaps_the_claims_and_the_end_gives_them_back(node: Node, pair: PairAdded) -> None:
    booked = await book(node, pair)
    both = (pair.mentor.id, pair.mentee.id)
    held = {(person, bucket, booked.id) for person in both for bucket in buckets(booked)}
    assert set(await rows(node, tables.claim)) == held
    moved = await move(node, pair.mentor.id, booked, "2027-02-03T15:30", minutes=90)  # partly its own time
    held = {(person, bucket, moved.id) for person in both for bucket in buckets(moved)}
    assert set(await rows(node, tables.claim)) == held
    await ask(node, pair.mentee.id, c.SessionCancel, moved)
    assert await rows(node, tables.claim) == []
    await book(node, pair)


async def test_S3_the_pause_after_a_session_is_kept_free(open_node: OpenNode, pair: PairAdded) -> None:
    node = await open_node(Rules(buffer_ms=10 * MINUTE_MS))
    await book(node, pair)
    with pytest.raises(Conflict):
        await book(node, pair, FOUR)
    await book(node, pair, "2027-02-03T16:10")


async def test_S3_an_extension_into_another_session_is_refused(node: Node, pair: PairAdded) -> None:
    agreed = await agree(node, pair)
    await book(node, pair, FOUR)
    with pytest.raises(Conflict) as refused:
        await ask(node, pair.mentor.id, c.SessionExtend, agreed, minutes=5)
    assert refused.value.field == "minutes"


async def test_S3_the_database_has_the_last_word(postgres: Postgres, clock: Clock) -> None:
    """A writer that takes no turn: what it has claimed and not committed nobody sees, and it is in the way all the same."""
    url = postgres.fresh()
    directory = await Directory.open(url, clock)
    node = Node(directory, clock, Rules())
    pair = await directory.add_pair(MARA, MIO)
    earlier = await book(node, pair, ONE)
    engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as stranger:
        bucket = zones.moment(THREE, "UTC").start // BUCKET_MS
        claimed = sa.insert(tables.claim).values(
            person_id=pair.mentor.id, bucket=bucket, session_id=earlier.id
        )
        await stranger.execute(claimed)
        booking = asyncio.create_task(book(node, pair))
        waits = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'")
        async with engine.connect() as watching:
            while not await watching.scalar(waits):
                await watching.rollback()
        await stranger.commit()
        with pytest.raises(Conflict):
            await booking
    assert [one.id for one in await node.schedule.of_room(pair.mentor.id, pair.slug)] == [earlier.id]
    await engine.dispose()
    await directory.close()


async def test_a_room_has_so_many_sessions_ahead(node: Node, pair: PairAdded, clock: Clock) -> None:
    walls = [f"2027-03-0{day}T10:00" for day in range(1, 6)]
    first, *_ = [await book(node, pair, wall) for wall in walls]
    with pytest.raises(Conflict) as refused:
        await book(node, pair)
    assert refused.value.field == "room"
    await ask(node, pair.mentee.id, c.SessionCancel, first)
    await book(node, pair)


async def test_strangers_see_and_change_nothing(node: Node, pair: PairAdded) -> None:
    booked = await book(node, pair)
    stranger = (await node.directory.add_pair(MAX, Named("Ida", "ida@example.org"))).mentor.id
    before = await everything(node)
    for attempt in (
        node.schedule.session(stranger, booked.id),
        node.schedule.of_room(stranger, pair.slug),
        ask(node, stranger, c.SessionCancel, booked),
        book(node, pair, FIVE, by=stranger),
        node.schedule.session(pair.mentor.id, "nothing"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await everything(node) == before


# -------------------------------------------------------------------------------------- changing (S1, S2, S4, S8)


async def test_S1_S2_S8_a_move_is_one_event_and_the_same_session(node: Node, pair: PairAdded) -> None:
    agreed = await agree(node, pair)
    moved = await move(node, pair.mentor.id, agreed, FOUR)
    assert (moved.id, moved.uid, moved.room) == (agreed.id, agreed.uid, agreed.room)
    assert (moved.seq, moved.rev) == (agreed.seq + 1, agreed.rev + 1)
    assert await node.schedule.session(pair.mentee.id, agreed.id) == moved
    *_, last = await said(node)
    assert isinstance(last, events.SessionRescheduled)
    assert (last.old, last.new, last.session, last.next) == (agreed.times, moved.times, moved, moved)
    assert kinds(await said(node)) == [
        "session.requested", "session.confirmed", "session.rescheduled",
    ]  # fmt: skip


async def test_S4_a_stale_rev_shows_the_session_as_it_is(node: Node, pair: PairAdded) -> None:
    booked = await book(node, pair)
    moved = await move(node, pair.mentor.id, booked, FOUR)
    before = await everything(node)
    with pytest.raises(Conflict) as refused:
        await move(node, pair.mentee.id, booked, FIVE)
    assert (refused.value.field, refused.value.current) == ("rev", moved)
    assert await everything(node) == before


async def test_S4_of_two_who_move_it_at_once_on_two_nodes_one_wins(
    open_node: OpenNode, node: Node, pair: PairAdded
) -> None:
    booked, other = await book(node, pair), await open_node()
    done = await asyncio.gather(
        move(node, pair.mentor.id, booked, FOUR),
        move(other, pair.mentee.id, booked, FIVE),
        return_exceptions=True,
    )
    (won,) = [one for one in done if isinstance(one, Session)]
    (lost,) = [one for one in done if isinstance(one, Conflict)]
    assert lost.current == won == await node.schedule.session(pair.mentor.id, booked.id)


async def test_proposals_are_kept_beside_the_time_that_stands(node: Node, pair: PairAdded) -> None:
    agreed = await agree(node, pair)
    times = [c.ProposedTime(FOUR, "UTC"), c.ProposedTime(FIVE, "Europe/London")]
    proposed = await ask(node, pair.mentor.id, c.SessionPropose, agreed, times=times, reason="train")
    assert await node.schedule.session(pair.mentee.id, agreed.id) == proposed
    assert (proposed.wall, proposed.proposals[0].reason) == (THREE, "train")
    accepted = await ask(
        node, pair.mentee.id, c.SessionAnswer, proposed, proposal=proposed.proposals[0].id, accept=1
    )
    assert (accepted.wall, accepted.tz, accepted.proposals) == (FIVE, "Europe/London", ())
    assert ("proposed", proposed.proposals[0].id) in await rows(node, tables.notice, "kind", "about")


async def test_a_pair_that_approves_moves_by_proposals(node: Node, pair: PairAdded) -> None:
    agreed = await agree(node, pair)
    await node.directory.set_moves(pair.slug, "approve")
    with pytest.raises(Forbidden):
        await move(node, pair.mentor.id, agreed, FOUR)
    await node.directory.set_moves(pair.slug, "free")
    await move(node, pair.mentor.id, agreed, FOUR)


async def test_what_time_has_brought_is_kept_when_the_request_is_refused(
    node: Node, pair: PairAdded, clock: Clock
) -> None:
    booked = await book(node, pair)
    clock.now = booked.start + 10 * MINUTE_MS
    with pytest.raises(Conflict) as refused:
        await move(node, pair.mentor.id, booked, FIVE)
    now = await node.schedule.session(pair.mentor.id, booked.id)
    assert (now.state, refused.value.current) == ("expired", now)
    with pytest.raises(Gone):
        await move(node, pair.mentor.id, now, FIVE)


# ----------------------------------------------------------------------------------------------- together (S5)


async def test_S5_state_event_and_notices_are_committed_together(node: Node, pair: PairAdded) -> None:
    booked = await book(node, pair)
    (event,) = await said(node)
    assert (event.session, event.next, event.by) == (booked, booked, pair.mentee.id)
    assert uuid.UUID(event.key)
    columns = ("subject", "seq", "recipient_id", "channel", "kind", "about", "state", "attempts", "due_ms")
    assert sorted(await rows(node, tables.notice, *columns)) == sorted(
        (booked.id, 0, person, "mail", "request", "", "pending", 0, NOW)
        for person in (pair.mentor.id, pair.mentee.id)
    )


@pytest.mark.parametrize("table", ["room_outbox", "notice", "claim"])
async def test_S5_a_failure_leaves_nothing(node: Node, pair: PairAdded, table: str) -> None:
    agreed = await agree(node, pair)
    async with nothing_is_added_to(node, table):
        before = await everything(node)
        for attempt in (move(node, pair.mentor.id, agreed, FOUR), book(node, pair, FIVE)):
            with pytest.raises((sa.exc.DBAPIError, Conflict)):
                await attempt
            assert await everything(node) == before


@asynccontextmanager
async def nothing_is_added_to(node: Node, table: str) -> AsyncIterator[None]:
    """The database itself refuses."""
    sqlite = [f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"]
    postgresql = [
        "CREATE FUNCTION no() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no'; END $$ LANGUAGE plpgsql",
        f"CREATE TRIGGER no BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION no()",
    ]
    async with node.directory.database.writing() as connection:
        on_sqlite = connection.dialect.name == "sqlite"
        for statement in sqlite if on_sqlite else postgresql:
            await connection.execute(sa.text(statement))
    yield
    async with node.directory.database.writing() as connection:
        await connection.execute(sa.text("DROP TRIGGER no" if on_sqlite else "DROP FUNCTION no CASCADE"))


async def test_next_is_what_is_under_way_else_the_first_ahead(
    node: Node, pair: PairAdded, clock: Clock
) -> None:
    later = await agree(node, pair, FIVE)
    sooner = await agree(node, pair)
    assert (await said(node))[-1].next == sooner
    moved = await move(node, pair.mentor.id, sooner, "2027-02-04T09:00")
    assert (await said(node))[-1].next == later
    other = await node.directory.add_pair(MAX, MIO)
    assert await node.schedule.next_of([pair.slug, other.slug]) == {pair.slug: later}
    clock.now = moved.start - 15 * MINUTE_MS
    both = frozenset(moved.answers)
    await node.schedule.observe(pair.slug, Present(both, both))
    late = await book(node, pair, "2027-02-04T08:50", minutes=5)
    assert late.start < moved.start
    assert (await node.schedule.next_of([pair.slug]))[pair.slug].id == moved.id


async def test_a_rooms_list_has_what_lies_ahead_and_then_the_newest_past(node: Node, pair: PairAdded) -> None:
    first, second = await book(node, pair, ONE), await book(node, pair, THREE)
    third, fourth = await book(node, pair, FOUR), await book(node, pair, FIVE)
    for one in (first, third):
        await ask(node, pair.mentee.id, c.SessionCancel, one)
    listed = await node.schedule.of_room(pair.mentor.id, pair.slug)
    assert [one.id for one in listed] == [second.id, fourth.id, third.id, first.id]


# ----------------------------------------------------------------------------------------------- what time brings


async def test_both_in_the_call_are_live_and_what_they_spent_is_kept(
    node: Node, pair: PairAdded, clock: Clock
) -> None:
    agreed = await agree(node, pair)
    mentor, mentee = pair.mentor.id, pair.mentee.id
    clock.now = agreed.start - 16 * MINUTE_MS
    assert await node.schedule.rooms_due(after="") == []
    clock.now += MINUTE_MS
    assert await node.schedule.rooms_due(after="") == [pair.slug]
    both = Present(frozenset({mentor, mentee}), frozenset({mentor, mentee}))
    (change,) = await node.schedule.observe(pair.slug, both)
    assert change.session.state == "live"
    assert await node.schedule.observe(pair.slug, both) == []
    clock.now += 20 * MINUTE_MS
    await node.schedule.observe(pair.slug, Present(both.in_room, frozenset({mentor})))
    clock.now = agreed.end
    (ended,) = await node.schedule.observe(pair.slug, Present(both.in_room, frozenset({mentor})))
    (event,) = ended.events
    assert isinstance(event, events.SessionEnded)
    assert event.attended == {mentor: 75 * 60, mentee: 20 * 60}
    assert await rows(node, tables.claim) == []
    assert await node.schedule.rooms_due(after="") == []


async def test_one_is_over_when_the_next_begins(node: Node, pair: PairAdded, clock: Clock) -> None:
    first, second = await agree(node, pair), await agree(node, pair, FOUR)
    both = frozenset(first.answers)
    clock.now = first.start
    await node.schedule.observe(pair.slug, Present(both, both))
    clock.now = second.start - 10 * MINUTE_MS
    assert await node.schedule.observe(pair.slug, Present(both, both)) == []
    clock.now = second.start
    await node.schedule.observe(pair.slug, Present(both, both))
    states = {one.id: one.state for one in await node.schedule.of_room(pair.mentor.id, pair.slug)}
    assert states == {first.id: "ended", second.id: "live"}


async def test_nobody_waits_for_the_writers_turn_when_nothing_changes(
    open_node: OpenNode, node: Node, pair: PairAdded, clock: Clock
) -> None:
    agreed, other = await agree(node, pair), await open_node()
    clock.now = agreed.start
    there = Present(frozenset({pair.mentor.id}), frozenset())
    assert await node.schedule.observe(pair.slug, there)
    async with other.directory.database.writing():
        assert await node.schedule.observe(pair.slug, there) == []


async def test_S6_times_are_derived_again_one_after_the_other(node: Node, pair: PairAdded) -> None:
    """As if the zone's data had been another when they were booked: all three move by an hour, into each other's places."""
    walls = [f"2027-02-05T{hour}:00" for hour in (10, 11, 12)]
    booked = [await book(node, pair, wall) for wall in walls]
    await shift(node, booked, -HOUR_MS)
    made = await node.schedule.rederive()
    assert {one.session.wall for one in made} == set(walls)
    for one in booked:
        now = await node.schedule.session(pair.mentor.id, one.id)
        assert (now.start, now.wall, now.seq) == (one.start, one.wall, one.seq + 1)
    held = {(person, bucket, one.id) for one in booked for person in one.answers for bucket in buckets(one)}
    assert set(await rows(node, tables.claim)) == held
    assert await node.schedule.rederive() == []


async def test_S6_a_moment_stays_where_the_new_one_is_taken(node: Node, pair: PairAdded) -> None:
    booked = await book(node, pair, "2027-02-05T10:00")
    await shift(node, [booked], HOUR_MS)
    other = await node.directory.add_pair(MARA, MAX)
    await book(node, other, "2027-02-05T10:00")
    await node.schedule.rederive()
    now = await node.schedule.session(pair.mentor.id, booked.id)
    assert (now.wall, now.start, now.seq) == ("2027-02-05T11:00", booked.start + HOUR_MS, booked.seq)


async def shift(node: Node, sessions: list[Session], by_ms: int) -> None:
    """Has these be at other moments than their wall times mean."""
    step, ids = by_ms // BUCKET_MS, [one.id for one in sessions]
    async with node.directory.database.writing() as connection:
        held = (await connection.execute(sa.select(tables.claim))).all()
        await connection.execute(sa.delete(tables.claim).where(tables.claim.c.session_id.in_(ids)))
        moved = [{**row._asdict(), "bucket": row.bucket + step} for row in held if row.session_id in ids]
        await connection.execute(sa.insert(tables.claim), moved)
        table = tables.session
        values = {"start_ms": table.c.start_ms + by_ms, "end_ms": table.c.end_ms + by_ms}
        await connection.execute(sa.update(table).where(table.c.id.in_(ids)).values(values))


async def test_a_knock_at_somebody_who_is_away_is_one_mail_while_a_session_is_near(
    node: Node, pair: PairAdded, clock: Clock
) -> None:
    agreed = await agree(node, pair)
    for at, knocks in (
        (agreed.start - 31 * MINUTE_MS, 0), (agreed.start - 30 * MINUTE_MS, 1), (agreed.end - 1, 1), (agreed.end, 1),
    ):  # fmt: skip
        clock.now = at
        await node.schedule.knocked(pair.slug, {pair.mentee.id})
        told = await rows(node, tables.notice, "kind", "recipient_id")
        assert told.count(("knock", pair.mentee.id)) == knocks
    assert ("knock", pair.mentor.id) not in told


# ------------------------------------------------------------------------------------- pairs and people that go


async def test_the_sessions_of_a_removed_pair_are_cancelled(node: Node, pair: PairAdded) -> None:
    agreed, booked = await agree(node, pair), await book(node, pair, FIVE)
    await node.directory.remove_pair(pair.slug)
    assert await rows(node, tables.claim) == []
    assert {event.session.id: event.session.state for event in (await said(node))[-2:]} == {
        agreed.id: "cancelled", booked.id: "cancelled",
    }  # fmt: skip
    told = await rows(node, tables.notice, "subject", "kind", "recipient_id")
    for one in (agreed, booked):
        for person in one.answers:
            assert (one.id, "cancel", person) in told
    with pytest.raises(NotFound):
        await node.schedule.session(pair.mentor.id, booked.id)
    other = await node.directory.add_pair(MARA, MAX)
    await book(node, other)


async def test_what_was_written_into_the_sessions_of_an_erased_person_is_gone(
    node: Node, pair: PairAdded
) -> None:
    agreed = await agree(node, pair)
    times = [c.ProposedTime(FOUR, "UTC")]
    await ask(node, pair.mentor.id, c.SessionPropose, agreed, times=times, reason="a wedding")
    other = await node.directory.add_pair(MARA, MAX)
    await book(node, other, FIVE, agenda="tunnels")
    assert await node.directory.forget_sessions(pair.mentee.id) == 1
    await node.directory.erase(pair.mentee.id)
    left = await everything(node)
    assert "bridges" not in left
    assert "wedding" not in left
    assert "tunnels" in left
    assert kinds(await said(node)) == ["session.requested"], "of the other room: nobody hears a closed one"


# ------------------------------------------------------------------------------------- into the room's log


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with running("valkey") as url:
        yield url


@pytest.fixture
async def room_log(valkey: str) -> AsyncIterator[RoomLog]:
    store = connect(valkey, 5)
    yield RedisRoomLog(store)
    await store.aclose()


async def in_log(room_log: RoomLog, slug: str) -> list[Any]:
    page = await room_log.page(slug, before=None, after="0-0", limit=200, max_bytes=10_000_000)
    return [events.decode(entry.body) for entry in page.entries]


async def test_S5_every_event_is_in_the_log_once_and_in_order_whoever_brings_it(
    open_node: OpenNode, node: Node, pair: PairAdded, room_log: RoomLog
) -> None:
    one = await agree(node, pair)
    for wall in (FOUR, FIVE, ONE, THREE):
        one = await move(node, pair.mentor.id, one, wall)
    made = await said(node)
    # Somebody died after the first was in the log, before its row was gone.
    first = (await node.schedule.pending(1))[0]
    request = Request("system", first.key, VERB)
    await room_log.write(pair.slug, (Draft(first.key, first.body),), request=request)
    others = [node, await open_node(), await open_node()]
    outboxes = [Outbox(other.schedule, room_log, lambda _: None) for other in others]
    await asyncio.gather(*(outbox.empty() for outbox in outboxes))
    assert await in_log(room_log, pair.slug) == made
    assert (await node.schedule.backlog()).pending == 0


async def test_S5_an_event_is_there_once_also_when_the_log_has_forgotten_its_key(
    node: Node, pair: PairAdded, room_log: RoomLog, valkey: str, clock: Clock
) -> None:
    """It was written, nobody could mark it as such, and the store was away for longer than it knows a key (L3)."""
    clock.now = round(time.time() * 1000)
    session = await agree(node, pair)
    first, second = await node.schedule.pending(2)
    request = Request("system", first.key, VERB)
    await room_log.write(pair.slug, (Draft(first.key, first.body),), request=request)
    store = connect(valkey, 5)
    for key in await store.redis.keys(f"{{{pair.slug}}}:keys:*"):
        await store.redis.delete(key)
    await store.aclose()
    clock.now += 25 * HOUR_MS
    await Outbox(node.schedule, room_log, lambda _: None).empty()
    assert [one.key for one in await in_log(room_log, pair.slug)] == [first.key, second.key]
    assert (await in_log(room_log, pair.slug))[-1].next == session


# ------------------------------------------------------------------------------------------ the timekeeper


def timekeeper_of(node: Node, store: Store) -> Timekeeper:
    return Timekeeper(
        node.schedule,
        RedisRoomLog(store),
        Turns(store, "one"),
        rules=Rules(),
        now_ms=node.clock,
        on_changes=lambda _: None,
    )


@asynccontextmanager
async def keeping_time(node: Node, valkey: str) -> AsyncIterator[Redis]:
    """A timekeeper at work, with a store in which nobody has a turn yet."""
    store = connect(valkey, 5)
    assert isinstance(store.redis, Redis)
    await store.redis.flushall()
    keeper = timekeeper_of(node, store)
    running = asyncio.create_task(keeper.run())
    try:
        yield store.redis
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.aclose()


async def test_a_room_whose_sessions_cannot_be_read_holds_up_no_other(
    node: Node, pair: PairAdded, clock: Clock, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeper, "LOOK_S", 0.01)
    pairs = sorted([pair, await node.directory.add_pair(MAX, MARA)], key=lambda one: one.slug)
    broken, whole = [await book(node, one, wall) for one, wall in zip(pairs, (THREE, FOUR), strict=True)]
    clock.now = whole.end
    async with node.directory.database.writing() as connection:
        unreadable = sa.update(tables.session).where(tables.session.c.id == broken.id)
        await connection.execute(unreadable.values(attendance=["?"]))
    async with keeping_time(node, valkey):

        async def over() -> bool:
            return (await node.schedule.session(whole.by, whole.id)).state == "expired"

        await until(over, "what time brings in the other room")


async def test_S6_a_node_that_fails_to_derive_times_leaves_it_to_another_soon(
    node: Node, pair: PairAdded, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timekeeper, "LOOK_S", 0.01)
    booked = await book(node, pair)
    await shift(node, [booked], HOUR_MS)
    name = f"{{nodes}}:turn:zones {version('tzdata')}"
    async with keeping_time(node, valkey) as store:

        async def done() -> bool:
            return await store.pttl(name) > timekeeper.ZONES_TRY_MS

        async with nothing_is_added_to(node, "room_outbox"):
            await until(lambda: store.exists(name), "somebody's turn")
            assert not await done()
        await store.delete(name)  # the turn's time is over
        await until(done, "the next one's work")
        assert (await node.schedule.session(booked.by, booked.id)).start == booked.start


async def test_S6_older_zone_data_moves_nothing_back(node: Node, pair: PairAdded, valkey: str) -> None:
    booked = await book(node, pair)
    await shift(node, [booked], HOUR_MS)
    store = connect(valkey, 5)
    assert isinstance(store.redis, Redis)
    await store.redis.flushall()
    assert await Turns(store, "another").is_newest("zones", "9999.10")
    assert not await Turns(store, "another").is_newest("zones", "9999.9")
    await timekeeper_of(node, store).rederive()
    assert (await node.schedule.session(booked.by, booked.id)).seq == booked.seq
    await store.redis.flushall()
    await timekeeper_of(node, store).rederive()
    assert (await node.schedule.session(booked.by, booked.id)).seq == booked.seq + 1
    await store.aclose()


# -------------------------------------------------------------------------------------- many at once (S3)


async def test_S3_a_thousand_bookings_at_once_overlap_nowhere_and_none_is_lost(
    open_node: OpenNode, clock: Clock, url: str
) -> None:
    """40 pairs, of which five share each mentor, want 50 slots; two nodes are asked."""
    nodes = [await open_node(), await open_node()]
    for one in nodes:
        one.schedule._open_max = 1000
    mentors = [Named(f"Mentor {number}", f"mentor{number}@example.org") for number in range(8)]
    pairs = [
        await nodes[0].directory.add_pair(mentors[number % 8], Named(f"M {number}", f"m{number}@example.org"))
        for number in range(40)
    ]
    chance = random.Random(5)
    slots = [f"2027-03-{day:02}T{hour:02}:00" for day in range(1, 11) for hour in (9, 10, 13, 15, 17)]
    wanted = [(pair, chance.choice(slots), str(uuid.uuid4())) for pair in pairs for _ in range(25)]
    asked_again = itertools.count()

    async def until_answered(number: int) -> Session | Conflict:
        pair, wall, key = wanted[number]
        while True:
            try:
                return await book(nodes[number % 2], pair, wall, key=key)
            except Conflict as conflict:
                return conflict
            except Unavailable as away:  # too many wait for their turn; as a client does
                next(asked_again)
                await asyncio.sleep((away.retry_ms or 0) / 1000)

    began_s = time.monotonic()
    answers = await asyncio.gather(*(until_answered(number) for number in range(len(wanted))))
    took_s = time.monotonic() - began_s
    made = {one.id: one for one in answers if isinstance(one, Session)}
    conflicts = sum(isinstance(one, Conflict) for one in answers)
    assert len(made) + conflicts == 1000
    stored = await rows(nodes[0], tables.session, "id", "start_ms")
    assert {id_ for id_, _ in stored} == made.keys()
    busy = Counter(
        (person, bucket) for one in made.values() for person in one.answers for bucket in buckets(one)
    )
    assert max(busy.values()) == 1
    assert {(person, bucket) for person, bucket, _ in await rows(nodes[0], tables.claim)} == busy.keys()
    # None was refused in vain: for each conflict somebody has that slot.
    taken = {(person, one.start) for one in made.values() for person in one.answers}
    for (pair, wall, _), answer in zip(wanted, answers, strict=True):
        if isinstance(answer, Conflict):
            start = zones.moment(wall, "UTC").start
            assert {(pair.mentor.id, start), (pair.mentee.id, start)} & taken
    database, _, _ = url.partition(":")
    measured(f"1,000 bookings at once on {database}", took_s, "s")
    measured(f"1,000 bookings at once on {database}: sessions", len(made), "made")
    measured(f"1,000 bookings at once on {database}: asked again", next(asked_again), "times")
