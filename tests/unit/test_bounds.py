"""Limits and malformed values: `invalid` or `too_large`, with the field, and nothing else (rule T4)."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.bounds import Limits, check
from rooms.commands import COMMANDS
from rooms.errors import Invalid, RoomError, TooLarge, Unsupported
from signaling.answers import UndecodableError, decode_command, field_of, refused
from signaling.packets import pack

pytestmark = pytest.mark.unit

KEY = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
MEDIA = {"audio": True, "video": True, "screen": False}
SIGNAL = {"room": "r", "call": "c", "to": "p", "to_leg": 1, "seq": 0, "gen": 0}
DESCRIPTION = {"type": "offer", "sdp": "v=0"}


def refusal(name: str, **fields: Any) -> tuple[str, str | None] | None:
    try:
        check(decode_command(name, pack(fields), 131_072), Limits())
    except RoomError as error:
        return error.code, error.field
    return None


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("chat.send", {"room": "r", "key": KEY, "text": "x"}, None),
        ("chat.send", {"room": "r", "key": KEY, "text": "x", "reply_to": None, "files": None}, None),
        ("chat.send", {"room": "r", "key": "k", "text": "x"}, ("invalid", "key")),
        ("chat.send", {"room": "r", "key": KEY, "text": " \n\t\u200b\u202e"}, ("invalid", "text")),
        ("chat.send", {"room": "r", "key": KEY, "text": "x" * 8_001}, ("too_large", "text")),
        ("chat.send", {"room": "r", "key": KEY, "text": "🙂" * 4_097}, ("too_large", "text")),
        ("chat.send", {"room": "r", "key": KEY, "text": "🙂" * 4_096}, None),
        ("chat.send", {"room": "r", "key": KEY, "text": b"x"}, ("invalid", "text")),
        ("chat.send", {"room": "r", "key": KEY, "text": "x", "files": []}, ("unsupported", "files")),
        ("chat.send", {"room": "r", "key": KEY, "text": "x", "by": "me"}, ("invalid", "by")),
        ("chat.send", {"room": "r", "key": KEY, "text": "x", "reply_to": "1"}, ("invalid", "reply_to")),
        ("chat.send", {"room": "", "key": KEY, "text": "x"}, ("invalid", "room")),
        ("chat.send", {"room": "r\0", "key": KEY, "text": "x"}, ("invalid", "room")),
        ("session.cancel", {"room": "r", "session": "s\0", "rev": 1}, ("invalid", "session")),
        ("session.cancel", {"room": "r", "session": "s", "rev": 1, "reason": "\0"}, ("invalid", "reason")),
        ("chat.send", {"room": "r" * 257, "key": KEY, "text": "x"}, ("too_large", "room")),
        ("chat.react", {"room": "r", "key": KEY, "id": "1-0", "emoji": "", "on": True}, ("invalid", "emoji")),
        (
            "chat.react",
            {"room": "r", "key": KEY, "id": "1-0", "emoji": "a b", "on": True},
            ("invalid", "emoji"),
        ),
        (
            "chat.react",
            {"room": "r", "key": KEY, "id": "1-0", "emoji": "x" * 33, "on": True},
            ("too_large", "emoji"),
        ),
        ("chat.react", {"room": "r", "key": KEY, "id": "1-0", "emoji": "👩‍👩‍👧", "on": True}, None),
        ("chat.edit", {"room": "r", "key": KEY, "id": "01-0", "text": "x"}, ("invalid", "id")),
        ("chat.edit", {"room": "r", "key": KEY, "id": f"{2**64}-0", "text": "x"}, ("invalid", "id")),
        ("log.page", {"room": "r", "limit": 0}, ("invalid", "limit")),
        ("log.page", {"room": "r", "limit": 201}, ("too_large", "limit")),
        ("log.page", {"room": "r", "before": "1-0", "after": "1-0"}, ("invalid", "after")),
        ("room.join", {"room": "r", "cursor": {"epoch": "e", "id": None}}, None),
        ("room.join", {"room": "r", "cursor": {"epoch": "e", "id": "x"}}, ("invalid", "cursor.id")),
        ("room.join", {"room": "r", "cursor": {"id": None}}, ("invalid", "cursor.epoch")),
        ("call.join", {"room": "r", "media": {**MEDIA, "video": 1}}, ("invalid", "media.video")),
        ("call.signal", {**SIGNAL, "description": DESCRIPTION}, None),
        ("call.signal", SIGNAL, ("invalid", "description")),
        ("call.signal", {**SIGNAL, "description": DESCRIPTION, "candidates": []}, ("invalid", "description")),
        ("call.signal", {**SIGNAL, "from": "p", "candidates": []}, ("invalid", "from")),
        ("call.signal", {**SIGNAL, "seq": -1, "candidates": []}, ("invalid", "seq")),
        ("call.signal", {**SIGNAL, "candidates": [{"candidate": ""}] * 65}, ("too_large", "candidates")),
        (
            "call.signal",
            {**SIGNAL, "candidates": [{"candidate": ""}, {"candidate": "x" * 1_025}]},
            ("too_large", "candidates[1].candidate"),
        ),
        (
            "call.signal",
            {**SIGNAL, "description": {"type": "offer", "sdp": "x" * 65_537}},
            ("too_large", "description.sdp"),
        ),
        ("no.such", {"room": "r"}, ("unsupported", None)),
    ],
)
def test_T4_bounds(name: str, fields: dict[str, Any], expected: tuple[str, str | None] | None) -> None:
    assert refusal(name, **fields) == expected


@given(name=st.sampled_from(sorted(COMMANDS)), payload=st.binary(max_size=200))
def test_T4_bytes_that_mean_nothing_are_refused_not_raised(name: str, payload: bytes) -> None:
    with contextlib.suppress(RoomError, UndecodableError):
        check(decode_command(name, payload, 131_072), Limits())


@given(message=st.text(), field=st.none() | st.text(), retry_ms=st.none() | st.integers(0, 10_000))
def test_T2_a_refusal_says_what_it_has(message: str, field: str | None, retry_ms: int | None) -> None:
    answer = msgspec.msgpack.decode(refused(Invalid(message, field=field, retry_ms=retry_ms)))
    expected = {
        "code": "invalid",
        "message": message or Invalid.sentence,
        "field": field,
        "retry_ms": retry_ms,
    }
    assert answer == {"ok": False, "error": {k: v for k, v in expected.items() if v is not None}}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(name=st.sampled_from(sorted(COMMANDS)), value=json_like)
def test_T4_any_object_is_taken_or_refused(name: str, value: Any) -> None:
    with contextlib.suppress(Invalid, TooLarge, Unsupported):
        check(decode_command(name, pack(value), 131_072), Limits())


def test_T4_deep_nesting_is_refused() -> None:
    with pytest.raises(Invalid):
        decode_command("chat.send", b"\x91" * 100_000 + b"\xc0", 131_072)


def test_T4_the_field_of_a_complaint_is_short() -> None:
    assert field_of("Object contains unknown field `" + "x" * 5_000 + "`") == "x" * 100
