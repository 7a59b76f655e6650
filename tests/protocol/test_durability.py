"""L4, L3, K5: what was acknowledged survives `kill -9` of server and store; a call does not notice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.protocol.phrases import InCall, call, history, join, kinds, new_key, say, texts
from tests.support.client import Client, RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair, Person
from tests.support.server import Server

pytestmark = pytest.mark.faults
STORE_BACK_S = 5
"""The contract's bound for a dead store to be started again."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mortal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for the deaths of this module; each test leaves it running."""
    server = await Server(tmp_path_factory.mktemp("mortal")).start()
    yield server
    await server.close()
    assert "Traceback" not in server.log, server.log[-4000:]


@pytest_asyncio.fixture(loop_scope="session")
async def couple(mortal: Server) -> Pair:
    """Two people of the mortal server."""
    return await mortal.pair()


async def _come_back(connect: Fleet, person: Person, server: Server, device: str) -> Client:
    """Connect as soon as the server lets one in again."""

    async def try_once() -> Client | None:
        try:
            return await connect(person, server=server, device=device)
        except RefusedError:
            return None

    client = await until(try_once, "the server to let somebody in")
    assert client
    return client


async def _talk(client: Client, room: str, promised: dict[str, str], tried: list[str]) -> None:
    """Say numbered things until the connection dies; `promised` is key → id of what was acknowledged."""
    while True:
        key = new_key()
        tried.append(key)
        future = await client.begin("chat.send", {"room": room, "key": key, "text": key})
        ack = await future
        if ack["ok"]:
            promised[key] = ack["id"]
        else:
            tried.pop()
            await asyncio.sleep(ack["error"]["retry_ms"] / 1000)


@pytest.mark.parametrize("victims", ["server", "store", "both"])
async def test_L4_an_acknowledged_event_survives_kill_9(
    connect_python: Fleet, mortal: Server, couple: Pair, victims: str
) -> None:
    mentor = await connect_python(couple.mentor, server=mortal)
    await join(mentor, couple.room)
    promised: dict[str, str] = {}
    tried: list[str] = []
    talking = asyncio.create_task(_talk(mentor, couple.room, promised, tried))
    await until(lambda: len(promised) >= 8, "some acknowledged messages")
    if victims in {"store", "both"}:
        mortal.signal_store(signal.SIGKILL)
    if victims in {"server", "both"}:
        await mortal.restart()
    talking.cancel()
    back = await _come_back(connect_python, couple.mentor, mortal, mentor.device)

    async def joined() -> bool:
        return bool((await back.ask("room.join", {"room": couple.room, "cursor": None}))["ok"])

    await until(joined, "the store's return", timeout_s=STORE_BACK_S + 3)
    stored = {event["key"]: event["id"] for event in await history(back, couple.room)}
    assert {key: stored.get(key) for key in promised} == promised
    for key in tried:
        ack = await say(back, couple.room, key, key=key)
        assert ack["dup"] is (key in stored)
        assert ack["id"] == stored.get(key, ack["id"])
    assert await texts(back, couple.room) == tried, "each once, in the order in which they were said"


async def test_L3_same_key_across_a_restart_acks_the_first_id_again(
    connect: Fleet, mortal: Server, couple: Pair
) -> None:
    mentor = await connect(couple.mentor, server=mortal)
    await join(mentor, couple.room)
    key = new_key()
    first = await say(mentor, couple.room, "before", key=key)
    await mortal.restart()
    back = await _come_back(connect, couple.mentor, mortal, mentor.device)
    await join(back, couple.room)
    again = await say(back, couple.room, "before", key=key)
    assert (again["id"], again["dup"]) == (first["id"], True)
    other = {"room": couple.room, "key": key, "id": first["id"]}
    assert (await back.refused("chat.delete", other))["code"] == "conflict"


async def test_L5_a_cursor_is_good_across_a_restart(connect: Fleet, mortal: Server, couple: Pair) -> None:
    mentor = await connect(couple.mentor, server=mortal)
    mentee = await connect(couple.mentee, server=mortal)
    await join(mentor, couple.room)
    epoch = (await join(mentee, couple.room))["log"]["epoch"]
    key = new_key()
    seen = await say(mentor, couple.room, "seen", key=key)
    missed = await say(mentor, couple.room, "missed")
    await mortal.restart()
    back = await _come_back(connect, couple.mentee, mortal, mentee.device)
    cursor = {"epoch": epoch, "id": seen["id"], "key": key}
    log = (await join(back, couple.room, cursor=cursor))["log"]
    assert (log["epoch"], log["reset"]) == (epoch, None)
    assert [(event["id"], event["text"]) for event in log["events"]] == [(missed["id"], "missed")]
    marker = await say(back, couple.room, "afterwards")
    assert (await back.next_push("log", {"id": marker["id"]}))["prev"] == missed["id"]


async def test_L10_read_marks_survive_a_restart(connect_python: Fleet, mortal: Server, couple: Pair) -> None:
    mentor = await connect_python(couple.mentor, server=mortal)
    await join(mentor, couple.room)
    ack = await say(mentor, couple.room, "read me")
    await mentor.done("chat.read", {"room": couple.room, "id": ack["id"]})
    await mortal.restart()
    back = await _come_back(connect_python, couple.mentor, mortal, mentor.device)
    marks = {one["person"]: one["read"] for one in (await join(back, couple.room))["people"]}
    assert marks[couple.mentor.person] == ack["id"]


async def test_L8_deletion_survives_a_restart(connect_python: Fleet, mortal: Server, couple: Pair) -> None:
    mentor = await connect_python(couple.mentor, server=mortal)
    await join(mentor, couple.room)
    ack = await say(mentor, couple.room, "a secret that dies")
    await mentor.done("chat.delete", {"room": couple.room, "key": new_key(), "id": ack["id"]})
    await mortal.restart()
    back = await _come_back(connect_python, couple.mentor, mortal, mentor.device)
    await join(back, couple.room)
    assert await kinds(back, couple.room) == ["chat.deleted"]


async def test_K5_a_call_goes_on_over_a_restart_with_the_same_leg(
    connect: Fleet, mortal: Server, couple: Pair
) -> None:
    two = await InCall.begin(
        couple.room,
        await connect(couple.mentor, server=mortal),
        await connect(couple.mentee, server=mortal),
    )
    epoch = (await join(two.caller, couple.room))["log"]["epoch"]
    head = (await history(two.caller, couple.room))[-1]
    await mortal.restart()
    cursor = {"epoch": epoch, "id": head["id"], "key": head["key"]}
    back: dict[Client, Client] = {}
    for old, person in ((two.caller, couple.mentor), (two.callee, couple.mentee)):
        client = back[old] = await _come_back(connect, person, mortal, old.device)
        joined = await join(client, couple.room, cursor=cursor)
        assert joined["you"]["peer"] == two.peers[old]
        assert joined["call"]["id"] == two.call
        assert joined["log"]["events"] == []
        again = await call(client, couple.room, call=two.call, leg=two.legs[old])
        assert (again["call"], again["leg"]) == (two.call, two.legs[old])
    caller, callee = back[two.caller], back[two.callee]
    await caller.done("call.signal", two.signal(two.caller, seq=5, gen=1))
    assert (await callee.next_push("call.signal"))["from_leg"] == two.legs[two.caller]
    assert await kinds(caller, couple.room) == ["call.started"]
    for client in (caller, callee):
        assert not client.all("call.ring")
    for client in (caller, callee):
        await client.done("call.leave", {"room": couple.room, "call": two.call})
    assert await kinds(caller, couple.room) == ["call.started", "call.ended"]


async def test_K5_an_unanswered_call_rings_on_or_is_over_after_a_restart(
    connect_python: Fleet, mortal: Server, couple: Pair
) -> None:
    """A ring never outlives its call: whoever comes back sees the call, and hanging up makes it a missed one."""
    mentor = await connect_python(couple.mentor, server=mortal)
    await join(mentor, couple.room)
    started = await call(mentor, couple.room)
    await mortal.restart()
    back = await _come_back(connect_python, couple.mentor, mortal, mentor.device)
    assert (await join(back, couple.room))["call"]["id"] == started["call"]
    await call(back, couple.room, call=started["call"], leg=started["leg"])
    await back.done("call.leave", {"room": couple.room, "call": started["call"]})
    assert await kinds(back, couple.room) == ["call.started", "call.missed"]


async def test_operators_a_dead_store_is_back_within_5_s(
    connect_python: Fleet, mortal: Server, couple: Pair
) -> None:
    mentor = await connect_python(couple.mentor, server=mortal)
    mentee = await connect_python(couple.mentee, server=mortal)
    await join(mentor, couple.room)
    await join(mentee, couple.room)
    before = await say(mentor, couple.room, "before")
    old = set(mortal.stores())
    mortal.signal_store(signal.SIGKILL)
    key = new_key()

    async def accepted() -> dict[str, object] | None:
        ack = await mentor.ask("chat.send", {"room": couple.room, "key": key, "text": "after"})
        return ack if ack["ok"] else None

    ack = await until(accepted, "the store's return", timeout_s=STORE_BACK_S + 1)
    assert ack
    assert not old & set(mortal.stores())
    pushed = await mentee.next_push("log", {"id": ack["id"]})
    assert (pushed["prev"], pushed["text"]) == (before["id"], "after")
    assert not mentor.is_closed


async def test_L4_a_stalled_store_promises_nothing(
    connect_python: Fleet, mortal: Server, couple: Pair
) -> None:
    """What is refused as `unavailable` may be sent again with its key, and is there once. The portal shows what the database
    knows meanwhile."""
    mentor = await connect_python(couple.mentor, server=mortal)
    await join(mentor, couple.room)
    key = new_key()
    mortal.signal_store(signal.SIGSTOP)
    try:
        future = await mentor.begin("chat.send", {"room": couple.room, "key": key, "text": "stalled"})
        (room,) = await _portal_rooms(mortal, couple.mentee)
        assert (room["slug"], room["partner"]["online"], room["unread"]) == (couple.room, False, 0)
        ack = await asyncio.wait_for(future, 20)
        assert ack["error"]["code"] == "unavailable"
        assert ack["error"]["retry_ms"] >= 0
    finally:
        mortal.signal_store(signal.SIGCONT)

    async def accepted() -> bool:
        again = await mentor.ask("chat.send", {"room": couple.room, "key": key, "text": "stalled"})
        return bool(again["ok"])

    await until(accepted, "the store's return")
    assert await texts(mentor, couple.room) == ["stalled"]


async def _portal_rooms(server: Server, person: Person) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {person.token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(f"{server.url}/api/me") as answer:
        assert answer.status == 200
        rooms: list[dict[str, Any]] = (await answer.json())["rooms"]
        return rooms
