"""The servers that are put side by side, and people who come to them."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from signaling.stores.directory import Directory, Named
from tests.bench.cores import OTHER_CORES, SERVER_CORE, pin
from tests.support.condition import until
from tests.support.needs import needs_program
from tests.support.people import Pair, Person, fresh_email
from tests.support.processes import with_us
from tests.support.redis_topologies import RedisServer
from tests.support.server import LISTENING, START_S, Server, environment

RIVALS = Path(__file__).parent / "rivals"
SECRET = "the rivals' own"
TOKEN_S = 3_600

SETTINGS = {
    "TELEMENTOR_LOG_LEVEL": "warning",
    "TELEMENTOR_CHAT_PER_S": "1000",
    "TELEMENTOR_CHAT_BURST": "10000",
    "TELEMENTOR_SIGNALS_PER_S": "10000",
    "TELEMENTOR_SIGNALS_BURST": "100000",
    "TELEMENTOR_HANDSHAKES_PER_S": "100000",
    "TELEMENTOR_HANDSHAKES_BURST": "1000000",
    "TELEMENTOR_SOCKETS_MAX": "100000",
}
"""Nobody is refused for talking much, or for coming together from one address: what is measured is what each costs. The
rates are counted all the same."""


class Running(Struct):
    """`pids` are those of the nodes; `store` is that of the Redis or Valkey behind them."""

    urls: list[str]
    pids: list[int]
    store: int
    pairs: list[Pair]


Start = Callable[[Path, RedisServer, int], AbstractAsyncContextManager[Running]]
"""A server with a folder of its own, on the Redis of all (or its own), and so many pairs who may come."""


class Contestant(Struct, frozen=True):
    """`start` makes it run. `apart`: the two of a room are on different nodes, as a balancer that knows no rooms does it.
    `nodes`: how many processes it is."""

    name: str
    start: Start
    engine_io: bool = True
    apart: bool = False
    nodes: int = 1

    @property
    def one_node(self) -> bool:
        return self.nodes == 1

    def people(self, running: Running) -> list[dict[str, str]]:
        """As the load generator takes them."""
        told = []
        for number, pair in enumerate(running.pairs):
            for seat, person in enumerate((pair.mentor, pair.mentee)):
                url = running.urls[(number + seat * self.apart) % len(running.urls)]
                device = str(uuid.uuid4())
                told.append({"url": url, "room": pair.room, "token": person.token, "device": device})
        return told


# Telementor


_settling = asyncio.Lock()
"""Alembic makes one database at a time."""


async def settle(database: str, count: int) -> list[Pair]:
    """So many new pairs, with access tokens."""
    async with _settling:
        directory = await Directory.open(database, lambda: time.time_ns() // 1_000_000)
        try:
            return [await _pair(directory, number) for number in range(count)]
        finally:
            await directory.close()


async def _pair(directory: Directory, number: int) -> Pair:
    named = [Named(f"{role.title()} {number}", fresh_email(role)) for role in ("mentor", "mentee")]
    added = await directory.add_pair(*named)
    two = [
        Person(one.name, one.email, one.id, await directory.credentials.new_token(one.id, TOKEN_S), link="")
        for one in (added.mentor, added.mentee)
    ]
    return Pair(added.slug, "", *two)


def telementor(nodes: int = 1) -> Start:
    """So many nodes on the Redis of all, and one SQLite file."""

    @asynccontextmanager
    async def start(folder: Path, redis: RedisServer, pairs: int) -> AsyncIterator[Running]:
        database = f"sqlite:///{folder / 'shared.db'}"
        settings = {
            **SETTINGS,
            "TELEMENTOR_REDIS": f"redis://127.0.0.1:{redis.port}/{_database(folder)}",
            "TELEMENTOR_DATABASE": database,
        }
        people = await settle(database, pairs)
        async with AsyncExitStack() as stack:
            servers = []
            for number in range(nodes):
                place = folder / f"node{number}"
                place.mkdir()
                servers.append(Server(place, settings))
                stack.push_async_callback(servers[-1].close)
            await asyncio.gather(*(server.start() for server in servers))
            for server in servers:
                pin(server.pid, SERVER_CORE)
            urls, pids = [server.url for server in servers], [server.pid for server in servers]
            yield Running(urls, pids, redis.pid, people)

    return start


def _database(folder: Path) -> int:
    """Of the Redis of all: each town of nodes has one of its own."""
    return int(folder.name) % 16


@asynccontextmanager
async def telementor_alone(folder: Path, redis: RedisServer, pairs: int) -> AsyncIterator[Running]:
    """One node with its own Valkey, as `telementor serve` is without any settings."""
    del redis
    server = Server(folder, SETTINGS)
    try:
        await server.start()
        (store,) = server.stores()
        pin(server.pid, SERVER_CORE)
        pin(store, OTHER_CORES)
        people = await settle(f"sqlite:///{server.data / 'telementor.db'}", pairs)
        yield Running([server.url], [server.pid], store, people)
    finally:
        await server.close()


# The others


def rival(script: str, *options: str, nodes: int = 1) -> Start:
    """So many processes of one of the servers in `rivals/`."""
    return _processes(nodes, lambda redis: [_node(), str(RIVALS / script), redis, *options])


@functools.cache
def _node() -> str:
    """The program itself: what lies beside our Python starts it as a child, whose work would be counted for nobody."""
    return subprocess.check_output([needs_program("node"), "-p", "process.execPath"], text=True).strip()


def stock() -> Start:
    """python-socketio as it comes."""
    return _processes(1, lambda redis: [sys.executable, "-m", "tests.bench.stock_server", redis])


def _processes(nodes: int, command: Callable[[str], list[str]]) -> Start:
    @asynccontextmanager
    async def start(folder: Path, redis: RedisServer, pairs: int) -> AsyncIterator[Running]:
        url = f"redis://127.0.0.1:{redis.port}/{_database(folder)}"
        processes: list[asyncio.subprocess.Process] = []
        urls = []
        try:
            for number in range(nodes):
                log = folder / f"{number}.log"
                with log.open("wb") as sink:
                    processes.append(await _start(command(url), sink.fileno()))
                found = await until(
                    lambda log=log: LISTENING.search(log.read_text()), f"{folder}/{number}", timeout_s=START_S
                )
                urls.append(found[1])
                pin(processes[-1].pid, SERVER_CORE)
            pids = [process.pid for process in processes]
            yield Running(urls, pids, redis.pid, [_stranger_pair(folder, n) for n in range(pairs)])
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()

    return start


async def _start(command: Sequence[str], sink: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(*with_us(), *command),
        env={**environment(), "BENCH_SECRET": SECRET, "NODE_ENV": "production"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        start_new_session=True,
    )


def _stranger_pair(folder: Path, number: int) -> Pair:
    """Whom the rivals know by an HMAC of the name. Rooms and names are as long as telementor's."""
    two = [_stranger(role) for role in ("mentor", "mentee")]
    return Pair(f"{folder.name}-{number}".rjust(26, "r"), "", *two)


def _stranger(role: str) -> Person:
    name = str(uuid.uuid4())
    mac = hmac.new(SECRET.encode(), name.encode(), hashlib.sha256).hexdigest()
    return Person(role, "", name, token=f"{name}.{mac}", link="")


# Who takes part

TELEMENTOR = "telementor"
NODE = "Node Socket.IO, ioredis"
NODE_PIPELINED = "Node Socket.IO, ioredis auto-pipelined"
BETTER_NODE = (NODE, NODE_PIPELINED)
"""Ratios are to the better of them."""

HERE = (
    Contestant(TELEMENTOR, telementor()),
    Contestant("telementor, own Valkey, fsync before each ack", telementor_alone),
    Contestant("python-socketio, defaults", stock()),
)
RIVAL = (
    Contestant(NODE, rival("socketio_server.js")),
    Contestant(NODE_PIPELINED, rival("socketio_server.js", "pipelining")),
    Contestant("Node Socket.IO + streams adapter", rival("socketio_server.js", "pipelining", "streams")),
    Contestant("Node `ws`, auto-pipelined", rival("ws_server.js", "pipelining"), engine_io=False),
)
NODES = (
    Contestant("telementor, 2 nodes, rooms apart", telementor(2), apart=True, nodes=2),
    Contestant("telementor, 2 nodes", telementor(2), nodes=2),
    Contestant("telementor, 4 nodes", telementor(4), nodes=4),
)
RIVAL_NODES = (
    Contestant(
        "Node + streams adapter, 2 nodes, rooms apart",
        rival("socketio_server.js", "pipelining", "streams", nodes=2),
        apart=True,
        nodes=2,
    ),
)


def contestants() -> list[Contestant]:
    """All that can run here: those in Node need their packages (`make bench` installs them)."""
    have = (RIVALS / "node_modules" / "socket.io").is_dir()
    return [*HERE, *(RIVAL if have else ()), *NODES, *(RIVAL_NODES if have else ())]


@asynccontextmanager
async def running(
    chosen: Sequence[Contestant], folder: Path, redis: RedisServer, pairs: int
) -> AsyncIterator[dict[str, Running]]:
    """All of them at the same time, by name."""
    async with AsyncExitStack() as stack:

        async def start(number: int, contestant: Contestant) -> Running:
            place = folder / str(number)
            place.mkdir(parents=True)
            return await stack.enter_async_context(contestant.start(place, redis, pairs))

        started = await asyncio.gather(*(start(*numbered) for numbered in enumerate(chosen)))
        yield {contestant.name: server for contestant, server in zip(chosen, started, strict=True)}
