"""Hours over clock changes, and free slots that booking accepts (S3, S9), without any store."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms import schedule, zones
from rooms.availability import (
    DayException,
    Hours,
    Search,
    Span,
    WeeklySpan,
    as_date,
    check,
    slots,
    working,
)
from rooms.commands import SessionBook
from rooms.errors import Invalid, TooLarge
from rooms.membership import Member, RoomRecord
from rooms.schedule import BUCKET_MS, Rules
from rooms.session import MINUTE_MS

pytestmark = pytest.mark.unit

HOUR_MS = 60 * MINUTE_MS

# Around each a change of the clocks: an hour, half an hour, to and from, at midnight, a whole day.
CHANGES = [
    ("Europe/London", date(2026, 3, 29)),
    ("Europe/London", date(2026, 10, 25)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Santiago", date(2026, 9, 6)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("Africa/Casablanca", date(2026, 2, 15)),
    ("Asia/Kathmandu", date(2026, 6, 1)),
    ("Pacific/Apia", date(2011, 12, 30)),
]

clocks = st.one_of(
    st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59])),
    st.sampled_from(["00:00", "01:30", "02:00", "02:30", "03:00", "24:00"]),
)


@st.composite
def day_spans(draw: st.DrawFn) -> list[Span]:
    cuts = sorted(draw(st.sets(clocks, min_size=0, max_size=6)))
    return [Span(one, other) for one, other in zip(cuts[::2], cuts[1::2], strict=False)]


@st.composite
def any_hours(draw: st.DrawFn, around: date) -> Hours:
    weekly = [
        WeeklySpan(day, span.from_, span.to)
        for day in draw(st.permutations(range(7)))
        for span in draw(day_spans())
    ]
    days = draw(st.sets(st.integers(-3, 3), max_size=3))
    exceptions = tuple(
        DayException((around + timedelta(days=day)).isoformat(), tuple(draw(day_spans()))) for day in days
    )
    return Hours(tuple(weekly), exceptions)


def shows(hours: Hours, at: int, tz: str) -> bool:
    """The definition: does the clock show a time of the hours?"""
    local = zones.local(at, tz)
    clock = local.strftime("%H:%M:%S")
    return any(span.from_ <= clock < span.to for span in hours.on(local.date()))


def noon(day: date) -> int:
    return round(datetime.fromisoformat(f"{day}T12:00+00:00").timestamp() * 1000)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(CHANGES))
def test_s9_hours_are_what_the_clocks_show_over_every_change(
    data: st.DataObject, change: tuple[str, date]
) -> None:
    tz, day = change
    hours = data.draw(any_hours(day))
    check(hours)
    start, end = noon(day) - 40 * HOUR_MS, noon(day) + 40 * HOUR_MS
    found = working(hours, tz, start, end)
    assert all(one.end < other.start for one, other in pairwise(found)), "apart, ascending"
    for at in range(start, end, 15 * MINUTE_MS):
        inside = any(stretch.start <= at < stretch.end for stretch in found)
        assert inside == shows(hours, at, tz), zones.local(at, tz)


def test_s9_an_hour_that_the_clocks_skip_or_repeat() -> None:
    """01:00–03:00 lasts one hour on the day of spring, three on that of autumn."""
    hours = Hours(tuple(WeeklySpan(day, "01:00", "03:00") for day in range(7)))

    def lengths(day: date) -> list[int]:
        found = working(hours, "Europe/London", noon(day) - 12 * HOUR_MS, noon(day) + 12 * HOUR_MS)
        return [(stretch.end - stretch.start) // HOUR_MS for stretch in found]

    assert lengths(date(2026, 3, 29)) == [1]
    assert lengths(date(2026, 10, 25)) == [3]
    assert lengths(date(2026, 6, 1)) == [2]


def test_an_exception_stands_for_its_whole_day() -> None:
    weekly = tuple(WeeklySpan(day, "09:00", "17:00") for day in range(7))
    hours = Hours(
        weekly, (DayException("2026-12-24", ()), DayException("2026-12-25", (Span("10:00", "11:00"),)))
    )
    found = working(
        hours, "UTC", noon(date(2026, 12, 24)) - 24 * HOUR_MS, noon(date(2026, 12, 25)) + 12 * HOUR_MS
    )
    shown = [zones.local(at, "UTC").strftime("%d %H") for one in found for at in (one.start, one.end)]
    assert shown == ["23 12", "23 17", "25 10", "25 11"]


def test_hours_that_were_never_said_are_days_from_eight_to_eight() -> None:
    day = date(2026, 12, 6)  # a Sunday
    (found,) = working(None, "UTC", noon(day) - 12 * HOUR_MS, noon(day) + 12 * HOUR_MS)
    assert (found.start, found.end) == (noon(day) - 4 * HOUR_MS, noon(day) + 8 * HOUR_MS)


@pytest.mark.parametrize(
    ("hours", "error", "field"),
    [
        (Hours((WeeklySpan(0, "10:00", "09:00"),)), Invalid, "weekly[0].to"),
        (Hours((WeeklySpan(0, "10:00", "10:00"),)), Invalid, "weekly[0].to"),
        (Hours((WeeklySpan(0, "24:00", "24:00"),)), Invalid, "weekly[0].to"),
        (
            Hours((WeeklySpan(0, "09:00", "11:00"), WeeklySpan(1, "09:00", "11:00"), WeeklySpan(0, "10:59", "12:00"))),
            Invalid,
            "weekly[2].from",
        ),
        (Hours(tuple(WeeklySpan(3, f"0{n}:00", f"0{n}:30") for n in range(5))), TooLarge, "weekly"),
        (Hours((), (DayException("2026-02-30", ()),)), Invalid, "exceptions[0].date"),
        (Hours((), (DayException("1066-10-14", ()),)), Invalid, "exceptions[0].date"),
        (
            Hours((), (DayException("2026-12-24", ()), DayException("2026-12-24", ()))),
            Invalid,
            "exceptions[1].date",
        ),
        (Hours((), (DayException("2026-12-24", (Span("10:00", "09:00"),)),)), Invalid, "exceptions[0].spans[0].to"),
        (
            Hours((), tuple(DayException(str(date(2026, 1, 1) + timedelta(days=n)), ()) for n in range(101))),
            TooLarge,
            "exceptions",
        ),
    ],
)  # fmt: skip
def test_t4_hours_that_cannot_be_are_refused_with_their_field(
    hours: Hours, error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        check(hours)
    assert getattr(caught.value, "field") == field  # noqa: B009 - mypy knows no field of Exception


def test_spans_may_touch_and_end_with_the_day() -> None:
    check(Hours((WeeklySpan(0, "09:00", "12:00"), WeeklySpan(0, "12:00", "24:00"))))


PEOPLE = {"mentor": "Europe/London", "mentee": "Asia/Kolkata"}
RECORD = RoomRecord(
    "room",
    "",
    (Member("mentor", "A", "mentor", PEOPLE["mentor"]), Member("mentee", "B", "mentee", PEOPLE["mentee"])),
)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([one for one in CHANGES if one[1].year > 2020]))
def test_s3_every_slot_that_is_offered_can_be_booked_and_none_that_is_claimed(
    data: st.DataObject, change: tuple[str, date]
) -> None:
    tz, day = change
    minutes = data.draw(st.sampled_from([5, 23, 60, 90, 480]))
    rules = Rules(buffer_ms=data.draw(st.sampled_from([0, 10 * MINUTE_MS])))
    now = noon(day) - 30 * HOUR_MS + data.draw(st.integers(0, 20 * HOUR_MS))
    from_bucket = (noon(day) - 36 * HOUR_MS) // BUCKET_MS
    busy = data.draw(st.sets(st.integers(from_bucket, from_bucket + 72 * 12), max_size=20))
    search = Search(day - timedelta(days=1), 3, minutes, tz)
    hours = data.draw(any_hours(day))
    people = {"mentor": (hours, tz), "mentee": (None, PEOPLE["mentee"])}
    offered = slots(search, busy, people, now, rules)

    def buckets(start: int) -> set[int]:
        return set(
            range(start // BUCKET_MS, -(-(start + minutes * MINUTE_MS + rules.buffer_ms) // BUCKET_MS))
        )

    for slot in offered:
        said = msgspec.to_builtins(
            slot
        )  # as it is sent: without `fold` a time that comes twice would be asked about (S9)
        command = SessionBook("room", str(uuid.uuid4()), said["wall"], tz, minutes, fold=said.get("fold"))
        booked = schedule.book(RECORD, "mentor", command, "id", "uid", now, rules).session
        assert booked.start == slot.start
        assert not busy & set(schedule.buckets(booked, rules))
        spent = range(slot.start, slot.start + minutes * MINUTE_MS, MINUTE_MS)
        assert ("mentor" in slot.outside) == (not all(shows(hours, at, tz) for at in spent))
    # And none is left out: each half hour of these days that is ahead and free is offered.
    window = search.window()
    free = {
        at
        for at in range(window.start - window.start % (5 * MINUTE_MS), window.end, 5 * MINUTE_MS)
        if window.start <= at
        and zones.local(at, tz).minute % 30 == 0
        and at >= now
        and not busy & buckets(at)
    }
    assert {slot.start for slot in offered} == free
    if offered:
        taken = data.draw(st.sampled_from(offered))
        left = {slot.start for slot in slots(search, busy | buckets(taken.start), people, now, rules)}
        assert taken.start not in left
        assert left == {slot.start for slot in offered if not buckets(slot.start) & buckets(taken.start)}


@pytest.mark.parametrize(("tz", "day"), CHANGES)
def test_a_days_slots_are_those_whose_clock_shows_that_day(tz: str, day: date) -> None:
    window = Search(day, 1, 30, tz).window()
    assert all(zones.local(at, tz).date() == day for at in range(window.start, window.end, 30 * MINUTE_MS))
    assert zones.local(window.start - 1, tz).date() < day <= zones.local(window.end, tz).date()


def test_nothing_is_offered_further_ahead_than_one_may_plan() -> None:
    now = noon(date(2026, 12, 1))
    rules = Rules(horizon_ms=3 * HOUR_MS)
    found = slots(Search(date(2026, 12, 1), 7, 30, "UTC"), [], {}, now, rules)
    assert [slot.wall[11:] for slot in found] == [
        "12:00",
        "12:30",
        "13:00",
        "13:30",
        "14:00",
        "14:30",
        "15:00",
    ]


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "20261224", "2026-W01-1", "2026-12-24T00:00", "0001-01-01"]
)
def test_a_day_is_written_one_way(text: str) -> None:
    with pytest.raises(Invalid):
        as_date(text, "from")
