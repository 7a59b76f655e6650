"""What people cost the store who are there and say nothing, and a room that is looked at once a minute."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.bench.contestants import Contestant, Running, running, telementor
from tests.bench.costs import Costs, RedisCounts, rss
from tests.bench.load import generator
from tests.bench.page import Say, table
from tests.support.condition import until
from tests.support.redis_topologies import RedisServer

PAIRS = 500
IDLE_S = 10.0


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """Everybody on one node, and a second node that nobody is on."""
    del seconds  # the people decide how long it takes
    redis = await RedisServer().start()
    two_nodes = Contestant("telementor", telementor(2))
    try:
        async with running([two_nodes], folder, redis, PAIRS) as here, generator() as load:
            nodes = here[two_nodes.name]
            del nodes.urls[1]
            people = two_nodes.people(nodes)
            load.crowd("all", people, engine_io=True, key="00000000-0000-4000-8000-")
            store, counts = Costs(redis.pid), await RedisCounts(redis).start()
            await load("come_in", "all")
            spent, cpu_s = await counts.spent(), store.cpu_s()[0] / len(people)
            rows = [
                ["a socket comes in: connect and `room.join`", "CPU of Redis", f"{cpu_s * 1000:.2f} ms"],
                ["", "commands in Redis", f"{spent['total_commands_processed'] / len(people):.0f}"],
                ["", "append-only file", f"{spent['aof_current_size'] / len(people):.0f} bytes"],
                *await _idle(nodes, redis),
                *await _stored(nodes, redis),
                *await _looked_at(nodes, redis),
            ]
    finally:
        await redis.close()
    say(
        f"\n## Who is there and says nothing\n\n{2 * PAIRS:,} sockets in {PAIRS} rooms, two to a room, all of them on one of"
        f" two nodes.\n\n{table(('what', 'of what', 'costs'), rows)}"
    )


async def _idle(nodes: Running, redis: RedisServer) -> list[list[str]]:
    empty = nodes.pids[1]
    costs = Costs(empty, redis.pid)
    await asyncio.sleep(IDLE_S)
    alone, store = (cpu_s / IDLE_S * 1000 for cpu_s in costs.cpu_s())
    return [
        ["a node that nobody is on", "CPU", f"{alone:.1f} ms a second"],
        ["", "memory", f"{rss(empty) / 1_048_576:.0f} MiB"],
        [
            f"{PAIRS} rooms in which nothing happens, and two nodes",
            "CPU of Redis",
            f"{store:.1f} ms a second",
        ],
    ]


async def _stored(nodes: Running, redis: RedisServer) -> list[list[str]]:
    pair = nodes.pairs[0]
    async with redis.client() as client:
        room, person = [await stored_bytes(client, name) for name in (pair.room, f"p:{pair.mentor.person}")]
    return [
        ["a room with two people and no message", "memory of Redis", f"{room} bytes"],
        ["a person with one socket", "memory of Redis", f"{person} bytes"],
    ]


async def stored_bytes(redis: Any, tag: str, part: str = "") -> int:
    """Of all keys with that hash tag whose names go on like that."""
    names = [name async for name in redis.scan_iter(match=f"{{{tag}}}{part}*", count=10_000)]
    return sum([await redis.memory_usage(name, samples=0) or 0 for name in names])


async def _looked_at(nodes: Running, redis: RedisServer) -> list[list[str]]:
    """Every occupied room is due once a minute, and taken by any node. Here all are due at once."""
    async with redis.client() as client:
        costs, start = Costs(*nodes.pids), time.time()
        await client.zadd("{nodes}:due", {pair.room: 1 for pair in nodes.pairs})

        async def done() -> bool:
            soon = (start + 30) * 1000  # a room that was taken and not settled yet is due again in 5 s
            return not await client.zcount("{nodes}:due", "-inf", soon)

        await until(done, "all rooms to be looked at", timeout_s=60)
    took_s = time.time() - start
    theirs, others = costs.cpu_s()
    return [
        ["rooms looked at", "at most, of each of 2 nodes on one core", f"{PAIRS / took_s / 2:.0f} a second"],
        ["", "CPU of the node that has the people", f"{theirs / PAIRS * 2000:.1f} ms a room"],
        ["", "CPU of the other node", f"{others / PAIRS * 2000:.1f} ms a room"],
    ]
