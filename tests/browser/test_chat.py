"""The conversation as a person reads it: order, drafts, outages, and text that is never markup."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab
from tests.support.condition import until
from tests.support.people import Pair, fresh_email
from tests.support.server import Server

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "javascript:alert(1)",
    "`<b>code</b>`",
    "\u202eright to left override",
    "{{constructor.constructor('return 1')()}}",
    "https://example.org/\"onmouseover=\"document.title='owned'",
    "x" * 3000,
)


async def _draft(tab: ChromiumTab) -> str:
    return await tab.page.get_by_role("textbox", name="Message", exact=True).input_value()


async def test_chat_goes_both_ways_and_is_there_after_a_reload(meeting: Meeting) -> None:
    await meeting.mentor.say("Welcome")
    await meeting.mentee.reads("Welcome")
    await meeting.mentee.say("Thank you")
    await meeting.mentor.reads("Thank you")
    for tab in (meeting.mentor, meeting.mentee):
        await tab.reload()
        await tab.reads("Welcome")
        await tab.reads("Thank you")
        conversation = await tab.conversation()
        assert conversation.index("Welcome") < conversation.index("Thank you")
        assert await tab.times_read("Welcome") == 1


async def test_enter_sends_and_shift_enter_breaks_the_line(meeting: Meeting) -> None:
    assert isinstance(meeting.mentor, ChromiumTab)
    box = meeting.mentor.page.get_by_role("textbox", name="Message", exact=True)
    await box.click()
    await meeting.mentor.page.keyboard.type("first line")
    await meeting.mentor.page.keyboard.press("Shift+Enter")
    await meeting.mentor.page.keyboard.type("second line")
    await meeting.mentor.page.keyboard.press("Enter")
    await meeting.mentee.reads("second line")
    assert "first line\nsecond line" in await meeting.mentee.conversation()
    assert await box.input_value() == ""


async def test_an_entry_is_an_article_with_author_and_time_in_its_name(meeting: Meeting) -> None:
    await meeting.mentor.say("an entry")
    await meeting.mentee.reads("an entry")
    assert isinstance(meeting.mentee, ChromiumTab)
    article = meeting.mentee.page.get_by_role("log", name="Conversation").get_by_role("article")
    assert await article.count() == 1
    name = await article.evaluate("(element) => element.getAttribute('aria-label') ?? ''")
    by_name = meeting.mentee.page.get_by_role("article", name="Mara Mentor")
    assert await by_name.count() == 1
    assert any(letter.isdigit() for letter in name) or await by_name.get_by_role("time").count()


async def test_a_draft_survives_reload_and_reconnect(meeting: Meeting) -> None:
    assert isinstance(meeting.mentor, ChromiumTab)
    meeting.mentor.outage_expected = True
    assert isinstance(meeting.mentee, ChromiumTab)
    meeting.mentee.outage_expected = True
    await meeting.mentor.write("half a thought")
    await meeting.server.kill()
    try:
        await meeting.mentor.link_is("offline")
        assert await _draft(meeting.mentor) == "half a thought"
    finally:
        await meeting.server.start()
    await meeting.mentor.link_is("online")
    assert await _draft(meeting.mentor) == "half a thought"
    await meeting.mentor.press("Send")
    await meeting.mentee.reads("half a thought")


@pytest.mark.faults
async def test_what_is_sent_in_an_outage_survives_even_a_reload_and_arrives_once(meeting: Meeting) -> None:
    for tab in (meeting.mentor, meeting.mentee):
        assert isinstance(tab, ChromiumTab)
        tab.outage_expected = True
    await meeting.mentor.say("before")
    await meeting.mentee.reads("before")
    await meeting.server.kill()
    try:
        await meeting.mentor.link_is("offline")
        for text in ("one", "two", "three"):
            await meeting.mentor.say(f"{text} in the dark")
            await meeting.mentor.reads(f"{text} in the dark")
        assert "waiting" in (await meeting.mentor.conversation()).lower()
    finally:
        await meeting.server.start()
    await meeting.mentee.reads("three in the dark")
    await meeting.mentor.reload()
    await meeting.mentor.say("after")
    await meeting.mentee.reads("after")
    await meeting.mentor.reads("after")
    for tab in (meeting.mentor, meeting.mentee):
        conversation = await tab.conversation()
        places = [conversation.index(f"{text} in the dark") for text in ("one", "two", "three")]
        assert places == sorted(places)
        assert [await tab.times_read(f"{text} in the dark") for text in ("one", "two", "three")] == [1, 1, 1]


async def test_nothing_in_a_text_is_ever_interpreted(meeting: Meeting) -> None:
    title = {tab: await tab.evaluate("document.title") for tab in (meeting.mentor, meeting.mentee)}
    for text in HOSTILE:
        await meeting.mentor.say(text)
    await meeting.mentor.say("marker")
    for tab in (meeting.mentor, meeting.mentee):
        await tab.reads("marker")
        conversation = await tab.conversation()
        for text in HOSTILE:
            assert text.strip("`") in conversation
        region = "document.querySelector('[role=log]')"
        assert await tab.evaluate(f"{region}.querySelectorAll('img, script, b, [onmouseover]').length") == 0
        schemes = await tab.evaluate(f"[...{region}.querySelectorAll('a')].map((link) => link.protocol)")
        assert set(schemes) <= {"https:", "http:"}
        assert await tab.evaluate("document.title") == title[tab]
        wide = await tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        assert not wide, "3000 letters without a space do not push the page apart"


async def test_nothing_in_a_name_is_ever_interpreted(open_tab: OpenTab, server: Server) -> None:
    """`pair add` takes no angle brackets in a name; entities and quotes it does."""
    name = "&lt;img src=x onerror=alert(1)&gt; \u202e'{{7*7}}& Ada"
    pair = await server.pair(mentor=(name, fresh_email("ada")))
    meeting = await Meeting.begin(server, pair, await open_tab(), await open_tab())
    await meeting.mentor.say("who am I?")
    await meeting.mentee.reads("who am I?")
    assert isinstance(meeting.mentee, ChromiumTab)
    assert await meeting.mentee.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert await meeting.mentee.page.get_by_role("article", name="Ada").count() == 1
    body = await meeting.mentee.page.inner_text("body")
    assert "&lt;img" in body
    assert "{{7*7}}" in body


async def test_links_become_links_that_give_nothing_away(meeting: Meeting) -> None:
    await meeting.mentor.say("see https://example.org/path?x=1 and `code <here>`")
    await meeting.mentee.reads("example.org")
    assert isinstance(meeting.mentee, ChromiumTab)
    link = meeting.mentee.page.get_by_role("log", name="Conversation").get_by_role("link")
    assert await link.get_attribute("href") == "https://example.org/path?x=1"
    assert "noreferrer" in (await link.get_attribute("rel") or "")
    assert (
        await meeting.mentee.evaluate("document.querySelector('[role=log] code').textContent")
        == "code <here>"
    )


async def test_scrolling_back_loads_older_pages(meeting: Meeting) -> None:
    """80 messages are more than the first page of 50."""
    assert isinstance(meeting.mentor, ChromiumTab)
    for number in range(25):
        await meeting.mentor.say(f"message number {number} of many")
        if number % 9 == 8:
            await meeting.mentee.reads(f"message number {number} of many")
    await meeting.mentee.reads("message number 24 of many")
    for number in range(25, 60):
        await meeting.mentee.say(f"message number {number} of many")
        await meeting.mentor.reads(f"message number {number} of many")
    await meeting.mentor.reload()
    await meeting.mentor.reads("message number 59 of many")
    log = meeting.mentor.page.get_by_role("log", name="Conversation")

    async def reaches_the_first() -> bool:
        await log.hover()
        await meeting.mentor.page.mouse.wheel(0, -2000)  # type: ignore[attr-defined]
        return "message number 0 of many" in await meeting.mentor.conversation()

    await until(reaches_the_first, "the first message after scrolling back", timeout_s=20)


async def test_typing_is_shown_to_the_other(meeting: Meeting) -> None:
    assert isinstance(meeting.mentor, ChromiumTab)
    assert isinstance(meeting.mentee, ChromiumTab)
    await meeting.mentor.page.get_by_role("textbox", name="Message", exact=True).press_sequentially("hm")
    await meeting.mentee.page.get_by_text(re.compile("typing|writing")).first.wait_for()


async def test_the_pair_keeps_its_conversation_over_logins(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    first = await open_tab()
    await first.enter(pair.mentor.link)
    await first.say("said long ago")
    await first.reads("said long ago")
    other = await open_tab()
    await other.enter(await server.link(pair.mentor.email))
    await other.reads("said long ago")
