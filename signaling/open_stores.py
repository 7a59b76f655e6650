"""The stores of an installation, opened for a command: beside a running server or without one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from signaling.data_folder import DataFolder, FolderInUseError
from signaling.settings import Settings
from signaling.stores.database import Database
from signaling.stores.directory import Directory
from signaling.stores.embedded import EmbeddedStore
from signaling.stores.redis_client import connect
from signaling.stores.store import Store

TIMEOUT_S = 30.0
"""For one command of the store: a whole room is read or written by one."""


def _prepared(settings: Settings) -> DataFolder:
    folder = DataFolder(settings.data)
    folder.prepare()
    return folder


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The tables themselves, brought up to date. Raises DatabaseError, DataFolderError."""
    database = Database(settings.database or _prepared(settings).sqlite_url)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_directory(settings: Settings) -> AsyncIterator[Directory]:
    """People and pairs. Raises DatabaseError, DataFolderError."""
    directory = await Directory.open(
        settings.database or _prepared(settings).sqlite_url,
        lambda: time.time_ns() // 1_000_000,
        login_ttl_days=settings.login_ttl_days,
    )
    try:
        yield directory
    finally:
        await directory.close()


@asynccontextmanager
async def open_store(settings: Settings, *, alone: bool = False) -> AsyncIterator[Store]:
    """The store of a running server, or our own, started for as long as it takes. `alone`: an embedded one must not be in
    use (FolderInUseError)."""
    embedded = None if settings.redis else EmbeddedStore(_prepared(settings))
    url = settings.redis or ""
    if embedded is not None:
        try:
            url = await embedded.start()
        except FolderInUseError:
            if alone:
                raise
            url, embedded = embedded.url, None
    store = connect(url, TIMEOUT_S, connections=4)
    try:
        yield store
    finally:
        await store.aclose()
        if embedded is not None:
            await embedded.stop()
