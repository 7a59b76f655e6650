"""The directory of people, pairs and logins: one suite, on SQLite and on a real PostgreSQL."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from rooms.membership import Member, RoomRecord
from rooms.ports import Retention
from signaling.stores import database as databases
from signaling.stores import tables
from signaling.stores.audit import CHANGES_MAX, note
from signaling.stores.credentials import (
    AccessToken,
    LinkExpiredError,
    LinkUnknownError,
    LinkUsedError,
    RefusedToken,
)
from signaling.stores.database import Database, DatabaseError, DatabaseUnavailableError
from signaling.stores.directory import Directory, Named, RoomUnknownError, SamePersonError
from signaling.stores.people import PersonUnknownError
from tests.support.postgres import postgres as postgres  # noqa: PLC0414 - a fixture
from tests.support.postgres import running

pytestmark = [pytest.mark.integration, pytest.mark.contract]

MARA = Named("Mara Mentor", "mara@example.org")
MIO = Named("Mio Mentee", "mio@example.org")
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/telementor.db"
    return request.getfixturevalue("postgres").fresh()


@pytest.fixture
async def node(url: str, clock: Clock) -> AsyncIterator[Callable[[], object]]:
    """Opens the same database as often as it is called, as that many nodes would."""
    opened: list[Directory] = []

    async def another() -> Directory:
        opened.append(await Directory.open(url, clock))
        return opened[-1]

    yield another
    for directory in opened:
        await directory.close()


@pytest.fixture
async def directory(node) -> Directory:
    return await node()


async def everything(directory: Directory) -> str:
    """All that the database holds, as text."""
    async with directory._database.reading() as connection:
        rows = [(await connection.execute(sa.select(table))).all() for table in tables.metadata.sorted_tables]
    return repr(rows)


# ------------------------------------------------------------------------------------- people and rooms


async def test_a_pair_gets_one_room_however_often_it_is_added(directory):
    first = await directory.add_pair(MARA, MIO)
    again = await directory.add_pair(Named("Another Name", "MARA@Example.org"), MIO)
    assert first.created
    assert not again.created
    assert (again.slug, again.mentor, again.mentee) == (first.slug, first.mentor, first.mentee)
    assert uuid.UUID(first.mentor.id).version == 4
    assert first.mentor.email == "mara@example.org"


async def test_two_nodes_that_add_the_same_pair_at_once_agree(node):
    nodes = [await node() for _ in range(3)]
    added = await asyncio.gather(*(one.add_pair(MARA, MIO) for one in nodes * 4))
    assert len({pair.slug for pair in added}) == 1
    assert [pair.created for pair in added].count(True) == 1


async def test_a_slug_is_128_random_bits(directory):
    slug = (await directory.add_pair(MARA, MIO)).slug
    assert len(slug) == 26
    assert slug == slug.lower()
    assert len(base64.b32decode(slug.upper() + "======")) == 16


async def test_the_same_two_the_other_way_round_have_another_room(directory):
    one = await directory.add_pair(MARA, MIO)
    other = await directory.add_pair(MIO, MARA)
    assert one.slug != other.slug
    assert one.mentor == other.mentee


async def test_nobody_mentors_themselves(directory):
    with pytest.raises(SamePersonError, match=r"are the same person \(mara@example\.org\)\."):
        await directory.add_pair(MARA, Named("Mara", " Mara@example.org "))
    assert await directory.audit.latest_change_id() == 0


async def test_a_room_knows_its_people(directory):
    pair = await directory.add_pair(MARA, MIO)
    assert await directory.room(pair.slug) == RoomRecord(
        slug=pair.slug,
        title="Mara Mentor and Mio Mentee",
        members=(
            Member(pair.mentor.id, "Mara Mentor", "mentor", "UTC"),
            Member(pair.mentee.id, "Mio Mentee", "mentee", "UTC"),
        ),
    )
    assert await directory.room("a" * 26) is None


async def test_the_mentor_comes_first_in_every_room(directory):
    for number in range(12):
        pair = await directory.add_pair(
            Named("A", f"a{number}@example.org"), Named("B", f"b{number}@example.org")
        )
        room = await directory.room(pair.slug)
        assert [member.role for member in room.members] == ["mentor", "mentee"]


async def test_a_person_knows_their_rooms(directory, clock):
    first = await directory.add_pair(MARA, MIO)
    clock.now += 1
    second = await directory.add_pair(Named("Zoe", "zoe@example.org"), MARA)
    assert await directory.rooms_of(first.mentor.id) == [first.slug, second.slug]
    assert await directory.rooms_of("nobody") == []
    room = await directory.room(second.slug)
    assert [(member.name, member.rooms) for member in room.members] == [("Zoe", 1), ("Mara Mentor", 2)]
    await directory.remove_pair(first.slug)
    room = await directory.room(second.slug)
    assert [member.rooms for member in room.members] == [1, 1]


async def test_a_removed_pair_is_found_nowhere_and_starts_anew(directory):
    pair = await directory.add_pair(MARA, MIO)
    await directory.remove_pair(pair.slug)
    assert await directory.room(pair.slug) is None
    assert await directory.rooms_of(pair.mentor.id) == []
    with pytest.raises(RoomUnknownError):
        await directory.remove_pair(pair.slug)
    again = await directory.add_pair(MARA, MIO)
    assert again.slug != pair.slug
    assert again.mentor == pair.mentor


async def test_people_are_found_by_address_and_id(directory):
    pair = await directory.add_pair(MARA, MIO)
    assert await directory.person_by_email("MIO@EXAMPLE.ORG") == pair.mentee
    assert await directory.person(pair.mentee.id) == pair.mentee
    assert await directory.person("nobody") is None
    with pytest.raises(PersonUnknownError, match=r"Nobody has the e-mail address zoe@example\.org\."):
        await directory.person_by_email("zoe@example.org")


# ------------------------------------------------------------------------------ what is kept, and erasure


async def test_everything_is_kept_until_a_retention_is_set(directory):
    pair = await directory.add_pair(MARA, MIO)
    assert await directory.programme.retention() == Retention(days=None, count=None)
    assert await directory.programme.rooms_to_trim(after="", limit=10) == []
    await directory.programme.set_retention(Retention(days=30, count=None))
    assert await directory.programme.retention() == Retention(days=30, count=None)
    assert await directory.programme.rooms_to_trim(after="", limit=10) == [
        (pair.slug, Retention(days=30, count=None))
    ]
    assert (await directory.audit.changes_after(0))[-1].detail == {"days": "30", "count": "None"}
    await directory.programme.set_retention(Retention(days=None, count=None))
    assert await directory.programme.rooms_to_trim(after="", limit=10) == []


async def test_a_room_knows_the_relay_policy_of_its_programme(directory):
    pair = await directory.add_pair(MARA, MIO)
    assert (await directory.room(pair.slug)).relay_policy is None
    await directory.programme.set_relay_policy("relay")
    assert (
        (await directory.room(pair.slug)).relay_policy == await directory.programme.relay_policy() == "relay"
    )
    assert (await directory.audit.changes_after(0))[-1].detail == {"policy": "relay"}
    await directory.programme.set_relay_policy(None)
    assert await directory.programme.relay_policy() is None


async def test_rooms_to_trim_come_in_pages_and_removed_ones_are_among_them(directory):
    slugs = [(await directory.add_pair(MARA, Named("M", f"m{n}@example.org"))).slug for n in range(5)]
    await directory.remove_pair(slugs[0])
    await directory.programme.set_retention(Retention(days=None, count=7))
    first = [slug for slug, _ in await directory.programme.rooms_to_trim(after="", limit=3)]
    rest = [slug for slug, _ in await directory.programme.rooms_to_trim(after=first[-1], limit=3)]
    assert first + rest == sorted(slugs)


async def test_a_removed_room_is_still_known_by_its_log(directory):
    pair = await directory.add_pair(MARA, MIO)
    living = await directory.room(pair.slug)
    await directory.remove_pair(pair.slug)
    nobody = tuple(msgspec.structs.replace(member, rooms=0) for member in living.members)
    assert await directory.kept_room(pair.slug) == msgspec.structs.replace(living, members=nobody)
    assert await directory.kept_rooms_of(pair.mentee.id) == [pair.slug]
    with pytest.raises(RoomUnknownError, match="and never was"):
        await directory.kept_room("nowhere")


async def test_an_erased_person_is_in_no_table_and_can_come_back_as_another(directory):
    pair = await directory.add_pair(MARA, MIO)
    link = await directory.credentials.new_link(pair.mentor.id, pair.pair, 3600)
    login = (await directory.credentials.use_link(link)).secret
    token = await directory.credentials.new_token(pair.mentor.id, 3600)
    other = await directory.credentials.new_token(pair.mentee.id, 3600)
    assert await directory.erase(pair.mentor.id) == 1
    assert await directory.credentials.login(login) is None
    assert await directory.credentials.token(token) is None
    assert isinstance(await directory.credentials.token(other), AccessToken)
    assert await directory.room(pair.slug) is None
    told = await everything(directory)
    for private in ("mara", "Mara"):
        assert private not in told
    erased = await directory.person(pair.mentor.id)
    assert (erased.name, erased.email) == ("Removed person", f"{pair.mentor.id}@erased.invalid")
    changes = await directory.audit.changes_after(0)
    assert [change.action for change in changes[-2:]] == ["pair.removed", "person.erased"]
    assert changes[-1].detail == {}
    again = await directory.add_pair(MARA, MIO)
    assert again.mentor.id != pair.mentor.id
    assert again.mentee.id == pair.mentee.id
    assert await directory.erase(again.mentor.id) == 1, "two erased people do not get in each other's way"
    with pytest.raises(PersonUnknownError):
        await directory.erase("nobody")


# ------------------------------------------------------------------------------------------------ links


async def test_a_link_logs_in_once_and_leads_to_the_room(directory):
    pair = await directory.add_pair(MARA, MIO)
    token = await directory.credentials.new_link(pair.mentee.id, pair.pair, 60)
    used = await directory.credentials.use_link(token)
    assert (used.person, used.slug) == (pair.mentee, pair.slug)
    with pytest.raises(LinkUsedError):
        await directory.credentials.use_link(token)
    with pytest.raises(LinkUnknownError):
        await directory.credentials.use_link(token[:-1])


async def test_of_many_at_once_on_several_nodes_one_gets_in(node):
    nodes = [await node() for _ in range(3)]
    pair = await nodes[0].add_pair(MARA, MIO)
    token = await nodes[0].credentials.new_link(pair.mentee.id, None, 60)
    results = await asyncio.gather(
        *(one.credentials.use_link(token) for one in nodes * 4), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["LinkUsed"] + ["LinkUsedError"] * 11


async def test_a_link_works_until_its_time_is_over(directory, clock):
    pair = await directory.add_pair(MARA, MIO)
    one, other = [await directory.credentials.new_link(pair.mentee.id, None, 60) for _ in range(2)]
    clock.now += 59_999
    assert (await directory.credentials.use_link(one)).slug == pair.slug
    clock.now += 1
    with pytest.raises(LinkExpiredError):
        await directory.credentials.use_link(other)


async def test_a_link_for_no_room_leads_to_the_only_one(directory):
    pair = await directory.add_pair(MARA, MIO)
    first, second = [await directory.credentials.new_link(pair.mentor.id, None, 60) for _ in range(2)]
    assert (await directory.credentials.use_link(first)).slug == pair.slug
    await directory.add_pair(MARA, Named("Zoe", "zoe@example.org"))
    assert (await directory.credentials.use_link(second)).slug is None


async def test_a_link_to_a_removed_room_leads_nowhere_but_logs_in(directory):
    pair = await directory.add_pair(MARA, MIO)
    token = await directory.credentials.new_link(pair.mentee.id, pair.pair, 60)
    await directory.remove_pair(pair.slug)
    used = await directory.credentials.use_link(token)
    assert (used.person, used.slug) == (pair.mentee, None)


# -------------------------------------------------------------------------------------- logins and tokens


async def test_a_login_lasts_ninety_days_from_its_last_use(directory, clock):
    pair = await directory.add_pair(MARA, MIO)
    secret = await directory.credentials.new_login(pair.mentor.id)
    for _ in range(3):
        clock.now += 90 * DAY_MS - 1
        assert (await directory.credentials.login(secret)).person == pair.mentor
    clock.now += 90 * DAY_MS
    assert await directory.credentials.login(secret) is None
    assert await directory.credentials.login(secret + "A") is None


async def test_a_use_is_kept_to_the_hour(directory, clock):
    async def last_used() -> int:
        async with directory._database.reading() as connection:
            return await connection.scalar(sa.select(tables.login.c.last_used_ms))

    pair = await directory.add_pair(MARA, MIO)
    secret, made = await directory.credentials.new_login(pair.mentor.id), clock.now
    clock.now = made + HOUR_MS - 1
    assert await directory.credentials.login(secret)
    assert await last_used() == made
    clock.now = made + HOUR_MS
    assert await directory.credentials.login(secret)
    assert await last_used() == made + HOUR_MS


async def test_logging_out_ends_that_login_only(directory):
    pair = await directory.add_pair(MARA, MIO)
    phone, laptop = [await directory.credentials.new_login(pair.mentor.id) for _ in range(2)]
    ids = [(await directory.credentials.login(secret)).id for secret in (phone, laptop)]
    assert await directory.credentials.logins_alive(ids) == frozenset(ids)
    await directory.credentials.end_login(phone)
    await directory.credentials.end_login(phone)
    await directory.credentials.end_login("unknown")
    assert await directory.credentials.login(phone) is None
    assert await directory.credentials.login(laptop) is not None
    assert await directory.credentials.logins_alive([*ids, "unknown"]) == {ids[1]}
    assert await directory.credentials.logins_alive([]) == frozenset()
    ended = [change for change in await directory.audit.changes_after(0) if change.action == "login.ended"]
    assert [(change.person, change.detail) for change in ended] == [(pair.mentor.id, {"login": ids[0]})]


async def test_a_token_says_why_it_is_refused(directory, clock):
    pair = await directory.add_pair(MARA, MIO)
    short, long = [await directory.credentials.new_token(pair.mentor.id, ttl) for ttl in (60, 3600)]
    good = await directory.credentials.token(short)
    assert good == AccessToken(good.id, pair.mentor.id, clock.now + 60_000)
    clock.now += 60_000
    assert await directory.credentials.token(short) == RefusedToken("expired")
    assert await directory.credentials.token(short + "A") is None
    await directory.credentials.revoke_all(pair.mentor.id)
    assert await directory.credentials.token(long) == RefusedToken("revoked")


async def test_revoking_ends_all_of_one_person_and_nothing_of_another(directory):
    pair = await directory.add_pair(MARA, MIO)
    mine, theirs = {}, {}
    for person, held in ((pair.mentor.id, mine), (pair.mentee.id, theirs)):
        held["login"] = await directory.credentials.new_login(person)
        held["token"] = await directory.credentials.new_token(person, 60)
        held["link"] = await directory.credentials.new_link(person, None, 60)
    logins = [(await directory.credentials.login(held["login"])).id for held in (mine, theirs)]
    tokens = [(await directory.credentials.token(held["token"])).id for held in (mine, theirs)]
    await directory.credentials.revoke_all(pair.mentor.id)
    assert await directory.credentials.logins_alive(logins) == {logins[1]}
    assert await directory.credentials.tokens_alive(tokens) == {tokens[1]}
    assert await directory.credentials.login(mine["login"]) is None
    assert await directory.credentials.login(theirs["login"]) is not None
    with pytest.raises(LinkExpiredError):
        await directory.credentials.use_link(mine["link"])
    assert (await directory.credentials.use_link(theirs["link"])).person == pair.mentee


async def test_expiry_alone_ends_no_socket(directory, clock):
    """C4: a token's expiry counts at the next connect only."""
    pair = await directory.add_pair(MARA, MIO)
    token = await directory.credentials.token(await directory.credentials.new_token(pair.mentor.id, 60))
    clock.now += 60_000
    assert await directory.credentials.tokens_alive([token.id]) == {token.id}


@pytest.mark.parametrize(
    "make",
    [
        lambda directory: directory.credentials.new_link("nobody", None, 60),
        lambda directory: directory.credentials.new_login("nobody"),
        lambda directory: directory.credentials.new_token("nobody", 60),
        lambda directory: directory.credentials.revoke_all("nobody"),
    ],
)
async def test_nothing_is_made_for_nobody(directory, make):
    with pytest.raises(PersonUnknownError):
        await make(directory)
    assert await directory.audit.latest_change_id() == 0


async def test_no_secret_is_kept_and_the_audit_holds_no_private_word(directory):
    pair = await directory.add_pair(MARA, MIO)
    secrets = [
        await directory.credentials.new_link(pair.mentor.id, pair.pair, 60),
        await directory.credentials.new_login(pair.mentor.id),
        await directory.credentials.new_token(pair.mentor.id, 60),
    ]
    assert all(len(base64.urlsafe_b64decode(secret + "=")) == 32 for secret in secrets)
    await directory.credentials.use_link(secrets[0])
    await directory.credentials.end_login(secrets[1])
    await directory.credentials.revoke_all(pair.mentor.id)
    kept = await everything(directory)
    for secret in secrets:
        assert secret not in kept
        assert repr(base64.urlsafe_b64decode(secret + "="))[2:-1] not in kept
    audit = repr(await directory.audit.changes_after(0))
    assert "example.org" not in audit
    assert "Mara" not in audit


# ---------------------------------------------------------------------------------------------- the feed


async def test_the_feed_tells_what_happened_in_order(directory, clock):
    assert await directory.audit.latest_change_id() == 0
    assert await directory.audit.changes_after(0) == []
    pair = await directory.add_pair(MARA, MIO)
    start = await directory.audit.latest_change_id()
    clock.now += 5
    await directory.credentials.revoke_all(pair.mentor.id)
    await directory.remove_pair(pair.slug)
    changes = await directory.audit.changes_after(start)
    assert [(change.action, change.person, change.room, change.at_ms) for change in changes] == [
        ("person.revoked", pair.mentor.id, None, clock.now),
        ("pair.removed", None, pair.slug, clock.now),
    ]
    assert [change.action for change in await directory.audit.changes_after(0)][:3] == [
        "person.added",
        "person.added",
        "pair.added",
    ]
    assert await directory.audit.changes_after(await directory.audit.latest_change_id()) == []


async def test_one_poll_is_bounded_and_the_next_goes_on(directory):
    pair = await directory.add_pair(MARA, MIO)
    async with directory._database.writing() as connection:
        for _ in range(CHANGES_MAX):
            await note(connection, 1, "test", "link.created", pair.mentor.id)
    first = await directory.audit.changes_after(0)
    rest = await directory.audit.changes_after(first[-1].id)
    assert (len(first), len(rest)) == (CHANGES_MAX, 3)


async def test_a_change_is_never_seen_before_one_with_a_lower_id(node):
    """A poll goes on from the greatest id it saw, so an id that came later with a lower number would be lost."""
    one, other = await node(), await node()
    async with one._database.writing() as connection:
        await note(connection, 1, "test", "link.created")
        overtaking = asyncio.create_task(other.add_pair(MARA, MIO))
        done, _ = await asyncio.wait([overtaking], timeout=0.3)
        assert not done, "a second writer committed before the first"
        assert await other.audit.changes_after(0) == []
    await overtaking
    assert [change.action for change in await other.audit.changes_after(0)] == [
        "link.created",
        "person.added",
        "person.added",
        "pair.added",
    ]


async def test_what_was_rolled_back_is_in_no_feed(directory):
    async def change_and_fail() -> None:
        async with directory._database.writing() as connection:
            await note(connection, 1, "test", "link.created")
            raise KeyError

    with pytest.raises(KeyError):
        await change_and_fail()
    assert await directory.audit.changes_after(0) == []


# --------------------------------------------------------------------------------- the tables themselves


async def test_many_nodes_may_open_a_new_database_at_once(node):
    nodes = await asyncio.gather(*(node() for _ in range(5)))
    async with nodes[0]._database.reading() as connection:
        assert (await connection.scalars(sa.select(tables.programme.c.id))).all() == ["default"]


async def test_the_migrations_make_exactly_the_tables(directory):
    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return compare_metadata(context, tables.metadata)

    async with directory._database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it(url, clock):
    """People, rooms and what refers to them: an installation that has been used goes on with the next version."""
    first = Database(url)
    async with first._transaction(write=True) as connection:
        await connection.run_sync(_migrate_to, "0001")
        people = [("a", MARA), ("b", MIO)]
        for id_, one in people:
            await connection.execute(
                sa.text(
                    "INSERT INTO person (id, email, email_key, name, created_ms) VALUES (:i, :e, :e, :n, 1)"
                ),
                {"i": id_, "e": one.email, "n": one.name},
            )
        await connection.execute(
            sa.text(
                "INSERT INTO pair (id, programme_id, mentor_id, mentee_id, slug, created_ms)"
                " VALUES ('p', 'default', 'a', 'b', 'slug', 1)"
            )
        )
        await connection.execute(
            sa.text(
                "INSERT INTO audit (at_ms, actor, action, person_id, pair_id, detail)"
                " VALUES (1, 'operator', 'pair.added', 'a', 'p', '{}')"
            )
        )
    await first.close()
    now = await Directory.open(url, clock)
    room = await now.room("slug")
    assert room is not None
    assert [member.name for member in room.members] == [MARA.name, MIO.name]
    assert room.moves == "free"
    assert len(await now.audit.changes_after(0)) == 1
    await now.close()


def _migrate_to(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(databases.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_the_newest_migration_is_the_one_that_the_code_knows():
    scripts = ScriptDirectory(str(Path(databases.__file__).parent / "migrations"))
    assert scripts.get_heads() == [databases.HEAD]


async def test_a_database_of_a_newer_version_is_refused(directory, url, clock):
    async with directory._database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DatabaseError, match=r"written by a newer telementor \(it is at 9999, this one knows "
    ):
        await Directory.open(url, clock)


async def test_a_second_opening_changes_nothing(directory, url, clock, monkeypatch):
    def nothing_to_do(_connection: object) -> None:
        raise AssertionError("migrated again")

    monkeypatch.setattr(databases, "_migrate", nothing_to_do)
    again = await Directory.open(url, clock)
    await again.ping()
    await again.close()


async def test_the_database_itself_keeps_two_living_rooms_apart(directory):
    pair = await directory.add_pair(MARA, MIO)
    async with directory._database.reading() as connection:
        row = (await connection.execute(sa.select(tables.pair))).one()._asdict()
    for changed in ({"id": "2", "slug": "b"}, {"id": "2", "slug": "b", "mentee_id": pair.mentor.id}):
        with pytest.raises(sa.exc.IntegrityError):
            async with directory._database.writing() as connection:
                await connection.execute(sa.insert(tables.pair).values(row | changed))
    with pytest.raises(sa.exc.IntegrityError):
        async with directory._database.writing() as connection:
            await connection.execute(
                sa.insert(tables.pair).values(row | {"id": "2", "slug": "b", "mentee_id": "x"})
            )


# -------------------------------------------------------------------------------- one database or the other


async def test_sqlite_syncs_before_it_answers_and_lets_readers_be(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/telementor.db")
    await database.open()
    async with database.reading() as connection:
        told = {
            name: await connection.scalar(sa.text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert told == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    async with database.writing(), database.reading() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(tables.programme)) == 1
    await database.close()


async def test_waiting_for_another_writer_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "_BUSY_S", 0.1)
    url = f"sqlite:///{tmp_path}/telementor.db"
    one, other = Database(url), Database(url)
    await one.open()
    async with one.writing():
        with pytest.raises(
            DatabaseUnavailableError, match=r"telementor\.db cannot be used: database is locked\."
        ):
            async with other.writing():
                pass
    await one.close()
    await other.close()


async def test_an_outage_of_the_database_is_said_and_survived(clock):
    with running() as server:
        directory = await Directory.open(server.fresh(), clock)
        pair = await directory.add_pair(MARA, MIO)
        secret = await directory.credentials.new_login(pair.mentor.id)
        server.stop()
        for ask in (directory.ping(), directory.credentials.login(secret), directory.add_pair(MARA, MIO)):
            with pytest.raises(DatabaseUnavailableError, match=r"^The database .* cannot be used: .+\.$"):
                await ask
        server.start()
        assert (await directory.credentials.login(secret)).person == pair.mentor
        # An outage that nobody met: the connections in the pool are dead, and nobody has to notice.
        server.stop()
        server.start()
        assert (await directory.credentials.login(secret)).person == pair.mentor
        await directory.close()


async def test_a_login_that_cannot_be_touched_still_holds(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(databases, "_BUSY_S", 0.1)
    directory = await Directory.open(f"sqlite:///{tmp_path}/telementor.db", clock)
    pair = await directory.add_pair(MARA, MIO)
    secret = await directory.credentials.new_login(pair.mentor.id)
    clock.now += HOUR_MS
    async with directory._database.writing():
        assert (await directory.credentials.login(secret)).person == pair.mentor
    await directory.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "nonsense", "sqlite://"])
def test_other_databases_are_refused_in_a_sentence(url):
    with pytest.raises(DatabaseError, match=r"^The .+\.$"):
        Database(url)


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+asyncpg://u@h/d"])
def test_postgresql_may_be_written_in_the_usual_ways(url):
    assert Database(url)._url.drivername == "postgresql+asyncpg"


async def test_a_folder_that_is_not_there_is_said(tmp_path, clock):
    with pytest.raises(
        DatabaseError, match=r"^The folder of the database .*nowhere/telementor\.db is not there\.$"
    ):
        await Directory.open(f"sqlite:///{tmp_path}/nowhere/telementor.db", clock)


async def test_nobody_reads_a_password_in_an_error(tmp_path, clock):
    with pytest.raises(DatabaseUnavailableError) as caught:
        await Directory.open(f"postgresql://me:hunter2@/d?host={tmp_path}", clock)
    assert "hunter2" not in str(caught.value)
