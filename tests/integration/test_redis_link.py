"""The connection that all requests share: order, time limits, bounds, and what is known when it is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError

from signaling.stores import redis_link
from signaling.stores.redis_link import CrowdedError, SharedConnection
from tests.support.redis_topologies import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]

TIMEOUT_S = 0.5


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RedisServer]:
    server = await RedisServer().start()
    yield server
    await server.close()


@pytest_asyncio.fixture
async def shared(server: RedisServer) -> AsyncIterator[SharedConnection]:
    pool = ConnectionPool.from_url(f"redis://127.0.0.1:{server.port}/1")

    async def where() -> object:
        return pool.make_connection()

    shared = SharedConnection(where, TIMEOUT_S)
    yield shared
    await shared.aclose()


async def test_answers_come_to_whoever_asked_in_the_order_of_asking(shared: SharedConnection) -> None:
    asked = [shared.ask(("INCR", "n")) for _ in range(100)]
    wrong = shared.ask(("LPUSH", "n", "no list"))
    several = shared.ask_all([("INCR", "n"), ("LPUSH", "n", "x"), ("GET", "n")])
    assert await asyncio.gather(*asked) == list(range(1, 101))
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await wrong
    first, refused, last = await several
    assert (first, last) == (101, b"101")
    assert isinstance(refused, ResponseError)
    assert await shared.ask(("CLIENT", "INFO")) is not None
    assert b"db=1 " in await shared.ask(("CLIENT", "INFO"))


async def test_a_store_that_hangs_is_given_up_in_time_and_found_again(
    shared: SharedConnection, server: RedisServer
) -> None:
    await shared.ask(("SET", "n", 0))
    server.signal(signal.SIGSTOP)
    asked = [shared.ask(("INCR", "n")) for _ in range(3)]
    said = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10 * TIMEOUT_S)
    assert [type(one) for one in said] == [TimeoutError] * 3
    server.signal(signal.SIGCONT)
    after = int(await shared.ask(("GET", "n")))
    assert after in (0, 3), "once, or not at all: nobody asked again"


async def test_what_waits_when_the_connection_is_lost_is_told_so(
    shared: SharedConnection, server: RedisServer
) -> None:
    await shared.ask(("PING",))
    server.signal(signal.SIGSTOP)
    asked = shared.ask(("INCR", "n"))
    given_up = shared.ask(("INCR", "n"))
    given_up.cancel()
    await asyncio.sleep(0)
    shared.drop()
    with pytest.raises(LostError):
        await asked
    server.signal(signal.SIGCONT)
    assert await shared.ask(("PING",)) == b"PONG"


async def test_only_so_many_may_wait(
    shared: SharedConnection, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "WAITING_MAX", 5)
    monkeypatch.setattr(redis_link, "WAITING_BYTES", 1_000)
    await shared.ask(("PING",))
    server.signal(signal.SIGSTOP)
    waiting = [shared.ask(("PING",)) for _ in range(4)]
    with pytest.raises(CrowdedError):
        shared.ask(("SET", "n", "x" * 1_000))
    waiting.append(shared.ask(("PING",)))
    with pytest.raises(CrowdedError):
        shared.ask(("PING",))
    server.signal(signal.SIGCONT)
    assert await asyncio.gather(*waiting) == [b"PONG"] * 5
    assert await shared.ask(("PING",)) == b"PONG"
