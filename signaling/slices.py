"""What is to be done for thousands at once is done for a few in each turn of the event loop: everybody else on this node
waits only for those few."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")

AT_ONCE = 64
"""Of things that take some 50 µs each: a turn takes a few milliseconds."""


async def in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """For what is awaited and mostly does not wait: after so many of them everybody else has a turn."""
    for number, item in enumerate(items, 1):
        yield item
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)


class Slices(Generic[Item]):
    """`work` is called once for each item, in the order of adding, from the next turn on. When it raises, the loop tells of
    that one, and the others are not held up. What waits is for those to bound who add."""

    __slots__ = ("_at_work", "_waiting", "_work")

    def __init__(self, work: Callable[[Item], object]) -> None:
        self._work = work
        self._waiting: deque[Item] = deque()
        self._at_work = False

    def add(self, items: Iterable[Item]) -> None:
        self._waiting.extend(items)
        if self._waiting and not self._at_work:
            self._at_work = True
            asyncio.get_running_loop().call_soon(self._slice)

    def _slice(self) -> None:
        try:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                self._work(self._waiting.popleft())
        finally:
            self._at_work = bool(self._waiting)
            if self._at_work:
                asyncio.get_running_loop().call_soon(self._slice)
