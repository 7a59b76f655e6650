"""One file with everything that cannot be made again: people, pairs and log-ins, and each room's log (`telementor backup`).

A sequence of msgpack objects: a header, every table, every room. A room is read in one step, so its log, bodies and keys
fit each other. Who is present, and rates, are of the moment and are left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import sqlalchemy as sa
from redis.asyncio import Redis, RedisCluster

from signaling.data_folder import DataFolder, FolderInUseError
from signaling.settings import Settings
from signaling.stores import redis_client
from signaling.stores.database import Database
from signaling.stores.embedded import EmbeddedStore
from signaling.stores.tables import metadata, pair, person

FORMAT = 1
TIMEOUT_S = 30.0
KEPT = ("log", "bodies", "meta", "gone", "current", "read")
DAY_S = 86_400


class BackupError(Exception):
    """The backup cannot be written or brought back; the text is one sentence."""


async def backup(settings: Settings, file: Path) -> int:
    """Writes `file` (0600, whole or not at all) and returns the number of rooms. Works beside a running server."""
    fresh = file.with_name(file.name + ".new")
    async with _database(settings) as database, _store(settings) as redis:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgpack.packb({"telementor": FORMAT}))
            async with database.reading() as connection:
                for table in metadata.sorted_tables:
                    rows = [list(row) for row in await connection.execute(sa.select(table))]
                    out.write(
                        msgpack.packb({"table": table.name, "columns": list(table.c.keys()), "rows": rows})
                    )
                slugs = list((await connection.execute(sa.select(pair.c.slug))).scalars())
            for slug in slugs:
                out.write(msgpack.packb({"room": slug, "keys": await _dumped(redis, slug)}))
            out.flush()
            os.fsync(out.fileno())
    fresh.replace(file)
    return len(slugs)


async def restore(settings: Settings, file: Path) -> int:
    """Brings a backup into empty stores and returns the number of rooms. Raises BackupError when they are not empty, or when
    the file is no backup; a folder whose server runs is refused."""
    records = _records(file)
    if next(records, {}).get("telementor") != FORMAT:
        raise BackupError(f"{file} is not a backup of this version of telementor.")
    async with (
        _database(settings) as database,
        _store(settings, alone=True) as redis,
        database.writing() as connection,
    ):
        if await connection.scalar(sa.select(sa.func.count()).select_from(person)):
            raise BackupError("There are people in the database already; restore into an empty data folder.")
        for table in reversed(metadata.sorted_tables):
            await connection.execute(sa.delete(table))
        rooms = 0
        for record in records:
            if "table" in record:
                rows = [dict(zip(record["columns"], row, strict=True)) for row in record["rows"]]
                if rows:
                    await connection.execute(sa.insert(metadata.tables[record["table"]]), rows)
            else:
                await _brought_back(redis, record["room"], record["keys"])
                rooms += 1
    return rooms


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
        answers = await redis_client.answered(pipe.execute())
    return {
        name: (answers[2 * i], answers[2 * i + 1])
        for i, name in enumerate(names)
        if answers[2 * i] is not None
    }


async def _brought_back(redis: Redis | RedisCluster, slug: str, keys: dict[str, tuple[bytes, int]]) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        for name, (dump, life_ms) in keys.items():
            pipe.restore(f"{{{slug}}}:{name}", max(0, life_ms), dump)
        await redis_client.answered(pipe.execute())


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    folder = DataFolder(settings.data)
    folder.prepare()
    database = Database(settings.database or folder.sqlite_url)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _store(settings: Settings, *, alone: bool = False) -> AsyncIterator[Redis | RedisCluster]:
    """The store of a running server, or our own, started for as long as it takes. `alone`: it must not be in use."""
    embedded = None if settings.redis else EmbeddedStore(DataFolder(settings.data))
    url = settings.redis or ""
    if embedded is not None:
        try:
            url = await embedded.start()
        except FolderInUseError:
            if alone:
                raise
            url, embedded = embedded.url, None
    store = redis_client.connect(url, TIMEOUT_S, connections=4)
    try:
        yield store.redis
    finally:
        await store.aclose()
        if embedded is not None:
            await embedded.stop()
