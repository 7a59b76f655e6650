"""config/turnserver.conf as it is shipped, in a real coturn: it starts, lets in whom telementor sends, and relays into no
private network. Its own address and ports are put in, the secret, and a certificate."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioice import stun
from aioice.turn import TurnClientUdpProtocol

from media.ice import IceServers, Server
from media.relay_probe import probe
from tests.support.needs import REPOSITORY
from tests.support.private_network import ADDRESS, private_network
from tests.support.turn_server import SECRET, TurnServer

pytestmark = pytest.mark.integration

CONFIG = REPOSITORY / "config" / "turnserver.conf"

# The special-purpose registries of IANA (RFC 6890), as far as nobody on the internet has such an address. `::` cannot be
# listed: to coturn a range that begins with it is all addresses; it denies that one by itself.
NOT_PUBLIC = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32",
    "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip


@asynccontextmanager
async def relay(folder: Path, *options: str) -> AsyncIterator[TurnServer]:
    """The shipped configuration in a network of its own."""
    with private_network():
        server = TurnServer(folder, address=ADDRESS, config=CONFIG, options=["--log-file=stdout", *options])
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


def credential(url: str, secret: str = SECRET) -> Server:
    """As a client gets it with `room.join`."""
    ice = IceServers(turn_urls=(url,), turn_secret=secret)
    return ice.configuration("person", time.time_ns() // 1_000_000).servers[0]


@asynccontextmanager
async def allocated(server: TurnServer) -> AsyncIterator[TurnClientUdpProtocol]:
    """A client of the relay, with an address there."""
    made = credential(server.urls["udp"])
    place = (server.address, server.port)
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: TurnClientUdpProtocol(place, made.username, made.credential, 600, 500), remote_addr=place
    )
    try:
        await client.connect()
        yield client
        await client.delete()
    finally:
        transport.close()


async def refusal(client: TurnClientUdpProtocol, channel: int, peer: str) -> int | None:
    """The error of a relay that is asked to send to a peer."""
    try:
        await client.channel_bind(channel, (peer, 9))
    except stun.TransactionFailed as error:
        return error.response.error_code
    return None


def denied() -> list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]]:
    """The ranges of the file."""
    lines = CONFIG.read_text().splitlines()
    ranges = [line.partition("=")[2].split("-") for line in lines if line.startswith("denied-peer-ip=")]
    return [tuple(map(ipaddress.ip_address, ends)) for ends in ranges]


@pytest.mark.parametrize("network", NOT_PUBLIC)
def test_no_private_network_is_missing_in_the_lists(network: str) -> None:
    whole = ipaddress.ip_network(network)
    first, last = whole[0], whole[-1]
    assert any(low.version == first.version and low <= first and last <= high for low, high in denied()), (
        f"{network} is not denied"
    )


async def test_it_starts_and_allocates_with_a_credential_of_ours_and_no_other(tmp_path: Path) -> None:
    async with relay(tmp_path) as server:
        complaints = [
            line
            for line in server.log.splitlines()
            if re.search("error|bad config|unknown", line, re.IGNORECASE)
        ]
        assert complaints == []
        for transport in ("udp", "tcp"):
            url = server.urls[transport]
            for secret, problem in ((SECRET, None), ("guessed", "credential"), ("", "credential")):
                made = credential(url, secret)
                assert (await probe(url, made.username, made.credential)).problem == problem


async def test_it_relays_into_no_private_network(tmp_path: Path) -> None:
    async with relay(tmp_path) as server, allocated(server) as client:
        peers = [str(ipaddress.ip_network(one)[1]) for one in NOT_PUBLIC if ":" not in one]
        refused = {
            peer: await refusal(client, 0x4000 + number, peer)
            for number, peer in enumerate([*peers, ADDRESS, "127.0.0.1"])
        }
        assert set(refused.values()) == {403}, refused
        assert await refusal(client, 0x4100, "9.9.9.9") is None, "it relays to the internet"


async def test_behind_a_nat_two_who_are_relayed_meet_at_its_inner_address(tmp_path: Path) -> None:
    async with relay(tmp_path, f"--allowed-peer-ip={ADDRESS}") as server, allocated(server) as client:
        assert await refusal(client, 0x4000, ADDRESS) is None
        assert await refusal(client, 0x4001, "10.77.0.2") == 403


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_it_speaks_new_tls_only(tmp_path: Path) -> None:
    async with relay(tmp_path) as server:
        assert negotiated(server, ssl.TLSVersion.TLSv1_2) in ("TLSv1.2", "TLSv1.3")
        with pytest.raises(OSError, match=r"alert|timed out|EOF|reset"):
            negotiated(server, ssl.TLSVersion.TLSv1_1)


def negotiated(server: TurnServer, version: ssl.TLSVersion) -> str | None:
    """What the relay agrees to when it is offered this version, and newer ones beside TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that it is the relay that refuses
    context.minimum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.maximum_version = version
    with (
        socket.create_connection((server.address, server.tls_port), timeout=2) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return secured.version()
