"""Reminders of sessions, and one mail about what somebody missed. Derived again and again from the rows as they are, so a
node that dies or starts changes nothing: what is due becomes a notice, and the notice's own key keeps it from coming twice.

- A reminder is due 24 hours, an hour and ten minutes before a confirmed session, for each `seq` anew; not when the session
  was given its time after that moment. One that comes late is worth something until the next is due. Whoever is in the room
  needs no reminder of the last ten minutes.
- A digest is due when a message of the partner has not been read for five minutes and the person is offline. It is one until
  they have read: its key holds their read mark. Nothing of the message is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final

import structlog

from rooms import events, live
from rooms.errors import Unavailable
from rooms.ids import event_at, event_order
from rooms.log import Entry
from rooms.ports import RoomLog
from rooms.session import MINUTE_MS
from signaling.stores.notices import NewNotice, Notices, ReminderKind, RoomPeople, Upcoming
from signaling.stores.registry import Registry
from signaling.stores.turns import Turns

log = structlog.get_logger()

HOUR_MS: Final = 60 * MINUTE_MS

WINDOWS: Final[dict[ReminderKind, tuple[int, int]]] = {
    "reminder_24h": (24 * HOUR_MS, HOUR_MS),
    "reminder_1h": (HOUR_MS, 10 * MINUTE_MS),
    "reminder_10m": (10 * MINUTE_MS, 0),
}
"""Milliseconds before the start: from when on it is due, and until when it is worth something."""

SESSIONS_EVERY_MS: Final = 10_000
DIGESTS_EVERY_MS: Final = 60_000
ASKED_S: Final = 2.0
"""A node asks for a turn this often."""

UNREAD_MS: Final = 5 * MINUTE_MS

LOOKED_BACK_MS: Final = 2 * 24 * HOUR_MS
"""A room where nothing has happened for longer is not looked at: what was missed there was mailed, or is old by now."""

PAGE: Final = 500
"""Sessions, and rooms, that are read in one go."""

ENTRIES: Final = 100
ENTRIES_BYTES: Final = 131_072
"""Of a room's newest events so many are looked at for an unread message."""

SETTLED_MAX: Final = 50_000
"""People and rooms of whom is remembered that there is nothing to tell; beyond it all of them are looked at again."""


class Reminders:
    """`alive` are the nodes whose sockets count."""

    def __init__(
        self,
        notices: Notices,
        room_log: RoomLog,
        registry: Registry,
        turns: Turns,
        alive: Callable[[], Collection[str]],
        now_ms: Callable[[], int],
    ) -> None:
        self._notices = notices
        self._log = room_log
        self._registry = registry
        self._turns = turns
        self._alive = alive
        self._now_ms = now_ms
        self._settled: dict[tuple[str, str], str] = {}

    async def run(self) -> None:
        """For as long as the node runs. What fails is done at the next turn."""
        tasks = (
            ("reminders", SESSIONS_EVERY_MS, self.remind),
            ("digests", DIGESTS_EVERY_MS, self.digest),
        )
        while True:
            for task, every_ms, work in tasks:
                try:
                    if await self._turns.take(task, every_ms):
                        await work()
                except Unavailable as error:
                    log.warning("reminders were put off", task=task, code=error.code)
                    with contextlib.suppress(Unavailable):
                        await self._turns.give_back(task)
                except Exception:  # the node goes on
                    log.exception("reminders failed", task=task)
            await asyncio.sleep(ASKED_S)

    # Sessions

    async def remind(self) -> int:
        """Every reminder that is due and not known yet becomes a notice; how many. Raises `Unavailable`."""
        made = 0
        for kind, (from_ms, until_ms) in WINDOWS.items():
            now, after = self._now_ms(), ""
            while page := await self._notices.upcoming(
                kind, now + until_ms, now + from_ms, from_ms, after=after, limit=PAGE
            ):
                wanted = [one for session in page for one in await self._reminders(kind, session)]
                made += await self._notices.add(wanted, now)
                after = page[-1].session
        return made

    async def _reminders(self, kind: ReminderKind, session: Upcoming) -> list[NewNotice]:
        """A room whose part of the store is away now holds up no other: it is looked at again at the next turn."""
        there: Collection[str] = ()
        if kind == "reminder_10m":
            try:
                value = live.decode((await self._log.live(session.slug)).blob)
            except Unavailable:
                return []
            there = {peer.person for peer in value.peers.values() if peer.away_until is None}
        return [
            NewNotice(session.session, session.seq, person, kind)
            for person in session.people
            if person not in there
        ]

    # Missed messages

    async def digest(self) -> int:
        """Everybody who missed something gets a notice, unless they have; how many. Raises `Unavailable`."""
        made, after, now = 0, "", self._now_ms()
        while page := await self._notices.rooms(after=after, limit=PAGE):
            after = page[-1].slug
            heads = await self._log.heads([room.slug for room in page])
            active = {
                room.slug: head.id
                for room, head in zip(page, heads, strict=True)
                if head and head.id and event_at(head.id) > now - LOOKED_BACK_MS
            }
            made += await self._notices.add(await self._missed(page, active, now), now)
        return made

    async def _missed(self, rooms: list[RoomPeople], active: dict[str, str], now: int) -> list[NewNotice]:
        asked = [
            (room.slug, person, partner)
            for room in rooms
            if room.slug in active
            for person, partner in (room.people, room.people[::-1])
            if self._settled.get((room.slug, person)) != active[room.slug]
        ]
        persons = sorted({person for _, person, _ in asked})
        online = await self._registry.online(persons, self._alive(), unknown=True)
        found = []
        for slug, person, partner in asked:
            if person in online:
                continue
            mark, at = await self._oldest_unread(slug, person, partner)
            if at is None or at <= now - UNREAD_MS:
                self._settle(slug, person, active[slug])
            if at is not None and at <= now - UNREAD_MS:
                found.append(NewNotice(slug, 0, person, "digest", mark))
        return found

    async def is_missed(self, slug: str, person: str, partner: str, about: str) -> bool:
        """Whether a digest is still true: they have read no further since, and there is something unread. Raises
        `Unavailable`."""
        mark, at = await self._oldest_unread(slug, person, partner)
        return mark == about and at is not None

    async def _oldest_unread(self, slug: str, person: str, partner: str) -> tuple[str, int | None]:
        """Up to where somebody has read ("" for nowhere), and when the partner's oldest message after that was written, of
        the newest ENTRIES events."""
        resumed = await self._log.resume(slug, None, ENTRIES, ENTRIES_BYTES)
        mark = resumed.read.get(person, "")
        written = (_message(entry, partner) for entry in resumed.entries)
        unread = (id_ for id_ in written if id_ and (not mark or event_order(id_) > event_order(mark)))
        return mark, min(map(event_at, unread), default=None)

    def _settle(self, slug: str, person: str, head: str) -> None:
        if len(self._settled) >= SETTLED_MAX:
            self._settled.clear()
        self._settled[slug, person] = head


def _message(entry: Entry, author: str) -> str | None:
    """The id under which that person's message was posted; an edited one keeps its place."""
    match events.decode(entry.body):
        case events.ChatPosted(by=by) if by == author:
            return entry.id
        case events.ChatEdited(ref=ref, posted=posted) if posted.by == author:
            return ref
    return None
