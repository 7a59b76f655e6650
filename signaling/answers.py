"""Strict decoding of what is asked, and the one mapping of errors to the wire (T2, T4, T5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rooms.commands import COMMANDS, Command, Strict
from rooms.errors import Invalid, RoomError, TooLarge, Unsupported
from rooms.pushes import Refusal, Refused
from signaling.packets import pack

Asked = TypeVar("Asked", bound=Strict)


class UndecodableError(Exception):
    """Not msgpack, or nested beyond all measure: whoever sends this is not spoken with any more."""


_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(command) for name, command in COMMANDS.items()
}

VERBS = frozenset(COMMANDS)

STATUS: Mapping[str, int] = {
    "invalid": 400,
    "too_large": 413,
    "unsupported": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "gone": 410,
    "conflict": 409,
    "peer_away": 409,
    "limited": 429,
    "unavailable": 503,
}
"""PROTOCOL.md, "Over HTTP": the status of each error code."""

_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_FIELD = re.compile(r"field `(?P<name>[^`]*)`")
_FIELD_CHARACTERS = 100
"""An unknown field's name comes from outside: what is said back of it is short."""


def decode_command(name: str, payload: msgspec.Raw, message_bytes: int) -> Command:
    """Raises `Unsupported` for an unknown event, `TooLarge` over `message_bytes`, `Invalid` with a wrong field's path."""
    decoder = _decoders.get(name)
    if decoder is None:
        raise Unsupported
    if len(payload) > message_bytes:
        raise TooLarge(f"A message has at most {message_bytes} bytes.")
    command: Command = strictly(decoder, payload)
    return command


def strictly(decoder: msgspec.msgpack.Decoder[Asked], payload: msgspec.Raw) -> Asked:
    """Raises `Invalid` with the path of what is wrong, `UndecodableError` for what is no msgpack at all."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise Invalid(field=field_of(str(error))) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UndecodableError from None


def field_of(complaint: str) -> str | None:
    """The path of a field from msgspec's words, such as "Expected `str`, got `int` - at `$.text`"."""
    path = found.group("path") if (found := _PATH.search(complaint)) else ""
    named = found.group("name") if (found := _FIELD.search(complaint)) else ""
    whole = ".".join(part for part in (path, named) if part)[:_FIELD_CHARACTERS]
    return whole or None


def refusal(error: RoomError) -> Refusal:
    return Refusal(
        code=error.code,
        message=error.message,
        retry_ms=error.retry_ms,
        field=error.field,
        current=error.current,
    )


def refused(error: RoomError) -> bytes:
    """The acknowledgement of a refused request."""
    return pack(Refused(ok=False, error=refusal(error)))
