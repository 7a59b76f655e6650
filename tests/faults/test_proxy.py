"""The proxy does to a real store's connections what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError

from signaling.stores.registry import Registry
from signaling.stores.store import OneStore
from tests.faults.proxy import Proxy, every, frame_end, words
from tests.support.condition import until
from tests.support.redis_topologies import RedisServer

pytestmark = pytest.mark.faults


@pytest_asyncio.fixture
async def store() -> AsyncIterator[RedisServer]:
    server = await RedisServer().start()
    yield server
    await server.close()


@pytest_asyncio.fixture
async def proxy(store: RedisServer) -> AsyncIterator[Proxy]:
    one = await Proxy(("127.0.0.1", store.port), reads_resp=True).start()
    yield one
    await one.stop()


@pytest_asyncio.fixture
async def direct(store: RedisServer) -> AsyncIterator[Redis]:
    async with client(store.port) as redis:
        yield redis


@pytest_asyncio.fixture
async def through(proxy: Proxy) -> AsyncIterator[Redis]:
    async with client(proxy.port) as redis:
        yield redis


def client(port: int) -> Redis:
    return Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0), single_connection_client=True)


async def test_a_lost_replys_command_was_executed_once(through: Redis, direct: Redis, proxy: Proxy) -> None:
    assert await through.incr("n") == 1
    lost = proxy.lose_reply("INCRBY")
    with pytest.raises(LostError):
        await through.incr("n")
    assert lost.done()
    assert await direct.get("n") == b"2"
    assert await through.incr("n") == 3
    assert proxy.seen["INCRBY"] == 3


async def test_the_reply_that_is_lost_is_that_of_its_command(
    through: Redis, direct: Redis, proxy: Proxy
) -> None:
    proxy.lose_reply("SET")
    with pytest.raises(LostError):
        async with through.pipeline(transaction=False) as pipe:
            await pipe.incr("n").set("a", "b").incr("n").execute()
    assert await direct.mget("n", "a") == [b"2", b"b"]


async def test_a_scripts_reply_is_known_by_its_name(through: Redis, proxy: Proxy) -> None:
    registry = Registry(OneStore(through, 3, 8))
    await registry.beat("node", 3_000)
    assert proxy.seen["beat"] >= 1


async def test_pushes_are_no_replies(through: Redis, direct: Redis, proxy: Proxy) -> None:
    async with client(proxy.port) as listening:
        heard = listening.pubsub()
        await heard.subscribe("news")
        assert (await heard.get_message(timeout=5))["type"] == "subscribe"
        await direct.publish("news", "PING")
        assert (await heard.get_message(timeout=5))["data"] == b"PING"
        proxy.lose_reply("PING")
        await heard.ping()
        with pytest.raises(LostError):
            await heard.get_message(timeout=5)
        await heard.aclose()


async def test_a_stalled_connection_hands_nothing_on_until_it_flows(
    through: Redis, direct: Redis, proxy: Proxy
) -> None:
    await through.ping()
    assert proxy.stall() == 1
    waiting = asyncio.create_task(through.set("a", "b"))
    await direct.ping()
    assert not waiting.done()
    assert await direct.get("a") is None
    proxy.flow()
    assert await waiting
    assert await direct.get("a") == b"b"


async def test_a_cut_is_noticed_by_both_sides(through: Redis, direct: Redis, proxy: Proxy) -> None:
    await through.ping()
    before = len(await direct.client_list())
    assert proxy.cut() == 1

    async def one_less() -> bool:
        return len(await direct.client_list()) == before - 1

    await until(one_less, "the store to lose a client")
    await until(lambda: not proxy.links, "the link's end")
    with pytest.raises(LostError):
        await through.ping()
    assert await through.ping(), "on a new connection"


async def test_a_refused_connection_is_none(through: Redis, proxy: Proxy) -> None:
    proxy.refuses = every
    proxy.cut()
    for _ in range(2):
        with pytest.raises(LostError):
            await through.ping()
    proxy.refuses = None
    assert await through.ping()


async def test_a_large_reply_in_many_pieces_comes_through(through: Redis, direct: Redis) -> None:
    large = b"x\r\n" * 300_000
    await direct.set("large", large)
    assert await through.get("large") == large


resp = st.recursive(
    st.one_of(
        st.binary(max_size=8).map(lambda data: b"$%d\r\n%b\r\n" % (len(data), data)),
        st.integers().map(lambda number: b":%d\r\n" % number),
        st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"+OK\r\n", b"-ERR no\r\n", b"*0\r\n"]),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda all_: b"*%d\r\n" % len(all_) + b"".join(all_)),
)


@given(resp, st.binary(max_size=5))
def test_a_value_ends_where_it_ends(value: bytes, more: bytes) -> None:
    assert frame_end(value + more) == len(value)
    assert all(frame_end(value[:cut]) is None for cut in range(len(value)))


def test_the_words_of_a_command() -> None:
    assert words(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n", 2) == [b"SET", b"a"]
    assert words(b":1\r\n", 2) == []
