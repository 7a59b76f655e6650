"""The load generator: a process of its own that plays many clients, each one device in one room.

`python -m tests.bench.generator` reads jobs as lines of JSON, works on them at once, and answers each with a line of its own
(`tests/bench/load.py` is the other end). It speaks Engine.IO 4 and Socket.IO 5 with msgpack, the same to every server; to a
server on bare WebSockets it sends the same packets and leaves out Engine.IO. Each message carries a number in its text, so
it is known of each whether it was acknowledged once and came once to each who should get it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from array import array
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import picows
from msgspec import Struct

TEXT_BYTES = 100
LONG_CHARACTERS = 4_000
"""Of four bytes each: nearly the 16 KiB that a server takes."""

SDP_BYTES = 2_000
HISTORY = 50
"""Messages that somebody reads who comes in."""

PAGE = 200
"""Messages of a whole page of history."""

AT_ONCE = 100
"""Clients that come in at the same time."""

COME_IN_S = 60.0
"""After so long somebody who is refused again and again, or not answered, has not come in."""

DRAIN_S = 10.0
"""For what is on its way when a job's time is over; what has not come then is lost."""

PENDING_MAX = 20_000
"""Messages on their way; at a fixed pace no more are sent until some have come."""

TICK_S = 0.001

ACKED = 4
"""Of a message's state; its other bits are the two who hear it: 1 << seat."""


class Peer(Struct):
    peer: str


class Log(Struct):
    events: list[msgspec.Raw]


class Answer(Struct):
    """Of all acknowledgements; what it does not name is skipped."""

    ok: bool
    error: Any = None
    you: Peer | None = None
    log: Log | None = None
    call: Any = None
    leg: int = 0


class Description(Struct):
    sdp: str


class Pushed(Struct):
    text: str = ""
    description: Description | None = None


class Connected(Struct, tag_field="type", tag=0):
    pass


class Disconnected(Struct, tag_field="type", tag=1):
    pass


class Event(Struct, tag_field="type", tag=2):
    data: tuple[str, Pushed]


class Ack(Struct, tag_field="type", tag=3):
    id: int
    data: list[Answer]


class Refused(Struct, tag_field="type", tag=4):
    data: Any = None


decode = msgspec.msgpack.Decoder(Connected | Disconnected | Event | Ack | Refused).decode
encode = msgspec.msgpack.Encoder().encode


class NotInError(Exception):
    """The server let a client not in, or was silent."""


class Client(picows.WSListener):  # type: ignore[misc]
    """One device in one room; every second one of a crowd is the partner of the one before."""

    def __init__(self, crowd: Crowd, place: int, told: dict[str, Any]) -> None:
        self.crowd = crowd
        self.seat = place % 2
        self.place = place
        self.url: str = told["url"]
        self.room: str = told["room"]
        self.auth = {"v": 1, "device": told["device"], "token": told["token"]}
        self.peer = ""
        self.call: Any = None
        self.leg = 0
        self.read = 0
        self.signals = 0
        self.transport: Any = None
        self.answers: dict[int, asyncio.Future[Answer]] = {}

    @property
    def partner(self) -> Client:
        return self.crowd.clients[self.place ^ 1]

    # What comes

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport
        if not self.crowd.engine_io:
            self._send({"type": 0, "data": self.auth, "nsp": "/"})

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type is picows.WSMsgType.BINARY:
            self._packet(decode(frame.get_payload_as_memoryview()))
        elif frame.msg_type is picows.WSMsgType.TEXT:
            said = frame.get_payload_as_bytes()[:1]
            if said == b"2":
                transport.send(picows.WSMsgType.TEXT, b"3")
            elif said == b"0":
                self._send({"type": 0, "data": self.auth, "nsp": "/"})

    def on_ws_disconnected(self, transport: Any) -> None:
        if transport is self.transport:
            self.crowd.lost += 1
            self._not_in("closed")

    def _packet(self, packet: Connected | Disconnected | Event | Ack | Refused) -> None:
        kind = type(packet)
        if kind is Event:
            name, words = packet.data
            if name == "log" and words.text:
                self.crowd.heard(int(words.text[:9]), self.seat)
            elif name == "call.signal" and words.description:
                self.crowd.heard(int(words.description.sdp[:9]), self.seat)
        elif kind is Ack:
            (answer,) = packet.data
            if packet.id < JOIN:
                self.crowd.acked(packet.id, answer)
            elif not (waiting := self.answers.pop(packet.id)).done():
                waiting.set_result(answer)
        elif kind is Connected:
            self._send_event("room.join", {"room": self.room, "cursor": None, "limit": HISTORY}, JOIN)
        else:
            self._not_in(str(packet))

    def _not_in(self, why: str) -> None:
        for answer in self.answers.values():
            if not answer.done():
                answer.set_exception(NotInError(why))
        self.answers.clear()

    # What goes

    def _send(self, packet: dict[str, Any]) -> None:
        self.transport.send(picows.WSMsgType.BINARY, encode(packet))

    def _send_event(self, name: str, words: dict[str, Any], number: int) -> None:
        self._send({"type": 2, "data": [name, words], "nsp": "/", "id": number})

    def say(self) -> None:
        """A message to the room, that both of it are to hear."""
        self._say(TEXT_BYTES, ".")

    def say_much(self) -> None:
        """As long a message as the server's bounds allow."""
        self._say(LONG_CHARACTERS, "\U0001d11e")

    def _say(self, characters: int, filling: str) -> None:
        number = self.crowd.new_message(self, 0b11 | ACKED)
        text = f"{number:09d}".ljust(characters, filling)
        words = {"room": self.room, "key": f"{self.crowd.key}{number:012x}", "text": text}
        self._send_event("chat.send", words, number)

    def signal(self) -> None:
        """A description to the other one of the call, that nobody else is to hear."""
        other = self.partner
        number = self.crowd.new_message(self, 1 << other.seat | ACKED)
        self.signals += 1
        where = {"room": self.room, "call": self.call, "to": other.peer, "to_leg": other.leg}
        description = {"type": "offer", "sdp": f"{number:09d}".ljust(SDP_BYTES, ".")}
        words = {**where, "seq": self.signals, "gen": 0, "description": description}
        self._send_event("call.signal", words, number)

    # Coming and going

    async def come_in(self) -> None:
        """Connected, in the room, and the newest messages read; again when refused. Raises NotInError."""
        end_s = time.monotonic() + COME_IN_S
        while True:
            try:
                answer = await self._try()
                break
            except (NotInError, picows.WSError, OSError, TimeoutError) as error:
                self.crowd.refused += 1
                if time.monotonic() > end_s:
                    raise NotInError(str(error)) from error
                await asyncio.sleep(0.25)
        assert answer.you
        assert answer.log
        self.peer, self.read = answer.you.peer, len(answer.log.events)

    async def _try(self) -> Answer:
        joined = self._awaits(JOIN)
        path = "/socket.io/?EIO=4&transport=websocket" if self.crowd.engine_io else "/"
        await picows.ws_connect(lambda: self, self.url.replace("http", "ws", 1) + path)
        answer = await asyncio.wait_for(joined, COME_IN_S)
        if not answer.ok:
            self.go()
            raise NotInError(str(answer.error))
        return answer

    async def join_call(self) -> None:
        """In the room's call as well: a server lets only those signal to each other."""
        joined = self._awaits(CALL)
        media = {"audio": True, "video": True, "screen": False}
        self._send_event("call.join", {"room": self.room, "media": media}, CALL)
        answer = await asyncio.wait_for(joined, COME_IN_S)
        if not answer.ok:
            raise NotInError(str(answer.error))
        self.call, self.leg, self.signals = answer.call, answer.leg, 0

    async def read_page(self) -> None:
        """The newest messages, as many as a page may have."""
        read = self._awaits(READ)
        self._send_event("log.page", {"room": self.room, "limit": PAGE}, READ)
        answer = await asyncio.wait_for(read, COME_IN_S)
        if not answer.ok:
            raise NotInError(str(answer.error))

    def _awaits(self, number: int) -> asyncio.Future[Answer]:
        self.answers[number] = asyncio.get_running_loop().create_future()
        return self.answers[number]

    def go(self) -> None:
        """Gone without a word."""
        transport, self.transport = self.transport, None
        if transport:
            transport.disconnect(graceful=False)


JOIN, CALL, READ = 1_000_000_000, 1_000_000_001, 1_000_000_002
"""Numbers of requests that no message has."""

Act = Callable[[Client], None]
ACTS: dict[str, tuple[Act, ...]] = {
    "chat": (Client.say,),
    "relay": (Client.signal,),
    "both": (Client.say, Client.signal),
}


class Crowd:
    """The clients of one server, and what became of each message."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.engine_io: bool = told["engine_io"]
        self.key: str = told["key"]
        self.clients = [Client(self, place, person) for place, person in enumerate(told["people"])]
        self.drain_s = DRAIN_S
        self.lost = 0
        self.refused = 0
        self._first = 0
        self._authors: list[Client] = []
        self._forget()

    def _forget(self) -> None:
        """A new job. Numbers go on: no key is used twice."""
        self._first += len(self._authors)
        self._authors = []
        self._sent_at = array("d")
        self._state = bytearray()
        self._wanted = bytearray()
        self._delays_s = array("d")
        self._pending = 0
        self._twice = 0
        self._errors = 0
        self._error = ""
        self._next: Act | None = None
        self._done = asyncio.Event()

    # Messages

    def new_message(self, author: Client, wanted: int) -> int:
        """Its number; it has come when its state is `wanted`."""
        self._authors.append(author)
        self._state.append(0)
        self._wanted.append(wanted)
        self._sent_at.append(time.perf_counter())
        self._pending += 1
        return self._first + len(self._authors) - 1

    def heard(self, number: int, seat: int) -> None:
        """By the one on that seat of the author's room."""
        place = number - self._first
        if place >= 0:
            self._delays_s.append(time.perf_counter() - self._sent_at[place])
            self._came(place, 1 << seat)

    def acked(self, number: int, answer: Answer) -> None:
        """By the server."""
        place = number - self._first
        if not answer.ok:
            self._errors += 1
            self._error = str(answer.error)
        if place >= 0:
            self._came(place, ACKED)

    def _came(self, place: int, bit: int) -> None:
        if self._state[place] & bit or not self._wanted[place] & bit:
            self._twice += 1
            return
        self._state[place] |= bit
        if self._state[place] == self._wanted[place]:
            self._pending -= 1
            if self._next:
                self._next(self._authors[place])
            elif not self._pending:
                self._done.set()

    # Jobs

    async def come_in(self, at_once: int = AT_ONCE) -> dict[str, Any]:
        """Everybody, so many at the same time."""
        start, self.refused = time.perf_counter(), 0
        waiting = iter(self.clients)
        failed: list[str] = []

        async def usher() -> None:
            for client in waiting:
                try:
                    await client.come_in()
                except NotInError as error:
                    failed.append(str(error))

        await asyncio.gather(*(usher() for _ in range(at_once)))
        read = [client.read for client in self.clients]
        self.lost = 0
        return {
            "seconds": time.perf_counter() - start,
            "count": len(self.clients) - len(failed),
            "failed": failed[:3],
            "refused": self.refused,
            "read_least": min(read),
        }

    async def leave(self) -> dict[str, Any]:
        """Everybody, without a word."""
        for client in self.clients:
            client.go()
        return {}

    async def come_back(self, at_once: int = AT_ONCE) -> dict[str, Any]:
        """All sockets drop, and all come in again."""
        await self.leave()
        return await self.come_in(at_once)

    async def come_and_go(self, seconds: float, per_s: float) -> dict[str, Any]:
        """One after the other drops and comes in again, so many a second."""
        start, number = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            client = self.clients[number % len(self.clients)]
            client.go()
            await client.come_in()
            number += 1
            await asyncio.sleep(max(0.0, start + number / per_s - time.perf_counter()))
        return {"count": number}

    async def join_call(self) -> dict[str, Any]:
        """Everybody, in their rooms."""
        for client in self.clients:
            await client.join_call()
        return {}

    async def fill(self) -> dict[str, Any]:
        """As many messages in every room as somebody reads who comes in."""
        self._forget()
        for _ in range(HISTORY // 2):
            for client in self.clients:
                client.say()
            await self._all_come()
        return await self.told(len(self._authors), 1.0)

    async def fill_long(self, each: int) -> dict[str, Any]:
        """So many long messages in every room."""
        self._forget()
        for number in range(each):
            for client in self.clients[number % 2 :: 2]:
                client.say_much()
            await self._all_come()
        return await self.told(len(self._authors), 1.0)

    async def read_pages(self, seconds: float, per_s: float) -> dict[str, Any]:
        """One after the other reads a whole page of history, so many a second."""
        start, number = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            await self.clients[number % len(self.clients)].read_page()
            number += 1
            await asyncio.sleep(max(0.0, start + number / per_s - time.perf_counter()))
        return {"count": number}

    async def saturate(self, what: str, seconds: float, in_flight: int) -> dict[str, Any]:
        """Each client has so many messages on their way at any time, for so long."""
        self._forget()
        (self._next,) = ACTS[what]
        start = time.perf_counter()
        for _ in range(in_flight):
            for client in self.clients:
                self._next(client)
        await asyncio.sleep(seconds)
        self._next = None
        sent, took_s = len(self._authors), time.perf_counter() - start
        return await self.told(sent, took_s)

    async def pace(self, what: str, seconds: float, per_s: float) -> dict[str, Any]:
        """So many a second over all clients, evenly, each in its turn."""
        self._forget()
        acts, start, sent = ACTS[what], time.perf_counter(), 0
        while (now := time.perf_counter()) < start + seconds:
            while sent < (now - start) * per_s and self._pending < PENDING_MAX:
                acts[sent % len(acts)](self.clients[sent // len(acts) % len(self.clients)])
                sent += 1
            await asyncio.sleep(TICK_S)
        return await self.told(sent, time.perf_counter() - start)

    async def _all_come(self) -> None:
        self._done.clear()
        if self._pending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), self.drain_s)

    async def told(self, sent: int, took_s: float) -> dict[str, Any]:
        """What became of the messages of a job, when they have come or DRAIN_S is over. So many were sent in that time."""
        await self._all_come()
        delays = sorted(self._delays_s)
        return {
            "count": len(self._authors),
            "per_s": sent / took_s,
            "missing": self._pending,
            "twice": self._twice,
            "errors": self._errors,
            "error": self._error,
            "lost_sockets": self.lost,
            "p50_s": delays[len(delays) // 2] if delays else 0.0,
            "p99_s": delays[len(delays) * 99 // 100] if delays else 0.0,
            "most_s": delays[-1] if delays else 0.0,
        }


JOBS: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "come_in": Crowd.come_in,
    "leave": Crowd.leave,
    "come_back": Crowd.come_back,
    "come_and_go": Crowd.come_and_go,
    "join_call": Crowd.join_call,
    "fill": Crowd.fill,
    "fill_long": Crowd.fill_long,
    "read_pages": Crowd.read_pages,
    "saturate": Crowd.saturate,
    "pace": Crowd.pace,
}


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    crowds: dict[str, Crowd] = {}
    working: set[asyncio.Task[None]] = set()

    async def work(number: int, job: str, crowd: str, how: dict[str, Any]) -> None:
        try:
            answer = await JOBS[job](crowds[crowd], **how)
        except Exception as error:  # noqa: BLE001 - whatever it was, the other end is to know
            answer = {"failure": f"{job}: {type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps({"number": number, **answer}) + "\n")
        sys.stdout.flush()

    while line := await lines.readline():
        told = json.loads(line)
        if "people" in told:
            crowds[told["crowd"]] = Crowd(told)
            continue
        task = asyncio.create_task(work(**told))
        working.add(task)
        task.add_done_callback(working.discard)


if __name__ == "__main__":
    import uvloop

    gc.disable()  # a pause of ours would count as the server's
    uvloop.run(_serve())
