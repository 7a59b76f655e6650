"""One server for all protocol tests, one Node process for the JavaScript clients, fresh people for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet, GetBridge
from tests.support.js_client.bridge import JsBridge
from tests.support.people import Pair
from tests.support.raw import RawSocket
from tests.support.server import Server

HERE = Path(__file__).parent
OpenServer = Callable[..., Awaitable[Server]]
OpenRaw = Callable[..., Awaitable[RawSocket]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here are integration tests and share one event loop with the session's fixtures."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)
            if pytest_asyncio.is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """The server that every test may talk to and none may kill."""
    running = await Server(tmp_path_factory.mktemp("server")).start()
    yield running
    await running.close()
    assert "Traceback" not in running.log, f"the server tripped:\n{running.log[-4000:]}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def get_bridge() -> AsyncIterator[GetBridge]:
    """The one Node process, started when the first JavaScript client is wanted."""
    started: list[JsBridge] = []

    async def get() -> JsBridge:
        if not started:
            started.append(await JsBridge().start())
        return started[0]

    yield get
    for bridge in started:
        await bridge.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def own_server(tmp_path: Path) -> AsyncIterator[OpenServer]:
    """`await own_server(RING_S=1)`: a server of this test's own, to be configured, killed and restarted."""
    servers: list[Server] = []

    async def open_server(**settings: Any) -> Server:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        named = {f"TELEMENTOR_{name}": str(value) for name, value in settings.items()}
        servers.append(Server(folder, named))
        return await servers[-1].start()

    yield open_server
    for one in servers:
        await one.close()


@pytest_asyncio.fixture(loop_scope="session", params=["python", "js"])
async def connect(
    request: pytest.FixtureRequest, server: Server, get_bridge: GetBridge
) -> AsyncIterator[Fleet]:
    """Clients of one kind; a test that uses this runs with python-socketio and with the official JavaScript client."""
    fleet = Fleet(server, request.param, get_bridge)
    yield fleet
    await fleet.close()


@pytest_asyncio.fixture(loop_scope="session")
async def connect_python(server: Server, get_bridge: GetBridge) -> AsyncIterator[Fleet]:
    """Python clients only: where the rule does not depend on the client, or a second run would cost seconds."""
    fleet = Fleet(server, "python", get_bridge)
    yield fleet
    await fleet.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pair(server: Server) -> Pair:
    """Two people who never met before, and their room."""
    return await server.pair()


@pytest_asyncio.fixture(loop_scope="session")
async def open_raw(server: Server) -> AsyncIterator[OpenRaw]:
    """`await open_raw()`: a bare WebSocket transport to the shared server."""
    sockets: list[RawSocket] = []

    async def open_one(**options: Any) -> RawSocket:
        sockets.append(await RawSocket.open(server.url, **options))
        return sockets[-1]

    yield open_one
    for socket in sockets:
        await socket.stop()
