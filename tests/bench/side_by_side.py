"""Telementor beside servers that promise less: the same load on each, in turn (A B C A B C …), in one run.

The main figure is CPU microseconds of the server's processes for each message (or connect). They have one core to
themselves; the load generator and the store have the others.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.bench.contestants import TELEMENTOR, Contestant, Running, contestants, running
from tests.bench.cores import OTHER_CORES, pin
from tests.bench.costs import Costs, rss
from tests.bench.load import Load, generator
from tests.support.redis_topologies import RedisServer

PER_S = 1_000
IN_FLIGHT = 2
"""Messages of each client on their way when it is as many as can be."""

COMERS_PER_S = 20
"""Clients that drop and come back a second in the mixed load."""


class Size(Struct, frozen=True):
    """How much is measured. `warm_s`: before each workload, also for V8's compiler; `traffic_s`: in which clients that were
    idle talk, to see what memory they leave behind."""

    seconds: float
    warm_s: float
    rounds: int
    pairs: int
    idle_pairs: int
    idle_s: float
    traffic_s: float
    workloads: tuple[str, ...]


WORKLOADS = ("saturated", "paced", "half", "reconnect", "relay", "mixed")
MANY_NODES = ("saturated", "paced", "reconnect", "relay")
"""Those that more than one node are measured with."""

FULL = Size(
    seconds=1.0,
    warm_s=1.0,
    rounds=4,
    pairs=100,
    idle_pairs=500,
    idle_s=26.0,  # every client is pinged once in 25 s
    traffic_s=3.0,  # everybody says three things
    workloads=WORKLOADS,
)
QUICK = Size(
    seconds=0.4,
    warm_s=0.4,
    rounds=1,
    pairs=25,
    idle_pairs=0,
    idle_s=0,
    traffic_s=0,
    workloads=("saturated", "reconnect", "relay"),
)


class Sample(Struct):
    """One window of one server. `cpu_us`: of all its nodes for each; `busiest_us`: of the one that had most to do; `core`:
    the share of the window's time that its nodes ran; `told`: what the generator says."""

    cpu_us: float
    busiest_us: float
    store_us: float
    generator_us: float
    core: float
    told: dict[str, Any]


class Row(Struct):
    """All windows of one server; with `share` it has only that part of the others' pace: 4 is a quarter."""

    contestant: str
    samples: list[Sample]
    share: int = 1

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return (
            self.contestant if self.share == 1 else f"{self.contestant}, only {PER_S // self.share} a second"
        )

    def median(self, of: Callable[[Sample], float]) -> float:
        """Over all windows."""
        return statistics.median(of(sample) for sample in self.samples)

    @property
    def cpu_us(self) -> float:
        """The main figure."""
        return self.median(lambda sample: sample.cpu_us)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest of it."""
        values = [sample.cpu_us for sample in self.samples]
        return min(values), max(values)

    def told(self, name: str) -> float:
        """The median of what the generator says."""
        return self.median(lambda sample: float(sample.told.get(name, 0)))

    @property
    def faults(self) -> str:
        """Whatever was not acknowledged once and did not come once to each who should get it; empty when all did."""
        total = {name: sum(int(sample.told.get(name, 0)) for sample in self.samples) for name in FAULTS}
        found = [f"{count} {FAULTS[name]}" for name, count in total.items() if count]
        failed = [text for sample in self.samples for text in sample.told.get("failed", ())]
        return ", ".join([*found, *failed[:1]])


FAULTS = {
    "missing": "not all there",
    "twice": "twice or to somebody else",
    "errors": "refused",
    "lost_sockets": "sockets lost",
    "refused": "refused at first",
}


class Idle(Struct):
    """What clients cost who are there: bytes of memory of each, after coming and after traffic; CPU milliseconds a second
    of 1,000."""

    contestant: str
    bytes_each: float
    bytes_after: float
    ms_a_second: float


class Results(Struct):
    """By workload."""

    rows: dict[str, list[Row]]
    idle: list[Idle]
    size: Size


Job = Callable[[Load, str, float], Awaitable[dict[str, Any]]]


async def _saturated(load: Load, name: str, seconds: float) -> dict[str, Any]:
    return await load("saturate", name, what="chat", seconds=seconds, in_flight=IN_FLIGHT)


async def _relay(load: Load, name: str, seconds: float) -> dict[str, Any]:
    return await load("saturate", name, what="relay", seconds=seconds, in_flight=IN_FLIGHT)


async def _reconnect(load: Load, name: str, seconds: float) -> dict[str, Any]:
    del seconds  # the clients decide how long it takes
    return await load("come_back", name)


async def _mixed(load: Load, name: str, seconds: float) -> dict[str, Any]:
    told, gone = await asyncio.gather(
        load("pace", name, what="both", seconds=seconds, per_s=PER_S),
        load("come_and_go", f"{name}, comers", seconds=seconds, per_s=COMERS_PER_S),
    )
    return {**told, "came_back": gone["count"]}


JOBS: Mapping[str, Job] = {
    "saturated": _saturated,
    "reconnect": _reconnect,
    "relay": _relay,
    "mixed": _mixed,
}


FIRST = {"reconnect": "fill", "relay": "join_call"}
"""What has to be done before a workload."""


async def compete(folder: Path, size: Size, chosen: Sequence[Contestant] | None = None) -> Results:
    """All of them, or those that are chosen."""
    chosen = chosen or contestants()
    redis = await RedisServer("--appendfsync", "everysec").start()
    pin(redis.pid, OTHER_CORES)
    try:
        async with generator() as load:
            idle = await _idle(folder / "idle", size, chosen, redis, load) if size.idle_pairs else []
            rows = await _rows(folder / "busy", size, chosen, redis, load)
    finally:
        await redis.close()
    return Results(rows, idle, size)


async def _rows(
    folder: Path, size: Size, chosen: Sequence[Contestant], redis: RedisServer, load: Load
) -> dict[str, list[Row]]:
    comers = COMERS_PER_S // 2 if "mixed" in size.workloads else 0
    async with running(chosen, folder, redis, size.pairs + comers) as here:
        for number, contestant in enumerate(chosen):
            people = contestant.people(here[contestant.name])
            key = f"00000000-0000-4000-8{number:03x}-"
            for crowd, who in (
                (contestant.name, people[: size.pairs * 2]),
                (f"{contestant.name}, comers", people[size.pairs * 2 :]),
            ):
                if who:
                    load.crowd(crowd, who, engine_io=contestant.engine_io, key=key)
                    await load("come_in", crowd)
        rows: dict[str, list[Row]] = {}
        for workload in size.workloads:
            for contestant in chosen:
                if first := FIRST.get(workload):
                    await load(first, contestant.name)
            rows[workload] = await _workload(workload, size, chosen, here, load, rows)
    return rows


async def _workload(
    workload: str,
    size: Size,
    chosen: Sequence[Contestant],
    here: Mapping[str, Running],
    load: Load,
    rows: Mapping[str, list[Row]],
) -> list[Row]:
    found = [Row(one.name, []) for one in chosen if one.one_node or workload in MANY_NODES]
    if workload == "paced":
        found += _shares(chosen)
    jobs = [_job(workload, row, rows) for row in found]
    for job, row in zip(jobs, found, strict=True):
        await job(load, row.contestant, size.warm_s)
    for _ in range(size.rounds):
        for job, row in zip(jobs, found, strict=True):
            row.samples.append(
                await _sample(here[row.contestant], load, job(load, row.contestant, size.seconds))
            )
    return found


def _shares(chosen: Sequence[Contestant]) -> list[Row]:
    """One node that has as little to do as each of several has together: what is dear then is no work of more nodes."""
    ours = [one for one in chosen if one.name.startswith(TELEMENTOR)]
    counts = sorted({one.nodes for one in ours if not one.apart} - {1})
    return [Row(TELEMENTOR, [], share) for share in counts if TELEMENTOR in {one.name for one in ours}]


def _job(workload: str, row: Row, rows: Mapping[str, list[Row]]) -> Job:
    if workload == "half":
        whole = next(other for other in rows["saturated"] if other.contestant == row.contestant)
        return _pace(whole.told("per_s") / 2)
    return _pace(PER_S / row.share) if workload == "paced" else JOBS[workload]


def _pace(per_s: float) -> Job:
    async def pace(load: Load, name: str, seconds: float) -> dict[str, Any]:
        return await load("pace", name, what="chat", seconds=seconds, per_s=per_s)

    return pace


async def _sample(server: Running, load: Load, job: Awaitable[dict[str, Any]]) -> Sample:
    loop = asyncio.get_running_loop()
    start, costs = loop.time(), Costs(server.store, load.pid, *server.pids)
    told = await job
    store, ours, *spent = costs.cpu_s()
    each = 1e6 / max(1, told["count"])
    return Sample(
        cpu_us=sum(spent) * each,
        busiest_us=max(spent) * each,
        store_us=store * each,
        generator_us=ours * each,
        core=sum(spent) / (loop.time() - start),
        told=told,
    )


async def _idle(
    folder: Path, size: Size, chosen: Sequence[Contestant], redis: RedisServer, load: Load
) -> list[Idle]:
    """All at the same time: to be there costs little, so nobody takes another's time away."""
    chosen = [one for one in chosen if one.one_node]
    count = size.idle_pairs * 2
    async with running(chosen, folder, redis, size.idle_pairs) as here:
        memory = {name: _memory(server) for name, server in here.items()}
        for number, contestant in enumerate(chosen):
            people = contestant.people(here[contestant.name])
            key = f"00000000-0000-4000-9{number:03x}-"
            load.crowd(contestant.name, people, engine_io=contestant.engine_io, key=key)
            await load("come_in", contestant.name)
        await asyncio.sleep(min(2, size.idle_s))  # what coming in brings about
        came = {name: _memory(server) for name, server in here.items()}
        costs = {name: Costs(*server.pids) for name, server in here.items()}
        await asyncio.sleep(size.idle_s)
        spent_s = {name: sum(cost.cpu_s()) for name, cost in costs.items()}
        found = []
        for name, server in here.items():
            await load("pace", name, what="chat", seconds=size.traffic_s, per_s=PER_S)
            each = [(value - memory[name]) / count for value in (came[name], _memory(server))]
            found.append(Idle(name, *each, ms_a_second=spent_s[name] / size.idle_s / count * 1e6))
        for name in here:
            await load("leave", name)
    return found


def _memory(server: Running) -> int:
    return sum(map(rss, server.pids))
