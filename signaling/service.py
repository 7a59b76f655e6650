"""The one path from a request to its effect: load → decide → commit → publish. Every verb of the contract is one method
here and one row of `VERBS`."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NoReturn

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import asdict

from media.echo import LIMIT_S, BadOfferError, EchoPeers, TooManyError
from rooms import bounds, chat, events, presence
from rooms import call as calls
from rooms import commands as c
from rooms import live as live_values
from rooms import pushes as p
from rooms.bounds import Limits
from rooms.call import CallRules, Here
from rooms.errors import (
    Conflict,
    Gone,
    Invalid,
    Limited,
    NotFound,
    PeerAway,
    RoomError,
    TooLarge,
    Unavailable,
)
from rooms.events import Event
from rooms.ids import event_at, peer_id
from rooms.live import Decision, Live, Notice, Peer
from rooms.log import wires
from rooms.membership import RoomRecord, is_polite
from rooms.ports import (
    Draft,
    LiveSwap,
    Memberships,
    Rate,
    Request,
    Resume,
    Rewrite,
    RoomLog,
    Seen,
    Stale,
    Written,
)
from rooms.session import Session
from signaling.connection import Connection
from signaling.departures import Departure, Departures
from signaling.hub import Hub, Resident, Seat, Wake
from signaling.nodes import Nodes
from signaling.packets import event, pack
from signaling.sessions import Sessions
from signaling.stores.registry import CLAIM_MS, Registry, node_channel, person_channel
from signaling.unfinished import Unfinished

log = structlog.get_logger()

DECIDE_TRIES = 5
"""How often a decision is made again because another node was faster, before it counts as a conflict."""

RECHECK_CALL_MS = 60_000
RECHECK_ROOM_MS = 300_000
"""A room with a call, or with somebody in it, is looked at this often even if nothing is due: its node may have died without
a word. Whoever is there has heard so from the other nodes at once, and what is written then has the time of the death."""

LEAVES_MAX = 20_000
"""Sockets and peers that may wait for the store to be taken back. None is ever given up: a socket's entry on a node that
lives would keep its person online for ever. So beyond this nobody is let in until some are done (`overdue`), and only
those who are here already may still add theirs. A node that ends leaves them to its lease."""

LEAVES_AT_ONCE = 64
"""Sockets that are taken back at the same time. When thousands drop at once, those who come back go first: whoever is back
before its old socket's turn was never away, and nothing is written for it."""

ANNOUNCEMENTS_MAX = 10_000
"""Notices and wakes that may wait for the store. The oldest is given up: a notice is history soon, and a room is looked at
when its earlier wake is due or somebody does something in it."""


class Reply(Struct, frozen=True):
    """What is acknowledged, and what may happen only once that is on its way."""

    payload: bytes
    then: Callable[[], None] | None = None


class Light(Struct, frozen=True, gc=False):
    """A request that waits for nothing but answers of the store: an errand, not a task (`errand.py`)."""

    work: Coroutine[Any, None, Reply]


class Rates(Struct, frozen=True):
    """Chat per person and room; rooms and sockets are counted, not rated."""

    chat_per_s: float
    chat_burst: int
    rooms_per_socket: int
    page_bytes: int


Known = tuple[int, Live]
"""A room's live value and its version."""

DONE = Reply(pack(p.Done(ok=True)))


class Service:
    """`now_ms` and `new_id` are the clock and the randomness of this node; `ice` makes a person's ICE configuration
    under the policy of their programme. `on_people` hears the next session of a room in which somebody came or went."""

    def __init__(
        self,
        *,
        node: str,
        room_log: RoomLog,
        memberships: Memberships,
        registry: Registry,
        hub: Hub,
        nodes: Nodes,
        sessions: Sessions,
        limits: Limits,
        rates: Rates,
        rules: CallRules,
        ice: Callable[[str, p.Policy | None], p.IceShown],
        echoes: EchoPeers,
        departures: Departures,
        on_people: Callable[[Session | None], None],
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._node = node
        self._log = room_log
        self._memberships = memberships
        self._registry = registry
        self._hub = hub
        self._nodes = nodes
        self._sessions = sessions
        self._limits = limits
        self._rates = rates
        self._rules = rules
        self._ice = ice
        self._echoes = echoes
        self._on_people = on_people
        self._now_ms = now_ms
        self._new_id = new_id
        # Where each socket has, or may have, a peer: a join of unknown outcome is taken back, too.
        self._entered: dict[str, dict[str, tuple[RoomRecord, str]]] = {}
        self._typing: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._departures = departures
        departures.on_due = self._departed
        self._leaves = Unfinished()
        self._to_leave: deque[Departure] = deque()
        self._leavers = 0
        self._announcements = Unfinished(ANNOUNCEMENTS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    # One request

    def handle(self, connection: Connection, command: c.Command) -> Reply | Light | Awaitable[Reply]:
        """What needs to wait for nothing is answered at once. Raises a `RoomError`, at once or when it is awaited; then
        nothing has been changed."""
        bounds.check(command, self._limits)
        return VERBS[type(command)](self, connection, command)

    # Room

    async def join(self, connection: Connection, command: c.RoomJoin) -> Reply:
        person = connection.identity.person
        record = await self._recorded(command.room)
        member = record.member(person)
        already = self._hub.rooms_of(connection)
        if len(already) >= self._rates.rooms_per_socket and record.slug not in {r.slug for r in already}:
            raise TooLarge(f"One socket may join at most {self._rates.rooms_per_socket} rooms.", field="room")
        several = member.rooms > 1
        resident = await self._hub.open(record)
        me = peer_id(record.slug, person, connection.identity.device)
        before = resident.seats.get(connection.id)
        seat = self._hub.sit(resident, connection, me, several=several)
        if several:
            self._hub.has_several(connection)
        self._entered.setdefault(connection.id, {})[record.slug] = (record, me)
        try:
            limit = bounds.page_limit(command.limit, self._limits)
            seen = Seen(**asdict(command.cursor)) if command.cursor else None
            arrived = Peer(me, person, connection.identity.device, self._node, connection.id)
            resumed = await self._enter(resident, arrived, seen, limit)
            online = await self._online(resident, person)
            session = await self._next_session(resident, resumed.head)
            resident.record.member(person)  # a removal that came while we waited
        except BaseException:
            if before is None:
                self._hub.unsit(resident, connection)
            else:
                self._hub.release(seat, before.floor)  # it goes on where it was
            raise
        if not self._nodes.is_connected(connection):
            # It went away while we waited, and its leave found nothing to take back.
            self.disconnected(connection)
            raise Gone
        live = resident.live
        mine = live.peers.get(me, arrived)
        others = [peer.shown() for peer in live.peers.values() if peer.peer != me]
        answer = p.Joined(
            ok=True,
            you=p.You(
                peer=me,
                person=person,
                role=member.role,
                polite=is_polite(member.role, me, [other.peer for other in others]),
                leg=mine.leg,
                media=mine.media,
            ),
            room=p.RoomShown(slug=record.slug, title=record.title, moves=record.moves),
            people=[
                p.PersonShown(
                    person=m.person,
                    name=m.name,
                    role=m.role,
                    tz=m.tz,
                    online=m.person == person or m.person in online,
                    read=resumed.read.get(m.person),
                )
                for m in record.members
            ],
            peers=others,
            call=p.CallShown(id=live.call.id, since=live.call.since) if live.call else None,
            session=session,
            log=_log_shown(record.slug, resumed),
            ice=self._ice(person, resident.record.relay_policy),
        )
        return Reply(pack(answer), lambda: self._hub.release(seat, resumed.head))

    async def _enter(self, resident: Resident, arrived: Peer, seen: Seen | None, limit: int) -> Resume:
        """Reads the log and puts the peer into the room: mostly in one trip to the store."""
        record = resident.record

        def enter(live: Live) -> Decision:
            return Decision(presence.enter(live, arrived))

        known, swap = _known(resident), None
        if known:
            decision = self._decide(record, known[1], enter)
            if decision.live != known[1] and not decision.events:
                swap = LiveSwap(known[0], live_values.encode(decision.live))
        found = await self._log.resume(record.slug, seen, limit, self._rates.page_bytes, swap)
        if known and found.swapped:
            await self._decided(record.slug, known, found.version, decision)
        else:
            await self._commit(record, enter)
        return found

    async def _online(self, resident: Resident, person: str) -> set[str]:
        """Whoever has a socket in this room has one (R1); of the others of the room the registry knows."""
        peers = resident.live.peers.values()
        here = {peer.person for peer in peers if peer.away_until is None and self._lost_at(peer) is None}
        others = [other for other in resident.record.others(person) if other not in here]
        return here | await self._registry.online(others, self._nodes.alive, unknown=False)

    async def leave(self, connection: Connection, command: c.RoomLeave) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        here = self._here(resident.record, seat)
        await self._commit(resident.record, lambda live: calls.leave_room(live, here))
        self._hub.unsit(resident, connection)
        self._entered.get(connection.id, {}).pop(resident.slug, None)
        return DONE

    # Log

    async def page(self, connection: Connection, command: c.LogPage) -> Reply:
        resident, _ = await self._seat(connection, command.room)
        limit = bounds.page_limit(command.limit, self._limits)
        read = await self._log.page(
            resident.slug,
            before=command.before,
            after=command.after,
            limit=limit,
            max_bytes=self._rates.page_bytes,
        )
        shown = wires(resident.slug, read.entries)
        return Reply(pack(p.Paged(ok=True, events=_raw(shown), more=read.more, floor=read.floor)))

    def send(self, connection: Connection, command: c.ChatSend) -> Light:
        return Light(self._send(connection, command))

    async def _send(self, connection: Connection, command: c.ChatSend) -> Reply:
        resident, seat = self._seated(connection, command.room) or await self._not_seated(
            connection, command.room
        )
        person = connection.identity.person
        request = Request(person, command.key, "chat.send")
        if seat.several:
            await self._claim(resident, request)
        posted = chat.send(person, command)
        written = await self._log.write(
            resident.slug,
            (_draft(posted),),
            request=request,
            rate=self._rate(person),
            answers=command.reply_to,
        )
        if seat.several:
            await self._keep(resident, request)
        return _appended(written)

    async def edit(self, connection: Connection, command: c.ChatEdit) -> Reply:
        return await self._rewrite(connection, command, "chat.edit", "edit", chat.edit)

    async def delete(self, connection: Connection, command: c.ChatDelete) -> Reply:
        return await self._rewrite(connection, command, "chat.delete", "delete", chat.delete)

    async def react(self, connection: Connection, command: c.ChatReact) -> Reply:
        return await self._rewrite(connection, command, "chat.react", "react", chat.react)

    async def _rewrite(
        self, connection: Connection, command: Any, verb: str, how: Any, decide: Callable[..., Event]
    ) -> Reply:
        """Decide on the newest form of a message, and append only if it still is the newest."""
        resident, seat = await self._seat(connection, command.room)
        request = Request(connection.identity.person, command.key, verb)
        if seat.several:
            await self._claim(resident, request)
        for _ in range(DECIDE_TRIES):
            found = await self._log.newest(resident.slug, command.id, request)
            if found.done is not None:
                written = found.done
                break
            known = events.decode(found.entry.body) if found.entry else None
            decided = decide(request.person, command, found.entry, known)
            assert found.entry is not None
            rewrite = Rewrite(ref=command.id, seen=found.entry.id, how=how)
            try:
                written = await self._log.write(
                    resident.slug,
                    (_draft(decided),),
                    request=request,
                    rate=self._rate(request.person),
                    rewrite=rewrite,
                )
                break
            except Stale:
                continue
        else:
            raise Conflict
        if seat.several:
            await self._keep(resident, request)
        return _appended(written)

    async def read(self, connection: Connection, command: c.ChatRead) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        person = seat.connection.identity.person
        push = pack(p.ReadPush(room=resident.slug, person=person, id=command.id))
        await self._log.mark_read(resident.slug, person, command.id, _whisper("-", "-", "read", push))
        return DONE

    async def typing(self, connection: Connection, command: c.ChatTyping) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        person = seat.connection.identity.person
        if timer := self._typing.pop((resident.slug, person), None):
            timer.cancel()
        if command.on:
            self._typing[resident.slug, person] = asyncio.get_running_loop().call_later(
                TYPING_S, self._stop_typing, resident, person
            )
        self._show_typing(resident, person, command.on)
        return DONE

    def _stop_typing(self, resident: Resident, person: str) -> None:
        self._typing.pop((resident.slug, person), None)
        self._show_typing(resident, person, on=False)

    def _show_typing(self, resident: Resident, person: str, on: bool) -> None:
        """Here at once; to other nodes in passing, so that a slow store holds nobody up (T3)."""
        push = pack(p.TypingPush(room=resident.slug, person=person, on=on))
        self._hub.whisper(resident, "typing", push, spared=person)
        elsewhere = any(peer.node != self._node for peer in resident.live.peers.values())
        if elsewhere and len(self._tasks) < TASKS_MAX:
            self._own(self._log.whisper(resident.slug, _whisper(self._node, person, "typing", push)))

    # Call

    async def call_join(self, connection: Connection, command: c.CallJoin) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        here, new_call = self._here(resident.record, seat), self._new_id()
        live = await self._commit(
            resident.record, lambda live: calls.join(live, here, command, new_call, self._rules)
        )
        assert live.call is not None
        others = [peer.in_call() for peer in live.callers() if peer.peer != seat.peer]
        return Reply(
            pack(p.CallJoined(ok=True, call=live.call.id, leg=live.peers[seat.peer].leg, peers=others))
        )

    async def call_leave(self, connection: Connection, command: c.CallLeave) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        here = self._here(resident.record, seat)
        await self._commit(resident.record, lambda live: calls.leave(live, here, command.call))
        return DONE

    async def call_decline(self, connection: Connection, command: c.CallDecline) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        here = self._here(resident.record, seat)
        await self._commit(resident.record, lambda live: calls.decline(live, here, command.call))
        return DONE

    async def call_media(self, connection: Connection, command: c.CallMedia) -> Reply:
        resident, seat = await self._seat(connection, command.room)
        here = self._here(resident.record, seat)
        await self._commit(resident.record, lambda live: calls.media(live, here, command))
        return DONE

    def signal(self, connection: Connection, command: c.CallSignal) -> Reply | Awaitable[Reply]:
        seated = self._seated(connection, command.room)
        if seated is None:
            return self._not_seated(connection, command.room)
        resident, seat = seated
        me, target = _signal_peers(resident.live, seat.peer, command)
        push = p.SignalPush(
            room=resident.slug,
            call=command.call,
            from_=me.peer,
            from_leg=me.leg,
            to_leg=command.to_leg,
            seq=command.seq,
            gen=command.gen,
            description=command.description,
            candidates=command.candidates,
        )
        frame = event("call.signal", pack(push))
        if target.node == self._node:
            there = self._nodes.connection(target.socket)
            if there is None:
                self.away_now(target.socket)
                raise PeerAway
            there.send(frame)
            return DONE
        return self._signal_elsewhere(target, frame)

    async def _signal_elsewhere(self, target: Peer, frame: bytes) -> Reply:
        if not await self._registry.publish(node_channel(target.node), f"X{target.socket} ".encode() + frame):
            raise PeerAway
        return DONE

    async def ice(self, connection: Connection, command: c.Ice) -> Reply:
        resident, _ = await self._seat(connection, command.room)
        shown = self._ice(connection.identity.person, resident.record.relay_policy)
        return Reply(pack(p.IceAnswer(ok=True, **asdict(shown))))

    async def echo(self, connection: Connection, command: c.Echo) -> Reply:
        await self._seat(connection, command.room)
        try:
            sdp = await self._echoes.answer(connection.id, command.description.sdp)
        except BadOfferError:
            raise Invalid("The network check cannot answer this offer.", field="description.sdp") from None
        except TooManyError as error:
            raise Limited(ECHO_BUSY, retry_ms=max(1_000, round(error.retry_s * 1000))) from None
        except (TimeoutError, OSError):
            raise Unavailable(ECHO_FAILED, retry_ms=ECHO_RETRY_MS) from None
        if not self._nodes.is_connected(connection):
            await self._echoes.end(connection.id)
            raise Gone
        description = c.Description(type="answer", sdp=sdp)
        return Reply(pack(p.EchoAnswer(ok=True, description=description, limit_s=int(LIMIT_S))))

    # Sessions

    async def book(self, connection: Connection, command: c.SessionBook) -> Reply:
        await self._seat(connection, command.room)
        return _session_shown(await self._sessions.book(connection.identity.person, command))

    async def change_session(self, connection: Connection, command: c.SessionCommand) -> Reply:
        await self._seat(connection, command.room)
        return _session_shown(await self._sessions.change(connection.identity.person, command))

    async def knock(self, connection: Connection, command: c.SessionKnock) -> Reply:
        """All sockets of the others hear it; who has none is written to while a session is near."""
        resident, seat = await self._seat(connection, command.room)
        person = seat.connection.identity.person
        if wait_ms := await self._registry.knock(person, resident.slug, KNOCK_MS):
            raise Limited("You have just knocked; please wait a moment.", retry_ms=wait_ms)
        others = resident.record.others(person)
        frame = event("session.knock", pack(p.KnockPush(room=resident.slug, by=person)))
        for other in others:
            await self._registry.publish(person_channel(other), b"N" + frame)
        online = await self._registry.online(others, self._nodes.alive, unknown=True)
        if absent := set(others) - online:
            await self._sessions.knocked(resident.slug, absent)
        return DONE

    async def _next_session(self, resident: Resident, head: str | None) -> Session | None:
        """What is under way or next, as it is at `head` or later: the events behind it say the rest. The database is asked
        once for a room, and when this node has not heard yet what the log holds."""
        if resident.knows_session and not self._hub.is_behind(resident, head):
            return resident.session
        heard = resident.tail
        found = await self._sessions.next_in(resident.slug)
        if resident.tail == heard:
            resident.session, resident.knows_session = found, True
        self._on_people(found)  # who asks has just come in
        return found

    # What nobody asked for

    async def settle(self, slug: str) -> None:
        """What time alone brings about in a room (`calls.settle`)."""
        resident = self._hub.resident(slug)
        record = resident.record if resident else await self._memberships.room(slug)
        await self._commit(record or RoomRecord(slug, "", ()), Decision)

    async def attend(self, slugs: Sequence[str]) -> None:
        """As `settle`, of rooms that are due. Each with somebody in it is now and then, and mostly nothing has happened:
        then there is only to say when to look again, for all at once. Raises `Unavailable`; they stay due then."""
        quiet = {slug: at for slug in slugs if (at := self._quiet_until(slug)) is not None}
        if quiet:
            for slug in quiet:
                if resident := self._hub.resident(slug):
                    resident.wake = None
            await self._registry.due_again(quiet)
        await asyncio.gather(*(self._settled(slug) for slug in slugs if slug not in quiet))

    def _quiet_until(self, slug: str) -> int | None:
        """When to look at this room again; None when something is to be done in it, or it is not known here."""
        resident = self._hub.resident(slug)
        if resident is None or resident.waiting is not None:
            return None
        live = resident.live
        settled = calls.settle(
            live, slug, _persons(resident.record), self._lost_at, self._now_ms(), self._rules
        )
        return self._wake_at(live) if settled == Decision(live) else None

    async def _settled(self, slug: str) -> None:
        try:
            await self.settle(slug)
        except RoomError as error:
            log.info("room stays due", code=error.code)

    async def tell(self, slug: str, name: str, push: bytes) -> None:
        """Something ephemeral for everybody in a room, on every node."""
        await self._log.whisper(slug, _whisper("-", "-", name, push))

    def disconnected(self, connection: Connection) -> None:
        """A socket is gone: its peers are away for the grace, its person perhaps offline."""
        for resident in self._hub.rooms_of(connection):
            self._hub.unsit(resident, connection)
        if self._echoes.owned_by(connection.id):
            self._own(self._echoes.end(connection.id))
        peers = list(self._entered.pop(connection.id, {}).values())
        self._departures.add(connection.identity.person, connection.id, peers, self._now_ms())

    def away_now(self, socket: str) -> None:
        """A socket has gone, and for its person there is no moment: somebody has to see that they are away."""
        self._departures.hurry(socket)

    def _departed(self, gone: Departure) -> None:
        """Mostly a newer socket has all that this one had, and there is nothing to write."""
        gone.peers = [(record, peer) for record, peer in gone.peers if not self._is_taken(record, peer, gone)]
        if gone.peers or gone.registered:
            self._to_leave.append(gone)
            if self._leavers < LEAVES_AT_ONCE:
                self._leavers += 1
                self._own(self._take_back())
        self._nodes.deafen(gone.person)

    def _is_taken(self, record: RoomRecord, peer: str, gone: Departure) -> bool:
        """Once a newer socket has a peer it stays so: none takes it twice."""
        resident = self._hub.resident(record.slug)
        known = resident.live.peers.get(peer) if resident else None
        return known is not None and known.socket != gone.socket

    async def _take_back(self) -> None:
        """One of a few that take those who wait by turns. Thousands that waited, a task each, would all have to be ended at
        a stop."""
        try:
            while self._to_leave:
                await self._drop(self._to_leave.popleft())
        finally:
            self._leavers -= 1

    async def _drop(self, gone: Departure) -> None:
        for record, peer in gone.peers:
            drop = partial(_dropped, peer=peer, gone=gone, away_ms=self._rules.away_ms)
            await self._leaves.attempt((gone.socket, peer), partial(self._commit, record, drop))
        if gone.registered:
            leave = partial(self._nodes.leave, gone.person, gone.socket)
            await self._leaves.attempt(gone.socket, leave)

    @property
    def overdue(self) -> bool:
        """Whether too many who are gone wait for the store already."""
        waiting = len(self._departures) + len(self._leaves) + len(self._to_leave) + self._leavers
        return waiting >= LEAVES_MAX

    # The parts of every request

    async def _room(self, slug: str) -> RoomRecord:
        resident = self._hub.resident(slug)
        return resident.record if resident is not None else await self._recorded(slug)

    async def _recorded(self, slug: str) -> RoomRecord:
        """Membership as the database has it: asked at `room.join`, and kept by `access` from then on."""
        record = await self._memberships.room(slug)
        if record is None:
            raise NotFound("This room does not exist, or it is not yours.", field="room")
        return record

    async def _seat(self, connection: Connection, slug: str) -> tuple[Resident, Seat]:
        """Raises `NotFound` for somebody who is not of the room, `Conflict` before `room.join` (R1)."""
        return self._seated(connection, slug) or await self._not_seated(connection, slug)

    def _seated(self, connection: Connection, slug: str) -> tuple[Resident, Seat] | None:
        resident = self._hub.resident(slug)
        seat = resident.seats.get(connection.id) if resident else None
        return None if resident is None or seat is None else (resident, seat)

    async def _not_seated(self, connection: Connection, slug: str) -> NoReturn:
        (await self._room(slug)).member(connection.identity.person)
        raise Conflict("Please join the room first.", field="room")

    def _here(self, record: RoomRecord, seat: Seat) -> Here:
        return Here(record.slug, seat.peer, seat.connection.identity.person, _persons(record), self._now_ms())

    async def _claim(self, resident: Resident, request: Request) -> None:
        """A key is used once by a person, whatever the room: somebody with several rooms claims it first (L3)."""
        if not await self._registry.claim(request.person, request.key, resident.slug):
            raise Conflict("This key was used in another room.", field="key")

    async def _keep(self, resident: Resident, request: Request) -> None:
        """Only what was written keeps its claim: a flood over the rate must not fill the store."""
        await self._registry.keep(request.person, request.key, resident.slug)

    def _rate(self, person: str) -> Rate:
        return Rate(person=person, per_s=self._rates.chat_per_s, burst=self._rates.chat_burst)

    async def _commit(self, record: RoomRecord, decide: Callable[[Live], Decision]) -> Live:
        """Time first, then the step: decided on the newest live value and written only if it still is that. Returns the
        value after it. Raises `Unavailable`, `Conflict` after `DECIDE_TRIES`, and whatever `decide` raises."""
        slug = record.slug
        resident = self._hub.resident(slug)
        known = _known(resident) if resident else None
        for _ in range(DECIDE_TRIES):
            if known is None:
                found = await self._log.live(slug)
                known = found.version, live_values.decode(found.blob)
            version, live = known
            decision = self._decide(record, live, decide)
            if decision.live == live and not decision.events:
                await self._announce(slug, version, version, decision)
                return live
            swap = LiveSwap(version, live_values.encode(decision.live))
            try:
                written = await self._log.write(slug, tuple(_draft(e) for e in decision.events), live=swap)
            except Stale:
                known = None
                continue
            await self._decided(slug, known, written.version, decision)
            return decision.live
        raise Conflict("Too many people are doing the same thing; please try again.")

    def _decide(self, record: RoomRecord, live: Live, decide: Callable[[Live], Decision]) -> Decision:
        members = _persons(record)
        settled = calls.settle(live, record.slug, members, self._lost_at, self._now_ms(), self._rules)
        return settled.then(decide(settled.live))

    async def _decided(self, slug: str, known: Known, version: int, decision: Decision) -> None:
        """A step from what was known is written, and made this version."""
        seen, before = known
        if resident := self._hub.resident(slug):
            self._hub.show_live(resident, version, decision.live)
            if _people(before) != _people(decision.live):
                self._on_people(resident.session)
        await self._announce(slug, seen, version, decision)

    def _lost_at(self, peer: Peer) -> int | None:
        if peer.socket in self._departures:
            return None
        return self._nodes.lost_at(peer.node, peer.socket, self._now_ms())

    async def _announce(self, slug: str, seen: int, version: int, decision: Decision) -> None:
        """What follows from a step that is written already: it cannot fail any more, only come later, each by itself. A room
        for which nobody can be woken is looked at from here until somebody can."""
        for notice in decision.notices:
            tell = partial(self._tell, slug, notice, self._rules.ring_ms)
            late = partial(self._tell_late, slug, notice)
            await self._announcements.attempt((slug, notice.person), tell, late)
        resident, at = self._hub.resident(slug), self._wake_at(decision.live)
        if resident and at and (stands := self._standing(resident, seen, at)):
            resident.wake = Wake(version, stands)
        else:
            wake = partial(self._wake, slug, version, at)
            await self._announcements.attempt(slug, wake, partial(self.settle, slug))

    def _standing(self, resident: Resident, seen: int, at: int) -> int | None:
        """When a node looks at the room anyway, if that is soon enough, and no node can have done so yet."""
        wake = resident.wake
        if wake is None or wake.version != seen or not self._now_ms() + CLAIM_MS < wake.at <= at:
            return None
        return wake.at

    async def _wake(self, slug: str, version: int, at: int | None) -> None:
        """Have some node look at this room when time has something to do in it."""
        await self._registry.due(slug, at)
        if resident := self._hub.resident(slug):
            resident.wake = Wake(version, at) if at else None

    def _wake_at(self, live: Live) -> int | None:
        due = calls.deadline(live, self._rules)
        if not live.peers and not live.call:
            return due
        recheck = self._now_ms() + (RECHECK_CALL_MS if live.call else RECHECK_ROOM_MS)
        return recheck if due is None else min(due, recheck)

    async def _tell(self, slug: str, notice: Notice, ring_ms: int) -> None:
        """All sockets of that person hear it, and while it rings those that come later, too (K1)."""
        if isinstance(notice.push, p.RingPush):
            await self._registry.ring(notice.person, slug, event("call.ring", pack(notice.push)), ring_ms)
        else:
            await self._registry.quiet(notice.person, slug, event("call.quiet", pack(notice.push)))

    async def _tell_late(self, slug: str, notice: Notice) -> None:
        """Only what is still so: a call that rings no more does not ring, and nothing ends the ringing of a newer one."""
        call = live_values.decode((await self._log.live(slug)).blob).call
        left_ms = call.ring_until - self._now_ms() if call and call.ring_until else 0
        ringing = call.id if call and left_ms > 0 else None
        if ringing == (notice.push.call if isinstance(notice.push, p.RingPush) else None):
            await self._tell(slug, notice, left_ms)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, within_s: float) -> None:
        """Waits for leaves that are under way, then gives up on them: the lease of this node covers them."""
        for timer in self._typing.values():
            timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._departures.hurry_all()
                while self._tasks:
                    await asyncio.wait(list(self._tasks))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(
            *self._tasks, self._leaves.stop(), self._announcements.stop(), return_exceptions=True
        )


TYPING_S = 6.0
"""L10: somebody who says nothing more has stopped typing."""

KNOCK_MS = 30_000
"""Somebody knocks at a room once in this time."""

TASKS_MAX = 1_000
"""Typing notices for other nodes that may be under way; more are dropped."""

ECHO_BUSY = "Too many network checks run at the moment. You can still enter the room."
ECHO_FAILED = "The network check could not be set up. You can still enter the room."
ECHO_RETRY_MS = 5_000

VERBS: dict[type[c.Strict], Callable[[Service, Connection, Any], Reply | Light | Awaitable[Reply]]] = {
    c.RoomJoin: Service.join,
    c.RoomLeave: Service.leave,
    c.LogPage: Service.page,
    c.ChatSend: Service.send,
    c.ChatEdit: Service.edit,
    c.ChatDelete: Service.delete,
    c.ChatReact: Service.react,
    c.ChatTyping: Service.typing,
    c.ChatRead: Service.read,
    c.CallJoin: Service.call_join,
    c.CallLeave: Service.call_leave,
    c.CallDecline: Service.call_decline,
    c.CallMedia: Service.call_media,
    c.CallSignal: Service.signal,
    c.Ice: Service.ice,
    c.Echo: Service.echo,
    c.SessionBook: Service.book,
    c.SessionMove: Service.change_session,
    c.SessionPropose: Service.change_session,
    c.SessionAnswer: Service.change_session,
    c.SessionCancel: Service.change_session,
    c.SessionExtend: Service.change_session,
    c.SessionAgenda: Service.change_session,
    c.SessionEnd: Service.change_session,
    c.SessionKnock: Service.knock,
}


def _dropped(live: Live, peer: str, gone: Departure, away_ms: int) -> Decision:
    return Decision(presence.drop(live, peer, gone.socket, gone.at_ms, away_ms))


def _persons(record: RoomRecord) -> tuple[str, ...]:
    return tuple(member.person for member in record.members)


def _known(resident: Resident) -> Known | None:
    """The newest live value that this node has heard of; None while it does not hear the room."""
    return (resident.version, resident.live) if resident.waiting is None else None


def _people(live: Live) -> tuple[set[str], set[str]]:
    """Who is in the room, and who of them is in the call."""
    return {peer.person for peer in live.peers.values()}, {peer.person for peer in live.callers()}


def _draft(decided: Event) -> Draft:
    return Draft(key=decided.key, body=events.encode(decided))


def _appended(written: Written) -> Reply:
    id_ = written.ids[0]
    return Reply(pack(p.Appended(ok=True, id=id_, at=event_at(id_), dup=written.dup)))


def _raw(encoded: bytes) -> Any:
    return msgspec.Raw(encoded)


def _session_shown(session: Session) -> Reply:
    return Reply(pack(p.SessionShown(ok=True, session=session)))


def _log_shown(slug: str, resumed: Resume) -> p.LogShown:
    return p.LogShown(
        epoch=resumed.epoch,
        head=resumed.head,
        events=_raw(wires(slug, resumed.entries)),
        more=resumed.more,
        reset=resumed.reset,
        floor=resumed.floor,
    )


def _whisper(origin: str, spared: str, name: str, payload: bytes) -> bytes:
    """`origin`: the node that has told its own people already ("-": none has); `spared`: the person who is not told."""
    return f"{origin} {spared} {name} ".encode() + payload


def _signal_peers(live: Live, mine: str, command: c.CallSignal) -> tuple[Peer, Peer]:
    """The two ends of a signal (K2). Raises `Conflict` when the sender is not in that call, `PeerAway` when the other is not
    reachable now, `Gone` when it has joined anew, `NotFound` for a peer that never was in it."""
    me = live.peers.get(mine)
    if live.call is None or live.call.id != command.call or me is None or me.media is None:
        raise Conflict("You are not in this call.", field="call")
    target = live.peers.get(command.to)
    if target is None or target.peer == mine:
        if command.to in live.call.legs and command.to != mine:
            raise PeerAway(field="to")
        raise NotFound("There is no such peer in this call.", field="to")
    if target.media is None or target.away_until is not None:
        raise PeerAway(field="to")
    if target.leg != command.to_leg:
        raise Gone("The other side has joined anew.", field="to_leg", current={"leg": target.leg})
    return me, target
