"""The call repairs itself: what the page does when media stop, with a partner whose faults are real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from tests.browser.conftest import OpenTab
from tests.support.aiortc_peer import AiortcMember
from tests.support.chromium import ChromiumTab
from tests.support.client import Options, PythonClient
from tests.support.condition import until
from tests.support.people import Pair
from tests.support.server import Server

Meet = Callable[[], Awaitable[tuple[ChromiumTab, AiortcMember]]]


@pytest_asyncio.fixture(loop_scope="session")
async def meet(open_tab: OpenTab, server: Server, pair: Pair) -> AsyncIterator[Meet]:
    """The mentor in Chromium in a call with a mentee whose client is made of aiortc."""
    members: list[AiortcMember] = []

    async def begin() -> tuple[ChromiumTab, AiortcMember]:
        tab = await open_tab()
        await tab.enter(pair.mentor.link)
        await tab.press("Join call")
        client = await PythonClient(server.url, pair.mentee, Options()).connect()
        members.append(await AiortcMember(client, pair.room).join())
        await tab.call_is("connected")
        await tab.sees_and_hears()
        return tab, members[-1]

    yield begin
    for member in members:
        await member.close()
        await member.client.drop()


async def test_K3_an_aiortc_peer_is_a_good_partner_and_its_lost_connection_is_made_anew(meet: Meet) -> None:
    tab, member = await meet()
    assert member.peer
    await until(member.peer.flowing, "the page's sound and picture at the other side")
    await member.vanish()
    await until(lambda: len(member.legs) == 2, "a new leg of the page", timeout_s=30)
    await tab.call_is("connected", timeout_s=30)
    await tab.sees_and_hears()


async def test_a_picture_that_stops_on_a_good_path_is_named_within_seconds(meet: Meet) -> None:
    tab, member = await meet()
    assert member.peer
    member.peer.stop_picture()
    await tab.hears_status("does not arrive", timeout_s=10)
    assert await tab.call_state() == "connected", "they still hear each other"
    # Repaired by a new leg, since aiortc knows no restart: its camera works again there.
    await until(lambda: len(member.legs) == 2, "a new leg of the page", timeout_s=30)
    await tab.hears_status("Connected with")
    await tab.sees_and_hears()
