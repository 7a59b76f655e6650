"""What the portal's first page is told and may set (PROTOCOL.md, "Over HTTP"). Answers are `Sent`, bodies are `Strict`."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from rooms import zones
from rooms.availability import DAYS_MAX, Date, Hours, Slot
from rooms.commands import Strict
from rooms.errors import Invalid
from rooms.pushes import Role, Sent
from rooms.session import Moves, Session

UNREAD_MAX: Final = 99
"""Unread messages are counted up to here."""

Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=16)]
"""A BCP 47 tag, such as `de` or `pt-BR`."""


class ProfileChange(Strict, frozen=True):
    """What is absent or null stays as it is. `tz` is an IANA time zone."""

    tz: str | None = None
    language: Language | None = None

    def check(self) -> None:
        """Raises `Invalid` for no zone."""
        if self.tz is not None and not zones.is_zone(self.tz):
            raise Invalid("This is not a known time zone.", field="tz")


class SlotsAsked(Strict, frozen=True, rename={"from_": "from"}):
    """Free times of a room from the day `from` on; days and answer are of `tz`. `session`: one of this room that would be
    moved, so its own time counts as free."""

    from_: Date
    tz: str
    minutes: int
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = 7
    session: str | None = None


class Profile(Sent, frozen=True):
    """Somebody as they see themselves. `hours` null: never said, and then every day from 08:00 to 20:00 counts. `feed`:
    whether they have an address for their calendar."""

    person: str
    name: str
    tz: str
    language: str
    hours: Hours | None
    feed: bool


class Partner(Sent, frozen=True):
    """The other one of a room. `online`: has a socket anywhere (R1)."""

    person: str
    name: str
    role: Role
    tz: str
    online: bool


class RoomCard(Sent, frozen=True):
    """A room as the portal shows it. `session` is the live one, else the next. `unread`: the other's messages behind one's
    read mark, counted up to 99."""

    slug: str
    title: str
    role: Role
    moves: Moves
    partner: Partner
    session: Session | None
    unread: int


class Me(Sent, frozen=True):
    """The answer to `GET /api/me`."""

    ok: bool
    person: Profile
    rooms: list[RoomCard]


class ProfileShown(Sent, frozen=True):
    """The answer to every change of a profile."""

    ok: bool
    person: Profile


class FeedMade(Sent, frozen=True):
    """The one time that the secret address of a calendar feed is said; the one before has ended."""

    ok: bool
    url: str


class SlotsShown(Sent, frozen=True):
    """Starts that are free for both; `wall` of each is of `tz`."""

    ok: bool
    tz: str
    slots: list[Slot]


class SessionsShown(Sent, frozen=True):
    """Sessions of one room, by their start."""

    ok: bool
    sessions: list[Session]


PORTAL: Final[tuple[type[Struct], ...]] = (
    ProfileChange, Hours, SlotsAsked, Me, ProfileShown, FeedMade, SlotsShown, SessionsShown,
)  # fmt: skip
"""Every object that only the HTTP door knows."""
