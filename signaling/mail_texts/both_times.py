"""When something is, on the clocks of both: "15:00 London (your time) · 20:30 Kolkata (Asha)"."""

from __future__ import annotations

from datetime import datetime

from rooms import zones
from signaling.mail_texts.texts import Texts


def when(texts: Texts, start_ms: int, reader_tz: str, partner_tz: str, partner: str) -> str:
    """With the reader's date, and the partner's where it is another one."""
    mine, theirs = _clock(start_ms, reader_tz), _clock(start_ms, partner_tz)
    date = _date(texts.date, texts.weekdays, texts.months, mine)
    if reader_tz == partner_tz:
        return f"{date}, {_time(mine)} {_city(reader_tz)}"
    yours = texts.your_time.format(time=_time(mine), city=_city(reader_tz))
    other = texts.their_time.format(time=_time(theirs), city=_city(partner_tz), partner=partner)
    if mine.date() != theirs.date():
        other = f"{short_date(texts, theirs)}, {other}"
    return f"{date}, {yours} · {other}"


def short(texts: Texts, start_ms: int, tz: str) -> str:
    """For a subject line: the reader's date and time."""
    local = _clock(start_ms, tz)
    return f"{short_date(texts, local)}, {_time(local)} ({_city(tz)})"


def short_date(texts: Texts, local: datetime) -> str:
    return _date(texts.date_short, texts.weekdays_short, texts.months_short, local)


def _date(form: str, weekdays: tuple[str, ...], months: tuple[str, ...], local: datetime) -> str:
    return form.format(
        weekday=weekdays[local.weekday()], day=local.day, month=months[local.month - 1], year=local.year
    )


def _time(local: datetime) -> str:
    """With the offset where clocks show this time twice on that day."""
    shown = local.strftime("%H:%M")
    if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
        return shown
    return f"{shown} (UTC{local.strftime('%z')[:3]}:{local.strftime('%z')[3:5]})"


def _city(tz: str) -> str:
    return tz.rpartition("/")[2].replace("_", " ")


def _clock(at_ms: int, tz: str) -> datetime:
    """A zone that is not known any more reads as UTC."""
    return zones.local(at_ms, tz if zones.is_zone(tz) else "UTC")
