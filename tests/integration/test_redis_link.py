"""The connection that all requests share: order, time limits, bounds, and what is known when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError

from signaling.stores import redis_link
from signaling.stores.redis_link import AWAY, CrowdedError, SharedConnection
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


async def test_a_question_of_nothing_takes_nobodys_answer(shared: SharedConnection) -> None:
    nothing, something = shared.ask_all([]), shared.ask(("ECHO", "mine"))
    assert await something == b"mine"
    assert await nothing == []


class Cutter:
    """Between a client and a store: answers come in pieces, and at any byte the line is cut, or stalls until `let_go`."""

    def __init__(self, chance: random.Random, port: int) -> None:
        self._chance = chance
        self._target = port
        self._stalls = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen: Counter[str] = Counter()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def let_go(self) -> None:
        """What stalled goes on its way, however late that is."""
        self._stalls.set()
        self._stalls = asyncio.Event()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection("127.0.0.1", self._target)
        asking = asyncio.create_task(self._hand_on(reader, questions))
        self._tasks |= {asking, asyncio.current_task()}  # type: ignore[arg-type]
        with contextlib.suppress(ConnectionError):
            await self._cut(answers, writer)
        for one in (writer, questions):
            one.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while some := await reader.read(65_536):
                writer.write(some)
                await writer.drain()

    async def _cut(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await answers.read(65_536):
            while some:
                size = self._chance.randint(1, len(some))
                writer.write(some[:size])
                some = some[size:]
                await writer.drain()
                fate = self._chance.random()
                if fate < 0.02:
                    self.seen["cut"] += 1
                    return
                if fate < 0.035:
                    self.seen["stall"] += 1
                    await self._stalls.wait()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_nobody_gets_an_answer_that_is_not_theirs_wherever_the_line_is_cut_or_stalls(
    server: RedisServer,
) -> None:
    """L3, T3: the worst that a shared connection could do. What is asked is its own answer; some give up on theirs."""
    chance = random.Random(20_261_201)
    cutter = Cutter(chance, server.port)
    pool = ConnectionPool.from_url(f"redis://127.0.0.1:{await cutter.start()}/1")

    async def where() -> object:
        return pool.make_connection()

    shared = SharedConnection(where, 0.1)

    async def asks(who: int) -> None:
        for number in range(120):
            mine = [f"{who}.{number}.{part}." + "x" * chance.choice((0, 9, 3_000)) for part in range(3)]
            several = chance.random() < 0.3
            asked: asyncio.Future[object] = (
                shared.ask_all([("ECHO", one) for one in mine]) if several else shared.ask(("ECHO", mine[0]))
            )
            if chance.random() < 0.1:
                await asyncio.wait([asked], timeout=0)
                asked.cancel()
            try:
                said = await asked
            except asyncio.CancelledError:
                cutter.seen["given up"] += 1
            except AWAY as error:
                cutter.seen["lost"] += 1
                if isinstance(error, TimeoutError):
                    cutter.let_go()
            else:
                cutter.seen["answered"] += 1
                assert said == ([one.encode() for one in mine] if several else mine[0].encode())

    await asyncio.gather(*(asks(who) for who in range(12)))
    assert await asyncio.wait_for(_once_answered(shared), 10) == b"in the end"
    assert {name for name, times in cutter.seen.items() if times >= 5} == {
        "cut", "stall", "given up", "lost", "answered",
    }, cutter.seen  # fmt: skip
    await shared.aclose()
    await cutter.close()


async def _once_answered(shared: SharedConnection) -> object:
    while True:
        with contextlib.suppress(*AWAY):
            return await shared.ask(("ECHO", "in the end"))
