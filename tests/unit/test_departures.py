"""R2: whoever is back within a moment was never away."""

from __future__ import annotations

import asyncio

import pytest

from rooms.membership import RoomRecord
from signaling import departures
from signaling.departures import Departure, Departures
from tests.support.condition import until

pytestmark = pytest.mark.unit

ROOM = RoomRecord("room", "", ())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "MOMENT_S", 0.05)


async def test_R2_each_is_due_once_in_order_and_not_before_its_moment() -> None:
    loop = asyncio.get_running_loop()
    due: list[tuple[str, float]] = []
    gone = Departures()
    gone.on_due = lambda one: due.append((one.socket, loop.time() - one.since_s))
    gone.add("ann", "first", [(ROOM, "peer")], at_ms=1)
    gone.add("bob", "second", [], at_ms=2)
    assert ("first" in gone, "second" in gone, len(gone), due) == (True, True, 2, [])
    assert (gone.of("ann"), gone.of("bob"), gone.of("cid")) == (("first",), ("second",), ())
    await until(lambda: len(due) == 2, "the end of both moments")
    gone.add("cid", "third", [], at_ms=3)
    await until(lambda: len(due) == 3, "the end of the third")
    assert [socket for socket, _ in due] == ["first", "second", "third"]
    assert all(waited >= 0.05 for _, waited in due)
    assert (len(gone), "first" in gone, gone.of("ann")) == (0, False, ())


async def test_R2_who_is_asked_for_is_due_at_once_and_never_again() -> None:
    due: list[Departure] = []
    gone = Departures()
    gone.on_due = due.append
    for socket in ("first", "second", "third"):
        gone.add("ann", socket, [], at_ms=1)
    gone.hurry("second")
    gone.hurry("second")
    gone.hurry("nobody")
    assert [one.socket for one in due] == ["second"]
    await gone.hurry_all()
    assert [one.socket for one in due] == ["second", "first", "third"]
    gone.add("ann", "last", [], at_ms=1)
    await until(lambda: len(due) == 4, "what came after all of them")


async def test_R2_one_that_is_told_twice_is_due_once_with_all_its_peers() -> None:
    due: list[Departure] = []
    gone = Departures()
    gone.on_due = due.append
    gone.add("ann", "socket", [(ROOM, "one")], at_ms=1)
    gone.unregistered("socket")
    gone.unregistered("nobody")
    gone.add("ann", "socket", [(ROOM, "two")], at_ms=2)
    gone.hurry("socket")
    (one,) = due
    assert ([peer for _, peer in one.peers], one.at_ms, one.registered) == (["one", "two"], 1, True)


async def test_R3_what_the_registry_let_go_of_is_not_asked_of_it_again() -> None:
    due: list[Departure] = []
    gone = Departures()
    gone.on_due = due.append
    gone.add("ann", "socket", [], at_ms=1)
    gone.unregistered("socket")
    gone.hurry("socket")
    assert not due[0].registered


async def test_R2_thousands_who_went_at_once_leave_everybody_else_a_turn() -> None:
    due: list[Departure] = []
    gone = Departures()
    gone.on_due = due.append
    for number in range(1_000):
        gone.add("ann", f"{number}", [], at_ms=1)
    most, before = 0, 0
    while len(due) < 1_000:
        await asyncio.sleep(0)
        most, before = max(most, len(due) - before), len(due)
    assert 0 < most < 100
    assert [one.socket for one in due] == [f"{number}" for number in range(1_000)]
