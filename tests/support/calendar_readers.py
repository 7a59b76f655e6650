"""Four programs that read calendars, each with a parser of its own: vobject and ical (Python), ical.js and node-ical."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import vobject
from ical.calendar_stream import IcsCalendarStream
from msgspec import Struct, convert

from tests.support.needs import needs_node_module, needs_program

PROGRAM = Path(__file__).with_suffix(".mjs")
READ_S = 50


class Read(Struct, frozen=True):
    """One event as a reader understood it; `start` and `end` in milliseconds UTC."""

    start: int
    end: int
    uid: str
    sequence: int
    method: str
    summary: str
    description: str


async def read_by_all(calendars: Sequence[str]) -> dict[str, list[Read]]:
    """What each reader makes of each calendar, which holds one event. One process of Node reads them all."""
    package = needs_node_module("ical.js").parents[1] / "package.json"
    needs_node_module("node-ical")
    node = await asyncio.create_subprocess_exec(
        needs_program("node"),
        str(PROGRAM),
        str(package),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(READ_S):
        told, _ = await node.communicate(json.dumps(calendars).encode())
    answers = convert(json.loads(told), dict[str, list[Read]])
    return {
        "vobject": [_vobject(calendar) for calendar in calendars],
        "ical": [_ical(calendar) for calendar in calendars],
        **answers,
    }


def _vobject(text: str) -> Read:
    calendar = vobject.readOne(text)
    event = calendar.vevent
    return Read(
        _ms(event.dtstart.value),
        _ms(event.dtend.value),
        event.uid.value,
        int(event.sequence.value),
        calendar.method.value,
        event.summary.value,
        event.description.value,
    )


def _ical(text: str) -> Read:
    calendar = IcsCalendarStream.calendar_from_ics(text)
    (event,) = calendar.events
    assert isinstance(event.dtstart, datetime)
    assert isinstance(event.dtend, datetime)
    return Read(
        _ms(event.dtstart),
        _ms(event.dtend),
        event.uid,
        event.sequence or 0,
        calendar.method or "",
        event.summary or "",
        event.description or "",
    )


def _ms(at: datetime) -> int:
    assert at.tzinfo is not None, "a time without a zone is nobody's time"
    return round(at.timestamp() * 1000)
