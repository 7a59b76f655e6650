"""Ten thousand clients on one node: how long until all are in, what they cost while they are silent, how long until all are
back when every socket drops at once."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

from tests.bench.contestants import Contestant, Running, contestants, running
from tests.bench.costs import Costs, rss
from tests.bench.load import Load, generator
from tests.bench.page import Say, table
from tests.support.redis_topologies import RedisServer

PAIRS = 5_000
AT_ONCE = 1_000
"""Handshakes that are under way at the same time."""

IDLE_S = 26.0
"""Node pings everybody once in 25 s, telementor in 10 s."""

SERVERS = ("telementor", "Node Socket.IO, ioredis auto-pipelined")
HEADINGS = (
    *("server", "all in after", "memory of a client, kB", "idle: of a core", "all back after", "CPU µs each"),
    *("refused at first", "not back"),
)


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """One server after the other, on a Redis of its own."""
    del seconds  # the clients decide how long it takes
    many_files()
    rows = [
        [contestant.name, *await _row(folder / str(number), contestant)]
        for number, contestant in enumerate(contestants())
        if contestant.name in SERVERS
    ]
    say(
        f"\n## A crowd\n\n{PAIRS * 2:,} clients on one node, {AT_ONCE:,} handshakes at the same time. Rooms are empty."
        f"\n\n{table(HEADINGS, rows)}"
    )


def many_files() -> None:
    """As many open files as the system lets us and what we start have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _row(folder: Path, contestant: Contestant) -> list[str]:
    redis = await RedisServer("--appendfsync", "everysec").start()
    try:
        async with running([contestant], folder, redis, PAIRS) as here, generator() as load:
            people = contestant.people(here[contestant.name])
            load.crowd("crowd", people, engine_io=contestant.engine_io, key="00000000-0000-4000-8000-")
            return await _told(here[contestant.name], load)
    finally:
        await redis.close()


async def _told(server: Running, load: Load) -> list[str]:
    (pid,), alone = server.pids, rss(server.pids[0])
    came = await load("come_in", "crowd", at_once=AT_ONCE)
    await asyncio.sleep(2)  # what coming in brings about
    bytes_each = (rss(pid) - alone) / (PAIRS * 2)
    costs = Costs(pid)
    await asyncio.sleep(IDLE_S)
    idle = costs.cpu_s()[0] / IDLE_S
    costs = Costs(pid)
    back = await load("come_back", "crowd", at_once=AT_ONCE)
    return [
        *(f"{came['seconds']:.1f} s", f"{bytes_each / 1000:.1f}", f"{idle:.1%}", f"{back['seconds']:.1f} s"),
        f"{costs.cpu_s()[0] / (PAIRS * 2) * 1e6:,.0f}",
        *(f"{back['refused']:,}", f"{PAIRS * 2 - back['count']:,}"),
    ]
