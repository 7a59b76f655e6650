"""K7, the safety code: both read the same one, and anybody in between changes it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.condition import until
from tests.support.firefox import firefox
from tests.support.middle import in_the_middle
from tests.support.people import Pair
from tests.support.server import Server
from tests.support.tab import Tab

GROUPS = 6
CHANGED = "has changed"


async def code_of(tab: Tab, partner: str) -> list[str]:
    """What a person reads: open the dialog by its button, read the six groups, close it."""
    await tab.press("Safety code")
    name = f"Safety code with {partner}"

    async def groups() -> list[str] | None:
        if not await tab.has("group", name):
            return None
        found = re.findall(r"\b\d{5}\b", await tab.text_of("group", name))
        return found if len(found) == GROUPS else None

    try:
        code = await until(groups, f"the six groups of {name!r}")
        assert code
        return code
    finally:
        await tab.press("Close")


async def codes_of(meeting: Meeting) -> tuple[list[str], list[str]]:
    """The mentor's and the mentee's."""
    pair = meeting.pair
    return await code_of(meeting.mentor, pair.mentee.name), await code_of(meeting.mentee, pair.mentor.name)


async def test_K7_both_read_the_same_code_and_a_new_connection_keeps_it(meeting: Meeting) -> None:
    await meeting.call()
    first, same = await codes_of(meeting)
    assert first == same
    made = (await meeting.mentor.received()).made
    for tab in (meeting.mentor, meeting.mentee):
        if await tab.has("button", "Leave call"):
            await tab.press("Leave call")
        await tab.call_is("ended", "idle")
    await meeting.call()
    assert (await meeting.mentor.received()).made > made, "another connection"
    assert await codes_of(meeting) == (first, first)


async def test_K7_who_compared_is_told_when_the_code_changes(meeting: Meeting) -> None:
    await meeting.call()
    before, _ = await codes_of(meeting)
    await meeting.mentor.press("Safety code")
    await meeting.mentor.press("We see the same code")
    await meeting.mentor.press("Close")
    await meeting.flows()
    assert not await _warned(meeting.mentor)
    await meeting.mentee.reload()
    await meeting.mentee.link_is("online")
    await meeting.connected()

    async def warned() -> bool:
        return await _warned(meeting.mentor)

    await until(warned, "the news that the code changed")
    after, same = await codes_of(meeting)
    assert after == same, "compared again, all is well"
    assert after != before
    await meeting.mentor.press("Compare again")
    await meeting.mentor.press("We see the same code")
    await meeting.mentor.press("Close")
    assert not await _warned(meeting.mentor)


async def _warned(tab: Tab) -> bool:
    return bool(await tab.has("button", "Compare again"))


@pytest.mark.slow  # 12 s, and every build has calls with Firefox
async def test_K7_chromium_and_firefox_read_the_same_code(
    open_tab: OpenTab, server: Server, pair: Pair, artifacts: Path
) -> None:
    async with firefox() as other:
        meeting = await Meeting.begin(server, pair, await open_tab(), await other.tab())
        await meeting.call()
        mentors, mentees = await codes_of(meeting)
        assert mentors == mentees
        assert other.console_errors == []


async def test_K7_somebody_in_the_middle_makes_two_codes(open_tab: OpenTab, server: Server) -> None:
    """Each sees the other in the picture, relayed by a stranger who holds both ends: the codes differ."""
    one, other = await server.pair(), await server.pair()
    mentor, mentee = await open_tab(), await open_tab()
    await asyncio.gather(mentor.enter(one.mentor.link), mentee.enter(other.mentee.link))
    for tab in (mentor, mentee):
        await tab.press("Join call")
        await tab.call_is("waiting")
    async with in_the_middle(server.url, (one.room, one.mentee), (other.room, other.mentor)):
        for tab in (mentor, mentee):
            await tab.call_is("connected")
        await asyncio.gather(mentor.sees_and_hears(), mentee.sees_and_hears())
        assert await code_of(mentor, one.mentee.name) != await code_of(mentee, other.mentor.name)
