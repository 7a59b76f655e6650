"""The store's connections: one client with bounded waits that never repeats a command by itself, and the scripts.

A write is never retried blindly: after a lost reply redis-py's default (10 retries) would execute it again. Whoever
wants to know asks again with the same key (L3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from rooms.errors import Unavailable

log = structlog.get_logger()

RETRY_MS = 1_000
"""What a client is told to wait: the embedded store is back within 5 s, a failover takes as long."""

Result = TypeVar("Result")


def connect(url: str, timeout_s: float, connections: int = 64) -> Redis:
    """A client whose every command ends within about `timeout_s`; more than `connections` at once wait for a free one."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return Redis(connection_pool=pool)


async def answered(command: Awaitable[Result]) -> Result:
    """The result of a command; `Unavailable` for whatever keeps the store from answering, out of memory and disk full
    included. The outcome of a write is then unknown."""
    try:
        return await command
    except (RedisError, OSError, TimeoutError) as error:
        if isinstance(error, ResponseError):
            log.error("store refused a command", reason=str(error)[:200])
        raise Unavailable(retry_ms=RETRY_MS) from error


def publish(redis: Redis, channel: str, message: bytes) -> Awaitable[int]:
    """The number of subscribers that the store handed it to (sharded pub/sub: in a cluster, those of the channel's slot)."""
    return cast("Awaitable[int]", redis.execute_command("SPUBLISH", channel, message))  # type: ignore[no-untyped-call]


class Script:
    """A Lua script beside this file, sent once and then called by its digest."""

    def __init__(self, redis: Redis, name: str, *, after: str | None = None) -> None:
        """`after` names a file of functions that the script uses."""
        folder = Path(__file__).parent
        source = "".join((folder / f"{part}.lua").read_text() for part in (after, name) if part)
        self._redis = redis
        self._script = redis.register_script(source)
        self._source = source

    async def __call__(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        return await answered(self._run(keys, arguments))

    async def _run(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        try:
            return await self._redis.evalsha(self._script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            # A store that was restarted has forgotten it and has executed nothing.
            return await self._redis.eval(self._source, len(keys), *keys, *arguments)
