"""Every screen and state: axe finds nothing, nothing overflows, and a picture is kept for people to look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.browser.conftest import OpenTab
from tests.browser.look import Look, each_size_and_scheme
from tests.browser.meeting import Meeting
from tests.support.appointments import Side
from tests.support.chromium import ChromiumTab
from tests.support.people import Pair
from tests.support.server import Server

pytestmark = each_size_and_scheme


async def test_screens_of_a_meeting(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    mentor, mentee = await open_tab(**options), await open_tab(**options)
    await mentor.open(pair.mentor.link)
    await mentor.page.get_by_role("button").wait_for()
    await look.at(mentor, "enter")
    meeting = await Meeting.begin(server, pair, mentor, mentee)
    await look.at(mentor, "before")
    await mentor.press("Join call")
    await mentor.call_is("waiting")
    await look.at(mentor, "waiting")
    await mentee.hears_status("ring", "calling", "call")
    await look.at(mentee, "ringing")
    await mentee.press("Join call")
    await meeting.connected()
    await _open_chat(mentor)
    await mentor.say("Welcome to *our* room: https://example.org and `some code`")
    await _open_chat(mentee)
    await mentee.reads("Welcome")
    await mentee.say("Thank you!")
    await mentor.reads("Thank you!")
    await look.at(mentor, "in-call-with-chat")
    await look.at(mentee, "in-call")
    await mentor.press("Stop camera")
    await mentor.press("Mute microphone")
    await look.at(mentee, "in-call-other-muted")
    for tab in (mentor, mentee):
        if await tab.has("button", "Leave call"):
            await tab.press("Leave call")
        await tab.call_is("ended", "idle")
    await look.at(mentor, "ended")
    assert look.found == {}


async def test_screens_of_the_safety_code_and_a_shared_screen(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    mentor, mentee = await open_tab(**options), await open_tab(**options)
    meeting = await Meeting.begin(server, pair, mentor, mentee)
    await meeting.call()
    await mentor.press("Safety code")
    await mentor.page.get_by_role("group", name=f"Safety code with {pair.mentee.name}").wait_for()
    await look.at(mentor, "safety-code")
    await mentor.press("We see the same code")
    await look.at(mentor, "safety-code-compared")
    await mentor.press("Close")
    await mentor.press("Settings")
    await look.at(mentor, "settings-in-call")
    await mentor.press("Close")
    await mentee.reload()
    await mentee.link_is("online")
    await meeting.connected()
    await mentor.page.get_by_role("button", name="Compare again").wait_for()
    await look.at(mentor, "safety-code-changed")
    await mentor.press("Compare again")
    await mentor.page.get_by_role("group", name=f"Safety code with {pair.mentee.name}").wait_for()
    await look.at(mentor, "safety-code-to-compare-again")
    await mentor.press("Close")
    await mentee.press("Share screen")
    await mentor.page.get_by_role("region", name="Remote screen").wait_for()
    await meeting.flows()
    await look.at(mentor, "screen-beside-camera")
    await look.at(mentee, "sharing-the-screen")
    await mentee.press("Stop camera")
    await mentor.page.get_by_text("shares the screen").wait_for()
    await look.at(mentor, "screen-without-camera")
    assert look.found == {}


async def _open_chat(tab: ChromiumTab) -> None:
    """On a phone the chat lies over the video and is opened with its button."""
    if not await tab.has("textbox", "Message") and await tab.has("button", "Chat"):
        await tab.press("Chat")


async def test_screens_of_problems(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    stranger = await open_tab(**options)
    stranger.refusal_expected = True
    await stranger.open(pair.url)
    await look.at(stranger, "problem-no-such-room")
    used = await open_tab(**options)
    await used.enter(pair.mentor.link)
    again = await open_tab(**options)
    again.refusal_expected = True
    await again.open(pair.mentor.link)
    await again.press_the_one_button()
    await again.page.wait_for_load_state()
    await look.at(again, "problem-used-link")
    bare = await open_tab(**options)
    await bare.open(f"{server.url}/enter")
    await look.at(bare, "enter-without-token")
    home = await open_tab(**options)
    await home.open(f"{server.url}/")
    await look.at(home, "front")
    assert look.found == {}


async def test_screens_without_a_connection(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    mentor = await open_tab(**options)
    mentor.outage_expected = True
    await mentor.enter(pair.mentor.link)
    await server.kill()
    try:
        await mentor.link_is("offline")
        await mentor.hears_status("reconnecting", "connection", "offline")
        await _open_chat(mentor)
        await mentor.say("typed while offline")
        await mentor.reads("typed while offline")
        await look.at(mentor, "offline")
    finally:
        await server.start()
    await mentor.link_is("online")
    assert look.found == {}


async def test_screens_of_the_portal(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    """The picture of a week, of requests and of every dialog; also at 200 % and from right to left."""
    tab = await open_tab(**options, locale="en-GB", timezone_id="Asia/Tokyo")
    page = tab.page
    mentor = Side(server.url, pair, pair.mentor, "Europe/London")
    async with mentor, Side(server.url, pair, pair.mentee, "Asia/Kolkata") as mentee:
        await tab.enter(pair.mentor.link)
        await tab.open(f"{server.url}/")
        await page.get_by_role("article").wait_for()
        await look.at(tab, "portal-nothing-planned")
        first, _, *others = await mentee.slots(datetime.now(UTC).date() + timedelta(days=2))
        session = await mentor.accept(await mentee.book(first, agenda="The tender"))
        await mentee.propose(session, others[2], others[3])
        await mentee.book(others[-1], agenda="Careers")
        await tab.reload()
        await page.get_by_role("button", name="Accept", exact=True).wait_for()
        await look.at(tab, "portal")
        card = page.get_by_role("article")
        await card.get_by_role("button", name="Propose other times", exact=True).click()
        free = page.locator("[role=gridcell] button:not([aria-disabled=true]):visible")
        await free.first.click()
        await free.nth(1).click()
        await look.at(tab, "portal-propose")
        await page.get_by_role("switch").check()
        await page.get_by_text("Type date and time").click()
        await look.at(tab, "portal-propose-outside-hours")
        await page.evaluate("document.documentElement.dir = 'rtl'")
        await look.at(tab, "portal-propose-right-to-left")
        await tab.press("Close")
        await look.at(tab, "portal-right-to-left")
        await page.evaluate("document.documentElement.dir = 'ltr'")
        for name in ("Working hours", "Calendar", "Language and time zone", "Cancel session"):
            await page.get_by_role("button", name=name, exact=True).first.click()
            await page.get_by_role("dialog").wait_for()
            await look.at(tab, f"portal-{name.lower().replace(' ', '-')}")
            await page.keyboard.press("Escape")
        size = options["viewport"]
        # Nobody has to read at less than 320 pixels (WCAG 2.2, 1.4.10).
        await page.set_viewport_size({"width": max(320, size["width"] // 2), "height": size["height"] // 2})
        await look.at(tab, "portal-at-200-percent")
        await tab.press("Plan a session")
        await free.first.wait_for()
        await look.at(tab, "portal-plan-at-200-percent")
    assert look.found == {}
