"""A server in service: health, stopping, its data folder. C3 is here, as it needs a server that stops."""

from __future__ import annotations

import asyncio
import signal
import stat
import time
from typing import Any

import aiohttp
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import InCall, join, kinds, meet, new_key, say, texts
from tests.support.client import RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.raw import Packet, RawSocket
from tests.support.server import Server, run_telementor

DRAIN_S = 10


async def _get(url: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_operators_health_readiness_and_metrics(server: Server) -> None:
    assert (await _get(f"{server.url}/healthz"))[0] == 200
    status, text, _ = await _get(f"{server.url}/readyz")
    assert status == 200
    assert "always" in text or "fsync" in text or "disk" in text, (
        f"L4: readyz says which promise holds: {text}"
    )
    status, text, headers = await _get(f"{server.url}/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert any(name.startswith("telementor") for name in names), sorted(names)


async def test_operators_metrics_hold_no_names_and_no_rooms(connect_python: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect_python, pair)
    await say(mentor, pair.room, "x")
    _, text, _ = await _get(f"{connect_python.server.url}/metrics")
    for private in (pair.room, pair.mentor.person, pair.mentor.email, "Mara"):
        assert private not in text


@pytest.mark.faults
async def test_operators_not_ready_while_the_store_stands_still(own_server: OpenServer) -> None:
    server = await own_server()
    server.signal_store(signal.SIGSTOP)
    try:

        async def refused() -> bool:
            return (await _get(f"{server.url}/readyz"))[0] == 503

        await until(refused, "readyz to say no")
        assert (await _get(f"{server.url}/healthz"))[0] == 200
    finally:
        server.signal_store(signal.SIGCONT)

    async def ready() -> bool:
        return (await _get(f"{server.url}/readyz"))[0] == 200

    await until(ready, "readyz to say yes again")


async def test_C3_sigterm_drains_with_goaway_and_exits_0(connect: Fleet, own_server: OpenServer) -> None:
    server = await own_server(DRAIN_S=2)
    pair = await server.pair()
    two = await InCall.begin(
        pair.room, await connect(pair.mentor, server=server), await connect(pair.mentee, server=server)
    )
    began = time.monotonic()
    server.ask_to_stop()
    for client in (two.caller, two.callee):
        goaway = await client.next_push("goaway")
        assert goaway["reason"]
        assert 0 <= goaway["in_ms"] <= 2000
    assert await server.ended(timeout_s=DRAIN_S) == 0
    assert time.monotonic() - began < DRAIN_S
    for client in (two.caller, two.callee):
        await client.closed()
    await server.start()
    back = await connect(pair.mentor, server=server, device=two.caller.device)
    assert (await join(back, pair.room))["call"]["id"] == two.call, "a call is not touched"
    assert await kinds(back, pair.room) == ["call.started"]
    assert not server.stores() or len(server.stores()) == 1


@pytest.mark.parametrize("drain_s", [0, 1])
async def test_C3_what_is_in_flight_is_finished_and_nothing_is_lost(
    connect_python: Fleet, own_server: OpenServer, drain_s: int
) -> None:
    server = await own_server(DRAIN_S=drain_s)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    futures = [
        await mentor.begin("chat.send", {"room": pair.room, "key": new_key(), "text": f"{n}"})
        for n in range(20)
    ]
    server.ask_to_stop()
    if drain_s:
        await asyncio.wait_for(asyncio.gather(*futures), DRAIN_S)
    assert await server.ended() == 0
    await mentor.closed()
    # Without any time, what the server had not read yet was not in flight there.
    acks = {f"{n}": future.result() for n, future in enumerate(futures) if future.done()}
    assert all(ack["ok"] for ack in acks.values())
    assert server.stores() == [], "the store ends with its server"
    await server.start()
    back = await connect_python(pair.mentor, server=server)
    await join(back, pair.room)
    said = await texts(back, pair.room)
    assert said == [f"{n}" for n in range(len(said))], "once, and in order"
    assert set(acks) <= set(said)


async def test_C3_a_draining_server_is_not_ready(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(DRAIN_S=4)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    server.ask_to_stop()
    await mentor.next_push("goaway")
    try:
        status, _, _ = await _get(f"{server.url}/readyz")
    except aiohttp.ClientError:
        status = 503  # it does not even listen any more
    assert status == 503
    assert await server.ended(timeout_s=DRAIN_S) == 0


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_C3_told_twice_it_waits_for_nobody_and_closes_in_order(
    connect_python: Fleet, own_server: OpenServer, transport: str
) -> None:
    server = await own_server()
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server, transports=(transport,))
    await join(mentor, pair.room)
    server.ask_to_stop()
    assert (await mentor.next_push("goaway"))["in_ms"] > 5_000
    await say(mentor, pair.room, "who stays is served until the end")
    began = time.monotonic()
    server.ask_to_stop()
    await mentor.closed()
    assert await server.ended(timeout_s=DRAIN_S) == 0
    assert time.monotonic() - began < 4


async def test_C3_a_socket_that_stays_is_closed_in_order(own_server: OpenServer) -> None:
    server = await own_server(DRAIN_S=0)
    pair = await server.pair()
    socket = await RawSocket.open(server.url)
    await socket.connect({"v": 1, "device": new_key(), "token": pair.mentor.token})
    server.ask_to_stop()
    goaway, *more = await socket.closed()
    assert (goaway["data"][0], more) == ("goaway", [])
    assert socket.told
    await socket.stop()
    assert await server.ended(timeout_s=DRAIN_S) == 0


async def test_C3_who_comes_in_while_it_drains_is_asked_to_go_too(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """Its handshake had begun before the drain: it is let in, and told how much time is left."""
    server = await own_server(DRAIN_S=4)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await RawSocket.open(server.url)
    server.signal_store(signal.SIGSTOP)
    try:
        await mentee.send(Packet.CONNECT, {"v": 1, "device": new_key(), "token": pair.mentee.token})
        await _get(f"{server.url}/healthz")  # what was sent before is read by now
        server.ask_to_stop()
        await mentor.next_push("goaway")
    finally:
        server.signal_store(signal.SIGCONT)
    assert (await mentee.receive())["type"] == Packet.CONNECT
    name, goaway = (await mentee.receive())["data"]
    assert name == "goaway"
    assert 0 < goaway["in_ms"] < 4_000
    await mentee.stop()
    with pytest.raises(RefusedError) as refusal:
        await connect_python(pair.mentee, server=server)
    assert refusal.value.error["code"] == "unavailable"
    await mentor.drop()
    assert await server.ended(timeout_s=DRAIN_S) == 0


@pytest.mark.faults
async def test_C3_a_store_that_hangs_does_not_keep_it_from_ending_in_10_s(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """The longest drain, somebody who does not go, and a request that nobody will answer."""
    server = await own_server(DRAIN_S=7)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    server.signal_store(signal.SIGSTOP)
    await mentor.begin("chat.send", {"room": pair.room, "key": new_key(), "text": "nobody knows"})
    assert await server.terminate(timeout_s=DRAIN_S) == 0
    assert server.stores() == []


async def test_C3_behind_a_proxy_it_is_unready_before_it_refuses(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """A load balancer needs a health check to notice; until then it goes on sending people here, and they are let in."""
    server = await own_server(DRAIN_S=4, DRAIN_NOTICE_MS=2000, TRUSTED_PROXIES="127.0.0.1")
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    server.ask_to_stop()

    async def unready() -> bool:
        return (await _get(f"{server.url}/readyz"))[0] == 503

    await until(unready, "readyz to say no")
    assert not mentor.all("goaway")
    mentee = await connect_python(pair.mentee, server=server)
    for client in (mentor, mentee):
        assert (await client.next_push("goaway"))["in_ms"] <= 2_000
        await client.drop()
    assert await server.ended(timeout_s=DRAIN_S) == 0


async def test_operators_an_idle_server_stops_at_once(own_server: OpenServer) -> None:
    """Nobody is there to be told: no reason to wait for the whole drain."""
    server = await own_server()
    assert await server.terminate(timeout_s=DRAIN_S) == 0


async def test_operators_a_second_server_on_the_same_data_is_refused(server: Server) -> None:
    began = time.monotonic()
    code, out, err = await run_telementor("serve", "--port", "0", "--data", str(server.data))
    assert code != 0
    assert time.monotonic() - began < 10
    assert "listening on" not in out
    assert "Traceback" not in out + err
    assert str(server.data) in out + err
    assert (await _get(f"{server.url}/readyz"))[0] == 200


async def test_operators_the_data_folder_is_private_and_says_who_wrote_it(server: Server) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    small = [file for file in server.data.iterdir() if file.is_file() and file.stat().st_size < 65_536]
    told = " ".join(file.read_bytes().decode(errors="ignore") for file in small).lower()
    assert "valkey" in told or "redis" in told


async def test_operators_the_log_holds_no_text_token_or_address(connect_python: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect_python, pair)
    secret = f"private words {new_key()}"
    ack = await say(mentor, pair.room, secret)
    await mentee.next_push("log", {"id": ack["id"]})
    with pytest.raises(RefusedError):
        await connect_python(None, auth={"v": 1, "device": new_key(), "token": f"bad-{secret}"})
    log = connect_python.server.log
    for private in (secret, pair.mentor.token, pair.mentor.email, pair.mentee.email, pair.mentor.link):
        assert private not in log


async def test_a_server_without_stun_and_relay_says_how_far_its_calls_reach(server: Server) -> None:
    assert "Neither STUN nor a relay is set: only direct networks will work" in server.log
