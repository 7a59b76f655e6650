"""C1–C4: who gets in, and how one is shown out. (C3 is in test_operators: it needs a server that stops.)"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any

import aiohttp
import pytest

from signaling.stores.audit import CHANGES_MAX
from tests.protocol.conftest import OpenRaw, OpenServer
from tests.protocol.phrases import join, meet, new_key, say
from tests.support.client import RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair, Person
from tests.support.portal import Browser
from tests.support.raw import Packet, RawPolling, RawSocket, packed
from tests.support.server import Server

CONNECT_WITHIN_S = 5
REVOKED_WITHIN_S = 5
SLACK_S = 2

FOREIGN = "https://evil.example"


def _auth(person: Person | None = None, **more: Any) -> dict[str, Any]:
    return {"v": 1, "device": new_key(), **({"token": person.token} if person else {}), **more}


async def test_C1_a_token_lets_in(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    assert (await join(mentor, pair.room))["you"]["person"] == pair.mentor.person


async def test_C1_a_token_counts_whatever_the_origin(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor, headers={"Origin": FOREIGN})
    await join(mentor, pair.room)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({"v": 2}, ["unsupported", "invalid"]),
        ({"v": "1"}, ["invalid"]),
        ({"device": "my phone"}, ["invalid"]),
        ({"device": 7}, ["invalid"]),
        ({"device": None}, ["invalid"]),
        ({"token": 7}, ["invalid", "unauthenticated"]),
        ({"token": "made-up"}, ["unauthenticated"]),
        ({"token": ""}, ["unauthenticated", "invalid"]),
        ({"admin": True}, ["invalid"]),
    ],
    ids=str,
)
async def test_C2_a_bad_auth_is_refused(
    connect: Fleet, pair: Pair, change: dict[str, Any], codes: list[str]
) -> None:
    with pytest.raises(RefusedError) as refusal:
        await connect(pair.mentor, auth=_auth(pair.mentor) | change)
    assert refusal.value.error["code"] in codes


@pytest.mark.parametrize("missing", ["v", "device", "token"])
async def test_C2_a_missing_auth_field_is_refused(connect: Fleet, pair: Pair, missing: str) -> None:
    auth = {name: value for name, value in _auth(pair.mentor).items() if name != missing}
    with pytest.raises(RefusedError) as refusal:
        await connect(pair.mentor, auth=auth)
    assert refusal.value.error["code"] == ("unauthenticated" if missing == "token" else "invalid")


@pytest.mark.parametrize("auth", [None, [], "token", 7, b"\x00"], ids=repr)
async def test_C2_an_auth_that_is_no_object_is_refused_and_closed(open_raw: OpenRaw, auth: Any) -> None:
    socket = await open_raw()
    answer = await socket.connect(auth)
    assert answer["type"] == Packet.CONNECT_ERROR
    assert answer["data"]["message"] == answer["data"]["data"]["code"]
    await socket.closed()


async def test_C2_a_refused_transport_is_really_closed(open_raw: OpenRaw) -> None:
    socket = await open_raw()
    answer = await socket.connect(_auth())
    assert answer["type"] == Packet.CONNECT_ERROR
    assert answer["data"]["data"]["code"] == "unauthenticated"
    await socket.closed()


async def test_C2_a_refused_polling_session_is_really_closed(server: Server) -> None:
    polling = RawPolling(server.url)
    try:
        assert await polling.open() == 200
        await polling.post(_connect_packet(_auth()))
        async with asyncio.timeout(CONNECT_WITHIN_S):
            while not isinstance(answer := await polling.poll(), int):
                assert all(packet["type"] == Packet.CONNECT_ERROR for packet in answer)
        assert 400 <= answer < 500
    finally:
        await polling.stop()


def _connect_packet(auth: dict[str, Any]) -> bytes:
    return packed(Packet.CONNECT, auth)


async def test_C2_a_refusal_is_readable_over_long_polling_too(connect: Fleet) -> None:
    with pytest.raises(RefusedError) as refusal:
        await connect(None, auth=_auth(token="made-up"), transports=("polling",))
    assert refusal.value.error["code"] == "unauthenticated"


async def test_C2_a_refusal_waits_for_the_next_poll(server: Server) -> None:
    """A client whose poll is not pending while it sends CONNECT reads the refusal all the same."""
    polling = RawPolling(server.url)
    try:
        assert await polling.open() == 200
        await polling.post(_connect_packet(_auth(token="made-up")))
        answer = await polling.poll()
        assert not isinstance(answer, int), f"status {answer} instead of the refusal"
        assert answer[0]["data"]["message"] == "unauthenticated"
    finally:
        await polling.stop()


async def test_C2_a_transport_that_never_connects_is_closed_within_5_s(open_raw: OpenRaw) -> None:
    socket = await open_raw()
    began = time.monotonic()
    await socket.closed(timeout_s=CONNECT_WITHIN_S + SLACK_S)
    assert time.monotonic() - began > 1, "a slow but honest client needs some time to say CONNECT"


async def test_C2_a_polling_session_that_never_connects_is_closed_within_5_s(server: Server) -> None:
    polling = RawPolling(server.url)
    try:
        assert await polling.open() == 200
        async with asyncio.timeout(CONNECT_WITHIN_S + SLACK_S):
            while not isinstance(status := await polling.poll(), int):
                pass
        assert 400 <= status < 500
    finally:
        await polling.stop()


@pytest.mark.faults
async def test_C1_a_second_connect_while_the_first_is_under_way_closes_the_transport(
    own_server: OpenServer,
) -> None:
    """Two answers for one socket would leave the first person in the node's books for ever."""
    server = await own_server()
    pair = await server.pair()
    polling = RawPolling(server.url)
    assert await polling.open() == 200
    server.signal_store(signal.SIGSTOP)
    first = asyncio.create_task(polling.post(_connect_packet(_auth(pair.mentor))))
    socket = await RawSocket.open_upgrade(server.url, polling.sid)
    try:
        await socket.send(Packet.CONNECT, _auth(pair.mentee))
        assert await socket.closed() == []
    finally:
        server.signal_store(signal.SIGCONT)
        await socket.stop()
        await asyncio.gather(first, polling.poll())
        await polling.stop()


@pytest.mark.parametrize("nsp", ["/admin", "/socket.io", "/ ", "room"])
async def test_C2_other_namespaces_are_refused(open_raw: OpenRaw, pair: Pair, nsp: str) -> None:
    socket = await open_raw()
    answer = await socket.connect(_auth(pair.mentor), nsp=nsp)
    assert answer["type"] == Packet.CONNECT_ERROR
    await socket.closed(timeout_s=SLACK_S)  # at once, not when the time to connect is over


async def test_C2_a_second_namespace_beside_a_good_one_is_refused(open_raw: OpenRaw, pair: Pair) -> None:
    socket = await open_raw()
    assert (await socket.connect(_auth(pair.mentor)))["type"] == Packet.CONNECT
    assert (await socket.connect(_auth(pair.mentor), nsp="/admin"))["type"] == Packet.CONNECT_ERROR
    await socket.send(
        Packet.EVENT, ["room.join", {"room": pair.room, "cursor": None}], nsp="/admin", number=9
    )
    ack = await socket.ask("room.join", {"room": pair.room, "cursor": None})
    assert ack["ok"]


async def test_C2_events_before_connect_are_not_served(open_raw: OpenRaw, pair: Pair) -> None:
    socket = await open_raw()
    await socket.send(Packet.EVENT, ["room.join", {"room": pair.room, "cursor": None}], number=1)
    packets = await socket.closed(timeout_s=CONNECT_WITHIN_S + SLACK_S)
    assert not [packet for packet in packets if packet["type"] == Packet.ACK]


async def test_C1_the_cookie_counts_with_the_own_origin(connect: Fleet, server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        login = await browser.enter(pair.mentor.link)
        auth = {"v": 1, "device": new_key(), "login": login}
        mentor = await connect(None, auth=auth, headers={"Cookie": browser.cookies, "Origin": server.url})
        assert (await join(mentor, pair.room))["you"]["person"] == pair.mentor.person


@pytest.mark.parametrize("origin", [FOREIGN, "null", None, "http://127.0.0.1:1"], ids=str)
async def test_C1_a_cookie_from_a_foreign_origin_is_refused(
    server: Server, pair: Pair, open_raw: OpenRaw, origin: str | None
) -> None:
    async with Browser(server.url) as browser:
        login = await browser.enter(pair.mentor.link)
        headers = {"Cookie": browser.cookies} | ({"Origin": origin} if origin else {})
        try:
            socket = await open_raw(headers=headers)
        except aiohttp.WSServerHandshakeError:
            return  # refused even before the upgrade
        answer = await socket.connect({"v": 1, "device": new_key(), "login": login})
        assert answer["type"] == Packet.CONNECT_ERROR
        assert answer["data"]["message"] in {"forbidden", "unauthenticated"}
        await socket.closed()


async def test_C1_polling_with_a_cookie_needs_the_own_origin_on_its_posts(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        login = await browser.enter(pair.mentor.link)
        connect_packet = _connect_packet({"v": 1, "device": new_key(), "login": login})
        for origin, let_in in ((server.url, True), (FOREIGN, False), (None, False)):
            polling = RawPolling(server.url, {"Cookie": browser.cookies})
            try:
                assert await polling.open() == 200, "a same-origin polling GET carries no Origin"
                status = await polling.post(connect_packet, headers={"Origin": origin} if origin else {})
                answer = await polling.poll() if status == 200 else status
                connected = not isinstance(answer, int) and answer[0]["type"] == Packet.CONNECT
                assert connected is let_in, (origin, status, answer)
            finally:
                await polling.stop()


async def test_C1_a_cross_origin_page_may_not_read_the_answers(server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{server.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(url, headers={"Origin": FOREIGN}) as answer:
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            credentials = answer.headers.get("Access-Control-Allow-Credentials")
    assert not (allowed in {FOREIGN, "*"} and credentials == "true")


async def test_C4_revoking_ends_every_socket_within_5_s(connect: Fleet, server: Server, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    second = await connect(pair.mentor)
    await server.revoke(pair.mentor.email)
    for client in (mentor, second):
        assert (await client.next_push("revoked", timeout_s=REVOKED_WITHIN_S))["reason"]
        await client.closed(timeout_s=SLACK_S)
    with pytest.raises(RefusedError) as refusal:
        await connect(pair.mentor)
    assert refusal.value.error["code"] == "unauthenticated"
    await say(mentee, pair.room, "the other one is not touched")


async def test_C4_revoking_takes_no_longer_behind_many_other_changes(
    connect_python: Fleet, server: Server, pair: Pair
) -> None:
    """As many as an import of a whole programme makes, at once."""
    mentor = await connect_python(pair.mentor)
    lines = [(0, "test", "link.created", "{}")] * 8 * CHANGES_MAX
    with closing(sqlite3.connect(server.data / "telementor.db")) as database, database:
        database.executemany("INSERT INTO audit (at_ms, actor, action, detail) VALUES (?, ?, ?, ?)", lines)
    await server.revoke(pair.mentor.email)
    assert (await mentor.next_push("revoked", timeout_s=REVOKED_WITHIN_S))["reason"] == "revoked"


async def test_C4_a_revoked_transport_is_really_closed(open_raw: OpenRaw, server: Server, pair: Pair) -> None:
    socket = await open_raw()
    await socket.connect(_auth(pair.mentor))
    await server.revoke(pair.mentor.email)
    packets = await socket.closed(timeout_s=REVOKED_WITHIN_S + SLACK_S)
    assert [packet["data"][0] for packet in packets if packet["type"] == Packet.EVENT][-1] == "revoked"


async def test_C4_a_new_token_works_after_a_revocation(
    connect_python: Fleet, server: Server, pair: Pair
) -> None:
    await server.revoke(pair.mentor.email)
    token = await server.token(pair.mentor.email, 60)
    mentor = await connect_python(None, auth=_auth(token=token))
    await join(mentor, pair.room)


async def test_C4_an_expired_token_ends_nothing_but_opens_nothing(
    connect: Fleet, server: Server, pair: Pair
) -> None:
    token = await server.token(pair.mentor.email, 2)
    expires = time.monotonic() + 2
    mentor = await connect(None, auth=_auth(token=token))
    await join(mentor, pair.room)

    async def refused() -> str | None:
        try:
            early = await connect(None, auth=_auth(token=token))
        except RefusedError as refusal:
            return str(refusal.error["code"])
        await early.drop()
        return None

    assert await until(refused, "the token's end", timeout_s=2 + SLACK_S) == "unauthenticated"
    assert time.monotonic() >= expires - 1
    assert not mentor.is_closed
    await say(mentor, pair.room, "still here")


async def test_C4_log_out_ends_the_sockets_of_that_login(connect: Fleet, server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        login = await browser.enter(pair.mentor.link)
        by_cookie = await connect(
            None,
            auth={"v": 1, "device": new_key(), "login": login},
            headers={"Cookie": browser.cookies, "Origin": server.url},
        )
        by_token = await connect(pair.mentor)
        kept = browser.cookies
        await browser.log_out(login)
        assert (await by_cookie.next_push("revoked", timeout_s=REVOKED_WITHIN_S))["reason"]
        await by_cookie.closed(timeout_s=SLACK_S)
        with pytest.raises(RefusedError):
            await connect(
                None,
                auth={"v": 1, "device": new_key(), "login": login},
                headers={"Cookie": kept, "Origin": server.url},
            )
        await join(by_token, pair.room)


async def test_C4_removal_of_the_pair_shows_both_out(connect: Fleet, server: Server, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    await server.command("pair", "remove", "--room", pair.room)
    for client in (mentor, mentee):
        assert (await client.next_push("revoked", timeout_s=REVOKED_WITHIN_S))["reason"]
        await client.closed(timeout_s=SLACK_S)
    back = await connect(pair.mentor)
    error = await back.refused("room.join", {"room": pair.room, "cursor": None})
    assert error["code"] == "not_found", "whoever was shown out does not walk in again"


async def test_C2_a_disconnect_packet_ends_the_transport(open_raw: OpenRaw, pair: Pair) -> None:
    """Nobody without a namespace stays connected."""
    socket = await open_raw()
    await socket.connect(_auth(pair.mentor))
    await socket.send(Packet.DISCONNECT)
    await socket.closed(timeout_s=CONNECT_WITHIN_S + SLACK_S)


async def test_C2_garbage_tokens_answer_as_fast_as_any(server: Server) -> None:
    """A long token is refused, not searched for."""
    socket = await RawSocket.open(server.url)
    try:
        answer = await socket.connect(_auth(token="x" * 100_000))
        assert answer["type"] == Packet.CONNECT_ERROR
    finally:
        await socket.stop()
