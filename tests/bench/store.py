"""What the store keeps, and what it is asked again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.registry import Registry
from signaling.stores.store import Store
from tests.bench.costs import Costs, RedisCounts
from tests.bench.events import posted
from tests.bench.page import Say, table
from tests.bench.sockets import stored_bytes
from tests.support.redis_topologies import RedisServer

SLUG = "a" * 26
"""As long as they are."""

ROOMS = 1_000
BATCH = 250
NODES = (2, 20, 200, 1_000)
TIMES = 200
LEASE_MS = 3_000
"""As a node has it by itself; it beats three times in it."""


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """Without any node: this process asks, as a node does."""
    del folder, seconds
    redis = await RedisServer("--appendfsync", "everysec").start()
    store = connect(f"redis://127.0.0.1:{redis.port}", 3)
    try:
        kept = await _kept(redis, RedisRoomLog(store))
        asked = [await _sweep(redis, RedisRoomLog(store))]
        asked += [await _beats(redis, store, count) for count in NODES]
    finally:
        await store.aclose()
        await redis.close()
    say(
        "\n## What a message leaves behind\n\nOf 100 bytes of text. Its key is kept for 24 to 48 hours.\n\n"
        + table(
            (
                "messages in the room",
                "Redis memory each",
                "when their keys are gone",
                "append-only file each",
            ),
            kept,
        )
    )
    say(
        "\n## What nodes ask again and again\n\n"
        + table(("what", "CPU of the node, ms", "CPU of Redis, ms", "bytes out of Redis"), asked)
    )


async def _kept(redis: RedisServer, log: RedisRoomLog) -> list[list[str]]:
    rows, told = [], 0
    for until in (100, 1_000, 10_000):
        counts = await RedisCounts(redis).start()
        for number in range(told, until):
            await posted(log, SLUG, number)
        aof = (await counts.spent())["aof_current_size"] / (until - told)
        async with redis.client() as client:
            every = await stored_bytes(client, SLUG)
            keys = await stored_bytes(client, SLUG, ":keys:")
        sizes = (every / until, (every - keys) / until, aof)
        rows.append([f"{until:,}", *(f"{size:.0f} bytes" for size in sizes)])
        told = until
    return rows


async def _sweep(redis: RedisServer, log: RedisRoomLog) -> list[str]:
    slugs = [f"{number:026}" for number in range(ROOMS)]
    for slug in slugs:
        await posted(log, slug, 0)

    async def ask() -> None:
        for first in range(0, ROOMS, BATCH):
            await log.heads(slugs[first : first + BATCH])

    return [f"where {ROOMS:,} rooms stand (every 3.5 s)", *await _costs(redis, ask)]


async def _beats(redis: RedisServer, store: Store, nodes: int) -> list[str]:
    registry = Registry(store)
    async with redis.client() as client:
        await client.delete("{nodes}:seen", "{nodes}:steady")
    for number in range(nodes):
        await registry.beat(f"{number:012x}", LEASE_MS)

    async def beat() -> None:
        await registry.beat(f"{0:012x}", LEASE_MS)

    return [f"a beat among {nodes:,} nodes (every second)", *await _costs(redis, beat)]


async def _costs(redis: RedisServer, ask: Callable[[], Awaitable[None]]) -> list[str]:
    ours, theirs, counts = Costs(psutil.Process().pid), Costs(redis.pid), await RedisCounts(redis).start()
    for _ in range(TIMES):
        await ask()
    out = (await counts.spent())["total_net_output_bytes"] / TIMES
    cpu = [costs.cpu_s()[0] / TIMES * 1000 for costs in (ours, theirs)]
    return [*(f"{ms:.2f}" for ms in cpu), f"{out:,.0f}"]
