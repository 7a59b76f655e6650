"""Wall times and time zones: what somebody means by "15:00 in London", and which moment that is (S6, S9).

The wall time and the zone are the truth, the moment follows from them. Zone data is the pinned `tzdata` package and never
the machine's, so that all nodes agree; a newer package is taken up by `schedule.rederive`.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from rooms.errors import Invalid

zoneinfo.reset_tzpath(to=())  # no folder of the machine's: then zoneinfo reads the package

GRID: Final = timedelta(minutes=5)
"""Times that are offered instead of one that does not exist lie on this grid."""

_WALL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+){0,2}")
_NAME_MAX: Final = 64


class Moment(Struct, frozen=True, omit_defaults=True):
    """A wall time without offset (`2026-12-01T15:00`), its IANA zone, and the milliseconds UTC that they mean. `fold` 1 is
    the second of two moments that read the same (PEP 495)."""

    wall: str
    tz: str
    start: int
    fold: int = 0


def moment(wall: str, tz: str, fold: int | None = None, field: str = "") -> Moment:
    """The moment of a wall time. `field` is the path of the object that holds `wall` and `tz` (with its dot).

    Raises `Invalid`: for words that are no wall time or no zone; with `current` = `{"choices": [Moment, …]}` for a wall
    time that the clocks skip (the nearest before and after that exist), and for one that comes twice unless `fold` says
    which (S9).
    """
    zone = _zone(tz, f"{field}tz")
    local = _local(wall, f"{field}wall")
    first, second = _utc(local, zone, 0), _utc(local, zone, 1)
    if not _exists(local, zone):
        raise Invalid(
            "This time does not exist on that day: the clocks are set forward.",
            field=f"{field}wall",
            current={"choices": _around(local, tz, zone)},
        )
    if first == second:
        return Moment(wall, tz, _ms(first))
    if fold is None:
        raise Invalid(
            "This time comes twice on that day: the clocks are set back. Which one is meant?",
            field=f"{field}wall",
            current={"choices": [Moment(wall, tz, _ms(first)), Moment(wall, tz, _ms(second), fold=1)]},
        )
    return Moment(wall, tz, _ms(second), fold=1) if fold else Moment(wall, tz, _ms(first))


def again(wall: str, tz: str, fold: int) -> int:
    """What an accepted wall time means under the zone data of today: milliseconds UTC. One that the clocks now skip is the
    moment that its old offset gives (RFC 5545 §3.3.5)."""
    return _ms(_utc(_local(wall, "wall"), _zone(tz, "tz"), fold))


def reading(start_ms: int, tz: str) -> Moment:
    """What a clock in `tz` shows at a moment, which lies on a whole minute. Raises `Invalid` for no zone."""
    local = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(_zone(tz, "tz"))
    wall = local.strftime("%Y-%m-%dT%H:%M")
    return Moment(wall, tz, start_ms, fold=local.fold if comes_twice(wall, tz) else 0)


def comes_twice(wall: str, tz: str) -> bool:
    """Whether `moment` asks which of two is meant, for a wall time that exists. Raises `Invalid` for what is none."""
    return again(wall, tz, 0) != again(wall, tz, 1)


def is_zone(tz: str) -> bool:
    """Whether this names a zone of the package."""
    try:
        _zone(tz, "tz")
    except Invalid:
        return False
    return True


def local(at_ms: int, tz: str) -> datetime:
    """A moment on the clocks of a zone, with its offset. Raises `Invalid` for no zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(_zone(tz, "tz"))


@lru_cache(maxsize=1024)
def _zone(tz: str, field: str) -> ZoneInfo:
    if len(tz) <= _NAME_MAX and _NAME.fullmatch(tz):
        try:
            return ZoneInfo(tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass  # also a folder of zones, such as "America"
    raise Invalid("This is not a known time zone.", field=field)


def _local(wall: str, field: str) -> datetime:
    if _WALL.fullmatch(wall):
        try:
            return datetime.fromisoformat(wall)
        except ValueError:
            pass
    raise Invalid("This is not a time such as 2026-12-01T15:00.", field=field)


def _utc(local: datetime, zone: ZoneInfo, fold: int) -> datetime:
    try:
        return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    except OverflowError:
        raise Invalid("This time is out of all bounds.", field="wall") from None


def _exists(local: datetime, zone: ZoneInfo) -> bool:
    """A skipped wall time does not come back from UTC as it went (PEP 495)."""
    return _utc(local, zone, 0).astimezone(zone).replace(tzinfo=None, fold=0) == local


def _around(local: datetime, tz: str, zone: ZoneInfo) -> list[Moment]:
    """The last wall time before a gap and the first after it; the longest gap is a day (Samoa, 2011)."""
    on_grid = local - timedelta(minutes=local.minute % 5)
    before, after = on_grid, on_grid + GRID
    while not _exists(before, zone):
        before -= GRID
    while not _exists(after, zone):
        after += GRID
    return [Moment(one.isoformat(timespec="minutes"), tz, _ms(_utc(one, zone, 0))) for one in (before, after)]


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
