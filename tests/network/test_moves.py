"""A phone changes from one network to another, as when somebody leaves the house."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.network.call import Call, now_ms
from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome, percentile
from tests.network.world import BrowserName, Phone

FREEZE_S = 3.0
"""So long a freeze is bearable; the aim is half of it (the table tells)."""
BOTH_FREEZE_S = 6.0


async def _begin(call: Call, phones: Sequence[Phone], outcome: Outcome) -> None:
    """A call over Wi-Fi. With 4G there as well a browser may choose that: then they call again, at most five times."""
    for _ in range(5):
        outcome.first_pictures_s.append(await call.begin())
        try:
            for phone in phones:
                await phone.is_on_wifi()
            return
        except TimeoutError:
            await call.end()
    pytest.fail("no call took the way over Wi-Fi")


async def _handover(call: Call, phones: Sequence[Phone], outcome: Outcome, *, dark_s: float = 0) -> None:
    """Wi-Fi goes away; where 4G was not there already, it comes after `dark_s`."""
    lost = now_ms()
    for phone in phones:
        phone.wifi.lose()
    if dark_s:
        await asyncio.sleep(dark_s)  # the fault itself
        for phone in phones:
            phone.mobile.gain()
    try:
        await call.flows()
    finally:
        outcome.freezes_s.append(await call.freeze_s(lost))
        outcome.path = await call.path()


@pytest.mark.parametrize(
    ("browser", "times"),
    [
        ("chromium", 1),
        pytest.param("chromium", 20, marks=[pytest.mark.slow, pytest.mark.timeout(480)]),
        pytest.param("firefox", 5, marks=[pytest.mark.slow, pytest.mark.timeout(180)]),
    ],
)
async def test_from_wifi_to_4g(
    new_world: NewWorld, outcome: Outcome, browser: BrowserName, times: int
) -> None:
    """Wi-Fi → 4G ({browser}, {times} calls)."""
    world = await new_world(stun=True, ways=["udp"])
    phone = world.phone("mentee")
    call = await world.meet(world.behind_router("mentor"), phone, browser)
    for _ in range(times):
        await _begin(call, [phone], outcome)
        await _handover(call, [phone], outcome)
        await call.end()
        phone.wifi.gain()
    assert percentile(outcome.freezes_s, 0.95) < FREEZE_S, outcome.freezes_s


@pytest.mark.slow
async def test_4g_is_there_only_after_wifi_is_gone(new_world: NewWorld, outcome: Outcome) -> None:
    """Wi-Fi goes, 4G comes one second later."""
    world = await new_world(stun=True, ways=["udp"])
    phone = world.phone("mentee")
    phone.mobile.lose()
    call = await world.meet(world.behind_router("mentor"), phone)
    await _begin(call, [phone], outcome)
    await _handover(call, [phone], outcome, dark_s=1)
    assert max(outcome.freezes_s) < 1 + FREEZE_S, outcome.freezes_s


@pytest.mark.slow
async def test_both_change_networks_at_once(new_world: NewWorld, outcome: Outcome) -> None:
    """Both change from Wi-Fi to 4G at once."""
    world = await new_world(stun=True, ways=["udp"])
    phones = [world.phone("mentor"), world.phone("mentee")]
    call = await world.meet(*phones)
    for _ in range(3):
        await _begin(call, phones, outcome)
        await _handover(call, phones, outcome)
        await call.end()
        for phone in phones:
            phone.wifi.gain()
    assert max(outcome.freezes_s) < BOTH_FREEZE_S, outcome.freezes_s
