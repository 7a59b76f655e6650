"""One node keeps house for all, on a real store: turns, what is put off, and where it does not have to look."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot
from structlog.testing import capture_logs

from rooms import events
from rooms.events import ChatPosted
from rooms.ports import Draft, Retention
from signaling.housekeeping import Housekeeping
from signaling.stores.directory import Directory, Named
from signaling.stores.engine import EmbeddedStoreError
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.store import Store
from signaling.stores.turns import Turns
from tests.support.condition import until
from tests.support.redis_servers import running
from tests.support.redis_topologies import Cluster

pytestmark = pytest.mark.integration

DAY_S = 86_400


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    with running("valkey") as url:
        yield url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    client = connect(store_url, 5)
    await client.redis.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    made = await Directory.open(f"sqlite:///{tmp_path}/telementor.db", lambda: 1_800_000_000_000)
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def kept(*nodes: Housekeeping) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        running_ = [tasks.create_task(node.run()) for node in nodes]
        yield
        for task in running_:
            task.cancel()


class Rewriter:
    """A store whose file is written anew: how often, after so many failures."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.done = 0

    async def __call__(self) -> None:
        if self.failures:
            self.failures -= 1
            raise EmbeddedStoreError("The disk is full.")
        self.done += 1


async def say(store: Store, slug: str) -> None:
    key = str(uuid.uuid4())
    body = events.encode(ChatPosted(by="ann", key=key, text="x"))
    await RedisRoomLog(store).write(slug, (Draft(key, body),))


def node(
    store: Store, directory: Directory, rewrite: Rewriter, name: str = "one", every_s: int = 1
) -> Housekeeping:
    return Housekeeping(
        directory.programme,
        RedisRoomLog(store),
        Turns(store, name),
        every_s=every_s,
        rewrite=rewrite,
        rewrite_every_s=DAY_S,
    )


async def test_one_node_has_the_turn_until_its_time_is_over_or_it_gives_it_back(store: Store) -> None:
    one, other = Turns(store, "one"), Turns(store, "other")
    assert await one.take("a", 60_000)
    assert not await other.take("a", 60_000)
    assert not await one.take("a", 60_000)
    assert await other.take("b", 60_000)
    (left_ms,) = [await store.redis.pttl(name) for name in await store.redis.keys("*:a")]
    assert 0 < left_ms <= 60_000
    await one.give_back("a")
    assert await other.take("a", 20)

    async def over() -> bool:
        return await one.take("a", 60_000)

    await until(over, "the turn's end")


async def test_of_several_nodes_one_does_what_comes_round(store: Store, directory: Directory) -> None:
    rewrite = Rewriter()
    added = await directory.add_pair(Named("A", "a@example.org"), Named("B", "b@example.org"))
    await directory.programme.set_retention(Retention(days=None, count=1))

    async def left() -> int:
        return int(await store.redis.xlen(f"{{{added.slug}}}:log"))

    async with kept(*(node(store, directory, rewrite, name) for name in ("one", "two", "three"))):
        for _ in range(2):
            await say(store, added.slug)
            await say(store, added.slug)

            async def trimmed() -> bool:
                return await left() == 1

            await until(trimmed, "a round of retention")
    assert rewrite.done == 1, "once a day, however many nodes and rounds there are"


async def test_what_fails_is_done_at_the_next_turn(store: Store, directory: Directory) -> None:
    rewrite = Rewriter(failures=2)
    with capture_logs() as logged:
        async with kept(node(store, directory, rewrite)):
            await until(lambda: rewrite.done, "the rewrite")
    told = [line for line in logged if line["event"] == "housekeeping was put off"]
    assert [line["task"] for line in told] == ["rewrite", "rewrite"]


async def test_a_store_that_is_away_stops_nothing(directory: Directory, store: Store) -> None:
    away = connect("unix:///nowhere/at/all.sock", 1)
    rewrite = Rewriter()
    with capture_logs() as logged:
        async with kept(node(away, directory, rewrite)):
            await until(lambda: len(logged) >= 4, "two tries of both tasks")
    await away.aclose()
    assert {line["event"] for line in logged} == {"housekeeping was put off"}
    assert rewrite.done == 0


async def test_a_round_goes_through_more_rooms_than_are_read_at_once(
    store: Store, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signaling.housekeeping.ROOMS_AT_ONCE", 2)
    slugs = []
    for number in range(5):
        mentee = Named("B", f"b{number}@example.org")
        slugs.append((await directory.add_pair(Named("A", "a@example.org"), mentee)).slug)
        for _ in range(3):
            await say(store, slugs[-1])
    await directory.programme.set_retention(Retention(days=None, count=1))
    with capture_logs() as logged:
        async with kept(node(store, directory, Rewriter())):
            await until(lambda: logged, "the end of a round")
    assert [(line["event"], line["events"]) for line in logged] == [("retention removed events", 10)]
    assert [await store.redis.xlen(f"{{{slug}}}:log") for slug in slugs] == [1] * 5


async def test_a_part_of_the_store_that_is_away_puts_off_its_own_rooms_only(
    cluster: Cluster, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its turn is given back: an hour is not waited for."""
    monkeypatch.setattr("signaling.housekeeping.ASKED_IN_A_ROUND", 36_000)
    store = connect(cluster.url, 5)

    def part(of: str) -> int:
        return key_slot(f"{{{of}}}".encode()) * 3 // 16_384

    away = (part("nodes") + 1) % 3
    rooms: list[str] = []
    while not rooms or len({part(room) == away for room in rooms}) == 1 or part(rooms[-1]) == away:
        mentee = Named("B", f"b{len(rooms)}@example.org")
        added = await directory.add_pair(Named("A", "a@example.org"), mentee)
        rooms = sorted([*rooms, added.slug])
        await say(store, added.slug)
        await say(store, added.slug)
    await directory.programme.set_retention(Retention(days=None, count=1))
    for server in (cluster.servers[away], cluster.servers[away + 3]):
        await server.kill()
    with capture_logs() as logged:

        def put_off() -> list[str]:
            return [line["reason"] for line in logged if line["event"] == "housekeeping was put off"]

        async with kept(node(store, directory, Rewriter(), every_s=3600)):
            await until(lambda: len(put_off()) >= 2, "two rounds")
    served = [room for room in rooms if part(room) != away]
    assert [await store.redis.xlen(f"{{{room}}}:log") for room in served] == [1] * len(served)
    assert put_off()[0] == f"The store did not answer for {len(rooms) - len(served)} of the rooms."
    removed = [line["events"] for line in logged if line["event"] == "retention removed events"]
    assert removed == [len(served)]
    await store.aclose()
