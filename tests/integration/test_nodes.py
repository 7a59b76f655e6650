"""Which nodes know of each other when, against a real store (rule R2)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from rooms.errors import Unavailable
from rooms.pushes import ReplacedPush, RevokedPush
from signaling.connection import Identity
from signaling.departures import Departures
from signaling.nodes import Nodes
from signaling.stores.redis_client import connect
from signaling.stores.registry import Registry, person_channel
from signaling.stores.store import Store
from tests.support.condition import until
from tests.support.redis_servers import running

pytestmark = pytest.mark.integration

LEASE_MS = 1_500


class Silent:
    """A `Connection` that is told nothing."""

    def __init__(self, person: str) -> None:
        self.id = uuid.uuid4().hex
        self.identity = Identity(person=person, device=str(uuid.uuid4()))

    def send(self, frame: bytes, *, ephemeral: bool = False) -> None:
        raise AssertionError(frame)

    def cut(self) -> None:
        raise AssertionError

    def dismiss(self, last: ReplacedPush | RevokedPush) -> None:
        raise AssertionError(last)


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    with running("valkey") as url:
        yield url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    client = connect(store_url, 3)
    yield client
    await client.aclose()


def node(store: Store, name: str) -> Nodes:
    """Without any sockets, so without any channels."""

    async def nothing(channel: str) -> None:
        del channel

    registry = Registry(store)
    return Nodes(
        name,
        registry,
        registry,
        lease_ms=LEASE_MS,
        sockets_per_person=8,
        departures=Departures(),
        subscribe=nothing,
        unsubscribe=lambda _: None,
    )


async def test_R2_nodes_that_start_together_know_each_other_before_they_serve(store: Store) -> None:
    """Whoever is not known counts as dead for ever, and its people as gone."""

    async def seen(name: str) -> bool:
        return bool(await store.run("ZSCORE", "{nodes}:seen", name))

    one, two, three = (node(store, name) for name in ("one", "two", "three"))
    await one.start()  # alone: it serves at once
    serving = asyncio.create_task(one.run())
    starting = asyncio.create_task(two.start())
    await until(lambda: seen("two"), "the second node's first beat")
    await asyncio.gather(three.start(), starting)
    assert two.alive == three.alive == {"one", "two", "three"}
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_R2_a_node_that_starts_takes_no_rooms_before_it_can_look_after_them(store: Store) -> None:
    registry = Registry(store)
    await registry.due("somewhere", 1)
    await node(store, "starting").start()
    assert (await registry.beat("serving", LEASE_MS)).due == ["somewhere"]


async def test_K5_the_people_of_a_node_that_ended_in_order_are_away_since_then(store: Store) -> None:
    """Not for years, which would end their calls."""
    one, two = node(store, "ending"), node(store, "staying")
    await asyncio.gather(one.start(), two.start())
    serving = asyncio.create_task(two.run())
    two.on_lost = two.on_due = nothing_to_do
    await one.depart()
    await until(lambda: "ending" not in two.alive, "the departure")
    now_ms = time.time_ns() // 1_000_000
    lost_at = two.lost_at("ending", "socket", now_ms)
    assert lost_at is not None
    assert now_ms - 2 * LEASE_MS - 1_000 < lost_at < now_ms
    serving.cancel()


async def nothing_to_do(*_: object) -> None: ...


async def test_R2_beats_that_a_store_has_forgotten_are_still_known(store: Store) -> None:
    one, two = node(store, "first"), node(store, "second")
    await asyncio.gather(one.start(), two.start())
    await store.run("DEL", "{nodes}:seen")
    serving = asyncio.create_task(two.run())

    async def beaten() -> bool:
        return bool(await store.run("ZSCORE", "{nodes}:seen", "second"))

    await until(beaten, "a beat after it")
    assert "first" in two.alive
    serving.cancel()


@pytest.mark.parametrize("others", ["were stalled, too", "went on"])
async def test_R2_a_node_that_could_not_beat_was_late_only_if_others_could(store: Store, others: str) -> None:
    """A store that is away for all of them is no reason to have everybody come anew."""
    registry = Registry(store)
    late = node(store, "late")
    late.on_lost = late.on_due = nothing_to_do
    said: list[bool] = []
    late.on_late = lambda: said.append(True)
    now = (await registry.beat("other", LEASE_MS)).now
    await late.start()
    running = asyncio.create_task(late.run())
    await until(lambda: late.beaten_at, "its first beat")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    async def over() -> bool:
        """Its lease is over. Others that went on have beaten all the time."""
        beat = (await registry.beat("other", LEASE_MS)) if others == "went on" else None
        clock = beat.now if beat else time.time_ns() // 1_000_000
        return clock > now + 3 * LEASE_MS

    await until(over, "the end of the lease")
    await registry.beat("other", LEASE_MS)
    running = asyncio.create_task(late.run())
    beaten = late.beaten_at
    await until(lambda: late.beaten_at != beaten, "its next beat")
    assert bool(said) is (others == "went on")
    running.cancel()


async def test_R1_whose_channel_cannot_be_heard_leaves_nothing_in_the_books(store: Store) -> None:
    given_up: list[str] = []

    async def deaf(channel: str) -> None:
        raise Unavailable

    registry = Registry(store)
    nodes = Nodes(
        "one",
        registry,
        registry,
        lease_ms=LEASE_MS,
        sockets_per_person=8,
        departures=Departures(),
        subscribe=deaf,
        unsubscribe=given_up.append,
    )
    ann = Silent("ann")
    with pytest.raises(Unavailable):
        await nodes.hear(ann)
    assert (nodes.connections(), nodes.of_person("ann"), given_up) == ([], [], [person_channel("ann")])
