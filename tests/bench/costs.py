"""What processes and a Redis spend in a window of time."""

from __future__ import annotations

import time
from typing import Any

import psutil

from tests.support.redis_topologies import RedisServer


class Costs:
    """CPU seconds of some processes since it was made."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._before = [cpu_s(pid) for pid in pids]

    def cpu_s(self) -> list[float]:
        """Of each process."""
        return [cpu_s(pid) - before for pid, before in zip(self._pids, self._before, strict=True)]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and all its threads: utime + stime of /proc/PID/stat, but in nanoseconds instead of ticks of
    10 ms (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def rss(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    return int(psutil.Process(pid).memory_info().rss)


class RedisCounts:
    """What a Redis has counted since `start`, as INFO says it."""

    NAMES = (
        "total_commands_processed",
        "total_net_input_bytes",
        "total_net_output_bytes",
        "aof_current_size",
    )

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._before: dict[str, int] = {}

    async def start(self) -> RedisCounts:
        """From now on."""
        self._before = await self._now()
        return self

    async def spent(self) -> dict[str, int]:
        """By INFO's own names. Commands inside of scripts are counted, too."""
        return {name: count - self._before[name] for name, count in (await self._now()).items()}

    async def _now(self) -> dict[str, int]:
        async with self._server.client() as redis:
            told: dict[str, Any] = await redis.info()
        return {name: told[name] for name in self.NAMES}
