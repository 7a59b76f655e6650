"""While the store, or a part of it, is away: nothing is left behind, and what is told late is still true."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from signaling.stores.redis_client import connect
from signaling.stores.registry import person_channel
from signaling.stores.store import Store
from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import call, join, say
from tests.support.client import Client, RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.redis_servers import running
from tests.support.redis_topologies import LOCAL, RedisServer
from tests.support.server import Server

pytestmark = pytest.mark.faults

DUE = "{nodes}:due"


@pytest.fixture
def store_url() -> Iterator[str]:
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        yield thread.submit(stack.enter_context, running("valkey")).result()
        thread.submit(stack.close).result()


@pytest_asyncio.fixture(loop_scope="session")
async def store(store_url: str) -> AsyncIterator[Store]:
    client = connect(store_url, 5)
    yield client
    await client.aclose()


async def refuse(store: Store, key: str) -> None:
    """From now on what is asked of this key fails, as if the part of the store that has it were away."""
    await store.run("DEL", key)
    await store.run("SET", key, "nothing that it should be")


def rung(client: Client) -> list[str]:
    return [push.name for push in client.heard if push.name.startswith("call.")]


async def woken(store: Store, slug: str) -> None:
    async def due() -> bool:
        return bool(await store.run("ZSCORE", DUE, slug))

    await until(due, "a node to be woken for the room")


async def test_R1_a_handshake_of_unknown_outcome_is_taken_back(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """The store registers it when it wakes up, and nobody is there: its person must not be online for ever."""
    server = await own_server()
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentee, pair.room)
    server.signal_store(signal.SIGSTOP)
    try:
        with pytest.raises(RefusedError) as refusal:
            await connect_python(pair.mentor, server=server)
        assert refusal.value.error["code"] == "unavailable"
    finally:
        server.signal_store(signal.SIGCONT)
    await mentor.drop()
    gone = {"person": pair.mentor.person, "online": False}
    await mentee.next_push("person", gone, timeout_s=15)


IMPATIENT = "from signaling import cli, leaves; leaves.LEAVES_MAX = 1; cli.main()"


@pytest_asyncio.fixture(loop_scope="session")
async def impatient(tmp_path: Path) -> AsyncIterator[tuple[Server, RedisServer]]:
    """A server that lets nobody in while a single socket waits to be taken back, and its store."""
    redis = await RedisServer().start()
    settings = {"TELEMENTOR_REDIS": f"redis://{LOCAL}:{redis.port}"}
    server = await Server(tmp_path, settings, program=(sys.executable, "-c", IMPATIENT)).start()
    yield server, redis
    await server.close()
    await redis.close()


async def test_R1_nobody_is_let_in_while_too_many_wait_to_be_taken_back(
    connect_python: Fleet, impatient: tuple[Server, RedisServer]
) -> None:
    """None of them is ever given up: it would be online for ever."""
    server, _ = impatient
    pair = await server.pair()
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentee, pair.room)
    mentor = await connect_python(pair.mentor, server=server)
    store = connect(server.settings["TELEMENTOR_REDIS"], 5)
    sockets = f"{person_channel(pair.mentor.person)}:sockets"
    await refuse(store, sockets)
    await mentor.drop()

    async def refused() -> str | None:
        try:
            client = await connect_python(pair.mentee, server=server)
        except RefusedError as error:
            return str(error.error["message"])
        await client.drop()
        return None

    assert "catching up" in await until(refused, "the bound")
    await store.run("DEL", sockets)
    await mentee.next_push("person", {"person": pair.mentor.person, "online": False}, timeout_s=15)
    assert await refused() is None
    await store.aclose()


async def test_R1_a_handshake_that_was_not_tried_leaves_nothing_to_take_back(
    connect_python: Fleet, impatient: tuple[Server, RedisServer]
) -> None:
    """Whose channel cannot be heard is not registered."""
    server, redis = impatient
    pair = await server.pair()
    await redis.kill()
    for _ in range(2):
        with pytest.raises(RefusedError) as refusal:
            await connect_python(pair.mentor, server=server)
        assert "cannot reach its store" in refusal.value.error["message"]


async def test_K1_a_ring_is_not_heard_again_because_no_node_could_be_woken(
    connect_python: Fleet, own_server: OpenServer, store_url: str, store: Store
) -> None:
    server = await own_server(REDIS=store_url)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentor, pair.room)
    await join(mentee, pair.room)
    await refuse(store, DUE)
    await call(mentor, pair.room)
    await store.run("DEL", DUE)
    await woken(store, pair.room)
    await say(mentor, pair.room, "after all that was told")
    await mentee.next_push("log", {"text": "after all that was told"})
    assert rung(mentee) == ["call.ring"]


async def test_K1_a_ring_that_could_not_be_told_is_told_while_it_rings(
    connect_python: Fleet, own_server: OpenServer, store_url: str, store: Store
) -> None:
    server = await own_server(REDIS=store_url)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentor, pair.room)
    ringing = f"{person_channel(pair.mentee.person)}:ringing"
    await refuse(store, ringing)
    started = await call(mentor, pair.room)
    await store.run("DEL", ringing)
    await mentee.next_push("call.ring", {"call": started["call"]})
    assert 40_000 < await store.run("PTTL", ringing) < 44_500, "it ends when the others' does"


async def test_K1_a_ring_that_could_not_be_told_is_not_told_when_the_call_is_over(
    connect_python: Fleet, own_server: OpenServer, store_url: str, store: Store, tmp_path: Path
) -> None:
    """Another node has ended it meanwhile, and told so, or died before it could."""
    shared = {"REDIS": store_url, "DATABASE": f"sqlite:///{tmp_path / 'shared.db'}"}
    one, other = await own_server(**shared), await own_server(**shared)
    pair = await one.pair()
    mentor = await connect_python(pair.mentor, server=one)
    mentee = await connect_python(pair.mentee, server=one)
    elsewhere = await connect_python(pair.mentee, server=other)
    for client in (mentor, mentee, elsewhere):
        await join(client, pair.room)
    ringing = f"{person_channel(pair.mentee.person)}:ringing"
    for key in (ringing, DUE):
        await refuse(store, key)
    started = await call(mentor, pair.room)
    await elsewhere.done("call.decline", {"room": pair.room, "call": started["call"]})
    await asyncio.gather(elsewhere.drop(), other.kill())
    for key in (ringing, DUE):
        await store.run("DEL", key)
    await woken(store, pair.room)  # by the same round that thought of the ring
    await say(mentor, pair.room, "after all that was told")
    await mentee.next_push("log", {"text": "after all that was told"})
    assert rung(mentee) == []
