"""How long it takes from the click to the first picture, over many calls: a bench, printed with the scenarios."""

from __future__ import annotations

import pytest

from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome, percentile

CALLS = 30
FIRST_PICTURE_S = 2.0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["direct", "relay"])
async def test_the_first_picture_is_there_soon(new_world: NewWorld, outcome: Outcome, way: str) -> None:
    """Click to the first picture, {way}."""
    policy = {"TELEMENTOR_RELAY_POLICY": "relay"} if way == "relay" else {}
    world = await new_world(stun=True, ways=["udp"], settings=policy)
    call = await world.meet(world.behind_router("mentor"), world.behind_router("mentee"))
    for _ in range(CALLS):
        outcome.first_pictures_s.append(await call.begin())
        outcome.path = await call.path()
        await call.end()
    assert ("relay" in outcome.path) == (way == "relay")
    assert percentile(outcome.first_pictures_s, 0.95) < FIRST_PICTURE_S
