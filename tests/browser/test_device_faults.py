"""What happens to cameras and microphones in a call: found, repaired by itself, or explained to the one whose it is.

The devices are Chromium's own (two cameras, several microphones), the tracks are real; device_faults.js unplugs and silences
them. What people do and see goes by accessible names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.axe import violations
from tests.support.chromium import ChromiumTab, chromium, new_context
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.people import Pair
from tests.support.server import Server

FAULTS = (Path(__file__).parents[1] / "support" / "device_faults.js").read_text()
FOUND_S = 2
"""Within this time a lost device is found (the call repairs itself)."""


class Signals:
    """Counts what a page sends to the other one: each `call.signal` is a frame on its socket."""

    def __init__(self, tab: ChromiumTab) -> None:
        self.sent = 0
        tab.page.on("websocket", lambda socket: socket.on("framesent", self._frame))

    def _frame(self, payload: str | bytes) -> None:
        self.sent += b"call.signal" in (payload.encode() if isinstance(payload, str) else payload)


class Faulty(Meeting):
    """A meeting; the mentor's devices can be unplugged."""

    mentor: ChromiumTab
    mentee: ChromiumTab
    signals: Signals

    async def fault(self, call: str) -> None:
        """Something happens to the mentor's devices."""
        await self.mentor.evaluate(f"window.__faults.{call}")

    async def used(self, kind: str) -> list[str]:
        """The names of the devices that the mentor's page holds open."""
        labels: list[str] = await self.mentor.evaluate(f"window.__faults.used('{kind}')")
        return labels

    async def mentor_reads(self, *words: str, timeout_s: float = 10) -> None:
        """Wait until the mentor's page says these words."""

        async def said() -> bool:
            text = (await self.mentor.page.inner_text("body")).lower()
            return all(word in text for word in words)

        await until(said, f"{words} on the mentor's page", timeout_s=timeout_s)

    async def mentee_reads(self, words: str) -> None:
        """Wait until the mentee is told this about the mentor's picture or sound."""

        async def said() -> bool:
            return words in (await self.mentee.text_of("region", "Remote video")).lower()

        await until(said, f"{words!r} about the other")

    async def camera_used(self) -> None:
        """Wait until the mentor's page holds a camera, as soon as the promise says."""

        async def held() -> bool:
            return bool(await self.used("video"))

        await until(held, "another camera", timeout_s=FOUND_S)

    async def uses(self, kind: str, *labels: str) -> None:
        """Wait until the mentor's page holds just these devices."""

        async def held() -> bool:
            return await self.used(kind) == [*labels]

        await until(held, f"{labels} in use")

    async def lists_microphone(self, label: str, *, listed: bool = True) -> None:
        """Wait until the open settings offer that microphone, or no longer do."""

        async def there() -> bool:
            return (label in await options(self.mentor, "Microphone")) is listed

        await until(there, f"{label}: {listed} in the list")


@pytest_asyncio.fixture(loop_scope="session")
async def entered(open_tab: OpenTab, server: Server, pair: Pair) -> Faulty:
    """Both in the room."""
    mentor = await open_tab()
    await mentor.page.context.add_init_script(FAULTS)
    signals = Signals(mentor)
    meeting = Faulty(server, pair, mentor, await open_tab())
    meeting.signals = signals
    await asyncio.gather(meeting.mentor.enter(pair.mentor.link), meeting.mentee.enter(pair.mentee.link))
    return meeting


@pytest_asyncio.fixture(loop_scope="session")
async def faulty(entered: Faulty) -> Faulty:
    """Both in a call."""
    await entered.call()
    return entered


class Quiet:
    """In this block nobody negotiates: no signal is sent and no connection is made."""

    def __init__(self, meeting: Faulty) -> None:
        self._meeting = meeting

    async def _state(self) -> Any:
        made = [(await tab.received()).made for tab in (self._meeting.mentor, self._meeting.mentee)]
        return self._meeting.signals.sent, made

    async def __aenter__(self) -> None:
        self._before = await self._state()
        assert self._before[0] > 0, "the call began with signals, so they are counted"

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None:
            assert await self._state() == self._before


async def choose(tab: ChromiumTab, what: str, label: str) -> None:
    """Pick a device by its name in the settings of the call."""
    await tab.press("Settings")
    await tab.page.get_by_role("combobox", name=what, exact=True).select_option(label=label)
    await tab.press("Close")


async def options(tab: ChromiumTab, what: str) -> list[str]:
    """The names in a list of devices of the open settings."""
    found = tab.page.get_by_role("combobox", name=what, exact=True).get_by_role("option")
    return await found.all_inner_texts()


def other(labels: Iterable[str], than: str) -> str:
    """A real device that is not this one."""
    return next(label for label in labels if label not in {than, "Standard"} and "Default" not in label)


async def test_an_unplugged_camera_is_captured_again_by_itself(faulty: Faulty) -> None:
    before = await faulty.used("video")
    async with Quiet(faulty):
        began = time.monotonic()
        await faulty.fault("unplug('video')")
        await faulty.camera_used()
        measured("unplugged camera to the next one", time.monotonic() - began, "s")
        await faulty.mentee.sees_and_hears()
        now = await faulty.used("video")
        assert now != before
        await faulty.mentor_reads("your camera is now", now[0].lower())
        assert await faulty.mentor.has("button", "Stop camera")


async def test_a_camera_that_the_system_took_away_is_captured_again_by_itself(faulty: Faulty) -> None:
    held = await faulty.used("video")
    async with Quiet(faulty):
        await faulty.fault("end('video')")
        await faulty.camera_used()
        assert await faulty.used("video") == held
        await faulty.mentee.sees_and_hears()
        assert "camera is now" not in await faulty.mentor.page.inner_text("body")


async def test_back_to_the_camera_that_was_in_use_when_it_is_plugged_in_again(faulty: Faulty) -> None:
    before = await faulty.used("video")
    async with Quiet(faulty):
        await faulty.fault("unplug('video')")
        await faulty.camera_used()
        await faulty.mentor_reads("your camera is now")
        await faulty.fault("plugIn()")
        await faulty.uses("video", *before)
        await faulty.mentee.sees_and_hears()


async def test_the_last_camera_unplugged_is_explained_and_taken_again_when_it_is_back(
    faulty: Faulty, artifacts: Path
) -> None:
    began = time.monotonic()
    await faulty.fault("unplug('video', true)")
    await faulty.mentor_reads("camera is not connected any longer", "plug it in again", timeout_s=FOUND_S)
    measured("last camera unplugged to its explanation", time.monotonic() - began, "s")
    await faulty.mentor.picture(artifacts / "screens" / "camera-unplugged.png")
    assert await violations(faulty.mentor.page) == []
    assert await faulty.mentor.has("button", "Start camera")
    await faulty.mentee_reads("camera off")
    sound = (await faulty.mentee.received()).audio

    async def hears_on() -> bool:
        return (await faulty.mentee.received()).audio > sound + 5

    await until(hears_on, "sound without picture")
    await faulty.fault("plugIn()")
    await faulty.mentee.sees_and_hears()
    assert await faulty.mentor.has("button", "Stop camera")
    assert "not connected" not in await faulty.mentor.page.inner_text("body")


async def test_a_lost_camera_is_not_asked_for_without_end(faulty: Faulty) -> None:
    await faulty.fault("refuse('NotAllowedError', 'Permission denied')")
    asked = await faulty.mentor.evaluate("window.__faults.asked")
    await faulty.fault("unplug('video')")
    await faulty.mentor_reads("your browser does not let this page use the camera", "address bar")
    for state in ("hidden", "visible"):
        await faulty.fault(f"show('{state}')")
    await faulty.fault("plugIn()")
    await faulty.mentor.sees_and_hears()
    assert await faulty.mentor.evaluate("window.__faults.asked") == asked + 1, "a refusal is an answer"
    await faulty.fault("refuse(null)")
    await faulty.mentor.press("Check camera and microphone")
    await faulty.mentee.sees_and_hears()


async def test_a_microphone_silenced_by_the_system_is_told_to_both_and_comes_back(faulty: Faulty) -> None:
    held = await faulty.used("audio")
    await faulty.fault("mute('audio', true)")
    await faulty.mentor_reads("your microphone is silenced", timeout_s=FOUND_S + 1)
    await faulty.mentee_reads("is muted")
    assert await faulty.used("audio") == held, "never another microphone than the one that was silenced"
    await faulty.fault("mute('audio', false)")

    async def well() -> bool:
        there = (await faulty.mentee.text_of("region", "Remote video")).lower()
        return "is muted" not in there and "silenced" not in await faulty.mentor.page.inner_text("body")

    await until(well, "the end of the explanation, on both sides")


async def test_a_camera_that_slept_is_captured_again_when_the_page_is_in_front(faulty: Faulty) -> None:
    async with Quiet(faulty):
        await faulty.fault("show('hidden')")
        await faulty.fault("mute('video', true, true)")
        await faulty.mentor_reads("your camera is held back", timeout_s=FOUND_S + 1)
        await faulty.mentee_reads("camera off")
        await faulty.fault("show('visible')")
        await faulty.mentee.sees_and_hears()
        assert "held back" not in await faulty.mentor.page.inner_text("body")


async def test_a_microphone_that_is_plugged_in_is_offered_and_not_switched_to(
    faulty: Faulty, artifacts: Path
) -> None:
    held = await faulty.used("audio")
    async with Quiet(faulty):
        await faulty.mentor.press("Settings")
        headset = other(await options(faulty.mentor, "Microphone"), held[0])
        await faulty.fault(f"remove({headset!r})")
        await faulty.lists_microphone(headset, listed=False)
        await faulty.fault("plugIn()")
        await faulty.lists_microphone(headset)
        await faulty.mentor.press("Close")
        assert await faulty.used("audio") == held
        await faulty.mentor_reads(f"“{headset.lower()}” is connected")
        await faulty.mentor.picture(artifacts / "screens" / "device-offered.png")
        assert await violations(faulty.mentor.page) == []
        await faulty.mentor.press("Use it")
        await faulty.uses("audio", headset)
        await faulty.mentee.sees_and_hears()


async def test_without_any_microphone_one_that_is_plugged_in_is_taken(entered: Faulty) -> None:
    await entered.fault("unplug('audio', true)")
    await entered.mentor.press("Join call")
    await entered.mentee.press("Join call")
    await asyncio.gather(*(tab.call_is("connected") for tab in (entered.mentor, entered.mentee)))
    await entered.mentor_reads("no microphone was found", "you are seen, but not heard")
    await entered.mentee_reads("is muted")
    async with Quiet(entered):
        await entered.fault("plugIn()")
        await entered.mentee.sees_and_hears()
    assert await entered.mentor.has("button", "Mute microphone")


async def test_switching_camera_microphone_and_speaker_does_not_negotiate(faulty: Faulty) -> None:
    async with Quiet(faulty):
        await faulty.mentor.press("Settings")
        names = {what: await options(faulty.mentor, what) for what in ("Camera", "Microphone", "Speaker")}
        await faulty.mentor.press("Close")
        for what, kind in (("Camera", "video"), ("Microphone", "audio")):
            held = (await faulty.used(kind))[0]
            wanted = other(names[what], held)
            await choose(faulty.mentor, what, wanted)

            await faulty.uses(kind, wanted)
            await faulty.mentee.sees_and_hears()
        await choose(faulty.mentor, "Speaker", other(names["Speaker"], ""))
        await choose(faulty.mentor, "Speaker", "Standard")
        await faulty.flows()


async def test_permission_that_comes_later_brings_camera_and_microphone_by_itself(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    """Refused at first; then the person allows it in the address bar and need not press anything."""
    mentor = await open_tab()
    async with chromium(devices_allowed=False) as asking:
        context = await new_context(asking, permissions=[])
        mentee = await ChromiumTab.new(context)
        await asyncio.gather(mentor.enter(pair.mentor.link), mentee.enter(pair.mentee.link))
        await mentor.press("Join call")
        await mentee.press("Join call")
        await asyncio.gather(*(tab.call_is("connected") for tab in (mentor, mentee)))
        alert = mentee.page.get_by_role("alert")
        await alert.filter(has_text="Allow them in the address bar").wait_for()
        await context.grant_permissions(["camera", "microphone"])
        await mentor.sees_and_hears()
        await alert.wait_for(state="detached")
        await mentee.check_quiet()


async def test_the_call_moves_to_a_second_tab_and_the_first_lets_the_devices_go(faulty: Faulty) -> None:
    """R4, never two of you: no ghost sends on."""
    second = await ChromiumTab.new(faulty.mentor.page.context)
    await second.enter(await faulty.server.link(faulty.pair.mentor.email))
    await second.press("Join call")
    await asyncio.gather(second.sees_and_hears(), faulty.mentee.sees_and_hears())
    await faulty.mentor.hears_status("moved", "another")

    async def let_go() -> bool:
        return [await faulty.used(kind) for kind in ("audio", "video")] == [[], []]

    await until(let_go, "the first tab's devices to be free")
    assert (await faulty.mentee.received()).open == 1
    await second.check_quiet()
