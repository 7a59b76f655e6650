"""What helps during a call: picture in picture, and a screen that stays on."""

from __future__ import annotations

from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab
from tests.support.condition import until

PICTURE = "document.pictureInPictureElement !== null"
"""W3C Picture-in-Picture: whether a video of the page floats over the other windows."""


async def _becomes(tab: ChromiumTab, expression: str, value: bool) -> None:
    async def so() -> bool:
        return bool(await tab.evaluate(expression)) is value

    await until(so, f"{expression} is {value}")


async def test_the_picture_can_float_over_other_windows_and_ends_with_the_call(meeting: Meeting) -> None:
    mentor = meeting.mentor
    assert isinstance(mentor, ChromiumTab)
    await meeting.call()
    button = mentor.page.get_by_role("button", name="Picture in picture", exact=True)
    await button.focus()
    await mentor.page.keyboard.press("Enter")
    await _becomes(mentor, PICTURE, True)
    assert await button.get_attribute("aria-pressed") == "true"
    await meeting.flows()
    await mentor.page.keyboard.press("Enter")
    await _becomes(mentor, PICTURE, False)
    assert await button.get_attribute("aria-pressed") == "false"
    await button.click()
    await _becomes(mentor, PICTURE, True)
    await mentor.press("Leave call")
    await mentor.call_is("ended", "idle")
    await _becomes(mentor, PICTURE, False)


async def test_the_screen_stays_on_for_as_long_as_the_call_lasts(meeting: Meeting) -> None:
    """W3C Screen Wake Lock: asked for when the call begins, given back when it ends."""
    mentor = meeting.mentor
    assert isinstance(mentor, ChromiumTab)
    held = "window.__watch.locks.some((lock) => !lock.released)"
    assert not await mentor.evaluate(held)
    await meeting.call()
    await _becomes(mentor, held, True)
    await mentor.press("Leave call")
    await mentor.call_is("ended", "idle")
    await _becomes(mentor, held, False)
