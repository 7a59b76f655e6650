"""What a room's history leaves behind is cleared away: what the retention no longer keeps, and deleted texts in the embedded
store's file. One node does it, for all rooms."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from rooms.errors import Unavailable
from rooms.ports import Retention, RoomLog
from signaling.stores.engine import EmbeddedStoreError
from signaling.stores.programme import Programme
from signaling.stores.turns import Turns

log = structlog.get_logger()

ASKED_IN_A_ROUND = 10
"""A node asks for a turn this often between two of them, so that one that is restarted often, or dies, is no gap."""

ROOMS_AT_ONCE = 500
"""Rooms that are read from the database in one go."""


class Housekeeping:
    """`rewrite` writes the embedded store's file anew; None for a store that is not ours: its operator does that.
    `clear_notices` removes those of mails that were sent long ago."""

    def __init__(
        self,
        programme: Programme,
        room_log: RoomLog,
        turns: Turns,
        *,
        every_s: int,
        rewrite: Callable[[], Awaitable[None]] | None,
        rewrite_every_s: int,
        clear_notices: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._programme = programme
        self._log = room_log
        self._turns = turns
        self._tasks: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
            ("retention", every_s, self._trim)
        ]
        if clear_notices is not None:
            self._tasks.append(("notices", every_s, clear_notices))
        if rewrite is not None:
            self._tasks.append(("rewrite", rewrite_every_s, rewrite))

    async def run(self) -> None:
        """For as long as the node runs. What fails is done at the next turn."""
        while True:
            await asyncio.sleep(min(every_s for _, every_s, _ in self._tasks) / ASKED_IN_A_ROUND)
            for task, every_s, work in self._tasks:
                try:
                    await self._in_turn(task, every_s, work)
                except (Unavailable, EmbeddedStoreError) as error:
                    log.warning("housekeeping was put off", task=task, reason=str(error))
                except Exception:  # the node goes on
                    log.exception("housekeeping failed", task=task)

    async def _in_turn(self, task: str, every_s: int, work: Callable[[], Awaitable[None]]) -> None:
        if not await self._turns.take(task, every_s * 1000):
            return
        try:
            await work()
        except BaseException:
            with contextlib.suppress(Unavailable):  # then its time runs out
                await self._turns.give_back(task)
            raise

    async def _trim(self) -> None:
        """Room by room, and each in bounded steps: the store serves everybody else between two of them. A round that takes
        longer than a turn is joined by the next node; they do each other no harm. Raises `Unavailable` at its end if the
        store did not answer for some rooms, which is a part of a Cluster that is away: the others are done."""
        removed, put_off, last = 0, 0, ""
        while rooms := await self._programme.rooms_to_trim(after=last, limit=ROOMS_AT_ONCE):
            for slug, retention in rooms:
                try:
                    removed += await self._trim_room(slug, retention)
                except Unavailable:
                    put_off += 1
                last = slug
        if removed:
            log.info("retention removed events", events=removed)
        if put_off:
            raise Unavailable(f"The store did not answer for {put_off} of the rooms.")

    async def _trim_room(self, slug: str, retention: Retention) -> int:
        removed, more = 0, True
        while more:
            step = await self._log.trim(slug, retention)
            removed, more = removed + step.entries, step.more
        return removed
