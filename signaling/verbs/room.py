"""`room.*` and `log.page`: coming in with all that is shown then, going, and reading what was said before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from msgspec.structs import asdict

from rooms import bounds
from rooms import call as calls
from rooms import commands as c
from rooms import pushes as p
from rooms.bounds import Limits
from rooms.errors import Gone, TooLarge
from rooms.ids import peer_id
from rooms.live import Peer
from rooms.log import wires
from rooms.membership import is_polite
from rooms.ports import Resume, RoomLog, Seen
from rooms.session import Session
from signaling.connection import Connection
from signaling.hub import Hub, Resident
from signaling.leaves import Leaves
from signaling.live_steps import LiveSteps
from signaling.nodes import Nodes
from signaling.packets import pack
from signaling.sessions import Sessions
from signaling.verbs.reply import DONE, Reply
from signaling.verbs.seats import Seats


class RoomVerbs:
    """A socket is in at most `rooms_per_socket` rooms; a page of a log has at most `page_bytes`. `online` says who of these
    has a socket anywhere; `ice` makes a person's ICE configuration under the policy of their programme. `on_people` hears
    the next session of a room that somebody comes into."""

    def __init__(
        self,
        *,
        seats: Seats,
        hub: Hub,
        nodes: Nodes,
        room_log: RoomLog,
        steps: LiveSteps,
        leaves: Leaves,
        sessions: Sessions,
        limits: Limits,
        rooms_per_socket: int,
        page_bytes: int,
        online: Callable[[Collection[str]], Awaitable[set[str]]],
        ice: Callable[[str, p.Policy | None], p.IceShown],
        on_people: Callable[[Session | None], None],
    ) -> None:
        self._seats = seats
        self._hub = hub
        self._nodes = nodes
        self._log = room_log
        self._steps = steps
        self._leaves = leaves
        self._sessions = sessions
        self._limits = limits
        self._rooms_per_socket = rooms_per_socket
        self._page_bytes = page_bytes
        self._online = online
        self._ice = ice
        self._on_people = on_people

    async def join(self, connection: Connection, command: c.RoomJoin) -> Reply:
        """Raises `NotFound`, also for strangers; `TooLarge` beyond `rooms_per_socket`; `Gone` when the socket went
        meanwhile; and as `LiveSteps.enter`. A socket that was in the room before stays where it was then."""
        person = connection.identity.person
        record = await self._seats.recorded(command.room)
        member = record.member(person)
        already = self._hub.rooms_of(connection)
        if len(already) >= self._rooms_per_socket and record.slug not in {r.slug for r in already}:
            raise TooLarge(f"One socket may join at most {self._rooms_per_socket} rooms.", field="room")
        several = member.rooms > 1
        resident = await self._hub.open(record)
        me = peer_id(record.slug, person, connection.identity.device)
        before = resident.seats.get(connection.id)
        seat = self._hub.sit(resident, connection, me, several=several)
        if several:
            self._hub.has_several(connection)
        self._leaves.entered(connection, record, me)
        try:
            limit = bounds.page_limit(command.limit, self._limits)
            seen = Seen(**asdict(command.cursor)) if command.cursor else None
            arrived = Peer(me, person, connection.identity.device, self._nodes.node, connection.id)
            resumed = await self._steps.enter(resident, arrived, seen, limit, self._page_bytes)
            online = await self._seen_online(resident, person)
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
            self._leaves.disconnected(connection)
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

    async def _seen_online(self, resident: Resident, person: str) -> set[str]:
        """Whoever has a socket in this room has one (R1); of the others of the room the registry knows."""
        peers = resident.live.peers.values()
        here = {
            peer.person for peer in peers if peer.away_until is None and self._steps.lost_at(peer) is None
        }
        others = [other for other in resident.record.others(person) if other not in here]
        return here | await self._online(others)

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

    async def leave(self, connection: Connection, command: c.RoomLeave) -> Reply:
        """Raises as `Seats.of` and `LiveSteps.commit`."""
        resident, seat = await self._seats.of(connection, command.room)
        here = self._seats.here(resident.record, seat)
        await self._steps.commit(resident.record, lambda live: calls.leave_room(live, here))
        self._hub.unsit(resident, connection)
        self._leaves.left(connection, resident.slug)
        return DONE

    async def page(self, connection: Connection, command: c.LogPage) -> Reply:
        """Raises as `Seats.of`, and `Unavailable`."""
        resident, _ = await self._seats.of(connection, command.room)
        limit = bounds.page_limit(command.limit, self._limits)
        read = await self._log.page(
            resident.slug,
            before=command.before,
            after=command.after,
            limit=limit,
            max_bytes=self._page_bytes,
        )
        shown = wires(resident.slug, read.entries)
        return Reply(pack(p.Paged(ok=True, events=_raw(shown), more=read.more, floor=read.floor)))


def _log_shown(slug: str, resumed: Resume) -> p.LogShown:
    return p.LogShown(
        epoch=resumed.epoch,
        head=resumed.head,
        events=_raw(wires(slug, resumed.entries)),
        more=resumed.more,
        reset=resumed.reset,
        floor=resumed.floor,
    )


def _raw(encoded: bytes) -> Any:
    return msgspec.Raw(encoded)
