"""Names of things: what they look like and how they compare.

Ids are made at the edge (time and randomness are passed in); in here they are only read, checked and derived.
"""

from __future__ import annotations

import hashlib
import re

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""RFC 9562 textual form, either case (said in the classes: `re.IGNORECASE` folds each character, at twice the time)."""

EVENT_ID = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")
"""A Redis stream id `<ms>-<seq>`, both unsigned 64 bit, without leading zeros so that equal ids are equal strings."""

_UINT64_MAX = 2**64 - 1


def is_uuid(text: str) -> bool:
    return UUID.fullmatch(text) is not None


def is_event_id(text: str) -> bool:
    return EVENT_ID.fullmatch(text) is not None and max(event_order(text)) <= _UINT64_MAX


def event_order(event_id: str) -> tuple[int, int]:
    """The sort key of a well-formed event id: its milliseconds and its place in that millisecond."""
    ms, _, seq = event_id.partition("-")
    return int(ms), int(seq)


def event_at(event_id: str) -> int:
    """The time of an event (rule L1): the milliseconds UTC of its id."""
    return int(event_id[: event_id.index("-")])


def peer_id(slug: str, person: str, device: str) -> str:
    """The name of one device's presence in one room (rule R2).

    Derived, so that a device that comes back after any absence is the same peer again and may keep its media (K5);
    128 bits of SHA-256, so that it says nothing about the device outside this room.
    """
    return hashlib.sha256(f"{slug}\n{person}\n{device.lower()}".encode()).hexdigest()[:32]
