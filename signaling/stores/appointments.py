"""How an appointment lies in the tables: read and written on a connection whose transaction somebody else has opened, so
that a session, its claims, its events on their way to the room and its notices are committed together (S5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from rooms import events, schedule
from rooms.errors import Conflict
from rooms.schedule import Appointment, Change, Rules
from rooms.session import Attendance, Proposal, Session
from signaling.stores.question import Question
from signaling.stores.tables import claim, notice, pair, person, room_outbox, session

MAIL: Final = "mail"
"""The channel of every notice so far."""


class Booking(Struct, frozen=True):
    """What is kept of a new session beside itself. `booker` and `key`: whose request made it (L3)."""

    pair: str
    booker: str
    key: str
    organizer: str


# ------------------------------------------------------------------------------------------------ reading

_FOUND: Final = sa.select(session, pair.c.slug).join(pair, pair.c.id == session.c.pair_id)
OPEN: Final = session.c.due_ms.is_not(None)


async def find(connection: AsyncConnection, *which: sa.ColumnElement[bool]) -> list[Appointment]:
    """All that fit, by their start."""
    query = _FOUND.where(*which).order_by(session.c.start_ms, session.c.id)
    return [read(row) for row in await connection.execute(query)]


def _next() -> sa.Select[Any]:
    order = (sa.case((session.c.state == "live", 0), else_=1), session.c.start_ms, session.c.id)
    place = sa.func.row_number().over(partition_by=session.c.pair_id, order_by=order).label("place")
    ranked = sa.select(session.c.id, place).join(pair, pair.c.id == session.c.pair_id)
    firsts = ranked.where(OPEN, pair.c.slug.in_(_SLUGS)).subquery()
    return _FOUND.where(session.c.id.in_(sa.select(firsts.c.id).where(firsts.c.place == 1)))


_SLUGS: Final[sa.BindParameter[Any]] = sa.bindparam("slugs", expanding=True)

NEXT: Final = Question(_next())
"""Of each of the rooms `slugs` the session that is under way, else the next: a row for `read`."""

OPEN_IN: Final = Question(
    _FOUND.where(pair.c.slug == sa.bindparam("slug"), OPEN).order_by(session.c.start_ms, session.c.id)
)
"""What is open in the room `slug`, by its start: rows for `read`."""


def read(row: Any) -> Appointment:
    """From a row with the columns of `session` and `pair.slug`."""
    return Appointment(
        Session(
            id=row.id,
            uid=row.uid,
            room=row.slug,
            state=row.state,
            wall=row.wall,
            tz=row.tz,
            fold=row.fold,
            start=row.start_ms,
            minutes=row.minutes,
            seq=row.seq,
            rev=row.rev,
            by=row.by_id,
            agenda=row.agenda,
            proposals=msgspec.convert(row.proposals, tuple[Proposal, ...]),
            answers=row.answers,
            who=tuple(row.who),
        ),
        msgspec.convert(row.attendance, Attendance),
    )


def _columns(appointment: Appointment, rules: Rules) -> dict[str, Any]:
    one = appointment.session
    return {
        "state": one.state,
        "wall": one.wall,
        "tz": one.tz,
        "fold": one.fold,
        "start_ms": one.start,
        "end_ms": one.end,
        "minutes": one.minutes,
        "seq": one.seq,
        "rev": one.rev,
        "by_id": one.by,
        "agenda": one.agenda,
        "proposals": msgspec.to_builtins(one.proposals),
        "answers": one.answers,
        "who": list(one.who),
        "attendance": msgspec.to_builtins(appointment.attendance),
        "due_ms": schedule.due(one, rules),
    }


# ------------------------------------------------------------------------------------------------ writing


async def add(
    connection: AsyncConnection, change: Change, booking: Booking, keys: Sequence[str], now: int, rules: Rules
) -> None:
    """A new session. Raises `Conflict` when one of its people is in another one then (S3)."""
    one = change.session
    await _refuse_if_busy(connection, one, booking.booker, "wall", rules)
    await connection.execute(
        sa.insert(session).values(
            id=one.id,
            uid=one.uid,
            pair_id=booking.pair,
            booker_id=booking.booker,
            booking_key=booking.key,
            organizer=booking.organizer,
            created_ms=now,
            timed_ms=now,
            **_columns(change.appointment, rules),
        )
    )
    await _claim(connection, one, "wall", rules)
    await _say(connection, change, keys, now)


async def write(
    connection: AsyncConnection,
    before: Appointment,
    change: Change,
    keys: Sequence[str],
    now: int,
    rules: Rules,
    *,
    asked_by: str = schedule.SYSTEM,
    field: str = "wall",
) -> None:
    """What has become of a session; `keys` are those of its events. Raises `Conflict` when one of its people is in another
    one at its new time (S3): `field` is what asked for that time."""
    was, now_is = before.session, change.session
    if change.appointment == before:
        return
    timed = {} if was.times == now_is.times else {"timed_ms": now}
    done = await connection.execute(
        sa.update(session)
        .where(session.c.id == was.id, session.c.rev == was.rev)
        .values(**_columns(change.appointment, rules), **timed)
    )
    if done.rowcount != 1:  # S4, were there ever two writers
        raise Conflict(field="rev")
    if schedule.buckets(was, rules) != schedule.buckets(now_is, rules):
        await connection.execute(sa.delete(claim).where(claim.c.session_id == was.id))
        await _refuse_if_busy(connection, now_is, asked_by, field, rules)
        await _claim(connection, now_is, field, rules)
    await _say(connection, change, keys, now)


async def withdraw(connection: AsyncConnection, pair_id: str, new_id: Callable[[], str], now: int) -> int:
    """A room is closed, and its open sessions with it; returns how many there were."""
    rules = Rules()  # those that can be set have no say here
    ahead = await find(connection, session.c.pair_id == pair_id, OPEN)
    for one in ahead:
        change = schedule.withdraw(one, now, rules)
        await write(connection, one, change, [new_id() for _ in change.events], now, rules)
    return len(ahead)


async def forget_words(connection: AsyncConnection, pair_ids: Sequence[str]) -> None:
    """What anybody wrote into the sessions of these rooms is gone, also from what is on its way to their logs."""
    slugs = sa.select(pair.c.slug).where(pair.c.id.in_(list(pair_ids)))
    await connection.execute(sa.delete(room_outbox).where(room_outbox.c.slug.in_(slugs)))
    await connection.execute(
        sa.update(session).where(session.c.pair_id.in_(list(pair_ids))).values(agenda="", proposals=[])
    )


async def _refuse_if_busy(
    connection: AsyncConnection, one: Session, asked_by: str, field: str, rules: Rules
) -> None:
    """S3: who asks is told who has no time, and nothing of what they do then."""
    buckets = schedule.buckets(one, rules)
    if not buckets:
        return
    taken = (
        sa.select(claim.c.person_id, person.c.name)
        .join(person, person.c.id == claim.c.person_id)
        .where(claim.c.person_id.in_(list(one.answers)), claim.c.bucket.between(buckets[0], buckets[-1]))
    )
    busy = {row.person_id: row.name for row in await connection.execute(taken)}
    if asked_by in busy:
        raise Conflict("You have another session at that time.", field=field)
    if busy:
        raise Conflict(f"{next(iter(busy.values()))} has another session at that time.", field=field)


async def _claim(connection: AsyncConnection, one: Session, field: str, rules: Rules) -> None:
    """S3: the key of the table has the last word."""
    rows = [
        {"person_id": person_id, "bucket": bucket, "session_id": one.id}
        for person_id in one.answers
        for bucket in schedule.buckets(one, rules)
    ]
    if not rows:
        return
    try:
        await connection.execute(sa.insert(claim), rows)
    except IntegrityError:
        raise Conflict("One of you has another session at that time.", field=field) from None


async def _say(connection: AsyncConnection, change: Change, keys: Sequence[str], now: int) -> None:
    """To the room by its log, to each by notices; one that was made before stays as it is."""
    one = change.session
    if change.events:
        ahead = (await connection.execute(NEXT.statement, {"slugs": [one.room]})).one_or_none()
        upcoming = ahead and read(ahead).session
        said = [
            replace(event, key=key, next=upcoming) for event, key in zip(change.events, keys, strict=True)
        ]
        await connection.execute(
            sa.insert(room_outbox),
            [
                {"slug": one.room, "key": event.key, "body": events.encode(event), "created_ms": now}
                for event in said
            ],
        )
    await notify(connection, one, [(told.recipient, told.kind, told.about) for told in change.notices], now)


async def notify(
    connection: AsyncConnection, one: Session, told: Sequence[tuple[str, str, str]], now: int
) -> None:
    """S5: (recipient, kind, about), once for each session and its `seq`."""
    await note(connection, [(one.id, one.seq, *what) for what in told], now)


async def note(
    connection: AsyncConnection, notices: Sequence[tuple[str, int, str, str, str]], now: int
) -> int:
    """(subject, seq, recipient, kind, about), due now; one that is known stays as it is. Returns how many are new."""
    if not notices:
        return 0
    rows = [
        {
            "subject": subject,
            "seq": seq,
            "recipient_id": recipient,
            "channel": MAIL,
            "kind": kind,
            "about": about,
            "state": "pending",
            "attempts": 0,
            "created_ms": now,
            "due_ms": now,
        }
        for subject, seq, recipient, kind, about in notices
    ]
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    done = await connection.execute(dialect.insert(notice).values(rows).on_conflict_do_nothing())
    return max(done.rowcount, 0)
