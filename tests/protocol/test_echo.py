"""K6, the network check: an aiortc peer stands for the browser, in a network that is not the machine's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from tests.protocol.phrases import join, say
from tests.support.aiortc_peer import AiortcPeer
from tests.support.client import Client
from tests.support.condition import until
from tests.support.fleet import Fleet, GetBridge
from tests.support.private_network import ADDRESS, private_network
from tests.support.server import Server


class EchoAnswer(msgspec.Struct):
    """What K6 says of an answer."""

    ok: bool
    description: dict[str, str]
    limit_s: int


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def one_server(tmp_path_factory: pytest.TempPathFactory, get_bridge: GetBridge) -> AsyncIterator[Fleet]:
    """A server that has room for two checks, in a network of its own."""
    with private_network():
        settings = {"TELEMENTOR_NETWORK_CHECKS_MAX": "2", "TELEMENTOR_DRAIN_S": "1"}
        server = await Server(tmp_path_factory.mktemp("isolated"), settings).start()
        fleet = Fleet(server, "python", get_bridge)
        yield fleet
        await server.close()
        assert "Traceback" not in server.log, server.log[-4000:]
        assert "never retrieved" not in server.log


@pytest_asyncio.fixture(loop_scope="session")
async def isolated(one_server: Fleet) -> AsyncIterator[Fleet]:
    """The server, idle, and clients that go with the test."""
    yield one_server
    await one_server.close()
    await until(lambda: none_runs(one_server.server), "the end of all checks")


async def running(server: Server) -> int:
    """How many checks the server says it runs."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as response:
        text = await response.text()
    line = next(line for line in text.splitlines() if line.startswith("telementor_network_checks "))
    return int(float(line.split()[1]))


async def none_runs(server: Server) -> bool:
    """Whether every check has ended."""
    return await running(server) == 0


async def arrived(fleet: Fleet) -> tuple[Client, str]:
    """Somebody who has joined a room."""
    pair = await fleet.server.pair()
    client = await fleet(pair.mentor)
    await join(client, pair.room)
    return client, pair.room


@asynccontextmanager
async def browser(*, video: bool = True) -> AsyncIterator[AiortcPeer]:
    """An aiortc peer that goes away with the block."""
    peer = AiortcPeer(video=video)
    try:
        yield peer
    finally:
        await peer.close()


async def check(client: Client, room: str, peer: AiortcPeer) -> dict[str, Any]:
    """Begin a network check; the server's answer is taken."""
    answer = await client.done("echo", {"room": room, "description": await peer.offer()})
    msgspec.convert(answer, EchoAnswer)
    await peer.accept(answer["description"])
    return answer


async def test_K6_what_is_sent_comes_back_with_reports_of_loss(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    async with browser() as peer:
        answer = await check(client, room, peer)
        assert (answer["description"]["type"], answer["limit_s"]) == ("answer", 20)
        await until(peer.flowing, "sound and picture to come back", timeout_s=15)

        async def reported() -> bool:
            return await peer.reported_loss() == {"audio": 0, "video": 0}

        await until(reported, "the server's word on what it received")
        assert await running(isolated.server) == 1
    await until(lambda: none_runs(isolated.server), "its end with the browser's connection", timeout_s=5)


async def test_K6_sound_alone_will_do(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    async with browser(video=False) as peer:
        await check(client, room, peer)
        await until(peer.flowing, "sound to come back", timeout_s=15)


async def test_K6_the_next_check_of_a_socket_replaces_its_last(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    async with browser(video=False) as first, browser(video=False) as second:
        await check(client, room, first)
        await until(first.flowing, "the first to flow", timeout_s=15)
        await check(client, room, second)
        await until(lambda: first.state == "closed", "the first to be closed by the server")
        await until(second.flowing, "the second to flow", timeout_s=15)
        assert await running(isolated.server) == 1


async def test_K6_limited_when_too_many_run_and_the_room_is_open_all_the_same(isolated: Fleet) -> None:
    busy = [await arrived(isolated) for _ in range(3)]
    async with browser(video=False) as one, browser(video=False) as two, browser(video=False) as three:
        await check(*busy[0], one)
        await check(*busy[1], two)
        await until(one.flowing, "the first to flow", timeout_s=15)
        client, room = busy[2]
        error = await client.refused("echo", {"room": room, "description": await three.offer()})
        assert error["code"] == "limited"
        assert 0 < error["retry_ms"] <= 30_000
        assert error["message"] == (
            "Too many network checks run at the moment. You can still enter the room."
        )
        await client.done(
            "call.join", {"room": room, "media": {"audio": True, "video": True, "screen": False}}
        )
        await busy[0][0].drop()
        await until(lambda: one.state == "closed", "the check to end with its socket")
        await check(client, room, three)


async def test_K6_a_bad_offer_changes_nothing(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    async with browser(video=False) as peer:
        await check(client, room, peer)
        await until(peer.flowing, "sound to come back", timeout_s=15)
        bad = {"room": room, "description": {"type": "offer", "sdp": "v=0\r\nm=nonsense\r\n"}}
        error = await client.refused("echo", bad)
        assert (error["code"], error["field"]) == ("invalid", "description.sdp")
        before = peer.frames["audio"]
        await until(lambda: peer.frames["audio"] > before + 20, "the running check to go on")


async def test_T3_neither_chat_nor_signals_wait_for_a_check(
    one_server: Fleet, tmp_path: Path, get_bridge: GetBridge
) -> None:
    """Its STUN server says nothing, so the answer takes five seconds (K6: eight at most)."""
    with socket.socket(type=socket.SOCK_DGRAM) as deaf:
        deaf.bind((ADDRESS, 0))
        settings = {"TELEMENTOR_STUN_URLS": f"stun:{ADDRESS}:{deaf.getsockname()[1]}"}
        fleet = Fleet(await Server(tmp_path, settings).start(), "python", get_bridge)
        try:
            client, room = await arrived(fleet)
            async with browser(video=False) as peer:
                offer = {"room": room, "description": await peer.offer()}
                answering = await client.begin("echo", offer)
                await say(client, room, "Meanwhile.")
                await client.done("ice", {"room": room})
                assert not answering.done()
                assert (await asyncio.wait_for(answering, 8))["ok"]
        finally:
            await fleet.close()
            await fleet.server.close()


async def test_K6_a_browser_that_never_connects_goes_with_its_socket(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    async with browser() as peer:
        offer = await peer.offer()
    await client.done("echo", {"room": room, "description": offer})
    assert await running(isolated.server) == 1
    await client.drop()
    await until(lambda: none_runs(isolated.server), "its end with the socket", timeout_s=5)


async def test_K6_limited_a_socket_begins_one_in_five_seconds_after_three(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    bad = {"room": room, "description": {"type": "offer", "sdp": "v=0\r\n"}}
    codes = [(await client.refused("echo", bad))["code"] for _ in range(4)]
    assert codes == ["invalid"] * 3 + ["limited"]


async def test_K6_a_check_belongs_to_a_room_and_begins_with_an_offer(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    sdp = {"type": "offer", "sdp": "v=0\r\n"}
    error = await client.refused("echo", {"room": "nowhere", "description": sdp})
    assert error["code"] == "not_found"
    error = await client.refused("echo", {"room": room, "description": {**sdp, "type": "answer"}})
    assert (error["code"], error["field"]) == ("invalid", "description.type")


async def test_K6_a_server_that_stops_ends_its_checks(isolated: Fleet) -> None:
    client, room = await arrived(isolated)
    async with browser(video=False) as peer:
        await check(client, room, peer)
        await until(peer.flowing, "sound to come back", timeout_s=15)
        ended = asyncio.create_task(isolated.server.terminate())
        await until(lambda: peer.state == "closed", "the check to end with its server")
        assert await ended == 0
    await isolated.server.start()
