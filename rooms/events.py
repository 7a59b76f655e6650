"""What happened, durably: the one vocabulary of a room's log (rule L7). Stored = sent = read as history.

A stored event is decoded tolerantly (`forbid_unknown_fields` is off), so that nodes of two versions can share a log;
clients ignore kinds that they do not know.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from rooms.session import Session, Times


class Happened(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """`by` is a person or "system"; `key` is the uuid of the request that caused it, or one derived for the server's own."""

    by: str
    key: str


class ChatPosted(Happened, frozen=True, kw_only=True, tag="chat.posted"):
    text: str
    reply_to: str | None = None


class Posted(Struct, frozen=True, omit_defaults=True):
    """Where a message came from, kept through every edit."""

    at: int
    by: str
    reply_to: str | None = None


class ChatEdited(Happened, frozen=True, kw_only=True, tag="chat.edited"):
    """L8: stands for the whole message at the place of `ref`; the earlier text is gone."""

    ref: str
    text: str
    posted: Posted


class ChatDeleted(Happened, frozen=True, kw_only=True, tag="chat.deleted"):
    ref: str


class ChatReacted(Happened, frozen=True, kw_only=True, tag="chat.reacted"):
    ref: str
    emoji: str
    on: bool


class CallStarted(Happened, frozen=True, kw_only=True, tag="call.started"):
    call: str


class CallEnded(Happened, frozen=True, kw_only=True, tag="call.ended"):
    call: str
    seconds: int


class CallMissed(Happened, frozen=True, kw_only=True, tag="call.missed"):
    """Nobody answered before the caller gave up; `by` is the caller."""

    call: str


class SessionHappened(Happened, frozen=True, kw_only=True):
    """`session` as it is after it. `next` is what `room.join` says as `session` from then on."""

    session: Session
    next: Session | None = None


class SessionRequested(SessionHappened, frozen=True, kw_only=True, tag="session.requested"):
    pass


class SessionConfirmed(SessionHappened, frozen=True, kw_only=True, tag="session.confirmed"):
    """`by` has accepted its time."""


class SessionProposed(SessionHappened, frozen=True, kw_only=True, tag="session.proposed"):
    proposal: str


class SessionDeclined(SessionHappened, frozen=True, kw_only=True, tag="session.declined"):
    """With `proposal` only that one, taken back by its own author or declined by the other side; else the session."""

    proposal: str | None = None


class SessionRescheduled(SessionHappened, frozen=True, kw_only=True, tag="session.rescheduled"):
    """One for each move, however it came about: `by` moved it, or accepted `proposal`."""

    old: Times
    new: Times
    reason: str = ""
    proposal: str | None = None


class SessionCancelled(SessionHappened, frozen=True, kw_only=True, tag="session.cancelled"):
    reason: str = ""


class SessionExpired(SessionHappened, frozen=True, kw_only=True, tag="session.expired"):
    """With `proposal` only that one; else the request, which nobody answered in time."""

    proposal: str | None = None


class SessionStarted(SessionHappened, frozen=True, kw_only=True, tag="session.started"):
    """Both are in the call."""


class SessionExtended(SessionHappened, frozen=True, kw_only=True, tag="session.extended"):
    minutes: int


class SessionEnded(SessionHappened, frozen=True, kw_only=True, tag="session.ended"):
    """`attended`: seconds in the call, by person."""

    attended: dict[str, int] = {}


class SessionNoShow(SessionHappened, frozen=True, kw_only=True, tag="session.no_show"):
    """`who` did not come."""

    who: tuple[str, ...]


class SessionAgendaSet(SessionHappened, frozen=True, kw_only=True, tag="session.agenda_set"):
    pass


SessionEvent = (
    SessionRequested | SessionConfirmed | SessionProposed | SessionDeclined | SessionRescheduled | SessionCancelled
    | SessionExpired | SessionStarted | SessionExtended | SessionEnded | SessionNoShow | SessionAgendaSet
)  # fmt: skip

Event = (
    ChatPosted | ChatEdited | ChatDeleted | ChatReacted | CallStarted | CallEnded | CallMissed
    | SessionRequested | SessionConfirmed | SessionProposed | SessionDeclined | SessionRescheduled | SessionCancelled
    | SessionExpired | SessionStarted | SessionExtended | SessionEnded | SessionNoShow | SessionAgendaSet
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)


def encode(event: Event) -> bytes:
    """The stored body of an event: a msgpack map of at most 15 entries, without the place that the log gives it."""
    return _encoder.encode(event)


def is_of_session(body: bytes) -> bool:
    """Whether a stored body is about a session, without decoding it: its kind stands right at its beginning."""
    return b"session." in body[:24]


def decode(body: bytes) -> Event | None:
    """Read a stored body; None for a kind that this version does not know."""
    try:
        event: Event = _decoder.decode(body)
    except msgspec.MsgspecError:
        return None
    return event
