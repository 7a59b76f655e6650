"""What every verb asks first: is this person of the room, and is this socket in it (R1)?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from rooms.call import Here
from rooms.errors import Conflict, NotFound
from rooms.membership import RoomRecord
from rooms.ports import Memberships
from signaling.connection import Connection
from signaling.hub import Hub, Resident, Seat


class Seats:
    """What waits for the database raises `Unavailable` when that is away."""

    def __init__(self, hub: Hub, memberships: Memberships, now_ms: Callable[[], int]) -> None:
        self._hub = hub
        self._memberships = memberships
        self._now_ms = now_ms

    async def of(self, connection: Connection, slug: str) -> tuple[Resident, Seat]:
        """Where this socket sits. Raises as `refuse`."""
        return self._hub.seat_of(connection, slug) or await self.refuse(connection, slug)

    async def refuse(self, connection: Connection, slug: str) -> NoReturn:
        """For a socket without a seat: `NotFound` for somebody who is not of the room, `Conflict` before `room.join`."""
        resident = self._hub.resident(slug)
        record = resident.record if resident is not None else await self.recorded(slug)
        record.member(connection.identity.person)
        raise Conflict("Please join the room first.", field="room")

    async def recorded(self, slug: str) -> RoomRecord:
        """Membership as the database has it: asked at `room.join`, and kept by `access` from then on. Raises `NotFound`."""
        record = await self._memberships.room(slug)
        if record is None:
            raise NotFound("This room does not exist, or it is not yours.", field="room")
        return record

    def here(self, record: RoomRecord, seat: Seat) -> Here:
        """Who takes a step in the call, and when."""
        return Here(record.slug, seat.peer, seat.connection.identity.person, record.persons, self._now_ms())
