"""Hearing: one connection on which this node listens to the channels of its rooms and people.

Pub/sub is a hint: what was published while the connection was down is lost. `on_restored` is called after every channel is
heard again, so that whoever relies on them compares with the log (the log is the truth).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rooms.errors import Unavailable
from signaling.stores.redis_client import RETRY_MS

log = structlog.get_logger()

PING_EVERY_S = 2.0
"""A half-open connection is noticed within twice this."""

RECONNECT_S = 0.2


class Channels:
    """Subscribe and unsubscribe; messages are handed on in the order of their arrival, to `on_message(channel, data)`,
    which must not block."""

    def __init__(
        self,
        redis: Redis,
        on_message: Callable[[str, bytes], None],
        on_restored: Callable[[], Awaitable[None]],
        timeout_s: float,
    ) -> None:
        self._redis = redis
        self._on_message = on_message
        self._on_restored = on_restored
        self._timeout_s = timeout_s
        self._wanted: set[str] = set()
        self._heard: dict[str, asyncio.Event] = {}
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen_forever(), name="channels")

    async def run(self) -> None:
        """Ends only with an error: a node that has become deaf must not go on."""
        if self._task:
            await self._task

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def subscribe(self, channel: str) -> None:
        """Returns once the store has confirmed it: whatever is published from now on is heard. Raises `Unavailable`."""
        self._wanted.add(channel)
        heard = self._heard.get(channel)
        if heard is None:
            heard = self._heard[channel] = asyncio.Event()
            await self._send("SSUBSCRIBE", channel)
        try:
            async with asyncio.timeout(self._timeout_s):
                await heard.wait()
        except TimeoutError:
            raise Unavailable(retry_ms=RETRY_MS) from None

    async def unsubscribe(self, channel: str) -> None:
        self._wanted.discard(channel)
        self._heard.pop(channel, None)
        await self._send("SUNSUBSCRIBE", channel)

    async def _send(self, *command: str) -> None:
        if self._connection is None:
            return  # all that is wanted is asked for when the connection is back
        # The listener finds a broken connection and asks again for all that is wanted.
        with contextlib.suppress(RedisError, OSError):
            await self._connection.send_command(*command)

    async def _listen_forever(self) -> None:
        first = True
        while True:
            try:
                await self._listen(first)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("channels lost", reason=type(error).__name__)
            finally:
                await self._forget()
            first = False
            await asyncio.sleep(RECONNECT_S)

    async def _forget(self) -> None:
        connection, self._connection = self._connection, None
        for heard in self._heard.values():
            heard.clear()
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _listen(self, first: bool) -> None:
        pool: Any = self._redis.connection_pool
        connection = pool.make_connection()
        await connection.connect()
        self._connection = connection
        waiting = set(self._wanted)
        for channel in waiting:
            self._heard.setdefault(channel, asyncio.Event())
            await connection.send_command("SSUBSCRIBE", channel)
        restored = first
        pinged = False
        while True:
            if not restored and not waiting:
                restored = True
                log.info("channels restored", channels=len(self._wanted))
                await self._on_restored()
            message = await connection.read_response(timeout=PING_EVERY_S, disconnect_on_error=False)
            if message is None:
                if pinged:
                    raise TimeoutError("no answer to a ping")
                pinged = True
                await connection.send_command("PING")
                continue
            pinged = False
            self._take(message, waiting)

    def _take(self, message: Any, waiting: set[str]) -> None:
        if not isinstance(message, list):
            return
        kind, channel = message[0], message[1].decode() if message[1] is not None else ""
        if kind == b"smessage":
            try:
                self._on_message(channel, message[2])
            except Exception:  # one message that nobody understands must not make the node deaf
                log.exception("message not understood")
        elif kind == b"ssubscribe":
            waiting.discard(channel)
            if channel in self._heard:
                self._heard[channel].set()
