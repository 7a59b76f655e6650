"""Socket.IO protocol 5 packets in msgpack (the wire of `socket.io-msgpack-parser`): `{type, nsp, data, id?}`.

An object is encoded once and spliced into the packet, whoever and however many it goes to.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4

_encoder = msgspec.msgpack.Encoder()
pack = _encoder.encode

_EVENT = b"\x83" + pack("type") + pack(EVENT) + pack("nsp") + pack("/") + pack("data") + b"\x92"
_LOG_EVENT = _EVENT + pack("log")
_ACK = b"\x84" + pack("type") + pack(ACK) + pack("nsp") + pack("/") + pack("data") + b"\x91"
_ID = pack("id")


class Incoming(Struct, frozen=True):
    """A packet as it arrives; `data` is left alone until somebody knows what it has to be."""

    type: int
    nsp: str
    data: Raw = Raw(b"\xc0")
    id: int | None = None


class Event(Struct, frozen=True):
    """An event as it has to be: its name and its one object (rule T2), in the namespace that there is."""

    type: Literal[2]
    nsp: Literal["/"]
    data: tuple[str, Raw]
    id: int | None = None


_event = msgspec.msgpack.Decoder(Event)
_incoming = msgspec.msgpack.Decoder(Incoming)
_parts = msgspec.msgpack.Decoder(list[Raw])
_name = msgspec.msgpack.Decoder(str)
NOTHING: Final = Raw(b"\xc0")


def read(frame: bytes) -> Incoming:
    """Raises `msgspec.MsgspecError` (and `RecursionError` for absurd nesting) for what is no packet."""
    return _incoming.decode(frame)


def read_event(frame: bytes) -> Event | None:
    """None for whatever is not one: `read` tells what it is. Raises RecursionError for absurd nesting."""
    try:
        return _event.decode(frame)
    except msgspec.DecodeError:  # also of a name in a packet that turns out to be of another kind
        return None


def parts(incoming: Incoming) -> tuple[str, list[Raw]] | None:
    """The name of an event and whatever goes with it; None for another kind or namespace. Raises as `read` does, for data
    that is no event."""
    if incoming.type != EVENT or incoming.nsp != "/":
        return None
    name, *rest = _parts.decode(incoming.data) or [NOTHING]
    return _name.decode(name), rest


def event(name: str, payload: bytes) -> bytes:
    """A whole EVENT packet around an encoded object."""
    return _EVENT + pack(name) + payload


def log_event(payload: bytes) -> bytes:
    """As `event`, for what is said most."""
    return _LOG_EVENT + payload


def ack(id_: int, payload: bytes) -> bytes:
    """A whole ACK packet around an encoded object."""
    return _ACK + payload + _ID + pack(id_)


def control(type_: int, nsp: str, data: Any = None) -> bytes:
    """CONNECT, DISCONNECT and CONNECT_ERROR packets."""
    body = {"type": type_, "nsp": nsp}
    return pack(body if data is None else {**body, "data": data})
