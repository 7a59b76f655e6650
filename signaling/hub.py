"""The rooms that this node has people in: it hears each room's channel and hands on, in the log's order, to its sockets.

Delivery comes from the channel only, the author's included, so every node tells the same story (L2). Pub/sub is a hint and
the log is the truth: an event whose `prev` is not the last one handed on means that something was missed, and the gap is
read from the log before anything else is handed on. What nothing shows, a lost last message, is found by asking where the
rooms stand, every few seconds. A log that no longer holds what was handed on (a store that failed over) is said: `reset`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from msgspec import Struct, field

from rooms import events
from rooms import live as live_values
from rooms.errors import Unavailable
from rooms.ids import event_order
from rooms.live import Live
from rooms.log import Entry, wire
from rooms.membership import RoomRecord
from rooms.ports import Head, Resume, RoomLog, Seen
from rooms.pushes import ResetPush
from rooms.session import Session
from signaling import packets
from signaling.connection import Connection
from signaling.packets import pack
from signaling.stores.redis_log import channel

log = structlog.get_logger()

LINGER_S = 30.0
"""A room stays heard this long after its last socket left: reloads and reconnects find it warm."""

WAITING_MAX = 1_000
"""Messages kept while a gap is read. More are dropped: the log has the events, and the next look at it finds them."""

HELD_BYTES = 524_288
"""What may be held for a socket while it joins. Beyond it ephemeral pushes are dropped, then the socket is cut."""

HELD_PACKET_BYTES = 150
"""What a held push costs beside its bytes."""

REPAIR_AGAIN_S = 0.5
REPAIR_PAGE = 200
REPAIR_BYTES = 1_048_576
REPAIRS_MAX = 64
"""Rooms that are compared with their log at once; the others wait their turn."""

HEADS_EVERY_S = 4.0
"""How often it is asked where each room stands. With `IN_FLIGHT_S` below the 5 s in which a lost last message is noticed."""

HEADS_BATCH = 256
IN_FLIGHT_S = 0.5
"""What was written a moment ago may still be on its way to us."""


class Seat(Struct):
    """A socket in a room. While it joins, what happens is held back, so that its answer comes first (R1, L5): `held` is
    None once `floor`, the head that the answer named, is known; that is None once something after it was handed on."""

    connection: Connection
    peer: str
    several: bool
    held: list[tuple[str | None, bytes, bool]] | None = field(default_factory=list)
    held_bytes: int = 0
    floor: str | None = None


class Wake(Struct, frozen=True):
    """Some node looks at a room `at` that time (ms UTC): this node has said so after the step that made this version of its
    live value, or after one before with no other node's between."""

    version: int
    at: int


class Resident(Struct):
    """A room as this node knows it. `tail` and its key are the newest event that was handed on. `waiting` is None while
    messages are handed on as they come. `reread` are the events that the last repair read: their messages may still come.
    `session` is what `room.join` shows: the one that is under way, else the next; `knows_session`: it has been read, or an
    event has said it since."""

    slug: str
    record: RoomRecord
    epoch: str = ""
    tail: str | None = None
    tail_key: str | None = None
    reread: frozenset[tuple[str, str]] = frozenset()
    fell_behind: bool = False
    version: int = 0
    live: Live = Live()
    wake: Wake | None = None
    session: Session | None = None
    knows_session: bool = False
    seats: dict[str, Seat] = field(default_factory=dict)
    waiting: deque[bytes] | None = field(default_factory=deque)
    ready: asyncio.Task[None] | None = None
    linger: asyncio.TimerHandle | None = None


class Hub:
    """`subscribe` and `unsubscribe` are those of `stores.channels`."""

    def __init__(
        self,
        node: str,
        room_log: RoomLog,
        subscribe: Callable[[str], Awaitable[None]],
        unsubscribe: Callable[[str], None],
    ) -> None:
        self._node = node
        self._log = room_log
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._by_channel: dict[str, Resident] = {}
        self._seated: dict[str, dict[str, Resident]] = {}
        self._repairing = asyncio.Semaphore(REPAIRS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    def resident(self, slug: str) -> Resident | None:
        return self._by_channel.get(channel(slug))

    def count(self) -> int:
        """How many rooms this node has people in, or had a moment ago."""
        return len(self._by_channel)

    def residents(self) -> list[Resident]:
        return list(self._by_channel.values())

    async def open(self, record: RoomRecord) -> Resident:
        """Hears the room and knows where its log stands. Raises `Unavailable`."""
        resident = self.resident(record.slug)
        if resident is None:
            resident = self._by_channel[channel(record.slug)] = Resident(record.slug, record)
            resident.ready = asyncio.create_task(self._begin(resident))
        resident.record = record
        try:
            if resident.ready is not None:
                await asyncio.shield(resident.ready)
                resident.ready = None
        except Exception:
            if self._by_channel.get(channel(record.slug)) is resident and not resident.seats:
                self._close(resident)
            raise
        return resident

    async def _begin(self, resident: Resident) -> None:
        await self._subscribe(channel(resident.slug))
        stands = await self._log.resume(resident.slug, None, limit=1, max_bytes=REPAIR_BYTES)
        self._stand(resident, stands)
        self._flow(resident)
        self._schedule_close(resident)

    # Seats

    def sit(self, resident: Resident, connection: Connection, peer: str, *, several: bool) -> Seat:
        """From now on what happens is held for this socket, until `release`."""
        seat = resident.seats[connection.id] = Seat(connection, peer, several)
        self._seated.setdefault(connection.id, {})[resident.slug] = resident
        if resident.linger:
            resident.linger.cancel()
            resident.linger = None
        return seat

    def seat_of(self, connection: Connection, slug: str) -> tuple[Resident, Seat] | None:
        """Where this socket sits in that room, if it does."""
        resident = self._by_channel.get(channel(slug))
        seat = resident.seats.get(connection.id) if resident else None
        return None if resident is None or seat is None else (resident, seat)

    def is_behind(self, resident: Resident, head: str | None) -> bool:
        """Whether this node has yet to hear of events up to `head`."""
        return _order(resident.tail) < _order(head)

    def release(self, seat: Seat, head: str | None) -> None:
        """The answer has been sent, with the log up to `head`: hand on what came after it."""
        held, seat.held, seat.floor = seat.held or [], None, head
        for id_, frame, ephemeral in held:
            self._hand(seat, id_, frame, ephemeral)

    def unsit(self, resident: Resident, connection: Connection) -> Seat | None:
        seat = resident.seats.pop(connection.id, None)
        seated = self._seated.get(connection.id, {})
        seated.pop(resident.slug, None)
        if not seated:
            self._seated.pop(connection.id, None)
        self._schedule_close(resident)
        return seat

    def rooms_of(self, connection: Connection) -> list[Resident]:
        """Where this socket has a seat."""
        return list(self._seated.get(connection.id, {}).values())

    def has_several(self, connection: Connection) -> None:
        """The person of this socket has more than one room now."""
        for resident in self.rooms_of(connection):
            resident.seats[connection.id].several = True

    def _schedule_close(self, resident: Resident) -> None:
        if not resident.seats and resident.linger is None:
            resident.linger = asyncio.get_running_loop().call_later(LINGER_S, self._close, resident)

    def _close(self, resident: Resident) -> None:
        if resident.seats or self._by_channel.get(channel(resident.slug)) is not resident:
            return
        del self._by_channel[channel(resident.slug)]
        self._unsubscribe(channel(resident.slug))

    # What the channel says

    def hears(self, name: str) -> bool:
        return name in self._by_channel

    def on_message(self, name: str, message: bytes) -> None:
        resident = self._by_channel.get(name)
        if resident is None:
            return
        if resident.waiting is not None:
            if len(resident.waiting) < WAITING_MAX:
                resident.waiting.append(message)
            elif not resident.fell_behind:
                resident.fell_behind = True
                log.warning("room fell behind", room=resident.slug, waiting=WAITING_MAX)
        else:
            self._take(resident, message)

    def _take(self, resident: Resident, message: bytes) -> None:
        kind, body = message[:1], message[1:]
        if kind == b"L":
            epoch, id_, prev, key, event = body.split(b" ", 4)
            entry = Entry(id_.decode(), prev.decode() or None, key.decode(), event)
            self._take_entry(resident, epoch.decode(), entry, message)
        elif kind == b"S":
            version, _, blob = body.partition(b" ")
            if int(version) > resident.version:  # mostly it has been shown already, by whoever made it here
                self.show_live(resident, int(version), live_values.decode(blob))
        elif kind == b"P":
            origin, spared, name, payload = body.split(b" ", 3)
            if origin.decode() != self._node:
                self.whisper(resident, name.decode(), payload, spared.decode())

    def _take_entry(self, resident: Resident, epoch: str, entry: Entry, message: bytes) -> None:
        if epoch == resident.epoch and entry.prev == resident.tail:
            resident.reread = frozenset()
            self._deliver(resident, entry)
        elif (entry.id, entry.key) not in resident.reread:
            # Something was missed, or handed on and then rolled back.
            resident.waiting = deque([message])
            self._own(self._repair(resident))

    def _deliver(self, resident: Resident, entry: Entry) -> None:
        resident.tail, resident.tail_key = entry.id, entry.key
        if events.is_of_session(entry.body):
            happened = events.decode(entry.body)
            if isinstance(happened, events.SessionHappened):
                resident.session, resident.knows_session = happened.next, True
        frame = packets.log_event(wire(resident.slug, entry))
        for seat in resident.seats.values():
            if seat.held is None and seat.floor is None:
                seat.connection.send(frame)
            else:
                self._hand(seat, entry.id, frame, ephemeral=False)

    def _hand(self, seat: Seat, id_: str | None, frame: bytes, ephemeral: bool) -> None:
        if seat.held is not None:
            size_bytes = len(frame) + HELD_PACKET_BYTES
            if seat.held_bytes + size_bytes <= HELD_BYTES:
                seat.held_bytes += size_bytes
                seat.held.append((id_, frame, ephemeral))
            elif not ephemeral:
                seat.held.clear()
                seat.connection.cut()
            return
        if id_ is not None and seat.floor is not None:
            if event_order(id_) <= event_order(seat.floor):
                return
            seat.floor = None  # what comes from now on comes after it, too
        seat.connection.send(frame, ephemeral=ephemeral)

    def whisper(self, resident: Resident, name: str, payload: bytes, spared: str = "") -> None:
        """An ephemeral push to this node's sockets in the room, but those of the person `spared`."""
        frame = packets.event(name, payload)
        for seat in resident.seats.values():
            if seat.connection.identity.person != spared:
                self._hand(seat, None, frame, ephemeral=name == "typing")

    async def whisper_everywhere(self, slug: str, name: str, payload: bytes) -> None:
        """As `whisper`, on every node, and of a room that nobody here needs to be in. Raises `Unavailable`."""
        await self._log.whisper(slug, whispered(name, payload))

    def show_live(self, resident: Resident, version: int, live: Live, *, force: bool = False) -> None:
        """Tells this node's people what is different now (R5, R4). An older value than the one shown changes nothing."""
        if version <= resident.version and not force:
            return
        old, resident.live, resident.version = resident.live, live, version
        for push in live_values.changes(resident.slug, old, live):
            frame = packets.event("peer", pack(push))
            for seat in resident.seats.values():
                if seat.peer != push.peer:
                    self._hand(seat, None, frame, ephemeral=False)
        for peer, push_moved in live_values.moved(resident.slug, old, live):
            frame = packets.event("call.moved", pack(push_moved))
            for seat in resident.seats.values():
                if seat.peer == peer:
                    self._hand(seat, None, frame, ephemeral=False)

    # Gaps

    def restored(self, name: str) -> None:
        """A channel is heard again after it was not: what came meanwhile is in the log."""
        if resident := self._by_channel.get(name):
            self._compare(resident)

    def _compare(self, resident: Resident) -> None:
        if resident.waiting is None:
            resident.waiting = deque()
            self._own(self._repair(resident))

    async def sweep(self) -> None:
        """Asks again and again where every room stands."""
        while True:
            residents = self.residents()
            batches = [residents[i : i + HEADS_BATCH] for i in range(0, len(residents), HEADS_BATCH)]
            for batch in batches:
                await asyncio.sleep(HEADS_EVERY_S / len(batches))
                self._own(self._look(batch))
            if not batches:
                await asyncio.sleep(HEADS_EVERY_S)

    async def _look(self, residents: list[Resident]) -> None:
        before = [(resident, resident.tail, resident.version) for resident in residents]
        try:
            heads = await self._log.heads([resident.slug for resident in residents])
        except Unavailable:
            return  # what is missed now is found at the next look
        differing = [
            (*was, head)
            for was, head in zip(before, heads, strict=True)
            if head is not None and not _is_at(was[0], head)
        ]
        if not differing:
            return
        await asyncio.sleep(IN_FLIGHT_S)
        for resident, tail, version, head in differing:
            if _is_at(resident, head):
                continue
            rolled_back = _order(head.id) < _order(tail) or head.version < version
            missed = (
                _order(head.id) > _order(resident.tail)
                or head.version > resident.version
                or (head.id == resident.tail and head.key != resident.tail_key)
                or head.epoch != resident.epoch
            )
            if rolled_back or missed:
                log.info("room differs from its log", room=resident.slug)
                self._compare(resident)

    async def _repair(self, resident: Resident) -> None:
        """Reads what was missed, hands it on in order, then goes on with what came meanwhile. Tries until it works or the
        room is closed."""
        while self._by_channel.get(channel(resident.slug)) is resident:
            announced = len(resident.waiting or ())
            try:
                async with self._repairing:
                    await self._read_on(resident)
            except Exception as error:
                if not isinstance(error, Unavailable):
                    log.exception("room could not be compared with its log", room=resident.slug)
                await asyncio.sleep(REPAIR_AGAIN_S)
                continue
            self._drop_announced(resident, announced)
            self._flow(resident)
            return

    async def _read_on(self, resident: Resident) -> None:
        """From the newest event that was handed on to the head. A log in which that is not, has been rolled back or begun
        anew since: clients are told, and read it again."""
        reread: set[tuple[str, str]] = set()
        more = True
        while more:
            shown = resident.version
            seen = Seen(resident.epoch, resident.tail, resident.tail_key)
            found = await self._log.resume(resident.slug, seen, REPAIR_PAGE, REPAIR_BYTES)
            for entry in found.entries:
                reread.add((entry.id, entry.key))
                if found.reset is None:
                    self._deliver(resident, entry)
            # A step that was shown while this was read makes it old.
            overtaken = resident.version != shown and found.version < resident.version
            more = (found.more and found.reset is None) or overtaken
        resident.reread = frozenset(reread)
        if found.reset is not None:
            resident.knows_session = False
        forgotten = found.version < resident.version
        self._stand(resident, found)
        absent = any(s.held is None and s.peer not in resident.live.peers for s in resident.seats.values())
        if reason := found.reset or ("diverged" if forgotten or absent else None):
            log.warning("room is not what it was", room=resident.slug, reason=reason)
            self.whisper(resident, "reset", pack(ResetPush(room=resident.slug, reason=reason)))

    def _stand(self, resident: Resident, found: Resume) -> None:
        """The room as the store has it now, whatever was shown before."""
        resident.epoch, resident.tail, resident.tail_key = found.epoch, found.head, found.head_key
        live = live_values.decode(found.blob)
        if (found.version, live) != (resident.version, resident.live):
            self.show_live(resident, found.version, live, force=True)

    def _drop_announced(self, resident: Resident, announced: int) -> None:
        """Events announced before the log was read are in what was read, or a store that lost them never had them."""
        waiting = list(resident.waiting or ())
        kept = [message for message in waiting[:announced] if not message.startswith(b"L")]
        resident.waiting = deque(kept + waiting[announced:])

    def _flow(self, resident: Resident) -> None:
        """Hands on what waited; from then on messages are handed on as they come."""
        waiting, resident.waiting = resident.waiting or deque[bytes](), None
        resident.fell_behind = False
        for message in waiting:
            self.on_message(
                channel(resident.slug), message
            )  # waits again behind a gap that one of them shows

    # Tasks

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for resident in self.residents():
            if resident.linger:
                resident.linger.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def whispered(name: str, payload: bytes, origin: str = "-", spared: str = "-") -> bytes:
    """An ephemeral push, for the channel of a room. `origin`: the node that has told its own people already ("-": none has);
    `spared`: the person who is not told."""
    return f"{origin} {spared} {name} ".encode() + payload


def _is_at(resident: Resident, head: Head) -> bool:
    """Whether this node has handed on just what the store has."""
    return (
        resident.tail == head.id
        and resident.version == head.version
        and resident.tail_key == head.key
        and resident.epoch == head.epoch
    )


def _order(id_: str | None) -> tuple[int, int]:
    """Before every event when there is none."""
    return event_order(id_) if id_ else (-1, 0)
