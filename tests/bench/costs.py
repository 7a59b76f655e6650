"""What processes and a Redis spend in a window of time."""

from __future__ import annotations

from typing import Any

import psutil

from tests.support.redis_topologies import RedisServer


class Costs:
    """CPU seconds of some processes since it was made."""

    def __init__(self, *pids: int) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = [self._cpu_s(process) for process in self._processes]

    @staticmethod
    def _cpu_s(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    def cpu_s(self) -> list[float]:
        """Of each process."""
        pairs = zip(self._processes, self._before, strict=True)
        return [self._cpu_s(process) - before for process, before in pairs]


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
