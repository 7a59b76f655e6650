"""Steps of a room's live value (who is present, the call): decided, written, announced. What time brings is a step, too.

A step is decided on the newest value and written only if it still is that; then nothing of it can be lost any more, and
what follows (who is told, when the room is looked at again) is tried until it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from rooms import call as calls
from rooms import events, presence
from rooms import live as live_values
from rooms.call import CallRules
from rooms.errors import Conflict, RoomError
from rooms.live import Decision, Live, Notice, Peer
from rooms.membership import RoomRecord
from rooms.ports import Draft, LiveSwap, Memberships, Resume, RoomLog, Seen, Stale
from rooms.pushes import RingPush
from rooms.session import Session
from signaling.departures import Departures
from signaling.hub import Hub, Resident, Wake
from signaling.nodes import Nodes
from signaling.packets import event, pack
from signaling.stores.registry import CLAIM_MS, Registry
from signaling.unfinished import Unfinished

log = structlog.get_logger()

DECIDE_TRIES = 5
"""How often a decision is made again because another node was faster, before it counts as a conflict."""

RECHECK_CALL_MS = 60_000
RECHECK_ROOM_MS = 300_000
"""A room with a call, or with somebody in it, is looked at this often even if nothing is due: its node may have died without
a word. Whoever is there has heard so from the other nodes at once, and what is written then has the time of the death."""

ANNOUNCEMENTS_MAX = 10_000
"""Notices and wakes that may wait for the store. The oldest is given up: a notice is history soon, and a room is looked at
when its earlier wake is due or somebody does something in it."""

Known = tuple[int, Live]
"""A room's live value and its version."""


class LiveSteps:
    """`on_people` hears the next session of a room in which somebody came or went."""

    def __init__(
        self,
        *,
        room_log: RoomLog,
        memberships: Memberships,
        registry: Registry,
        hub: Hub,
        nodes: Nodes,
        departures: Departures,
        rules: CallRules,
        on_people: Callable[[Session | None], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._log = room_log
        self._memberships = memberships
        self._registry = registry
        self._hub = hub
        self._nodes = nodes
        self._departures = departures
        self._rules = rules
        self._on_people = on_people
        self._now_ms = now_ms
        self._announcements = Unfinished(ANNOUNCEMENTS_MAX)

    # Decided, and written

    async def commit(self, record: RoomRecord, decide: Callable[[Live], Decision]) -> Live:
        """Time first, then the step: decided on the newest live value and written only if it still is that. Returns the
        value after it. Raises `Unavailable`, `Conflict` after `DECIDE_TRIES`, and whatever `decide` raises."""
        slug = record.slug
        resident = self._hub.resident(slug)
        known = _known(resident) if resident else None
        for _ in range(DECIDE_TRIES):
            if known is None:
                found = await self._log.live(slug)
                known = found.version, live_values.decode(found.blob)
            version, live = known
            decision = self._decide(record, live, decide)
            if decision.live == live and not decision.events:
                await self._announce(slug, version, version, decision)
                return live
            swap = LiveSwap(version, live_values.encode(decision.live))
            drafts = tuple(Draft(decided.key, events.encode(decided)) for decided in decision.events)
            try:
                written = await self._log.write(slug, drafts, live=swap)
            except Stale:
                known = None
                continue
            await self._decided(slug, known, written.version, decision)
            return decision.live
        raise Conflict("Too many people are doing the same thing; please try again.")

    async def enter(
        self, resident: Resident, arrived: Peer, seen: Seen | None, limit: int, max_bytes: int
    ) -> Resume:
        """Reads the log as `RoomLog.resume` and puts the peer into the room: mostly in one trip to the store. Raises as
        `commit`."""
        record = resident.record

        def enter(live: Live) -> Decision:
            return Decision(presence.enter(live, arrived))

        known, swap = _known(resident), None
        if known:
            decision = self._decide(record, known[1], enter)
            if decision.live != known[1] and not decision.events:
                swap = LiveSwap(known[0], live_values.encode(decision.live))
        found = await self._log.resume(record.slug, seen, limit, max_bytes, swap)
        if known and found.swapped:
            await self._decided(record.slug, known, found.version, decision)
        else:
            await self.commit(record, enter)
        return found

    def _decide(self, record: RoomRecord, live: Live, decide: Callable[[Live], Decision]) -> Decision:
        settled = self._settle(record, live)
        return settled.then(decide(settled.live))

    def _settle(self, record: RoomRecord, live: Live) -> Decision:
        """What time alone has brought about until now."""
        return calls.settle(live, record.slug, record.persons, self.lost_at, self._now_ms(), self._rules)

    def lost_at(self, peer: Peer) -> int | None:
        """Since when the peer's socket cannot be there any more (`Nodes.lost_at`); None also for one that has just gone."""
        if peer.socket in self._departures:
            return None
        return self._nodes.lost_at(peer.node, peer.socket, self._now_ms())

    async def _decided(self, slug: str, known: Known, version: int, decision: Decision) -> None:
        """A step from what was known is written, and made this version."""
        seen, before = known
        if resident := self._hub.resident(slug):
            self._hub.show_live(resident, version, decision.live)
            if _people(before) != _people(decision.live):
                self._on_people(resident.session)
        await self._announce(slug, seen, version, decision)

    # Announced

    async def _announce(self, slug: str, seen: int, version: int, decision: Decision) -> None:
        """What follows from a step that is written already: it cannot fail any more, only come later, each by itself. A room
        for which nobody can be woken is looked at from here until somebody can."""
        for notice in decision.notices:
            tell = partial(self._tell, slug, notice, self._rules.ring_ms)
            late = partial(self._tell_late, slug, notice)
            await self._announcements.attempt((slug, notice.person), tell, late)
        resident, at = self._hub.resident(slug), self._wake_at(decision.live)
        if resident and at and (stands := self._standing(resident, seen, at)):
            resident.wake = Wake(version, stands)
        else:
            wake = partial(self._wake, slug, version, at)
            await self._announcements.attempt(slug, wake, partial(self.settle, slug))

    async def _tell(self, slug: str, notice: Notice, ring_ms: int) -> None:
        """All sockets of that person hear it, and while it rings those that come later, too (K1)."""
        if isinstance(notice.push, RingPush):
            await self._registry.ring(notice.person, slug, event("call.ring", pack(notice.push)), ring_ms)
        else:
            await self._registry.quiet(notice.person, slug, event("call.quiet", pack(notice.push)))

    async def _tell_late(self, slug: str, notice: Notice) -> None:
        """Only what is still so: a call that rings no more does not ring, and nothing ends the ringing of a newer one."""
        call = live_values.decode((await self._log.live(slug)).blob).call
        left_ms = call.ring_until - self._now_ms() if call and call.ring_until else 0
        ringing = call.id if call and left_ms > 0 else None
        if ringing == (notice.push.call if isinstance(notice.push, RingPush) else None):
            await self._tell(slug, notice, left_ms)

    async def _wake(self, slug: str, version: int, at: int | None) -> None:
        """Have some node look at this room when time has something to do in it."""
        await self._registry.due(slug, at)
        if resident := self._hub.resident(slug):
            resident.wake = Wake(version, at) if at else None

    def _wake_at(self, live: Live) -> int | None:
        due = calls.deadline(live, self._rules)
        if not live.peers and not live.call:
            return due
        recheck = self._now_ms() + (RECHECK_CALL_MS if live.call else RECHECK_ROOM_MS)
        return recheck if due is None else min(due, recheck)

    def _standing(self, resident: Resident, seen: int, at: int) -> int | None:
        """When a node looks at the room anyway, if that is soon enough, and no node can have done so yet."""
        wake = resident.wake
        if wake is None or wake.version != seen or not self._now_ms() + CLAIM_MS < wake.at <= at:
            return None
        return wake.at

    # When it is due

    async def settle(self, slug: str) -> None:
        """What time alone brings about in a room (`calls.settle`). Raises `Unavailable`, `Conflict` after `DECIDE_TRIES`."""
        resident = self._hub.resident(slug)
        record = resident.record if resident else await self._memberships.room(slug)
        await self.commit(record or RoomRecord(slug, "", ()), Decision)

    async def attend(self, slugs: Sequence[str]) -> None:
        """As `settle`, of rooms that are due. Each with somebody in it is now and then, and mostly nothing has happened:
        then there is only to say when to look again, for all at once. Raises `Unavailable`; they stay due then."""
        quiet = {slug: at for slug in slugs if (at := self._quiet_until(slug)) is not None}
        if quiet:
            for slug in quiet:
                if resident := self._hub.resident(slug):
                    resident.wake = None
            await self._registry.due_again(quiet)
        await asyncio.gather(*(self._settled(slug) for slug in slugs if slug not in quiet))

    def _quiet_until(self, slug: str) -> int | None:
        """When to look at this room again; None when something is to be done in it, or it is not known here."""
        resident = self._hub.resident(slug)
        if resident is None or resident.waiting is not None:
            return None
        live = resident.live
        return self._wake_at(live) if self._settle(resident.record, live) == Decision(live) else None

    async def _settled(self, slug: str) -> None:
        try:
            await self.settle(slug)
        except RoomError as error:
            log.info("room stays due", code=error.code)

    async def stop(self) -> None:
        """Gives up on what could not be announced."""
        await self._announcements.stop()


def _known(resident: Resident) -> Known | None:
    """The newest live value that this node has heard of; None while it does not hear the room."""
    return (resident.version, resident.live) if resident.waiting is None else None


def _people(live: Live) -> tuple[set[str], set[str]]:
    """Who is in the room, and who of them is in the call."""
    return {peer.person for peer in live.peers.values()}, {peer.person for peer in live.callers()}
