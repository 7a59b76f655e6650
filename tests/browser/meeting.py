"""Two people in their room, in any two browsers."""

from __future__ import annotations

import asyncio
import time

from tests.support.figures import measured
from tests.support.people import Pair
from tests.support.server import Server
from tests.support.tab import Tab


class Meeting:
    """The mentor's and the mentee's tab."""

    def __init__(self, server: Server, pair: Pair, mentor: Tab, mentee: Tab) -> None:
        self.server = server
        self.pair = pair
        self.mentor = mentor
        self.mentee = mentee

    @classmethod
    async def begin(cls, server: Server, pair: Pair, mentor: Tab, mentee: Tab) -> Meeting:
        """Both enter by their links."""
        await asyncio.gather(mentor.enter(pair.mentor.link), mentee.enter(pair.mentee.link))
        return cls(server, pair, mentor, mentee)

    async def call(self) -> None:
        """Both press `Join call`; returns when both are connected and picture and sound flow both ways."""
        await self.mentor.press("Join call")
        await self.mentor.call_is("waiting")
        began = time.monotonic()
        await self.mentee.press("Join call")
        await asyncio.gather(*(self._first_frame(tab, began) for tab in (self.mentor, self.mentee)))
        await self.connected()

    async def connected(self) -> None:
        """Both pages say so, and it is true."""
        for tab in (self.mentor, self.mentee):
            await tab.call_is("connected")
        await self.flows()

    async def flows(self) -> None:
        """Picture and sound keep coming, both ways."""
        await asyncio.gather(self.mentor.sees_and_hears(), self.mentee.sees_and_hears())

    async def _first_frame(self, tab: Tab, began: float) -> None:
        await tab.sees_and_hears(frames=0)
        who = "mentor" if tab is self.mentor else "mentee"
        measured(f"click on Join call to the {who}'s first remote frame", time.monotonic() - began, "s")
