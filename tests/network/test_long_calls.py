"""What happens in a long call: relay credentials expire, the server is away for minutes."""

from __future__ import annotations

import asyncio

import pytest

from tests.network.call import now_ms
from tests.network.conftest import NewWorld
from tests.network.outcomes import Outcome
from tests.support.condition import until
from tests.support.needs import needs_program

TTL_S = 600
LIFETIME_S = 20
AWAY_S = 120


@pytest.mark.slow
async def test_K4_expired_credentials_do_not_hinder_a_restart(new_world: NewWorld, outcome: Outcome) -> None:
    """Relay credentials have expired, then Wi-Fi → 4G.

    Ten minutes are the shortest life (K4). The server's clock is late by nearly so much: what it hands out is old at once.
    """
    world = await new_world(
        stun=True,
        ways=["udp"],
        settings={"TELEMENTOR_TURN_TTL_S": str(TTL_S), "TELEMENTOR_RELAY_POLICY": "relay"},
        program=[needs_program("faketime"), "-f", f"-{TTL_S - LIFETIME_S}s"],
    )
    phone = world.phone("mentee")
    call = await world.meet(world.behind_router("mentor"), phone)
    outcome.first_pictures_s = [await call.begin()]
    expired = now_ms() + LIFETIME_S * 1000
    await until(lambda: now_ms() > expired, "the end of the first credentials", timeout_s=LIFETIME_S + 5)
    lost = now_ms()
    phone.wifi.lose()
    try:
        await call.flows()
    finally:
        outcome.freezes_s = [await call.freeze_s(lost)]
        outcome.path = await call.path()
    assert outcome.path == "relay–relay udp"
    assert outcome.freezes_s[0] < 5, await call.timeline(lost)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_K5_the_server_is_away_for_two_minutes(new_world: NewWorld, outcome: Outcome) -> None:
    """Server away for two minutes: no freeze; then chat, and Wi-Fi → 4G."""
    world = await new_world(stun=True, ways=["udp"])
    phone = world.phone("mentee")
    call = await world.meet(world.behind_router("mentor"), phone)
    outcome.first_pictures_s = [await call.begin()]
    mentor, mentee = call.tabs["mentor"], call.tabs["mentee"]
    away = now_ms()
    world.server_port.cut()
    await asyncio.gather(*(tab.link_is("offline", timeout_s=60) for tab in call.tabs.values()))
    await mentor.say("written meanwhile")
    await until(lambda: now_ms() > away + AWAY_S * 1000, "the end of two minutes", timeout_s=AWAY_S + 5)
    outcome.freezes_s = [await call.freeze_s(away)]
    world.server_port.cut(False)
    await asyncio.gather(*(tab.link_is("online", timeout_s=30) for tab in call.tabs.values()))
    await mentee.reads("written meanwhile")
    await mentee.say("and read")
    await mentor.reads("and read")
    await call.flows()
    assert outcome.freezes_s[0] < 1, "a call that flows needs no server"
    lost = now_ms()
    phone.wifi.lose()
    try:
        await call.flows()
    finally:
        outcome.freezes_s.append(await call.freeze_s(lost))
        outcome.path = await call.path()
