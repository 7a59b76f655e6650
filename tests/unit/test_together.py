"""Questions at the same time are asked together, and nobody gets an answer that is older than the question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from signaling.stores.together import MOST, Together
from tests.support.condition import until

pytestmark = pytest.mark.unit


class Source:
    """Answers when it is let; `asked` are the keys of each query."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.let = asyncio.Event()
        self.broken = False

    async def answer(self, keys: Sequence[int]) -> dict[int, str]:
        self.asked.append(list(keys))
        await asyncio.sleep(0)  # as whatever asks a thread or a network
        await self.let.wait()
        if self.broken:
            raise OSError("away")
        return {key: f"{key} of {len(self.asked)}" for key in keys if key >= 0}


async def test_what_is_asked_meanwhile_waits_for_the_next_query() -> None:
    source = Source()
    ask = Together(source.answer)
    first = asyncio.create_task(ask(1))
    await until(lambda: source.asked, "the first query")
    second = [asyncio.create_task(ask(key)) for key in (1, 2, -1, 1)]
    await asyncio.sleep(0)
    second[0].cancel()
    source.let.set()
    assert await first == "1 of 1"
    assert await asyncio.gather(*second[1:]) == ["2 of 2", None, "1 of 2"]
    assert source.asked == [[1], [1, 2, -1]]
    assert await ask(2) == "2 of 3"


async def test_who_asked_alone_and_goes_leaves_the_others_their_answer() -> None:
    source = Source()
    ask = Together(source.answer)
    first = asyncio.create_task(ask(1))
    await until(lambda: source.asked, "the first query")
    second = asyncio.create_task(ask(2))
    await asyncio.sleep(0)
    first.cancel()
    source.let.set()
    assert await second == "2 of 2"
    assert await ask(3) == "3 of 3"


async def test_an_error_is_told_to_those_who_asked_and_to_nobody_else() -> None:
    source = Source()
    source.broken = True
    source.let.set()
    ask = Together(source.answer)
    failed = await asyncio.gather(ask(1), ask(2), ask(3), return_exceptions=True)
    assert [type(one) for one in failed] == [OSError, OSError, OSError]
    assert source.asked == [[1], [2, 3]]
    source.broken = False
    assert await ask(1) == "1 of 3"


async def test_a_query_has_so_many_keys_at_most() -> None:
    source = Source()
    source.let.set()
    ask = Together(source.answer)
    await asyncio.gather(*(ask(key) for key in range(MOST + 2)))
    assert [len(keys) for keys in source.asked] == [1, MOST, 1]


async def test_in_a_rush_the_next_query_is_for_all_who_come_soon() -> None:
    source = Source()
    ask = Together(source.answer)
    first = asyncio.create_task(ask(1))
    await until(lambda: source.asked, "the first query")
    second = asyncio.create_task(ask(2))
    await asyncio.sleep(0)
    source.let.set()
    await first
    assert (await ask(3), await second) == ("3 of 2", "2 of 2")
