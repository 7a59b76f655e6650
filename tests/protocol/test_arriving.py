"""How many may come: rates of one address, transports that have not logged in, sockets of a node (PROTOCOL.md, "Limits")."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import join, new_key, say
from tests.support.client import RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.needs import needs
from tests.support.people import Person
from tests.support.raw import RawPolling, RawSocket
from tests.support.server import Server


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def metric(http: aiohttp.ClientSession, server: Server, line: str) -> float:
    async with http.get(f"{server.url}/metrics") as answer:
        text = await answer.text()
    return float(next(one.split()[-1] for one in text.splitlines() if one.startswith(f"{line} ")))


async def _check_limited(answer: aiohttp.ClientResponse, status: int, code: str) -> None:
    assert answer.status == status
    assert int(answer.headers["Retry-After"]) >= 1
    error = (await answer.json())["error"]
    assert error["code"] == code
    assert error["retry_ms"] > 0


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_limits_new_transports_of_one_address(
    own_server: OpenServer, http: aiohttp.ClientSession, transport: str
) -> None:
    server = await own_server(HANDSHAKES_PER_S=1, HANDSHAKES_BURST=3, TRUSTED_PROXIES="127.0.0.1")
    url = f"{server.url}/socket.io/?EIO=4&transport={transport}"
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    headers = upgrade if transport == "websocket" else {}
    for _ in range(3):
        async with http.get(url, headers={**headers, **_from("203.0.113.5")}) as answer:
            assert answer.status == (101 if transport == "websocket" else 200)
    async with http.get(url, headers={**headers, **_from("203.0.113.5")}) as answer:
        await _check_limited(answer, 429, "limited")
    async with http.get(url, headers={**headers, **_from("203.0.113.6")}) as answer:
        assert answer.status in {101, 200}, "another address has a rate of its own"
    assert await metric(http, server, 'telementor_limited_addresses_total{what="handshake"}') == 1
    assert await metric(http, server, 'telementor_refused_sockets_total{code="limited"}') == 1


async def test_limits_an_established_socket_is_not_rated(own_server: OpenServer) -> None:
    server = await own_server(HANDSHAKES_PER_S=1, HANDSHAKES_BURST=1)
    polling = RawPolling(server.url)
    try:
        assert await polling.open() == 200
        assert [await polling.post_text("3") for _ in range(5)] == [200] * 5
    finally:
        await polling.stop()


async def test_limits_nobody_chooses_an_address_by_a_header(
    own_server: OpenServer, http: aiohttp.ClientSession
) -> None:
    """Without trusted_proxies X-Forwarded-For changes nothing, and the server says once that there may be a proxy."""
    server = await own_server(HANDSHAKES_PER_S=1, HANDSHAKES_BURST=2)
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    statuses = []
    for number in range(4):
        async with http.get(url, headers=_from(f"203.0.113.{number}")) as answer:
            statuses.append(answer.status)
    assert statuses[:2] == [200, 200]
    assert 429 in statuses[2:]
    assert server.log.count("not in trusted_proxies") == 1
    assert "203.0.113." not in server.log


async def test_limits_links_and_requests_from_one_address_and_requests_of_one_person(
    own_server: OpenServer, http: aiohttp.ClientSession
) -> None:
    bounds = {"ENTERS_PER_S": 1, "ENTERS_BURST": 3, "REQUESTS_PER_S": 1, "REQUESTS_BURST": 4}
    server = await own_server(**bounds, API_PER_S=1, API_BURST=5, TRUSTED_PROXIES="127.0.0.1")
    pair = await server.pair()

    async def enter(token: str, address: str) -> aiohttp.ClientResponse:
        async with http.post(
            f"{server.url}/enter", data={"token": token}, headers=_from(address), allow_redirects=False
        ) as answer:
            return answer

    guesses = [await enter(f"guess-{number}", "203.0.113.5") for number in range(3)]
    assert [answer.status for answer in guesses] == [404] * 3
    token = pair.mentor.link.split("#")[1]
    refused = await enter(token, "203.0.113.5")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (await enter(token, "203.0.113.6")).status == 303, "the link was not used up"
    assert await metric(http, server, 'telementor_limited_addresses_total{what="enter"}') == 1

    async def me(person: Person, address: str) -> int:
        headers = {**_from(address), "Authorization": f"Bearer {person.token}"}
        async with http.get(f"{server.url}/api/me", headers=headers) as answer:
            if answer.status != 200:
                await _check_limited(answer, 429, "limited")
            return answer.status

    assert [await me(pair.mentor, "203.0.113.5") for _ in range(4)] == [200] * 4
    assert 429 in [await me(pair.mentee, "203.0.113.5") for _ in range(8)], "too much from one address"
    assert await metric(http, server, 'telementor_limited_addresses_total{what="request"}') >= 1
    assert 429 in [await me(pair.mentor, f"203.0.113.{number}") for number in range(6, 26)], "too much of one"
    assert await me(pair.mentee, "203.0.113.6") == 200, "each has a rate of their own"


async def test_limits_transports_that_have_not_logged_in(
    connect_python: Fleet, own_server: OpenServer, http: aiohttp.ClientSession
) -> None:
    server = await own_server(HANDSHAKES_MAX=3, CONNECT_TIMEOUT_S=1)
    pair = await server.pair()
    inside = await connect_python(pair.mentor, server=server)
    silent = [await RawSocket.open(server.url) for _ in range(3)]
    try:
        assert await metric(http, server, "telementor_handshakes") == 3
        async with http.get(f"{server.url}/socket.io/?EIO=4&transport=polling") as answer:
            await _check_limited(answer, 503, "unavailable")
        await join(inside, pair.room)
        await say(inside, pair.room, "who is in is not affected")
        for socket in silent:
            await socket.closed()  # C2: after the time for a CONNECT
        assert await connect_python(pair.mentee, server=server)
        assert await metric(http, server, "telementor_handshakes") == 0
    finally:
        for socket in silent:
            await socket.stop()


async def test_limits_sockets_of_a_server(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(SOCKETS_MAX=2)
    pair = await server.pair()

    async def arrive() -> Any:
        try:
            return await connect_python(pair.mentor, server=server)
        except RefusedError as refusal:
            return refusal.error

    came = await asyncio.gather(*(arrive() for _ in range(5)))
    refused = [one for one in came if isinstance(one, dict)]
    assert [error["code"] for error in refused] == ["unavailable"] * 3
    assert all(error["retry_ms"] > 0 for error in refused)
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/readyz") as answer:
        assert answer.status == 200, "full is not sick: its people would only fill the next one"
    inside = next(one for one in came if not isinstance(one, dict))
    await inside.drop()

    async def let_in() -> bool:
        return not isinstance(await arrive(), dict)

    await until(let_in, "the free place to be found")


async def test_limits_a_forwarded_host_makes_no_page_ours(
    own_server: OpenServer, http: aiohttp.ClientSession
) -> None:
    """X-Forwarded-Host and X-Forwarded-Proto are believed from nobody, not even from a trusted proxy."""
    server = await own_server(TRUSTED_PROXIES="127.0.0.1")
    pair = await server.pair()
    foreign = {
        "Origin": "https://evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
    }
    form = {"token": pair.mentor.link.split("#")[1], "login": new_key().replace("-", "")[:16]}
    async with http.post(f"{server.url}/enter", data=form, headers=foreign, allow_redirects=False) as answer:
        assert answer.status == 403


async def test_limits_the_server_allows_itself_the_files_that_its_sockets_need(
    own_server: OpenServer,
) -> None:
    needs("resource limits of other processes", hasattr(psutil.Process, "rlimit"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        server = await own_server(SOCKETS_MAX=900, HANDSHAKES_MAX=100)
        greedy = await own_server(SOCKETS_MAX=1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert psutil.Process(server.pid).rlimit(resource.RLIMIT_NOFILE) == (3000, hard)
    assert "fewer open files" not in server.log
    if hard < 1_000_000:
        assert psutil.Process(greedy.pid).rlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert "fewer open files" in greedy.log
