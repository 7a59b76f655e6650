"""What counts for a whole programme: how much of the logs is kept, and whether calls have to go by a relay.

Every method raises DatabaseUnavailableError when the database does not answer.
"""

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from rooms.ports import Retention
from rooms.pushes import Policy
from signaling.stores.audit import note
from signaling.stores.database import Database
from signaling.stores.tables import pair, programme

PROGRAMME: Final = "default"
"""There is one so far."""

_RETENTION: Final = (programme.c.retention_days, programme.c.retention_count)


class Programme:
    """`clock` gives milliseconds UTC."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    async def retention(self) -> Retention:
        """How much of each room's log is kept."""
        query = sa.select(*_RETENTION).where(programme.c.id == PROGRAMME)
        async with self._database.reading() as connection:
            return Retention(*(await connection.execute(query)).one())

    async def set_retention(self, retention: Retention, *, actor: str = "operator") -> None:
        """Bounds are checked where it is read (cli)."""
        async with self._database.writing() as connection:
            await connection.execute(
                sa.update(programme)
                .where(programme.c.id == PROGRAMME)
                .values(retention_days=retention.days, retention_count=retention.count)
            )
            await note(
                connection,
                self._clock(),
                actor,
                "retention.set",
                days=str(retention.days),
                count=str(retention.count),
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

    async def relay_policy(self) -> Policy | None:
        """The programme's own; None: the server's setting counts."""
        query = sa.select(programme.c.relay_policy).where(programme.c.id == PROGRAMME)
        async with self._database.reading() as connection:
            found: Policy | None = await connection.scalar(query)
        return found

    async def set_relay_policy(self, policy: Policy | None, *, actor: str = "operator") -> None:
        """Nodes hear of it through the audit, and credentials from then on carry it."""
        async with self._database.writing() as connection:
            await connection.execute(
                sa.update(programme).where(programme.c.id == PROGRAMME).values(relay_policy=policy)
            )
            await note(connection, self._clock(), actor, "relay_policy.set", policy=str(policy))
