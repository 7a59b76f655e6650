"""As many acknowledged messages as there can be, on one node: one person who waits for each, and many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.bench.costs import Costs
from tests.bench.load import Talker
from tests.bench.page import Say, delays, table
from tests.bench.town import Town, town, town_alone

PAIRS = 16
TEXT_BYTES = 100

Place = tuple[Town, int]
"""With the process id of its store."""


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """Each kind of store."""
    places: dict[str, Callable[[], AbstractAsyncContextManager[Place]]] = {
        "its own Valkey, synced before each answer": lambda: _alone(folder),
        "a Redis, `appendfsync always`": lambda: _with_redis(folder, "always"),
        "a Redis, `appendfsync everysec`": lambda: _with_redis(folder, "everysec"),
    }
    rows = []
    for name, place in places.items():
        for everybody in (False, True):
            async with place() as (here, store):
                rows.append([name, *await _row(here, store, everybody, seconds)])
    headings = ("store", "people who write at once", "acks a second", "ack p50 / p99 ms", "node, CPU-ms each")
    say(
        f"\n## Acknowledged messages of {TEXT_BYTES} bytes, one after the other\n\nRates are bounded by the clients, which"
        f" share the cores: information only.\n\n{table((*headings, 'store, CPU-ms each'), rows)}"
    )


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[Place]:
    async with town_alone(folder, PAIRS) as (here, node):
        yield here, node.stores()[0]


@asynccontextmanager
async def _with_redis(folder: Path, fsync: str) -> AsyncIterator[Place]:
    async with town(folder, 1, PAIRS, "--appendfsync", fsync) as here:
        assert here.redis
        yield here, here.redis.pid


async def _row(here: Town, store: int, everybody: bool, seconds: float) -> list[str]:
    people = [(pair, who) for pair in here.pairs for who in (pair.mentor, pair.mentee)]
    talkers = [
        await Talker(here.addresses[0], who, pair.room).come_in()
        for pair, who in (people if everybody else people[:1])
    ]
    end = time.perf_counter() + seconds

    async def speak(talker: Talker) -> None:
        while time.perf_counter() < end:
            await talker.say_and_wait(TEXT_BYTES)

    costs = Costs(here.pids[0], store)
    await asyncio.gather(*(speak(talker) for talker in talkers))
    acked_s = [value for talker in talkers for value in talker.acked_s]
    node, theirs = (cpu_s / len(acked_s) * 1000 for cpu_s in costs.cpu_s())
    await asyncio.gather(*(talker.leave() for talker in talkers))
    rate = f"{len(acked_s) / seconds:.0f}"
    return [str(len(talkers)), rate, delays(acked_s), f"{node:.2f}", f"{theirs:.3f}"]
