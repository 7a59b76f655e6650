"""Work for thousands at once leaves turns to everybody else."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from signaling.slices import AT_ONCE, Slices
from signaling.websocket import Turn, WebSocket
from tests.support.condition import until

pytestmark = pytest.mark.unit


def turns_beside(done: list[Any]) -> list[int]:
    """How much was done at each turn of the loop, from now on."""
    loop, seen = asyncio.get_running_loop(), []

    def turn() -> None:
        seen.append(len(done))
        loop.call_soon(turn)

    turn()
    return seen


async def test_other_work_goes_between_the_slices_and_all_is_done_once_in_its_order() -> None:
    done: list[int] = []
    seen, count = turns_beside(done), 5 * AT_ONCE + 1
    slices = Slices(done.append)
    slices.add(range(10))
    slices.add(range(10, count))
    await until(lambda: len(done) == count, "all of it")
    assert done == list(range(count))
    assert max(after - before for before, after in pairwise(seen)) == AT_ONCE


async def test_what_raises_holds_nothing_up() -> None:
    done: list[int] = []
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def work(number: int) -> None:
        if number % 2:
            raise RuntimeError
        done.append(number)

    slices = Slices(work)
    slices.add(range(6))
    await until(lambda: len(done) == 3, "those that do not raise")
    await until(lambda: len(told) == 3, "those that do")
    slices.add([6])
    await until(lambda: done == [0, 2, 4, 6], "what came later")


class Gone(asyncio.Transport):
    """Of a connection that is lost."""


async def test_a_crowd_whose_connections_are_lost_in_one_turn_is_told_of_in_slices() -> None:
    """A network goes, and ten thousand sockets with it: whoever is still there is answered meanwhile."""
    turn, lost, count = Turn(), [], 10 * AT_ONCE
    seen = turns_beside(lost)
    sockets = [WebSocket(Gone(), 1_000, turn) for _ in range(count)]
    for socket in sockets:
        socket.on_lost = lambda socket=socket: lost.append(socket)  # type: ignore[misc]
    for socket in sockets:
        socket.connection_lost(None)
    await until(lambda: len(lost) == count, "all of them")
    assert lost == sockets
    assert max(after - before for before, after in pairwise(seen)) <= AT_ONCE
