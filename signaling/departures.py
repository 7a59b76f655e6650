"""Sockets that have just gone. Whoever is back within a moment was never away (R2): a page that is loaded anew, a line that
blinked, thousands whose proxy was restarted. Nothing is written for them, and nobody is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from rooms.membership import RoomRecord
from signaling.slices import AT_ONCE, in_slices

MOMENT_S: Final = 0.5
"""A page comes back in less; nobody at the other side misses a person for so long."""


class Departure(Struct):
    """A socket that went at `at_ms` (UTC), and the peers that it had in rooms, or may have had. `registered`: whether the
    registry may still hold it."""

    person: str
    socket: str
    peers: list[tuple[RoomRecord, str]]
    at_ms: int
    since_s: float
    registered: bool = True


class Departures:
    """`on_due` is called with each one once its moment is over. How many there may be is for those to bound who add."""

    on_due: Callable[[Departure], None]

    def __init__(self) -> None:
        self._gone: dict[str, Departure] = {}
        self._of: dict[str, list[str]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._gone)

    def __contains__(self, socket: object) -> bool:
        return socket in self._gone

    def of(self, person: str) -> Sequence[str]:
        """The sockets of somebody that have just gone."""
        return tuple(self._of.get(person, ()))

    def add(self, person: str, socket: str, peers: list[tuple[RoomRecord, str]], at_ms: int) -> None:
        """One that is told twice has its first moment, and all that it was told of."""
        loop = asyncio.get_running_loop()
        if known := self._gone.get(socket):
            known.peers += peers
            known.registered = True
            return
        self._gone[socket] = Departure(person, socket, peers, at_ms, loop.time())
        self._of.setdefault(person, []).append(socket)
        if self._timer is None:
            self._timer = loop.call_later(MOMENT_S, self._look)

    def unregistered(self, socket: str) -> None:
        """The registry has let go of it."""
        if known := self._gone.get(socket):
            known.registered = False

    def hurry(self, socket: str) -> None:
        """Somebody has asked for it in vain: its moment is over."""
        if known := self._gone.pop(socket, None):
            others = self._of[known.person]
            others.remove(socket)
            if not others:
                del self._of[known.person]
            self.on_due(known)

    async def hurry_all(self) -> None:
        """No moment any more for anybody who has gone by now."""
        async for socket in in_slices(list(self._gone)):
            self.hurry(socket)

    def _look(self) -> None:
        """A few in each turn of the event loop: thousands may have gone at the same moment."""
        loop, self._timer = asyncio.get_running_loop(), None
        for _ in range(AT_ONCE):
            oldest = next(iter(self._gone.values()), None)
            if oldest is None:
                return
            left_s = oldest.since_s + MOMENT_S - loop.time()
            if left_s > 0:
                self._timer = loop.call_later(left_s, self._look)
                return
            self.hurry(oldest.socket)
        self._timer = loop.call_later(0, self._look)
