"""Questions to the database that are asked at the same time, asked together.

When a node has died, all of its people come to the others at once, and each is asked for by token, by room and by
membership. One query for hundreds of them costs a fraction of hundreds of queries. Nothing is remembered: whoever asks gets
what the database says after that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

REST_S = 0.01
"""Between two queries while others wait: a query costs as much as dozens of its keys, so in a rush the next one is for all
who come within this. Whoever asks alone does not wait."""

MOST = 500
"""Keys of one query; SQLite takes 32,766 variables, and a long query holds everybody up."""


class Together(Generic[Key, Value]):
    """`ask` answers for many keys at once; a key that it leaves out has no answer: None. Whoever finds nobody asking asks
    for theirs alone; what is asked meanwhile waits for the next query. Raises whatever `ask` raises, to all that asked with
    it."""

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]]) -> None:
        self._ask = ask
        self._waiting: dict[Key, list[asyncio.Future[Value | None]]] = {}
        self._busy = False
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, key: Key) -> Value | None:
        if self._busy:
            answer: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(key, []).append(answer)
            return await answer
        self._busy = True
        try:
            return (await self._ask([key])).get(key)
        finally:  # also if whoever asked went meanwhile
            self._busy = bool(self._waiting)
            if self._busy:
                self._asking = asyncio.create_task(self._ask_all(), name="questions to the database")

    async def _ask_all(self) -> None:
        """Until nobody waits."""
        try:
            while self._waiting:
                if len(self._waiting) < MOST:
                    await asyncio.sleep(REST_S)
                await self._ask_some(list(self._waiting)[:MOST])
        finally:
            self._busy = False

    async def _ask_some(self, keys: list[Key]) -> None:
        asked = {key: self._waiting.pop(key) for key in keys}
        try:
            found = await self._ask(keys)
        except Exception as error:  # noqa: BLE001 - it belongs to those who asked
            for answer in _still(asked.values()):
                answer.set_exception(error)
        else:
            for key, waiting in asked.items():
                value = found.get(key)
                for answer in _still([waiting]):
                    answer.set_result(value)


def _still(waiting: Iterable[list[asyncio.Future[Value | None]]]) -> Iterator[asyncio.Future[Value | None]]:
    """Those who have not gone meanwhile."""
    return (answer for some in waiting for answer in some if not answer.done())
