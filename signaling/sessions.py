"""Sessions, as both doors ask for them: the socket's verbs and HTTP. What is committed in SQL follows in the room's log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set

from rooms import bounds
from rooms import commands as c
from rooms.bounds import Limits
from rooms.schedule import Change
from rooms.session import Session
from signaling.buckets import TokenBuckets
from signaling.outbox import Outbox
from signaling.stores.schedule import Schedule
from signaling.stores.together import Together

PEOPLE_MAX = 10_000
"""People whose rate is known at a time; beyond it the one who was silent for longest starts anew."""


class Sessions:
    """Everything that is asked raises `Unavailable` when the database is away, and nothing waits for the room's log.
    `on_change` hears of every change that was made here."""

    def __init__(
        self,
        schedule: Schedule,
        outbox: Outbox,
        limits: Limits,
        *,
        per_s: float,
        burst: int,
        on_change: Callable[[Change], None],
    ) -> None:
        self._schedule = schedule
        self._outbox = outbox
        self._limits = limits
        self._rates = TokenBuckets(per_s, burst, PEOPLE_MAX)
        self._on_change = on_change
        self._next = Together(schedule.next_of)

    async def book(self, person: str, command: c.SessionBook) -> Session:
        """Raises `Limited`, and as `Schedule.book`."""
        self._check(person, command)
        booked, change = await self._schedule.book(person, command)
        if change is not None:
            self._made(change)
        return booked

    async def change(self, person: str, command: c.SessionCommand) -> Session:
        """Raises `Limited`, and as `Schedule.change`."""
        self._check(person, command)
        change = await self._schedule.change(person, command)
        self._made(change)
        return change.session

    async def session(self, person: str, session_id: str) -> Session:
        """Raises `NotFound`, also for strangers."""
        return await self._schedule.session(person, session_id)

    async def of_room(self, person: str, slug: str) -> list[Session]:
        """The open ones by their start, then the last that are over. Raises `NotFound`, also for strangers."""
        return await self._schedule.of_room(person, slug)

    async def next_of(self, slugs: Sequence[str]) -> dict[str, Session]:
        """What `room.join` shows: of each room the session that is under way, else the next."""
        return await self._schedule.next_of(slugs)

    async def next_in(self, slug: str) -> Session | None:
        """As `next_of`, of one room; asked together with others who come in."""
        return await self._next(slug)

    async def knocked(self, slug: str, absent: Set[str]) -> None:
        """Somebody knocked, and these people have no socket: they are written to once, while a session is near."""
        await self._schedule.knocked(slug, absent)

    def _check(self, person: str, command: c.SessionBook | c.SessionCommand) -> None:
        bounds.check(command, self._limits)
        self._rates.take((person, command.room), time.monotonic())

    def _made(self, change: Change) -> None:
        if change.events:
            self._on_change(change)
            self._outbox.kick()
