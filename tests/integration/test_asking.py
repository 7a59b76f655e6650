"""Questions outside of transactions (`Database.ask`), on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from signaling.stores import database as databases
from signaling.stores.database import Database, DatabaseUnavailableError
from signaling.stores.question import SIZES, Question
from signaling.stores.tables import audit
from tests.support.condition import until
from tests.support.postgres import postgres as postgres  # noqa: PLC0414 - a fixture

pytestmark = [pytest.mark.integration, pytest.mark.contract]

LINES = Question(
    sa.select(audit.c.id, audit.c.actor, audit.c.detail)
    .where(audit.c.actor.in_(sa.bindparam("actors", expanding=True)))
    .order_by(audit.c.id)
)
EVER = Question(sa.select(sa.func.pg_sleep(sa.bindparam("s"))))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/telementor.db"
    fresh: str = request.getfixturevalue("postgres").fresh()
    return fresh


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    made = Database(url)
    await made.open()
    yield made
    await made.close()


async def note(database: Database, *actors: str) -> None:
    async with database.writing() as connection:
        rows = [{"at_ms": 1, "actor": actor, "action": "a", "detail": {"of": actor}} for actor in actors]
        await connection.execute(sa.insert(audit), rows)


async def test_what_was_committed_before_is_seen_by_every_node(database, url):
    other = Database(url)
    for number in range(20):
        await note(database, f"{number}")
        for node in (other, database):
            [line] = await node.ask(LINES, actors=[f"{number}"])
            assert (line.actor, line.detail) == (f"{number}", {"of": f"{number}"})
    await other.close()


async def test_what_is_not_committed_is_not_seen(database):
    async with database.writing() as connection:
        await connection.execute(sa.insert(audit).values(at_ms=1, actor="a", action="a", detail={}))
        assert await database.ask(LINES, actors=["a"]) == []
    assert len(await database.ask(LINES, actors=["a"])) == 1


@pytest.mark.parametrize("keys", [1, 2, 8, 9, 64, 65, 513])
async def test_each_of_a_list_is_asked_for_once(database, keys):
    actors = [f"{number}" for number in range(keys)]
    await note(database, *actors, "somebody else")
    assert [line.actor for line in await database.ask(LINES, actors=actors)] == actors


async def test_a_list_has_bounds(database):
    for keys in (0, SIZES[-1] + 1):
        with pytest.raises(ValueError, match=f"not {keys}$"):
            await database.ask(LINES, actors=["a"] * keys)


async def test_lists_of_many_lengths_are_few_texts(database):
    for keys in range(1, 100):
        await database.ask(LINES, actors=["a"] * keys)
    worded = {LINES.worded(database._engine.dialect, {"actors": ["a"] * keys}).text for keys in range(1, 513)}
    assert len(worded) == 4


async def test_a_locked_table_is_unavailable_and_then_asked_again(url, monkeypatch):
    monkeypatch.setattr(databases, "_BUSY_S", 1)
    database = Database(url)
    await database.open()
    await database.ask(LINES, actors=["a"])
    async with locked(database):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match=r"^The database .* cannot be used: .+\.$"):
                await database.ask(LINES, actors=["a"])
    assert await database.ask(LINES, actors=["a"]) == []
    await database.close()


@contextlib.asynccontextmanager
async def locked(database: Database) -> AsyncIterator[None]:
    """Nobody can read meanwhile."""
    if not database._sqlite:
        async with database.writing() as connection:
            await connection.execute(sa.text("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE"))
            yield
        return
    await database._asker.close()  # a lock on the whole file needs it alone
    await database._engine.dispose()
    database._asker = databases.SqliteAsker(database._sqlite_reader, 1, 10)
    with contextlib.closing(sqlite3.connect(str(database._url.database), isolation_level=None)) as alone:
        alone.execute("PRAGMA locking_mode = EXCLUSIVE")
        alone.execute("BEGIN EXCLUSIVE")
        yield


async def test_a_closed_one_says_so(url):
    database = Database(url)
    await database.open()
    await database.ask(LINES, actors=["a"])
    await database.close()
    with pytest.raises(DatabaseUnavailableError, match="it is closed"):
        await database.ask(LINES, actors=["a"])


async def test_after_one_that_cannot_be_answered_the_next_one_is(database):
    nothing = Question(sa.select(sa.literal_column("1").op("nonsense")(sa.bindparam("n"))))
    with pytest.raises(Exception, match=r"nonsense|syntax"):
        await database.ask(nothing, n=1)
    assert await database.ask(LINES, actors=["a"]) == []


async def sleeping(database: Database) -> int:
    """Of PostgreSQL's connections, that carry out `EVER`."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    async with database.reading() as connection:
        return int(await connection.scalar(sa.text(query)) or 0)


async def test_whoever_goes_leaves_nothing_behind_in_postgresql(postgres):
    database = Database(postgres.fresh())
    await database.open()
    for _ in range(12):  # more than there are connections
        asked = asyncio.create_task(database.ask(EVER, s=60))
        await until(lambda: sleeping(database), "the question under way")
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert await database.ask(LINES, actors=["a"]) == []
    await until(lambda: none_sleeps(database), "the end of every question that nobody waits for")
    await database.close()


async def none_sleeps(database: Database) -> bool:
    return await sleeping(database) == 0


async def test_so_many_wait_for_postgresql_at_most(postgres, monkeypatch):
    monkeypatch.setattr(databases, "_ASKED_MAX", 3)
    database = Database(postgres.fresh())
    await database.open()
    waiting = [asyncio.create_task(database.ask(EVER, s=1)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailableError, match="too many questions"):
        await database.ask(LINES, actors=["a"])
    await asyncio.gather(*waiting)
    assert await database.ask(LINES, actors=["a"]) == []
    await database.close()
