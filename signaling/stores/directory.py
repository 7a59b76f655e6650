"""Who there is, who is paired with whom, and what they log in with.

The truth about membership and logins. Everything that changes it is written to the audit in the same transaction,
and the audit is what the nodes poll: `changes_after`.

Time and randomness are handed in at `open`. Secrets (links, logins, access tokens) hold 256 random bits; only their
SHA-256 is kept, so whoever reads the database can log in as nobody.

Every method raises DatabaseUnavailableError when the database does not answer.

Errors: DirectoryError (what was asked for cannot be; the text is one sentence for a person)
    ├── SamePersonError      mentor and mentee are one
    ├── PersonUnknownError
    ├── RoomUnknownError
    └── LinkError
        ├── LinkUnknownError
        ├── LinkUsedError
        └── LinkExpiredError also for a link that was revoked: the answer is the same, ask for a new one
"""

import base64
import hashlib
import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Literal, Self

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from rooms.membership import Member, RoomRecord
from rooms.ports import Retention
from rooms.pushes import Policy, Role
from rooms.session import Moves, Session
from signaling.stores import appointments
from signaling.stores.database import Database, DatabaseUnavailableError
from signaling.stores.question import Question
from signaling.stores.tables import access_token, audit, link, login, pair, person, programme
from signaling.stores.together import Together

_PROGRAMME: Final = "default"
_DAY_MS: Final = 86_400_000
# A login's last use is kept to the hour: enough for 90 days, and no write for every request.
_TOUCH_MS: Final = 3_600_000
# What one poll may bring; a node that was away for long asks again until it gets fewer.
CHANGES_MAX: Final = 500
ERASED_NAME: Final = "Removed person"
ERASED_HOST: Final = "@erased.invalid"
"""RFC 2606 §2: no mail ever gets there."""


Action = Literal[
    "person.added",
    "person.revoked",
    "pair.added",
    "pair.removed",
    "link.created",
    "link.used",
    "login.created",
    "login.ended",
    "token.created",
    "person.erased",
    "profile.set",
    "feed.created",
    "feed.ended",
    "retention.set",
    "relay_policy.set",
    "moves.set",
]


class DirectoryError(Exception):
    """What was asked for cannot be; the text is one sentence for a person."""


class SamePersonError(DirectoryError):
    """Mentor and mentee are the same person."""


class PersonUnknownError(DirectoryError):
    """Nobody has that id or address."""


class RoomUnknownError(DirectoryError):
    """There is no such room, or it was removed."""


class LinkError(DirectoryError):
    """A login link does not work."""


class LinkUnknownError(LinkError):
    """Nobody made that link."""


class LinkUsedError(LinkError):
    """The link has worked once already."""


class LinkExpiredError(LinkError):
    """The link was not used in time, or was revoked."""


class Named(Struct, frozen=True):
    """Somebody as an operator writes them. Bounds are checked where it is read (cli): name 200 code points, e-mail 254."""

    name: str
    email: str


class Person(Struct, frozen=True):
    """`tz` is an IANA time zone, `language` a BCP 47 tag."""

    id: str
    email: str
    name: str
    tz: str
    language: str


class PairAdded(Struct, frozen=True):
    """`created` is False when the pair had been there."""

    pair: str
    slug: str
    mentor: Person
    mentee: Person
    created: bool


class LinkUsed(Struct, frozen=True):
    """Who the link logs in, the room that it leads to (None: none, or one that was removed), and the secret of the login
    that was made in the same step."""

    person: Person
    slug: str | None
    secret: str


class Login(Struct, frozen=True):
    """A browser's login that holds. Its last use is known to the hour."""

    id: str
    person: Person
    created_ms: int
    last_used_ms: int


class AccessToken(Struct, frozen=True):
    """A script's token that holds. Its expiry counts only when a connection is made (C4)."""

    id: str
    person: str
    expires_ms: int


class RefusedToken(Struct, frozen=True):
    """A token that was good once; the edge can say why it is not any more."""

    reason: Literal["expired", "revoked"]


class Change(Struct, frozen=True):
    """One line of the audit. `person` and `room` are those it is about, `detail` small and without private words."""

    id: int
    at_ms: int
    action: Action
    person: str | None
    room: str | None
    detail: dict[str, Any]


class Directory:
    """The one door to people, pairs and logins. Belongs to one event loop; made with `open`."""

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
        self._login_ttl_ms = login_ttl_days * _DAY_MS
        # What is asked of everybody who comes in.
        self._tokens = Together(self._tokens_of)
        self._logins = Together(self._logins_of)
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

    # ------------------------------------------------------------------------------- people and rooms

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
                    pair.c.programme_id == _PROGRAMME,
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
                    programme_id=_PROGRAMME,
                    mentor_id=one.id,
                    mentee_id=other.id,
                    slug=slug,
                    created_ms=self._clock(),
                )
            )
            await self._note(connection, actor, "pair.added", pair_id=pair_id)
            return PairAdded(pair_id, slug, one, other, created=True)

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
            await self._note(connection, actor, "pair.removed", pair_id=pair_id)
            await appointments.withdraw(connection, pair_id, self._new_id, self._clock())

    async def person_by_email(self, email: str) -> Person:
        """Without regard to case. Raises PersonUnknownError."""
        async with self._database.reading() as connection:
            found = await _person_where(connection, person.c.email_key == _email_key(email))
        if found is None:
            raise PersonUnknownError(f"Nobody has the e-mail address {email}.")
        return found

    async def person(self, person_id: str) -> Person | None:
        """Somebody by id."""
        async with self._database.reading() as connection:
            return await _person_where(connection, person.c.id == person_id)

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
        query = sa.select(pair.c.slug).where(_is_of(person_id)).order_by(pair.c.created_ms, pair.c.id)
        async with self._database.reading() as connection:
            return list((await connection.scalars(query)).all())

    async def forget_sessions(self, person_id: str) -> int:
        """Cancels what somebody had planned, and forgets what either side wrote into the sessions of their rooms: it is
        about them. Returns how many were open. May be repeated."""
        async with self._database.writing() as connection:
            pairs = (await connection.scalars(sa.select(pair.c.id).where(_is_of(person_id)))).all()
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
            await _must_exist(connection, person_id)
            closed = await connection.scalars(
                sa.update(pair)
                .where(_is_of(person_id), pair.c.removed_ms.is_(None))
                .values(removed_ms=self._clock())
                .returning(pair.c.id)
            )
            pairs = closed.all()
            for pair_id in pairs:
                await self._note(connection, actor, "pair.removed", pair_id=pair_id)
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
            await self._note(connection, actor, "person.erased", person_id)
        await self._database.forget()
        return len(pairs)

    # --------------------------------------------------------------------------------------- retention

    async def retention(self) -> Retention:
        """How much of each room's log is kept."""
        query = sa.select(*_RETENTION).where(programme.c.id == _PROGRAMME)
        async with self._database.reading() as connection:
            return Retention(*(await connection.execute(query)).one())

    async def set_retention(self, retention: Retention, *, actor: str = "operator") -> None:
        """Bounds are checked where it is read (cli)."""
        async with self._database.writing() as connection:
            await connection.execute(
                sa.update(programme)
                .where(programme.c.id == _PROGRAMME)
                .values(retention_days=retention.days, retention_count=retention.count)
            )
            await self._note(
                connection, actor, "retention.set", days=str(retention.days), count=str(retention.count)
            )

    async def rooms_to_trim(self, *, after: str, limit: int) -> list[tuple[str, Retention]]:
        """Rooms whose programme does not keep everything, removed ones too: by slug, the first `limit` behind `after`."""
        query = (
            sa.select(pair.c.slug, *_RETENTION)
            .join(programme, programme.c.id == pair.c.programme_id)
            .where(pair.c.slug > after, sa.or_(*(bound.is_not(None) for bound in _RETENTION)))
            .order_by(pair.c.slug)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [(slug, Retention(days, count)) for slug, days, count in rows]

    # ----------------------------------------------------------------------------------------- the relay

    async def relay_policy(self) -> Policy | None:
        """The programme's own; None: the server's setting counts."""
        query = sa.select(programme.c.relay_policy).where(programme.c.id == _PROGRAMME)
        async with self._database.reading() as connection:
            found: Policy | None = await connection.scalar(query)
        return found

    async def set_relay_policy(self, policy: Policy | None, *, actor: str = "operator") -> None:
        """Nodes hear of it through the audit, and credentials from then on carry it."""
        async with self._database.writing() as connection:
            await connection.execute(
                sa.update(programme).where(programme.c.id == _PROGRAMME).values(relay_policy=policy)
            )
            await self._note(connection, actor, "relay_policy.set", policy=str(policy))

    # ---------------------------------------------------------------------------------------- sessions

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
            await self._note(connection, actor, "moves.set", pair_id=pair_id, moves=moves)

    # ------------------------------------------------------------------------------------------- links

    async def new_link(
        self, person_id: str, pair_id: str | None, ttl_s: int, *, actor: str = "operator"
    ) -> str:
        """A token that logs somebody in, once, within `ttl_s`. Raises PersonUnknownError."""
        token = self._new_secret()
        now = self._clock()
        async with self._database.writing() as connection:
            await _must_exist(connection, person_id)
            await connection.execute(
                sa.insert(link).values(
                    token_hash=hash_of(token),
                    person_id=person_id,
                    pair_id=pair_id,
                    created_ms=now,
                    expires_ms=now + ttl_s * 1000,
                )
            )
            await self._note(connection, actor, "link.created", person_id, pair_id)
        return token

    async def use_link(self, token: str) -> LinkUsed:
        """Uses up the link: of any number of callers at once, on any node, one gets in.

        A link that was made for no room leads to the person's own, when there is exactly one.

        Raises LinkUnknownError, LinkUsedError, LinkExpiredError.
        """
        now = self._clock()
        async with self._database.writing() as connection:
            used = await connection.execute(
                sa.update(link)
                .where(
                    link.c.token_hash == hash_of(token),
                    link.c.used_ms.is_(None),
                    link.c.revoked_ms.is_(None),
                    link.c.expires_ms > now,
                )
                .values(used_ms=now)
                .returning(link.c.person_id, link.c.pair_id)
            )
            row = used.one_or_none()
            if row is None:
                raise await _why_not(connection, token)
            who = await _must_exist(connection, row.person_id)
            slug = await _room_of(connection, who.id, row.pair_id)
            await self._note(connection, who.id, "link.used", who.id, row.pair_id)
            # Together: a link that was used up without having let anybody in would be lost.
            secret = await self._add_login(connection, who.id)
        return LinkUsed(who, slug, secret)

    # ------------------------------------------------------------------------------------------ logins

    async def new_login(self, person_id: str) -> str:
        """The secret of a new login, for a browser's cookie. Raises PersonUnknownError."""
        async with self._database.writing() as connection:
            await _must_exist(connection, person_id)
            return await self._add_login(connection, person_id)

    async def _add_login(self, connection: AsyncConnection, person_id: str) -> str:
        secret, login_id, now = self._new_secret(), self._new_id(), self._clock()
        await connection.execute(
            sa.insert(login).values(
                id=login_id,
                person_id=person_id,
                secret_hash=hash_of(secret),
                created_ms=now,
                last_used_ms=now,
            )
        )
        await self._note(connection, person_id, "login.created", person_id, login=login_id)
        return secret

    async def login(self, secret: str) -> Login | None:
        """Who that is; None when the login is unknown, was ended, or was not used for `login_ttl_days`.

        Counts as a use, which is kept to the hour. A database that cannot be written now does not log anybody out.
        """
        now = self._clock()
        row = await self._logins(hash_of(secret))
        if row is None or row.last_used_ms <= now - self._login_ttl_ms:
            return None
        login_id, created_ms, last_used_ms, _, *columns = row
        if last_used_ms <= now - _TOUCH_MS:
            await self._touch(login_id, now)
        return Login(login_id, Person(*columns), created_ms, last_used_ms)

    async def _logins_of(self, hashes: Sequence[bytes]) -> dict[bytes, Any]:
        return {row.secret_hash: row for row in await self._database.ask(_LOGINS, these=hashes)}

    async def _touch(self, login_id: str, now: int) -> None:
        try:
            async with self._database.writing() as connection:
                await connection.execute(
                    sa.update(login)
                    .where(login.c.id == login_id, login.c.last_used_ms < now)
                    .values(last_used_ms=now)
                )
        except DatabaseUnavailableError:
            return  # the next request tries again

    async def end_login(self, secret: str) -> None:
        """Logs that browser out. A login that is unknown or ended is no error."""
        async with self._database.writing() as connection:
            ended = await connection.execute(
                sa.update(login)
                .where(login.c.secret_hash == hash_of(secret), login.c.revoked_ms.is_(None))
                .values(revoked_ms=self._clock())
                .returning(login.c.id, login.c.person_id)
            )
            if row := ended.one_or_none():
                await self._note(connection, row.person_id, "login.ended", row.person_id, login=row.id)

    async def logins_alive(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the logins that nobody has ended. Age does not count: it counts at the next request."""
        return await self._alive(_LOGINS_ALIVE, ids)

    # ----------------------------------------------------------------------------------- access tokens

    async def new_token(self, person_id: str, ttl_s: int, *, actor: str = "operator") -> str:
        """An access token for a script, good for `ttl_s`. Raises PersonUnknownError."""
        token, token_id, now = self._new_secret(), self._new_id(), self._clock()
        async with self._database.writing() as connection:
            await _must_exist(connection, person_id)
            await connection.execute(
                sa.insert(access_token).values(
                    id=token_id,
                    person_id=person_id,
                    token_hash=hash_of(token),
                    created_ms=now,
                    expires_ms=now + ttl_s * 1000,
                )
            )
            await self._note(connection, actor, "token.created", person_id, token_id=token_id)
        return token

    async def token(self, secret: str) -> AccessToken | RefusedToken | None:
        """Whose token that is, why it is not good any more, or None when nobody made it."""
        row = await self._tokens(hash_of(secret))
        if row is None:
            return None
        if row.revoked_ms is not None:
            return RefusedToken("revoked")
        if row.expires_ms <= self._clock():
            return RefusedToken("expired")
        return AccessToken(row.id, row.person_id, row.expires_ms)

    async def _tokens_of(self, hashes: Sequence[bytes]) -> dict[bytes, Any]:
        return {row.token_hash: row for row in await self._database.ask(_TOKENS, these=hashes)}

    async def tokens_alive(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the access tokens that nobody has revoked. Expiry does not count (C4)."""
        return await self._alive(_TOKENS_ALIVE, ids)

    async def revoke_all(self, person_id: str, *, actor: str = "operator") -> None:
        """Ends all logins, access tokens and unused links of somebody. Raises PersonUnknownError."""
        now = self._clock()
        async with self._database.writing() as connection:
            await _must_exist(connection, person_id)
            for table in (login, access_token, link):
                unused = [link.c.used_ms.is_(None)] if table is link else []
                await connection.execute(
                    sa.update(table)
                    .where(table.c.person_id == person_id, table.c.revoked_ms.is_(None), *unused)
                    .values(revoked_ms=now)
                )
            await self._note(connection, actor, "person.revoked", person_id)

    # --------------------------------------------------------------------------------------- the feed

    async def latest_change_id(self) -> int:
        """Where a node that starts now begins to poll; 0 when nothing has happened yet."""
        [(latest,)] = await self._database.ask(_LATEST_CHANGE)
        return latest or 0

    async def changes_after(self, change_id: int) -> list[Change]:
        """What happened after that change, in order, at most CHANGES_MAX; fewer means: that is all.

        Nothing is ever missed by going on from the last id seen: ids become visible in their order, because there
        is one writing transaction at a time (see stores/database.py). Gaps in the ids are rolled back transactions.
        """
        return [Change(*row) for row in await self._database.ask(_CHANGES, after=change_id)]

    # ------------------------------------------------------------------------------------- small parts

    async def _known(self, connection: AsyncConnection, named: Named, actor: str) -> Person:
        """The person with that address, made now if there is none."""
        found = await _person_where(connection, person.c.email_key == _email_key(named.email))
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
        await self._note(connection, actor, "person.added", made.id)
        return made

    async def _note(
        self,
        connection: AsyncConnection,
        actor: str,
        action: Action,
        person_id: str | None = None,
        pair_id: str | None = None,
        **detail: str,
    ) -> None:
        await connection.execute(
            sa.insert(audit).values(
                at_ms=self._clock(),
                actor=actor,
                action=action,
                person_id=person_id,
                pair_id=pair_id,
                detail=detail,
            )
        )

    async def _alive(self, question: Question, ids: Collection[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        return frozenset(id_ for (id_,) in await self._database.ask(question, these=list(ids)))

    def _new_id(self) -> str:
        return str(uuid.UUID(bytes=self._randomness(16), version=4))

    def _new_secret(self) -> str:
        return base64.urlsafe_b64encode(self._randomness(32)).rstrip(b"=").decode()


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


_RETENTION: Final = (programme.c.retention_days, programme.c.retention_count)
_PERSON_COLUMNS: Final = (person.c.id, person.c.email, person.c.name, person.c.tz, person.c.language)

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
_LOGINS: Final = Question(
    sa.select(login.c.id, login.c.created_ms, login.c.last_used_ms, login.c.secret_hash, *_PERSON_COLUMNS)
    .join(person, person.c.id == login.c.person_id)
    .where(login.c.secret_hash.in_(_THESE), login.c.revoked_ms.is_(None))
)
_TOKENS: Final = Question(sa.select(access_token).where(access_token.c.token_hash.in_(_THESE)))
_LOGINS_ALIVE: Final = Question(
    sa.select(login.c.id).where(login.c.id.in_(_THESE), login.c.revoked_ms.is_(None))
)
_TOKENS_ALIVE: Final = Question(
    sa.select(access_token.c.id).where(access_token.c.id.in_(_THESE), access_token.c.revoked_ms.is_(None))
)
_LATEST_CHANGE: Final = Question(sa.select(sa.func.max(audit.c.id)))
_CHANGES: Final = Question(
    sa.select(audit.c.id, audit.c.at_ms, audit.c.action, audit.c.person_id, pair.c.slug, audit.c.detail)
    .outerjoin(pair, pair.c.id == audit.c.pair_id)
    .where(audit.c.id > sa.bindparam("after"))
    .order_by(audit.c.id)
    .limit(CHANGES_MAX)
)
_ANYTHING: Final = Question(sa.select(sa.literal_column("1")))


async def _person_where(connection: AsyncConnection, condition: sa.ColumnElement[bool]) -> Person | None:
    row = (await connection.execute(sa.select(*_PERSON_COLUMNS).where(condition))).one_or_none()
    return Person(*row) if row else None


def _is_of(person_id: str) -> sa.ColumnElement[bool]:
    return sa.or_(pair.c.mentor_id == person_id, pair.c.mentee_id == person_id)


async def _must_exist(connection: AsyncConnection, person_id: str) -> Person:
    found = await _person_where(connection, person.c.id == person_id)
    if found is None:
        raise PersonUnknownError(f"There is no person {person_id}.")
    return found


async def _room_of(connection: AsyncConnection, person_id: str, pair_id: str | None) -> str | None:
    which = _is_of(person_id) if pair_id is None else pair.c.id == pair_id
    slugs = (
        await connection.scalars(sa.select(pair.c.slug).where(which, pair.c.removed_ms.is_(None)).limit(2))
    ).all()
    return slugs[0] if len(slugs) == 1 else None


async def _why_not(connection: AsyncConnection, token: str) -> LinkError:
    """Why a link did not work, said to somebody who holds it."""
    row = (await connection.execute(sa.select(link).where(link.c.token_hash == hash_of(token)))).one_or_none()
    if row is None:
        return LinkUnknownError("This link is not known. Was it copied whole?")
    if row.used_ms is not None:
        return LinkUsedError("This link has been used already; a link works once. Ask for a new one.")
    return LinkExpiredError("This link does not work any more. Ask for a new one.")


def hash_of(secret: str) -> bytes:
    """SHA-256 without salt or stretching: the secrets are 256 random bits, which nobody guesses."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _email_key(email: str) -> str:
    return email.strip().casefold()


def _base32(random: bytes) -> str:
    """128 bits as 26 lower-case letters and digits: fit for a URL that somebody reads out."""
    return base64.b32encode(random).rstrip(b"=").decode().lower()


def title_of(mentor: str, mentee: str) -> str:
    return f"{mentor} and {mentee}"
