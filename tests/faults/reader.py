"""A newcomer who reads a whole log, through whatever happens meanwhile."""

from __future__ import annotations

from tests.faults.clients import LOST, PAGE
from tests.faults.history import Event
from tests.support.condition import until
from tests.support.people import Pair
from tests.support.raw import ClosedError, RawSocket

READ_S = 30.0


async def read_log(url: str, pair: Pair) -> list[Event]:
    """The whole log as a newcomer reads it through a node, page by page."""
    reading = Reader(url, pair)
    await until(reading.read, f"the log of {pair.room} to be read", timeout_s=READ_S)
    return reading.events


class Reader:
    """A device that was never there before."""

    def __init__(self, url: str, pair: Pair) -> None:
        self._url = url
        self._pair = pair
        self.events: list[Event] = []

    async def read(self) -> bool:
        """Into `events`; False when something was in the way."""
        try:
            socket = await RawSocket.open(self._url)
        except LOST:
            return False
        try:
            await socket.connect(
                {"v": 1, "device": "00000000-0000-4000-8000-000000000001", "token": self._pair.mentor.token}
            )
            self.events = await self._pages(socket)
            return True
        except LOST:
            return False
        finally:
            await socket.abort()

    async def _pages(self, socket: RawSocket) -> list[Event]:
        room = self._pair.room
        if not (await socket.ask("room.join", {"room": room, "cursor": None}))["ok"]:
            raise ClosedError
        events: list[Event] = []
        while True:
            after = events[-1].id if events else "0-0"
            answer = await socket.ask("log.page", {"room": room, "after": after, "limit": PAGE})
            if not answer["ok"]:
                raise ClosedError
            events += [Event.read(data) for data in answer["events"]]
            if not answer["more"]:
                return events
