"""The portal's first page: planning, moving, proposing and answering, as two people in London and Kolkata do it.

One side is a browser, the other asks over HTTP, so that each test is about one page.
"""

from __future__ import annotations

import re
from calendar import day_name
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.browser.conftest import OpenTab
from tests.support.appointments import Side
from tests.support.axe import violations
from tests.support.chromium import ChromiumTab
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.people import Pair
from tests.support.server import Server

LONDON, KOLKATA = "Europe/London", "Asia/Kolkata"
HERE = {"locale": "en-GB", "timezone_id": LONDON}
KEYS_MAX = 40


@dataclass
class Desk:
    """The mentor's portal in a browser; the mentee `other`, and the mentor's own hand `own`, over HTTP."""

    tab: ChromiumTab
    own: Side
    other: Side
    url: str
    clicks: int = 0

    def button(self, name: str) -> Locator:
        return self.tab.page.get_by_role("button", name=name, exact=True)

    def slots(self) -> Locator:
        """The times of the grid that can be chosen."""
        cells = self.tab.page.get_by_role("gridcell").get_by_role("button")
        return cells.and_(self.tab.page.locator(":not([aria-disabled=true])"))

    async def press(self, target: str | Locator) -> None:
        """A click, counted."""
        self.clicks += 1
        await (self.button(target) if isinstance(target, str) else target).click()

    async def hears(self, words: str) -> None:
        """Wait until the status says it."""
        await expect(self.tab.page.get_by_role("status", name="Status")).to_contain_text(words)

    async def look_again(self) -> None:
        """The window comes to the front: the portal asks what is new."""
        await self.tab.evaluate("window.dispatchEvent(new Event('focus'))")

    async def reads(self, words: str) -> None:
        await expect(self.tab.page.get_by_role("main")).to_contain_text(words)

    def asked(self) -> Locator:
        """What waits for an answer."""
        return self.tab.page.get_by_role("region", name="Waits for your answer", exact=True)

    async def confirmed(self, day: int = 0) -> dict[str, Any]:
        """A session that both agreed on, at a free time from so many days ahead on."""
        return await self.own.accept(await self.other.book((await self.free(day))[0]))

    async def free(self, day: int = 0) -> list[dict[str, Any]]:
        """Free times within both people's hours, the first at least two days ahead."""
        return await self.other.slots(datetime.now(UTC).date() + timedelta(days=2 + day))

    async def open(self) -> None:
        """Load the page anew, with what has happened meanwhile."""
        await self.tab.open(self.url)
        await self.tab.page.get_by_role("article").first.wait_for()


@pytest_asyncio.fixture(loop_scope="session")
async def desk(server: Server, pair: Pair, open_tab: OpenTab) -> AsyncIterator[Desk]:
    """The mentor looks at the portal in London, the mentee is in Kolkata."""
    own = Side(server.url, pair, pair.mentor, LONDON)
    async with own, Side(server.url, pair, pair.mentee, KOLKATA) as other:
        tab = await open_tab(**HERE)
        await tab.enter(pair.mentor.link)
        desk = Desk(tab, own, other, f"{server.url}/")
        await desk.open()
        yield desk


async def test_a_session_is_planned_and_accepted(desk: Desk) -> None:
    await desk.reads("Nothing is planned.")
    await desk.press("Plan a session")
    await desk.tab.page.get_by_role("textbox", name="What is it about? (optional)").fill("The tender")
    await desk.press(desk.slots().first)
    await desk.hears("Mio Mentee is asked for a session")
    await desk.reads("About: The tender")
    await desk.reads("Waits for Mio Mentee’s answer")
    session = await desk.own.session()
    assert (session["state"], session["minutes"], session["agenda"]) == ("requested", 60, "The tender")
    await desk.other.accept(session)
    await desk.look_again()
    await expect(desk.tab.page.get_by_role("main")).not_to_contain_text("Waits for")


async def test_a_request_is_accepted(desk: Desk) -> None:
    slot = (await desk.free())[0]
    await desk.other.book(slot)
    await desk.look_again()
    await desk.press(desk.asked().get_by_role("button", name="Accept", exact=True))
    await desk.hears("Agreed: ")
    await expect(desk.asked()).to_have_count(0)
    session = await desk.own.session()
    assert (session["state"], session["start"]) == ("confirmed", slot["start"])


async def test_a_session_moves_in_two_clicks(desk: Desk) -> None:
    """S8: at once, and both times stand on what is clicked."""
    before = await desk.confirmed()
    await desk.open()
    desk.clicks = 0
    await desk.press("Move session")
    slot = desk.slots().nth(3)
    name = await slot.text_content() or ""
    await desk.press(slot)
    await desk.hears("The session moved to ")
    after = await desk.own.session()
    assert (after["id"], after["seq"]) == (before["id"], before["seq"] + 1)
    for time in (after["start"], LONDON), (after["start"], KOLKATA):
        assert _clock(*time) in name, (name, time)
    assert after["answers"][desk.other.person.person] == "needs_action"  # S2
    measured("clicks for a move", desk.clicks, "clicks")
    assert desk.clicks == 2


async def test_a_session_moves_by_keyboard_alone(desk: Desk) -> None:
    before = await desk.confirmed()
    await desk.open()
    page = desk.tab.page
    keys = count(1)

    async def press(key: str) -> int:
        await page.keyboard.press(key)
        return next(keys)

    pressed = 0
    while pressed < KEYS_MAX and await _focused(desk) != "Move session":
        pressed = await press("Tab")
    measured("keys to reach Move session", pressed, "keys")
    await press("Enter")
    await until(lambda: _focus_in_grid(desk), "the focus on a free time")
    first = await _focused(desk)
    await press("ArrowDown")
    below = await _focused(desk)
    await press("ArrowRight")
    beside = await _focused(desk)
    await press("Home")
    await press("PageDown")
    await until(lambda: _focus_in_grid(desk), "the focus on a time of the next week")
    next_week = await _focused(desk)
    assert len({first, below, beside, next_week}) == 4, (first, below, beside, next_week)
    assert (
        await page.get_by_role("gridcell").get_by_role("button").and_(page.locator("[tabindex='0']")).count()
        == 1
    ), "one time is reached by Tab"
    await press("PageUp")
    await until(lambda: _focus_in_grid(desk), "the focus on a time of this week")
    await press("Enter")
    await desk.hears("The session moved to ")
    assert (await desk.own.session())["start"] != before["start"]


async def test_the_fewest_keys_of_a_move(desk: Desk) -> None:
    """From the button on: open, one step, choose."""
    before = await desk.confirmed()
    await desk.open()
    await desk.button("Move session").focus()
    for number, key in enumerate(("Enter", "ArrowDown", "Enter"), 1):
        if number == 2:
            await until(lambda: _focus_in_grid(desk), "the focus on a free time")
        await desk.tab.page.keyboard.press(key)
    await desk.hears("The session moved to ")
    measured("keys for a move, from its button on", 3, "keys")
    assert (await desk.own.session())["start"] != before["start"]
    assert await _focused(desk) == "Move session", "the focus is back where it was"


async def test_both_move_at_once_and_the_own_pick_becomes_a_proposal(desk: Desk) -> None:
    """S4: the first rev wins; the other sees it in place, and proposes their pick with one click."""
    desk.tab.refusal_expected = True
    session = await desk.confirmed()
    await desk.open()
    await desk.press("Move session")
    await desk.slots().first.wait_for()
    theirs = (await desk.free(1))[-1]
    await desk.other.move(session, theirs)
    await desk.press(desk.slots().nth(2))
    alert = desk.tab.page.get_by_role("alert").filter(has_text="Mio Mentee moved it meanwhile to ")
    await expect(alert).to_contain_text(_clock(theirs["start"], LONDON))
    assert await violations(desk.tab.page) == []
    await desk.press("Propose my time instead")
    await desk.hears("One time is proposed to Mio Mentee.")
    after = await desk.own.session()
    assert after["start"] == theirs["start"]  # S8: the old time stands
    (proposal,) = after["proposals"]
    assert [proposal["by"], len(proposal["times"])] == [desk.own.person.person, 1]
    await desk.press("Take it back")
    await desk.hears("Your proposal is taken back.")
    assert (await desk.own.session())["proposals"] == []


async def test_up_to_five_times_are_proposed(desk: Desk) -> None:
    await desk.confirmed()
    await desk.open()
    await desk.press("Propose other times")
    for index in range(6):
        await desk.press(desk.slots().nth(index))
    await expect(desk.tab.page.get_by_role("alert").first).to_contain_text("Five times are chosen")
    await expect(desk.tab.page.get_by_role("list", name="Your times").get_by_role("listitem")).to_have_count(
        5
    )
    await desk.press("Propose these 5 times")
    await desk.hears("5 times are proposed to Mio Mentee.")
    (proposal,) = (await desk.own.session())["proposals"]
    assert len(proposal["times"]) == 5


async def test_a_proposal_is_accepted_by_its_time(desk: Desk) -> None:
    session = await desk.confirmed()
    slots = await desk.free(1)
    await desk.other.propose(session, slots[2], slots[4])
    await desk.open()
    await desk.press(desk.asked().get_by_role("button", name=re.compile("^Accept ")).nth(1))
    await desk.hears("Agreed: ")
    after = await desk.own.session()
    assert (after["start"], after["proposals"]) == (slots[4]["start"], [])


async def test_a_proposal_is_declined_and_the_old_time_stands(desk: Desk) -> None:
    session = await desk.confirmed()
    await desk.other.propose(session, (await desk.free(1))[2])
    await desk.open()
    await desk.press("None of these")
    await desk.hears("the old time stands")
    after = await desk.own.session()
    assert (after["state"], after["start"], after["proposals"]) == ("confirmed", session["start"], [])


async def test_declining_and_cancelling(desk: Desk) -> None:
    """A request is declined at once; what was agreed on is given up only after asking once."""
    await desk.other.book((await desk.free())[0])
    await desk.look_again()
    await desk.press("Decline")
    await desk.hears("You declined.")
    assert (await desk.own.session())["state"] == "declined"
    session = await desk.confirmed()
    await desk.look_again()
    await desk.press("Cancel session")
    await desk.press("Keep it")
    await expect(desk.tab.page.get_by_role("dialog")).to_have_count(0)
    assert "confirmed" in {one["state"] for one in await desk.own.sessions()}
    await desk.press("Cancel session")
    await desk.press("Cancel it")
    await desk.hears("The session is cancelled.")
    assert {one["id"]: one["state"] for one in await desk.own.sessions()}[session["id"]] == "cancelled"
    await desk.reads("Nothing is planned.")


async def test_a_pair_that_agrees_first_proposes_instead_of_moving(desk: Desk, server: Server) -> None:
    await server.command("moves", "--room", desk.own.room, "approve")
    await desk.confirmed()
    await desk.open()
    await expect(desk.button("Move session")).to_have_count(0)
    await desk.press("Propose other times")
    await desk.press(desk.slots().first)
    await desk.press("Propose this time")
    await desk.hears("One time is proposed")


async def test_a_typed_time_that_the_clocks_skip_or_show_twice(desk: Desk) -> None:
    """S9: the choices are buttons, in place, and what was typed stays."""
    desk.tab.refusal_expected = True
    skipped, twice = _clock_changes()
    for day, wall in (skipped, "01:30"), (twice, "01:30"):
        await desk.press("Plan a session")
        await desk.tab.page.get_by_text("Type date and time", exact=True).click()
        typed = desk.tab.page.get_by_label("Date and time in London")
        await typed.fill(f"{day.isoformat()}T{wall}")
        await desk.press("Book this time")
        choices = desk.tab.page.get_by_role("alert").get_by_role("button")
        await expect(choices).to_have_count(2)
        assert await typed.input_value() == f"{day.isoformat()}T{wall}"
        await desk.press(choices.nth(1))
        await expect(desk.tab.page.get_by_role("dialog")).to_have_count(0)
    found = {one["wall"]: one.get("fold", 0) for one in await desk.own.sessions()}
    assert found == {f"{skipped.isoformat()}T02:00": 0, f"{twice.isoformat()}T01:30": 1}


async def test_hours_decide_what_is_offered(desk: Desk) -> None:
    """Free is free: what lies outside of working hours is behind a switch, and says whose."""
    kept = (datetime.now(ZoneInfo(LONDON)) + timedelta(days=2)).weekday()
    await desk.press("Working hours")
    dialog = desk.tab.page.get_by_role("dialog")
    for day in set(range(7)) - {kept}:
        await desk.press(f"Remove hours 1 on {day_name[day]}")
    await dialog.get_by_label(f"{day_name[kept]}, from, 1").fill("09:00")
    await dialog.get_by_label(f"{day_name[kept]}, to, 1").fill("08:00")
    await desk.press("Save hours")
    await expect(dialog.get_by_role("alert")).to_contain_text(day_name[kept])
    await dialog.get_by_label(f"{day_name[kept]}, to, 1").fill("11:00")
    await desk.press("Save hours")
    await desk.hears("Your working hours are saved.")
    assert (await desk.own.me())["hours"]["weekly"] == [{"day": kept, "from": "09:00", "to": "11:00"}]
    await desk.press("Plan a session")
    await desk.slots().first.wait_for()
    within = await desk.slots().count()
    assert within == 3, "an hour fits at 9:00, 9:30 and 10:00"
    await desk.tab.page.get_by_role("switch", name="Also outside working hours").check()
    await expect(
        desk.tab.page.get_by_role("button", name=re.compile("outside your hours$")).first
    ).to_be_visible()
    assert await desk.slots().count() > 5 * within


async def test_a_calendar_address_is_made_copied_and_ended(desk: Desk) -> None:
    await desk.tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await desk.press("Calendar")
    await desk.press("Make an address")
    field = desk.tab.page.get_by_role("textbox", name="Calendar address")
    address = await field.input_value()
    assert re.fullmatch(r"http://\S+/calendar/[\w-]{20,}\.ics", address)
    link = desk.tab.page.get_by_role("link", name="Open in the calendar app")
    assert await link.get_attribute("href") == address.replace("http:", "webcal:")
    await desk.press("Copy address")
    await desk.tab.page.get_by_text("The address is copied.").wait_for()
    assert await desk.tab.evaluate("navigator.clipboard.readText()") == address
    await desk.press("Make a new address")
    await expect(field).not_to_have_value(address)
    await desk.press("End the address")
    await desk.tab.page.get_by_text("No address leads to your sessions any more.").wait_for()
    assert not (await desk.own.me())["feed"]


async def test_a_device_in_another_zone_asks_once(desk: Desk) -> None:
    prompt = desk.tab.page.get_by_role("region", name="Time zone")
    await expect(prompt).to_have_count(0)
    await desk.own.ask("PATCH", "/api/me", {"tz": KOLKATA})
    await desk.look_again()
    await desk.press("Stay with Kolkata")
    await desk.open()
    await expect(prompt).to_have_count(0)
    await desk.tab.evaluate("localStorage.removeItem('telementor.zone.answered')")
    await desk.open()
    await desk.press("Use London")
    await desk.hears("London time")
    assert (await desk.own.me())["tz"] == LONDON


async def test_what_fails_leaves_what_was_entered(desk: Desk) -> None:
    """No answer: said in place; the same click again does it, once."""
    desk.tab.outage_expected = True
    await desk.press("Plan a session")
    about = desk.tab.page.get_by_role("textbox", name="What is it about? (optional)")
    await about.fill("Careers")
    await desk.slots().first.wait_for()
    await desk.tab.page.context.set_offline(True)
    await desk.press(desk.slots().first)
    await expect(desk.tab.page.get_by_role("alert").first).to_contain_text("The server did not answer.")
    assert await about.input_value() == "Careers"
    await desk.tab.page.context.set_offline(False)
    await desk.press(desk.slots().first)
    await desk.hears("is asked for a session")
    assert (await desk.own.session())["agenda"] == "Careers"


async def _focused(desk: Desk) -> str:
    """The accessible name of what has the focus."""
    name: str = await desk.tab.evaluate(
        "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent ?? '').trim()"
    )
    return name


async def _focus_in_grid(desk: Desk) -> bool:
    return bool(
        await desk.tab.evaluate(
            "document.activeElement.closest('[role=gridcell]') && !document.querySelector('[aria-busy=true]')"
        )
    )


def _clock(start_ms: int, tz: str) -> str:
    """As the page shows it in en-GB."""
    return datetime.fromtimestamp(start_ms / 1000, ZoneInfo(tz)).strftime("%-H:%M")


def _clock_changes() -> tuple[date, date]:
    """The next days on which London's clocks are set forward and back: the last Sundays of March and October."""
    today = datetime.now(UTC).date() + timedelta(days=2)

    def last_sunday(month: int) -> date:
        days = (date(year, month, 31) for year in (today.year, today.year + 1))
        sundays = (day - timedelta(days=(day.weekday() + 1) % 7) for day in days)
        return next(day for day in sundays if day > today)

    return last_sunday(3), last_sunday(10)
