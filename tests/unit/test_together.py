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
        await self.let.wait()
        if self.broken:
            raise OSError("away")
        return {key: f"{key} of {len(self.asked)}" for key in keys if key >= 0}


async def test_what_is_asked_meanwhile_waits_for_the_next_query() -> None:
    source = Source()
    ask = Together(source.answer)
    first = [asyncio.create_task(ask(1)), asyncio.create_task(ask(2)), asyncio.create_task(ask(1))]
    await until(lambda: source.asked, "the first query")
    second = [asyncio.create_task(ask(1)), asyncio.create_task(ask(-1))]
    await asyncio.sleep(0)
    second[0].cancel()
    third = asyncio.create_task(ask(1))
    source.let.set()
    assert await asyncio.gather(*first) == ["1 of 1", "2 of 1", "1 of 1"]
    assert (await third, await second[1]) == ("1 of 2", None)
    assert source.asked == [[1, 2], [1, -1]]


async def test_an_error_is_told_to_those_who_asked_and_to_nobody_else() -> None:
    source = Source()
    source.broken = True
    source.let.set()
    ask = Together(source.answer)
    failed = await asyncio.gather(ask(1), ask(2), return_exceptions=True)
    assert [type(one) for one in failed] == [OSError, OSError]
    source.broken = False
    assert await ask(1) == "1 of 2"


async def test_a_query_has_so_many_keys_at_most() -> None:
    source = Source()
    source.let.set()
    ask = Together(source.answer)
    await asyncio.gather(*(ask(key) for key in range(MOST + 1)))
    assert [len(keys) for keys in source.asked] == [MOST, 1]
