"""Where a fault run is played: nodes with their store, proxies between them, and the faults that each stage knows."""

from __future__ import annotations

import abc
import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import ClassVar

from tests.faults.history import Promise
from tests.faults.proxy import Link, Proxy
from tests.faults.reader import read_log
from tests.support.clock import Clock
from tests.support.condition import until
from tests.support.disk import Disk
from tests.support.people import Pair
from tests.support.processes import family, send_signal
from tests.support.redis_topologies import Cluster, RedisServer, Replicated
from tests.support.server import Server

Fault = Callable[[], Awaitable[None]]

LEASE_MS = 1_500
HALF_OPEN_S = (0.5, 4.0)
STALLED_S = (0.2, 3.0)
CLOCK_BACK_S = 7_200

LOST_REPLIES = ("resume", "page", "connect", "disconnect", "beat", "HVALS", "SSUBSCRIBE", "SPUBLISH")
"""The store's scripts, and the other commands that a node sends: between their effect and its knowing of it."""

LOST_WHILE_TALKING = ("write", "newest", "read")
"""The same, of scripts that run all the time. (When clients come, `write` is about their presence.)"""

LAST_LINES = 15
"""Of each log, told when a run breaks off."""

NOTHING_S = 10.0
"""How long a fault that waits for a command waits for it."""


class FaultyServer(Server):
    """A server whose clock can be set."""

    def __init__(self, folder: Path, settings: Mapping[str, str], clock: Clock) -> None:
        super().__init__(folder, settings, program=clock.program)

    async def kill(self) -> None:
        await super().kill()
        Clock.forget(self.pid)


class Node:
    """A server, its clock, and the door its clients come through."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        self.clock = Clock(folder / "clock")
        self.server = FaultyServer(folder, settings, self.clock)
        self.door: Proxy

    @property
    def url(self) -> str:
        """Where its clients connect."""
        return f"http://127.0.0.1:{self.door.port}"

    def seen(self) -> list[str]:
        """Its processes, and the ends of the logs."""
        server, store_log = self.server, self.server.data / "valkey.log"
        store_said = store_log.read_text(errors="replace") if store_log.exists() else ""
        processes = family(server.pid) if server.running else ["it does not run"]
        return [*processes, *server.log.splitlines()[-LAST_LINES:], *store_said.splitlines()[-LAST_LINES:]]


class Stage(abc.ABC):
    """`chance` decides what the faults of this stage leave open. A fault ends when all is running again."""

    name: ClassVar[str]
    promise: ClassVar[Promise] = Promise.KEPT

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.nodes: list[Node] = []
        self.pairs: list[Pair] = []
        """Who talks here."""
        self.failovers = 0
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Everything runs, or nothing does."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    def seen(self) -> list[str]:
        """What the nodes are at now, and the last that they and their stores said: for a run that breaks off."""
        return [line for number, node in enumerate(self.nodes) for line in (f"node {number}:", *node.seen())]

    async def close(self) -> None:
        """End all of it."""
        await self._stack.aclose()

    @abc.abstractmethod
    async def _start(self) -> None: ...

    async def _open_node(self, **settings: str) -> Node:
        common = {"NODE_LEASE_MS": str(LEASE_MS), "DRAIN_S": "1", "CHAT_PER_S": "500", "CHAT_BURST": "5000"}
        named = {f"TELEMENTOR_{name}": value for name, value in {**common, **settings}.items()}
        node = Node(self.folder / f"node{len(self.nodes)}", named)
        self._stack.push_async_callback(node.server.close)
        await node.server.start()
        node.door = await Proxy(("127.0.0.1", int(node.server.url.rsplit(":", 1)[1]))).start()
        self._stack.push_async_callback(node.door.stop)
        self.nodes.append(node)
        return node

    def faults(self) -> dict[str, Fault]:
        """What can happen on every stage."""
        return {
            "node killed": self.node_killed,
            "node drained and restarted": self.node_drained,
            "node stalled past its lease": self.node_stalled,
            "clock of a node set back": self.clock_set_back,
            "clients cut": self.clients_cut,
            "clients half-open": self.clients_half_open,
        }

    def a_node(self) -> Node:
        return self.chance.choice(self.nodes)

    async def node_killed(self) -> None:
        await self.a_node().server.restart()

    async def node_drained(self) -> None:
        node = self.a_node()
        await node.server.terminate()
        await node.server.start()

    async def node_stalled(self) -> None:
        node = self.a_node()
        await stalled(node.server.pid, LEASE_MS / 1000 + self.chance.uniform(0.5, 2.0))

    async def clock_set_back(self) -> None:
        node = self.a_node()
        node.clock.set_back(CLOCK_BACK_S)
        await asyncio.sleep(self.chance.uniform(1.0, 3.0))
        node.clock.set_back(0)

    async def clients_cut(self) -> None:
        self.a_node().door.cut()

    async def clients_half_open(self) -> None:
        await half_open(self.a_node().door, self.chance)


async def stalled(pid: int, seconds: float) -> None:
    """SIGSTOP, and SIGCONT that much later."""
    send_signal(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        send_signal(pid, signal.SIGCONT)


async def half_open(door: Proxy, chance: random.Random) -> None:
    """Some of the connections take bytes and hand none on; later they are cut, or go on after all."""
    chosen = {link for link in door.links if chance.random() < 0.7}
    door.stall(chosen.__contains__)
    await asyncio.sleep(chance.uniform(*HALF_OPEN_S))
    if chance.random() < 0.5:
        door.cut(chosen.__contains__)
    door.flow()


class Embedded(Stage):
    """One node with the store that comes with it."""

    name = "embedded"

    async def _start(self) -> None:
        self._disk = Disk(self.folder / "node0" / "data")
        self._stack.callback(self._disk.close)
        await self._open_node()

    def faults(self) -> dict[str, Fault]:
        return {
            **super().faults(),
            "store killed": self.store_killed,
            "node and store killed": self.both_killed,
            "store stalled": self.store_stalled,
            "disk full": self.disk_full,
        }

    @property
    def server(self) -> Server:
        return self.nodes[0].server

    async def store_killed(self) -> None:
        before = self.server.stores()
        self.server.signal_store(signal.SIGKILL)
        await until(lambda: set(self.server.stores()) - set(before), "another store")

    async def both_killed(self) -> None:
        self.server.signal_store(signal.SIGKILL)
        await self.server.restart()

    async def store_stalled(self) -> None:
        await stalled(self.server.stores()[0], self.chance.uniform(*STALLED_S))

    async def disk_full(self) -> None:
        before = self.server.stores()
        self._disk.fill(before[0])
        try:
            await until(lambda: before[0] not in self.server.stores(), "the store's end on a full disk")
        finally:
            self._disk.free()


class Shared(Stage):
    """Two nodes and one database; the store is somewhere else, behind doors."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.doors: list[Proxy] = []

    async def _open_nodes(self, url: str, **settings: str) -> None:
        shared = {"REDIS": url, "DATABASE": f"sqlite:///{self.folder / 'shared.db'}", **settings}
        for _ in range(2):
            await self._open_node(**shared)

    async def _open_door(self, server: RedisServer) -> Proxy:
        door = await Proxy(("127.0.0.1", server.port), reads_resp=True).start()
        self._stack.push_async_callback(door.stop)
        self.doors.append(door)
        return door

    def faults(self) -> dict[str, Fault]:
        lost = {f"lost reply: {command}": self._losing(command) for command in LOST_WHILE_TALKING}
        lost |= {f"lost reply: {command}": self._losing(command, anew=True) for command in LOST_REPLIES}
        return {
            **super().faults(),
            **lost,
            "store cut off": self.store_cut,
            "store half-open": self.store_half_open,
            "store slow": self.store_slow,
        }

    def a_door(self) -> Proxy:
        return self.chance.choice(self.doors)

    async def store_cut(self) -> None:
        self.a_door().cut()

    async def store_half_open(self) -> None:
        await half_open(self.a_door(), self.chance)

    async def store_slow(self) -> None:
        door = self.a_door()
        door.delay_s = self.chance.uniform(0.02, 0.2)
        await asyncio.sleep(self.chance.uniform(0.5, 2.0))
        door.delay_s = 0.0

    def _losing(self, command: str, *, anew: bool = False) -> Fault:
        """With `anew` all clients come anew and somebody reads a whole log: what is asked at a beginning is asked."""

        async def lose() -> None:
            armed = [door.lose_reply(command) for door in self.doors]
            if anew:
                for node in self.nodes:
                    node.door.cut()
            reading = asyncio.create_task(self._read() if anew else asyncio.sleep(0))
            await asyncio.wait(armed, timeout=NOTHING_S, return_when=asyncio.FIRST_COMPLETED)
            for door in self.doors:
                door.lose_nothing()
            await reading
            if not any(future.done() for future in armed):
                raise NothingHappenedError(f"no {command} was sent")

        return lose

    async def _read(self) -> None:
        await read_log(self.a_node().url, self.chance.choice(self.pairs))


class NothingHappenedError(Exception):
    """A fault found nothing to happen to; it is not counted."""


class Single(Shared):
    """Two nodes on one Redis."""

    name = "single"

    async def _start(self) -> None:
        self._disk = Disk(self.folder / "redis")
        self._stack.callback(self._disk.close)
        self.store = RedisServer(folder=self._disk.folder)
        self._stack.push_async_callback(self.store.close)
        await self.store.start()
        door = await self._open_door(self.store)
        await self._open_nodes(f"redis://127.0.0.1:{door.port}")

    def faults(self) -> dict[str, Fault]:
        return {
            **super().faults(),
            "store killed": self.store_killed,
            "node and store killed": self.both_killed,
            "store stalled": self.store_stalled,
            "disk full": self.disk_full,
        }

    async def store_killed(self) -> None:
        await self.store.kill()
        await self.store.start()

    async def both_killed(self) -> None:
        node = self.a_node()
        await self.store.kill()
        await node.server.kill()
        await self.store.start()
        await node.server.start()

    async def store_stalled(self) -> None:
        await stalled(self.store.pid, self.chance.uniform(*STALLED_S))

    async def disk_full(self) -> None:
        """Redis ends itself when it cannot keep `appendfsync always`; a supervisor starts it again."""
        self._disk.fill(self.store.pid)
        try:
            await until(lambda: not self.store.running, "the store's end on a full disk")
        finally:
            self._disk.free()
        await self.store.start()


@asynccontextmanager
async def replicas_cut_off(door: Proxy, chance: random.Random) -> AsyncIterator[None]:
    """The replicas hear nothing more, while some messages are acknowledged."""
    door.stall(replicates)
    await asyncio.sleep(chance.uniform(0.05, 0.8))
    door.refuses = replicates
    door.cut(replicates)
    door.flow()
    try:
        yield
    finally:
        door.refuses = None


def replicates(link: Link) -> bool:
    """Whether a replica follows its primary here."""
    return link.replicates


class WithSentinels(Shared):
    """Two nodes on a primary with a replica, watched by three Sentinels."""

    name = "sentinel"
    promise = Promise.HEALED
    replicas = 0

    async def _start(self) -> None:
        servers = [RedisServer() for _ in range(2)]
        for server in servers:
            await self._open_door(server)
        self.redis = Replicated(servers, self.doors)
        self._stack.push_async_callback(self.redis.close)
        await self.redis.start()
        settings = {"REPLICAS": str(self.replicas)} if self.replicas else {}
        await self._open_nodes(self.redis.url, **settings)

    def faults(self) -> dict[str, Fault]:
        return {
            **super().faults(),
            "primary killed": self.primary_killed,
            "primary killed, its tail rolled back": self.tail_rolled_back,
            "primary stalled": self.primary_stalled,
            "replica killed": self.replica_killed,
            "a Sentinel killed": self.sentinel_killed,
        }

    def _replica_of(self, primary: RedisServer) -> RedisServer:
        return next(server for server in self.redis.servers if server is not primary)

    def _door_of(self, server: RedisServer) -> Proxy:
        return self.doors[self.redis.servers.index(server)]

    async def primary_killed(self) -> None:
        await self._fail_over(await self.redis.primary())

    async def tail_rolled_back(self) -> None:
        """The replica hears nothing more; some messages are acknowledged; then the primary dies."""
        primary = await self.redis.primary()
        async with replicas_cut_off(self._door_of(primary), self.chance):
            await self._fail_over(primary)

    async def _fail_over(self, primary: RedisServer) -> None:
        await primary.kill()
        await self.redis.failed_over(primary)
        self.failovers += 1
        self._door_of(primary).refuses = None
        await primary.start(replica_of=self._door_of(self._replica_of(primary)).port)
        await self.redis.healthy()

    async def primary_stalled(self) -> None:
        """Longer than the Sentinels wait: it comes back as a second primary, until they tell it otherwise."""
        primary = await self.redis.primary()
        primary.signal(signal.SIGSTOP)
        try:
            await self.redis.failed_over(primary)
            self.failovers += 1
        finally:
            primary.signal(signal.SIGCONT)
        await self.redis.healthy()

    async def replica_killed(self) -> None:
        primary = await self.redis.primary()
        replica = self._replica_of(primary)
        await replica.kill()
        await replica.start(replica_of=self._door_of(primary).port)
        await self.redis.healthy()

    async def sentinel_killed(self) -> None:
        sentinel = self.chance.choice(self.redis.sentinels)
        await sentinel.kill()
        await sentinel.start()


class WithReplicas(WithSentinels):
    """The same, and a write is acknowledged only when the replica has it."""

    name = "replicated"
    promise = Promise.REPLICATED
    replicas = 1


class InCluster(Shared):
    """Two nodes on a Redis Cluster of three primaries with a replica each."""

    name = "cluster"
    promise = Promise.HEALED

    async def _start(self) -> None:
        servers = [RedisServer() for _ in range(6)]
        for server in servers:
            await self._open_door(server)
        self.redis = Cluster(servers, self.doors)
        self._stack.push_async_callback(self.redis.close)
        await self.redis.start()
        await self._open_nodes(self.redis.url)

    def faults(self) -> dict[str, Fault]:
        return {
            **super().faults(),
            "primary killed": self.primary_killed,
            "primary killed, its tail rolled back": self.tail_rolled_back,
            "replica killed": self.replica_killed,
        }

    async def _a_primary(self) -> int:
        return self.chance.choice(sorted(await self.redis.primaries()))

    async def primary_killed(self) -> None:
        await self._fail_over(await self._a_primary())

    async def tail_rolled_back(self) -> None:
        """The replica hears nothing more; some messages are acknowledged; then the primary dies."""
        place = await self._a_primary()
        async with replicas_cut_off(self.doors[place], self.chance):
            await self._fail_over(place)

    async def _fail_over(self, place: int) -> None:
        before = set(await self.redis.primaries())
        await self.redis.servers[place].kill()

        async def another() -> bool:
            now = set(await self.redis.primaries())
            return len(now) == len(before) and place not in now

        await until(another, "a failover", timeout_s=30)
        self.failovers += 1
        self.doors[place].refuses = None
        await self.redis.servers[place].start()
        await self.redis.healthy()

    async def replica_killed(self) -> None:
        primaries = await self.redis.primaries()
        replicas = [place for place in range(len(self.redis.servers)) if place not in primaries]
        server = self.redis.servers[self.chance.choice(replicas)]
        await server.kill()
        await server.start()
        await self.redis.healthy()


STAGES: dict[str, type[Stage]] = {
    stage.name: stage for stage in (Embedded, Single, WithSentinels, WithReplicas, InCluster)
}
