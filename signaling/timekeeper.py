"""What time brings to sessions, and who was there: one node at a time looks at all that are near (S, "What time brings"). A
node on which somebody enters or leaves a call looks at that room at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from importlib.metadata import version

import structlog

from rooms import live as live_values
from rooms.errors import Unavailable
from rooms.live import Live
from rooms.ports import RoomLog
from rooms.schedule import Change, Rules
from rooms.session import Session
from signaling.stores.schedule import Present, Schedule
from signaling.stores.turns import Turns

log = structlog.get_logger()

LOOK_S = 1.0
"""How often a node asks for its turn, so that one that dies is no gap."""

ROUND_MS = 5_000
"""Between two rounds, whichever nodes do them."""

ZONES_MS = 86_400_000
"""How often times are derived again; and at once by a node that comes with other zone data (S6)."""

ZONES_TRY_MS = 300_000
"""A node that fails or dies at it has had its turn after this long."""


class Timekeeper:
    """`on_changes` hears what was written."""

    def __init__(
        self,
        schedule: Schedule,
        room_log: RoomLog,
        turns: Turns,
        *,
        rules: Rules,
        now_ms: Callable[[], int],
        on_changes: Callable[[list[Change]], None],
    ) -> None:
        self._schedule = schedule
        self._log = room_log
        self._turns = turns
        self._rules = rules
        self._now_ms = now_ms
        self._on_changes = on_changes
        self._zones = version("tzdata")
        self._hints: set[str] = set()
        self._hinted = asyncio.Event()

    def hint(self, session: Session | None) -> None:
        """Somebody came or went in the room that has this session next."""
        if session is not None and session.start - self._rules.early_ms <= self._now_ms():
            self._hints.add(session.room)
            self._hinted.set()

    async def run(self) -> None:
        """For as long as the node runs; what fails is done in the next round."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if await self._turns.take("sessions", ROUND_MS):
                    await self._round()
                await self.rederive()
            except Unavailable:
                pass  # who is away is said elsewhere
            except Exception:  # the node goes on
                log.exception("sessions could not be looked at")

    async def heed(self) -> None:
        """The hints, for as long as the node runs."""
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            while self._hints:
                with contextlib.suppress(Unavailable):  # the next round finds it
                    await self._look(self._hints.pop())

    async def observe(self, slug: str) -> None:
        """One room now. With its store away only what time alone brings. Raises `Unavailable` when the database is."""
        try:
            present = _present(live_values.decode((await self._log.live(slug)).blob))
        except Unavailable:
            present = None
        self._tell(await self._schedule.observe(slug, present))

    async def _round(self) -> None:
        last = ""
        while slugs := await self._schedule.rooms_due(after=last):
            for slug in slugs:
                await self._look(slug)
            last = slugs[-1]

    async def _look(self, slug: str) -> None:
        """Whatever is wrong with this room holds up no other. Raises `Unavailable` when the database is."""
        try:
            await self.observe(slug)
        except Unavailable:
            raise
        except Exception:
            log.exception("a session could not be looked at", room=slug)

    async def rederive(self) -> None:
        """S6, in turn. Not with older zone data than another node has: two that do not agree would move sessions to and fro.
        Raises `Unavailable`."""
        turn = f"zones {self._zones}"
        if not await self._turns.take(turn, ZONES_TRY_MS):
            return
        if not await self._turns.is_newest("zones", self._zones):
            return
        changes = await self._schedule.rederive()
        if changes:
            log.info("times of sessions were derived again", sessions=len(changes))
        self._tell(changes)
        await self._turns.keep(turn, ZONES_MS)

    def _tell(self, changes: list[Change]) -> None:
        if changes:
            self._on_changes(changes)


def _present(live: Live) -> Present:
    """Whoever is away for a moment still counts."""
    return Present(
        frozenset(peer.person for peer in live.peers.values()),
        frozenset(peer.person for peer in live.callers()),
    )
