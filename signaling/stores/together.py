"""Questions to the database that are asked at the same time, asked together.

When a node has died, all of its people come to the others at once, and each is asked for by token, by room and by
membership. One query for hundreds of them costs a fraction of hundreds of queries. Nothing is remembered: whoever asks gets
what the database says after that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST = 500
"""Keys of one query; SQLite takes 32,766 variables, and a long query holds everybody up."""


class Together(Generic[Key, Value]):
    """`ask` answers for many keys at once; a key that it leaves out has no answer: None. While it is under way, what else is
    asked waits for the next query. Raises whatever `ask` raises, to all that asked with it."""

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]]) -> None:
        self._ask = ask
        self._waiting: dict[Key, asyncio.Future[Value | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, key: Key) -> Value | None:
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_all(), name="questions to the database")
        return await asyncio.shield(answer)

    async def _ask_all(self) -> None:
        """Until nobody waits. Whoever does not wait any more is answered all the same."""
        try:
            while self._waiting:
                keys = list(self._waiting)[:MOST]
                asked = {key: self._waiting.pop(key) for key in keys}
                try:
                    found = await self._ask(keys)
                except Exception as error:  # noqa: BLE001 - it belongs to those who asked
                    for answer in asked.values():
                        answer.set_exception(error)
                        answer.exception()  # seen, also when nobody waits any more
                else:
                    for key, answer in asked.items():
                        answer.set_result(found.get(key))
        finally:
            self._asking = None
