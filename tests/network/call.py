"""A call between two people as they experience it: when the first picture came, how long it stood still, by which way."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.condition import until
from tests.support.people import Pair
from tests.support.server import Server
from tests.support.tab import Tab

JOURNAL = Path(__file__).with_name("journal.js").read_text()
STEADY_PICTURES = 10
"""So many pictures after a fault, and the call counts as repaired."""

QUIET_MS = 2_500


def now_ms() -> float:
    """The machine's clock, as the pages tell it."""
    return time.time() * 1000


@dataclass(frozen=True)
class Seen:
    """What one person saw: when each picture was shown, and what happened in the page, in milliseconds of now_ms()."""

    began: float
    shown: list[float]
    entries: list[tuple[float, str, str]]

    def first_after(self, at: float) -> float | None:
        """When the first picture after a moment was shown."""
        return next((shown for shown in self.shown if shown > at), None)

    def freeze_s(self, since: float) -> float:
        """The longest time without a new picture, from the last picture before a moment until now."""
        before = [shown for shown in self.shown if shown <= since][-1:]
        times = [*before, *(shown for shown in self.shown if shown > since), now_ms()]
        return max(later - earlier for earlier, later in itertools.pairwise(times)) / 1000


class Call:
    """The mentor's and the mentee's tab, in a room."""

    def __init__(self, server: Server, pair: Pair, tabs: dict[str, Tab]) -> None:
        self.server = server
        self.pair = pair
        self.tabs = tabs
        self._began: dict[str, float] = {}

    @classmethod
    async def prepare(cls, server: Server, pair: Pair, mentor: Tab, mentee: Tab) -> Call:
        """Both enter the room by their links."""
        call = cls(server, pair, {"mentor": mentor, "mentee": mentee})
        await asyncio.gather(mentor.enter(pair.mentor.link), mentee.enter(pair.mentee.link))
        for name, seen in (await call.seen()).items():
            call._began[name] = seen.began
        return call

    async def seen(self) -> dict[str, Seen]:
        """What both have seen so far."""
        answers = await asyncio.gather(*(tab.evaluate("window.__journal") for tab in self.tabs.values()))
        return {name: _seen(answer) for name, answer in zip(self.tabs, answers, strict=True)}

    async def begin(self, *, timeout_s: float = 30) -> float:
        """Both press `Join call`; the seconds from the second click to the later of the two first pictures."""
        mentor, mentee = self.tabs["mentor"], self.tabs["mentee"]
        await mentor.press("Join call")
        await mentor.call_is("waiting")
        await mentee.press("Join call")
        await until(self._pictures_after(0), "the first pictures", timeout_s=timeout_s)
        await self.flows()
        seen = await self.seen()
        clicked = max(at for at, what, _ in seen["mentee"].entries if what == "click")
        return max((one.first_after(clicked) or now_ms()) - clicked for one in seen.values()) / 1000

    async def end(self) -> None:
        """The mentor leaves, and that ends it for both."""
        for tab in self.tabs.values():
            if await tab.has("button", "Leave call"):
                await tab.press("Leave call")
            await tab.call_is("ended", "idle")

    async def flows(self, since: float | None = None, *, timeout_s: float = 30) -> None:
        """Both see moving pictures shown after a moment (now), hear each other, are told so, and nobody has reloaded."""
        since = since or now_ms()
        try:
            await until(self._pictures_after(since), "moving pictures on both sides", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError("\n".join([str(error), *await self.timeline(since)])) from None
        for tab in self.tabs.values():
            await tab.call_is("connected")
            await tab.sees_and_hears()
        for name, seen in (await self.seen()).items():
            assert self._began.get(name, seen.began) == seen.began, f"the {name}'s page was loaded again"

    async def steady(self) -> None:
        """Wait until nothing has happened in either page for a while, and the call flows."""

        async def quiet() -> bool:
            seen = (await self.seen()).values()
            return all(one.entries[-1][0] < now_ms() - QUIET_MS for one in seen)

        await until(quiet, "two quiet pages", timeout_s=30)
        await self.flows()

    def _pictures_after(self, since: float) -> Any:
        async def seen() -> bool:
            return all(
                sum(shown > since for shown in one.shown) >= STEADY_PICTURES
                for one in (await self.seen()).values()
            )

        return seen

    async def freeze_s(self, since: float) -> float:
        """The longer of both people's freezes since a moment."""
        return max(seen.freeze_s(since) for seen in (await self.seen()).values())

    async def path(self) -> str:
        """The way of the media as both see it, e.g. `srflx–host udp`."""
        answers = await asyncio.gather(
            *(tab.evaluate("window.__watch.paths()") for tab in self.tabs.values())
        )
        return " / ".join(
            sorted(
                {
                    f"{path['local']}–{path['remote']} {path['protocol']}"
                    for paths in answers
                    for path in paths
                }
            )
        )

    async def timeline(self, since: float, until_ms: float | None = None) -> list[str]:
        """What happened in both pages from a moment on, with the gaps between pictures, one line each."""
        lines: list[tuple[float, str]] = []
        for name, seen in (await self.seen()).items():
            lines += [
                (at, f"{name}: {what} {detail}") for at, what, detail in seen.entries if at >= since - 500
            ]
            lines += [
                (later, f"{name}: PICTURE after {later - earlier:.0f} ms")
                for earlier, later in itertools.pairwise(seen.shown)
                if later - earlier > 250 and later > since
            ]
        return [f"{(at - since) / 1000:8.3f} {line}" for at, line in sorted(lines)]


def _seen(answer: dict[str, Any]) -> Seen:
    return Seen(answer["began"], answer["shown"], [tuple(entry) for entry in answer["entries"]])
