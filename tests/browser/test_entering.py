"""Into the room: links, missing devices, and what the page loads."""

from __future__ import annotations

import gzip

from playwright.async_api import Response

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab, chromium, new_context
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.people import Pair
from tests.support.server import Server

JS_BOUND_BYTES = 120_000


async def test_a_link_is_one_page_with_one_button(open_tab: OpenTab, pair: Pair) -> None:
    tab = await open_tab()
    await tab.open(pair.mentor.link)
    await tab.page.get_by_role("button").wait_for()
    assert await tab.page.get_by_role("button").count() == 1
    assert await tab.page.get_by_role("heading").count() >= 1
    await tab.press_the_one_button()
    await tab.page.wait_for_url(f"{pair.url}*")
    assert "#" not in tab.page.url or not tab.page.url.split("#")[1], "the token does not stay in the address"


async def test_a_used_link_says_so_and_harms_nothing(open_tab: OpenTab, pair: Pair) -> None:
    first = await open_tab()
    await first.enter(pair.mentor.link)
    second = await open_tab()
    second.refusal_expected = True
    await second.open(pair.mentor.link)
    await second.press_the_one_button()
    await second.page.get_by_role("heading").wait_for()
    text = (await second.page.inner_text("body")).lower()
    assert "link" in text
    await first.say("still in")


async def test_entering_without_camera_and_microphone(server: Server, pair: Pair, open_tab: OpenTab) -> None:
    """Denied devices: a plain sentence, and one click into the call all the same."""
    mentor = await open_tab()
    async with chromium(devices_allowed=False) as without_devices:
        context = await new_context(without_devices, permissions=[])
        mentee = await ChromiumTab.new(context)
        meeting = await Meeting.begin(server, pair, mentor, mentee)
        await mentor.press("Join call")
        await mentee.press("Join call")
        for tab in (mentor, mentee):
            await tab.call_is("connected")

        async def sees_the_mentor() -> bool:
            got = await mentee.received()
            return got.frames > 5 and got.audio > 5

        await until(sees_the_mentor, "the mentor's picture and sound", timeout_s=20)
        assert (await mentor.received()).frames == 0
        text = (await mentee.page.inner_text("body")).lower()
        assert "permission" in text or "allow" in text or "blocked" in text
        await meeting.mentee.say("I can only listen and type")
        await mentor.reads("I can only listen and type")
        await mentee.check_quiet()


async def test_the_room_loads_little_and_only_from_its_own_server(open_tab: OpenTab, pair: Pair) -> None:
    tab = await open_tab()
    await tab.enter(pair.mentor.link)
    pending: list[Response] = []
    tab.page.on("response", lambda response: pending.append(response))  # noqa: PLW0108 - Playwright marks it
    await tab.reload()
    await tab.link_is("online")
    scripts = {
        response.url: len(gzip.compress(await response.body(), 6))
        for response in pending
        if "javascript" in response.headers.get("content-type", "")
    }
    assert scripts
    measured("JavaScript of the room, gzip", sum(scripts.values()) / 1000, "kB")
    assert sum(scripts.values()) <= JS_BOUND_BYTES, scripts
    assert tab.foreign == []


async def test_the_room_works_by_keyboard_alone(meeting: Meeting) -> None:
    """Tab reaches every control of the room, and Enter on `Join call` starts the call."""
    assert isinstance(meeting.mentor, ChromiumTab)
    page = meeting.mentor.page
    reached: list[str] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        name = await page.evaluate(
            "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent ?? '').trim()"
        )
        reached.append(name)
        if name == "Join call":
            break
    assert "Join call" in reached
    await page.keyboard.press("Enter")
    await meeting.mentor.call_is("waiting")


async def test_a_page_has_a_language_a_title_and_one_main_part(open_tab: OpenTab, pair: Pair) -> None:
    tab = await open_tab()
    for url in (pair.mentor.link, pair.url):
        tab.refusal_expected = True
        await tab.open(url)
        assert await tab.evaluate("document.documentElement.lang")
        assert await tab.evaluate("document.title.trim().length") > 0
