"""Redis as operators run it, from the installed `redis-server`: one process, primary and replica with Sentinels, a Cluster.

Each server has a folder of its own and a port that stays the same over every restart. With `doors` a server tells the
others and its clients another port than its own: that of a proxy in front of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.support.condition import until
from tests.support.processes import send_signal, with_us
from tests.support.redis_servers import program

START_S = 15
LOCAL = "127.0.0.1"
SLOTS = 16_384
BUS = 10_000
"""A Cluster's nodes speak to each other on a port this much higher (cluster-port's default)."""


class Door(Protocol):
    """A proxy in front of a server."""

    @property
    def port(self) -> int:
        """Where it listens."""


PORTS = range(10_000, 20_000)
_turns = itertools.count(random.randrange(len(PORTS)))


def free_port() -> int:
    """A port that nobody listens on now and that no other server of this process was given, with a Cluster's bus port.

    Both are below those that the kernel gives to connections (32768 and up): a server that is down for a moment, or
    not yet up, does not lose them.
    """
    for _ in range(len(PORTS)):
        port = PORTS[next(_turns) % len(PORTS)]
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind((LOCAL, port))
                bus.bind((LOCAL, port + BUS))
            except OSError:
                continue
        return port
    raise OSError("every port for a store is taken")


class RedisServer:
    """One process with an append-only file that is synced before every answer."""

    def __init__(
        self,
        *more: str,
        folder: Path | None = None,
        env: Mapping[str, str] | None = None,
        engine: str = "redis",
    ) -> None:
        self.port = free_port()
        self.more = list(more)
        self.folder = folder or Path(tempfile.mkdtemp(prefix="redis-"))
        self._env = env
        self._engine = engine
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process
        return self._process.pid

    async def start(self, *, replica_of: int | None = None) -> RedisServer:
        """Start it on its files and wait until it answers; as a replica of what is behind a port of this machine."""
        assert not self.running
        replica = [] if replica_of is None else ["--replicaof", LOCAL, str(replica_of)]
        await self._spawn(
            *("--port", str(self.port), "--bind", LOCAL, "--dir", str(self.folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"),
            *(*self.more, *replica),
        )
        await self.answers()
        return self

    async def _spawn(self, *arguments: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*with_us(), program(self._engine), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,
            )

    async def answers(self) -> None:
        """Wait until it serves: its files are loaded then."""

        async def ping() -> bool:
            if not self.running:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            try:
                async with self.client() as redis:
                    return bool(await redis.ping())
            except (RedisError, OSError):
                return False

        await until(ping, f"the Redis on port {self.port}", timeout_s=START_S)

    @asynccontextmanager
    async def client(self) -> Any:
        """A connection straight to it."""
        retry = Retry(NoBackoff(), 0)
        async with Redis(
            port=self.port, protocol=2, retry=retry, socket_timeout=2, decode_responses=True
        ) as one:
            yield one

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        send_signal(self.pid, number)

    async def kill(self) -> None:
        """`kill -9`."""
        assert self._process
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def close(self) -> None:
        """End it, and remove its files."""
        if self.running:
            await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinel(RedisServer):
    """One Sentinel that watches `mymaster`."""

    def __init__(self, primary: Door, quorum: int, down_ms: int) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind {LOCAL}\ndir {self.folder}\n"
            f"sentinel monitor mymaster {LOCAL} {primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds mymaster {down_ms}\n"
            "sentinel failover-timeout mymaster 3000\nsentinel parallel-syncs mymaster 1\n"
        )

    async def start(self) -> Sentinel:
        """Start it on its configuration, which it rewrites."""
        await self._spawn(str(self.folder / "sentinel.conf"), "--sentinel")
        await self.answers()
        return self


class Replicated:
    """A primary, a replica, and Sentinels that make the replica the primary when the primary is silent."""

    DOWN_MS = 1_000

    def __init__(
        self, servers: Sequence[RedisServer], doors: Sequence[Door] | None = None, sentinels: int = 3
    ):
        self.servers = list(servers)
        self.doors: Sequence[Door] = doors or self.servers
        self._count = sentinels
        self.sentinels: list[Sentinel] = []

    @property
    def url(self) -> str:
        """What the server's `redis` setting says."""
        return f"redis+sentinel://{','.join(f'{LOCAL}:{one.port}' for one in self.sentinels)}/mymaster"

    async def start(self) -> Replicated:
        """The first server is the primary; done when the replica follows it and every Sentinel knows of it."""
        first = self.doors[0]
        for server, door in zip(self.servers, self.doors, strict=True):
            server.more += ["--replica-announce-ip", LOCAL, "--replica-announce-port", str(door.port)]
            await server.start()
            if door is not first:
                async with server.client() as redis:
                    await redis.replicaof(LOCAL, first.port)
        quorum = self._count // 2 + 1
        self.sentinels = [Sentinel(first, quorum, self.DOWN_MS) for _ in range(self._count)]
        for sentinel in self.sentinels:
            await sentinel.start()
        await self.healthy()
        return self

    async def healthy(self) -> None:
        """Every replica follows the primary, and every Sentinel knows of all."""

        async def all_well() -> bool:
            return all([await self._knows(sentinel) for sentinel in self.sentinels])

        await until(all_well, "a primary with its replicas, known to every Sentinel", timeout_s=40)

    async def _knows(self, sentinel: Sentinel) -> bool:
        async with sentinel.client() as redis:
            replicas = await redis.sentinel_slaves("mymaster")
            others = await redis.sentinel_sentinels("mymaster")
        well = [one for one in replicas if one["flags"] == "slave" and one["master-link-status"] == "ok"]
        if len(well) != len(self.servers) - 1 or len(others) != len(self.sentinels) - 1:
            return False
        primary = await self.primary()
        async with primary.client() as redis:
            told = await redis.info("replication")
        return bool(told["role"] == "master" and told["connected_slaves"] == len(self.servers) - 1)

    async def primary(self) -> RedisServer:
        """The server that the Sentinels name."""
        async with self.sentinels[0].client() as redis:
            _, port = await redis.sentinel_get_master_addr_by_name("mymaster")
        return next(
            server for server, door in zip(self.servers, self.doors, strict=True) if door.port == int(port)
        )

    async def failed_over(self, old: RedisServer) -> None:
        """Wait until another server than `old` is the primary for every Sentinel, and says so."""

        async def other() -> bool:
            new = await self.primary()
            if new is old:
                return False
            async with new.client() as redis:
                return bool((await redis.info("replication"))["role"] == "master")

        await until(other, "a failover", timeout_s=30)

    async def close(self) -> None:
        """End all of it."""
        for one in (*self.sentinels, *self.servers):
            await one.close()


class Cluster:
    """A Redis Cluster: half of the servers are primaries, each with one replica."""

    NODE_TIMEOUT_MS = 1_500

    def __init__(self, servers: Sequence[RedisServer], doors: Sequence[Door] | None = None) -> None:
        self.servers = list(servers)
        self.doors: Sequence[Door] = doors or self.servers

    @property
    def url(self) -> str:
        """What the server's `redis` setting says."""
        return f"redis+cluster://{','.join(f'{LOCAL}:{door.port}' for door in self.doors[:3])}"

    async def start(self) -> Cluster:
        """Start, meet, deal the slots out, replicate; done when every server says that all is well."""
        for server, door in zip(self.servers, self.doors, strict=True):
            server.more += ["--cluster-enabled", "yes", "--cluster-node-timeout", str(self.NODE_TIMEOUT_MS)]
            server.more += ["--cluster-announce-ip", LOCAL, "--cluster-announce-port", str(door.port)]
            server.more += ["--cluster-announce-bus-port", str(server.port + BUS)]
            server.more += ["--cluster-require-full-coverage", "no"]
            await server.start()
        first, half = self.servers[0], len(self.servers) // 2
        for number, server in enumerate(self.servers, start=1):
            # As redis-cli does: equal epochs are settled by the nodes later, and a replica that missed it is never elected.
            await self._run(server, "CLUSTER SET-CONFIG-EPOCH", number)
        for server in self.servers[1:]:
            await self._run(server, "CLUSTER MEET", LOCAL, first.port, first.port + BUS)
        for number, server in enumerate(self.servers[:half]):
            bounds = (SLOTS * number // half, SLOTS * (number + 1) // half - 1)
            await self._run(server, "CLUSTER ADDSLOTSRANGE", *bounds)
        await until(self._all_met, "the servers of the Cluster to meet", timeout_s=START_S)
        for replica, primary in zip(self.servers[half:], self.servers[:half], strict=True):
            await self._run(replica, "CLUSTER REPLICATE", await self._run(primary, "CLUSTER MYID"))
        await self.healthy()
        return self

    async def healthy(self) -> None:
        """All slots are served, and every primary has its replica."""

        async def all_well() -> bool:
            if not await self._all_met():
                return False
            primaries = await self.primaries()
            return len(primaries) == len(self.servers) // 2 and all(primaries.values())

        await until(all_well, "a Cluster that is well", timeout_s=40)

    async def _all_met(self) -> bool:
        for server in self.servers:
            info = await self._told(server)
            if info.get("cluster_state") != "ok" or info.get("cluster_known_nodes") != str(len(self.servers)):
                return False
        return True

    async def _told(self, server: RedisServer) -> dict[str, str]:
        try:
            answer: Any = await self._run(server, "CLUSTER INFO")
        except (RedisError, OSError):
            return {}
        if isinstance(answer, dict):
            return answer
        return dict(line.split(":", 1) for line in answer.split("\r\n") if ":" in line)

    async def primaries(self) -> dict[int, int]:
        """The servers (their places) that are primaries, and how many replicas each has in step."""
        found: dict[int, int] = {}
        for place, server in enumerate(self.servers):
            if not server.running:
                continue
            async with server.client() as redis:
                told = await redis.info("replication")
            if told["role"] == "master":
                online = [told.get(f"slave{n}", {}) for n in range(told["connected_slaves"])]
                found[place] = sum(one.get("state") == "online" for one in online)
        return found

    async def _run(self, server: RedisServer, *command: Any) -> Any:
        async with server.client() as redis:
            return await redis.execute_command(*command)

    async def close(self) -> None:
        """End all of it."""
        for server in self.servers:
            await server.close()


@contextmanager
def clustered() -> Iterator[str]:
    """The URL of a Cluster of three primaries, for tests that are no coroutine or of another event loop."""
    with asyncio.Runner() as runner:
        cluster = Cluster([RedisServer() for _ in range(6)])
        try:
            runner.run(cluster.start())
            yield cluster.url
        finally:
            runner.run(cluster.close())
