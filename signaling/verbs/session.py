"""`session.*`, as asked in the room; what becomes of it is decided by `rooms/schedule.py`."""

from __future__ import annotations

from rooms import commands as c
from rooms import pushes as p
from rooms.errors import Limited
from rooms.session import Session
from signaling.connection import Connection
from signaling.nodes import Nodes
from signaling.packets import event, pack
from signaling.sessions import Sessions
from signaling.stores.registry import Registry, person_channel
from signaling.verbs.reply import DONE, Reply
from signaling.verbs.seats import Seats

KNOCK_MS = 30_000
"""Somebody knocks at a room once in this time."""


class SessionVerbs:
    """All of them raise as `Seats.of`, and `Unavailable`."""

    def __init__(self, seats: Seats, sessions: Sessions, registry: Registry, nodes: Nodes) -> None:
        self._seats = seats
        self._sessions = sessions
        self._registry = registry
        self._nodes = nodes

    async def book(self, connection: Connection, command: c.SessionBook) -> Reply:
        """Raises as `Sessions.book`."""
        await self._seats.of(connection, command.room)
        return _shown(await self._sessions.book(connection.identity.person, command))

    async def change(self, connection: Connection, command: c.SessionCommand) -> Reply:
        """Raises as `Sessions.change`."""
        await self._seats.of(connection, command.room)
        return _shown(await self._sessions.change(connection.identity.person, command))

    async def knock(self, connection: Connection, command: c.SessionKnock) -> Reply:
        """All sockets of the others hear it; who has none is written to while a session is near. Raises `Limited` for the
        second in `KNOCK_MS`."""
        resident, seat = await self._seats.of(connection, command.room)
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


def _shown(session: Session) -> Reply:
    return Reply(pack(p.SessionShown(ok=True, session=session)))
