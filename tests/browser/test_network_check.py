"""The check of the network before the call: what a person reads, over a real server, echo and relay. Never in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.axe import violations
from tests.support.chromium import ChromiumTab
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.firefox import firefox
from tests.support.people import Pair
from tests.support.private_network import ADDRESS
from tests.support.server import Server
from tests.support.tab import Tab
from tests.support.turn_server import SECRET, TurnServer

CHECK_S = 25
"""A check takes six to eight seconds; a machine that is busy needs more."""
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


async def reads(tab: Tab, *words: str) -> str:
    """Wait until the page says these words; its whole text."""

    async def said() -> str:
        text: str = await tab.evaluate("document.body.innerText")
        return text if all(word in text for word in words) else ""

    return await until(said, f"{words} on the page", timeout_s=CHECK_S)


async def is_released(tab: Tab) -> None:
    """Wait until the page holds no connection."""

    async def closed() -> bool:
        return (await tab.received()).open == 0

    await until(closed, "the end of the check's connection")


@pytest.mark.parametrize("size", list(SIZES))
async def test_a_good_network_without_a_relay(
    open_tab: OpenTab, pair: Pair, artifacts: Path, size: str
) -> None:
    tab = await open_tab(**SIZES[size], reduced_motion="reduce")
    await tab.enter(pair.mentor.link)
    began = time.monotonic()
    await tab.press("Check the network")
    await reads(tab, "Checking the network")
    found = await violations(tab.page)
    await tab.picture(artifacts / "screens" / f"check-running-{size}.png")
    await reads(
        tab, "Video and sound will work.", "This server has no relay", "Round trip", "loss 0 %", "direct"
    )
    measured("a check of the network", time.monotonic() - began, "s")
    found += await violations(tab.page)
    await tab.picture(artifacts / "screens" / f"check-good-{size}.png")
    assert found == []
    await is_released(tab)


async def test_joining_ends_a_running_check(meeting: Meeting) -> None:
    await meeting.mentor.press("Check the network")
    await reads(meeting.mentor, "Checking the network")

    async def begun() -> bool:
        return (await meeting.mentor.received()).audio > 0

    await until(begun, "the echo")
    await meeting.call()
    assert (await meeting.mentor.received()).open == 1, "the call's own"


async def test_without_any_connection_for_media(open_tab: OpenTab, pair: Pair, artifacts: Path) -> None:
    """The browser finds no way to the server's echo: said in words, with the next step, and joining stays possible."""

    async def told_so(size: str, link: str) -> ChromiumTab:
        tab = await open_tab(**SIZES[size], reduced_motion="reduce")
        await tab.page.context.add_init_script(NO_WAY)
        await tab.enter(link)
        await tab.press("Check the network")
        await reads(tab, "A call will not work from here", "this server has no relay", "Try another network")
        await tab.picture(artifacts / "screens" / f"check-bad-{size}.png")
        assert await violations(tab.page) == []
        await is_released(tab)
        return tab

    tab, _ = await asyncio.gather(*map(told_so, SIZES, (pair.mentor.link, pair.mentee.link)))
    await tab.press("Join call")
    await tab.call_is("waiting", "connecting")


NO_WAY = r"""
  // Whoever does not know the other's password never gets a connectivity check through.
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    return set.call(this, { type, sdp: sdp.replace(/(a=ice-pwd:)\S+/g, "$1nobodyknowsthispasswordhere") });
  };
"""


async def test_too_many_checks_and_still_in(open_tab: OpenTab, tmp_path: Path) -> None:
    """A check is limited, a call is not."""
    server = await Server(tmp_path, {"TELEMENTOR_NETWORK_CHECKS_MAX": "1"}).start()
    try:
        pair = await server.pair()
        tabs = [await open_tab(), await open_tab()]
        meeting = await Meeting.begin(server, pair, *tabs)
        await meeting.mentor.press("Check the network")

        async def echoed() -> bool:
            return (await meeting.mentor.received()).audio > 0

        await until(echoed, "the mentor's check to run")
        await meeting.mentee.press("Check the network")
        await reads(meeting.mentee, "Too many checks", "You can still enter")
        await meeting.mentee.press("Join call")
        await meeting.mentee.call_is("waiting")
        for tab in tabs:
            tab.outage_expected = True  # the server goes before they do
    finally:
        await server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def relay(isolated: None, tmp_path: Path) -> AsyncIterator[TurnServer]:
    """A coturn on the tests' own address."""
    running = await TurnServer(tmp_path, address=ADDRESS, options=[f"--relay-ip={ADDRESS}"]).start()
    yield running
    await running.stop()


@pytest.mark.parametrize(
    ("secret", "policy", "words"),
    [
        (SECRET, "all", ("Video and sound will work.", "direct")),
        pytest.param(
            SECRET,
            "relay",
            ("through the relay, as this programme wants it", "through the relay"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "another secret than the relay's",
            "all",
            ("Video and sound will work.", "refused its key", "direct"),
            marks=pytest.mark.slow,
        ),
        ("another secret than the relay's", "relay", ("will not work", "the relay refused its key")),
    ],
)
async def test_a_relay_is_told_from_a_relay_that_refuses(
    open_tab: OpenTab, relay: TurnServer, tmp_path: Path, secret: str, policy: str, words: tuple[str, ...]
) -> None:
    settings = {
        "TELEMENTOR_TURN_URLS": relay.urls["udp"],
        "TELEMENTOR_TURN_SECRET": secret,
        "TELEMENTOR_RELAY_POLICY": policy,
    }
    server = await Server(tmp_path, settings).start()
    try:
        tab = await open_tab()
        await tab.enter((await server.pair()).mentor.link)
        await tab.press("Check the network")
        text = await reads(tab, *words)
        assert "no relay" not in text
        await is_released(tab)
        tab.outage_expected = True  # the server goes before it does
    finally:
        await server.close()


@pytest.mark.slow  # 13 s, and every build has calls with Firefox
async def test_the_check_in_firefox(pair: Pair, isolated: None) -> None:
    async with firefox() as other:
        tab = await other.tab()
        await tab.enter(pair.mentor.link)
        await tab.press("Check the network")
        await reads(tab, "Video and sound will work.", "loss 0 %", "direct")
        await is_released(tab)
        assert other.console_errors == []
