"""Packets and events as bytes: spliced together they read back as what was meant (T1, L1)."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms import events
from rooms.events import ChatEdited, ChatPosted, Posted
from rooms.log import Entry, wire, wires
from signaling import packets

pytestmark = pytest.mark.unit


@given(text=st.text(), reply=st.none() | st.just("1-0"), prev=st.none() | st.just("1795529139092-3"))
def test_L1_an_event_on_the_wire_is_its_place_and_its_body(
    text: str, reply: str | None, prev: str | None
) -> None:
    body = events.encode(ChatPosted(by="p", key="k", text=text, reply_to=reply))
    seen = msgpack.unpackb(wire("room", Entry("1795529139096-1", prev, "k", body)))
    expected = {
        "room": "room", "id": "1795529139096-1", "prev": prev, "at": 1795529139096,
        "by": "p", "key": "k", "kind": "chat.posted", "text": text,
    }  # fmt: skip
    assert seen == (expected | {"reply_to": reply} if reply else expected)


@given(texts=st.lists(st.text(), max_size=40))
def test_L1_a_page_is_an_array_of_what_is_pushed(texts: list[str]) -> None:
    bodies = [events.encode(ChatPosted(by="p", key="k", text=text)) for text in texts]
    entries = [Entry(f"1795529139096-{at}", None, "k", body) for at, body in enumerate(bodies)]
    assert msgpack.unpackb(wires("room", entries)) == [msgpack.unpackb(wire("room", one)) for one in entries]


def test_L1_a_body_of_fifteen_entries_still_fits() -> None:
    body = msgpack.packb({f"f{number}": number for number in range(15)})
    assert len(msgpack.unpackb(wire("room", Entry("1-0", None, "k", body)))) == 19


def test_stored_events_are_read_tolerantly() -> None:
    """Of the next version: an unknown field is ignored, an unknown kind is nobody's."""
    newer = {
        "kind": "chat.edited",
        "by": "p",
        "key": "k",
        "ref": "1-0",
        "text": "t",
        "mood": 3,
        "posted": {"at": 1, "by": "p", "x": 1},
    }
    assert events.decode(msgpack.packb(newer)) == ChatEdited(
        by="p", key="k", ref="1-0", text="t", posted=Posted(at=1, by="p")
    )
    assert events.decode(msgpack.packb({"kind": "whiteboard.drawn", "by": "p", "key": "k"})) is None
    assert events.decode(b"\xc1 not msgpack") is None


@given(
    name=st.text(min_size=1, max_size=20),
    value=st.dictionaries(st.text(), st.integers(0, 9)),
    id_=st.integers(0, 2**40),
)
def test_T1_packets_read_back(name: str, value: dict[str, int], id_: int) -> None:
    assert msgpack.unpackb(packets.event(name, packets.pack(value))) == {
        "type": 2,
        "nsp": "/",
        "data": [name, value],
    }
    assert msgpack.unpackb(packets.ack(id_, packets.pack(value))) == {
        "type": 3,
        "nsp": "/",
        "data": [value],
        "id": id_,
    }
