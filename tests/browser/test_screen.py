"""Sharing the screen: beside the camera, or in its place (K4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.aiortc_peer import AiortcMember, AiortcPeer
from tests.support.chromium import ChromiumTab
from tests.support.client import Options, PythonClient
from tests.support.condition import until
from tests.support.people import Pair
from tests.support.server import Server
from tests.support.tab import Tab

FRAMES = 5
SENT = """window.__watch.connections
  .filter(({ connectionState }) => connectionState !== "closed")
  .flatMap((connection) => connection.getSenders().map(({ track }) => track))
  .filter((track) => track?.kind === "video")
  .map(({ label, contentHint }) => `${label.split(/[:_]/)[0]} ${contentHint}`.trim())"""
"""Which pictures a page sends, and what it told the encoder of them."""
SHOWN = """[...document.querySelectorAll("video")]
  .filter((video) => video.srcObject?.active && video.offsetWidth > 0)
  .map((video) => video.getVideoPlaybackQuality().totalVideoFrames)"""
"""Frames that each visible video has presented."""
SCREEN, CAMERA = "screen detail", "fake motion"
KEEP_CAMERA = "Keep my camera on while I share the screen"


async def pictures(tab: Tab) -> dict[str, int]:
    """Decoded frames of each video that comes in."""
    found: dict[str, int] = await tab.evaluate("window.__watch.pictures()")
    return found


async def sees(tab: Tab, videos: int) -> None:
    """Wait until exactly so many videos go on."""
    before = await pictures(tab)

    async def moving() -> bool:
        now = await pictures(tab)
        return sum(frames >= before.get(mid, 0) + FRAMES for mid, frames in now.items()) == videos

    await until(moving, f"{videos} moving pictures, from {before}", timeout_s=15)


async def sends(tab: Tab, *wanted: str) -> None:
    """Wait until a page sends exactly these pictures."""

    async def so() -> bool:
        return tuple(await tab.evaluate(SENT)) == wanted

    await until(so, f"{wanted} sent")


async def shown(tab: Tab, role: str, name: str, there: bool = True) -> None:
    """Wait until something is there, or gone."""

    async def so() -> bool:
        return await tab.has(role, name) is there

    await until(so, f"the {role} {name!r} {'shown' if there else 'gone'}")


async def test_K4_the_screen_goes_beside_the_camera_and_a_later_one_negotiates_nothing(
    meeting: Meeting,
) -> None:
    await meeting.call()
    made = (await meeting.mentee.received()).made
    await meeting.mentor.press("Share screen")
    await shown(meeting.mentee, "region", "Remote screen")
    await sees(meeting.mentee, 2)
    await sends(meeting.mentor, CAMERA, SCREEN)
    places = set(await pictures(meeting.mentee))
    await meeting.mentor.press("Stop sharing")
    await shown(meeting.mentee, "region", "Remote screen", there=False)
    await meeting.flows()
    await meeting.mentor.press("Share screen")
    await shown(meeting.mentee, "region", "Remote screen")
    await sees(meeting.mentee, 2)
    assert set(await pictures(meeting.mentee)) == places
    assert (await meeting.mentee.received()).made == made, "the same connection all along"


async def test_K4_both_share_at_once(meeting: Meeting) -> None:
    """In glare one side gives way; what counts is what is shown then, since Chromium also decodes what it does not show."""
    await meeting.call()
    tabs = (meeting.mentor, meeting.mentee)
    await asyncio.gather(*(tab.press("Share screen") for tab in tabs))
    for tab in tabs:
        await shown(tab, "region", "Remote screen")
        await sees(tab, 2)
        await _shows(tab, 3)


async def _shows(tab: Tab, videos: int) -> None:
    """Wait until so many videos on the page go on, one's own included."""
    before: list[int] = await tab.evaluate(SHOWN)

    async def moving() -> bool:
        now: list[int] = await tab.evaluate(SHOWN)
        return len(now) == videos and all(
            after >= first + FRAMES for first, after in zip(before, now, strict=False)
        )

    async def there() -> bool:
        nonlocal before
        before = await tab.evaluate(SHOWN)
        return len(before) == videos

    await until(there, f"{videos} videos on the page")
    await until(moving, f"{videos} pictures shown, from {before}", timeout_s=15)


async def test_K4_who_comes_back_sees_the_screen_beside_the_camera(meeting: Meeting) -> None:
    await meeting.call()
    await meeting.mentor.press("Share screen")
    await shown(meeting.mentee, "region", "Remote screen")
    await meeting.mentee.reload()
    await meeting.mentee.link_is("online")
    await meeting.connected()
    await shown(meeting.mentee, "region", "Remote screen")
    await sees(meeting.mentee, 2)
    await _shows(meeting.mentee, 3)


async def test_K4_who_comes_back_while_both_share_sees_everything(meeting: Meeting) -> None:
    """The new connection stands for a moment when both offer their screens, before a single picture has come."""
    await meeting.call()
    tabs = (meeting.mentor, meeting.mentee)
    await meeting.mentor.press("Share screen")
    await meeting.mentee.reload()
    await meeting.mentee.press("Share screen")
    await asyncio.gather(*(tab.link_is("online") for tab in tabs))
    await meeting.connected()
    for tab in tabs:
        await shown(tab, "region", "Remote screen")
        await _shows(tab, 3)


async def test_both_cameras_go_on_at_once(meeting: Meeting) -> None:
    tabs = (meeting.mentor, meeting.mentee)
    await meeting.call()
    for tab in tabs:
        await tab.press("Stop camera")
        await shown(tab, "button", "Start camera")
    await asyncio.gather(*(tab.press("Start camera") for tab in tabs))
    for tab in tabs:
        await sees(tab, 1)
        await _shows(tab, 2)


async def test_K4_the_screen_goes_in_the_cameras_place_if_the_person_wants_that(meeting: Meeting) -> None:
    mentor = meeting.mentor
    assert isinstance(mentor, ChromiumTab)
    await meeting.call()
    await mentor.press("Settings")
    await mentor.page.get_by_role("checkbox", name=KEEP_CAMERA, exact=True).uncheck()
    await mentor.press("Close")
    await mentor.press("Share screen")

    async def told() -> bool:
        return "shares the screen" in await meeting.mentee.text_of("region", "Remote video")

    await until(told, "the news of the screen")
    await sends(mentor, SCREEN)
    await sees(meeting.mentee, 1)
    assert len(await pictures(meeting.mentee)) == 1
    assert not await meeting.mentee.has("region", "Remote screen")
    await mentor.press("Settings")
    await mentor.page.get_by_role("checkbox", name=KEEP_CAMERA, exact=True).check()
    await mentor.press("Close")
    await shown(meeting.mentee, "region", "Remote screen")
    await sees(meeting.mentee, 2)


async def test_K3_a_peer_without_rollback_gets_the_screen_in_the_cameras_place(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    async with _in_a_call_with(AiortcPeer, server, pair, await open_tab(), rollback=False) as peer:
        assert peer.offers == 1, "nothing was negotiated for the screen"


async def test_who_refuses_a_second_video_gets_the_screen_in_the_cameras_place(
    open_tab: OpenTab, server: Server, pair: Pair
) -> None:
    async with _in_a_call_with(OneVideo, server, pair, await open_tab(), rollback=True) as peer:
        assert peer.offers == 2, "it was asked, once"


class OneVideo(AiortcPeer):
    """Answers a second video with port 0 (RFC 8829 §5.3.1)."""

    async def answer(self, offer: dict[str, Any]) -> dict[str, Any]:
        answer = await super().answer(offer)
        start, *sections = re.split(r"(?=^m=)", answer["sdp"], flags=re.MULTILINE)
        sections[2:] = [re.sub(r"^m=video \d+", "m=video 0", one) for one in sections[2:]]
        bundled = re.sub(r"BUNDLE 0 1.*", "BUNDLE 0 1\r", start)
        return {"type": "answer", "sdp": bundled + "".join(sections)}


@asynccontextmanager
async def _in_a_call_with(
    kind: type[AiortcPeer], server: Server, pair: Pair, tab: ChromiumTab, *, rollback: bool
) -> AsyncIterator[AiortcPeer]:
    """The mentor's tab shares its screen with such a peer, which goes on getting one moving video."""
    await tab.enter(pair.mentor.link)
    await tab.press("Join call")
    await tab.call_is("waiting")
    client = await PythonClient(server.url, pair.mentee, Options()).connect()
    member = await AiortcMember(client, pair.room, make=kind, rollback=rollback).join()
    try:
        await tab.call_is("connected")
        peer = member.peer
        assert peer
        await until(peer.flowing, "sound and picture at the peer")
        await tab.press("Share screen")
        await shown(tab, "button", "Stop sharing")
        await sends(tab, SCREEN)
        before = peer.frames["video"]
        await until(lambda: peer.frames["video"] > before + FRAMES, "the screen at the peer")
        yield peer
    finally:
        await member.close()
        await client.drop()
