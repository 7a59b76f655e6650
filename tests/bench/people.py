"""What the database is asked: by a socket that comes in, by a room that is looked at, by every node again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from signaling.stores.directory import Directory
from tests.bench.contestants import settle
from tests.bench.costs import Costs
from tests.bench.page import Say, table
from tests.support.postgres import running

PAIRS = 200
TIMES = 1_000
AT_ONCE = 4
"""Connections that a node keeps open."""


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """A PostgreSQL of our own; one node's worth of connections."""
    del folder, seconds
    with running() as server:
        url = server.fresh()
        database, pairs = Database(url), await settle(url, PAIRS)
        directory = await Directory.open(url, lambda: time.time_ns() // 1_000_000)
        try:
            tokens = [pair.mentor.token for pair in pairs]
            secrets = [await directory.credentials.new_login(pair.mentor.person) for pair in pairs]
            slugs, persons = [pair.room for pair in pairs], [pair.mentor.person for pair in pairs]
            last = await directory.audit.latest_change_id()
            asks: list[tuple[str, Callable[[int], Awaitable[object]]]] = [
                ("who a socket is, by token", lambda n: directory.credentials.token(tokens[n])),
                ("who a socket is, by log-in", lambda n: directory.credentials.login(secrets[n])),
                ("a room and its people", lambda n: directory.room(slugs[n])),
                ("the rooms of a person", lambda n: directory.rooms_of(persons[n])),
                ("what has changed: nothing", lambda n: directory.audit.changes_after(last)),
                ("what has changed: 500 lines", lambda n: directory.audit.changes_after(0)),
                (
                    "a log-in is made: one writer at a time",
                    lambda n: directory.credentials.new_login(persons[n]),
                ),
            ]
            rows = [[name, *await _row(database, ask)] for name, ask in asks]
        finally:
            await directory.close()
    say(
        "\n## What the database is asked\n\nPostgreSQL on the same machine, "
        f"{AT_ONCE} questions at once. It does not sync its files here, so the rate of log-ins is none of a real one.\n\n"
        + table(("question", "node, CPU-ms each", "PostgreSQL, CPU-ms each", "a second"), rows)
    )


class Database:
    """The processes of a PostgreSQL, by the folder of its socket."""

    def __init__(self, url: str) -> None:
        folder = Path(url.split("host=")[1])
        self._parent = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))

    def cpu_s(self) -> float:
        """Of all of them, those that have ended included."""
        own = self._parent.cpu_times()
        ended = own.children_user + own.children_system
        living = [child.cpu_times() for child in self._parent.children()]
        return float(ended + sum(times.user + times.system for times in (own, *living)))


async def _row(database: Database, ask: Callable[[int], Awaitable[object]]) -> list[str]:
    numbers = iter(range(TIMES))

    async def asker() -> None:
        for number in numbers:
            await ask(number % PAIRS)

    await asyncio.gather(*(ask(0) for _ in range(AT_ONCE)))  # connected
    start, ours, theirs = time.perf_counter(), Costs(psutil.Process().pid), database.cpu_s()
    await asyncio.gather(*(asker() for _ in range(AT_ONCE)))
    took_s = time.perf_counter() - start
    node_s, database_s = ours.cpu_s()[0], database.cpu_s() - theirs
    return [*(f"{cpu_s / TIMES * 1000:.2f}" for cpu_s in (node_s, database_s)), f"{TIMES / took_s:.0f}"]
