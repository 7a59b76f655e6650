"""A session as two people in their room live it: it moves while one waits, and nobody is thrown out (S1, S4, S8, S10)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Locator

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.browser.planning import Planning
from tests.support.chromium import ChromiumTab
from tests.support.clock import Clock
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.people import Pair
from tests.support.redis_servers import running
from tests.support.server import Server

MOVES = 20
MINUTE_MS = 60_000
DRAFT = "half a thought that is not sent yet"

NOTE_CLICK = """
addEventListener('click', () => { window.__clickedAt = performance.timeOrigin + performance.now(); }, true)
"""
NOTE_CHANGE = """
{
  const shown = () => document.querySelector('[aria-label="Session"]')?.textContent ?? '';
  let last = shown();
  window.__changes = [];
  new MutationObserver(() => {
    const now = shown();
    if (now !== last) window.__changes.push(performance.timeOrigin + performance.now());
    last = now;
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def planning(server: Server, pair: Pair) -> AsyncIterator[Planning]:
    async with Planning(server, pair) as plans:
        yield plans


@pytest.fixture(scope="module")
def store_url(isolated: None) -> Iterator[str]:
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        # In a thread of its own: the session's event loop runs in this one.
        yield thread.submit(stack.enter_context, running("valkey")).result()
        thread.submit(stack.close).result()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def nodes(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Server]]:
    """Two servers on one store and one database."""
    folder = tmp_path_factory.mktemp("two-nodes")
    settings = {"TELEMENTOR_REDIS": store_url, "TELEMENTOR_DATABASE": f"sqlite:///{folder / 'shared.db'}"}
    started: list[Server] = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        started.append(await Server(folder / name, settings).start())
    yield started
    for node in started:
        await node.close()
        assert "Traceback" not in node.log, f"the server tripped:\n{node.log[-4000:]}"


# ------------------------------------------------------------------------------------------- in words


def session_of(tab: ChromiumTab) -> Locator:
    """All that the room says of its session."""
    return tab.page.get_by_role("region", name="Session", exact=True)


async def says(tab: ChromiumTab, *texts: str) -> None:
    """Wait until the session's region holds each of these."""

    async def said() -> bool:
        shown = await session_of(tab).inner_text() if await session_of(tab).count() else ""
        return all(text in shown for text in texts)

    try:
        await until(said, f"{texts} in the session")
    except TimeoutError as error:
        shown = await session_of(tab).all_inner_texts()
        raise TimeoutError(f"{error}; it holds {shown!r}") from None


async def draft_of(tab: ChromiumTab) -> str:
    return await tab.page.get_by_role("textbox", name="Message", exact=True).input_value()


async def pick_another_time(tab: ChromiumTab, number: int) -> None:
    """`Move session`, then one of the times that are free for both."""
    await tab.press("Move session")
    grid = tab.page.get_by_role("grid", name="Times that are free for both")
    free = grid.get_by_role("button", disabled=False)
    await free.nth(number).wait_for()
    await free.nth(number).click()
    await tab.page.get_by_role("dialog").wait_for(state="detached")


async def moved_on_screen(mover: ChromiumTab, waiting: ChromiumTab, number: int) -> float:
    """Seconds from the click on a time to the other's screen."""
    await pick_another_time(mover, number)
    clicked_at = await mover.evaluate("window.__clickedAt")
    later = f"window.__changes.find((at) => at > {clicked_at})"
    seen_at = await until(lambda: waiting.evaluate(later), "the move on the other's screen")
    return float(seen_at - clicked_at) / 1000


async def move_again_and_again(mover: ChromiumTab, waiting: ChromiumTab, what: str) -> None:
    await mover.evaluate(NOTE_CLICK)
    await waiting.evaluate(NOTE_CHANGE)
    took = sorted([await moved_on_screen(mover, waiting, 3 + number % 2) for number in range(MOVES)])
    measured(f"{what}: p50", took[MOVES // 2 - 1], "s")
    measured(f"{what}: p99", took[-1], "s")


# ------------------------------------------------------------------------------- while somebody waits


@pytest.mark.parametrize("door", ["room", "portal"])
async def test_S8_who_waits_in_the_room_sees_the_move_in_place(
    open_tab: OpenTab, server: Server, pair: Pair, planning: Planning, door: str
) -> None:
    await planning.confirmed(60)
    mover, waiting = await open_tab(), await open_tab()
    await Meeting.begin(server, pair, mover, waiting)
    await waiting.say("I am early")
    await waiting.write(DRAFT)
    await says(waiting, "Kolkata (your time)", f"London ({pair.mentor.name})", "Next session in")
    if door == "portal":
        await mover.open(f"{server.url}/")
    await pick_another_time(mover, 3)
    await says(waiting, f"Moved by {pair.mentor.name}", "was", f"{pair.mentor.name} moved the session")
    await waiting.hears_status(f"{pair.mentor.name} moved the session to")
    await waiting.reads(f"{pair.mentor.name} moved the session to")
    assert await draft_of(waiting) == DRAFT
    assert await waiting.times_read("I am early") == 1
    assert await waiting.call_state() == "idle"
    struck = session_of(waiting).locator("s")
    assert re.search(r"\d:\d\d", await struck.inner_text())
    await move_again_and_again(
        mover, waiting, f"from the click in the {door} to the partner's screen, one node"
    )
    assert await draft_of(waiting) == DRAFT
    await waiting.press("Accept")
    await waiting.reads("You accepted the session")


async def test_S8_the_move_crosses_nodes(open_tab: OpenTab, nodes: list[Server]) -> None:
    pair = await nodes[0].pair()
    async with Planning(nodes[0], pair) as plans:
        await plans.confirmed(60)
    mover, waiting = await open_tab(), await open_tab()
    await asyncio.gather(
        mover.enter(pair.mentor.link), waiting.enter(pair.mentee.link.replace(nodes[0].url, nodes[1].url))
    )
    await says(waiting, "Next session in")
    await waiting.write(DRAFT)
    await move_again_and_again(mover, waiting, "from the click to the partner's screen, two nodes")
    assert await draft_of(waiting) == DRAFT


async def test_S4_both_move_it_at_once_and_the_slower_one_proposes(
    open_tab: OpenTab, server: Server, pair: Pair, planning: Planning
) -> None:
    session = await planning.confirmed(60)
    tab = await open_tab()
    tab.refusal_expected = True
    await tab.enter(pair.mentee.link)
    await tab.press("Move session")
    free = tab.page.get_by_role("grid").get_by_role("button", disabled=False)
    await free.nth(5).wait_for()
    moved = await planning.move(planning.mentor, session, 24 * 60)
    await free.nth(5).click()
    await tab.press("Propose my time instead")
    await tab.page.get_by_role("dialog").wait_for(state="detached")
    await says(tab, f"You proposed another time to {pair.mentor.name}")
    await tab.press("Take it back")
    await tab.reads("closed a proposal")
    assert moved["seq"] == 1


async def test_S8_a_call_that_runs_does_not_notice_a_move(meeting: Meeting, planning: Planning) -> None:
    session = await planning.confirmed(300)
    await meeting.call()
    made = (await meeting.mentee.received()).made
    session = await planning.move(planning.mentor, session, 400)
    await meeting.mentee.hears_status(f"{meeting.pair.mentor.name} moved the session")
    await meeting.flows()
    assert await meeting.mentee.call_state() == "connected"
    assert (await meeting.mentee.received()).made == made


# ------------------------------------------------------------------------------------ the session itself


async def test_S10_live_by_both_joining_then_extended_and_continued_later(
    meeting: Meeting, planning: Planning
) -> None:
    mentor = _chromium(meeting.mentor)
    await planning.confirmed(10, agenda="The second chapter")
    await says(mentor, "The session can start", "The second chapter")
    await meeting.call()
    await mentor.reads("The session began.")
    await mentor.press("Session")
    await says(mentor, "The session is under way")
    await mentor.press("15 more minutes")
    await meeting.mentee.reads(f"{meeting.pair.mentor.name} extended the session by 15 minutes")
    await says(mentor, "1 h 15 min")
    await mentor.press("Continue later")
    await mentor.page.get_by_role("dialog", name=f"Plan a session with {meeting.pair.mentee.name}").wait_for()
    assert await mentor.call_state() == "connected"


async def test_running_late_moves_it_and_the_other_is_told(meeting: Meeting, planning: Planning) -> None:
    mentee = _chromium(meeting.mentee)
    await planning.confirmed(10)
    await says(mentee, "The session can start")
    await mentee.press("Running late")
    await mentee.press("10 minutes later")
    await meeting.mentor.hears_status(f"{meeting.pair.mentee.name} moved the session to")
    await meeting.mentor.reads("Reason: Running late")
    await says(_chromium(meeting.mentor), "Next session in", f"{meeting.pair.mentee.name} moved the session")


async def test_a_knock_is_heard_and_cannot_be_repeated_at_once(meeting: Meeting) -> None:
    mentor, mentee = _chromium(meeting.mentor), _chromium(meeting.mentee)
    await mentor.press(f"Let {meeting.pair.mentee.name} know I am here")
    await mentee.hears_status(f"{meeting.pair.mentor.name} is here and would like you to come")
    assert (await mentee.page.title()).startswith(f"{meeting.pair.mentor.name} is here")
    await says(mentor, "has been told", "again in 30 seconds")
    again = mentor.page.get_by_role("button", name=f"Let {meeting.pair.mentee.name} know I am here")
    assert await again.get_attribute("aria-disabled") == "true"


async def test_who_is_alone_ten_minutes_after_the_start_is_asked_and_may_give_up(
    open_tab: OpenTab, isolated: None, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "time")
    server = await Server(tmp_path, program=clock.program).start()
    try:
        pair = await server.pair()
        async with Planning(server, pair) as plans:
            session = await plans.confirmed(5)
        tab = await open_tab()
        tab.outage_expected = True  # when it is all over
        await tab.enter(pair.mentor.link)
        await says(tab, "The session can start")
        await look_at_the_clock(tab, session["start"] + 9 * MINUTE_MS)
        await says(tab, "9 minutes ago")
        assert not await tab.has("button", "Keep waiting")
        await look_at_the_clock(tab, session["start"] + 10 * MINUTE_MS)
        await says(tab, f"{pair.mentee.name} has not come yet")
        await tab.press("Keep waiting")
        await tab.page.get_by_role("button", name="Keep waiting").wait_for(state="detached")
        await look_at_the_clock(tab, session["start"] + 21 * MINUTE_MS)
        await says(tab, f"{pair.mentee.name} has not come yet")
        clock.set_ahead(26 * 60)
        await until(lambda: _shows(server, session["start"] + 20 * MINUTE_MS), "the server's clock")
        await tab.press("End session")
        await tab.reads(f"{pair.mentee.name} did not come to the session")
        await says(tab, "No session is planned", "did not take place")
        assert await tab.has("button", "Book the next session")
    finally:
        await server.close()
        Clock.forget(server.pid)


async def _shows(server: Server, at_ms: int) -> bool:
    """Whether it is so late on the server's clock."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/healthz") as answer:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() * 1000 >= at_ms


async def look_at_the_clock(tab: ChromiumTab, at_ms: int) -> None:
    """The page believes that it is so late, and looks."""
    await tab.page.clock.set_system_time(at_ms / 1000)
    await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def _chromium(tab: object) -> ChromiumTab:
    assert isinstance(tab, ChromiumTab)
    return tab


# ------------------------------------------------------------------------------------------- old links


async def test_S1_every_old_link_leads_to_the_same_room_and_the_right_words(
    open_tab: OpenTab, server: Server, pair: Pair, planning: Planning
) -> None:
    session = await planning.confirmed(60)
    tab = await open_tab()
    await tab.enter(pair.mentee.link)
    await says(tab, "Next session in")
    session = await planning.move(planning.mentor, session, 90)
    await tab.open(pair.url)
    await says(tab, "Next session in", f"Moved by {pair.mentor.name}")
    await planning.cancel(planning.mentor, session, "I am ill")
    await tab.reads("Reason: I am ill")
    await tab.open(pair.url)
    await says(tab, "No session is planned", "was cancelled")
    await tab.press("Propose again")
    await tab.page.get_by_role("dialog", name=f"Plan a session with {pair.mentor.name}").wait_for()
    assert await tab.has("log", "Conversation")
