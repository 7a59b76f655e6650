"""Every state of a session in the room: axe finds nothing, nothing overflows, a picture is kept."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import OpenTab
from tests.browser.look import Look, each_size_and_scheme
from tests.browser.meeting import Meeting
from tests.browser.planning import KOLKATA, LONDON, Planning
from tests.browser.test_sessions import MINUTE_MS, look_at_the_clock, says
from tests.support.people import Pair
from tests.support.server import Server

pytestmark = each_size_and_scheme


async def test_screens_of_a_session_that_is_planned(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    async with Planning(server, pair) as plans:
        tab = await open_tab(**options, timezone_id=KOLKATA, locale="en-GB")
        await tab.enter(pair.mentee.link)
        await says(tab, "No session is planned")
        await look.at(tab, "session-none")
        session = await plans.request(
            3 * 24 * 60 + 30, agenda="The second chapter, and how to go on from there"
        )
        await says(tab, "Accept")
        await look.at(tab, "session-asked")
        session = await plans.mentee.accept(session)
        await says(tab, "Next session in 3 days")
        await look.at(tab, "session-planned")
        session = await plans.move(plans.mentor, session, 45)
        await says(tab, "Moved by")
        await look.at(tab, "session-moved")
        session = await plans.mentee.accept(session)
        session = await plans.propose(plans.mentor, session, 90, 200, 24 * 60)
        await says(tab, "None of these")
        await look.at(tab, "session-proposed")
        await look_at_the_clock(tab, session["start"] - 7 * MINUTE_MS)
        await tab.press("None of these")
        await tab.page.get_by_role("button", name="None of these").wait_for(state="detached")
        await says(tab, "The session can start")
        await tab.press("Running late")
        await look.at(tab, "session-can-start")
        await tab.press(f"Let {pair.mentor.name} know I am here")
        await says(tab, "has been told")
        await look_at_the_clock(tab, session["start"] + 11 * MINUTE_MS)
        await says(tab, "has not come yet")
        await look.at(tab, "session-alone")
        session = await plans.mentee.session()
        await plans.cancel(plans.mentor, session, "I am ill")
        await says(tab, "No session is planned", "was cancelled")
        await look.at(tab, "session-cancelled")
    assert look.found == {}


async def test_screens_of_a_session_under_way(
    open_tab: OpenTab, server: Server, pair: Pair, look: Look, options: dict[str, Any]
) -> None:
    mentor = await open_tab(**options, timezone_id=LONDON, locale="en-GB")
    mentee = await open_tab(**options, timezone_id=KOLKATA, locale="en-GB")
    async with Planning(server, pair) as plans:
        session = await plans.confirmed(5)
        meeting = await Meeting.begin(server, pair, mentor, mentee)
        await meeting.call()
        await mentor.page.get_by_text("left", exact=False).first.wait_for()
        await look.at(mentor, "session-live")
        await look_at_the_clock(mentor, session["start"] + 56 * MINUTE_MS)
        await mentor.page.get_by_text("4 minutes left").wait_for()
        await look.at(mentor, "session-last-minutes")
        await mentor.press("Continue later")
        await mentor.page.get_by_role("dialog", name=f"Plan a session with {pair.mentee.name}").wait_for()
        await mentor.press("Close")
        await mentor.press("Session")
        await says(mentor, "4 minutes left")
        await look.at(mentor, "session-in-call")
    assert look.found == {}
