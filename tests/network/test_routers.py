"""Routers that translate addresses: directly where a hole can be punched, over the relay where not."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome
from tests.network.world import BrowserName

FIRST_PICTURE_S = 3.0


@pytest.mark.slow
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_two_cone_routers_and_stun(new_world: NewWorld, outcome: Outcome, browser: BrowserName) -> None:
    """NAT on both sides, STUN ({browser})."""
    world = await new_world(stun=True)
    call = await world.meet(world.behind_router("mentor"), world.behind_router("mentee"), browser)
    outcome.first_pictures_s = [await call.begin()]
    outcome.path = await call.path()
    assert "srflx" in outcome.path or "prflx" in outcome.path
    assert "relay" not in outcome.path
    assert outcome.first_pictures_s[0] < FIRST_PICTURE_S


@pytest.mark.slow
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
async def test_two_symmetric_routers_and_a_relay(
    new_world: NewWorld, outcome: Outcome, browser: BrowserName
) -> None:
    """Symmetric NAT on both sides, TURN ({browser})."""
    world = await new_world(stun=True, ways=["udp"])
    mentor, mentee = (world.behind_router(name, nat="symmetric") for name in ("mentor", "mentee"))
    call = await world.meet(mentor, mentee, browser)
    outcome.first_pictures_s = [await call.begin()]
    outcome.path = await call.path()
    assert "relay" in outcome.path
    assert outcome.first_pictures_s[0] < FIRST_PICTURE_S


@pytest.mark.slow
async def test_nobody_needs_ipv6(new_world: NewWorld, outcome: Outcome) -> None:
    """No IPv6 anywhere."""
    world = await new_world()
    mentor, mentee = world.plain("mentor"), world.plain("mentee")
    for place in (mentor, mentee):
        known = await asyncio.to_thread(
            subprocess.run, ["ip", "-n", place.host.namespace, "-6", "addr"], capture_output=True, check=True
        )
        assert known.stdout == b""
    call = await world.meet(mentor, mentee)
    outcome.first_pictures_s = [await call.begin()]
    outcome.path = await call.path()
