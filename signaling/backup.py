"""One file with everything that cannot be made again: people, pairs and log-ins, and each room's log (`telementor backup`).

A sequence of msgpack objects: a header, every table, every room. A room is read in one step, so its log, bodies and keys
fit each other. Who is present, and rates, are of the moment and are left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import sqlalchemy as sa
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ResponseError
from sqlalchemy.ext.asyncio import AsyncConnection

from rooms.errors import Unavailable
from signaling.open_stores import open_database, open_store
from signaling.settings import Settings
from signaling.stores.database import Database
from signaling.stores.store import Store, answered
from signaling.stores.tables import metadata, pair, person
from signaling.whole_file import whole_file

FORMAT = 1
KEPT = ("log", "bodies", "meta", "gone", "current", "read")
DAY_S = 86_400


class BackupError(Exception):
    """The backup cannot be written or brought back; the text is one sentence."""


async def backup(settings: Settings, file: Path) -> int:
    """Writes `file` (0600, whole or not at all) and returns the number of rooms. Works beside a running server."""
    async with open_database(settings) as database, open_store(settings) as store:
        with whole_file(file) as out:
            out.write(msgpack.packb({"telementor": FORMAT}))
            async with database.reading() as connection:
                for table in metadata.sorted_tables:
                    rows = [list(row) for row in await connection.execute(sa.select(table))]
                    out.write(
                        msgpack.packb({"table": table.name, "columns": list(table.c.keys()), "rows": rows})
                    )
                slugs = list((await connection.execute(sa.select(pair.c.slug))).scalars())
            for slug in slugs:
                out.write(msgpack.packb({"room": slug, "keys": await _dumped(store.redis, slug)}))
    return len(slugs)


async def restore(settings: Settings, file: Path) -> int:
    """Brings a backup into empty stores, whole or not at all, and returns the number of rooms. Raises BackupError when they
    are not empty, or when the file is no backup; a folder whose server runs is refused."""
    if next(_records(file), {}).get("telementor") != FORMAT:
        raise BackupError(f"{file} is not a backup of this version of telementor.")
    rooms: list[list[str]] = []
    async with open_database(settings) as database, open_store(settings, alone=True) as store:
        await _refuse_unless_empty(database, store, file)
        try:
            async with database.writing() as connection:
                for table in reversed(metadata.sorted_tables):
                    await connection.execute(sa.delete(table))
                for record in _records(file):
                    if "table" in record:
                        await _fill(connection, metadata.tables[record["table"]], record)
                    elif "room" in record:
                        rooms.append(_names(record))
                        await _bring_back(store.redis, record["room"], record["keys"])
        except BaseException:
            for names in rooms:
                await store.run("DEL", *names)
            raise
    return len(rooms)


async def _refuse_unless_empty(database: Database, store: Store, file: Path) -> None:
    async with database.reading() as connection:
        if await connection.scalar(sa.select(sa.func.count()).select_from(person)):
            raise BackupError("There are people in the database already; restore into an empty data folder.")
    for record in _records(file):
        if "room" in record and await store.run("EXISTS", *_names(record)):
            raise BackupError("The store holds a room of this backup already; restore into an empty store.")


def _names(record: dict[str, Any]) -> list[str]:
    """The store's keys of a room in the backup, those that are not in it included."""
    return [f"{{{record['room']}}}:{name}" for name in {*KEPT, *record["keys"]}]


async def _fill(connection: AsyncConnection, table: sa.Table, record: dict[str, Any]) -> None:
    rows = [dict(zip(record["columns"], row, strict=True)) for row in record["rows"]]
    if not rows:
        return
    await connection.execute(sa.insert(table), rows)
    numbered = table.autoincrement_column
    if numbered is not None and connection.dialect.name == "postgresql":
        # Rows that come with their numbers do not move PostgreSQL's own counter.
        counter = sa.func.pg_get_serial_sequence(table.name, numbered.name)
        highest = max(row[numbered.name] for row in rows)
        await connection.execute(sa.select(sa.func.setval(counter, highest)))


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as source:
        try:
            for record in msgpack.Unpacker(source, max_buffer_size=2**31 - 1):
                if not isinstance(record, dict):
                    raise BackupError(f"{file} is not a backup of telementor.")
                yield record
        except (ValueError, msgpack.UnpackException) as error:
            raise BackupError(f"{file} is damaged.") from error


async def _dumped(redis: Redis | RedisCluster, slug: str) -> dict[str, tuple[bytes, int]]:
    """The room's keys as the store dumps them, with what is left of their lives in milliseconds (-1: they stay)."""
    today = int(time.time()) // DAY_S
    # The store's clock may be past midnight when ours is not yet.
    names = [*KEPT, *(f"keys:{day}" for day in (today - 1, today, today + 1))]
    async with redis.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.dump(f"{{{slug}}}:{name}")
            pipe.pttl(f"{{{slug}}}:{name}")
        answers = await answered(pipe.execute())
    return {
        name: (answers[2 * i], answers[2 * i + 1])
        for i, name in enumerate(names)
        if answers[2 * i] is not None
    }


async def _bring_back(redis: Redis | RedisCluster, slug: str, keys: dict[str, tuple[bytes, int]]) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        for name, (dump, life_ms) in keys.items():
            pipe.restore(f"{{{slug}}}:{name}", max(0, life_ms), dump)
        try:
            await answered(pipe.execute())
        except Unavailable as error:
            if isinstance(error.__cause__, ResponseError):
                raise BackupError(
                    "The store refuses the rooms; restore with the engine that wrote them."
                ) from error
            raise
