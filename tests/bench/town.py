"""Nodes on one Redis and one database, and pairs who live there."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from signaling.stores.directory import Directory, Named
from tests.bench.load import Talker
from tests.support.people import Pair, Person, fresh_email
from tests.support.redis_topologies import RedisServer
from tests.support.server import Server

TOKEN_S = 3_600

SETTINGS = {
    "TELEMENTOR_LOG_LEVEL": "warning",
    "TELEMENTOR_CHAT_PER_S": "1000",
    "TELEMENTOR_CHAT_BURST": "10000",
    "TELEMENTOR_SIGNALS_PER_S": "10000",
}
"""Nobody is refused for talking much: what is measured is what a message costs."""


class Town:
    """`addresses` and `pids` are those of the nodes, whatever they are. `redis` is None when a node has its own store."""

    def __init__(
        self, redis: RedisServer | None, addresses: Sequence[str], pids: Sequence[int], pairs: Sequence[Pair]
    ) -> None:
        self.redis = redis
        self.addresses = addresses
        self.pids = pids
        self.pairs = pairs

    async def come_in(self, *, apart: bool = False, call: bool = False) -> list[tuple[Talker, Talker]]:
        """Each pair at the node of its room, or its two people at different ones; listening."""
        inside = []
        for number, pair in enumerate(self.pairs):
            here = self.addresses[number % len(self.addresses)]
            there = self.addresses[(number + apart) % len(self.addresses)]
            two = (Talker(here, pair.mentor, pair.room), Talker(there, pair.mentee, pair.room))
            for one in two:
                await one.come_in()
            for one in two if call else ():
                await one.join_call()
            for one in two:
                one.listen()
            inside.append(two)
        return inside


async def settle(database: str, count: int) -> list[Pair]:
    """So many new pairs, with access tokens."""
    directory = await Directory.open(database, lambda: time.time_ns() // 1_000_000)
    try:
        return [await _pair(directory, number) for number in range(count)]
    finally:
        await directory.close()


async def _pair(directory: Directory, number: int) -> Pair:
    named = [Named(f"{role.title()} {number}", fresh_email(role)) for role in ("mentor", "mentee")]
    added = await directory.add_pair(*named)
    two = [
        Person(one.name, one.email, one.id, await directory.new_token(one.id, TOKEN_S), link="")
        for one in (added.mentor, added.mentee)
    ]
    return Pair(added.slug, "", *two)


_numbers = itertools.count()


def fresh_folder(folder: Path) -> Path:
    """For one town."""
    place = folder / f"town{next(_numbers)}"
    place.mkdir()
    return place


@asynccontextmanager
async def town(folder: Path, count: int, pairs: int, *redis_options: str) -> AsyncIterator[Town]:
    """`count` nodes on one Redis that syncs its file before every answer, unless the options say otherwise."""
    folder = fresh_folder(folder)
    redis = await RedisServer(*redis_options).start()
    database = f"sqlite:///{folder / 'shared.db'}"
    settings = {
        **SETTINGS,
        "TELEMENTOR_REDIS": f"redis://127.0.0.1:{redis.port}/0",
        "TELEMENTOR_DATABASE": database,
    }
    nodes: list[Server] = []
    try:
        people = await settle(database, pairs)
        for number in range(count):
            place = folder / f"node{number}"
            place.mkdir()
            nodes.append(Server(place, settings))
        await asyncio.gather(*(node.start() for node in nodes))
        yield Town(redis, [node.url for node in nodes], [node.pid for node in nodes], people)
    finally:
        for node in nodes:
            await node.close()
        await redis.close()


@asynccontextmanager
async def town_alone(folder: Path, pairs: int) -> AsyncIterator[tuple[Town, Server]]:
    """One node with its own store, as `telementor serve` is without any settings."""
    folder = fresh_folder(folder)
    node = Server(folder, SETTINGS)
    try:
        await node.start()
        people = await settle(f"sqlite:///{node.data / 'telementor.db'}", pairs)
        yield Town(None, [node.url], [node.pid], people), node
    finally:
        await node.close()
