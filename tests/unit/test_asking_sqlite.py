"""One thread answers, and nothing that a question leaves behind holds up the next."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from signaling.stores.asking_sqlite import SqliteAsker
from tests.support.condition import until

pytestmark = pytest.mark.unit


class Disk:
    """A database whose `slow()` hangs until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.opened = 0
        self.seen: list[int] = []

    def connect(self) -> sqlite3.Connection:
        self.opened += 1
        connection = sqlite3.connect(":memory:")
        connection.create_function("slow", 0, lambda: self.let.wait(30))
        connection.create_function("seen", 1, self.seen.append)
        return connection

    @asynccontextmanager
    async def asked(self, wait_s: float = 20, waiting_max: int = 100) -> AsyncIterator[SqliteAsker]:
        asker = SqliteAsker(self.connect, wait_s, waiting_max)
        try:
            yield asker
        finally:
            self.let.set()
            await asker.close()


async def test_a_thread_that_hangs_is_not_waited_for() -> None:
    disk = Disk()
    async with disk.asked(wait_s=0.05) as asker:
        with pytest.raises(OSError, match="it does not answer"):
            await asker.ask("SELECT slow()", ())


async def test_more_questions_than_may_wait_are_refused() -> None:
    disk = Disk()
    async with disk.asked(waiting_max=2) as asker:
        slow = asyncio.create_task(asker.ask("SELECT slow()", ()))
        await until(lambda: disk.opened and not asker._jobs.qsize(), "the thread to be at it")
        waiting = [asyncio.create_task(asker.ask("SELECT 1", ())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="too many questions"):
            await asker.ask("SELECT 1", ())
        disk.let.set()
        await asyncio.gather(slow, *waiting)
        assert list(await asker.ask("SELECT 1", ())) == [(1,)]


async def test_whose_asker_has_gone_is_not_asked() -> None:
    disk = Disk()
    async with disk.asked() as asker:
        slow = asyncio.create_task(asker.ask("SELECT slow()", ()))
        gone = asyncio.create_task(asker.ask("SELECT seen(?)", (1,)))
        stays = asyncio.create_task(asker.ask("SELECT seen(?)", (2,)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        disk.let.set()
        await asyncio.gather(slow, stays)
        assert disk.seen == [2]


async def test_after_an_error_it_opens_the_file_anew() -> None:
    disk = Disk()
    async with disk.asked() as asker:
        await asker.ask("SELECT 1", ())
        await asker.ask("SELECT 1", ())
        assert disk.opened == 1
        with pytest.raises(OSError, match="no such table"):
            await asker.ask("SELECT 1 FROM nowhere", ())
        assert list(await asker.ask("SELECT 1", ())) == [(1,)]
        assert disk.opened == 2


async def test_what_was_asked_before_the_end_is_answered_and_what_comes_later_refused() -> None:
    disk = Disk()
    async with disk.asked() as asker:
        slow = asyncio.create_task(asker.ask("SELECT slow()", ()))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asker.close())
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="it is closed"):
            await asker.ask("SELECT 1", ())
        disk.let.set()
        await closing
        assert len(await slow) == 1
        assert "questions to SQLite" not in {thread.name for thread in threading.enumerate()}
