"""Slow, far and lossy links: the picture may be small, but it moves and the sound is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.network.call import now_ms
from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome

WATCHED_S = 15
"""Long enough for the browsers to have found the right size."""

LINKS: dict[str, tuple[dict[str, Any], float, float]] = {
    "400 kbit/s": ({"rate": 400_000}, 5, 3),
    "20 % loss": ({"loss": 0.2}, 8, 3),
    "300 ms": ({"delay_s": 0.15}, 8, 1),
}
"""The link, how soon the first picture is there, and the longest freeze afterwards, in seconds."""


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS)
async def test_a_weak_link_carries_a_call(new_world: NewWorld, outcome: Outcome, link: str) -> None:
    """Link of one side: {link}."""
    shape, first_s, freeze_s = LINKS[link]
    world = await new_world(stun=True, ways=["udp"])
    mentee = world.plain("mentee")
    call = await world.meet(world.plain("mentor"), mentee)
    mentee.port.shape(**shape)
    outcome.first_pictures_s = [await call.begin()]
    began = now_ms()
    await asyncio.sleep(WATCHED_S)  # a time of watching, not of waiting
    outcome.freezes_s = [await call.freeze_s(began)]
    outcome.path = await call.path()
    await call.flows()
    assert outcome.first_pictures_s[0] < first_s
    assert outcome.freezes_s[0] < freeze_s
