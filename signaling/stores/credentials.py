"""What people log in with: links that work once, logins of browsers, access tokens of scripts.

Secrets hold 256 random bits; only their SHA-256 is kept, so whoever reads the database can log in as nobody. What changes
is written to the audit in the same transaction.

Every method raises DatabaseUnavailableError when the database does not answer.

Errors: LinkError (a DirectoryError)
    ├── LinkUnknownError
    ├── LinkUsedError
    └── LinkExpiredError also for a link that was revoked: the answer is the same, ask for a new one
"""

import base64
import hashlib
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.stores.audit import note
from signaling.stores.database import Database, DatabaseUnavailableError
from signaling.stores.people import PERSON_COLUMNS, DirectoryError, Person, is_of, must_exist
from signaling.stores.question import Question
from signaling.stores.tables import access_token, link, login, pair, person
from signaling.stores.together import Together

_DAY_MS: Final = 86_400_000
# A login's last use is kept to the hour: enough for 90 days, and no write for every request.
_TOUCH_MS: Final = 3_600_000


class LinkError(DirectoryError):
    """A login link does not work."""


class LinkUnknownError(LinkError):
    """Nobody made that link."""


class LinkUsedError(LinkError):
    """The link has worked once already."""


class LinkExpiredError(LinkError):
    """The link was not used in time, or was revoked."""


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


class Credentials:
    """`clock` gives milliseconds UTC; a login that is not used for `login_ttl_days` ends."""

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

    # Links

    async def new_link(
        self, person_id: str, pair_id: str | None, ttl_s: int, *, actor: str = "operator"
    ) -> str:
        """A token that logs somebody in, once, within `ttl_s`. Raises PersonUnknownError."""
        token = self._new_secret()
        now = self._clock()
        async with self._database.writing() as connection:
            await must_exist(connection, person_id)
            await connection.execute(
                sa.insert(link).values(
                    token_hash=hash_of(token),
                    person_id=person_id,
                    pair_id=pair_id,
                    created_ms=now,
                    expires_ms=now + ttl_s * 1000,
                )
            )
            await note(connection, self._clock(), actor, "link.created", person_id, pair_id)
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
            who = await must_exist(connection, row.person_id)
            slug = await _room_of(connection, who.id, row.pair_id)
            await note(connection, self._clock(), who.id, "link.used", who.id, row.pair_id)
            # Together: a link that was used up without having let anybody in would be lost.
            secret = await self._add_login(connection, who.id)
        return LinkUsed(who, slug, secret)

    # Logins

    async def new_login(self, person_id: str) -> str:
        """The secret of a new login, for a browser's cookie. Raises PersonUnknownError."""
        async with self._database.writing() as connection:
            await must_exist(connection, person_id)
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
        await note(connection, self._clock(), person_id, "login.created", person_id, login=login_id)
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
                await note(
                    connection, self._clock(), row.person_id, "login.ended", row.person_id, login=row.id
                )

    async def logins_alive(self, ids: Collection[str]) -> frozenset[str]:
        """Those of the logins that nobody has ended. Age does not count: it counts at the next request."""
        return await self._alive(_LOGINS_ALIVE, ids)

    # Access tokens

    async def new_token(self, person_id: str, ttl_s: int, *, actor: str = "operator") -> str:
        """An access token for a script, good for `ttl_s`. Raises PersonUnknownError."""
        token, token_id, now = self._new_secret(), self._new_id(), self._clock()
        async with self._database.writing() as connection:
            await must_exist(connection, person_id)
            await connection.execute(
                sa.insert(access_token).values(
                    id=token_id,
                    person_id=person_id,
                    token_hash=hash_of(token),
                    created_ms=now,
                    expires_ms=now + ttl_s * 1000,
                )
            )
            await note(connection, self._clock(), actor, "token.created", person_id, token_id=token_id)
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
            await must_exist(connection, person_id)
            for table in (login, access_token, link):
                unused = [link.c.used_ms.is_(None)] if table is link else []
                await connection.execute(
                    sa.update(table)
                    .where(table.c.person_id == person_id, table.c.revoked_ms.is_(None), *unused)
                    .values(revoked_ms=now)
                )
            await note(connection, self._clock(), actor, "person.revoked", person_id)

    async def _alive(self, question: Question, ids: Collection[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        return frozenset(id_ for (id_,) in await self._database.ask(question, these=list(ids)))

    def _new_id(self) -> str:
        return str(uuid.UUID(bytes=self._randomness(16), version=4))

    def _new_secret(self) -> str:
        return base64.urlsafe_b64encode(self._randomness(32)).rstrip(b"=").decode()


# Asked again and again, and of everybody who comes in.
_THESE: Final[sa.BindParameter[Any]] = sa.bindparam("these", expanding=True)
_LOGINS: Final = Question(
    sa.select(login.c.id, login.c.created_ms, login.c.last_used_ms, login.c.secret_hash, *PERSON_COLUMNS)
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


async def _room_of(connection: AsyncConnection, person_id: str, pair_id: str | None) -> str | None:
    which = is_of(person_id) if pair_id is None else pair.c.id == pair_id
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
