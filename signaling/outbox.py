"""What was decided in SQL on its way into the rooms' logs (S5): each event once, and a room's in the order they happened.

A row is deleted once its event is in the log. Whoever dies in between leaves the row, and the log knows its key for a day:
the event is not written twice. For an older row, after a long outage or from a backup, the log itself is read. Every node
looks each second, so a dead node's rows follow; one that has just committed looks at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby

import structlog

from rooms.errors import Unavailable
from rooms.ports import Draft, Request, RoomLog
from rooms.schedule import SYSTEM
from signaling.stores.schedule import Backlog, Pending, Schedule

log = structlog.get_logger()

NOTHING = Backlog(0, None)

LOOK_S = 1.0

ROWS = 200
"""Events that are read in one go; more follow at once."""

BLOCKED_MAX = 2_000
"""Rooms that are passed over because they cannot be written to now; beyond it all others wait for the next look."""

VERB = "session"

KNOWN_MS = 82_800_000
"""For so long, an hour less than a day (L3), the log knows an event by its key."""

CLOCKS_MS = 3_600_000
"""How much the clocks of nodes and store may differ."""

PAGE = 200
PAGE_BYTES = 1_048_576


class Outbox:
    """`on_backlog` hears what waits, at every look."""

    def __init__(self, schedule: Schedule, room_log: RoomLog, on_backlog: Callable[[Backlog], None]) -> None:
        self._schedule = schedule
        self._log = room_log
        self._on_backlog = on_backlog
        self._kicked = asyncio.Event()

    def kick(self) -> None:
        """Something was committed a moment ago."""
        self._kicked.set()

    async def run(self) -> None:
        """For as long as the node runs; what fails now is done at the next look."""
        away = False
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._kicked.wait()
            except TimeoutError:
                pass
            self._kicked.clear()
            try:
                left = await self.empty()
                self._on_backlog(await self._schedule.backlog() if left else NOTHING)
            except Unavailable:
                left = True
            except Exception:  # the node goes on
                log.exception("events could not be written to their rooms")
                continue
            if left and not away:
                log.warning("events wait for their rooms")
            elif away and not left:
                log.info("events are in their rooms again")
            away = left

    async def empty(self) -> bool:
        """Writes what waits, room by room. True when some rooms have to be tried again: their part of the store is away.
        Raises `Unavailable` when the database is."""
        blocked: set[str] = set()
        while len(blocked) < BLOCKED_MAX and (rows := await self._schedule.pending(ROWS, sorted(blocked))):
            rooms = [
                list(group) for _, group in groupby(sorted(rows, key=_room_then_order), lambda row: row.slug)
            ]
            done = await asyncio.gather(*(self._write(room) for room in rooms))
            sent = [id_ for ids in done for id_ in ids]
            if sent:
                await self._schedule.sent(sent)
            blocked |= {room[0].slug for room, ids in zip(rooms, done, strict=True) if len(ids) < len(room)}
        return bool(blocked)

    async def _write(self, rows: list[Pending]) -> list[int]:
        """Those that are in the log: all of them, or the first ones."""
        done: list[int] = []
        for row in rows:
            request = Request(person=SYSTEM, key=row.key, verb=VERB)
            try:
                if row.age_ms > KNOWN_MS and await self._is_there(row):
                    done.append(row.id)
                    continue
                await self._log.write(row.slug, (Draft(row.key, row.body),), request=request)
            except Unavailable:
                break
            except Exception:  # whatever is wrong with this room holds up no other
                log.exception("an event could not be written", room=row.slug)
                break
            done.append(row.id)
        return done

    async def _is_there(self, row: Pending) -> bool:
        """Whether the log has it, read from when it was made on."""
        after, more = f"{row.created_ms - CLOCKS_MS}-0", True
        while more:
            page = await self._log.page(row.slug, before=None, after=after, limit=PAGE, max_bytes=PAGE_BYTES)
            if any(entry.key == row.key for entry in page.entries):
                return True
            after, more = page.entries[-1].id if page.entries else after, page.more and bool(page.entries)
        return False


def _room_then_order(row: Pending) -> tuple[str, int]:
    return row.slug, row.id
