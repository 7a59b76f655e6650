"""What happened, durably: the one vocabulary of a room's log (rule L7). Stored = sent = read as history.

A stored event is decoded tolerantly (`forbid_unknown_fields` is off), so that nodes of two versions can share a log;
clients ignore kinds that they do not know.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


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


Event = ChatPosted | ChatEdited | ChatDeleted | ChatReacted | CallStarted | CallEnded | CallMissed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)


def encode(event: Event) -> bytes:
    """The stored body of an event: a msgpack map of at most 15 entries, without the place that the log gives it."""
    return _encoder.encode(event)


def decode(body: bytes) -> Event | None:
    """Read a stored body; None for a kind that this version does not know."""
    try:
        event: Event = _decoder.decode(body)
    except msgspec.MsgspecError:
        return None
    return event
