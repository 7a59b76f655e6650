"""How much of anything is allowed (PROTOCOL.md, "Limits"), and the check of a decoded command against it.

A malformed value is `Invalid`, one over its bound `TooLarge`; both name the field (T4).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from msgspec import Struct

from rooms import commands as c
from rooms.errors import Invalid, TooLarge, Unsupported
from rooms.ids import is_event_id, is_uuid


class Limits(Struct, frozen=True):
    """Defaults are the contract's; every one can be set."""

    text_code_points: int = 8_000
    text_bytes: int = 16_384
    emoji_bytes: int = 32
    description_bytes: int = 65_536
    candidates: int = 64
    candidate_bytes: int = 1_024
    page_default: int = 50
    page_max: int = 200
    agenda_code_points: int = 2_000
    reason_code_points: int = 500
    minutes_min: int = 5
    minutes_max: int = 480
    proposal_times: int = 5


NAME_BYTES = 256
"""Slugs, epochs, call and peer ids: whatever names something of ours is shorter; a longer one names nothing."""


def check(command: c.Command, limits: Limits) -> None:
    """Raises `Invalid`, `TooLarge` or `Unsupported` with the path of the first field that is wrong."""
    _name(command.room, "room")
    if checker := _CHECKS.get(type(command)):
        checker(command, limits)


def page_limit(asked: int | None, limits: Limits) -> int:
    """The number of events a page may hold; raises `Invalid` below 1 and `TooLarge` above the greatest page."""
    if asked is None:
        return limits.page_default
    if asked < 1:
        raise Invalid("A page holds at least one event.", field="limit")
    if asked > limits.page_max:
        raise TooLarge(f"A page holds at most {limits.page_max} events.", field="limit")
    return asked


def _name(value: str, field: str) -> None:
    if not value:
        raise Invalid("A name cannot be empty.", field=field)
    if len(value) > NAME_BYTES:
        raise TooLarge("This name is too long.", field=field)
    if "\0" in value:  # PostgreSQL takes no text with it
        raise Invalid("A name has no such character.", field=field)


def _uuid(value: str, field: str) -> None:
    if not is_uuid(value):
        raise Invalid("This must be a UUID.", field=field)


def _event_id(value: str, field: str) -> None:
    if not is_event_id(value):
        raise Invalid("This is not the id of an event.", field=field)


def _text(value: str, limits: Limits) -> None:
    if len(value) > limits.text_code_points:
        raise TooLarge(f"A message has at most {limits.text_code_points} characters.", field="text")
    if len(value.encode()) > limits.text_bytes:
        raise TooLarge(f"A message has at most {limits.text_bytes} bytes.", field="text")
    plain = value.isprintable() and bool(value.strip())
    if not plain and not any(_is_visible(character) for character in value):
        raise Invalid("A message cannot be blank.", field="text")


def _is_visible(character: str) -> bool:
    """Neither white space nor a control, format or other character that shows nothing."""
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf", "Cn", "Zs")


def _emoji(value: str, limits: Limits) -> None:
    if len(value.encode()) > limits.emoji_bytes:
        raise TooLarge("That is too long for a reaction.", field="emoji")
    if not value or any(ch.isspace() or unicodedata.category(ch) == "Cc" for ch in value):
        raise Invalid("A reaction is one emoji.", field="emoji")


def _sized(value: str | None, bound: int, field: str) -> None:
    if value is not None and len(value.encode()) > bound:
        raise TooLarge(f"This has at most {bound} bytes.", field=field)


def _media(media: c.Media) -> None:
    if media.streams is not None:
        _sized(media.streams.camera, NAME_BYTES, "media.streams.camera")
        _sized(media.streams.screen, NAME_BYTES, "media.streams.screen")


def _room_join(command: c.RoomJoin, limits: Limits) -> None:
    page_limit(command.limit, limits)
    if cursor := command.cursor:
        _name(cursor.epoch, "cursor.epoch")
        if cursor.id is not None:
            _event_id(cursor.id, "cursor.id")
        if cursor.key is not None:
            _name(cursor.key, "cursor.key")


def _log_page(command: c.LogPage, limits: Limits) -> None:
    page_limit(command.limit, limits)
    if command.before is not None and command.after is not None:
        raise Invalid("Give one bound of a page, not both.", field="after")
    if command.before is not None:
        _event_id(command.before, "before")
    if command.after is not None:
        _event_id(command.after, "after")


def _chat_send(command: c.ChatSend, limits: Limits) -> None:
    _uuid(command.key, "key")
    _text(command.text, limits)
    if command.reply_to is not None:
        _event_id(command.reply_to, "reply_to")
    if command.files is not None:
        raise Unsupported("Files cannot be sent yet.", field="files")


def _chat_edit(command: c.ChatEdit, limits: Limits) -> None:
    _uuid(command.key, "key")
    _event_id(command.id, "id")
    _text(command.text, limits)


def _chat_delete(command: c.ChatDelete, _: Limits) -> None:
    _uuid(command.key, "key")
    _event_id(command.id, "id")


def _chat_react(command: c.ChatReact, limits: Limits) -> None:
    _uuid(command.key, "key")
    _event_id(command.id, "id")
    _emoji(command.emoji, limits)


def _chat_read(command: c.ChatRead, _: Limits) -> None:
    _event_id(command.id, "id")


def _call_join(command: c.CallJoin, _: Limits) -> None:
    _media(command.media)
    if command.call is not None:
        _name(command.call, "call")


def _call_named(command: c.CallLeave | c.CallDecline, _: Limits) -> None:
    _name(command.call, "call")


def _call_media(command: c.CallMedia, _: Limits) -> None:
    _name(command.call, "call")
    _media(command.media)


def _call_signal(command: c.CallSignal, limits: Limits) -> None:
    _name(command.call, "call")
    _name(command.to, "to")
    if (command.description is None) == (command.candidates is None):
        raise Invalid(
            "A signal carries a description or candidates, exactly one of them.", field="description"
        )
    if command.description is not None:
        _sized(command.description.sdp, limits.description_bytes, "description.sdp")
    candidates = command.candidates or []
    if len(candidates) > limits.candidates:
        raise TooLarge(f"A signal carries at most {limits.candidates} candidates.", field="candidates")
    for index, candidate in enumerate(candidates):
        for name in ("candidate", "sdpMid", "usernameFragment"):
            _sized(getattr(candidate, name), limits.candidate_bytes, f"candidates[{index}].{name}")


def _echo(command: c.Echo, limits: Limits) -> None:
    if command.description.type != "offer":
        raise Invalid("A network check begins with an offer.", field="description.type")
    _sized(command.description.sdp, limits.description_bytes, "description.sdp")


def minutes(value: int | None, limits: Limits) -> None:
    """How long a session may be. Raises `Invalid`."""
    if value is not None and not limits.minutes_min <= value <= limits.minutes_max:
        raise Invalid(
            f"A session takes {limits.minutes_min} to {limits.minutes_max} minutes.", field="minutes"
        )


def _words(value: str | None, bound: int, field: str) -> None:
    """An agenda or a reason: may be empty."""
    if value is not None and len(value) > bound:
        raise TooLarge(f"This has at most {bound} characters.", field=field)
    if value is not None and "\0" in value:  # PostgreSQL takes no text with it
        raise Invalid("There is a character in it that no text has.", field=field)


def _session_book(command: c.SessionBook, limits: Limits) -> None:
    _uuid(command.key, "key")
    minutes(command.minutes, limits)
    _words(command.agenda, limits.agenda_code_points, "agenda")


def _session_move(command: c.SessionMove, limits: Limits) -> None:
    _name(command.session, "session")
    minutes(command.minutes, limits)
    _words(command.reason, limits.reason_code_points, "reason")


def _session_propose(command: c.SessionPropose, limits: Limits) -> None:
    _name(command.session, "session")
    minutes(command.minutes, limits)
    _words(command.reason, limits.reason_code_points, "reason")
    if not command.times:
        raise Invalid("A proposal names at least one time.", field="times")
    if len(command.times) > limits.proposal_times:
        raise TooLarge(f"A proposal names at most {limits.proposal_times} times.", field="times")


def _session_answer(command: c.SessionAnswer, _: Limits) -> None:
    _name(command.session, "session")
    if command.proposal is not None:
        _name(command.proposal, "proposal")


def _session_cancel(command: c.SessionCancel, limits: Limits) -> None:
    _name(command.session, "session")
    _words(command.reason, limits.reason_code_points, "reason")


def _session_extend(command: c.SessionExtend, limits: Limits) -> None:
    _name(command.session, "session")
    minutes(command.minutes, limits)


def _session_agenda(command: c.SessionAgenda, limits: Limits) -> None:
    _name(command.session, "session")
    _words(command.agenda, limits.agenda_code_points, "agenda")


def _session_end(command: c.SessionEnd, _: Limits) -> None:
    _name(command.session, "session")


_CHECKS: dict[type, Callable[..., None]] = {
    c.RoomJoin: _room_join,
    c.LogPage: _log_page,
    c.ChatSend: _chat_send,
    c.ChatEdit: _chat_edit,
    c.ChatDelete: _chat_delete,
    c.ChatReact: _chat_react,
    c.ChatRead: _chat_read,
    c.CallJoin: _call_join,
    c.CallLeave: _call_named,
    c.CallDecline: _call_named,
    c.CallMedia: _call_media,
    c.CallSignal: _call_signal,
    c.Echo: _echo,
    c.SessionBook: _session_book,
    c.SessionMove: _session_move,
    c.SessionPropose: _session_propose,
    c.SessionAnswer: _session_answer,
    c.SessionCancel: _session_cancel,
    c.SessionExtend: _session_extend,
    c.SessionAgenda: _session_agenda,
    c.SessionEnd: _session_end,
}
