"""The same load on one, two and four nodes: what a message costs each of them, and the Redis behind them.

A fixed number of messages a second, so that more nodes have less to do each. Beside it the same load on a bare
python-socketio with its AsyncRedisManager, which is what one would take otherwise.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from tests.bench.costs import Costs, RedisCounts
from tests.bench.load import Talker, at_pace
from tests.bench.page import Say, delays, table
from tests.bench.stock_server import stock
from tests.bench.town import Town, fresh_folder, town

PAIRS = 40
PER_S = 200
"""Messages a second over all rooms."""

TEXT_BYTES = 100
SDP_BYTES = 2_000
WARM_S = 1.0
IDLE_S = 3.0
ROUNDS = 3
"""Windows of each row; the median counts, so that what a neighbour on the machine did in one of them does not."""

SHAPES = ((1, False), (2, False), (4, False), (2, True), (4, True))
"""How many nodes, and whether the two of a room are on different ones: what a balancer that knows no rooms does."""

HEADINGS = (
    *("nodes", "the two of a room", "busiest node", "all nodes", "× one node", "Redis"),
    *(
        "Redis: commands",
        "bytes in",
        "bytes out",
        "idle: all nodes, ms/s",
        "ack p50 / p99 ms",
        "heard p50 / p99 ms",
    ),
)

Act = Callable[[int], Awaitable[None]]


class Window(Struct):
    """CPU milliseconds of one message."""

    busiest: float
    nodes: float
    redis: float


class Row(Struct):
    """A shape, measured. `idle`: CPU milliseconds a second of all nodes while nobody says anything."""

    count: int
    apart: bool
    cpu: Window
    idle: float
    counts: dict[str, float]
    acked_s: list[float]
    heard_s: list[float]
    sizes: dict[str, int]

    def cells(self, one_node: float) -> list[str]:
        """As HEADINGS say."""
        names = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")
        commands, came, went = (self.counts[name] for name in names)
        return [
            *(str(self.count), "apart" if self.apart else "together", f"{self.cpu.busiest:.2f}"),
            *(f"{self.cpu.nodes:.2f}", f"{self.cpu.nodes / one_node:.1f}", f"{self.cpu.redis:.2f}"),
            *(f"{commands:.1f}", f"{came:.0f}", f"{went:.0f}", f"{self.idle:.0f}"),
            *(delays(self.acked_s), delays(self.heard_s)),
        ]


async def measure(folder: Path, seconds: float, say: Say) -> None:
    """Chat and signals on our nodes, chat on the stock ones."""
    say(
        f"\n## From one node to four\n\n{PER_S} messages a second in all, {PAIRS} pairs, both connected. CPU milliseconds"
        f" per message, median of {ROUNDS} windows; `idle` is included in them. Redis syncs its file before every answer."
    )
    for title, signals in (
        (f"Chat messages of {TEXT_BYTES} bytes", False),
        (f"Call signals of {SDP_BYTES:,} bytes", True),
    ):
        rows = [await _row(town(folder, count, PAIRS), seconds, apart, signals) for count, apart in SHAPES]
        say(f"\n### {title}\n\n{_told(rows)}")
    rows = [await _row(_stock_town(folder, count), seconds, apart, signals=False) for count, apart in SHAPES]
    say(
        "\n### The same chat through a bare python-socketio with AsyncRedisManager\n\nNo log-in, no log, no order, no"
        f" durability, no presence: a room's broadcast and an ack.\n\n{_told(rows)}"
    )


def _told(rows: list[Row]) -> str:
    sizes = rows[0].sizes
    pushed = sizes.get("log") or sizes.get("call.signal")
    wire = f"Packets: request {sizes['request']} bytes, ack {sizes['ack']}, push {pushed}."
    return f"{table(HEADINGS, [row.cells(rows[0].cpu.nodes) for row in rows])}\n\n{wire}"


@asynccontextmanager
async def _stock_town(folder: Path, count: int) -> AsyncIterator[Town]:
    async with stock(fresh_folder(folder), count, PAIRS) as (redis, addresses, pids, pairs):
        yield Town(redis, addresses, pids, pairs)


async def _row(place: AbstractAsyncContextManager[Town], seconds: float, apart: bool, signals: bool) -> Row:
    async with place as here:
        inside = await here.come_in(apart=apart, call=signals)
        talkers = [talker for two in inside for talker in two]
        act = _speaker(inside, signals)
        await asyncio.sleep(WARM_S)  # what coming in brings about
        resting = Costs(*here.pids)
        await asyncio.sleep(IDLE_S)
        idle = sum(resting.cpu_s()) / IDLE_S * 1000
        await at_pace(PER_S, WARM_S, act)
        for talker in talkers:
            talker.acked_s, talker.heard_s = [], []
        assert here.redis
        counts, sent, windows = await RedisCounts(here.redis).start(), 0, []
        for _ in range(ROUNDS):
            window, many = await _window(here, seconds / ROUNDS, act)
            windows.append(window)
            sent += many
        spent = await counts.spent()
        refused = sum(talker.refused for talker in talkers)
        assert not refused, f"{refused} messages were refused: this measures nothing"
        await asyncio.gather(*(talker.leave() for talker in talkers))
    return Row(
        count=len(here.pids),
        apart=apart,
        cpu=Window(*(statistics.median(column) for column in zip(*map(_figures, windows), strict=True))),
        idle=idle,
        counts={name: value / sent for name, value in spent.items()},
        acked_s=[value for talker in talkers for value in talker.acked_s],
        heard_s=[value for talker in talkers for value in talker.heard_s],
        sizes={name: size for talker in talkers for name, size in talker.sizes.items()},
    )


def _figures(window: Window) -> tuple[float, float, float]:
    return window.busiest, window.nodes, window.redis


def _speaker(inside: list[tuple[Talker, Talker]], signals: bool) -> Act:
    """Room after room, and in each the one and the other in turn."""

    async def act(number: int) -> None:
        one, other = inside[number % len(inside)][:: -1 if number // len(inside) % 2 else 1]
        await (one.signal(other, SDP_BYTES) if signals else one.say(TEXT_BYTES))

    return act


async def _window(here: Town, seconds: float, act: Act) -> tuple[Window, int]:
    assert here.redis
    nodes, redis = Costs(*here.pids), Costs(here.redis.pid)
    sent = await at_pace(PER_S, seconds, act)
    spent = [cpu_s / sent * 1000 for cpu_s in nodes.cpu_s()]
    return Window(max(spent), sum(spent), redis.cpu_s()[0] / sent * 1000), sent
