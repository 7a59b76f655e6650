"""`media.relay_probe` against a real coturn: what works, and each way in which it does not."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aioice.turn import create_turn_endpoint

from media.ice import IceServers
from media.relay_probe import Finding, probe
from tests.support.condition import until
from tests.support.private_network import ADDRESS, private_network
from tests.support.server import run_telementor
from tests.support.turn_server import SECRET, TurnServer, free_port

pytestmark = pytest.mark.integration

NOW_MS = time.time_ns() // 1_000_000

OpenTurn = Callable[..., Awaitable[TurnServer]]


@pytest.fixture
async def open_turn(tmp_path: Path) -> AsyncIterator[OpenTurn]:
    """`await open_turn(…)`: a coturn that ends with the test."""
    servers: list[TurnServer] = []

    async def opened(**chosen: Any) -> TurnServer:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(TurnServer(folder, **chosen))
        return await servers[-1].start()

    yield opened
    for server in servers:
        await server.stop()


async def ask(url: str, *, secret: str = SECRET, now_ms: int = NOW_MS) -> Finding:
    """Probe with a credential as clients get them."""
    made = IceServers(turn_urls=(url,), turn_secret=secret).configuration("check", now_ms).servers[0]
    return await probe(url, made.username, made.credential)


async def test_a_relay_is_allocated_on_over_udp_tcp_and_tls_and_gives_an_address(
    open_turn: OpenTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = await open_turn()
    monkeypatch.setenv("SSL_CERT_FILE", str(relay.certificate))
    for transport, url in relay.urls.items():
        assert await ask(url) == Finding(url), transport
    for url in (f"stun:127.0.0.1:{relay.port}", f"stuns:localhost:{relay.tls_port}"):
        assert await probe(url) == Finding(url)


async def test_check_asks_every_address_and_words_what_came(
    open_turn: OpenTurn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = await open_turn()
    closed = f"turn:127.0.0.1:{free_port('127.0.0.1')}?transport=tcp"
    settings = {
        "TELEMENTOR_STUN_URLS": f"stun:127.0.0.1:{relay.port}",
        "TELEMENTOR_TURN_URLS": ",".join([*relay.urls.values(), closed]),
        "TELEMENTOR_TURN_SECRET": SECRET,
    }
    code, out, err = await run_telementor("check", "--data", str(tmp_path / "data"), settings=settings)
    assert (code, err) == (1, "")
    assert f"ok   stun:127.0.0.1:{relay.port} answers.\n" in out
    for transport in ("udp", "tcp"):
        assert f"ok   {relay.urls[transport]} gives an allocation and takes it back.\n" in out
    assert f"BAD  {relay.urls['tls']} shows a TLS certificate that browsers refuse (self-signed cert" in out
    assert f"BAD  {closed} does not answer: nothing listens on this port.\n" in out
    trusting = {
        **settings,
        "TELEMENTOR_TURN_SECRET": "a secret that is another",
        "SSL_CERT_FILE": str(relay.certificate),
    }
    _, out, _ = await run_telementor("check", "--data", str(tmp_path / "data"), settings=trusting)
    assert (
        f"BAD  {relay.urls['tls']} refuses our credential: turn_secret is not its static-auth-secret" in out
    )
    assert "a secret that is" not in out


async def test_nothing_is_left_on_the_relay(open_turn: OpenTurn) -> None:
    relay = await open_turn(options=["--user-quota=1"])

    async def again() -> bool:
        return (await ask(relay.urls["udp"])).problem is None

    for _ in range(3):  # coturn itself would keep it for minutes
        await until(again, "an allocation for the only one that there may be")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_wrong_secret_is_named(open_turn: OpenTurn, transport: str) -> None:
    relay = await open_turn()
    assert (await ask(relay.urls[transport], secret="another")).problem == "credential"


async def test_an_expired_credential_is_named(open_turn: OpenTurn) -> None:
    relay = await open_turn()
    assert (await ask(relay.urls["udp"], now_ms=0)).problem == "credential"


async def test_a_quota_is_named(open_turn: OpenTurn) -> None:
    relay = await open_turn(options=["--total-quota=1"])
    url = relay.urls["tcp"]
    made = IceServers(turn_urls=(url,), turn_secret=SECRET).configuration("other", NOW_MS).servers[0]
    transport, _ = await create_turn_endpoint(
        asyncio.DatagramProtocol, (relay.address, relay.port), made.username, made.credential, transport="tcp"
    )
    try:
        assert (await ask(url)).problem == "quota"
    finally:
        transport.close()


@pytest.mark.parametrize("scheme", ["stun", "turn"])
async def test_a_dead_port_is_silent(scheme: str) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"{scheme}:127.0.0.1:{deaf.getsockname()[1]}"
        assert (await ask(url)).problem == "silent"


@pytest.mark.parametrize(
    "url", ["turn:127.0.0.1:{}?transport=tcp", "turns:localhost:{}", "stun:127.0.0.1:{}"]
)
async def test_a_closed_port_is_named(url: str) -> None:
    assert (await ask(url.format(free_port("127.0.0.1")))).problem == "closed"


async def test_a_certificate_for_another_name_is_named(
    open_turn: OpenTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = await open_turn(name="relay.example.org")
    assert (await ask(relay.urls["tls"])).problem == "certificate", "nobody trusts it"
    monkeypatch.setenv("SSL_CERT_FILE", str(relay.certificate))
    found = await ask(relay.urls["tls"])
    assert found.problem == "certificate"
    assert "localhost" in found.detail


async def test_a_name_without_an_address_is_named() -> None:
    assert (await ask("turn:nowhere.invalid")).problem == "unresolved"


async def test_a_relay_that_knows_only_its_inner_address_is_named(tmp_path: Path) -> None:
    with private_network():
        subprocess.run(["ip", "addr", "add", "9.9.9.1/24", "dev", "tm0"], check=True)
        relay = TurnServer(tmp_path, address="9.9.9.1", options=[f"--relay-ip={ADDRESS}"])
        await relay.start()
        try:
            found = await ask(relay.urls["udp"])
        finally:
            await relay.stop()
    assert (found.problem, found.detail) == ("unroutable", ADDRESS)
