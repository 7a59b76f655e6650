"""An event at its place in the log, and how it looks on the wire (L1, L2)."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from rooms.ids import event_at

_pack = msgspec.msgpack.Encoder().encode

_FIXMAP_MAX = 15
_ROOM, _ID, _PREV, _AT = _pack("room"), _pack("id"), _pack("prev"), _pack("at")
PLACE_PAIRS = 4


class Entry(Struct, frozen=True):
    """`body` is the stored event (`events.encode`), `prev` the id before it, `key` the uuid of its request."""

    id: str
    prev: str | None
    key: str
    body: bytes


def wire(slug: str, entry: Entry) -> bytes:
    """The one object that is pushed and that history returns: `{room, id, prev, at, …event}` as msgpack.

    The body is spliced in as it is stored, so an event is never decoded on its way (msgpack specification, "map
    format": up to 15 pairs are `1000xxxx`, up to 2^16-1 `0xde` and two bytes).
    """
    body = entry.body
    pairs = (body[0] & 0x0F) + PLACE_PAIRS
    head = bytes((0x80 | pairs,)) if pairs <= _FIXMAP_MAX else b"\xde" + pairs.to_bytes(2, "big")
    at = _pack(event_at(entry.id))
    return b"".join(
        (head, _ROOM, _pack(slug), _ID, _pack(entry.id), _PREV, _pack(entry.prev), _AT, at, body[1:])
    )
