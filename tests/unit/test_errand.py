"""A coroutine that waits for futures only is carried out without a task, and its end is told once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signaling.errand import Errand

pytestmark = pytest.mark.unit


async def _sum(*futures: asyncio.Future[int]) -> int:
    return sum([await future for future in futures])


async def test_it_begins_at_once_and_goes_on_with_each_answer() -> None:
    loop = asyncio.get_running_loop()
    ready, late = loop.create_future(), loop.create_future()
    ready.set_result(1)
    told: list[Any] = []
    tasks = len(asyncio.all_tasks())
    Errand(_sum(ready, ready), told.append, told.append)
    assert told == [2], "nothing to wait for"
    Errand(_sum(ready, late), told.append, told.append)
    assert len(asyncio.all_tasks()) == tasks
    late.set_result(2)
    await asyncio.wait_for(asyncio.shield(late), 1)
    assert told == [2, 3]


async def test_what_is_raised_is_told() -> None:
    loop = asyncio.get_running_loop()
    broken = loop.create_future()
    told: list[Any] = []
    Errand(_sum(broken), lambda _: told.append("done"), told.append)
    broken.set_exception(OSError("away"))
    await asyncio.wait([broken])
    assert [type(one) for one in told] == [OSError]


async def test_what_is_waited_for_and_given_up_is_told() -> None:
    """T3: else its lane would wait for ever."""
    given_up = asyncio.get_running_loop().create_future()
    told: list[Any] = []
    Errand(_sum(given_up), lambda _: told.append("done"), told.append)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert [type(one) for one in told] == [ConnectionError]
