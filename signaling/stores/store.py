"""The store's connections, whatever it is: one Redis, the primary that Sentinels name, or a Cluster (redis_cluster.py).
Every wait is bounded and no command is ever repeated by itself.

A write is never retried blindly: after a lost reply redis-py's default (10 retries) would execute it again. Whoever
wants to know asks again with the same key (L3).
"""

from __future__ import annotations

import abc
import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from rooms.errors import Unavailable
from signaling.stores.redis_link import AWAY, Command, SharedConnection, Standing, Word, words

log = structlog.get_logger()

RETRY_MS = 1_000
"""What a client is told to wait: the embedded store is back within 5 s, a failover takes as long."""

WAIT_SHARE: Final = 0.5
"""Of the time limit of a command: what replicas get to confirm, so that their silence is not taken for the primary's."""

Result = TypeVar("Result")


def key_of(command: Command) -> str:
    """Where a command belongs: its first operand, or the first key of a script."""
    said = words(command)
    return str(said[3 if said[0] in ("EVALSHA", "EVAL") else 1])


class TooFewReplicasError(RedisError):
    """Written, but not on as many replicas as were asked for."""


def options(timeout_s: float) -> dict[str, Any]:
    """How every client of redis-py is made here: bounded waits, and no retries."""
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


class Gate:
    """So many at once; more wait for their turn, at most `timeout_s`. redis-py's pools refuse at once."""

    def __init__(self, most: int, timeout_s: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> None:
        async with asyncio.timeout(self._timeout_s if self._free.locked() else None):
            await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


async def sent(command: Awaitable[Result]) -> Result:
    """What redis-py executes. What it and the event loop make of a connection that was reset while it lay idle is one thing:
    lost."""
    task = asyncio.current_task()
    asked_to_end = task.cancelling() if task else 0
    try:
        return await command
    except RuntimeError as error:  # uvloop's word for a transport that is closed
        raise ConnectionResetError(str(error)) from error
    finally:
        # redis-py sends in `asyncio.wait_for`, which until Python 3.12 may swallow a cancellation (CPython 86296): for an
        # answer, or for the error of a store that is going away, too.
        if task and task.cancelling() > asked_to_end:
            raise asyncio.CancelledError


def unavailable(error: Exception) -> Unavailable:
    """What somebody who asked is told, whatever kept the store from answering, out of memory and disk full included. The
    outcome of a write is then unknown."""
    if isinstance(error, ResponseError):
        log.error("store refused a command", reason=str(error)[:200])
    return Unavailable(retry_ms=RETRY_MS)


async def answered(command: Awaitable[Result]) -> Result:
    """The result of a command. Raises `Unavailable`."""
    try:
        return await command
    except AWAY as error:
        raise unavailable(error) from error


class Store(abc.ABC):
    """A command goes to the primary that holds its key. `redis` is the client itself, for what only some need."""

    redis: Any
    timeout_s: float
    on_moved: Callable[[], None] = staticmethod(lambda: None)
    """Called when all of the store is somewhere else now; connections of one's own have to follow."""

    async def watch(self) -> None:  # noqa: B027 - most have nothing to watch
        """Notices what no answer says, for as long as the node runs; returns at once where every change is said."""

    @abc.abstractmethod
    def execute(self, command: Command) -> asyncio.Future[Any]:
        """Raises what redis-py raises, at once or when it is awaited."""

    @abc.abstractmethod
    async def in_turn(self, key: str, *commands: Command) -> list[Any]:
        """Executes them one after the other on one connection. A command that was refused is answered by its exception.
        Raises like `execute`."""

    @abc.abstractmethod
    async def each(self, *commands: Command) -> list[Any]:
        """The answers to commands that do not depend on each other, in one trip to each primary. The first operand of each
        is its key (of a script, the first of its keys). One that cannot be had, or was refused, is answered by an exception;
        raises `Unavailable` when no primary answers."""

    @abc.abstractmethod
    async def on_each_primary(self, *command: Word) -> list[Any]:
        """Raises `Unavailable` when one of them does not answer."""

    @abc.abstractmethod
    async def ping(self) -> None:
        """Returns when the store answers. Raises `Unavailable`."""

    @abc.abstractmethod
    async def home(self, channel: str) -> str:
        """A name for the primary that a channel belongs to. Raises `Unavailable` when there is none."""

    @abc.abstractmethod
    async def look_again(self) -> None:
        """Which primary serves what may have changed. Raises `Unavailable`."""

    @abc.abstractmethod
    async def listening(self, home: str) -> Any:
        """A connection of redis-py's, not yet connected, to a primary that `home` named: where to `dial`. Raises what
        redis-py raises, also when it has left the cluster."""

    async def run(self, *command: Word) -> Any:
        """A command whose first operand is its key. Raises `Unavailable`."""
        try:
            return await self.execute(command)
        except AWAY as error:
            raise unavailable(error) from error

    async def publish(self, channel: str, message: bytes) -> int:
        """The number of subscribers that the store handed it to (in a cluster, those of the channel's primary)."""
        heard: int = await self.run("SPUBLISH", channel, message)
        return heard

    async def aclose(self) -> None:
        await self.redis.aclose()


class OneStore(Store):
    """One Redis or Valkey. What waits for nothing but its turn goes over one connection that all share; what waits for
    replicas, over one of its own."""

    def __init__(self, redis: Redis, timeout_s: float, connections: int) -> None:
        self.redis: Redis = redis
        self.timeout_s = timeout_s
        self._gate = Gate(connections, timeout_s)
        self._shared = SharedConnection(self._where, timeout_s)

    async def _where(self) -> Any:
        """The primary, as a connection of redis-py's that is not connected."""
        return self.redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]

    def execute(self, command: Command) -> asyncio.Future[Any]:
        return self._shared.ask(command)

    async def in_turn(self, key: str, *commands: Command) -> list[Any]:
        async with self._gate, self.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*words(command))
            answers: list[Any] = await sent(pipe.execute(raise_on_error=False))
            return answers

    async def each(self, *commands: Command) -> list[Any]:
        return await answered(self._asked_all(commands))

    async def _asked_all(self, commands: Sequence[Command]) -> list[Any]:
        return await self._shared.ask_all(commands)

    async def on_each_primary(self, *command: Word) -> list[Any]:
        async with self._gate:
            return [await answered(sent(self.redis.execute_command(*command)))]  # type: ignore[no-untyped-call]

    async def ping(self) -> None:
        await self.on_each_primary("PING")

    async def home(self, channel: str) -> str:
        return ""

    async def look_again(self) -> None:
        pass

    async def listening(self, home: str) -> Any:
        return await self._where()

    async def aclose(self) -> None:
        await self._shared.aclose()
        await super().aclose()


class Script:
    """A Lua script beside this file, sent once and then called by its digest."""

    def __init__(self, store: Store, name: str, *, after: tuple[str, ...] = ()) -> None:
        """`after` names the files of functions that the script uses."""
        self.name = name
        folder = Path(__file__).parent
        self._source = "".join((folder / f"{part}.lua").read_text() for part in (*after, name))
        self.digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()
        self._store = store

    def on(self, keys: Sequence[str], *arguments: Word) -> Standing:
        """How it is called for these keys, with those of its arguments that come first and stay the same: for `__call__`."""
        return Standing("EVALSHA", self.digest, len(keys), *keys, *arguments)

    async def __call__(
        self, on: Sequence[str] | Standing, arguments: Sequence[Word], *, replicas: int = 0
    ) -> Any:
        """`on` is a list of keys, or what the method `on` has made of it.

        With `replicas` it is answered once so many have what it wrote; `Unavailable` when they have not in time. Then it
        is written and not promised: whoever asks again needs a script that writes something again, or nothing is waited
        for (WAIT counts from the last write of its own connection)."""
        command: Command = (
            (on, *arguments)
            if isinstance(on, Standing)
            else ("EVALSHA", self.digest, len(on), *on, *arguments)
        )
        try:
            try:
                return await self._once(command, replicas)
            except NoScriptError:
                # A store that was restarted has forgotten it and has executed nothing.
                return await self._once(("EVAL", self._source, *words(command)[2:]), replicas)
        except AWAY as error:
            raise unavailable(error) from error

    async def each(self, keys: Sequence[Sequence[str]], arguments: Sequence[Word]) -> list[Any]:
        """The answers for each of these lists of keys, as `Store.each` gives them; for scripts that only read."""
        if not keys:
            return []
        operands = [(len(some), *some, *arguments) for some in keys]
        answers = await self._store.each(*(("EVALSHA", self.digest, *these) for these in operands))
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = await self._store.each(*(("EVAL", self._source, *operands[number]) for number in unknown))
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        return answers

    def _once(self, command: Command, replicas: int) -> asyncio.Future[Any]:
        if replicas:
            return asyncio.ensure_future(self._replicated(command, replicas))
        return self._store.execute(command)

    async def _replicated(self, command: Command, replicas: int) -> Any:
        wait_ms = int(self._store.timeout_s * 1000 * WAIT_SHARE)
        answer, reached = await self._store.in_turn(key_of(command), command, ("WAIT", replicas, wait_ms))
        for one in (answer, reached):
            if isinstance(one, Exception):
                raise one
        if reached < replicas:
            raise TooFewReplicasError(f"{reached} of {replicas} replicas have it")
        return answer
