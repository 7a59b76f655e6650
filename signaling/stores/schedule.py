"""The sessions of all rooms in SQL: each change is read, decided and written in one transaction (S3, S4, S5).

Time, ids and randomness are passed in. Every method raises DatabaseUnavailableError when the database does not answer;
whether a change was made is not known then, and asking again is harmless: by the same key, or by the `rev` that was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from rooms import commands as c
from rooms import schedule
from rooms.errors import Conflict, NotFound, RoomError
from rooms.membership import RoomRecord
from rooms.schedule import Appointment, Change, Rules
from rooms.session import MINUTE_MS, Session
from signaling.stores import appointments
from signaling.stores.appointments import OPEN, OPEN_IN, Booking
from signaling.stores.database import Database
from signaling.stores.directory import room_record
from signaling.stores.question import Question
from signaling.stores.tables import pair, room_outbox, session

PAST_SHOWN: Final = 50
"""Sessions that are over, the newest of them, in a room's list."""

ROOMS_AT_ONCE: Final = 500
"""Rooms that are read in one go."""

KNOCK_EARLY_MS: Final = 30 * MINUTE_MS
"""So long before a session a knock is worth a mail."""


class Pending(Struct, frozen=True):
    """An event that is not in its room's log yet, or that nobody has marked as such. `created_ms`: when it was committed;
    `age_ms`: how long ago that is."""

    id: int
    slug: str
    key: str
    body: bytes
    created_ms: int
    age_ms: int


class Backlog(Struct, frozen=True):
    """How much of that there is, and when the oldest was made."""

    pending: int
    oldest_ms: int | None


class Present(Struct, frozen=True):
    """The people who have a device in the room, and those of them who are in its call."""

    in_room: frozenset[str]
    in_call: frozenset[str]


_ROOMS_DUE: Final = Question(
    sa.select(pair.c.slug)
    .distinct()
    .join(session, session.c.pair_id == pair.c.id)
    .where(
        OPEN,
        sa.or_(session.c.due_ms <= sa.bindparam("due"), session.c.start_ms <= sa.bindparam("near")),
        pair.c.slug > sa.bindparam("after"),
    )
    .order_by(pair.c.slug)
    .limit(ROOMS_AT_ONCE)
)

_OLDEST: Final = (
    sa.select(*(room_outbox.c[name] for name in ("id", "slug", "key", "body", "created_ms")))
    .order_by(room_outbox.c.id)
    .limit(sa.bindparam("limit"))
)
_PENDING: Final = Question(_OLDEST)
_PENDING_ELSEWHERE: Final = Question(
    _OLDEST.where(room_outbox.c.slug.not_in(sa.bindparam("without", expanding=True)))
)
_BACKLOG: Final = Question(sa.select(sa.func.count(room_outbox.c.id), sa.func.min(room_outbox.c.created_ms)))


class Schedule:
    """`new_id` makes ids and keys, `new_secret` the part of an ORGANIZER's address that nobody guesses. `host` stands in a
    session's `uid`; what was made under another one keeps it (S1)."""

    def __init__(
        self,
        database: Database,
        *,
        rules: Rules,
        host: str,
        open_max: int,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
    ) -> None:
        self._database = database
        self._rules = rules
        self._host = host
        self._open_max = open_max
        self._now_ms = now_ms
        self._new_id = new_id
        self._new_secret = new_secret

    # What people do

    async def book(self, person: str, command: c.SessionBook) -> tuple[Session, Change | None]:
        """The session, and the change that it was; None when the same request had made it before (L3). Raises `NotFound`,
        `Conflict` (S3, or too many are open), and what `schedule.book` raises."""
        key = command.key.lower()
        async with self._database.writing() as connection:
            record = await room_record(connection, pair.c.slug == command.room, pair.c.removed_ms.is_(None))
            record = _of(record, person)
            known = await appointments.find(
                connection, session.c.booker_id == person, session.c.booking_key == key
            )
            if known:
                if known[0].session.room != record.slug:
                    raise Conflict("This key was used in another room.", field="key")
                return known[0].session, None
            ahead = sa.select(sa.func.count(session.c.id)).where(session.c.pair_id == pair.c.id, OPEN)
            counted = sa.select(pair.c.id, ahead.scalar_subquery()).where(pair.c.slug == record.slug)
            pair_id, count = (await connection.execute(counted)).one()
            if count >= self._open_max:
                raise Conflict(
                    f"There are {self._open_max} sessions ahead in this room already.", field="room"
                )
            id_, now = self._new_id(), self._now_ms()
            change = schedule.book(record, person, command, id_, f"{id_}@{self._host}", now, self._rules)
            booking = Booking(pair_id, person, key, self._new_secret())
            await appointments.add(connection, change, booking, self._keys(change), now, self._rules)
        return change.session, change

    async def change(self, person: str, command: c.SessionCommand) -> Change:
        """Raises `NotFound`, `Conflict` (S3, S4, S10), and what `schedule.decide` raises. What time has brought meanwhile is
        written in any case."""
        refusal: RoomError | None = None
        async with self._database.writing() as connection:
            record = _of(
                await room_record(connection, pair.c.slug == command.room, pair.c.removed_ms.is_(None)),
                person,
            )
            found = await appointments.find(
                connection, session.c.id == command.session, pair.c.slug == record.slug
            )
            if not found:
                raise NotFound("There is no such session.", field="session")
            now = self._now_ms()
            settled = schedule.settle(found[0], now, self._rules)
            await appointments.write(connection, found[0], settled, self._keys(settled), now, self._rules)
            before, change = settled.appointment, settled
            try:
                asked = schedule.decide(record, before, person, command, self._new_id(), now, self._rules)
            except RoomError as error:
                refusal = error
            else:
                field = "minutes" if isinstance(command, c.SessionExtend) else "wall"
                keys = self._keys(asked)
                await appointments.write(
                    connection, before, asked, keys, now, self._rules, asked_by=person, field=field
                )
                change = settled.then(asked)
        if refusal is not None:
            raise refusal
        return change

    async def knocked(self, slug: str, absent: Set[str]) -> None:
        """A notice for each of these people, once, from half an hour before a session until its end."""
        now = self._now_ms()
        near = (session.c.start_ms <= now + KNOCK_EARLY_MS, session.c.end_ms > now, OPEN)
        async with self._database.writing() as connection:
            for one in (await appointments.find(connection, pair.c.slug == slug, *near))[:1]:
                told = [(person, "knock", "") for person in sorted(absent & one.session.answers.keys())]
                await appointments.notify(connection, one.session, told, now)

    # Reading (S7)

    async def session(self, person: str, session_id: str) -> Session:
        """Raises `NotFound`, also for somebody whose room it is not."""
        mine = sa.or_(pair.c.mentor_id == person, pair.c.mentee_id == person)
        async with self._database.reading() as connection:
            found = await appointments.find(
                connection, session.c.id == session_id, mine, pair.c.removed_ms.is_(None)
            )
        if not found:
            raise NotFound("There is no such session, or it is not yours.", field="session")
        return found[0].session

    async def of_room(self, person: str, slug: str) -> list[Session]:
        """Those that are open by their start, then the newest that are over. Raises `NotFound`."""
        in_room = session.c.pair_id == _pair_id(slug)
        newest = sa.select(session.c.id).where(in_room, ~OPEN)
        newest = newest.order_by(session.c.start_ms.desc(), session.c.id).limit(PAST_SHOWN)
        async with self._database.reading() as connection:
            _of(await room_record(connection, pair.c.slug == slug, pair.c.removed_ms.is_(None)), person)
            ahead = await appointments.find(connection, in_room, OPEN)
            past = await appointments.find(connection, session.c.id.in_(newest))
        return [one.session for one in [*ahead, *reversed(past)]]

    async def next_of(self, slugs: Sequence[str]) -> dict[str, Session]:
        """Of each room the session that is under way, else the next."""
        if not slugs:
            return {}
        return {
            row.slug: appointments.read(row).session
            for row in await self._database.ask(appointments.NEXT, slugs=slugs)
        }

    # What time brings

    async def rooms_due(self, *, after: str) -> list[str]:
        """Rooms in which a session is near or under way, or time has something to do: by slug, the first ROOMS_AT_ONCE
        behind `after`."""
        now = self._now_ms()
        rows = await self._database.ask(_ROOMS_DUE, due=now, near=now + self._rules.early_ms, after=after)
        return [slug for (slug,) in rows]

    async def observe(self, slug: str, present: Present | None) -> list[Change]:
        """What time brings, and who is there (`schedule.observe_room`). The writer's turn is only taken for a change."""
        ahead = [appointments.read(row) for row in await self._database.ask(OPEN_IN, slug=slug)]
        if not any(changed for _, changed in self._observed(ahead, present)):
            return []
        made: list[Change] = []
        async with self._database.writing() as connection:
            now = self._now_ms()
            ahead = await appointments.find(connection, pair.c.slug == slug, OPEN)
            for before, change in self._observed(ahead, present):
                if change is not None:
                    keys = self._keys(change)
                    await appointments.write(connection, before, change, keys, now, self._rules)
                    made.append(change)
        return made

    def _observed(
        self, ahead: Sequence[Appointment], present: Present | None
    ) -> list[tuple[Appointment, Change | None]]:
        """Each open session of a room with what becomes of it; None where that is nothing."""
        now = self._now_ms()
        if present is None:
            changes = [schedule.settle(one, now, self._rules) for one in ahead]
        else:
            changes = schedule.observe_room(ahead, present.in_room, present.in_call, now, self._rules)
        return [
            (one, change if change.appointment != one else None)
            for one, change in zip(ahead, changes, strict=True)
        ]

    async def rederive(self) -> list[Change]:
        """S6: what the zone data of today makes of the wall times that were agreed on. Sessions that follow each other move
        one after the other; one whose new time is taken for good keeps its moment."""
        made: list[Change] = []
        waiting = await self._outdated()
        while waiting:
            stuck = [one for one in waiting if not await self._write_again(one, made)]
            if len(stuck) == len(waiting):
                await self._write_again(stuck.pop(0), made, keep=True)
            waiting = stuck
        return made

    async def _outdated(self) -> list[str]:
        """The ids of those whose wall time means another moment now."""
        found: list[str] = []
        last = ""
        while True:
            behind = session.c.id > last
            next_ids = sa.select(session.c.id).where(OPEN, behind).order_by(session.c.id).limit(ROOMS_AT_ONCE)
            async with self._database.reading() as connection:
                page = await appointments.find(connection, session.c.id.in_(next_ids))
            if not page:
                return found
            now = self._now_ms()
            found += [one.session.id for one in page if schedule.rederive(one, now) is not None]
            last = max(one.session.id for one in page)

    async def _write_again(self, session_id: str, made: list[Change], *, keep: bool = False) -> bool:
        """False when somebody is in another session then."""
        try:
            async with self._database.writing() as connection:
                now = self._now_ms()
                for one in await appointments.find(connection, session.c.id == session_id):
                    change = schedule.rederive(one, now)
                    if change is not None:
                        change = schedule.keep_moment(one) if keep else change
                        keys = self._keys(change)
                        await appointments.write(connection, one, change, keys, now, self._rules)
                        made.append(change)
        except Conflict:
            return False
        return True

    # What waits for a room's log

    async def pending(self, limit: int, without: Sequence[str] = ()) -> list[Pending]:
        """In the order in which they happened, but those of the rooms `without`."""
        if without:
            rows = await self._database.ask(_PENDING_ELSEWHERE, limit=limit, without=list(without))
        else:
            rows = await self._database.ask(_PENDING, limit=limit)
        now = self._now_ms()
        return [Pending(*row, now - row.created_ms) for row in rows]  # type: ignore[call-arg]

    async def sent(self, ids: Sequence[int]) -> None:
        """These are in their logs."""
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(room_outbox).where(room_outbox.c.id.in_(list(ids))))

    async def backlog(self) -> Backlog:
        [row] = await self._database.ask(_BACKLOG)
        return Backlog(*row)

    def _keys(self, change: Change) -> list[str]:
        return [self._new_id() for _ in change.events]


def _of(record: RoomRecord | None, person: str) -> RoomRecord:
    """A room that somebody belongs to. Raises `NotFound`."""
    if record is None:
        raise NotFound("This room does not exist, or it is not yours.", field="room")
    record.member(person)
    return record


def _pair_id(slug: str) -> sa.ScalarSelect[str]:
    return sa.select(pair.c.id).where(pair.c.slug == slug).scalar_subquery()
