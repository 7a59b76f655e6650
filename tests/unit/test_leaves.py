"""C3: a node that stops gives up in time on those whom the store did not take back."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast
from unittest.mock import Mock

import pytest

from signaling.departures import Departures
from signaling.leaves import LEAVES_AT_ONCE, Leaves
from signaling.slices import AT_ONCE

pytestmark = pytest.mark.unit


class Silent:
    """Of the nodes: a store that does not answer."""

    def __init__(self) -> None:
        self.deafened = 0
        self.asked: list[str] = []

    def deafen(self, _: str) -> None:
        self.deafened += 1

    async def leave(self, _: str, socket: str) -> None:
        self.asked.append(socket)
        await asyncio.Event().wait()


async def test_C3_thousands_who_are_still_to_be_taken_back_are_a_few_tasks_at_a_stop() -> None:
    nodes, departures = Silent(), Departures()
    others: dict[str, Any] = {name: Mock() for name in ("hub", "echoes", "steps", "now_ms")}
    leaves = Leaves(departures=departures, nodes=cast("Any", nodes), away_ms=30_000, **others)
    crowd = [f"{number}" for number in range(10 * AT_ONCE)]
    for socket in crowd:
        departures.add(socket, socket, [], at_ms=0)
    stopping = asyncio.create_task(leaves.stop(0.5))
    seen, most_tasks = [0], 0
    while not stopping.done():
        await asyncio.sleep(0)
        seen.append(nodes.deafened)
        most_tasks = max(most_tasks, len(asyncio.all_tasks()))
    assert nodes.deafened == len(crowd)
    assert max(after - before for before, after in pairwise(seen)) == AT_ONCE
    assert most_tasks < 2 * LEAVES_AT_ONCE, "and those of this test and of the stop itself"
    assert nodes.asked == crowd[:LEAVES_AT_ONCE]
    assert asyncio.all_tasks() == {asyncio.current_task()}
