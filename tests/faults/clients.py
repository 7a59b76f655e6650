"""Scripted clients: each behaves as the contract says a client does, and notes all that it asks, is told and hears.

One device in one room. It has an outbox of requests with keys; what it sent stays there until the event was *seen*. It joins
with its cursor, reads to the head, drops from the outbox what it saw, and only then sends the rest again with the same keys
(L3, L5), on whichever node it finds. After `diverged` it publishes what was acknowledged not long ago again.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import aiohttp

from tests.faults.history import Event, Heard, Read, Request, Resumed, Told, Verb, Witness, order
from tests.support.people import Person
from tests.support.raw import ClosedError, Packet, RawSocket

ASK_S = 5.0
"""Without an answer for so long the connection counts as dead."""

SILENCE_S = 46.0
"""Longer than Engine.IO's ping interval and time limit together."""

DEAF_S = 12.0
"""An acknowledged message that is not heard for so long is looked for: twice what a node may take to notice (5 s)."""

PAGE = 200
OPEN_S = 5.0
RECONNECT_S = (0.02, 0.4)
THINK_S = (0.0, 0.25)
RECENT = 500
"""Acknowledged requests that are published again if a reset says that the log was rolled back."""

EDIT, DELETE = 0.08, 0.04
"""The share of requests that change an own message instead of sending one."""

READ = 0.1
"""The share of requests after which a read mark is set."""

LOST = (ClosedError, TimeoutError, OSError, aiohttp.ClientError)
"""What the loss of a connection looks like."""


class RefusedError(Exception):
    """CONNECT_ERROR."""


class ScriptedClient:
    """One device of one person. `urls` are those of the nodes; after a loss it tries the next one.

    `on_ack` is called with every acknowledgement, at the moment when it arrives.
    """

    def __init__(
        self,
        name: str,
        person: Person,
        room: str,
        urls: Sequence[str],
        chance: random.Random,
        on_ack: Callable[[], None],
    ) -> None:
        self.name = name
        self.witness = Witness(name, room)
        self.requests: list[Request] = []
        self.resumes_s: list[float] = []
        """From the loss of each connection until the head was reached again."""
        self.resets: list[str] = []
        self.healed = 0
        """Requests that a reset made it publish again, and that were not there any more."""
        self.deaf = 0
        """How often it had to join again because it did not hear what was acknowledged."""
        self.tries: dict[str, set[str]] = {}
        """The nodes on which each key was tried."""
        self.pushes = 0
        self.acknowledged_at = 0.0
        self.caught_up = False
        self.resting = False
        self._person = person
        self._room = room
        self._urls = urls
        self._node = chance.randrange(len(urls))
        self._chance = chance
        self._on_ack = on_ack
        self._device = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self._socket: RawSocket | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0
        self._lost_at: float | None = None
        self._leaves_at = float("inf")
        self._cursor: dict[str, str | None] | None = None
        self._epoch = ""
        self._message_of: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        """Key → id of what was seen, since the last reset."""
        self._outbox: dict[str, Request] = {}
        """What was sent and not seen, in the order in which it was begun."""
        self._chains: dict[str, list[Request]] = {}
        """Message → the requests about it, the `send` first."""
        self._mine: list[str] = []
        """The own messages that are acknowledged and not deleted."""
        self._acknowledged: deque[Request] = deque(maxlen=RECENT)
        self._join_again = False
        self._held: list[Event] = []
        """Pushes that came while the pages before them are read; until then they follow on nothing."""
        self._last: tuple[str | None, str | None] = (None, None)
        """Id and key of the newest event that the server told of, the key if it is known."""
        self._number = 0

    @property
    def settled(self) -> bool:
        """At rest, connected, with nothing of its own that is not acknowledged and seen."""
        return self.resting and self.caught_up and not self._outbox

    @property
    def waiting(self) -> int:
        """Requests that are not yet acknowledged and seen."""
        return len(self._outbox)

    @property
    def head(self) -> str | None:
        """The newest id that it has seen."""
        return self._cursor["id"] if self._cursor else None

    # One life

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with suppress(*LOST, RefusedError):
                await self._live()
            self._node = (self._node + 1) % len(self._urls)
            await asyncio.sleep(self._chance.uniform(*RECONNECT_S))

    async def _live(self) -> None:
        async with asyncio.timeout(OPEN_S):
            self._socket = socket = await RawSocket.open(self._urls[self._node])
        tasks: list[asyncio.Task[None]] = []
        self._leaves_at = float("inf")
        try:
            auth = {"v": 1, "device": self._device, "token": self._person.token}
            if (await socket.connect(auth))["type"] != Packet.CONNECT:
                raise RefusedError
            tasks += [asyncio.create_task(self._read(socket)), asyncio.create_task(self._talk())]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.caught_up = False
            self._lost_at = self._lost_at or monotonic()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._waiting.clear()
            await socket.abort()

    async def _read(self, socket: RawSocket) -> None:
        while True:
            packet = await socket.receive(timeout_s=SILENCE_S)
            if packet["type"] == Packet.ACK:
                future = self._waiting.pop(packet["id"], None)
                if future and not future.done():
                    future.set_result(packet["data"][0])
                    await asyncio.sleep(0)  # who asked goes on before what was said after the answer is heard
            elif packet["type"] == Packet.EVENT:
                self._hear(*packet["data"])
            elif packet["type"] == Packet.DISCONNECT:
                raise ClosedError

    async def _ask(self, event: str, obj: dict[str, Any]) -> dict[str, Any]:
        assert self._socket
        self._asked += 1
        future = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        await self._socket.send(Packet.EVENT, [event, {"room": self._room, **obj}], number=self._asked)
        async with asyncio.timeout(ASK_S):
            return await future

    # What it hears

    def _hear(self, name: str, data: dict[str, Any]) -> None:
        if name == "log":
            event = Event.read(data)
            self.pushes += 1
            self.witness.moments.append(Heard(event))
            if event.prev != self._last[0]:
                # L1: something was not heard. What comes until the head was reached again is read then.
                self._join_again, self.caught_up = True, False
            if self._join_again:
                return
            self._last = (event.id, event.key)
            if self.caught_up:
                self._see(event)
                self._move_cursor(event.id, event.key)
            else:
                self._held.append(event)
        elif name == "reset":
            self.witness.moments.append(Told(data["reason"]))
            self._forget(data["reason"])
            self._join_again = True
        elif name == "goaway":
            self._leaves_at = monotonic() + self._chance.uniform(0, data["in_ms"] / 1000)

    def _see(self, event: Event) -> None:
        """It is in the log, and so is what it stands for (L8): the earlier requests about the same message."""
        self._ids[event.key] = event.id
        for request in self._chains.get(self._message_of.get(event.key, ""), ()):
            self._outbox.pop(request.key, None)
            if request.key == event.key:
                break

    def _move_cursor(self, id_: str | None, key: str | None) -> None:
        self._cursor = {"epoch": self._epoch, "id": id_, **({"key": key} if key else {})}

    def _forget(self, reason: str) -> None:
        """The log could not be continued. What was acknowledged is published again if it is not there (L5)."""
        self.resets.append(reason)
        self.caught_up = False
        self._ids.clear()
        self._cursor = None
        again = {request.key: request for request in self._acknowledged}
        self._outbox = {**again, **self._outbox}

    # What it says

    async def _talk(self) -> None:
        while True:
            await self._resume()
            for request in list(self._outbox.values()):
                await self._submit_again(request)
            while not self._join_again:
                if not self.resting:
                    await self._submit(self._next_request())
                    await self._mark_read()
                if self._is_deaf():
                    self.deaf += 1
                    self._join_again = True
                if monotonic() > self._leaves_at:
                    raise ClosedError("goaway")  # C3
                await asyncio.sleep(self._chance.uniform(*THINK_S))

    def _is_deaf(self) -> bool:
        """Its own message was acknowledged, and long after that it has not heard it (L2)."""
        oldest = next((request for request in self._outbox.values() if request.acks), None)
        return oldest is not None and monotonic() - oldest.acks[-1][1] > DEAF_S

    async def _mark_read(self) -> None:
        """Now and then, as somebody who reads along does (L10); its outcome does not matter."""
        if self.head and self._chance.random() < READ:
            await self._ask("chat.read", {"id": self.head})

    async def _resume(self) -> None:
        """`room.join`, then every page up to the head (L5). A `reset` meanwhile ends it."""
        answer = await self._done("room.join", {"cursor": self._cursor, "limit": PAGE})
        log, self._join_again = answer["log"], False
        self._held.clear()
        cursor = self._cursor["id"] if self._cursor else None
        self.witness.moments.append(Resumed(log["head"], log["reset"], cursor))
        self._last, self._epoch = (log["head"], None), log["epoch"]
        if log["reset"]:
            self._forget(log["reset"])
        more = log["more"]
        if self._cursor is None:
            # The newest page is not wanted here, but everything, from the beginning.
            self._move_cursor(None, None)
            more = log["head"] is not None
        else:
            self._read_page(log["events"])
        while more and not self._join_again:
            assert self._cursor
            page = await self._done("log.page", {"after": self._cursor["id"] or "0-0", "limit": PAGE})
            if not self._join_again:
                self._read_page(page["events"])
                more = page["more"]
        if not self._join_again:
            self._catch_up()

    def _read_page(self, raw: Sequence[dict[str, Any]]) -> None:
        events = tuple(Event.read(data) for data in raw)
        self.witness.moments.append(Read(events))
        for event in events:
            self._see(event)
        if events:
            self._move_cursor(events[-1].id, events[-1].key)

    def _catch_up(self) -> None:
        """All up to the join's head was read, and what came after it was heard."""
        assert self._cursor
        self.caught_up = True
        for event in self._held:
            self._see(event)
        id_, key = self._last
        if id_ and (self._cursor["id"] is None or order(self._cursor["id"]) < order(id_)):
            self._move_cursor(id_, key)
        if self._lost_at is not None:
            self.resumes_s.append(monotonic() - self._lost_at)
            self._lost_at = None

    async def _done(self, event: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Ask until it is answered with `ok`, on this connection; a refusal that does not pass ends it."""
        while True:
            answer = await self._ask(event, obj)
            if answer["ok"]:
                return answer
            retry_ms = answer["error"].get("retry_ms")
            if retry_ms is None:
                raise ClosedError(answer["error"]["code"])
            await asyncio.sleep(min(retry_ms, 500) / 1000 * self._chance.uniform(0.5, 1))

    def _next_request(self) -> Request:
        dice = self._chance.random()
        verb: Verb = "send"
        message = None
        if self._mine and dice < EDIT + DELETE:
            place = self._chance.randrange(len(self._mine))
            verb = "edit" if dice < EDIT else "delete"
            message = self._mine[place]
            if verb == "delete":
                del self._mine[place]
        self._number += 1
        key = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        text = None if verb == "delete" else f"{self.name} {self._number}"
        request = Request(self.name, self._room, verb, key, message or key, text, monotonic())
        self.requests.append(request)
        self._message_of[key] = request.message
        self._chains.setdefault(request.message, []).append(request)
        return request

    async def _submit_again(self, request: Request) -> None:
        """What was not seen up to the head, though it may have been acknowledged."""
        before = request.acks[-1][0] if request.acks else None
        if request.key in self._outbox and not self._join_again:
            await self._submit(request)
        if before and request.acks[-1][0] != before:
            self.healed += 1

    async def _submit(self, request: Request) -> None:
        """Until it is acknowledged. The outbox keeps it until it is seen, over whatever happens to this connection."""
        self._outbox.setdefault(request.key, request)
        while not self._join_again:
            self.tries.setdefault(request.key, set()).add(self._urls[self._node])
            unknown, request.unknown = request.unknown, True  # until it is answered
            answer = await self._ask(f"chat.{request.verb}", self._fields(request))
            if answer["ok"]:
                return self._acknowledge(request, answer["id"])
            error = answer["error"]
            request.unknown = unknown or error["code"] == "unavailable"
            if error.get("retry_ms") is None:
                request.refused = error["code"]
                self._outbox.pop(request.key, None)
                return None
            await asyncio.sleep(min(error["retry_ms"], 500) / 1000 * self._chance.uniform(0.3, 1))
        return None

    def _fields(self, request: Request) -> dict[str, Any]:
        fields: dict[str, Any] = {"key": request.key}
        if request.text is not None:
            fields["text"] = request.text
        if request.verb != "send":
            fields["id"] = self._chains[request.message][0].acks[-1][0]
        return fields

    def _acknowledge(self, request: Request, id_: str) -> None:
        if not request.acks:
            self._acknowledged.append(request)
            if request.verb == "send":
                self._mine.append(request.key)
        self.acknowledged_at = monotonic()
        request.acks.append((id_, self.acknowledged_at))
        if request.key in self._ids:
            self._outbox.pop(request.key, None)
        self._on_ack()
