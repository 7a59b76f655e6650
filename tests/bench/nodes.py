"""What a message, a signal, a socket and a room cost a node and its store, from one node to four at the same load.

CPU time is measured, not the clock on the wall: it says what a message costs even on a machine that does other things.
Delays are given as information only.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from redis.asyncio import Redis

from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog
from tests.bench.events import posted
from tests.bench.load import Talker, at_pace, percentile
from tests.support.people import Pair
from tests.support.redis_topologies import RedisServer
from tests.support.server import Server

PAIRS = 40
PER_S = 200
"""Chat messages, or signals, a second over all rooms."""

BYTES = 100
SDP_BYTES = 2_000
WARM_S = 1.0
IDLE_ROOMS = 1_000
SOCKETS_EACH = 7
"""Below the 8 that one person may have."""

PREFACE = """# What it costs, measured

`make bench` prints this page. CPU time, so that it holds on a machine that does other things; delays are of this one,
on which clients, nodes and store share the cores. Fewer messages at once make each dearer: waking up, and syncing the
file, are paid each time."""

Say = Callable[[str], None]


class Costs:
    """CPU seconds and memory of some processes since it was made."""

    def __init__(self, *pids: int) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = [self._cpu_s(process) for process in self._processes]

    @staticmethod
    def _cpu_s(process: psutil.Process) -> float:
        times = process.cpu_times()
        return times.user + times.system

    def cpu_s(self) -> list[float]:
        """Of each process."""
        return [
            self._cpu_s(process) - before
            for process, before in zip(self._processes, self._before, strict=True)
        ]

    def rss(self) -> int:
        """Bytes, of all of them now."""
        return sum(process.memory_info().rss for process in self._processes)


class Town:
    """Nodes on one Redis and one database, and pairs who live there."""

    def __init__(self, redis: RedisServer, nodes: list[Server], pairs: list[Pair]) -> None:
        self.redis = redis
        self.nodes = nodes
        self.pairs = pairs

    async def come_in(self, *, apart: bool, call: bool = False) -> list[tuple[Talker, Talker]]:
        """Each pair at the node of its room, or its two people at different ones."""
        inside = []
        for number, pair in enumerate(self.pairs):
            here = self.nodes[number % len(self.nodes)]
            there = self.nodes[(number + apart) % len(self.nodes)]
            two = (Talker(here.url, pair.mentor, pair.room), Talker(there.url, pair.mentee, pair.room))
            for one in two:
                await one.come_in()
            for one in two if call else ():
                await one.join_call()
            for one in two:
                one.listen()
            inside.append(two)
        return inside


@asynccontextmanager
async def town(folder: Path, count: int, pairs: int = PAIRS, fsync: str = "always") -> AsyncIterator[Town]:
    """Opened, and closed whatever happens."""
    redis = await RedisServer("--appendfsync", fsync).start()
    settings = {
        "TELEMENTOR_REDIS": f"redis://127.0.0.1:{redis.port}/0",
        "TELEMENTOR_DATABASE": f"sqlite:///{folder / 'shared.db'}",
        "TELEMENTOR_LOG_LEVEL": "warning",
        "TELEMENTOR_CHAT_PER_S": "1000",
    }
    nodes: list[Server] = []
    try:
        for number in range(count):
            place = folder / f"node{number}"
            place.mkdir()
            nodes.append(await Server(place, settings, many_commands=number == 0).start())
        yield Town(redis, nodes, [await nodes[0].pair() for _ in range(pairs)])
    finally:
        for node in nodes:
            await node.close()
        await redis.close()


async def talk(folder: Path, count: int, seconds: float, *, apart: bool, signals: bool) -> list[str]:
    """One row: so many nodes, so many messages a second."""
    folder.mkdir()
    async with town(folder, count) as here:
        inside = await here.come_in(apart=apart, call=signals)

        async def act(number: int) -> None:
            one, other = inside[number % len(inside)][:: -1 if number // len(inside) % 2 else 1]
            await (one.signal(other, SDP_BYTES) if signals else one.say(BYTES))

        await at_pace(PER_S, WARM_S, act)
        talkers = [talker for two in inside for talker in two]
        for talker in talkers:
            talker.acked_s, talker.heard_s = [], []
        nodes, redis = Costs(*(node.pid for node in here.nodes)), Costs(here.redis.pid)
        sent = await at_pace(PER_S, seconds, act)
        spent, store = nodes.cpu_s(), redis.cpu_s()[0]
        await asyncio.sleep(0.3)  # what is on its way; it is not in the costs
        acked = [value for talker in talkers for value in talker.acked_s]
        heard = [value for talker in talkers for value in talker.heard_s]
        refused = sum(talker.refused for talker in talkers)
        await asyncio.gather(*(talker.leave() for talker in talkers))
    return [
        *(str(count), "apart" if apart else "together", f"{sent / seconds:.0f}"),
        *(f"{max(spent) / sent * 1000:.2f}", f"{sum(spent) / sent * 1000:.2f}", f"{store / sent * 1000:.3f}"),
        *(f"{percentile(acked, 0.5):.1f} / {percentile(acked, 0.99):.1f}",),
        *(f"{percentile(heard, 0.5):.1f} / {percentile(heard, 0.99):.1f}", str(refused)),
    ]


HEADINGS = (
    *("nodes", "the two of a room", "a second", "CPU-ms of the busiest node", "CPU-ms of all nodes"),
    *("CPU-ms of Redis", "ack p50 / p99 ms", "heard p50 / p99 ms", "refused"),
)


def table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


async def growth(folder: Path, seconds: float, say: Say) -> None:
    """The same load on one, two and four nodes."""
    for name, signals in (("chat messages of 100 bytes", False), ("call signals of 2,000 bytes", True)):
        rows = []
        for count, apart in ((1, False), (2, False), (4, False), (2, True), (4, True)):
            place = folder / f"{name.split()[1]}{count}{apart}"
            rows.append(await talk(place, count, seconds, apart=apart, signals=signals))
        say(f"\n### {name.capitalize()}, per message\n\n{table(HEADINGS, rows)}")


async def memory(folder: Path, say: Say) -> None:
    """What is kept for a socket, a room, a message."""
    folder.mkdir()
    async with town(folder, 1) as here:
        node, (pair, other, *_) = Costs(here.nodes[0].pid), here.pairs
        inside = [await Talker(here.nodes[0].url, pair.mentor, pair.room).come_in()]
        before = node.rss()
        places = [(each.room, one) for each in here.pairs[1:] for one in (each.mentor, each.mentee)]
        for room, person in places * SOCKETS_EACH:
            inside += [await Talker(here.nodes[0].url, person, room).come_in()]
        for talker in inside:
            talker.listen()
        per_socket = (node.rss() - before) / (len(inside) - 1)
        idle, seconds = Costs(here.nodes[0].pid), 10.0
        await asyncio.sleep(seconds)
        per_idle = idle.cpu_s()[0] / seconds / len(inside)
        redis: Any = Redis(port=here.redis.port)
        rows = [["a socket in a room, on its node", f"{per_socket / 1024:.1f} KiB"]]
        rows.append(
            ["an idle socket's pings and presence, on its node", f"{per_idle * 1e6:.0f} µs CPU a second"]
        )
        empty = await _room_bytes(redis, other.room)
        rows.append(["a room with people and no message, in Redis", f"{empty / 1024:.1f} KiB"])
        told = 0
        for until in (100, 1_000):
            store = connect(f"redis://127.0.0.1:{here.redis.port}", 3)
            log, size = RedisRoomLog(store), (await redis.info("persistence"))["aof_current_size"]
            more = until - told
            await _write(log, other.room, more)
            aof = ((await redis.info("persistence"))["aof_current_size"] - size) / more
            each = (await _room_bytes(redis, other.room) - empty) / until
            rows.append([f"a message of 100 bytes, in Redis, of {until:,}", f"{each:.0f} bytes"])
            rows.append(["the same in the append-only file", f"{aof:.0f} bytes"])
            told = until
            await store.aclose()
        await redis.aclose()
        await asyncio.gather(*(talker.leave() for talker in inside))
    say(f"\n### What is kept\n\n{table(('of', 'costs'), rows)}")


async def _write(log: RedisRoomLog, slug: str, count: int) -> None:
    for number in range(count):
        await posted(log, slug, number)


async def _room_bytes(redis: Any, slug: str) -> int:
    names = [name async for name in redis.scan_iter(match=f"{{{slug}}}*", count=10_000)]
    return sum([await redis.memory_usage(name, samples=0) or 0 for name in names])


async def store(seconds: float, say: Say) -> None:
    """A room log alone: how many writes a second, and what asking where the rooms stand costs."""
    rows = []
    for fsync in ("always", "everysec"):
        redis = await RedisServer("--appendfsync", fsync).start()
        client = connect(f"redis://127.0.0.1:{redis.port}", 3)
        log = RedisRoomLog(client)
        for writers in (1, 32):
            ours, theirs = Costs(psutil.Process().pid), Costs(redis.pid)
            done, took = await _writes(log, writers, seconds)
            rows.append(
                [
                    *(f"write, {fsync}, {writers} at once", f"{done / seconds:.0f}"),
                    *(f"{percentile(took, 0.5):.2f} / {percentile(took, 0.99):.2f}",),
                    *(f"{ours.cpu_s()[0] / done * 1000:.3f}", f"{theirs.cpu_s()[0] / done * 1000:.3f}"),
                ]
            )
        slugs = [f"room{number}" for number in range(IDLE_ROOMS)]
        ours, theirs, start = Costs(psutil.Process().pid), Costs(redis.pid), time.perf_counter()
        for _ in range(20):
            for first in range(0, IDLE_ROOMS, 256):
                await log.heads(slugs[first : first + 256])
        rounds = 20
        rows.append(
            [
                *(
                    f"asking where {IDLE_ROOMS:,} rooms stand",
                    "",
                    f"{(time.perf_counter() - start) / rounds * 1000:.1f}",
                ),
                *(f"{ours.cpu_s()[0] / rounds * 1000:.1f}", f"{theirs.cpu_s()[0] / rounds * 1000:.1f}"),
            ]
        )
        await client.aclose()
        await redis.close()
    headings = ("of the room log", "a second", "p50 / p99 ms", "CPU-ms each, node", "CPU-ms each, Redis")
    say(f"\n### The store alone\n\n{table(headings, rows)}")


async def _writes(log: RedisRoomLog, writers: int, seconds: float) -> tuple[int, list[float]]:
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def write(number: int) -> None:
        while (start := time.perf_counter()) < end:
            await posted(log, f"room{number}", number)
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(write(number) for number in range(writers)))
    return len(took), took


def machine() -> str:
    """Where it was measured."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return (
        f"{psutil.cpu_count()} cores of {model}, {platform.system()} {platform.release()}, Python"
        f" {platform.python_version()}, redis-py {version('redis')}, telementor {version('telementor')}"
    )


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """All of it."""
    say(f"{PREFACE}\n")
    say(f"{machine()}, {time.strftime('%Y-%m-%d')}; {seconds:.0f} s for each row.")
    steps: list[Callable[[], Awaitable[None]]] = [
        lambda: growth(folder, seconds, say),
        lambda: memory(folder / "memory", say),
        lambda: store(min(seconds, 5), say),
    ]
    for step in steps:
        await step()
