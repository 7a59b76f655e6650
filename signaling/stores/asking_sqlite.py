"""Single SELECTs on SQLite, each in one hop to a thread and back.

Not on the event loop's own thread, though the pages are nearly always in memory and the answer takes microseconds: when they
are not, a slow disk would hold up everybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

_Job = tuple["asyncio.Future[Any]", str, Sequence[Any]]


class SqliteAsker:
    """One connection, made when it is first needed and anew after an error; it is used by its thread only. `connect` makes
    it; `waiting_max` counts those, too, whose askers have gone. Belongs to one event loop."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], wait_s: float, waiting_max: int) -> None:
        self._connect = connect
        self._wait_s = wait_s
        self._waiting_max = waiting_max
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def ask(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Raises OSError when there is no answer, after `wait_s` at the latest."""
        if self._closed:
            raise ConnectionError("it is closed")
        if self._jobs.qsize() >= self._waiting_max:
            raise TimeoutError("too many questions wait for an answer")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="questions to SQLite", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Sequence[Any]]] = loop.create_future()
        timer = loop.call_later(self._wait_s, _give_up, answer)
        self._jobs.put((answer, text, values))
        try:
            return await answer
        except sqlite3.OperationalError as error:
            raise OSError(str(error)) from error
        finally:
            timer.cancel()

    async def close(self) -> None:
        """What was asked before is answered. A thread that hangs is left to the end of the process."""
        self._closed = True
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join, self._wait_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._carry_out(*job)
        self._let_go()

    def _carry_out(self, answer: asyncio.Future[Any], text: str, values: Sequence[Any]) -> None:
        if answer.done():
            return  # who asked has gone
        try:
            if self._connection is None:
                self._connection = self._connect()
            rows = self._connection.execute(text, values).fetchall()
        except Exception as error:  # noqa: BLE001 - it belongs to who asked
            self._let_go()
            _tell(answer, answer.set_exception, error)
        else:
            _tell(answer, answer.set_result, rows)

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _tell(answer: asyncio.Future[Any], how: Callable[[Any], None], what: Any) -> None:
    """From the thread; a loop that was closed meanwhile has nobody who waits."""
    with contextlib.suppress(RuntimeError):
        answer.get_loop().call_soon_threadsafe(_settle, answer, how, what)


def _settle(answer: asyncio.Future[Any], how: Callable[[Any], None], what: Any) -> None:
    if not answer.done():
        how(what)


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("it does not answer"))
