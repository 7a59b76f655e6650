"""Networks of schools and firms that let little out."""

from __future__ import annotations

import pytest

from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome
from tests.network.world import BrowserName

NO_UDP = ("meta l4proto udp drop",)
ONLY_443 = (*NO_UDP, "iifname lan0 tcp dport != 443 drop")
FIRST_PICTURE_S = 4.0


@pytest.mark.parametrize("browser", ["chromium", pytest.param("firefox", marks=pytest.mark.slow)])
async def test_udp_is_blocked_and_the_router_is_symmetric(
    new_world: NewWorld, outcome: Outcome, browser: BrowserName
) -> None:
    """UDP blocked, symmetric NAT on both sides, TURN over TCP ({browser})."""
    world = await new_world(stun=True, ways=["udp", "tcp"])
    mentee = world.behind_router("mentee", nat="symmetric", forbidden=NO_UDP)
    call = await world.meet(world.behind_router("mentor", nat="symmetric"), mentee, browser)
    outcome.first_pictures_s = [await call.begin()]
    outcome.path = await call.path()
    assert "relay" in outcome.path
    assert "tcp" in outcome.path
    assert outcome.first_pictures_s[0] < FIRST_PICTURE_S


@pytest.mark.slow
async def test_only_tls_on_port_443_gets_out(new_world: NewWorld, outcome: Outcome) -> None:
    """Only TCP to port 443 gets out on both sides: page and TURN over TLS."""
    world = await new_world(stun=True, ways=["udp", "tcp", "tls"], tls=True)
    mentor, mentee = (world.behind_router(name, forbidden=ONLY_443) for name in ("mentor", "mentee"))
    call = await world.meet(mentor, mentee)
    outcome.first_pictures_s = [await call.begin()]
    outcome.path = await call.path()
    assert "relay" in outcome.path
    assert "tls" in outcome.path
    assert outcome.first_pictures_s[0] < FIRST_PICTURE_S
