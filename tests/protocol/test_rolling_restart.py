"""Two nodes behind the shipped HAProxy are restarted in turn while people chat: nothing is lost, doubled or out of order.

The clients do what the contract asks of them: on `goaway` they come back at a random moment within it (C3), resume with
their cursor (L5), and ask again with the same key what was not acknowledged (L3).
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import history, join, new_key
from tests.support.client import Client, Options, PythonClient, RefusedError
from tests.support.condition import until
from tests.support.figures import measured
from tests.support.fleet import GetBridge
from tests.support.haproxy import CONFIG, HAProxy
from tests.support.js_client.bridge import JsClient
from tests.support.needs import needs_program
from tests.support.people import Pair, Person
from tests.support.redis_servers import running
from tests.support.server import Server

DRAIN_S = 4
NOTICE_MS = 1000
STOP_S = 10
CUTS = 4
"""Connections that may end before their client went: whoever went in the last moment. Measured: 0; 9 of 24 without `option
persist` in haproxy.cfg."""

PATIENCE_S = 25
AGAIN_S = 0.3
"""What a client waits for after a connection that did not come about, as long as nobody says how long."""

KINDS = (("python", "websocket"), ("python", "polling"), ("js", "websocket"), ("js", "polling"))


def test_the_shipped_haproxy_configuration_is_valid() -> None:
    told = subprocess.run(
        [needs_program("haproxy"), "-dW", "-c", "-f", str(CONFIG)], capture_output=True, text=True, timeout=10
    )
    assert told.returncode == 0, told.stderr
    assert "default" not in told.stderr


class Chatter:
    """One device of one person that writes as fast as it may, from the beginning to the end, over every restart."""

    def __init__(self, name: str, room: str, open_client: Callable[[str], Client]) -> None:
        self.name = name
        self.room = room
        self.device = new_key()
        self.heard: list[dict[str, Any]] = []
        self.acked: dict[str, str] = {}
        self.came_back: list[float] = []
        self.refused: Counter[str] = Counter()
        self.resets: list[str] = []
        self.cuts = 0
        self._open_client = open_client
        self._unanswered: tuple[str, str] | None = None
        self._epoch: str | None = None

    async def live(self, enough: asyncio.Event) -> None:
        """Until `enough` and the last message is acknowledged."""
        while not enough.is_set() or self._unanswered:
            client = await self._come_in()
            try:
                await self._resume(client)
                await self._stay(client, enough)
            except ConnectionError:
                self.cuts += 1
            finally:
                await client.drop()

    async def look(self) -> None:
        """Come in once more and read what there is."""
        client = await self._come_in()
        await self._resume(client)
        await client.drop()

    async def _come_in(self) -> Client:
        while True:
            client = self._open_client(self.device)
            try:
                return await client.connect()
            except RefusedError as refusal:
                wait_s = AGAIN_S
                if isinstance(refusal.data, dict) and refusal.data.get("data"):
                    self.refused[refusal.error["code"]] += 1
                    wait_s = refusal.error["retry_ms"] / 1000
                else:
                    self.refused["by the way there"] += 1
                await asyncio.sleep(wait_s)

    async def _resume(self, client: Client) -> None:
        last = self.heard[-1] if self.heard else None
        cursor = {"epoch": self._epoch, "id": last["id"], "key": last["key"]} if last else None
        request = {"room": self.room, "cursor": cursor, "limit": 200}
        log = (await _answered(client, "room.join", request))["log"]
        self._epoch = log["epoch"]
        if log["reset"]:
            self.resets.append(log["reset"])
        events, more = log["events"], log["more"] and cursor is not None
        while more:
            answer = await _answered(
                client, "log.page", {"room": self.room, "after": events[-1]["id"], "limit": 200}
            )
            events, more = events + answer["events"], answer["more"]
        self.heard += events

    async def _stay(self, client: Client, enough: asyncio.Event) -> None:
        jobs = [
            asyncio.create_task(work)
            for work in (
                self._write(client, enough),
                self._hear(client),
                self._go_away(client),
                _lost(client),
            )
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _write(self, client: Client, enough: asyncio.Event) -> None:
        while self._unanswered or not enough.is_set():
            if self._unanswered is None:
                self._unanswered = new_key(), f"{self.name} {len(self.acked)}"
            key, text = self._unanswered
            ack = await _ask(client, "chat.send", {"room": self.room, "key": key, "text": text})
            if ack["ok"]:
                self.acked[key] = ack["id"]
                self._unanswered = None
            else:
                assert ack["error"]["code"] in {"limited", "unavailable"}, ack
                await asyncio.sleep(ack["error"]["retry_ms"] / 1000)  # what the server asked for

    async def _hear(self, client: Client) -> None:
        while True:
            self.heard.append(await client.next_push("log", timeout_s=60))

    async def _go_away(self, client: Client) -> None:
        goaway = await client.next_push("goaway", timeout_s=60)
        told = time.monotonic()
        await asyncio.sleep(goaway["in_ms"] / 1000 * random.random())  # C3
        self.came_back.append((time.monotonic() - told) / (goaway["in_ms"] / 1000))


async def _lost(client: Client) -> None:
    await client.closed(timeout_s=60)
    raise ConnectionError


async def _ask(client: Client, event: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer; ConnectionError when the connection ends first, as then nobody knows the outcome."""
    lost = asyncio.create_task(client.closed(timeout_s=60))
    asked = asyncio.create_task(client.ask(event, request))
    try:
        await asyncio.wait((lost, asked), return_when=asyncio.FIRST_COMPLETED)
        if asked.done() and not asked.exception():
            return asked.result()
        raise ConnectionError
    finally:
        for task in (lost, asked):
            task.cancel()
        await asyncio.gather(lost, asked, return_exceptions=True)


async def _answered(client: Client, event: str, request: dict[str, Any]) -> dict[str, Any]:
    ack = await _ask(client, event, request)
    if not ack["ok"]:
        assert ack["error"]["code"] == "unavailable", ack
        raise ConnectionError
    return ack


@asynccontextmanager
async def _house(
    folder: Path, own_server: OpenServer, **more: int
) -> AsyncIterator[tuple[tuple[Server, Server], HAProxy]]:
    with running("redis") as url:
        shared = {
            "REDIS": url,
            "DATABASE": f"sqlite:///{folder / 'shared.db'}",
            "TRUSTED_PROXIES": "127.0.0.1",
            "NODE_LEASE_MS": 1500,
            "DRAIN_S": DRAIN_S,
            "DRAIN_NOTICE_MS": NOTICE_MS,
            **more,
        }
        nodes = await own_server(**shared), await own_server(**shared)
        proxy = await HAProxy(folder, nodes).start()
        try:
            yield nodes, proxy
        finally:
            await proxy.stop()
            for node in nodes:
                await node.close()


def _chatter(proxy: HAProxy, pair: Pair, person: Person, kind: tuple[str, str], bridge: Any) -> Chatter:
    language, transport = kind

    def open_client(device: str) -> Client:
        options = Options(device=device, transports=(transport,), query=f"room={pair.room}")
        if language == "js":
            return JsClient(proxy.url, person, options, bridge)
        return PythonClient(proxy.url, person, options)

    return Chatter(f"{language} {transport}", pair.room, open_client)


def _check(chatters: list[Chatter], log: list[dict[str, Any]]) -> None:
    """Lost, doubled, reordered: nothing, for anybody of this room."""
    ids = [event["id"] for event in log]
    assert [event["prev"] for event in log] == [None, *ids[:-1]]
    keys = Counter(event["key"] for event in log)
    assert max(keys.values()) == 1
    place = {event["key"]: event["id"] for event in log}
    for chatter in chatters:
        assert {key: place.get(key) for key in chatter.acked} == chatter.acked, (
            "acknowledged is in the log, there"
        )
        own = [event["text"] for event in log if event["text"].startswith(f"{chatter.name} ")]
        assert own == [f"{chatter.name} {number}" for number in range(len(chatter.acked))]
        assert chatter.heard == log, "heard or read at a resume: each event once, in order"
        assert chatter.resets == []


def _conversation() -> tuple[Chatter, list[dict[str, Any]]]:
    log = [
        {"id": f"{n}-0", "prev": f"{n - 1}-0" if n else None, "key": f"k{n}", "text": f"ann {n}"}
        for n in range(4)
    ]
    chatter = Chatter("ann", "room", lambda _: pytest.fail("nobody connects"))
    chatter.heard, chatter.acked = list(log), {event["key"]: event["id"] for event in log}
    return chatter, log


@pytest.mark.parametrize("fault", ["none", "lost", "doubled", "reordered", "unheard", "heard twice", "moved"])
def test_the_check_sees_what_it_looks_for(fault: str) -> None:
    chatter, log = _conversation()
    if fault == "lost":
        del log[3], chatter.heard[3]
    elif fault == "doubled":
        log.append({**log[1], "id": "4-0", "prev": "3-0"})
        chatter.heard = list(log)
    elif fault == "reordered":
        log[1]["text"], log[2]["text"] = log[2]["text"], log[1]["text"]
    elif fault == "unheard":
        del chatter.heard[2]
    elif fault == "heard twice":
        chatter.heard.append(chatter.heard[-1])
    elif fault == "moved":
        chatter.acked["k1"] = "9-0"
    if fault == "none":
        _check([chatter], log)
    else:
        with pytest.raises(AssertionError):
            _check([chatter], log)


@pytest.mark.faults
async def test_haproxy_keeps_a_room_on_one_node_and_believes_no_visitor(
    own_server: OpenServer, tmp_path: Path
) -> None:
    async with _house(tmp_path, own_server, ENTERS_BURST=2, ENTERS_PER_S=1) as (nodes, proxy):
        clients = []
        for number in range(6):
            pair = await nodes[0].pair()
            for person in (pair.mentor, pair.mentee):
                options = Options(
                    transports=(("polling", "websocket")[number % 2],), query=f"room={pair.room}"
                )
                clients.append(await PythonClient(proxy.url, person, options).connect())
                await join(clients[-1], pair.room)
        async with aiohttp.ClientSession() as http:
            seen = [await _figures(http, node) for node in nodes]
            assert sum(rooms for rooms, _ in seen) == 6, "each room on one node"
            assert sum(sockets for _, sockets in seen) == 12
            statuses = []
            for number in range(6):
                said = {"X-Forwarded-For": f"203.0.113.{number}", "X-Forwarded-Host": "evil.example"}
                async with http.post(f"{proxy.url}/enter", data={"token": "guess"}, headers=said) as answer:
                    statuses.append(answer.status)
            assert set(statuses) == {404, 429}, "one visitor has one rate, whatever it says of itself"
            async with http.get(f"{proxy.url}/metrics") as answer:
                assert answer.status == 404
        for client in clients:
            await client.drop()


async def _figures(http: aiohttp.ClientSession, node: Server) -> tuple[float, float]:
    """Rooms and sockets of a node."""
    async with http.get(f"{node.url}/metrics") as answer:
        lines = dict(line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line[0] != "#")
    return float(lines["telementor_rooms"]), float(lines["telementor_sockets"])


@pytest.mark.faults
@pytest.mark.timeout(90)
async def test_C3_a_rolling_restart_under_load_loses_nothing(
    own_server: OpenServer, get_bridge: GetBridge, tmp_path: Path
) -> None:
    async with _house(tmp_path, own_server) as (nodes, proxy):
        bridge = await get_bridge()
        pairs = [await nodes[0].pair() for _ in range(6)]
        rooms = [
            [
                _chatter(proxy, pair, person, KINDS[(2 * number + end) % 4], bridge)
                for end, person in enumerate((pair.mentor, pair.mentee))
            ]
            for number, pair in enumerate(pairs)
        ]
        chatters = [chatter for two in rooms for chatter in two]
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as living:
            for chatter in chatters:
                living.create_task(chatter.live(enough))
            for number, node in enumerate(nodes, start=1):
                await _everybody_is_heard(chatters)
                await _restart(node, number, proxy)
            await _everybody_is_heard(chatters)
            enough.set()
        for pair, two in zip(pairs, rooms, strict=True):
            reader = await PythonClient(proxy.url, pair.mentor, Options(query=f"room={pair.room}")).connect()
            await join(reader, pair.room)
            log = await history(reader, pair.room)
            for chatter in two:
                await chatter.look()
            await reader.drop()
            _check(two, log)
        _report(chatters)
        assert any(chatter.came_back for chatter in chatters)
        cuts = sum(chatter.cuts for chatter in chatters)
        assert cuts <= CUTS, "a node that drains serves its polling sessions until they go"


async def _everybody_is_heard(chatters: list[Chatter]) -> None:
    before = {chatter: len(chatter.acked) for chatter in chatters}
    await until(
        lambda: all(len(chatter.acked) >= before[chatter] + 10 for chatter in chatters),
        "ten more messages of everybody",
        timeout_s=PATIENCE_S,
    )


async def _restart(node: Server, number: int, proxy: HAProxy) -> None:
    began = time.monotonic()
    assert await node.terminate(timeout_s=STOP_S) == 0
    measured("rolling restart: SIGTERM to exit 0", time.monotonic() - began, "s")
    await node.start()
    await until(
        lambda: proxy.changes(number)[-1:] == ["UP"], "HAProxy to send people again", timeout_s=PATIENCE_S
    )


def _report(chatters: list[Chatter]) -> None:
    moments = [moment for chatter in chatters for moment in chatter.came_back]
    tenths = Counter(min(9, int(moment * 10)) for moment in moments)
    refused = sum((chatter.refused for chatter in chatters), Counter[str]())
    measured("rolling restart: messages acknowledged", sum(len(chatter.acked) for chatter in chatters), "")
    measured("rolling restart: connections cut before their client left", sum(c.cuts for c in chatters), "")
    for code in ("unavailable", "by the way there"):
        measured(f"rolling restart: handshakes refused ({code})", refused[code], "")
    for tenth in range(10):
        measured(f"rolling restart: reconnects in tenth {tenth + 1} of goaway", tenths[tenth], "")
