"""What was changed, by whom and when: written in the same transaction as the change, and polled by the nodes.

Every method raises DatabaseUnavailableError when the database does not answer.
"""

from typing import Any, Final, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from signaling.stores.database import Database
from signaling.stores.question import Question
from signaling.stores.tables import audit, pair

CHANGES_MAX: Final = 500
"""What one poll may bring; a node that was away for long asks again until it gets fewer."""

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


class Change(Struct, frozen=True):
    """One line of the audit. `person` and `room` are those it is about, `detail` small and without private words."""

    id: int
    at_ms: int
    action: Action
    person: str | None
    room: str | None
    detail: dict[str, Any]


class Audit:
    """The lines of the audit as a feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

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


async def note(
    connection: AsyncConnection,
    at_ms: int,
    actor: str,
    action: Action,
    person_id: str | None = None,
    pair_id: str | None = None,
    **detail: str,
) -> None:
    """One more line, in the transaction of the change that it tells of. `detail` is small and without private words."""
    await connection.execute(
        sa.insert(audit).values(
            at_ms=at_ms,
            actor=actor,
            action=action,
            person_id=person_id,
            pair_id=pair_id,
            detail=detail,
        )
    )


_LATEST_CHANGE: Final = Question(sa.select(sa.func.max(audit.c.id)))
_CHANGES: Final = Question(
    sa.select(audit.c.id, audit.c.at_ms, audit.c.action, audit.c.person_id, pair.c.slug, audit.c.detail)
    .outerjoin(pair, pair.c.id == audit.c.pair_id)
    .where(audit.c.id > sa.bindparam("after"))
    .order_by(audit.c.id)
    .limit(CHANGES_MAX)
)
