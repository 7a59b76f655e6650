"""People as the database has them; what is asked of them by every store that knows some."""

from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.stores.tables import pair, person


class DirectoryError(Exception):
    """What was asked for cannot be; the text is one sentence for a person."""


class PersonUnknownError(DirectoryError):
    """Nobody has that id or address."""


class Person(Struct, frozen=True):
    """`tz` is an IANA time zone, `language` a BCP 47 tag."""

    id: str
    email: str
    name: str
    tz: str
    language: str


PERSON_COLUMNS: Final = (person.c.id, person.c.email, person.c.name, person.c.tz, person.c.language)


async def person_where(connection: AsyncConnection, condition: sa.ColumnElement[bool]) -> Person | None:
    """The one person that fits."""
    row = (await connection.execute(sa.select(*PERSON_COLUMNS).where(condition))).one_or_none()
    return Person(*row) if row else None


async def must_exist(connection: AsyncConnection, person_id: str) -> Person:
    """Raises PersonUnknownError."""
    found = await person_where(connection, person.c.id == person_id)
    if found is None:
        raise PersonUnknownError(f"There is no person {person_id}.")
    return found


def is_of(person_id: str) -> sa.ColumnElement[bool]:
    """The pairs of somebody, also those that were removed."""
    return sa.or_(pair.c.mentor_id == person_id, pair.c.mentee_id == person_id)
