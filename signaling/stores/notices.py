"""What is to be said outside of the rooms, once each (S5): the table `notice`, and what a notice is about.

A notice is `pending` until it is `sent`, `dropped` (no longer true when its turn came) or `dead` (nobody could take it).
A worker leases what is due; one that dies leaves it to the next when the lease is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from rooms.schedule import NoticeKind
from rooms.session import Session
from signaling.stores import appointments
from signaling.stores.database import Database
from signaling.stores.directory import ERASED_HOST
from signaling.stores.people import Person
from signaling.stores.question import Question
from signaling.stores.tables import notice, pair, person, session

ReminderKind = Literal["reminder_24h", "reminder_1h", "reminder_10m"]
Kind = NoticeKind | ReminderKind | Literal["knock", "digest"]

KINDS: Final = frozenset(kind for part in get_args(Kind) for kind in get_args(part))
"""Kinds that this version can write. Others are for nodes of a newer one."""

Outcome = Literal["sent", "dropped", "dead"]

REMOVE_MAX: Final = 1_000
"""Rows that one step of `clear` removes."""

LISTED_MAX: Final = 1_000


class NewNotice(Struct, frozen=True):
    """`subject` is a session's id, or the slug of a room. Together all fields are what it is known by."""

    subject: str
    seq: int
    recipient: str
    kind: Kind
    about: str = ""


class Notice(NewNotice, frozen=True, kw_only=True):
    """One that a worker has. `attempts`: how often it was tried before. `leased_ms`: until when it is ours."""

    id: int
    attempts: int
    created_ms: int
    leased_ms: int


class Subject(Struct, frozen=True):
    """What a notice is about, as it is now. `session` is None, and `organizer` "", where it is about a room. `recipient` and
    `partner` are the two of that room, which is `closed` if its pair was removed. `confirmed`: the
    recipient also has a notice that this time was confirmed."""

    session: Session | None
    organizer: str
    slug: str
    recipient: Person
    partner: Person
    closed: bool
    confirmed: bool


class Upcoming(Struct, frozen=True):
    """A session that somebody may have to be reminded of. `people` are the two of its room."""

    session: str
    seq: int
    slug: str
    people: tuple[str, str]


class RoomPeople(Struct, frozen=True):
    slug: str
    people: tuple[str, str]


class Waiting(Struct, frozen=True):
    """For operators: how many are dead, and since when the oldest pending one has been due (None: none is)."""

    dead: int
    oldest_ms: int | None


class Dead(Struct, frozen=True):
    """A notice that was given up. `recipient` is a person's id."""

    id: int
    kind: str
    subject: str
    recipient: str
    attempts: int
    created_ms: int


class Notices:
    """Every method raises `DatabaseUnavailableError` when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, notices: Sequence[NewNotice], now_ms: int) -> int:
        """Those that are not known yet, due now. Returns how many those were."""
        if not notices:
            return 0
        rows = [(one.subject, one.seq, one.recipient, one.kind, one.about) for one in notices]
        async with self._database.writing() as connection:
            return await appointments.note(connection, rows, now_ms)

    async def lease(self, now_ms: int, until_ms: int, limit: int) -> list[Notice]:
        """The longest due, `limit` at most, for whoever asks until `until_ms`."""
        if not await self._database.ask(_ANY_DUE, now=now_ms):
            return []  # no writer's turn for nothing
        async with self._database.writing() as connection:
            ids = (await connection.scalars(_DUE.limit(limit), {"now": now_ms})).all()
            taken = await connection.execute(
                sa.update(notice)
                .where(notice.c.id.in_(ids))
                .values(leased_ms=until_ms)
                .returning(
                    notice.c.subject,
                    notice.c.seq,
                    notice.c.recipient_id,
                    notice.c.kind,
                    notice.c.about,
                    notice.c.id,
                    notice.c.attempts,
                    notice.c.created_ms,
                )
            )
            rows = sorted(taken.all(), key=lambda row: int(row.id))
        return [
            Notice(
                row.subject,
                row.seq,
                row.recipient_id,
                row.kind,
                row.about,
                id=row.id,
                attempts=row.attempts,
                created_ms=row.created_ms,
                leased_ms=until_ms,
            )
            for row in rows
        ]

    async def finish(self, one: Notice, outcome: Outcome) -> None:
        """It is done with; nothing happens to one whose lease somebody else has by now."""
        await self._update(one, state=outcome, due_ms=None, leased_ms=None, attempts=one.attempts + 1)

    async def put_off(self, one: Notice, due_ms: int) -> None:
        """It was tried in vain, and is due again then."""
        await self._update(one, due_ms=due_ms, leased_ms=None, attempts=one.attempts + 1)

    async def release(self, one: Notice, due_ms: int) -> None:
        """It was not tried after all, and is due again then."""
        await self._update(one, due_ms=due_ms, leased_ms=None)

    async def _update(self, one: Notice, **values: object) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                sa.update(notice)
                .where(
                    notice.c.id == one.id,
                    notice.c.state == "pending",
                    notice.c.leased_ms == one.leased_ms,
                )
                .values(**values)
            )

    async def subject(self, one: NewNotice) -> Subject | None:
        """None: there is no such thing any more, the recipient is not of its room, or was erased. Of a room that was closed
        it is only told that its sessions are cancelled."""
        async with self._database.reading() as connection:
            found, slug = None, one.subject
            organizer: str | None = None
            if len(one.subject) == _UUID_CHARACTERS:
                known = await appointments.find(connection, session.c.id == one.subject)
                if not known:
                    return None
                found = known[0].session
                slug = found.room
                organizer = await connection.scalar(
                    sa.select(session.c.organizer).where(session.c.id == one.subject)
                )
            row = (
                await connection.execute(
                    sa.select(pair.c.mentor_id, pair.c.mentee_id, pair.c.removed_ms).where(
                        pair.c.slug == slug
                    )
                )
            ).one_or_none()
            if row is None or one.recipient not in (row.mentor_id, row.mentee_id):
                return None
            if row.removed_ms is not None and one.kind != "cancel":
                return None
            confirmed = await connection.scalar(
                sa.select(notice.c.id).where(
                    notice.c.subject == one.subject,
                    notice.c.seq == one.seq,
                    notice.c.recipient_id == one.recipient,
                    notice.c.kind == "confirmed",
                )
            )
            people = await _people(connection, row.mentor_id, row.mentee_id)
        other = row.mentee_id if one.recipient == row.mentor_id else row.mentor_id
        if people[one.recipient].email.endswith(ERASED_HOST):
            return None
        return Subject(
            session=found,
            organizer=organizer or "",
            slug=slug,
            recipient=people[one.recipient],
            partner=people[other],
            closed=row.removed_ms is not None,
            confirmed=confirmed is not None,
        )

    async def upcoming(
        self, kind: ReminderKind, after_ms: int, until_ms: int, before_ms: int, *, after: str, limit: int
    ) -> list[Upcoming]:
        """Confirmed sessions that start later than `after_ms` and not later than `until_ms`, were given their time at least
        `before_ms` before it, and of whose `seq` nobody has a notice of that kind. By id, `limit` at most behind `after`."""
        rows = await self._database.ask(
            _UPCOMING,
            kind=kind,
            after_ms=after_ms,
            until_ms=until_ms,
            before_ms=before_ms,
            after=after,
            limit=limit,
        )
        return [Upcoming(id_, seq, slug, (mentor, mentee)) for id_, seq, slug, mentor, mentee in rows]

    async def rooms(self, *, after: str, limit: int) -> list[RoomPeople]:
        """Living rooms by slug, the first `limit` behind `after`."""
        rows = await self._database.ask(_LIVING, after=after, limit=limit)
        return [RoomPeople(slug, (mentor, mentee)) for slug, mentor, mentee in rows]

    async def waiting(self) -> Waiting:
        """For metrics."""
        [row] = await self._database.ask(_WAITING)
        return Waiting(*row)

    async def clear(self, before_ms: int) -> int:
        """Removes what was made before then and is done with, in bounded steps; returns how many."""
        removed = 0
        while True:
            old = (
                sa.select(notice.c.id)
                .where(notice.c.state != "pending", notice.c.created_ms < before_ms)
                .limit(REMOVE_MAX)
            )
            async with self._database.writing() as connection:
                step = await connection.execute(sa.delete(notice).where(notice.c.id.in_(old)))
            removed += step.rowcount
            if step.rowcount < REMOVE_MAX:
                return removed

    async def dead(self) -> list[Dead]:
        """The oldest first, LISTED_MAX at most."""
        query = (
            sa.select(
                notice.c.id,
                notice.c.kind,
                notice.c.subject,
                notice.c.recipient_id,
                notice.c.attempts,
                notice.c.created_ms,
            )
            .where(notice.c.state == "dead")
            .order_by(notice.c.id)
            .limit(LISTED_MAX)
        )
        async with self._database.reading() as connection:
            return [Dead(*row) for row in (await connection.execute(query)).all()]

    async def revive(self, now_ms: int) -> int:
        """Every dead one is tried again as if it were new; returns how many."""
        async with self._database.writing() as connection:
            done = await connection.execute(
                sa.update(notice)
                .where(notice.c.state == "dead")
                .values(state="pending", due_ms=now_ms, created_ms=now_ms, attempts=0, leased_ms=None)
            )
        return done.rowcount


_UUID_CHARACTERS: Final = 36

_DUE: Final = (
    sa.select(notice.c.id)
    .where(
        notice.c.state == "pending",
        notice.c.kind.in_(KINDS),
        notice.c.due_ms <= sa.bindparam("now"),
        sa.or_(notice.c.leased_ms.is_(None), notice.c.leased_ms <= sa.bindparam("now")),
    )
    .order_by(notice.c.due_ms, notice.c.id)
)
_ANY_DUE: Final = Question(_DUE.limit(1))
_UPCOMING: Final = Question(
    sa.select(session.c.id, session.c.seq, pair.c.slug, pair.c.mentor_id, pair.c.mentee_id)
    .join(pair, pair.c.id == session.c.pair_id)
    .where(
        session.c.state == "confirmed",
        session.c.due_ms.is_not(None),
        session.c.start_ms > sa.bindparam("after_ms"),
        session.c.start_ms <= sa.bindparam("until_ms"),
        session.c.timed_ms <= session.c.start_ms - sa.bindparam("before_ms"),
        pair.c.removed_ms.is_(None),
        ~sa.exists().where(
            notice.c.subject == session.c.id,
            notice.c.seq == session.c.seq,
            notice.c.kind == sa.bindparam("kind"),
        ),
        session.c.id > sa.bindparam("after"),
    )
    .order_by(session.c.id)
    .limit(sa.bindparam("limit"))
)
_LIVING: Final = Question(
    sa.select(pair.c.slug, pair.c.mentor_id, pair.c.mentee_id)
    .where(pair.c.slug > sa.bindparam("after"), pair.c.removed_ms.is_(None))
    .order_by(pair.c.slug)
    .limit(sa.bindparam("limit"))
)
_WAITING: Final = Question(
    sa.select(
        sa.select(sa.func.count()).select_from(notice).where(notice.c.state == "dead").scalar_subquery(),
        sa.select(sa.func.min(notice.c.created_ms)).where(notice.c.state == "pending").scalar_subquery(),
    )
)


async def _people(connection: AsyncConnection, *ids: str) -> dict[str, Person]:
    query = sa.select(person.c.id, person.c.email, person.c.name, person.c.tz, person.c.language).where(
        person.c.id.in_(ids)
    )
    return {row[0]: Person(*row) for row in (await connection.execute(query)).all()}
