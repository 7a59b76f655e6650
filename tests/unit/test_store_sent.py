"""What redis-py executes can be given up, whatever it makes of that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import exceptions

from signaling.data_folder import DataFolder
from signaling.stores import embedded
from signaling.stores.embedded import EmbeddedStore
from signaling.stores.store import sent
from tests.support.condition import until

pytestmark = pytest.mark.unit


class Command:
    """One that swallows a cancellation, as `asyncio.wait_for` may (CPython 86296), and ends as it would have without."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    async def __call__(self, *_: object) -> dict[str, int]:
        self.asked += 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return {"aof_rewrite_in_progress": 1}


GONE = exceptions.ConnectionError("gone")


@pytest.mark.parametrize("error", [None, GONE, RuntimeError("closed")])
async def test_who_is_told_to_end_ends_whatever_the_command_makes_of_it(error: Exception | None) -> None:
    """C3: a server that is told to stop waited for ever for a task that had not heard it."""
    command = Command(error)
    task = asyncio.create_task(sent(command()))
    await until(lambda: command.asked, "the command")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_rewrite_of_the_stores_file_can_be_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above: it looks again and again whether the store is done, for ten minutes."""

    class Client:
        info = Command(GONE)

    @contextlib.asynccontextmanager
    async def client(_: object) -> AsyncIterator[Client]:
        yield Client()

    monkeypatch.setattr(embedded, "_client", client)
    task = asyncio.create_task(EmbeddedStore(DataFolder(tmp_path)).rewrite())
    await until(lambda: Client.info.asked, "the first look")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
