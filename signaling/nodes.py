"""The sockets of this node, and which other nodes are alive.

A node beats three times in a lease. Another one whose beat is older than the lease is dead: its people are away since its
last beat (R2), and offline. While this node cannot beat itself, it judges nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from rooms.errors import RoomError, Unavailable
from rooms.pushes import ReplacedPush
from signaling.connection import Connection
from signaling.departures import Departures
from signaling.stores.registry import Arrival, Beat, Registry, node_channel, person_channel

log = structlog.get_logger()

REGISTER_MAX = 64
"""Sockets that are registered again at once after a channel was lost."""

REGISTER_AGAIN_S = 1.0

DUE_AT_ONCE = 32
"""Rooms that are looked at together: their questions to store and database are, too."""

DAY_MS = 86_400_000
"""The store remembers a node's last beat this long."""


class Nodes:
    """`beats` is a registry on connections of its own: a beat waits behind nobody's request.

    What it tells: `on_presence(person, online)` of every change that this node causes, `on_due(slugs)` of rooms
    that time has something to do for, `on_lost()` after other nodes died, `on_access(person)` that somebody's log-ins
    changed, `on_late()` that the others may have counted this node dead, `on_left(connection)` that a socket which is gone
    may still be registered."""

    def __init__(
        self,
        node: str,
        registry: Registry,
        beats: Registry,
        *,
        lease_ms: int,
        sockets_per_person: int,
        departures: Departures,
        subscribe: Callable[[str], Awaitable[None]],
        unsubscribe: Callable[[str], None],
    ) -> None:
        self.node = node
        self._departures = departures
        self.alive: frozenset[str] = frozenset({node})
        self._registry = registry
        self._beats = beats
        self._lease_ms = lease_ms
        self._most = sockets_per_person
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._seen: dict[str, int] = {}
        self._judges_from = 0
        self.beaten_at: int | None = None
        """When this node last beat, in the store's milliseconds."""
        self._unattended: frozenset[str] = frozenset()
        self._attending: asyncio.Task[None] | None = None
        self._connections: dict[str, Connection] = {}
        self._by_person: dict[str, dict[str, Connection]] = {}
        self._since: dict[str, int] = {}
        self._registering: dict[str, asyncio.Task[None]] = {}
        self._free_to_register = asyncio.Semaphore(REGISTER_MAX)
        self.on_presence: Callable[[str, bool], Awaitable[None]]
        self.on_due: Callable[[Sequence[str]], Awaitable[None]]
        self.on_lost: Callable[[], Awaitable[None]]
        self.on_access: Callable[[str], None]
        self.on_late: Callable[[], None]
        self.on_left: Callable[[Connection], None]

    # Sockets of this node

    def connection(self, id_: str) -> Connection | None:
        return self._connections.get(id_)

    def connections(self) -> list[Connection]:
        return list(self._connections.values())

    def is_connected(self, connection: Connection) -> bool:
        return self._connections.get(connection.id) is connection

    def of_person(self, person: str) -> list[Connection]:
        return list(self._by_person.get(person, {}).values())

    async def hear(self, connection: Connection) -> None:
        """From now on what is said to its person is handed to this socket. Raises `Unavailable`, and leaves nothing."""
        person = connection.identity.person
        self._connections[connection.id] = connection
        self._by_person.setdefault(person, {})[connection.id] = connection
        try:
            await self._subscribe(person_channel(person))
        except BaseException:
            self.forget(connection)
            self.deafen(person)
            raise

    async def join(self, connection: Connection) -> None:
        """Registers a socket that hears. Raises `Unavailable`. Older sockets of the same device, and the oldest beyond the
        bound, are dismissed (R3)."""
        identity = connection.identity
        try:
            arrival = await self._register(connection)
        except BaseException:
            self.forget(connection)
            raise  # the caller takes the socket back: the outcome of the registration may be unknown
        for frame in arrival.ringing:
            connection.send(frame)
        # The socket is in; what is told of it may be missed, and is seen again at the next join.
        if not arrival.was_online:
            with contextlib.suppress(Unavailable):
                await self.on_presence(identity.person, True)

    async def _register(self, connection: Connection, since: int | None = None) -> Arrival:
        identity = connection.identity
        gone = self._departures.of(identity.person)
        arrival = await self._registry.connect(
            identity.person, connection.id, self.node, identity.device, self.alive, self._most, since, gone
        )
        for socket in gone:
            self._departures.unregistered(socket)
        if arrival.since is not None:
            self._since[connection.id] = arrival.since
        return arrival

    def forget(self, connection: Connection) -> None:
        """From now on nothing is handed to this socket."""
        self._connections.pop(connection.id, None)
        self._since.pop(connection.id, None)
        mine = self._by_person.get(connection.identity.person, {})
        mine.pop(connection.id, None)
        if not mine:
            self._by_person.pop(connection.identity.person, None)

    async def leave(self, person: str, socket: str) -> None:
        """Raises `Unavailable`; may be repeated."""
        if not await self._registry.disconnect(person, socket, self.alive):
            await self.on_presence(person, False)

    def deafen(self, person: str) -> None:
        """Nothing is heard any more of somebody who has no socket here."""
        if person not in self._by_person:
            self._unsubscribe(person_channel(person))

    # What the channels say

    def on_message(self, channel: str, message: bytes) -> None:
        kind, body = message[:1], message[1:]
        if kind == b"X":
            socket, _, frame = body.partition(b" ")
            if there := self._connections.get(socket.decode()):
                there.send(frame)
            else:
                self._departures.hurry(socket.decode())  # who said it has to see that they are away
        elif kind == b"K":
            dismissed, _, reason = body.partition(b" ")
            if there := self._connections.get(dismissed.decode()):
                there.dismiss(ReplacedPush(reason="too_many" if reason == b"too_many" else "device"))
        elif kind == b"N":
            for connection in self.of_person(_person(channel)):
                connection.send(body)
        elif kind == b"A":
            self.on_access(_person(channel))

    def restored(self, channel: str) -> None:
        """A person's channel is heard again after it was not: a dismissal may have been missed, and a store that failed over
        may have forgotten the sockets that are here."""
        for connection in self.of_person(_person(channel)):
            if connection.id not in self._registering:
                task = asyncio.create_task(self._register_again(connection), name="sockets seen again")
                self._registering[connection.id] = task
                task.add_done_callback(partial(self._registered, connection.id))

    def _registered(self, id_: str, _: asyncio.Task[None]) -> None:
        del self._registering[id_]

    async def _register_again(self, connection: Connection) -> None:
        """Until it is done, for as long as the socket is there. One that went meanwhile may have been registered after its
        own leave: it leaves once more."""
        while self.is_connected(connection) and connection.id in self._since:
            try:
                async with self._free_to_register:
                    arrival = await self._register(connection, self._since[connection.id])
            except Unavailable:
                await asyncio.sleep(REGISTER_AGAIN_S)
                continue
            if self.is_connected(connection):
                if arrival.since is None:
                    connection.dismiss(ReplacedPush(reason="device"))
                elif not arrival.was_online:
                    with contextlib.suppress(Unavailable):  # seen at the next join
                        await self.on_presence(connection.identity.person, True)
                return
        if not self.is_connected(connection):
            self.on_left(connection)

    # Other nodes

    def lost_at(self, node: str, socket: str, now_ms: int) -> int | None:
        """Since when a socket cannot be there any more (ms UTC); None while it can: its node lives, and if that is this
        one, the socket does. So what a failed request left behind is found whenever somebody looks."""
        if node == self.node:
            return None if socket in self._connections else now_ms
        return None if node in self.alive else self._seen.get(node, now_ms - DAY_MS)

    async def start(self) -> None:
        """Announces this node. If there are others it beats twice more before it serves: then they know of it, and it knows
        of those that start at the same moment. Whoever is not known counts as dead. Raises `Unavailable`."""
        await self._subscribe(node_channel(self.node))
        self._judge(await self._beats.beat(self.node, self._lease_ms, take=0))
        for _ in range(2 if len(self.alive) > 1 else 0):
            await asyncio.sleep(self._lease_ms / 3000)
            self._judge(await self._beats.beat(self.node, self._lease_ms, take=0))

    async def depart(self) -> None:
        """This node ends in order. Raises `Unavailable`."""
        await self._beats.depart(self.node, self._lease_ms)

    async def run(self) -> None:
        """Beats, and nothing else: what a beat brings is done beside it, so that slow work never looks like death."""
        away = False
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            try:
                beat = await self._beats.beat(self.node, self._lease_ms)
            except Unavailable:
                if not away:
                    log.warning("store is away")
                away, self._judges_from = True, -1
                continue
            if away:
                log.info("store is back")
                away = False
            before = self.alive
            self._judge(beat)
            self._take(beat, before - self.alive)

    def _take(self, beat: Beat, lost: frozenset[str]) -> None:
        if lost:
            log.warning("nodes lost", nodes=sorted(lost))
        self._unattended |= lost
        last, self.beaten_at = self.beaten_at or beat.now, beat.now
        if beat.now > last + self._lease_ms and self._others_beat_on(beat, last):
            # They have counted us dead and our people away or gone. Our clients know how to resume.
            log.warning("this node was late", late_ms=beat.now - last)
            self.on_late()
        if self._attending is None or self._attending.done():
            self._attending = asyncio.create_task(self._attend(beat.due), name="rooms that are due")

    def _others_beat_on(self, beat: Beat, last: int) -> bool:
        """Did another node beat while this one could not? When the store was away for all of them, nobody has judged."""
        over = last + self._lease_ms
        return any(
            beat.seen[node] > over and beat.steady.get(node, 0) <= over
            for node in beat.seen
            if node != self.node
        )

    async def _attend(self, due: Sequence[str]) -> None:
        """Rooms that could not be attended to are due again soon."""
        try:
            if self._unattended:
                self._unattended = frozenset()
                await self.on_lost()
            for start in range(0, len(due), DUE_AT_ONCE):
                await self.on_due(due[start : start + DUE_AT_ONCE])
        except RoomError as error:
            log.info("rooms stay due", code=error.code)
        except Exception:  # the node goes on
            log.exception("could not attend to rooms")

    def _judge(self, beat: Beat) -> None:
        if self._judges_from < 0:
            # The others could not beat either: they get a lease to do it.
            self._judges_from = beat.now + self._lease_ms
        # A store that was failed over may have forgotten beats that we know of.
        known = {node: at for node, at in self._seen.items() if at > beat.now - DAY_MS}
        self._seen = {**known, **beat.seen}
        fresh = {node for node, at in self._seen.items() if at >= beat.now - self._lease_ms}
        spared = self.alive if beat.now < self._judges_from else frozenset[str]()
        self.alive = frozenset(fresh | spared | {self.node})


def _person(channel: str) -> str:
    return channel[len("{p:") : -1]
