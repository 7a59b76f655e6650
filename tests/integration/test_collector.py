"""The collector spares what has been there for long (`signaling/collector.py`), so that must end without it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.protocol.phrases import CAMERA, join, say
from tests.support import uncollected_server
from tests.support.client import Client, Options, PythonClient
from tests.support.condition import until
from tests.support.server import Server

pytestmark = pytest.mark.integration

PROGRAM = (sys.executable, "-m", "tests.support.uncollected_server")


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[Server]:
    made = Server(tmp_path, program=PROGRAM)
    try:
        yield await made.start()
    finally:
        await made.close()


async def left_behind(server: Server) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as response:
        found = re.search(rf"^{uncollected_server.NAME} (\S+)$", await response.text(), re.MULTILINE)
        assert found
        return int(float(found[1]))


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
async def test_what_belongs_to_a_socket_ends_with_it_without_the_collector(server, transports):
    pairs = [await server.pair() for _ in range(2)]
    before = await left_behind(server)
    clients: list[Client] = []
    for pair in pairs:
        for person in (pair.mentor, pair.mentee):
            client = await PythonClient(server.url, person, Options(transports=transports)).connect()
            await join(client, pair.room)
            await client.done("call.join", {"room": pair.room, "media": CAMERA})
            await say(client, pair.room, "hello")
            await client.done("log.page", {"room": pair.room})
            clients.append(client)
    assert await left_behind(server) >= before + 3 * len(clients)
    await asyncio.gather(*(client.drop() for client in clients))

    async def all_gone() -> bool:
        return await left_behind(server) == before

    await until(all_gone, "all that belonged to them to be gone")
