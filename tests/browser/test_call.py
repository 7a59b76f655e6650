"""Live video mentoring in the browser: K1–K5 as two people meet them."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab
from tests.support.condition import until
from tests.support.firefox import firefox
from tests.support.people import Pair
from tests.support.server import Server
from tests.support.tab import Tab


async def test_two_people_click_one_link_and_see_and_hear_each_other(meeting: Meeting) -> None:
    await meeting.call()
    for tab in (meeting.mentor, meeting.mentee):
        assert await tab.has("button", "Leave call")
        assert (await tab.received()).open == 1
        await tab.hears_status("connected")


async def test_they_chat_during_the_call(meeting: Meeting) -> None:
    await meeting.call()
    await meeting.mentor.say("Can you hear me?")
    await meeting.mentee.reads("Can you hear me?")
    await meeting.mentee.say("Loud and clear")
    await meeting.mentor.reads("Loud and clear")
    await meeting.flows()


async def test_a_call_rings_and_is_answered(meeting: Meeting) -> None:
    await meeting.mentee.press("Join call")
    await meeting.mentor.hears_status("ring", "calling", "call")
    await meeting.mentor.press("Join call")
    await meeting.connected()


async def test_mute_is_seen_by_the_other(meeting: Meeting) -> None:
    await meeting.call()
    await meeting.mentor.press("Mute microphone")
    assert await _appears(meeting.mentor, "button", "Unmute microphone")
    remote = await _remote_text_after(meeting.mentee, "microphone", "muted")
    assert remote
    await meeting.mentor.press("Unmute microphone")
    assert await _appears(meeting.mentor, "button", "Mute microphone")


async def test_camera_off_is_seen_by_the_other_and_sound_goes_on(meeting: Meeting) -> None:
    await meeting.call()
    await meeting.mentor.press("Stop camera")
    assert await _appears(meeting.mentor, "button", "Start camera")
    assert await _remote_text_after(meeting.mentee, "camera")
    before = (await meeting.mentee.received()).audio

    async def hears_on() -> bool:
        return (await meeting.mentee.received()).audio > before + 5

    await until(hears_on, "sound without picture")
    await meeting.mentor.press("Start camera")
    assert await _appears(meeting.mentor, "button", "Stop camera")
    await meeting.flows()


async def _appears(tab: Tab, role: str, name: str) -> bool:
    async def there() -> bool:
        return await tab.has(role, name)

    return await until(there, f"the {role} {name!r}")


async def _remote_text_after(tab: Tab, *words: str) -> bool:
    """Whether the region `Remote video` (or the status) comes to say one of these words."""

    async def said() -> bool:
        text = await tab.text_of("region", "Remote video") + await tab.text_of("status", "Status")
        return any(word in text.lower() for word in words)

    return await until(said, f"one of {words} about the other")


async def test_reload_in_mid_call_takes_the_call_up_again(meeting: Meeting) -> None:
    await meeting.call()
    await meeting.mentor.say("before the reload")
    await meeting.mentee.reads("before the reload")
    await meeting.mentee.reload()
    await meeting.mentee.link_is("online")
    await meeting.mentee.reads("before the reload")
    if await meeting.mentee.has("button", "Join call"):
        await meeting.mentee.press("Join call")
    await meeting.connected()
    assert (await meeting.mentor.received()).open == 1, "the other never holds a second connection"
    assert await meeting.mentor.times_read("before the reload") == 1


@pytest.mark.faults
async def test_a_killed_server_is_invisible_to_a_running_call(meeting: Meeting) -> None:
    for tab in (meeting.mentor, meeting.mentee):
        assert isinstance(tab, ChromiumTab)
        tab.outage_expected = True
    await meeting.call()
    made = {tab: (await tab.received()).made for tab in (meeting.mentor, meeting.mentee)}
    await meeting.server.kill()
    try:
        await asyncio.gather(*(tab.link_is("offline") for tab in made))
        await meeting.flows()
        await meeting.mentor.say("written while the server was dead")
        await meeting.flows()
    finally:
        await meeting.server.start()
    await asyncio.gather(*(tab.link_is("online") for tab in made))
    await meeting.mentee.reads("written while the server was dead")
    await meeting.connected()
    assert {tab: (await tab.received()).made for tab in made} == made, "nobody had to connect again"
    await meeting.mentee.say("marker")
    for tab in made:
        await tab.reads("marker")
        assert await tab.times_read("written while the server was dead") == 1


async def test_leaving_ends_the_call_for_both(meeting: Meeting) -> None:
    await meeting.call()
    await meeting.mentor.press("Leave call")
    await meeting.mentor.call_is("ended", "idle")
    await meeting.mentee.call_is("ended", "waiting", "idle")

    async def silent() -> bool:
        return (await meeting.mentee.received()).open == 0 and (await meeting.mentor.received()).open == 0

    await until(silent, "the end of both connections")
    if await meeting.mentee.has("button", "Leave call"):
        await meeting.mentee.press("Leave call")
    await meeting.mentee.call_is("ended", "idle")


async def test_after_leaving_they_can_call_again(meeting: Meeting) -> None:
    await meeting.call()
    for tab in (meeting.mentor, meeting.mentee):
        if await tab.has("button", "Leave call"):
            await tab.press("Leave call")
        await tab.call_is("ended", "idle")
    await meeting.mentee.press("Join call")
    await meeting.mentor.press("Join call")
    await meeting.connected()


async def test_both_links_in_two_tabs_of_one_browser_are_two_people(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    mentor = await open_tab()
    mentee = await open_tab(beside=mentor)
    meeting = await Meeting.begin(server, pair, mentor, mentee)
    await meeting.call()
    await mentor.say("I am the mentor")
    await mentee.reads("I am the mentor")
    await mentee.reload()
    await mentee.link_is("online")
    await mentee.say("I am still the mentee")
    await mentor.reads("I am still the mentee")
    articles = mentor.page.get_by_role("article", name="Mio Mentee")
    assert await articles.count() == 1


async def test_a_second_tab_of_one_person_takes_over(open_tab: OpenTab, server: Server, pair: Pair) -> None:
    """R4, never two of you: the call moves to the newer tab, the older says so."""
    mentor, mentee = await open_tab(), await open_tab()
    meeting = await Meeting.begin(server, pair, mentor, mentee)
    await meeting.call()
    second = await open_tab(beside=mentor)
    await second.enter(await server.link(pair.mentor.email))
    await second.press("Join call")
    await second.call_is("connected")
    await asyncio.gather(second.sees_and_hears(), mentee.sees_and_hears())
    await mentor.hears_status("moved", "another")
    assert (await mentee.received()).open == 1


async def test_chromium_and_firefox_hold_a_call(open_tab: OpenTab, server: Server, pair: Pair) -> None:
    async with firefox() as other:
        meeting = await Meeting.begin(server, pair, await open_tab(), await other.tab())
        await meeting.call()
        await meeting.mentor.say("from Chromium")
        await meeting.mentee.reads("from Chromium")
        await meeting.mentee.say("from Firefox")
        await meeting.mentor.reads("from Firefox")
        await meeting.mentee.reload()
        await meeting.mentee.link_is("online")
        if await meeting.mentee.has("button", "Join call"):
            await meeting.mentee.press("Join call")
        await meeting.connected()
        await meeting.mentee.press("Leave call")
        await meeting.mentee.call_is("ended", "idle")
        assert other.console_errors == []


@pytest.mark.faults
async def test_a_killed_server_is_invisible_to_firefox_too(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    mentor = await open_tab()
    mentor.outage_expected = True
    async with firefox() as other:
        meeting = await Meeting.begin(server, pair, mentor, await other.tab())
        await meeting.call()
        await server.kill()
        try:
            await meeting.mentee.link_is("offline")
            await meeting.flows()
        finally:
            await server.start()
        await meeting.mentee.link_is("online")
        await meeting.connected()
