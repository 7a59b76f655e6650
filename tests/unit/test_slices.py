"""Work for thousands at once leaves turns to everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import pytest

from signaling.slices import AT_ONCE, Slices
from signaling.stores.channels import Channel, Channels, Ear
from signaling.stores.redis_link import Link
from signaling.stores.store import Store
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
    assert most_in_a_turn(seen) == AT_ONCE


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


def most_in_a_turn(seen: list[int]) -> int:
    return max(after - before for before, after in pairwise(seen))


class NoStore:
    """One primary, and nobody there: what is said to it is only noted."""

    timeout_s = 1.0

    async def home(self, _: str) -> str:
        return ""

    async def listening(self, _: str) -> None:
        return None

    async def look_again(self) -> None:
        return None


class NoLink(Link):
    """Notes what is said, and answers nothing."""

    def __init__(self, said: list[Any]) -> None:
        super().__init__()
        self.said = said

    def send(self, *command: Any) -> None:
        self.said.append(command)

    def abort(self) -> None:
        pass


async def test_channels_that_are_lost_with_their_connection_are_asked_for_again_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that fails over takes fifteen thousand channels from a full node at once."""
    names = {f"{{{number}}}" for number in range(5 * AT_ONCE)}
    said: list[Any] = []

    async def dial(_: object) -> Link:
        await until(lambda: len(placed) == len(names), "all that is to be asked for")
        return NoLink(said)

    monkeypatch.setattr("signaling.stores.channels.dial", dial)
    restored: list[str] = []
    channels = Channels(cast("Store", NoStore()), lambda *_: None, restored.append)
    running = asyncio.create_task(channels.run())
    for name in names:
        channels._wanted[name] = Channel(None, was_heard=True)
    placed: list[str] = []
    monkeypatch.setattr(Ear, "listen_to", _noted(Ear.listen_to, placed))
    asked, looked_for, heard = turns_beside(said), turns_beside(placed), turns_beside(restored)
    channels.lost(names)
    await until(lambda: {name for _, name in said} >= names, "all of them to be asked for")
    assert most_in_a_turn(looked_for) == AT_ONCE
    assert most_in_a_turn(asked) == AT_ONCE
    for name in names:  # as one read of the store's answers may bring them
        channels.confirmed(name)
    await until(lambda: len(restored) == len(names), "all of them to be restored")
    assert most_in_a_turn(heard) == AT_ONCE
    running.cancel()
    await channels.stop()


def _noted(method: Callable[[Ear, str], None], names: list[str]) -> Callable[[Ear, str], None]:
    def noted(ear: Ear, name: str) -> None:
        names.append(name)
        method(ear, name)

    return noted


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
    assert most_in_a_turn(seen) <= AT_ONCE
