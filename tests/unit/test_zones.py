"""Wall times (rules S6, S9): against dateutil, which decides by other means, over ten years of clock changes."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from dateutil import tz as dateutil_tz
from hypothesis import given
from hypothesis import strategies as st

from rooms import zones
from rooms.errors import Invalid
from rooms.zones import Moment

pytestmark = pytest.mark.unit

AWKWARD = (
    "Europe/London", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "Africa/Casablanca",
    "Africa/Cairo", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Gaza", "Australia/Lord_Howe", "Pacific/Apia",
    "Pacific/Chatham", "Antarctica/Troll", "America/Scoresbysund", "Asia/Pyongyang", "America/Caracas", "UTC",
)  # fmt: skip
"""Half hours and quarters, negative daylight saving, rules that were dropped, half-hour and two-hour steps."""


def changes(tz: str, first: int, last: int) -> list[datetime]:
    """UTC moments at which the offset of a zone changes, to the minute."""
    zone, found = zoneinfo.ZoneInfo(tz), []
    at, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 31, tzinfo=UTC)
    while at < end:
        later = at + timedelta(days=1)
        if at.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            low, high = at, later
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high.replace(second=0, microsecond=0))
        at = later
    return found


def walls_around_changes() -> list[tuple[str, str]]:
    near = [timedelta(minutes=15 * step) for step in range(-13, 14)]
    return [
        (f"{(at.astimezone(zoneinfo.ZoneInfo(tz)) + delta):%Y-%m-%dT%H:%M}", tz)
        for tz in AWKWARD
        for at in changes(tz, 2022, 2032)
        for delta in near
    ]


def test_S9_every_wall_time_around_a_clock_change_is_what_dateutil_takes_it_for() -> None:
    skipped = twice = 0
    for wall, tz in walls_around_changes():
        local, other = datetime.fromisoformat(wall), dateutil_tz.gettz(tz)
        if not dateutil_tz.datetime_exists(local, other):
            skipped += 1
            with pytest.raises(Invalid) as refused:
                zones.moment(wall, tz)
            assert refused.value.field == "wall"
            before, after = refused.value.current["choices"]  # type: ignore[index]
            assert before.wall < wall < after.wall
            for choice in (before, after):
                assert zones.moment(choice.wall, tz) == choice
        elif dateutil_tz.datetime_ambiguous(local, other):
            twice += 1
            with pytest.raises(Invalid) as refused:
                zones.moment(wall, tz)
            choices = refused.value.current["choices"]  # type: ignore[index]
            assert [zones.moment(wall, tz, fold) for fold in (0, 1)] == choices
            for fold, choice in enumerate(choices):
                assert choice.start == utc_ms(dateutil_tz.enfold(local.replace(tzinfo=other), fold))
                assert zones.reading(choice.start, tz) == choice
        else:
            assert zones.moment(wall, tz) == Moment(wall, tz, utc_ms(local.replace(tzinfo=other)))
    assert skipped > 400, "the table holds skipped times"
    assert twice > 400, "the table holds times that come twice"


def utc_ms(local: datetime) -> int:
    return round(local.astimezone(UTC).timestamp() * 1000)


@given(
    minutes=st.integers(min_value=0, max_value=60 * 366 * 24 * 60), tz=st.sampled_from(AWKWARD)
)  # 1970 to 2030
def test_S6_what_a_clock_shows_means_the_moment_it_shows(minutes: int, tz: str) -> None:
    start = minutes * 60_000
    shown = zones.reading(start, tz)
    if datetime.fromtimestamp(start / 1000, UTC).astimezone(zoneinfo.ZoneInfo(tz)).second:
        return  # an offset with seconds, as they were before railways (and in Liberia until 1972)
    assert zones.moment(shown.wall, tz, shown.fold) == shown
    assert zones.again(shown.wall, tz, shown.fold) == start


@pytest.mark.parametrize(
    ("wall", "choices"),
    [
        ("2026-03-29T02:30", ["2026-03-29T01:55", "2026-03-29T03:00"]),
        ("2026-03-29T02:00", ["2026-03-29T01:55", "2026-03-29T03:00"]),
        ("2026-03-29T02:59", ["2026-03-29T01:55", "2026-03-29T03:00"]),
    ],
)
def test_S9_a_skipped_time_is_refused_with_the_nearest_two(wall: str, choices: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        zones.moment(wall, "Europe/Berlin", field="times[2].")
    assert refused.value.field == "times[2].wall"
    assert [choice.wall for choice in refused.value.current["choices"]] == choices  # type: ignore[index]


def test_S9_a_whole_day_that_a_country_skipped() -> None:
    with pytest.raises(Invalid) as refused:
        zones.moment("2011-12-30T12:00", "Pacific/Apia")
    walls = [choice.wall for choice in refused.value.current["choices"]]  # type: ignore[index]
    assert walls == ["2011-12-29T23:55", "2011-12-31T00:00"]


def test_S6_the_zone_data_is_the_package_and_not_the_machine() -> None:
    assert zoneinfo.TZPATH == ()


@pytest.mark.parametrize(
    "tz",
    ["", "Mars/Olympus", "America", "../../etc/passwd", "/etc/localtime", "Europe/Berlin\n", "tzdata.zi", "__init__",
     "Europe//Berlin", "a" * 65, "Europe/" + "x" * 4000, "Üb/er"],
)  # fmt: skip
def test_T4_what_is_no_zone_is_refused(tz: str) -> None:
    with pytest.raises(Invalid) as refused:
        zones.moment("2026-12-01T15:00", tz)
    assert refused.value.field == "tz"
    assert not zones.is_zone(tz)


@pytest.mark.parametrize(
    "wall",
    ["", "2026-12-01", "2026-12-01 15:00", "2026-12-01T15:00:00", "2026-12-01T15:00Z", "2026-12-01T15:00+01:00",
     "2026-02-30T15:00", "2026-12-01T24:00", "2026-12-01T15:60", "２０２６-12-01T15:00", "0000-01-01T00:00"],
)  # fmt: skip
def test_T4_what_is_no_wall_time_is_refused(wall: str) -> None:
    with pytest.raises(Invalid) as refused:
        zones.moment(wall, "Europe/Berlin")
    assert refused.value.field == "wall"


@pytest.mark.parametrize(
    ("wall", "tz"), [("0001-01-01T00:00", "Asia/Tokyo"), ("9999-12-31T23:59", "America/New_York")]
)
def test_T4_a_time_out_of_all_bounds_is_refused(wall: str, tz: str) -> None:
    with pytest.raises(Invalid):
        zones.moment(wall, tz)
