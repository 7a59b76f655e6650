"""What people see of the connection: one word, figures on request, and a switch that saves data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import OpenTab
from tests.browser.look import SIZES
from tests.browser.meeting import Meeting
from tests.support.axe import violations
from tests.support.chromium import ChromiumTab
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.people import Pair
from tests.support.server import Server

INBOUND = """(async () => {
  for (const connection of window.__watch.connections) {
    if (connection.connectionState === "closed") continue;
    const reports = [...(await connection.getStats()).values()];
    return reports.filter(({ type, kind: is }) => type === "inbound-rtp" && is === "KIND")[0] ?? {};
  }
  return {};
})()"""


async def inbound(tab: ChromiumTab, kind: str) -> dict[str, Any]:
    """What the page's getStats says of the stream that comes in."""
    found: dict[str, Any] = await tab.evaluate(INBOUND.replace("KIND", kind))
    return found


def tabs(meeting: Meeting) -> tuple[ChromiumTab, ChromiumTab]:
    """The mentor's and the mentee's, both in Chromium here."""
    assert isinstance(meeting.mentor, ChromiumTab)
    assert isinstance(meeting.mentee, ChromiumTab)
    return meeting.mentor, meeting.mentee


async def open_details(tab: ChromiumTab) -> None:
    """As soon as something is known; which of the two it is depends on how busy the machine is."""
    button = tab.page.get_by_role("button", name=re.compile("^Connection: (good|fair)$"))
    await button.click()


@pytest.mark.parametrize("size", list(SIZES))
async def test_the_figures_of_both_directions_can_be_read_and_copied(
    open_tab: OpenTab, server: Server, pair: Pair, artifacts: Path, size: str
) -> None:
    options = {
        **SIZES[size],
        "permissions": ["clipboard-read", "clipboard-write"],
        "reduced_motion": "reduce",
    }
    meeting = await Meeting.begin(server, pair, await open_tab(**options), await open_tab())
    mentor, _ = tabs(meeting)
    await meeting.call()
    await mentor.page.get_by_role("button", name=re.compile("^Connection: ")).wait_for()
    await mentor.picture(artifacts / "screens" / f"quality-{size}-light.png")
    await open_details(mentor)

    async def figures() -> bool:
        text = await mentor.text_of("dialog", "Connection")
        return re.search(r"picture reaches Mio Mentee in \d+×\d+", text) is not None and "% loss" in text

    await until(figures, "the figures in words")
    text = await mentor.text_of("dialog", "Connection")
    assert "Direct." in text
    for row in ("Picture", "Frames per second", "Rate", "Loss", "Round trip", "Path"):
        assert await mentor.has("rowheader", row), text
    await mentor.picture(artifacts / "screens" / f"quality-details-{size}-light.png")
    assert await violations(mentor.page) == []
    await mentor.press("Copy for support")
    await until(lambda: _says(mentor, "Copied."), "that it was copied")
    copied = await mentor.evaluate("navigator.clipboard.readText()")
    assert re.search(r"^Picture: You send \d+×\d+, You receive \d+×\d+$", copied, re.MULTILINE), copied
    assert "Path: direct, UDP" in copied
    addresses = re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", copied.split("Mozilla")[0])
    names = [name for name in ("Mio", "Mentee", "Mentor", "@", pair.room) if name in copied]
    assert addresses + names == []
    await mentor.press("Close")
    assert not await mentor.has("dialog", "Connection")


async def _says(tab: ChromiumTab, text: str) -> bool:
    return text in await tab.text_of("dialog", "Connection")


async def test_without_a_clipboard_the_text_can_be_copied_by_hand(meeting: Meeting) -> None:
    mentor, _ = tabs(meeting)
    await meeting.call()
    await mentor.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await open_details(mentor)
    await mentor.press("Copy for support")
    area = mentor.page.get_by_role("textbox", name="Your browser does not allow copying")
    assert "Path: direct" in await area.input_value()
    assert await violations(mentor.page) == []


async def test_the_data_saver_makes_the_picture_that_is_sent_smaller(
    meeting: Meeting, artifacts: Path
) -> None:
    mentor, mentee = tabs(meeting)
    await meeting.call()

    async def lines() -> int:
        return int((await inbound(mentee, "video")).get("frameHeight", 0))

    await until(lambda: _is(lines, lambda now: now > 240), "a large picture")
    await mentor.press("Settings")
    await mentor.page.get_by_role("switch", name="Data saver", exact=True).check()
    await mentor.picture(artifacts / "screens" / "settings-data-saver-desktop-light.png")
    assert await violations(mentor.page) == []
    await until(lambda: _is(lines, lambda now: 0 < now <= 240), "a small picture")
    await meeting.flows()
    made = (await mentor.received()).made
    await mentor.reload()
    await mentor.call_is("connected")
    await until(lambda: _is(lines, lambda now: 0 < now <= 240), "a small picture after a reload too")
    await mentor.press("Settings")
    switch = mentor.page.get_by_role("switch", name="Data saver", exact=True)
    assert await switch.is_checked()
    await switch.uncheck()
    await until(lambda: _is(lines, lambda now: now > 240), "a large picture again")
    assert (await mentor.received()).made == made, "none of it needed another connection"


async def _is(value: Any, wanted: Any) -> bool:
    return bool(wanted(await value()))


async def test_a_browser_that_is_asked_to_save_data_starts_with_the_data_saver(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    meeting = await Meeting.begin(server, pair, await open_tab(), await open_tab())
    mentor, _ = tabs(meeting)
    await mentor.page.add_init_script(
        "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })"
    )
    await mentor.reload()
    await mentor.link_is("online")
    await meeting.call()
    await mentor.press("Settings")
    assert await mentor.page.get_by_role("switch", name="Data saver", exact=True).is_checked()


async def test_silence_costs_next_to_nothing_and_sound_is_protected(meeting: Meeting) -> None:
    """Opus with DTX and FEC: asked for in the description, and done by the other side's encoder."""
    mentor, mentee = tabs(meeting)
    await meeting.call()
    for tab in (mentor, mentee):
        asked = await tab.evaluate("window.__watch.connections.at(-1).remoteDescription.sdp")
        parameters = re.findall(r"^a=fmtp:\d+ (.*useinbandfec.*)\r?$", asked, re.MULTILINE)
        assert {"usedtx=1", "useinbandfec=1"} <= set(parameters[0].strip().split(";"))
    await mentor.press("Mute microphone")
    seen: list[tuple[float, int]] = []

    async def packets_per_s() -> float:
        """Of the last two seconds; without DTX it is 50 and stays so."""
        report = await inbound(mentee, "audio")
        seen.append((report["timestamp"] / 1000, report["packetsReceived"]))
        now, packets = seen[-1]
        older = [one for one in seen if now - one[0] >= 2]
        return (packets - older[-1][1]) / (now - older[-1][0]) if older else 50.0

    await until(lambda: _is(packets_per_s, lambda now: now < 10), "silence in few packets")
    measured("packets of a muted microphone", await packets_per_s(), "/s")
