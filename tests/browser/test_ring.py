"""Ringing, missing, moving and hanging up, as two people with several devices meet them (K1, R4)."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab
from tests.support.condition import until
from tests.support.people import Pair
from tests.support.server import Server
from tests.support.tab import Tab


async def _another_device(open_tab: OpenTab, server: Server, email: str) -> ChromiumTab:
    tab = await open_tab()
    await tab.enter(await server.link(email))
    return tab


async def _rings(*tabs: Tab) -> None:
    for tab in tabs:
        await tab.hears_status("is calling")
        assert await tab.has("button", "Decline")


async def _is_silent(*tabs: Tab) -> None:
    for tab in tabs:

        async def silent(tab: Tab = tab) -> bool:
            return not await tab.has("button", "Decline")

        await until(silent, "the end of the ringing")
        assert "calling" not in (await tab.text_of("status", "Status")).lower()


async def _no_connection(*tabs: Tab) -> None:
    async def none() -> bool:
        return not any([(await tab.received()).open for tab in tabs])

    await until(none, "the end of all connections")


async def test_K1_all_devices_of_the_partner_ring_until_one_answers(
    meeting: Meeting, open_tab: OpenTab, server: Server
) -> None:
    phone = await _another_device(open_tab, server, meeting.pair.mentee.email)
    await meeting.mentor.press("Join call")
    await _rings(meeting.mentee, phone)
    await phone.press("Join call")
    await asyncio.gather(phone.call_is("connected"), meeting.mentor.call_is("connected"))
    await asyncio.gather(phone.sees_and_hears(), meeting.mentor.sees_and_hears())
    await _is_silent(meeting.mentee)
    assert await meeting.mentee.call_state() == "idle"


async def test_K1_declining_on_one_device_silences_all_and_the_caller_is_told(
    meeting: Meeting, open_tab: OpenTab, server: Server
) -> None:
    phone = await _another_device(open_tab, server, meeting.pair.mentee.email)
    await meeting.mentor.press("Join call")
    await _rings(meeting.mentee, phone)
    await meeting.mentee.press("Decline")
    await _is_silent(meeting.mentee, phone)
    await meeting.mentor.hears_status("cannot talk right now")


async def test_K1_a_call_that_nobody_answered_stands_in_the_conversation(
    meeting: Meeting, open_tab: OpenTab, server: Server
) -> None:
    await meeting.mentor.press("Join call")
    await _rings(meeting.mentee)
    await meeting.mentor.press("Leave call")
    await _is_silent(meeting.mentee)
    await meeting.mentee.reads(f"You missed a call from {meeting.pair.mentor.name}")
    await meeting.mentor.reads("Nobody answered your call")
    later = await _another_device(open_tab, server, meeting.pair.mentee.email)
    await later.reads(f"You missed a call from {meeting.pair.mentor.name}")


async def test_R4_another_device_takes_the_call_over_and_leaves_no_ghost(
    meeting: Meeting, open_tab: OpenTab, server: Server
) -> None:
    await meeting.call()
    phone = await _another_device(open_tab, server, meeting.pair.mentee.email)
    await phone.press("Join call")
    await asyncio.gather(phone.call_is("connected"), meeting.mentor.call_is("connected"))
    await asyncio.gather(phone.sees_and_hears(), meeting.mentor.sees_and_hears())
    await meeting.mentee.hears_status("moved to another")
    await _no_connection(meeting.mentee)
    assert (await meeting.mentor.received()).open == 1
    await phone.press("Leave call")
    await meeting.mentor.call_is("ended", "idle")
    await _no_connection(phone, meeting.mentor)


@pytest.mark.faults
async def test_K5_hanging_up_while_the_server_is_away_ends_both_sides(
    server: Server, pair: Pair, open_tab: OpenTab
) -> None:
    mentor, mentee = await open_tab(), await open_tab()
    for tab in (mentor, mentee):
        tab.outage_expected = True
    meeting = await Meeting.begin(server, pair, mentor, mentee)
    await meeting.call()
    await server.kill()
    try:
        await asyncio.gather(mentor.link_is("offline"), mentee.link_is("offline"))
        await meeting.flows()
        await mentor.press("Leave call")
        await mentor.call_is("ended", "idle")
        await mentee.call_is("reconnecting", "ended", "waiting", "idle")
    finally:
        await server.start()
    await mentee.call_is("ended", "idle")
    await mentee.hears_status("left the call", "the call is over")
    await _no_connection(mentor, mentee)
    assert await mentor.call_state() in {"ended", "idle"}
