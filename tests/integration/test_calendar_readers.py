"""Four independent programs read our calendars and agree with us, over every clock change of ten years in zones whose rules
are hard to get right (S1, S2, S6). icalendar, which writes them, does not count as a reader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from msgspec.structs import replace

from rooms import zones
from rooms.session import MINUTE_MS, Session
from signaling.calendar import Method, session_ics
from signaling.mail_texts import LANGUAGES
from tests.support.calendar_readers import read_by_all
from tests.support.figures import measured
from tests.support.shown_sessions import ANN, ASHA, appointment, shown

pytestmark = pytest.mark.integration

ZONES: Final = (
    "Africa/Cairo",  # summer time came back in 2023
    "Africa/Casablanca",  # summer time all year but in Ramadan, which moves
    "America/New_York",
    "America/Sao_Paulo",  # gave it up in 2019
    "America/St_Johns",  # half an hour beside the others
    "Antarctica/Troll",  # two hours at once
    "Asia/Kathmandu",  # 5:45
    "Asia/Tehran",  # 3:30, gave it up in 2022
    "Australia/Lord_Howe",  # half an hour of summer time
    "Europe/Dublin",  # winter time is the exception
    "Europe/London",
    "Pacific/Apia",  # once left out a day
    "Pacific/Chatham",  # 12:45, and 13:45
)
YEARS: Final = range(2026, 2036)
AROUND_MIN: Final = (-60, -30, 0, 30)
"""When sessions start, in minutes after a change of clocks."""

AGENDAS: Final = (
    "",
    "First, questions; then: answers",
    'BEGIN:VALARM\r\nEND:VEVENT\n"quoted" \\n is no line feed, C:\\new',
    "आपका दिन कैसा रहा? 🙂🙂🙂 " * 12,
)
NAMES: Final = (
    "Ann Walker",
    'Bo "B" O\'Neil; Jr., PhD: x',
    "علی رضایی",
    "आशा शर्मा",
    "Z\r\nATTENDEE:mailto:x@y",
    "🙂",
)


def changes(tz: str) -> Iterator[int]:
    """Moments of those years at which the clocks of a zone are changed, in milliseconds UTC; else every New Year."""
    step = timedelta(days=1)
    at, end = datetime(YEARS.start, 1, 1, tzinfo=UTC), datetime(YEARS.stop, 1, 1, tzinfo=UTC)
    found = False
    while at < end:
        if _offset(at, tz) != _offset(at + step, tz):
            found = True
            yield round(_first(at, at + step, tz).timestamp()) * 1000
        at += step
    if not found:
        yield from (round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in YEARS)


def _first(low: datetime, high: datetime, tz: str) -> datetime:
    while high - low > timedelta(minutes=1):
        middle = (low + (high - low) / 2).replace(second=0)
        low, high = (middle, high) if _offset(middle, tz) == _offset(low, tz) else (low, middle)
    return high


def _offset(at: datetime, tz: str) -> timedelta | None:
    return zones.local(round(at.timestamp() * 1000), tz).utcoffset()


def sessions() -> Iterator[Session]:
    turn = itertools.count()
    for tz in ZONES:
        for change in changes(tz):
            for minutes in AROUND_MIN:
                n = next(turn)
                when = zones.reading(change + minutes * MINUTE_MS, tz)
                # What is read is what was agreed on, not only what was put in: the wall time leads back to the moment.
                assert zones.again(when.wall, when.tz, when.fold) == when.start
                yield appointment(
                    when,
                    uid=f"{n}@mentoring.example.org",
                    seq=n % 11,
                    minutes=(30, 60, 65, 480)[n % 4],
                    agenda=AGENDAS[n % len(AGENDAS)],
                )


async def test_S2_every_reader_reads_start_end_uid_sequence_and_method_as_they_are() -> None:
    asked: list[tuple[Session, Method, str]] = []
    for n, session in enumerate(sessions()):
        reader = replace(ANN, tz=session.tz, language=list(LANGUAGES)[n % 3], name=NAMES[n % len(NAMES)])
        partner = replace(ASHA, name=NAMES[-n % len(NAMES)])
        methods: tuple[Method, ...] = ("REQUEST", "CANCEL", "PUBLISH")
        written = session_ics(shown(session, reader, partner), methods[n % 3], 1_790_000_000_000)
        asked.append((session, methods[n % 3], written.decode()))
    answers = await read_by_all([written for _, _, written in asked])
    assert set(answers) == {"vobject", "ical", "ical.js", "node-ical"}
    for name, read in answers.items():
        agreed = [
            (one.start, one.end, one.uid, one.sequence, one.method)
            == (session.start, session.end, session.uid, session.seq, method)
            for one, (session, method, _) in zip(read, asked, strict=True)
        ]
        measured(f"calendars that {name} reads as they are, of {len(asked)}", sum(agreed), "calendars")
        first = asked[agreed.index(False)][2] if False in agreed else ""
        assert all(agreed), f"{name} reads {agreed.count(False)} otherwise, the first:\n{first}"
    del answers["node-ical"]  # reads a backslash before an n as a line feed, however it is escaped
    for read_alike in zip(*answers.values(), strict=True):
        assert len({(one.summary, one.description) for one in read_alike}) == 1, read_alike


async def test_an_agenda_arrives_as_it_was_written() -> None:
    written = [session_ics(shown(appointment(agenda=text)), "REQUEST", 0).decode() for text in AGENDAS[1:]]
    for name, read in (await read_by_all(written)).items():
        for one, text in zip(read, AGENDAS[1:], strict=True):
            if name == "node-ical" and "\\" in text:
                continue  # its own mistake, see above
            assert text.replace("\r", "").strip() in one.description
