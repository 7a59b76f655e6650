"""Single SELECTs on PostgreSQL, each in one round trip: prepared once, and in no transaction of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class PostgresAsker:
    """One connection of the engine's pool, kept until it fails; one question at a time. `passes` says whether an error of
    the server will pass by itself. Belongs to one event loop."""

    def __init__(
        self, engine: AsyncEngine, wait_s: float, waiting_max: int, passes: Callable[[BaseException], bool]
    ) -> None:
        self._engine = engine
        self._wait_s = wait_s
        self._waiting_max = waiting_max
        self._passes = passes
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._kept: AsyncConnection | None = None
        self._driver: Any = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Raises OSError when there is no answer, after `wait_s` at the latest. A connection that had stood may have died
        while nobody used it, so it is asked once more on a new one: a SELECT may be."""
        if self._closed:
            raise ConnectionError("it is closed")
        if self._waiting >= self._waiting_max:
            raise TimeoutError("too many questions wait for an answer")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s), self._turn:
                if self._driver is not None:
                    with contextlib.suppress(OSError):
                        return await self._asked(text, values)
                await self._connect()
                return await self._asked(text, values)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """What was asked before is answered."""
        self._closed = True
        async with self._turn:
            self._drop()
        await asyncio.gather(*self._ending)

    async def _asked(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Whatever leaves the connection in doubt costs it, also an asker who does not wait for the answer."""
        try:
            rows: Sequence[Sequence[Any]] = await self._driver.fetch(text, *values)
        except asyncpg.PostgresError as error:
            if not self._passes(error):
                raise  # of the statement
            self._drop()
            raise ConnectionError(str(error)) from error
        except asyncpg.InterfaceError as error:
            self._drop()
            raise ConnectionError(str(error)) from error
        except BaseException:
            self._drop()
            raise
        return rows

    async def _connect(self) -> None:
        self._drop()  # one that was made for an asker who went meanwhile
        connection = await self._engine.connect()
        self._kept = connection
        self._driver = (await connection.get_raw_connection()).driver_connection

    def _drop(self) -> None:
        """It is closed beside what follows, and gives back its place in the pool then."""
        if self._kept is not None:
            task = asyncio.create_task(_end(self._kept), name="end of a connection")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._kept = self._driver = None


async def _end(connection: AsyncConnection) -> None:
    with contextlib.suppress(Exception):  # it is dead already
        await connection.invalidate()
    with contextlib.suppress(Exception):
        await connection.close()
