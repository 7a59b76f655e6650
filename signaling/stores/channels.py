"""Hearing: the connections on which this node listens to the channels of its rooms and people, one to each primary that
has some of them (one in all, unless the store is a cluster).

Pub/sub is a hint: what was published while a connection was down, or while a slot moved, is lost. `on_restored` is called
for every channel that is heard again after that, so that whoever relies on it compares with the log (the log is the truth).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog
from msgspec import Struct
from redis.crc import key_slot
from redis.exceptions import MovedError

from rooms.errors import Unavailable
from signaling.slices import Slices, in_slices
from signaling.stores.redis_link import AWAY, Link, dial
from signaling.stores.store import RETRY_MS, Store

log = structlog.get_logger()

PING_EVERY_S = 2.0
"""A half-open connection is noticed within twice this."""

AGAIN_S = 0.2
"""Between two looks for the primary of a channel that has none."""


class Channel(Struct):
    """`unconfirmed` is there until the store has said that we hear it, and waited for; `was_heard` once it ever had."""

    unconfirmed: asyncio.Future[None] | None
    was_heard: bool = False


class Channels:
    """Subscribe and unsubscribe; messages of a channel are handed on in the order of their arrival, to
    `on_message(channel, data)`, which must not block, nor must `on_restored(channel)`."""

    def __init__(
        self,
        store: Store,
        on_message: Callable[[str, bytes], None],
        on_restored: Callable[[str], None],
    ) -> None:
        self._store = store
        self._on_message = on_message
        self._restored = Slices(on_restored)
        self._wanted: dict[str, Channel] = {}
        self._ears: dict[str, Ear] = {}
        self._homeless: set[str] = set()
        self._some_homeless = asyncio.Event()
        self._missed: set[str] = set()
        store.on_moved = self._moved

    async def run(self) -> None:
        """Finds a primary for the channels that have lost theirs. Ends only with an error: a node that has become deaf
        must not go on."""
        while True:
            await self._some_homeless.wait()
            await asyncio.sleep(AGAIN_S)
            self._some_homeless.clear()
            homeless, self._homeless = self._homeless & self._wanted.keys(), set()
            with contextlib.suppress(Unavailable):
                await self._store.look_again()
            async for name in in_slices(homeless):
                await self._place(name)

    async def stop(self) -> None:
        for ear in list(self._ears.values()):
            await ear.stop()

    async def subscribe(self, name: str) -> None:
        """Returns once the store has confirmed it: whatever is published from now on is heard. Raises `Unavailable`."""
        channel = self._wanted.get(name)
        if channel is None:
            channel = self._wanted[name] = Channel(asyncio.get_running_loop().create_future())
            await self._place(name)
        if channel.unconfirmed is not None:
            await asyncio.wait([channel.unconfirmed], timeout=self._store.timeout_s)
            if channel.unconfirmed is not None:
                raise Unavailable(retry_ms=RETRY_MS)

    def unsubscribe(self, name: str) -> None:
        self._wanted.pop(name, None)
        self._missed.discard(name)
        for ear in list(self._ears.values()):
            ear.leave(name)

    async def _place(self, name: str) -> None:
        try:
            home = await self._store.home(name)
        except Unavailable:
            self.lost({name})
            return
        if name in self._wanted:
            ear = self._ears.get(home)
            if ear is None:
                ear = self._ears[home] = Ear(home, self._store, self)
            ear.listen_to(name)

    def _moved(self) -> None:
        for ear in self._ears.values():
            ear.drop()

    # What the ears say

    def message(self, name: str, data: bytes) -> None:
        try:
            self._on_message(name, data)
        except Exception:  # one message that nobody understands must not make the node deaf
            log.exception("message not understood")

    def confirmed(self, name: str) -> None:
        channel = self._wanted.get(name)
        if channel is None:
            return
        again, channel.was_heard = channel.was_heard, True
        if channel.unconfirmed is not None:
            channel.unconfirmed.set_result(None)
            channel.unconfirmed = None
        if again:
            self._restored.add((name,))
        if name in self._missed:
            self._missed.discard(name)
            if not self._missed:
                log.info("channels restored")

    def lost(self, names: set[str]) -> None:
        """They are looked for until they are heard again."""
        names = names & self._wanted.keys()
        if names and not self._missed:
            log.warning("channels lost", channels=len(names))
        loop = asyncio.get_running_loop()
        for name in names:
            channel = self._wanted[name]
            channel.unconfirmed = channel.unconfirmed or loop.create_future()
        self._homeless |= names
        self._missed |= names
        self._some_homeless.set()

    def closed(self, home: str) -> None:
        self._ears.pop(home, None)


class Ear:
    """One connection to one primary. It ends when the connection does, and its channels are lost then."""

    def __init__(self, home: str, store: Store, channels: Channels) -> None:
        self._home = home
        self._store = store
        self._channels = channels
        self._names: set[str] = set()
        self._link: Link | None = None
        self._lost = asyncio.Event()
        self._silent = self._pinged = False
        self._task = asyncio.create_task(self._live(), name=f"listening {home}".strip())

    def drop(self) -> None:
        """Listens no more to whom it listens to; its channels are lost."""
        self._task.cancel()

    async def stop(self) -> None:
        self.drop()
        await asyncio.gather(self._task, return_exceptions=True)

    def listen_to(self, name: str) -> None:
        self._names.add(name)
        self._send("SSUBSCRIBE", name)

    def leave(self, name: str) -> None:
        if name in self._names:
            self._names.discard(name)
            self._send("SUNSUBSCRIBE", name)

    def _send(self, *command: str) -> None:
        """Without a connection nothing is lost: all that is wanted is asked for once it is there."""
        if self._link is not None:
            self._link.send(*command)

    async def _live(self) -> None:
        link: Link | None = None
        try:
            async with asyncio.timeout(self._store.timeout_s):
                link = await dial(await self._store.listening(self._home))
            link.on_answer, link.on_lost = self._take, self._lost.set
            self._link = link
            async for name in in_slices(list(self._names)):
                if name in self._names:
                    self._send("SSUBSCRIBE", name)
            await self._listen(link)
        except AWAY as error:
            log.debug("connection ended", reason=type(error).__name__)
        finally:
            self._link = None
            self._channels.closed(self._home)
            self._give_up(set(self._names))
            if link is not None:
                link.abort()

    async def _listen(self, link: Link) -> None:
        """Until the connection is lost, is refused something, or does not answer a ping after a silence."""
        while not self._lost.is_set():
            self._silent = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await self._lost.wait()
            if self._silent and self._pinged:
                raise TimeoutError("no answer to a ping")
            self._pinged = self._silent
            if self._silent:
                link.send("PING")

    def _take(self, answer: Any) -> None:
        self._silent = False
        if isinstance(answer, MovedError):
            self._give_up({name for name in self._names if key_slot(name.encode()) == answer.slot_id})
        elif isinstance(answer, Exception):
            log.error("store refused a subscription", reason=str(answer)[:200])
            self._lost.set()
        elif answer[0] == b"smessage":
            self._channels.message(answer[1].decode(), answer[2])
        elif answer[0] == b"ssubscribe":
            self._channels.confirmed(answer[1].decode())
        elif answer[0] == b"sunsubscribe" and (name := answer[1].decode()) in self._names:
            # Nobody here asked for it: the slot has moved to another primary.
            self._give_up({name})

    def _give_up(self, names: set[str]) -> None:
        self._names -= names
        self._channels.lost(names)
