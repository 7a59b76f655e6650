"""Which texts there are. A language is one value of `Texts`, so none of them can be forgotten.

What stands in braces is filled in: `partner`, `name` (the reader's), `site`, `short` (date and time for a subject),
`minutes`, `url`, `reason`, and the parts of a date. No text may depend on somebody's gender, which nobody is asked for. All
scripts so far are written from left to right.
"""

from __future__ import annotations

from msgspec import Struct


class Letter(Struct, frozen=True):
    """One kind of mail. `opening` is its first sentence. `button` leads to the room and does nothing else (S7)."""

    subject: str
    opening: str
    button: str


class Texts(Struct, frozen=True, kw_only=True):
    """`language` is a BCP 47 tag. Week days begin with Monday."""

    language: str

    weekdays: tuple[str, str, str, str, str, str, str]
    weekdays_short: tuple[str, str, str, str, str, str, str]
    months: tuple[str, str, str, str, str, str, str, str, str, str, str, str]
    months_short: tuple[str, str, str, str, str, str, str, str, str, str, str, str]
    date: str
    date_short: str
    your_time: str
    their_time: str
    length: str

    summary: str
    agenda: str
    calendar_note: str
    feed_name: str
    room: str

    candidates: str
    stands: str
    reason: str
    footer: str
    greeting: str

    asked: Letter
    asked_own: Letter
    moved: Letter
    moved_own: Letter
    agreed: Letter
    confirmed: Letter
    cancelled: Letter
    withdrawn: Letter
    declined: Letter
    declined_own: Letter
    expired: Letter
    proposed: Letter
    proposal_declined: Letter
    proposal_expired: Letter
    knock: Letter
    reminder_24h: Letter
    reminder_1h: Letter
    reminder_10m: Letter
    digest: Letter
