"""Sessions as somebody's calendar wants them: with the other one of the room, and what makes the ORGANIZER's address.

Every method raises DatabaseUnavailableError when the database does not answer.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from rooms.session import Session, State
from signaling.stores import appointments
from signaling.stores.database import Database
from signaling.stores.people import Person
from signaling.stores.tables import pair, person, session

CALLED_OFF: Final[tuple[State, ...]] = ("declined", "expired", "cancelled")
"""What is in no feed: a calendar that fetches it again takes out what is not in it any more."""


class Entry(Struct, frozen=True):
    """A session, its two people as `reader` sees them, and the secret part of its ORGANIZER."""

    session: Session
    organizer: str
    reader: Person
    partner: Person


class Calendars:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def entry(self, persons: Sequence[str], session_id: str) -> Entry | None:
        """A session of one of these people; None for strangers and for what is not there."""
        for reader in persons:
            for found in await self._entries(reader, 1, session.c.id == session_id):
                return found
        return None

    async def feed(self, reader: str, since_ms: int, most: int) -> list[Entry]:
        """Sessions of all living rooms of somebody that ended later than that and are not called off, by their start; the
        first `most`."""
        return await self._entries(
            reader, most, session.c.end_ms > since_ms, session.c.state.not_in(CALLED_OFF)
        )

    async def _entries(self, reader: str, most: int, *which: sa.ColumnElement[bool]) -> list[Entry]:
        me, other = person.alias("me"), person.alias("other")
        people = [
            table.c[name] for table in (me, other) for name in ("id", "email", "name", "tz", "language")
        ]
        mine = sa.or_(
            sa.and_(pair.c.mentor_id == me.c.id, pair.c.mentee_id == other.c.id),
            sa.and_(pair.c.mentee_id == me.c.id, pair.c.mentor_id == other.c.id),
        )
        query = (
            sa.select(session, pair.c.slug, *(column.label(f"p{n}") for n, column in enumerate(people)))
            .join(pair, pair.c.id == session.c.pair_id)
            .join(me, me.c.id == reader)
            .join(other, mine)
            .where(pair.c.removed_ms.is_(None), *which)
            .order_by(session.c.start_ms, session.c.id)
            .limit(most)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Entry(
                appointments.read(row).session,
                row.organizer,
                Person(*row[-10:-5]),
                Person(*row[-5:]),
            )
            for row in rows
        ]
