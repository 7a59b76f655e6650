"""The store's connections, whatever it is: one Redis, the primary that Sentinels name, or a Cluster. Every wait is bounded
and no command is ever repeated by itself.

A write is never retried blindly: after a lost reply redis-py's default (10 retries) would execute it again. Whoever
wants to know asks again with the same key (L3). A redirection of a cluster is no retry: nothing was executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError

from rooms.errors import Unavailable
from signaling.stores import store_url

log = structlog.get_logger()

RETRY_MS = 1_000
"""What a client is told to wait: the embedded store is back within 5 s, a failover takes as long."""

WAIT_SHARE: Final = 0.5
"""Of the time limit of a command: what replicas get to confirm, so that their silence is not taken for the primary's."""

Result = TypeVar("Result")
Word = str | bytes | int


class TooFewReplicasError(RedisError):
    """Written, but not on as many replicas as were asked for."""


def connect(url: str, timeout_s: float, connections: int = 64) -> Store:
    """Every command ends within about `timeout_s`. More than `connections` at once wait for a free one; behind Sentinels and
    in a cluster, where redis-py does not wait, they are `unavailable`. Raises ValueError for an address that is none."""
    address = store_url.parse(url)
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "max_connections": connections,
    }
    if address.kind == "one":
        pool = BlockingConnectionPool.from_url(url, timeout=timeout_s, **options)
        return Store(Redis(connection_pool=pool), timeout_s)
    options |= {"username": address.user, "password": address.password, "ssl": address.tls}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.places]
        # Slots that nobody serves are no reason to refuse the rooms of all others.
        return Store(RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options), timeout_s)
    limits = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    sentinels = Sentinel(address.places, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
    return Store(sentinels.master_for(address.name, db=address.database, **options), timeout_s)


async def answered(command: Awaitable[Result]) -> Result:
    """The result of a command; `Unavailable` for whatever keeps the store from answering, out of memory and disk full
    included. The outcome of a write is then unknown."""
    try:
        return await command
    except (RedisError, OSError, TimeoutError) as error:
        if isinstance(error, ResponseError):
            log.error("store refused a command", reason=str(error)[:200])
        raise Unavailable(retry_ms=RETRY_MS) from error


class Store:
    """Every method raises `Unavailable` when the store, or the part of it that is asked, is away.

    A command goes to the primary that holds its key; `redis` is the client itself, for what only some need."""

    def __init__(self, redis: Redis | RedisCluster, timeout_s: float) -> None:
        self.redis = redis
        self.timeout_s = timeout_s

    async def run(self, *command: Word) -> Any:
        return await answered(self.execute(*command))

    async def execute(self, *command: Word, **options: Any) -> Any:
        """As `run`, but raises what redis-py raises."""
        return await self.redis.execute_command(*command, **options)

    async def publish(self, channel: str, message: bytes) -> int:
        """The number of subscribers that the store handed it to (in a cluster, those of the channel's primary)."""
        heard: int = await self.run("SPUBLISH", channel, message)
        return heard

    async def each(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """The answers to commands that do not depend on each other, in one trip to each primary."""
        pipe: Any = self.redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        answers: list[Any] = await answered(pipe.execute())
        return answers

    async def ping(self) -> None:
        """Returns when some primary answers: a cluster of which one part is away still serves the rooms of all others."""
        if isinstance(self.redis, Redis):
            await self.run("PING")
        elif not any([await _pong(node) for node in await self._primaries()]):
            raise Unavailable(retry_ms=RETRY_MS)

    async def on_each_primary(self, *command: Word) -> list[Any]:
        if isinstance(self.redis, Redis):
            return [await self.run(*command)]
        return [await answered(node.execute_command(*command)) for node in await self._primaries()]

    async def aclose(self) -> None:
        await self.redis.aclose()

    async def in_turn(self, key: str, *commands: Sequence[Word]) -> list[Any]:
        """As `execute`, for several commands one after the other on one connection to the primary of `key`. A command that
        was refused is answered by its exception."""
        if isinstance(self.redis, Redis):
            async with self.redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
                return answers
        sent: list[Any] = []
        for again in (True, False):
            await self.redis.initialize()
            sent = [PipelineCommand(number, *command) for number, command in enumerate(commands)]
            await self._primary(key).execute_pipeline(sent)
            if not isinstance(sent[0].result, MovedError | exceptions.ConnectionError):
                break
            await self._look_again()
            if not (again and isinstance(sent[0].result, MovedError)):
                break
        return [one.result for one in sent]

    # Where a channel is heard

    async def home(self, channel: str) -> str:
        """A name for the primary that a channel belongs to."""
        return await answered(self._home(channel))

    async def _home(self, channel: str) -> str:
        if isinstance(self.redis, Redis):
            return ""
        await self.redis.initialize()
        return str(self._primary(channel).name)

    async def look_again(self) -> None:
        """The cluster may have changed: ask it which primary serves what."""
        await answered(self._look_again())

    async def _look_again(self) -> None:
        if isinstance(self.redis, RedisCluster):
            await self.redis.nodes_manager.initialize()

    def listening(self, home: str) -> Any:
        """A connection of redis-py's, not yet connected, to a primary that `home` named. Raises `Unavailable` when it has
        left the cluster."""
        if isinstance(self.redis, Redis):
            return self.redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        node = self.redis.get_node(node_name=home)
        if node is None:
            raise Unavailable(retry_ms=RETRY_MS)
        return node.connection_class(**{**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)})

    def _primary(self, key: str) -> Any:
        assert isinstance(self.redis, RedisCluster)
        return self.redis.get_node_from_key(key)

    async def _primaries(self) -> list[ClusterNode]:
        assert isinstance(self.redis, RedisCluster)
        await answered(self.redis.initialize())
        return self.redis.get_primaries()


async def _pong(node: ClusterNode) -> bool:
    try:
        await node.execute_command("PING")
    except (RedisError, OSError, TimeoutError):
        return False
    return True


class Script:
    """A Lua script beside this file, sent once and then called by its digest."""

    def __init__(self, store: Store, name: str, *, after: str | None = None) -> None:
        """`after` names a file of functions that the script uses."""
        folder = Path(__file__).parent
        self._source = "".join((folder / f"{part}.lua").read_text() for part in (after, name) if part)
        self._digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()
        self._store = store

    async def __call__(self, keys: Sequence[str], arguments: Sequence[Word], *, replicas: int = 0) -> Any:
        """With `replicas` it is answered once so many have what it wrote; `Unavailable` when they have not in time. Then it
        is written and not promised: whoever asks again needs a script that writes something again, or nothing is waited
        for (WAIT counts from the last write of its own connection)."""
        return await answered(self._run(keys, arguments, replicas))

    async def _run(self, keys: Sequence[str], arguments: Sequence[Word], replicas: int) -> Any:
        operands = (len(keys), *keys, *arguments)
        try:
            return await self._once(keys[0], ("EVALSHA", self._digest, *operands), replicas)
        except NoScriptError:
            # A store that was restarted has forgotten it and has executed nothing.
            return await self._once(keys[0], ("EVAL", self._source, *operands), replicas)

    async def _once(self, key: str, command: Sequence[Word], replicas: int) -> Any:
        if not replicas:
            return await self._store.execute(*command)
        wait_ms = int(self._store.timeout_s * 1000 * WAIT_SHARE)
        answer, reached = await self._store.in_turn(key, command, ("WAIT", replicas, wait_ms))
        for one in (answer, reached):
            if isinstance(one, Exception):
                raise one
        if reached < replicas:
            raise TooFewReplicasError(f"{reached} of {replicas} replicas have it")
        return answer
