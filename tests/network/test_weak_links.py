"""Slow, far and lossy links: the picture may be small, but it moves and the sound is there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.network.call import now_ms
from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome
from tests.support.condition import until
from tests.support.figures import measured

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


SOUND_ONLY_S = 15
"""The link's own queue holds up to five seconds, and what is told to the other side waits in it too."""
BACK_S = 100
"""A minute, a trial and the step to the full picture."""


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_link_for_sound_only_keeps_the_sound_and_the_picture_comes_back(
    new_world: NewWorld, outcome: Outcome
) -> None:
    """100 kbit/s out of one side: sound only, both are told; the picture comes back by itself."""
    world = await new_world()
    place = world.plain("mentor")
    call = await world.meet(place, world.plain("mentee"))
    mentor, mentee = call.tabs["mentor"], call.tabs["mentee"]
    outcome.first_pictures_s = [await call.begin()]
    outcome.path = await call.path()
    made = (await mentee.received()).made

    began = time.monotonic()
    weak_since = now_ms()
    place.port.up.rate = 100_000
    await mentor.hears_status("sound only", timeout_s=SOUND_ONLY_S)
    measured("link narrowed to sound only: until the sender's picture is off", time.monotonic() - began, "s")

    async def told() -> bool:
        return "link is weak" in await mentee.text_of("region", "Remote video")

    await until(told, "the reason for the missing picture", timeout_s=SOUND_ONLY_S)
    await mentee.call_is("connected")
    before = await mentee.received()

    async def sound_goes_on() -> bool:
        return (await mentee.received()).audio > before.audio + 50

    await until(sound_goes_on, "sound without picture")
    assert (await mentee.received()).video - before.video < 5, "and nothing of a picture comes with it"

    place.port.up.rate = 0
    lifted = time.monotonic()
    await mentor.hears_status("Connected", timeout_s=BACK_S)
    measured("link wide again: until the picture is back", time.monotonic() - lifted, "s")
    await call.flows()
    outcome.freezes_s = [await call.freeze_s(weak_since)]
    assert (await mentee.received()).made == made, "none of it needed another connection"
