"""When people say that they have time, and which starts are free for all of them (PROTOCOL.md, "Hours and free times").

Hours are advice: a slot outside of somebody's hours is offered, and says whose. What is free is decided by the claims that
booking looks at as well (`schedule.buckets`), so every slot that is offered can be booked. Times are milliseconds UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from rooms import zones
from rooms.commands import Strict
from rooms.errors import Invalid, TooLarge
from rooms.schedule import BUCKET_MS, Rules
from rooms.session import MINUTE_MS

SPANS_MAX: Final = 4
"""Spans of one day."""

EXCEPTIONS_MAX: Final = 100
"""Days that are different from their weekday; whoever has more forgets those that are past."""

GRID_MINUTES: Final = 30
"""Slots begin on each half hour of the viewer's clock."""

DAYS_MAX: Final = 14
"""Calendar days of one search: about a hundredth of a second of work."""

DAY: Final = timedelta(days=1)

Clock = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", max_length=5)]
"""A wall time without a date, such as `09:00`; `24:00` is the end of the day."""

Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length=10)]
"""A calendar day, such as `2026-12-24`."""


class Span(Strict, frozen=True, rename={"from_": "from"}):
    """From a wall time up to another one of the same day."""

    from_: Clock
    to: Clock


class WeeklySpan(Strict, frozen=True, rename={"from_": "from"}):
    """A span of each week. `day` 0 is Monday (as in ISO 8601, counted from 0)."""

    day: Annotated[int, Meta(ge=0, le=6)]
    from_: Clock
    to: Clock


class DayException(Strict, frozen=True):
    """One day that is not as its weekday; without spans: not at all that day."""

    date: Date
    spans: tuple[Span, ...]


class Hours(Strict, frozen=True):
    """When somebody has time, on the clocks of their own zone."""

    weekly: tuple[WeeklySpan, ...]
    exceptions: tuple[DayException, ...] = ()

    def on(self, day: date) -> Sequence[Span | WeeklySpan]:
        """The spans of one calendar day."""
        text = day.isoformat()
        for exception in self.exceptions:
            if exception.date == text:
                return exception.spans
        return [span for span in self.weekly if span.day == day.weekday()]


NEVER_SAID: Final = Hours(tuple(WeeklySpan(day, "08:00", "20:00") for day in range(7)))
"""What counts for somebody who never said their hours."""


def check(hours: Hours) -> None:
    """Raises `Invalid` or `TooLarge` with the path of the first field that is wrong."""
    for day in range(7):
        rows = [(f"weekly[{index}]", span) for index, span in enumerate(hours.weekly) if span.day == day]
        _check_spans(rows, "weekly")
    if len(hours.exceptions) > EXCEPTIONS_MAX:
        raise TooLarge(f"At most {EXCEPTIONS_MAX} days can be different.", field="exceptions")
    seen: set[str] = set()
    for index, exception in enumerate(hours.exceptions):
        path = f"exceptions[{index}]"
        as_date(exception.date, f"{path}.date")
        if exception.date in seen:
            raise Invalid("This day is there twice.", field=f"{path}.date")
        seen.add(exception.date)
        rows_of_day = [(f"{path}.spans[{number}]", span) for number, span in enumerate(exception.spans)]
        _check_spans(rows_of_day, f"{path}.spans")


def as_date(text: str, field: str) -> date:
    """Raises `Invalid` for what is in no calendar."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text or not 1970 <= found.year <= 2999:
        raise Invalid("This is not a day such as 2026-12-24.", field=field)
    return found


def _check_spans(rows: Sequence[tuple[str, Span | WeeklySpan]], field: str) -> None:
    """The spans of one day: forward, and none over another (they may touch)."""
    if len(rows) > SPANS_MAX:
        raise TooLarge(f"A day has at most {SPANS_MAX} spans.", field=field)
    for path, span in rows:
        if span.from_ >= span.to:  # of one width, so they compare as the times do
            raise Invalid("A span ends after it begins.", field=f"{path}.to")
    for (_, one), (path, other) in pairwise(sorted(rows, key=lambda row: row[1].from_)):
        if other.from_ < one.to:
            raise Invalid("Two spans of this day overlap.", field=f"{path}.from")


class Stretch(Struct, frozen=True):
    """A time from `start` up to `end`."""

    start: int
    end: int


def working(hours: Hours | None, tz: str, start: int, end: int) -> list[Stretch]:
    """When clocks in `tz` show a time of the hours, between two moments: ascending, apart from each other. What the clocks
    skip is no time, what they show twice is both times. Raises `Invalid` for no zone."""
    said = hours or NEVER_SAID
    found: list[Stretch] = []
    for stretch, offset_ms in _steady(tz, start, end):
        for day in _days(stretch.start + offset_ms, stretch.end + offset_ms):
            midnight = _midnight(day) - offset_ms
            for span in sorted(said.on(day), key=lambda span: span.from_):
                begins = max(midnight + _minutes(span.from_) * MINUTE_MS, stretch.start)
                ends = min(midnight + _minutes(span.to) * MINUTE_MS, stretch.end)
                if begins < ends:
                    _append(found, begins, ends)
    return found


class Slot(Struct, frozen=True, omit_defaults=True):
    """A start that is free for everybody: `wall` as a clock of the viewer's zone shows it, with `fold` where it comes twice,
    and whose hours it is outside of."""

    wall: str
    start: int
    outside: tuple[str, ...]
    fold: int | UnsetType = UNSET


class Search(Struct, frozen=True):
    """What is looked for: `days` calendar days from `first` on, in the viewer's zone."""

    first: date
    days: int
    minutes: int
    tz: str

    def window(self) -> Stretch:
        """From the first midnight to the one after the last day, on the viewer's clocks."""
        return Stretch(_starts(self.first, self.tz), _starts(self.first + self.days * DAY, self.tz))


def slots(
    search: Search,
    busy: Collection[int],
    people: Mapping[str, tuple[Hours | None, str]],
    now: int,
    rules: Rules,
) -> list[Slot]:
    """Each half hour from which on nobody is `busy` (buckets of `schedule.buckets`, of all of them) for the whole session
    and the pause after it; in the future, and not further ahead than one may plan. `people`: hours and zone of each."""
    window = search.window()
    length = search.minutes * MINUTE_MS
    taken = sorted(busy)
    times = {
        person: working(hours, tz, window.start, window.end + length)
        for person, (hours, tz) in people.items()
    }
    found: list[Slot] = []
    for start in _half_hours(search.tz, window):
        if not now <= start <= now + rules.horizon_ms:
            continue
        last = -(-(start + length + rules.buffer_ms) // BUCKET_MS)
        if bisect_left(taken, start // BUCKET_MS) != bisect_left(taken, last):
            continue
        shown = zones.reading(start, search.tz)
        outside = tuple(sorted(who for who, time in times.items() if not covers(time, start, start + length)))
        fold = shown.fold if zones.comes_twice(shown.wall, search.tz) else UNSET
        found.append(Slot(shown.wall, start, outside, fold))
    return found


def covers(stretches: Sequence[Stretch], start: int, end: int) -> bool:
    """Whether one of them holds all of that time."""
    index = bisect_right(stretches, start, key=lambda stretch: stretch.start) - 1
    return index >= 0 and end <= stretches[index].end


# --------------------------------------------------------------------------------------------- the parts


STEP_MS: Final = 6 * 60 * MINUTE_MS
"""Clocks are not changed twice within it."""


def _steady(tz: str, start: int, end: int) -> Iterator[tuple[Stretch, int]]:
    """The stretches between two moments in which clocks run evenly, each with its offset from UTC in milliseconds."""
    begun, offset = start, _offset(start, tz)
    at = start
    while at < end:
        after = min(at + STEP_MS, end)
        if _offset(after, tz) != offset:
            low, high = at, after  # the offset is still the old one at `low` and another at `high`
            while high - low > 1000:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(middle, tz) == offset else (low, middle)
            changed = high - high % 1000  # zone data knows whole seconds
            yield Stretch(begun, changed), offset
            begun, offset, after = changed, _offset(changed, tz), changed
        at = after
    if begun < end:
        yield Stretch(begun, end), offset


def _half_hours(tz: str, window: Stretch) -> Iterator[int]:
    grid = GRID_MINUTES * MINUTE_MS
    for stretch, offset_ms in _steady(tz, window.start, window.end):
        yield from range(-(-(stretch.start + offset_ms) // grid) * grid - offset_ms, stretch.end, grid)


def _starts(day: date, tz: str) -> int:
    """The first moment of a calendar day: its midnight, or what the clocks show first where they skip that."""
    guess = _midnight(day)
    for stretch, offset_ms in _steady(tz, guess - 36 * 60 * MINUTE_MS, guess + 36 * 60 * MINUTE_MS):
        if stretch.end + offset_ms > guess:
            return max(guess - offset_ms, stretch.start)
    raise AssertionError("every day begins within a day and a half of its UTC midnight")


def _offset(at: int, tz: str) -> int:
    offset = zones.local(at, tz).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


def _days(start: int, end: int) -> Iterator[date]:
    """The calendar days that a stretch of local milliseconds touches."""
    day = datetime.fromtimestamp(start / 1000, UTC).date()
    while _midnight(day) < end:
        yield day
        day += DAY


def _midnight(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _append(found: list[Stretch], start: int, end: int) -> None:
    """Stretches that touch are one."""
    if found and start <= found[-1].end:
        found[-1] = Stretch(found[-1].start, max(end, found[-1].end))
    else:
        found.append(Stretch(start, end))
