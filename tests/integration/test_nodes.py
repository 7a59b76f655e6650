"""Which nodes know of each other when, against a real store (rule R2)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from rooms.errors import Unavailable
from rooms.pushes import ReplacedPush, RevokedPush
from signaling.connection import Identity
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
        name, registry, lease_ms=LEASE_MS, sockets_per_person=8, subscribe=nothing, unsubscribe=nothing
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
    assert (await registry.beat("serving")).due == ["somewhere"]


async def test_R1_whose_channel_cannot_be_heard_leaves_nothing_in_the_books(store: Store) -> None:
    given_up: list[str] = []

    async def deaf(channel: str) -> None:
        raise Unavailable

    async def unsubscribe(channel: str) -> None:
        given_up.append(channel)

    nodes = Nodes(
        "one",
        Registry(store),
        lease_ms=LEASE_MS,
        sockets_per_person=8,
        subscribe=deaf,
        unsubscribe=unsubscribe,
    )
    ann = Silent("ann")
    with pytest.raises(Unavailable):
        await nodes.hear(ann)
    assert (nodes.connections(), nodes.of_person("ann"), given_up) == ([], [], [person_channel("ann")])
