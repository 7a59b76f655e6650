"""Somebody who does not read costs the node no memory and the others no time, and has everything when it resumes.

PROTOCOL.md, "Limits": beyond 512 KiB that wait for a socket ephemeral pushes are dropped, then the socket is closed; so is
one that takes nothing for 10 s. Whatever carries it: a WebSocket, long-polling that polls no more, or that does not read its
answer.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable
from typing import Any

import aiohttp
import psutil
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import call, join, new_key, page, say
from tests.support.client import Client
from tests.support.figures import measured
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.raw import RawPolling, RawSocket, small_ears
from tests.support.server import Server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

KIB = 1024
FLOOD = 295
"""Signals of 60 KiB: 17 MiB, more than the kernel keeps for a connection on loopback."""

GROWTH = 5 * 1024 * KIB
"""What the node may have grown by: the backlog, and what a busy process grows by for other reasons. A third of the flood."""

SOUND = {"audio": True, "video": False, "screen": False}

Raw = RawSocket | RawPolling


class Third:
    """The mentee's second device, over bare transports; it is the one in the call."""

    def __init__(self, server: Server, pair: Pair, carrier: str) -> None:
        self.device = new_key()
        self._carrier = carrier
        self._auth = {"v": 1, "device": self.device, "token": pair.mentee.token}
        self._room = pair.room
        self._server = server
        self._stalled = False
        self.ears = asyncio.Semaphore(4)
        """Signals that may be on their way to somebody who reads."""
        self._unread: aiohttp.ClientResponse | None = None
        self.raw: Raw

    async def come(self) -> tuple[str, int]:
        """In the room and in the call: its peer and leg."""
        if self._carrier == "websocket":
            self.raw = await RawSocket.open(self._server.url, connector=small_ears())
        else:
            self.raw = RawPolling(self._server.url, connector=small_ears())
        await self.raw.connect(self._auth)
        joined = await self.raw.ask("room.join", {"room": self._room, "cursor": None})
        answered = await self.raw.ask("call.join", {"room": self._room, "media": SOUND}, number=2)
        return joined["you"]["peer"], answered["leg"]

    async def read(self) -> None:
        """Everything, until `stall`."""
        while not self._stalled:
            if isinstance(self.raw, RawSocket):
                packets: Any = [await self.raw.receive(timeout_s=60)]
            else:
                packets = await self.raw.poll()
            for packet in packets:
                if packet["data"][0] == "call.signal":
                    self.ears.release()

    def stall(self) -> None:
        """After what comes next it reads nothing more."""
        self._stalled = True

    async def poll_unread(self) -> None:
        if self._carrier == "polling that does not read" and isinstance(self.raw, RawPolling):
            self._unread = await self.raw.poll_unread()


async def _flood(sender: Client, signal: dict[str, Any], ears: asyncio.Semaphore | None = None) -> None:
    """As much as the rate allows, and no faster than the other side hears if it hears. In the end it may be gone."""
    for seq in range(FLOOD):
        if ears:
            await ears.acquire()
        ack = await sender.ask("call.signal", {**signal, "seq": seq})
        if not ack["ok"] and ack["error"]["code"] == "limited":
            await asyncio.sleep(ack["error"]["retry_ms"] / 1000)  # what the server asked for
        elif not ack["ok"]:
            assert ack["error"]["code"] == "peer_away"


async def _watch(
    client: Client, room: str, node: psutil.Process, during: Awaitable[None]
) -> tuple[list[float], int]:
    """While something goes on: milliseconds from each request of somebody else to its ack, and the node's greatest size."""
    work = asyncio.ensure_future(during)
    taken, greatest = [], 0
    while not work.done():
        began = time.perf_counter()
        await page(client, room, limit=1)
        taken.append((time.perf_counter() - began) * 1000)
        greatest = max(greatest, node.memory_info().rss)
    await work
    return taken, greatest


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


@pytest.mark.parametrize("carrier", ["websocket", "polling that stops", "polling that does not read"])
async def test_limits_a_stalled_reader_costs_no_memory_and_resumes(
    connect_python: Fleet, own_server: OpenServer, carrier: str
) -> None:
    server = await own_server()
    node = psutil.Process(server.pid)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentor, pair.room)
    await join(mentee, pair.room)
    started = await call(mentor, pair.room)
    third = Third(server, pair, carrier)
    peer, leg = await third.come()
    signal = {
        "room": pair.room,
        "call": started["call"],
        "to": peer,
        "to_leg": leg,
        "gen": 0,
        "description": {"type": "offer", "sdp": "a" * 60 * KIB},
    }
    reading = asyncio.create_task(third.read())
    without, _ = await _watch(mentee, pair.room, node, _flood(mentor, signal, third.ears))
    third.stall()
    await mentor.done("call.signal", {**signal, "seq": FLOOD})
    await reading

    before = node.memory_info().rss
    polling = asyncio.create_task(third.poll_unread())
    began = time.monotonic()
    gone_s: list[float] = []
    texts = [f"{number} " + "x" * 7_000 for number in range(10)]
    for text in texts:
        await say(mentor, pair.room, text)
        await mentee.ask("chat.typing", {"room": pair.room, "on": True})
    away = asyncio.create_task(
        mentor.next_push("peer", {"device": third.device, "state": "away"}, timeout_s=20)
    )
    away.add_done_callback(lambda _: gone_s.append(time.monotonic() - began))
    within, greatest = await _watch(mentee, pair.room, node, _flood(mentor, signal))
    await away
    growth = max(greatest, node.memory_info().rss) - before

    back = await connect_python(pair.mentee, server=server, device=third.device)
    log = (await join(back, pair.room))["log"]
    assert [event["text"] for event in log["events"] if event["kind"] == "chat.posted"] == texts
    await say(mentor, pair.room, "undisturbed")
    measured(f"stalled reader ({carrier}): closed after", gone_s[0], "s")
    measured(f"stalled reader ({carrier}): growth of the node", growth / KIB / KIB, "MiB")
    measured(f"stalled reader ({carrier}): p95 of somebody else, it reads", _p95(without), "ms")
    measured(f"stalled reader ({carrier}): p95 of somebody else, it does not", _p95(within), "ms")
    assert growth < GROWTH
    await polling
    await third.raw.stop()


async def test_limits_a_reader_that_takes_nothing_for_10_s_is_cut(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """Far below the bytes: the ping would notice it, too, but later."""
    server = await own_server()
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    third = Third(server, pair, "polling that stops")
    await third.come()
    began = time.monotonic()
    await say(mentor, pair.room, "nobody fetches this")
    await mentor.next_push("peer", {"device": third.device, "state": "away"}, timeout_s=14)
    assert time.monotonic() - began > 9.5
    assert await _overflows(server) == 1
    await third.raw.stop()


async def _overflows(server: Server) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return int(
        float(next(line.split()[-1] for line in lines if line.startswith("telementor_overflows_total ")))
    )


async def test_limits_an_answer_that_is_not_read_counts_until_it_is(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """What a poll has fetched still waits: whoever fetches and does not read is over the bound with the next pushes."""
    server = await own_server()
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    started = await call(mentor, pair.room)
    third = Third(server, pair, "polling that does not read")
    peer, leg = await third.come()
    assert isinstance(third.raw, RawPolling)
    offer = {"type": "offer", "sdp": "a" * 60 * KIB}
    signal = {"room": pair.room, "call": started["call"], "to": peer, "to_leg": leg, "gen": 0}
    for seq in range(8):
        await mentor.done("call.signal", {**signal, "seq": seq, "description": offer})
    unread = await third.raw.poll_unread()
    acks = [
        await mentor.ask("call.signal", {**signal, "seq": seq, "description": offer}) for seq in range(8, 12)
    ]
    assert [ack["error"]["code"] for ack in acks if not ack["ok"]][-1:] == ["peer_away"]
    assert await _overflows(server) == 1
    unread.close()
    await third.raw.stop()
