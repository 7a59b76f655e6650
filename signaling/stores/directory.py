"""Who there is, and who is paired with whom: the truth about membership.

Everything that changes it is written to the audit in the same transaction, and the audit is what the nodes poll. Beside it,
over the same tables: `credentials` (what people log in with), `programme` (what counts for all), `audit`.

Time and randomness are handed in at `open`. Every method raises DatabaseUnavailableError when the database does not answer.

Errors: DirectoryError (what was asked for cannot be; the text is one sentence for a person)
    ├── SamePersonError      mentor and mentee are one
    ├── RoomUnknownError
    ├── PersonUnknownError   (people.py)
    └── LinkError            (credentials.py)
"""

import base64
import secrets
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from rooms.membership import Member, RoomRecord
from rooms.pushes import Policy, Role
from rooms.session import Moves, Session
from signaling.stores import appointments
from signaling.stores.audit import Audit, note
from signaling.stores.credentials import Credentials
from signaling.stores.database import Database
from signaling.stores.people import (
    DirectoryError,
    Person,
    PersonUnknownError,
    is_of,
    must_exist,
    person_where,
)
from signaling.stores.programme import PROGRAMME, Programme
from signaling.stores.question import Question
from signaling.stores.tables import access_token, link, login, pair, person, programme
from signaling.stores.together import Together

ERASED_NAME: Final = "Removed person"
ERASED_HOST: Final = "@erased.invalid"
"""RFC 2606 §2: no mail ever gets there."""


class SamePersonError(DirectoryError):
    """Mentor and mentee are the same person."""


class RoomUnknownError(DirectoryError):
    """There is no such room, or it was removed."""


class Named(Struct, frozen=True):
    """Somebody as an operator writes them. Bounds are checked where it is read (cli): name 200 code points, e-mail 254."""

    name: str
    email: str


class PairAdded(Struct, frozen=True):
    """`created` is False when the pair had been there."""

    pair: str
    slug: str
    mentor: Person
    mentee: Person
    created: bool


class Directory:
    """The one door to people and pairs; `credentials`, `programme` and `audit` are those to what goes with them. Belongs to
    one event loop; made with `open`."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        randomness: Callable[[int], bytes],
        login_ttl_days: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self.credentials = Credentials(database, clock, randomness, login_ttl_days)
        self.programme = Programme(database, clock)
        self.audit = Audit(database)
        # What is asked of everybody who comes in.
        self._living_rooms = Together(self._living_rooms_of)
        self._living_rooms_of_person = Together(self._slugs_of)

    @classmethod
    async def open(
        cls,
        url: str,
        clock: Callable[[], int],
        *,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        login_ttl_days: int = 90,
    ) -> Self:
        """Connects and brings the tables up to date.

        `clock` gives milliseconds UTC. Raises DatabaseError when the database cannot be used or is newer than we are.
        """
        database = Database(url)
        try:
            await database.open()
        except BaseException:
            await database.close()
            raise
        return cls(database, clock, randomness, login_ttl_days)

    @property
    def database(self) -> Database:
        """For the other stores of the same tables; it is closed with this one."""
        return self._database

    async def close(self) -> None:
        """Closes every connection."""
        await self._database.close()

    async def ping(self) -> None:
        """Returns when the database answers."""
        await self._database.ask(_ANYTHING)

    # People and rooms

    async def add_pair(self, mentor: Named, mentee: Named, *, actor: str = "operator") -> PairAdded:
        """Makes the two people known and gives them one room; done twice it is the same room.

        People are found by e-mail, without regard to case; somebody who is known keeps the name they have.
        Raises SamePersonError.
        """
        if _email_key(mentor.email) == _email_key(mentee.email):
            raise SamePersonError(f"Mentor and mentee are the same person ({mentor.email}).")
        async with self._database.writing() as connection:
            one = await self._known(connection, mentor, actor)
            other = await self._known(connection, mentee, actor)
            found = await connection.execute(
                sa.select(pair.c.id, pair.c.slug).where(
                    pair.c.programme_id == PROGRAMME,
                    pair.c.mentor_id == one.id,
                    pair.c.mentee_id == other.id,
                    pair.c.removed_ms.is_(None),
                )
            )
            if row := found.one_or_none():
                return PairAdded(row.id, row.slug, one, other, created=False)
            pair_id, slug = self._new_id(), _base32(self._randomness(16))
            await connection.execute(
                sa.insert(pair).values(
                    id=pair_id,
                    programme_id=PROGRAMME,
                    mentor_id=one.id,
                    mentee_id=other.id,
                    slug=slug,
                    created_ms=self._clock(),
                )
            )
            await note(connection, self._clock(), actor, "pair.added", pair_id=pair_id)
            return PairAdded(pair_id, slug, one, other, created=True)

    async def _known(self, connection: AsyncConnection, named: Named, actor: str) -> Person:
        """The person with that address, made now if there is none."""
        found = await person_where(connection, person.c.email_key == _email_key(named.email))
        if found is not None:
            return found
        made = Person(self._new_id(), named.email, named.name, tz="UTC", language="en")
        await connection.execute(
            sa.insert(person).values(
                id=made.id,
                email=made.email,
                email_key=_email_key(made.email),
                name=made.name,
                tz=made.tz,
                language=made.language,
                created_ms=self._clock(),
            )
        )
        await note(connection, self._clock(), actor, "person.added", made.id)
        return made

    async def remove_pair(self, slug: str, *, actor: str = "operator") -> None:
        """Closes the room to both and cancels what they had planned; what they said is kept. Raises RoomUnknownError."""
        async with self._database.writing() as connection:
            removed = await connection.execute(
                sa.update(pair)
                .where(pair.c.slug == slug, pair.c.removed_ms.is_(None))
                .values(removed_ms=self._clock())
                .returning(pair.c.id)
            )
            pair_id = removed.scalar_one_or_none()
            if pair_id is None:
                raise RoomUnknownError(f"There is no room {slug}.")
            await note(connection, self._clock(), actor, "pair.removed", pair_id=pair_id)
            await appointments.withdraw(connection, pair_id, self._new_id, self._clock())

    async def person_by_email(self, email: str) -> Person:
        """Without regard to case. Raises PersonUnknownError."""
        async with self._database.reading() as connection:
            found = await person_where(connection, person.c.email_key == _email_key(email))
        if found is None:
            raise PersonUnknownError(f"Nobody has the e-mail address {email}.")
        return found

    async def person(self, person_id: str) -> Person | None:
        """Somebody by id."""
        async with self._database.reading() as connection:
            return await person_where(connection, person.c.id == person_id)

    async def rooms_of(self, person_id: str) -> list[str]:
        """The slugs of the living rooms of somebody, oldest first."""
        return await self._living_rooms_of_person(person_id) or []

    async def _slugs_of(self, person_ids: Sequence[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for slug, *persons in await self._database.ask(_SLUGS_OF, these=person_ids):
            for person_id in persons:
                found.setdefault(person_id, []).append(slug)
        return found

    async def room(self, slug: str) -> RoomRecord | None:
        """A living room and its people; None for one that is not there or was removed."""
        return await self._living_rooms(slug)

    async def _living_rooms_of(self, slugs: Sequence[str]) -> dict[str, RoomRecord]:
        return _records(await self._database.ask(_LIVING_ROOMS, these=slugs))

    async def kept_room(self, slug: str) -> RoomRecord:
        """A room whose log is kept, also one that was removed. Raises RoomUnknownError."""
        async with self._database.reading() as connection:
            found = await room_record(connection, pair.c.slug == slug)
        if found is None:
            raise RoomUnknownError(f"There is no room {slug}, and never was.")
        return found

    async def kept_rooms_of(self, person_id: str) -> list[str]:
        """The slugs of all rooms that somebody is or was in, oldest first."""
        query = sa.select(pair.c.slug).where(is_of(person_id)).order_by(pair.c.created_ms, pair.c.id)
        async with self._database.reading() as connection:
            return list((await connection.scalars(query)).all())

    async def forget_sessions(self, person_id: str) -> int:
        """Cancels what somebody had planned, and forgets what either side wrote into the sessions of their rooms: it is
        about them. Returns how many were open. May be repeated."""
        async with self._database.writing() as connection:
            pairs = (await connection.scalars(sa.select(pair.c.id).where(is_of(person_id)))).all()
            await appointments.forget_words(connection, pairs)
            return sum(
                [
                    await appointments.withdraw(connection, pair_id, self._new_id, self._clock())
                    for pair_id in pairs
                ]
            )

    async def sessions_of(self, slug: str) -> list[Session]:
        """All that a room ever had, also one that was removed, by their start."""
        async with self._database.reading() as connection:
            return [one.session for one in await appointments.find(connection, pair.c.slug == slug)]

    async def erase(self, person_id: str, *, actor: str = "operator") -> int:
        """Closes somebody's rooms, removes all that they log in with, and replaces name and address by such as say nothing.
        Their id stays, for the audit. Returns the number of rooms that were closed. Raises PersonUnknownError."""
        async with self._database.writing() as connection:
            await must_exist(connection, person_id)
            closed = await connection.scalars(
                sa.update(pair)
                .where(is_of(person_id), pair.c.removed_ms.is_(None))
                .values(removed_ms=self._clock())
                .returning(pair.c.id)
            )
            pairs = closed.all()
            for pair_id in pairs:
                await note(connection, self._clock(), actor, "pair.removed", pair_id=pair_id)
                await appointments.withdraw(connection, pair_id, self._new_id, self._clock())
            await appointments.forget_words(connection, pairs)
            for table in (login, access_token, link):
                await connection.execute(sa.delete(table).where(table.c.person_id == person_id))
            nowhere = f"{person_id}{ERASED_HOST}"
            await connection.execute(
                sa.update(person)
                .where(person.c.id == person_id)
                .values(
                    email=nowhere,
                    email_key=nowhere,
                    name=ERASED_NAME,
                    tz="UTC",
                    language="en",
                    hours=sa.null(),
                    feed_hash=None,
                )
            )
            await note(connection, self._clock(), actor, "person.erased", person_id)
        await self._database.forget()
        return len(pairs)

    # How a pair moves its sessions

    async def moves(self, slug: str) -> Moves:
        """How the pair of a living room moves a confirmed session. Raises RoomUnknownError."""
        record = await self.room(slug)
        if record is None:
            raise RoomUnknownError(f"There is no room {slug}.")
        return record.moves

    async def set_moves(self, slug: str, moves: Moves, *, actor: str = "operator") -> None:
        """Nodes hear of it through the audit; it counts at once. Raises RoomUnknownError."""
        async with self._database.writing() as connection:
            done = await connection.execute(
                sa.update(pair)
                .where(pair.c.slug == slug, pair.c.removed_ms.is_(None))
                .values(moves=moves)
                .returning(pair.c.id)
            )
            pair_id = done.scalar_one_or_none()
            if pair_id is None:
                raise RoomUnknownError(f"There is no room {slug}.")
            await note(connection, self._clock(), actor, "moves.set", pair_id=pair_id, moves=moves)

    def _new_id(self) -> str:
        return str(uuid.UUID(bytes=self._randomness(16), version=4))


async def room_record(connection: AsyncConnection, *which: sa.ColumnElement[bool]) -> RoomRecord | None:
    """The room of the one pair that fits, with its people; also one that was removed, unless `which` says otherwise."""
    return next(iter(_records(await connection.execute(_ROOMS.where(*which))).values()), None)


def _records(rows: Iterable[Any]) -> dict[str, RoomRecord]:
    """Of `_ROOMS`, by their slugs."""
    members: dict[str, list[Member]] = {}
    settings: dict[str, tuple[Policy | None, Moves]] = {}
    for slug, policy, moves, mentor_id, person_id, name, tz, rooms in rows:
        role: Role = "mentor" if person_id == mentor_id else "mentee"
        members.setdefault(slug, []).append(Member(person_id, name, role, tz, rooms))
        settings[slug] = (policy, moves)
    found = {}
    for slug, some in members.items():
        some.sort(key=lambda member: member.role != "mentor")
        title = title_of(*(member.name for member in some))
        found[slug] = RoomRecord(slug, title, tuple(some), *settings[slug])
    return found


# What is asked of everybody who comes in, and again and again.
_THESE: Final[sa.BindParameter[Any]] = sa.bindparam("these", expanding=True)
_LIVING: Final = pair.c.removed_ms.is_(None)
_THEIR: Final = pair.alias("their")
_ROOMS: Final = (
    sa.select(
        pair.c.slug,
        programme.c.relay_policy,
        pair.c.moves,
        pair.c.mentor_id,
        person.c.id,
        person.c.name,
        person.c.tz,
        sa.select(sa.func.count())
        .where(
            sa.or_(_THEIR.c.mentor_id == person.c.id, _THEIR.c.mentee_id == person.c.id),
            _THEIR.c.removed_ms.is_(None),
        )
        .correlate(person)
        .scalar_subquery(),
    )
    .join(programme, programme.c.id == pair.c.programme_id)
    .join(person, sa.or_(person.c.id == pair.c.mentor_id, person.c.id == pair.c.mentee_id))
)
_LIVING_ROOMS: Final = Question(_ROOMS.where(pair.c.slug.in_(_THESE), _LIVING))
_SLUGS_OF: Final = Question(
    sa.select(pair.c.slug, pair.c.mentor_id, pair.c.mentee_id)
    .where(sa.or_(pair.c.mentor_id.in_(_THESE), pair.c.mentee_id.in_(_THESE)), _LIVING)
    .order_by(pair.c.created_ms, pair.c.id)
)
_ANYTHING: Final = Question(sa.select(sa.literal_column("1")))


def _email_key(email: str) -> str:
    return email.strip().casefold()


def _base32(random: bytes) -> str:
    """128 bits as 26 lower-case letters and digits: fit for a URL that somebody reads out."""
    return base64.b32encode(random).rstrip(b"=").decode().lower()


def title_of(mentor: str, mentee: str) -> str:
    return f"{mentor} and {mentee}"
