"""What has to be done when the store is back: once, the newest of each kind, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from rooms.errors import Unavailable
from signaling import unfinished
from signaling.unfinished import Unfinished, Work
from tests.support.condition import until

pytestmark = pytest.mark.unit


class Away:
    """A store that is away until it is `back`."""

    def __init__(self) -> None:
        self.back = False
        self.asked = 0
        self.done: list[str] = []

    def work(self, name: str) -> Work:
        async def work() -> None:
            self.asked += 1
            if not self.back:
                raise Unavailable
            self.done.append(name)

        return work


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "AGAIN_S", 0.01)
    monkeypatch.setattr(unfinished, "INSIST_S", 0.01)


async def test_of_two_with_one_key_only_the_newer_is_done() -> None:
    store, waiting = Away(), Unfinished()
    await waiting.attempt("room", store.work("older"))
    await waiting.attempt("room", store.work("newer"), store.work("newer, later"))
    await waiting.attempt("other", store.work("other"))
    assert len(waiting) == 2
    await until(lambda: store.asked >= 5, "another round")
    store.back = True
    await until(lambda: not len(waiting), "the end of all of it")
    assert sorted(store.done) == ["newer, later", "other"]


async def test_what_works_at_once_takes_the_place_of_what_waits() -> None:
    store, waiting = Away(), Unfinished()
    await waiting.attempt("room", store.work("older"))
    store.back = True
    await waiting.attempt("room", store.work("newer"))
    assert (len(waiting), store.done) == (0, ["newer"])
    await waiting.stop()


async def test_what_was_under_way_when_a_newer_one_came_does_not_come_back() -> None:
    store, waiting = Away(), Unfinished()
    newer = asyncio.Event()

    async def slow() -> None:
        await newer.wait()
        await store.work("older")()

    older = asyncio.create_task(waiting.attempt("room", slow))
    await asyncio.sleep(0)
    await waiting.attempt("room", store.work("newer"))
    newer.set()
    await older
    store.back = True
    await until(lambda: not len(waiting), "the end of it")
    assert store.done == ["newer"]


async def test_what_a_newer_one_took_the_place_of_during_the_round_is_not_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unfinished, "AT_ONCE", 1)
    store, waiting = Away(), Unfinished()

    async def meanwhile() -> None:
        await waiting.attempt("room", store.work("newer"))
        store.back = True

    await waiting.attempt("first", store.work("first"), meanwhile)
    await waiting.attempt("room", store.work("older"))
    await until(lambda: not len(waiting), "the end of it")
    assert store.done == ["newer"]


async def test_what_begins_anew_while_it_is_done_again_waits_on() -> None:
    """As a room does that is looked at and for which still nobody can be woken."""
    store, waiting = Away(), Unfinished()

    async def look() -> None:
        await waiting.attempt("room", store.work("woken"), look)

    await look()
    await until(lambda: store.asked >= 3, "two more looks")
    assert len(waiting) == 1
    store.back = True
    await until(lambda: not len(waiting), "the end of it")
    assert store.done == ["woken"]


async def test_beyond_the_bound_the_oldest_is_given_up() -> None:
    store, waiting = Away(), Unfinished(most=2)
    for name in ("first", "second", "third"):
        await waiting.attempt(name, store.work(name))
    store.back = True
    await until(lambda: not len(waiting), "the end of it")
    assert sorted(store.done) == ["second", "third"]


async def test_what_fails_otherwise_is_not_tried_again() -> None:
    waiting = Unfinished()
    tries = []

    async def broken() -> None:
        tries.append(1)
        raise ZeroDivisionError

    await waiting.attempt("broken", broken)
    assert (len(waiting), tries) == (0, [1])


async def test_stop_gives_up() -> None:
    store, waiting = Away(), Unfinished()
    await waiting.attempt("room", store.work("room"))
    await waiting.stop()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
