"""Stores that fail over: a primary behind Sentinels, a Cluster. What was promised is there, what was rolled back is said,
and nobody has to restart anything (rules L2, L4, L5)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from rooms import events
from rooms.errors import Unavailable
from rooms.events import ChatPosted
from rooms.ports import Draft, Request, Seen, Written
from signaling.stores.channels import Channels
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog, channel
from signaling.stores.store import Store
from tests.support.condition import until
from tests.support.redis_topologies import Cluster, RedisServer, Replicated

pytestmark = [pytest.mark.integration, pytest.mark.faults]

TIMEOUT_S = 1.5
BIG = 1_000_000

T = TypeVar("T")


@pytest.fixture
async def replicated(request: pytest.FixtureRequest) -> AsyncIterator[Replicated]:
    """Of Redis, or of the engine that a test asks for."""
    engine = getattr(request, "param", "redis")
    made = Replicated([RedisServer(engine=engine), RedisServer(engine=engine)])
    try:
        yield await made.start()
    finally:
        await made.close()


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Until the store is back."""

    async def asked() -> T | None:
        try:
            return await ask()
        except Unavailable:
            return None

    answer = await until(asked, "the store to answer", timeout_s=30)
    assert answer is not None
    return answer


class House:
    """What a node has of a store: its log and its ears."""

    def __init__(self, store: Store, replicas: int = 0) -> None:
        self.store = store
        self.log = RedisRoomLog(store, replicas)
        self.heard: list[bytes] = []
        self.restored: set[str] = set()
        self.channels = Channels(store, lambda _, message: self.heard.append(message), self.restored.add)
        self._running = [asyncio.create_task(work) for work in (self.channels.run(), store.watch())]

    async def say(self, slug: str, text: str, key: str | None = None) -> Written:
        key = key or str(uuid.uuid4())
        body = events.encode(ChatPosted(by="ann", key=key, text=text))
        return await self.log.write(slug, (Draft(key, body),), request=Request("ann", key, "chat.send"))

    async def say_until_heard(self, slug: str, text: str) -> Written:
        """As a client does: again with the same key for as long as the store is away."""
        key = str(uuid.uuid4())
        return await insist(lambda: self.say(slug, text, key))

    async def texts(self, slug: str) -> list[str]:
        page = await insist(lambda: self.log.page(slug, before=None, after="0-0", limit=200, max_bytes=BIG))
        return [getattr(events.decode(entry.body), "text", "") for entry in page.entries]

    async def keys(self, slug: str) -> list[str]:
        found: list[str] = []
        after = "0-0"
        while after:
            page = await insist(
                lambda after=after: self.log.page(slug, before=None, after=after, limit=200, max_bytes=BIG)
            )
            found += [entry.key for entry in page.entries]
            after = page.entries[-1].id if page.more else ""
        return found

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await self.channels.stop()
        await self.store.aclose()


async def test_L2_behind_sentinels_a_node_finds_the_new_primary(replicated: Replicated) -> None:
    house = House(connect(replicated.url, TIMEOUT_S))
    await house.channels.subscribe(channel("r"))
    await house.say("r", "before")
    old = await replicated.primary()
    async with old.client() as redis:
        await redis.wait(1, 2000)
    await old.kill()
    await house.say_until_heard("r", "after")
    assert await house.texts("r") == ["before", "after"]
    await until(lambda: channel("r") in house.restored, "the channel at the new primary")
    await house.say("r", "heard")
    await until(lambda: any(b"heard" in message for message in house.heard), "the new primary's words")
    await house.close()


async def test_L5_a_tail_that_a_failover_rolled_back_is_said(replicated: Replicated) -> None:
    house = House(connect(replicated.url, TIMEOUT_S))
    await house.say("r", "kept")
    old = await replicated.primary()
    async with old.client() as redis:
        await redis.wait(1, 2000)
    (replica,) = (server for server in replicated.servers if server is not old)
    replica.signal(signal.SIGSTOP)
    async with old.client() as redis:
        await redis.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")  # nothing waits for it in a buffer
    lost_key = str(uuid.uuid4())
    lost = await house.say("r", "lost", lost_key)
    epoch = (await house.log.heads(["r"]))[0].epoch
    await old.kill()
    replica.signal(signal.SIGCONT)
    await house.say_until_heard("r", "after")
    resumed = await house.log.resume("r", Seen(epoch, lost.ids[0], lost_key), 50, BIG)
    assert resumed.reset == "diverged"
    assert await house.texts("r") == ["kept", "after"]
    assert not (await house.say("r", "lost", lost_key)).dup, (
        "the key was rolled back with it: it can be said again"
    )
    await house.close()


async def test_L4_a_primary_that_wakes_up_beside_its_successor_gets_nothing_more(
    replicated: Replicated,
) -> None:
    """It hangs, is failed over, and takes writes again for seconds. Once a node knows the new one it has no other."""
    house = House(
        connect(replicated.url, TIMEOUT_S * 4)
    )  # longer than the old one hangs: what it asked is answered late
    await house.channels.subscribe(channel("r"))
    promised: list[tuple[str, bool]] = []
    follow, moved = house.store.on_moved, asyncio.Event()

    def on_moved() -> None:
        follow()
        moved.set()

    house.store.on_moved = on_moved

    async def write(name: str) -> None:
        for number in itertools.count():
            key, knew = str(uuid.uuid4()), moved.is_set()
            with contextlib.suppress(Unavailable):
                await house.say("r", f"{name}{number}", key)
                promised.append((key, knew))

    writing = [asyncio.create_task(write(name)) for name in "abcdef"]
    await until(lambda: len(promised) > 50, "people who talk")
    old = await replicated.primary()
    old.signal(signal.SIGSTOP)
    await replicated.failed_over(old)
    old.signal(signal.SIGCONT)

    async def demoted() -> bool:
        with contextlib.suppress(RedisError):  # the connections of a primary that is demoted are cut
            async with old.client() as redis:
                return bool((await redis.info("replication"))["role"] == "slave")
        return False

    await until(demoted, "the old primary to be told", timeout_s=30)
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    there = set(await house.keys("r"))
    kept = [key for key, knew in promised if knew]
    assert len(kept) > 50
    assert [key for key in kept if key not in there] == []
    await house.close()


async def test_L2_a_sentinel_that_hangs_costs_a_moment(replicated: Replicated) -> None:
    """As when one machine held a primary and a Sentinel: the Sentinel that is asked first does not answer."""
    house = House(connect(replicated.url, TIMEOUT_S))
    await house.say("r", "before")
    old = await replicated.primary()
    async with old.client() as redis:
        await redis.wait(1, 2000)
    hung = replicated.sentinels[0]
    hung.signal(signal.SIGSTOP)
    replicated.sentinels.reverse()  # the others tell of the failover
    await old.kill()
    await replicated.failed_over(old)
    async with asyncio.timeout(4 * TIMEOUT_S):
        await house.say_until_heard("r", "after")
    hung.signal(signal.SIGCONT)
    await house.close()


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_more_requests_than_connections_wait_for_their_turn(
    kind: str,
) -> None:
    topology = (
        Replicated([RedisServer()]) if kind == "sentinel" else Cluster([RedisServer() for _ in range(6)])
    )
    try:
        await topology.start()
        house = House(connect(topology.url, 5.0, connections=4))
        answers = await asyncio.gather(*(house.say("r", f"{number}") for number in range(300)))
        assert len(answers) == 300
        await house.close()
    finally:
        await topology.close()


# Valkey's WAIT counts from the last write of its connection, that of Redis 7.0 from the last command.
@pytest.mark.parametrize("replicated", ["redis", "valkey"], indirect=True)
async def test_L4_replicated_is_acknowledged_only_when_a_replica_has_it(replicated: Replicated) -> None:
    house = House(connect(replicated.url, TIMEOUT_S), replicas=1)
    await house.say("r", "one")
    old = await replicated.primary()
    (replica,) = (server for server in replicated.servers if server is not old)
    replica.signal(signal.SIGSTOP)
    key = str(uuid.uuid4())
    request = Request("ann", key, "chat.send")
    with pytest.raises(Unavailable):
        await house.say("r", "two", key)
    # Asked again, over another connection, which has written nothing: it is known, and still not promised.
    for ask in (
        lambda log: log.say("r", "two", key),
        lambda log: log.log.newest("r", "1-1", request),
        lambda log: log.log.forget("r", "ann", []),
    ):
        another = House(connect(replicated.url, TIMEOUT_S), replicas=1)
        with pytest.raises(Unavailable):
            await ask(another)
        await another.close()
    replica.signal(signal.SIGCONT)
    again = await house.say("r", "two", key)
    assert again.dup
    assert (await house.log.newest("r", "1-1", request)).done == again
    await old.kill()
    await replicated.failed_over(old)
    assert await house.texts("r") == ["one", "two"]
    with pytest.raises(Unavailable):
        await house.say("r", "nobody else would have it")
    await old.start()  # and the Sentinels make a replica of it
    await house.say_until_heard("r", "three")
    await house.close()


def slugs_of(cluster: Cluster) -> list[str]:
    """A room at each of the three primaries."""
    third = 16_384 / 3
    names = (f"room{number}" for number in range(1000))
    found: dict[int, str] = {}
    for name in names:
        found.setdefault(int(key_slot(channel(name).encode()) / third), name)
    return [found[part] for part in range(3)]


async def test_L2_in_a_cluster_a_failover_of_one_part_is_survived_and_the_others_do_not_notice(
    cluster: Cluster,
) -> None:
    house = House(connect(cluster.url, TIMEOUT_S))
    slugs = slugs_of(cluster)
    for slug in slugs:
        await house.channels.subscribe(channel(slug))
        await house.say(slug, "before")
    deaf = House(connect(cluster.url, TIMEOUT_S))  # learns of the change by asking only
    await deaf.say(slugs[0], "before, too")
    async with cluster.servers[0].client() as redis:
        await redis.wait(1, 2000)
    await cluster.servers[0].kill()
    for number in range(20):
        await house.say(slugs[1], f"{number}")  # raises when it is not taken at once
    await deaf.say_until_heard(slugs[0], "after")
    await deaf.close()
    assert await house.texts(slugs[0]) == ["before", "before, too", "after"]
    await until(lambda: channel(slugs[0]) in house.restored, "the channel at the new primary", timeout_s=20)
    assert channel(slugs[1]) not in house.restored
    await house.say(slugs[0], "heard again")
    await until(lambda: any(b"heard again" in one for one in house.heard), "the new primary's words")
    assert len(await house.log.heads(slugs)) == 3
    await house.close()


async def test_L2_in_a_cluster_a_room_that_moves_to_another_node_is_followed(cluster: Cluster) -> None:
    house = House(connect(cluster.url, TIMEOUT_S))
    slug, stays = slugs_of(cluster)[:2]
    for one in (slug, stays):
        await house.channels.subscribe(channel(one))
    await house.say(slug, "before")
    slot = key_slot(channel(slug).encode())
    source, target = cluster.servers[0], cluster.servers[1]
    async with source.client() as here, target.client() as there:
        source_id, target_id = (
            await here.execute_command("CLUSTER MYID"),
            await there.execute_command("CLUSTER MYID"),
        )
        await there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        await here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        keys = await here.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
        await here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 2000, "KEYS", *keys)
        # Scripts name keys that are not there yet, and a slot on its way answers TRYAGAIN to that: the room waits.
        with pytest.raises(Unavailable):
            await house.say(slug, "on the way")
        for redis in (there, here):
            await redis.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)
    await house.say(slug, "after")
    assert await house.texts(slug) == ["before", "after"]
    await until(lambda: house.restored == {channel(slug)}, "the channel at its new home")
    await house.say(slug, "heard")
    await until(lambda: any(b"heard" in one for one in house.heard), "its new home's words")
    await house.close()


async def test_L4_in_a_cluster_replicated_waits_for_the_replica_of_that_part(cluster: Cluster) -> None:
    house = House(connect(cluster.url, TIMEOUT_S), replicas=1)
    first, second = slugs_of(cluster)[:2]
    await house.say(first, "one")
    cluster.servers[3].signal(signal.SIGSTOP)  # the replica of the first
    key = str(uuid.uuid4())
    with pytest.raises(Unavailable):
        await house.say(first, "two", key)
    await house.say(second, "elsewhere")
    cluster.servers[3].signal(signal.SIGCONT)
    assert (await house.say_until_heard(first, "three")).ids
    assert (await house.say(first, "two", key)).dup
    await house.close()
