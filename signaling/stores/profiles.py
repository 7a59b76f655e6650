"""What people say of themselves: zone, language, hours, and the secret address of their calendar feed; and the rooms that
their first page shows.

Every method raises DatabaseUnavailableError when the database does not answer.
"""

import base64
import secrets
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from rooms.availability import Hours
from rooms.errors import NotFound
from rooms.membership import Member, RoomRecord
from rooms.portal import Profile, ProfileChange
from signaling.stores.audit import note
from signaling.stores.credentials import hash_of
from signaling.stores.database import Database
from signaling.stores.directory import title_of
from signaling.stores.tables import claim, pair, person

FEED_BYTES: Final = 32


class Profiles:
    """`clock` gives milliseconds UTC."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def profile(self, person_id: str) -> Profile:
        """Raises `NotFound` for nobody."""
        async with self._database.reading() as connection:
            return await _profile(connection, person_id)

    async def change(self, person_id: str, change: ProfileChange) -> Profile:
        """What changes nothing is not noted. Raises `NotFound` for nobody."""
        asked = {"tz": change.tz, "language": change.language}
        values = {name: value for name, value in asked.items() if value is not None}
        async with self._database.writing() as connection:
            before = await _profile(connection, person_id)
            if all(getattr(before, name) == value for name, value in values.items()):
                return before
            await connection.execute(sa.update(person).where(person.c.id == person_id).values(values))
            await note(connection, self._clock(), person_id, "profile.set", person_id)
            return await _profile(connection, person_id)

    async def set_hours(self, person_id: str, hours: Hours | None) -> Profile:
        """`hours` has been checked (`availability.check`). Raises `NotFound` for nobody."""
        stored = sa.null() if hours is None else msgspec.to_builtins(hours)
        async with self._database.writing() as connection:
            await connection.execute(sa.update(person).where(person.c.id == person_id).values(hours=stored))
            return await _profile(connection, person_id)

    async def hours(self, persons: Collection[str]) -> dict[str, tuple[Hours | None, str]]:
        """Hours and zone of each of them."""
        query = sa.select(person.c.id, person.c.hours, person.c.tz).where(person.c.id.in_(list(persons)))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return {person_id: (_read(hours), tz) for person_id, hours, tz in rows}

    async def busy(self, persons: Collection[str], first: int, last: int, spared: str | None) -> set[int]:
        """The buckets from `first` to before `last` that any of them has given away (S3), but to the session `spared`."""
        query = (
            sa.select(claim.c.bucket)
            .where(claim.c.person_id.in_(list(persons)), claim.c.bucket >= first, claim.c.bucket < last)
            .distinct()
        )
        if spared is not None:
            query = query.where(claim.c.session_id != spared)
        async with self._database.reading() as connection:
            return set((await connection.scalars(query)).all())

    async def rooms(self, person_id: str) -> list[RoomRecord]:
        """The living rooms of somebody with their people, oldest first."""
        mentor, mentee = person.alias("mentor"), person.alias("mentee")
        query = (
            sa.select(
                pair.c.slug,
                pair.c.moves,
                *(table.c[name] for table in (mentor, mentee) for name in ("id", "name", "tz")),
            )
            .join(mentor, mentor.c.id == pair.c.mentor_id)
            .join(mentee, mentee.c.id == pair.c.mentee_id)
            .where(
                sa.or_(pair.c.mentor_id == person_id, pair.c.mentee_id == person_id),
                pair.c.removed_ms.is_(None),
            )
            .order_by(pair.c.created_ms, pair.c.id)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [_record(*row) for row in rows]

    # The feed

    async def new_feed(self, person_id: str) -> str:
        """The secret of a new address; the one before ends. Raises `NotFound` for nobody."""
        secret = base64.urlsafe_b64encode(self._randomness(FEED_BYTES)).rstrip(b"=").decode()
        async with self._database.writing() as connection:
            await _profile(connection, person_id)
            await connection.execute(
                sa.update(person).where(person.c.id == person_id).values(feed_hash=hash_of(secret))
            )
            await note(connection, self._clock(), person_id, "feed.created", person_id)
        return secret

    async def end_feed(self, person_id: str) -> Profile:
        """One that was never made is no error. Raises `NotFound` for nobody."""
        async with self._database.writing() as connection:
            ended = await connection.execute(
                sa.update(person)
                .where(person.c.id == person_id, person.c.feed_hash.is_not(None))
                .values(feed_hash=None)
                .returning(person.c.id)
            )
            if ended.one_or_none() is not None:
                await note(connection, self._clock(), person_id, "feed.ended", person_id)
            return await _profile(connection, person_id)

    async def of_feed(self, secret: str) -> str | None:
        """Whose feed that is; None when nobody's, or not any more."""
        query = sa.select(person.c.id).where(person.c.feed_hash == hash_of(secret))
        async with self._database.reading() as connection:
            found: str | None = await connection.scalar(query)
        return found


async def _profile(connection: AsyncConnection, person_id: str) -> Profile:
    columns = (person.c.name, person.c.tz, person.c.language, person.c.hours, person.c.feed_hash)
    row = (await connection.execute(sa.select(*columns).where(person.c.id == person_id))).one_or_none()
    if row is None:
        raise NotFound
    return Profile(person_id, row.name, row.tz, row.language, _read(row.hours), row.feed_hash is not None)


def _read(hours: Any) -> Hours | None:
    return None if hours is None else msgspec.convert(hours, Hours)


def _record(slug: str, moves: Any, *people: str) -> RoomRecord:
    mentor = Member(people[0], people[1], "mentor", people[2])
    mentee = Member(people[3], people[4], "mentee", people[5])
    return RoomRecord(slug, title_of(mentor.name, mentee.name), (mentor, mentee), moves=moves)
