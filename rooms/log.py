"""An event at its place in the log, and how it looks on the wire (L1, L2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec import Struct

from rooms.ids import event_at

_pack = msgspec.msgpack.Encoder().encode

_FIXMAP_MAX = 15
_ROOM, _ID, _PREV, _AT = _pack("room"), _pack("id"), _pack("prev"), _pack("at")
PLACE_PAIRS = 4


class Entry(Struct, frozen=True, gc=False):
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
    return b"".join(_pieces(_room(slug), entry))


def wires(slug: str, entries: Sequence[Entry]) -> bytes:
    """An array of them, 65,535 at most (msgpack specification, "array 16"): a page of history."""
    room = _room(slug)
    pieces = [b"\xdc", len(entries).to_bytes(2, "big")]
    for entry in entries:
        pieces += _pieces(room, entry)
    return b"".join(pieces)


def _pieces(room: bytes, entry: Entry) -> tuple[bytes, ...]:
    body, id_ = entry.body, entry.id
    at = _pack(event_at(id_))
    return _HEADS[body[0] & 0x0F], room, _pack(id_), _PREV, _pack(entry.prev), _AT, at, body[1:]


def _head(pairs: int) -> bytes:
    return bytes((0x80 | pairs,)) if pairs <= _FIXMAP_MAX else b"\xde" + pairs.to_bytes(2, "big")


_HEADS = [_head(pairs + PLACE_PAIRS) for pairs in range(_FIXMAP_MAX + 1)]
"""By the pairs of the body."""


@lru_cache(maxsize=1_024)
def _room(slug: str) -> bytes:
    return _ROOM + _pack(slug) + _ID
