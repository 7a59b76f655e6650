"""Every packet is lost for a while, and nobody is told: the call is there again by itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.network.call import now_ms
from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome
from tests.network.world import BrowserName

RETURN_S = {3: 3.0, 10: 5.0, 60: 10.0}
"""How soon the pictures move again after the link is back. After a long cut the server is asked for more rarely."""


@pytest.mark.parametrize(
    ("seconds", "browser"),
    [
        (3, "chromium"),
        pytest.param(10, "chromium", marks=pytest.mark.slow),
        pytest.param(10, "firefox", marks=pytest.mark.slow),
        pytest.param(60, "chromium", marks=[pytest.mark.slow, pytest.mark.timeout(180)]),
    ],
)
async def test_a_cut_is_survived(
    new_world: NewWorld, outcome: Outcome, seconds: int, browser: BrowserName
) -> None:
    """Cut of {seconds} s ({browser})."""
    world = await new_world(stun=True)
    mentee = world.plain("mentee")
    call = await world.meet(world.plain("mentor"), mentee, browser)
    outcome.first_pictures_s = [await call.begin()]
    cut = now_ms()
    mentee.port.cut()
    await asyncio.sleep(seconds)  # the fault itself
    mentee.port.cut(False)
    try:
        await call.flows(timeout_s=30)
    finally:
        outcome.freezes_s = [await call.freeze_s(cut)]
        outcome.path = await call.path()
    assert outcome.freezes_s[0] < seconds + RETURN_S[seconds], await call.timeline(cut)
