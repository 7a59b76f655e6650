"""Two servers on one Redis, or one Cluster, and one database: one order, one presence, signals across; a killed one is
noticed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from signaling.stores.redis_client import connect
from signaling.stores.registry import person_channel
from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import OFFER, InCall, book, change, history, join, move, new_key, say, wall
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.processes import send_signal
from tests.support.redis_servers import running
from tests.support.redis_topologies import clustered
from tests.support.server import Server

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module", params=["redis", "cluster"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        # In a thread of its own: the session's event loop runs in this one.
        made = clustered() if request.param == "cluster" else running(request.param)
        yield thread.submit(stack.enter_context, made).result()
        thread.submit(stack.close).result()


@pytest_asyncio.fixture(loop_scope="session")
async def nodes(own_server: OpenServer, tmp_path: Path, store_url: str) -> tuple[Server, Server]:
    shared = {"REDIS": store_url, "DATABASE": f"sqlite:///{tmp_path / 'shared.db'}", "NODE_LEASE_MS": 1500}
    return await own_server(**shared), await own_server(**shared)


async def two_in_room(connect: Fleet, nodes: tuple[Server, Server]) -> tuple[Pair, InCall]:
    pair = await nodes[0].pair()
    mentor = await connect(pair.mentor, server=nodes[0])
    mentee = await connect(pair.mentee, server=nodes[1])
    return pair, await InCall.begin(pair.room, mentor, mentee)


async def test_L2_one_order_on_both_nodes(connect_python: Fleet, nodes: tuple[Server, Server]) -> None:
    pair, two = await two_in_room(connect_python, nodes)
    clients = (two.caller, two.callee)
    said = [await say(clients[number % 2], pair.room, f"{number}") for number in range(20)]
    for client in clients:
        await client.next_push("log", {"id": said[-1]["id"]})
        heard = [push["id"] for push in client.all("log") if push["kind"] == "chat.posted"]
        assert heard == [ack["id"] for ack in said]


async def test_L3_a_key_is_known_on_the_other_node(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    pair, _ = await two_in_room(connect_python, nodes)
    key = new_key()
    first = await say(await joined(connect_python, pair, nodes[0]), pair.room, "once", key=key)
    again = await say(await joined(connect_python, pair, nodes[1]), pair.room, "once", key=key)
    assert (again["id"], again["dup"]) == (first["id"], True)


async def joined(connect: Fleet, pair: Pair, server: Server):  # type: ignore[no-untyped-def]
    client = await connect(pair.mentor, server=server)
    await join(client, pair.room)
    return client


async def test_S5_what_is_moved_on_one_node_is_seen_on_the_other(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    pair = await nodes[0].pair()
    mentor = await connect_python(pair.mentor, server=nodes[0])
    mentee = await connect_python(pair.mentee, server=nodes[1])
    for client in (mentor, mentee):
        assert (await join(client, pair.room))["session"] is None
    session = await book(mentor, pair.room, wall(3))
    await mentee.next_push("log", {"kind": "session.requested"})
    movers = (mentor, mentee)
    for day in range(4, 10):
        session = await move(movers[day % 2], session, wall(day))
        await mentor.next_push("log", {"session": session})
        # What the log holds is shown, also by a node that has not heard it yet.
        assert (await join(mentee, pair.room))["session"] == session
    for client in movers:
        if not client.all("log", {"session": session}):
            await client.next_push("log", {"session": session})
        moves = [push["new"]["wall"] for push in client.all("log", {"kind": "session.rescheduled"})]
        assert moves == sorted(set(moves))
    assert [event["key"] for event in await history(mentor, pair.room)] == [
        event["key"] for event in await history(mentee, pair.room)
    ]


async def test_both_in_the_call_on_two_nodes_begin_the_session(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    pair, two = await two_in_room(connect_python, nodes)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M")
    booked = await book(two.caller, pair.room, soon, tz="UTC")
    await change(two.callee, "session.answer", booked, proposal=None, accept=0)
    for client in (two.caller, two.callee):
        started = await client.next_push("log", {"kind": "session.started"}, timeout_s=10)
        assert started["session"]["state"] == "live"
    assert [one["kind"] for one in await history(two.callee, pair.room)].count("session.started") == 1


async def test_K2_a_signal_reaches_the_other_node(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    pair, two = await two_in_room(connect_python, nodes)
    signal = {
        "room": pair.room,
        "call": two.call,
        "to": two.peers[two.callee],
        "to_leg": two.legs[two.callee],
    }
    await two.caller.done("call.signal", {**signal, "seq": 0, "gen": 0, "description": OFFER})
    heard = await two.callee.next_push("call.signal")
    assert (heard["from"], heard["description"]) == (two.peers[two.caller], OFFER)
    assert heard["to_leg"] == two.legs[two.callee]


async def test_R3_a_device_that_comes_through_the_other_node_replaces_itself(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    pair, two = await two_in_room(connect_python, nodes)
    back = await connect_python(pair.mentor, server=nodes[1], device=two.caller.device)
    await two.caller.next_push("replaced", {"reason": "device"})
    answer = await join(back, pair.room)
    assert answer["you"]["peer"] == two.peers[two.caller]
    assert answer["you"]["media"], "R2: still in the call"
    assert len(answer["peers"]) == 1


async def test_R2_a_killed_nodes_people_are_away_and_offline_within_5_s(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    pair, two = await two_in_room(connect_python, nodes)
    await nodes[0].kill()
    peer = two.peers[two.caller]
    await two.callee.next_push("peer", {"peer": peer, "state": "away"}, timeout_s=5)
    await two.callee.next_push("person", {"person": pair.mentor.person, "online": False}, timeout_s=5)
    back = await connect_python(pair.mentor, server=nodes[1], device=two.caller.device)
    assert (await join(back, pair.room))["you"]["peer"] == peer
    await two.callee.next_push("peer", {"peer": peer, "state": "here"})
    await say(back, pair.room, "over the other one")
    assert [event["kind"] for event in await history(two.callee, pair.room)] == [
        "call.started",
        "chat.posted",
    ]


async def test_R2_a_room_is_looked_at_in_time_whoever_has_changed_it_last(
    connect_python: Fleet, nodes: tuple[Server, Server], store_url: str
) -> None:
    """A node asks for no second look while its first stands; one that another node may have put off does not count."""
    pair = await nodes[0].pair()
    store = connect(store_url, 5)

    async def look() -> float:
        return float(await store.run("ZSCORE", "{nodes}:due", pair.room) or 0)

    mentor = await connect_python(pair.mentor, server=nodes[0])
    await join(mentor, pair.room)
    first = await look()
    assert first
    other = await connect_python(pair.mentor, server=nodes[0])
    await join(other, pair.room)
    assert await look() == first, "it stands"
    mentee = await connect_python(pair.mentee, server=nodes[1])
    await join(mentee, pair.room)
    second = await look()
    assert second > first, "the other node knows of no look"
    marker = await say(mentee, pair.room, "marker")
    await mentor.next_push("log", {"id": marker["id"]})
    third = await connect_python(pair.mentor, server=nodes[0])
    await join(third, pair.room)
    assert await look() > second, "another one has changed the room meanwhile"
    await third.drop()
    await mentee.next_push("peer", {"state": "away"})

    async def sooner() -> bool:
        return await look() < first

    await until(sooner, "a look when the grace of who went is over")
    await store.aclose()


async def test_R2_a_node_that_was_counted_dead_has_its_people_resume(
    connect_python: Fleet, nodes: tuple[Server, Server]
) -> None:
    """It stalls for longer than its lease: the others saw its people go, so they have to come back."""
    pair, two = await two_in_room(connect_python, nodes)
    peer = two.peers[two.caller]
    send_signal(nodes[0].pid, signal.SIGSTOP)
    try:
        await two.callee.next_push("peer", {"peer": peer, "state": "away"}, timeout_s=8)
    finally:
        send_signal(nodes[0].pid, signal.SIGCONT)
    await two.caller.closed(timeout_s=10)
    back = await connect_python(pair.mentor, server=nodes[0], device=two.caller.device)
    answer = await join(back, pair.room)
    assert (answer["you"]["peer"], bool(answer["you"]["media"])) == (peer, True)
    await two.callee.next_push("peer", {"peer": peer, "state": "here"}, timeout_s=5)
    await two.callee.next_push("person", {"person": pair.mentor.person, "online": True}, timeout_s=5)


async def test_R1_who_is_online_is_known_again_after_the_store_forgot(
    connect_python: Fleet, nodes: tuple[Server, Server], store_url: str
) -> None:
    """A failover may lose who has a socket: the nodes, whose channels were cut by it, say so again."""
    pair, two = await two_in_room(connect_python, nodes)
    store = connect(store_url, 5)
    sockets = f"{person_channel(pair.mentor.person)}:sockets"
    await store.run("DEL", sockets)
    await store.on_each_primary("CLIENT", "KILL", "TYPE", "pubsub")

    async def known() -> bool:
        return bool(await store.run("HLEN", sockets))

    await until(known, "the mentor's socket")
    await store.aclose()
    online = {one["person"]: one["online"] for one in (await join(two.callee, pair.room))["people"]}
    assert online == {pair.mentor.person: True, pair.mentee.person: True}
    assert not two.caller.is_closed
