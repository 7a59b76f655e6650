"""What people cost who are there and say nothing: coming in, memory, pings, and a room that is looked at once a minute."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.bench.costs import Costs, RedisCounts, rss
from tests.bench.page import Say, table
from tests.bench.town import Town, town
from tests.support.condition import until

PAIRS = 500
IDLE_S = 20.0
"""Two pings for every socket, and well before the first rooms are looked at again."""


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """Everybody on one node, and a second node that nobody is on."""
    del seconds  # the people decide how long it takes
    async with town(folder, 2, PAIRS) as here:
        busy, empty = here.pids
        here.addresses = here.addresses[:1]
        assert here.redis
        rows = []
        before = rss(busy)
        costs, store, counts = Costs(busy), Costs(here.redis.pid), await RedisCounts(here.redis).start()
        inside = [talker for two in await here.come_in() for talker in two]
        spent = await counts.spent()
        cpu, redis = costs.cpu_s()[0] / len(inside), store.cpu_s()[0] / len(inside)
        rows.append(["a socket comes in: connect and `room.join`", "CPU of its node", f"{cpu * 1000:.1f} ms"])
        rows.append(["", "CPU of Redis", f"{redis * 1000:.2f} ms"])
        rows.append(
            ["", "commands in Redis", f"{spent['total_commands_processed'] / len(inside):.0f}"],
        )
        rows.append(["", "append-only file", f"{spent['aof_current_size'] / len(inside):.0f} bytes"])
        rows += await _idle(here, busy, empty, len(inside))
        rows.append(
            [
                "a socket in a room",
                "memory of its node",
                f"{(rss(busy) - before) / len(inside) / 1024:.1f} KiB",
            ]
        )
        rows.append(["a node that nobody is on", "memory", f"{rss(empty) / 1_048_576:.0f} MiB"])
        rows += await _stored(here)
        rows += await _looked_at(here, busy, empty)
        await asyncio.gather(*(talker.leave() for talker in inside))
    say(
        f"\n## Who is there and says nothing\n\n{2 * PAIRS:,} sockets in {PAIRS} rooms, two to a room, all of them on one of"
        f" two nodes.\n\n{table(('what', 'of what', 'costs'), rows)}"
    )


async def _idle(here: Town, busy: int, empty: int, sockets: int) -> list[list[str]]:
    """Pings and asking where the rooms stand, without what a node costs that has nobody."""
    assert here.redis
    costs, store = Costs(busy, empty), Costs(here.redis.pid)
    await asyncio.sleep(IDLE_S)
    with_people, alone = (cpu_s / IDLE_S * 1000 for cpu_s in costs.cpu_s())
    redis = store.cpu_s()[0] / IDLE_S * 1000
    each = (with_people - alone) / sockets * 1000
    return [
        ["1,000 idle sockets: pings, where 500 rooms stand", "CPU of their node", f"{each:.0f} ms a second"],
        ["a node that nobody is on", "CPU", f"{alone:.1f} ms a second"],
        ["all of that", "CPU of Redis", f"{redis:.1f} ms a second"],
    ]


async def _stored(here: Town) -> list[list[str]]:
    pair = here.pairs[0]
    return [
        [
            "a room with two people and no message",
            "memory of Redis",
            f"{await _bytes(here, pair.room)} bytes",
        ],
        [
            "a person with one socket",
            "memory of Redis",
            f"{await _bytes(here, f'p:{pair.mentor.person}')} bytes",
        ],
    ]


async def _bytes(here: Town, tag: str) -> int:
    assert here.redis
    async with here.redis.client() as redis:
        return await stored_bytes(redis, tag)


async def stored_bytes(redis: Any, tag: str, part: str = "") -> int:
    """Of all keys with that hash tag whose names go on like that."""
    names = [name async for name in redis.scan_iter(match=f"{{{tag}}}{part}*", count=10_000)]
    return sum([await redis.memory_usage(name, samples=0) or 0 for name in names])


async def _looked_at(here: Town, busy: int, empty: int) -> list[list[str]]:
    """Every occupied room is due once a minute, and taken by any node. Here all are due at once."""
    assert here.redis
    async with here.redis.client() as redis:
        rooms = {pair.room: 1 for pair in here.pairs}
        costs, start = Costs(busy, empty), time.time()
        await redis.zadd("{nodes}:due", rooms)

        async def done() -> bool:
            soon = (start + 30) * 1000  # a room that was taken and not settled yet is due again in 5 s
            return not await redis.zcount("{nodes}:due", "-inf", soon)

        await until(done, "all rooms to be looked at", timeout_s=60)
    took_s = time.time() - start
    theirs, others = costs.cpu_s()
    return [
        ["rooms looked at", "at most, of each of 2 nodes", f"{PAIRS / took_s / 2:.0f} a second"],
        ["", "CPU of the node that has the people", f"{theirs / PAIRS * 2000:.1f} ms a room"],
        ["", "CPU of the other node", f"{others / PAIRS * 2000:.1f} ms a room"],
    ]
