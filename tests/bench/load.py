"""Load: people who talk at a fixed pace, and what they notice."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack

from tests.support.people import Person
from tests.support.raw import Packet, RawSocket, packed


class Talker:
    """One device in one room. `acked_s` and `heard_s`: how long each acknowledgement and each delivery took; `sizes`: the
    bytes of the newest packet of each kind."""

    def __init__(self, url: str, person: Person, room: str) -> None:
        self._url = url
        self._person = person
        self._room = room
        self._socket: RawSocket
        self._reading: asyncio.Task[None]
        self._sent_at: dict[int, float] = {}
        self._number = 10
        self.acked_s: list[float] = []
        self.heard_s: list[float] = []
        self.refused = 0
        self.sizes: dict[str, int] = {}
        self.call: dict[str, Any] = {}
        self.peer = ""

    async def come_in(self) -> Talker:
        """Connected, in the room, and listening."""
        self._socket = await RawSocket.open(self._url)
        await self._socket.connect({"v": 1, "device": str(uuid.uuid4()), "token": self._person.token})
        joined = await self._socket.ask("room.join", {"room": self._room, "cursor": None})
        assert joined["ok"], joined
        self.peer = joined["you"]["peer"]
        return self

    async def join_call(self) -> Talker:
        """In the room's call as well; `call` is its answer."""
        media = {"audio": True, "video": True, "screen": False}
        self.call = await self._socket.ask("call.join", {"room": self._room, "media": media})
        assert self.call["ok"], self.call
        return self

    def listen(self) -> None:
        """From now on whatever comes is read at once."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            packet = await self._socket.receive(timeout_s=600)
            now = time.perf_counter()
            kind = "ack" if packet["type"] == Packet.ACK else packet["data"][0]
            self.sizes[kind] = len(msgpack.packb(packet))
            if kind == "ack":
                self.refused += not packet["data"][0]["ok"]
                self.acked_s.append(now - self._sent_at.pop(packet["id"]))
            elif kind == "log" and "text" in packet["data"][1]:
                self.heard_s.append(now - float(packet["data"][1]["text"].split()[0]))
            elif kind == "call.signal":
                self.heard_s.append(now - float(packet["data"][1]["description"]["sdp"].split()[0]))

    async def say(self, size: int) -> None:
        """A message of about `size` bytes; the answer is waited for by nobody."""
        text = f"{time.perf_counter():.6f} ".ljust(size, ".")
        await self._send("chat.send", {"room": self._room, "key": str(uuid.uuid4()), "text": text})

    async def signal(self, to: Talker, size: int) -> None:
        """A description of about `size` bytes to the other one in the call."""
        description = {"type": "offer", "sdp": f"{time.perf_counter():.6f} ".ljust(size, ".")}
        where = {"room": self._room, "call": self.call["call"], "to": to.peer, "to_leg": to.call["leg"]}
        await self._send("call.signal", {**where, "seq": self._number, "gen": 0, "description": description})

    async def _send(self, event: str, words: dict[str, Any]) -> None:
        self._number += 1
        self._sent_at[self._number] = time.perf_counter()
        frame = packed(Packet.EVENT, [event, words], number=self._number)
        self.sizes["request"] = len(frame)
        await self._socket.send_bytes(frame)

    async def say_and_wait(self, size: int) -> None:
        """A message whose answer is waited for, of a talker that does not listen."""
        start = time.perf_counter()
        words = {"room": self._room, "key": str(uuid.uuid4()), "text": "".ljust(size, ".")}
        self._number += 1
        answer = await self._socket.ask("chat.send", words, number=self._number)
        assert answer["ok"], answer
        self.acked_s.append(time.perf_counter() - start)

    async def leave(self) -> None:
        """Gone without a word."""
        if hasattr(self, "_reading"):
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._socket.abort()


async def at_pace(per_s: float, seconds: float, act: Callable[[int], Awaitable[None]]) -> int:
    """`act(number)` so many times a second; how often it was done."""
    start, number = time.perf_counter(), 0
    while (now := time.perf_counter()) < start + seconds:
        await asyncio.sleep(max(0.0, start + number / per_s - now))
        await act(number)
        number += 1
    return number
