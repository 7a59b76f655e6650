"""Who belongs to a room, and as what."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from rooms.errors import NotFound
from rooms.pushes import Policy, Role
from rooms.session import Moves


class Member(Struct, frozen=True):
    """One person of a room. `tz` is an IANA time zone. `rooms`: how many living rooms they have, where that was asked."""

    person: str
    name: str
    role: Role
    tz: str
    rooms: int = 1


class RoomRecord(Struct, frozen=True):
    """A room as the directory has it. The slug never changes and is what a link names. `relay_policy` is that of its
    programme; None: the server's setting counts. `moves` is the pair's own."""

    slug: str
    title: str
    members: tuple[Member, ...]
    relay_policy: Policy | None = None
    moves: Moves = "free"

    def member(self, person: str) -> Member:
        """Raises `NotFound` for somebody who is not of the room: whether it exists is not theirs to know (R1)."""
        for member in self.members:
            if member.person == person:
                return member
        raise NotFound("This room does not exist, or it is not yours.", field="room")

    @property
    def persons(self) -> tuple[str, ...]:
        """The ids of its people, in the order of `members`."""
        return tuple(member.person for member in self.members)

    def others(self, person: str) -> tuple[str, ...]:
        return tuple(member.person for member in self.members if member.person != person)


def is_polite(role: Role, peer: str, others: Iterable[str]) -> bool:
    """Perfect negotiation (W3C WebRTC §10.7) needs exactly one polite side in each pair of peers (K3): the mentor never
    is, the mentee always; among others the greater peer id yields."""
    if role == "mentor":
        return False
    if role == "mentee":
        return True
    return all(peer > other for other in others)
