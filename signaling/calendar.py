"""A session as a calendar object: iTIP messages (RFC 5546), downloads and the feed (RFC 5545, RFC 7986). Pure.

Times are UTC, so no reader needs our rules of a zone. `UID` and `SEQUENCE` are the session's own (S1, S2), `DTSTAMP` is the
moment of writing. There is no `RRULE` and no `VALARM`: reminders are mails, and each session stands for itself.

The `ORGANIZER` is an address of this one session, with a secret in it (`organizer_address`). Nothing is read from it yet.
Whoever later takes answers by mail finds the session by the column `session.organizer`; that a REPLY or COUNTER reached
that address shows that its sender had the invitation. Until then no answer is asked for (`RSVP` is not set).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Final, Literal
from urllib.parse import quote

from icalendar import Calendar, Event, vCalAddress, vUri
from msgspec import Struct

from rooms.session import Answer, Session, State
from signaling.mail_texts import texts_for
from signaling.mail_texts.both_times import when
from signaling.mail_texts.texts import Texts
from signaling.stores.people import Person

Method = Literal["REQUEST", "CANCEL", "PUBLISH"]
"""RFC 5546 §3.2. `PUBLISH` is for what somebody fetches: a download, the feed."""

PRODUCT: Final = "-//telementor//telementor//EN"

FEED_REFRESH: Final = timedelta(minutes=15)
"""How often calendars are asked to look again (RFC 7986 §5.7); most decide for themselves."""

_STATUS: Final[dict[State, str]] = {
    "requested": "TENTATIVE",
    "confirmed": "CONFIRMED",
    "live": "CONFIRMED",
    "ended": "CONFIRMED",
    "no_show": "CONFIRMED",
    "declined": "CANCELLED",
    "expired": "CANCELLED",
    "cancelled": "CANCELLED",
}

_PARTSTAT: Final[dict[Answer, str]] = {
    "accepted": "ACCEPTED",
    "needs_action": "NEEDS-ACTION",
    "declined": "DECLINED",
}

_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""Marks that turn the direction of what follows: a name must not turn the line it stands in (Unicode TR 36 §2.7)."""

_LEFT_TO_RIGHT: Final = "\u200e"


class Side(Struct, frozen=True, kw_only=True):
    """A room from the side of one of its two people, who reads what we write. `room_url` is the same for ever (S1).
    `closed`: the pair was removed, and nobody gets in any more."""

    reader: Person
    partner: Person
    room_url: str
    closed: bool = False

    @property
    def texts(self) -> Texts:
        """The reader's language."""
        return texts_for(self.reader.language)

    def when(self, start_ms: int) -> str:
        """A moment on the clocks of both."""
        return when(self.texts, start_ms, self.reader.tz, self.partner.tz, one_line(self.partner.name))


class Shown(Side, frozen=True, kw_only=True):
    """A session of that room. `organizer` is an address made by `organizer_address`."""

    session: Session
    organizer: str


def session_ics(shown: Shown, method: Method, now_ms: int) -> bytes:
    """A calendar with this one session, in UTF-8, lines folded and ended as RFC 5545 §3.1 asks for."""
    calendar = _calendar(method)
    calendar.add_component(_event(shown, method, now_ms))
    return bytes(calendar.to_ical())


def feed_ics(sessions: Iterable[Shown], language: str, now_ms: int) -> bytes:
    """All of these as one calendar to subscribe to; also one of none is a calendar."""
    calendar = _calendar("PUBLISH")
    name = texts_for(language).feed_name
    calendar.add("name", name)
    calendar.add("x-wr-calname", name)
    calendar.add("refresh-interval", FEED_REFRESH, parameters={"value": "DURATION"})
    calendar.add("x-published-ttl", "PT15M")
    for shown in sessions:
        calendar.add_component(_event(shown, "PUBLISH", now_ms))
    return bytes(calendar.to_ical())


def organizer_address(mail_from: str, secret: str) -> str:
    """The address of one session: that of `mail_from` (also as `Name <address>`) with the session's secret behind a plus
    (subaddressing, RFC 5233)."""
    local, _, domain = parseaddr(mail_from)[1].rpartition("@")
    return f"{local}+{secret}@{domain}"


def one_line(text: str) -> str:
    """What somebody named themselves, fit for a header, a subject and the middle of a sentence. One that is written from
    right to left ends with a mark, so that what stands behind it keeps its order."""
    kept = (
        " " if unicodedata.category(character) in _UNSEEN else character
        for character in text
        if character not in _TURNING
    )
    line = " ".join("".join(kept).split())
    return (
        f"{line}{_LEFT_TO_RIGHT}" if any(unicodedata.bidirectional(c) in ("R", "AL") for c in line) else line
    )


def _calendar(method: Method) -> Calendar:
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", method)
    return calendar


def _event(shown: Shown, method: Method, now_ms: int) -> Event:
    session, texts = shown.session, shown.texts
    event = Event()
    event.add("uid", session.uid)
    event.add("sequence", session.seq)
    event.add("dtstamp", _utc(now_ms))
    event.add("dtstart", _utc(session.start))
    event.add("dtend", _utc(session.end))
    event.add("status", _STATUS[session.state])
    event.add("summary", texts.summary.format(partner=one_line(shown.partner.name)))
    event.add("description", description(shown))
    event.add("location", shown.room_url)
    event.add("url", shown.room_url)
    event.add(
        "conference",
        vUri(shown.room_url, params={"value": "URI", "feature": ["AUDIO", "VIDEO", "CHAT"]}),
    )
    event.add("organizer", _address(shown.organizer, "Telementor"))
    if method != "PUBLISH":  # RFC 5546 §3.2.1: in a PUBLISH there are none
        for person in (shown.reader, shown.partner):
            attendee = _address(person.email, one_line(person.name))
            attendee.params["cutype"] = "INDIVIDUAL"
            attendee.params["role"] = "REQ-PARTICIPANT"
            attendee.params["partstat"] = _PARTSTAT[session.answers.get(person.id, "needs_action")]
            event.add("attendee", attendee)
    return event


def description(shown: Shown) -> str:
    """Both local times, the agenda, the room."""
    session, texts = shown.session, shown.texts
    lines = [f"{shown.when(session.start)}, {texts.length.format(minutes=session.minutes)}"]
    if session.agenda.strip():
        lines += ["", f"{texts.agenda}:", session.agenda.strip()]
    if not shown.closed:
        lines += ["", texts.room.format(url=shown.room_url), texts.calendar_note]
    return "".join(c for c in "\n".join(lines) if c == "\n" or unicodedata.category(c) not in _UNSEEN)


def _address(email: str, name: str) -> vCalAddress:
    """A name cannot hold double quotes (RFC 5545 §3.2: QSAFE-CHAR)."""
    address = vCalAddress(f"mailto:{quote(email, safe='@!#$*+-/=^_`{|}~.')}")
    address.params["cn"] = name.replace('"', "'")
    return address


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)
