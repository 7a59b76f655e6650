"""S5: `kill -9` at every step of commit → outbox → log, and stores that are away or begin anew: the event is there once, in
order, and what was acknowledged stands."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import book, history, join, kinds, move, wall
from tests.support.client import Client, RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.postgres import Postgres
from tests.support.postgres import running as running_postgres
from tests.support.server import Server

pytestmark = pytest.mark.faults

ONCE = ["session.requested", "session.rescheduled"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mortal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for the deaths of this module; each test leaves it running."""
    server = await Server(tmp_path_factory.mktemp("mortal")).start()
    yield server
    await server.close()
    assert "Traceback" not in server.log, server.log[-4000:]


class Booked:
    """Two people in a room of the mortal server, and a session that is in its log."""

    def __init__(self, connect: Fleet, server: Server, pair: Pair) -> None:
        self.connect = connect
        self.server = server
        self.pair = pair
        self.mentor: Client
        self.mentee: Client
        self.session: dict[str, Any]

    async def begin(self) -> Booked:
        self.mentor = await self.connect(self.pair.mentor, server=self.server)
        self.mentee = await self.connect(self.pair.mentee, server=self.server)
        for client in (self.mentor, self.mentee):
            await join(client, self.pair.room)
        self.session = await book(self.mentee, self.pair.room, wall(3))
        await self.mentor.next_push("log", {"kind": "session.requested"})
        await until(lambda: not waiting(self.server), "the row of the booking to be gone")
        return self

    async def come_back(self) -> tuple[Client, dict[str, Any]]:
        """A new socket of the mentor's, as soon as the server lets it in, and what `room.join` says."""

        async def try_once() -> Client | None:
            try:
                return await self.connect(self.pair.mentor, server=self.server)
            except RefusedError:
                return None

        client = await until(try_once, "the server to let somebody in")
        assert client
        return client, await join(client, self.pair.room)

    async def is_moved_once(self, moved: dict[str, Any]) -> None:
        client, joined = await self.come_back()
        assert joined["session"] == moved
        await until(lambda: not waiting(self.server), "the rows of what is in the log to be gone")
        assert await kinds(client, self.pair.room) == ONCE
        said = (await history(client, self.pair.room))[-1]
        assert said["session"] == said["next"] == moved


@pytest_asyncio.fixture(loop_scope="session")
async def booked(connect_python: Fleet, mortal: Server) -> Booked:
    return await Booked(connect_python, mortal, await mortal.pair()).begin()


def waiting(server: Server) -> int:
    """Rows that are on their way to a log."""
    with sqlite3.connect(server.data / "telementor.db") as database:
        return int(database.execute("SELECT count(*) FROM room_outbox").fetchone()[0])


@contextmanager
def nobody_writes(server: Server) -> Iterator[None]:
    """We have the writer's turn, and keep it."""
    database = sqlite3.connect(server.data / "telementor.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.execute("ROLLBACK")
        database.close()


async def test_S5_killed_before_the_commit_nothing_has_happened(booked: Booked) -> None:
    with nobody_writes(booked.server):
        session = booked.session
        asked = {"room": booked.pair.room, "session": session["id"], "rev": session["rev"]}
        answer = await booked.mentor.begin("session.move", {**asked, "wall": wall(4), "tz": "Europe/London"})
        await booked.mentor.done("ice", {"room": booked.pair.room})  # what was sent before it has been read
        await booked.server.kill()
    assert not answer.done()
    await booked.server.start()
    client, joined = await booked.come_back()
    assert joined["session"] == session
    assert await kinds(client, booked.pair.room) == ["session.requested"]
    await booked.is_moved_once(await move(client, session, wall(4)))  # asked again, as it was


async def test_S5_killed_between_commit_and_log_the_event_follows(booked: Booked) -> None:
    booked.server.signal_store(signal.SIGSTOP)
    moved = await move(booked.mentor, booked.session, wall(4))
    assert waiting(booked.server) == 1
    await booked.server.kill()
    booked.server.signal_store(signal.SIGKILL)  # with what it was given and has not read
    await until(lambda: not booked.server.stores(), "the store's end")
    await booked.server.start()
    await booked.is_moved_once(moved)


async def test_S5_killed_between_log_and_outbox_the_event_is_not_there_twice(booked: Booked) -> None:
    booked.server.signal_store(signal.SIGSTOP)
    moved = await move(booked.mentor, booked.session, wall(4))
    with nobody_writes(booked.server):
        booked.server.signal_store(signal.SIGCONT)
        await booked.mentee.next_push("log", {"kind": "session.rescheduled"})
        await booked.server.kill()
        assert waiting(booked.server) == 1
    await booked.server.start()
    await booked.is_moved_once(moved)


async def test_S5_killed_right_after_the_answer(booked: Booked) -> None:
    moved = await move(booked.mentor, booked.session, wall(4))
    await booked.server.restart()
    await booked.is_moved_once(moved)


async def test_S5_a_move_needs_no_store_and_shows_once_it_is_back(booked: Booked) -> None:
    booked.server.signal_store(signal.SIGSTOP)
    first = await move(booked.mentor, booked.session, wall(4))
    second = await move(booked.mentee, first, wall(5))
    booked.server.signal_store(signal.SIGCONT)
    for clock, session in ((4, first), (5, second)):
        said = await booked.mentee.next_push("log", {"kind": "session.rescheduled"})
        assert (said["new"]["wall"], said["session"]) == (wall(clock), session)
    assert len(booked.mentee.all("log", {"kind": "session.rescheduled"})) == 2


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        yield thread.submit(stack.enter_context, running_postgres()).result()
        thread.submit(stack.close).result()


async def test_S5_a_postgresql_that_begins_anew(
    connect_python: Fleet, own_server: OpenServer, own_postgres: Postgres
) -> None:
    server = await own_server(DATABASE=own_postgres.fresh())
    pair = await server.pair()
    mentor, mentee = [await connect_python(person, server=server) for person in (pair.mentor, pair.mentee)]
    for client in (mentor, mentee):
        await join(client, pair.room)
    session = await book(mentor, pair.room, wall(3))
    await asyncio.to_thread(own_postgres.stop)
    asked = {"room": pair.room, "session": session["id"], "rev": session["rev"]}
    asked = {**asked, "wall": wall(4), "tz": "Europe/London"}
    assert (await mentor.refused("session.move", asked))["code"] == "unavailable"
    await asyncio.to_thread(own_postgres.start)

    async def moved() -> bool:
        return bool((await mentor.ask("session.move", asked))["ok"])

    await until(moved, "the database to take it")
    said = await mentee.next_push("log", {"kind": "session.rescheduled"})
    assert said["session"]["wall"] == wall(4)
    assert await kinds(mentee, pair.room) == ONCE
