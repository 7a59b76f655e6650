"""A session: an appointment of a pair, as it is stored, sent and shown (PROTOCOL.md, "Sessions"; rules S1 to S10).

What may become of it is decided in `schedule`.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from rooms.zones import Moment

State = Literal["requested", "confirmed", "live", "ended", "declined", "expired", "cancelled", "no_show"]
"""requested → confirmed → live → ended; the others are exits. `live`: both were in the call together."""

OPEN: Final[frozenset[State]] = frozenset({"requested", "confirmed", "live"})
"""States that hold their time (S3)."""

Answer = Literal["accepted", "needs_action", "declined"]
"""PARTSTAT of RFC 5545 §3.2.12, in small letters."""

Moves = Literal["free", "approve"]
"""How a pair moves a confirmed session: either side to any time that is free for both, or by proposals alone."""


class Times(Struct, frozen=True, omit_defaults=True):
    """When a session is or was: what `rescheduled` says of before and after."""

    wall: str
    tz: str
    start: int
    minutes: int
    fold: int = 0


class Proposal(Struct, frozen=True):
    """Up to five candidate times beside a session whose own time stands until one is accepted (S8). `expires`: milliseconds
    UTC; then it is as if it had never been."""

    id: str
    by: str
    times: tuple[Moment, ...]
    minutes: int
    reason: str
    expires: int


class Session(Struct, frozen=True, omit_defaults=True):
    """`wall`, `tz` and `fold` are the truth, `start` follows from them (S6). `seq` is the calendar's SEQUENCE (S2), `rev`
    counts every change (S4). `by` asked for it. `answers` by person. `who`: of a `no_show`, those who did not come."""

    id: str
    uid: str
    room: str
    state: State
    wall: str
    tz: str
    start: int
    minutes: int
    seq: int
    rev: int
    by: str
    agenda: str
    proposals: tuple[Proposal, ...]
    answers: dict[str, Answer]
    fold: int = 0
    who: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """Milliseconds UTC."""
        return self.start + self.minutes * MINUTE_MS

    @property
    def times(self) -> Times:
        return Times(self.wall, self.tz, self.start, self.minutes, self.fold)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


MINUTE_MS: Final = 60_000


class Attendance(Struct, frozen=True):
    """Who came, measured and never asked. `came`: was in the room at all, from a quarter of an hour before the start on.
    `spent_ms`: time in the call, spans that are over. `since`: who is in the call now, and since when (milliseconds UTC)."""

    came: tuple[str, ...] = ()
    spent_ms: dict[str, int] = {}
    since: dict[str, int] = {}

    def seconds(self, now: int) -> dict[str, int]:
        """Whole seconds in the call, by person."""
        persons = self.spent_ms.keys() | self.since.keys()
        return {
            person: (self.spent_ms.get(person, 0) + max(0, now - self.since.get(person, now))) // 1000
            for person in sorted(persons)
        }
