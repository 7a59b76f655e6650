"""A primary behind Sentinels as a store.

A primary that hangs and wakes up again takes writes for seconds until its Sentinels tell it that it is none any more. A node
that went on using connections to it, beside new ones to its successor, would live in both logs at once. So it changes over
whole: the moment it learns of another primary, every connection to the old one is closed, also those in use.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool

from signaling.stores.redis_link import AWAY
from signaling.stores.store import OneStore

log = structlog.get_logger()

LOOK_EVERY_S = 0.5
"""How often a Sentinel is asked who the primary is; a failover itself takes longer."""


class PrimaryPool(SentinelConnectionPool):
    """Its connections lead to one primary at a time. `on_moved` is called when that is another one."""

    on_moved: Callable[[], None]

    async def get_master_address(self) -> Any:
        before = self.master_address
        address = await super().get_master_address()  # type: ignore[no-untyped-call]
        if before not in (None, address):
            log.warning("store has another primary")
            await self.disconnect(inuse_connections=True)
            self.on_moved()
        return address


class SentinelStore(OneStore):
    def __init__(self, redis: Redis, timeout_s: float, connections: int) -> None:
        super().__init__(redis, timeout_s, connections)
        self._pool = cast("PrimaryPool", redis.connection_pool)
        self._pool.on_moved = self._moved

    def _moved(self) -> None:
        self._shared.drop()
        self.on_moved()

    async def _where(self) -> Any:
        to = await super()._where()
        to.host, to.port = await self._pool.get_master_address()
        return to

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with contextlib.suppress(*AWAY):  # no Sentinel answers, or they know of no primary now
                await self._pool.get_master_address()

    async def aclose(self) -> None:
        await super().aclose()
        for sentinel in self._pool.sentinel_manager.sentinels:
            await sentinel.aclose()
