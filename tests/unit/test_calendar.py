"""Sessions as calendar objects (RFC 5545, RFC 5546), and moments on the clocks of two people."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rooms.zones import moment, reading
from signaling.calendar import feed_ics, one_line, organizer_address, session_ics
from signaling.mail_texts import LANGUAGES, texts_for
from signaling.mail_texts.both_times import short, when
from signaling.mail_texts.texts import Letter
from tests.support.shown_sessions import ANN, ASHA, ROOM_URL, SECRET, appointment, shown

pytestmark = pytest.mark.unit

NOW = 1_790_000_000_000


PROPERTIES = [
    "BEGIN", "VERSION", "PRODID", "METHOD", "BEGIN", "SUMMARY", "DTSTART", "DTEND", "DTSTAMP", "UID", "SEQUENCE",
    "ATTENDEE", "ATTENDEE", "CONFERENCE", "DESCRIPTION", "LOCATION", "ORGANIZER", "STATUS", "URL", "END", "END", "",
]  # fmt: skip


def lines(ics: bytes) -> list[str]:
    """Unfolded (RFC 5545 §3.1)."""
    assert ics.endswith(b"\r\n")
    assert all(len(line) <= 75 for line in ics.split(b"\r\n")), "octets in a line"
    assert b"\n" not in ics.replace(b"\r\n", b"")
    return ics.replace(b"\r\n ", b"").decode().split("\r\n")


def one(ics: bytes, name: str) -> str:
    (found,) = [line for line in lines(ics) if re.match(rf"{name}[:;]", line)]
    return found


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("requested", "TENTATIVE"),
        ("confirmed", "CONFIRMED"),
        ("live", "CONFIRMED"),
        ("cancelled", "CANCELLED"),
        ("declined", "CANCELLED"),
        ("expired", "CANCELLED"),
    ],
)
def test_the_status_follows_the_state(state: str, status: str) -> None:
    assert one(session_ics(shown(appointment(state=state)), "REQUEST", NOW), "STATUS") == f"STATUS:{status}"


def test_S1_S2_identity_times_and_place() -> None:
    ics = session_ics(shown(appointment(seq=3)), "REQUEST", NOW)
    assert one(ics, "UID") == "UID:5e55@mentoring.example.org"
    assert one(ics, "SEQUENCE") == "SEQUENCE:3"
    assert one(ics, "DTSTART") == "DTSTART:20261201T150000Z"
    assert one(ics, "DTEND") == "DTEND:20261201T160000Z"
    assert one(ics, "DTSTAMP") == "DTSTAMP:20260921T141320Z"
    assert one(ics, "URL") == f"URL:{ROOM_URL}"
    assert one(ics, "LOCATION") == f"LOCATION:{ROOM_URL}"
    assert one(ics, "CONFERENCE").startswith("CONFERENCE;")
    assert "VALUE=URI" in one(ics, "CONFERENCE")
    assert one(ics, "CONFERENCE").endswith(f":{ROOM_URL}")
    assert not re.search(rb"VALARM|RRULE|TZID|VTIMEZONE", ics)


def test_both_are_asked_with_their_answers_and_the_organizer_is_the_secret_address() -> None:
    session = appointment(answers={ANN.id: "accepted", ASHA.id: "needs_action"})
    ics = session_ics(shown(session), "REQUEST", NOW)
    attendees = {line.rpartition(":")[2]: line for line in lines(ics) if line.startswith("ATTENDEE;")}
    assert set(attendees) == {"ann@example.org", "asha@example.org"}
    assert "PARTSTAT=ACCEPTED;" in attendees["ann@example.org"]
    assert "PARTSTAT=NEEDS-ACTION;" in attendees["asha@example.org"]
    assert one(ics, "ORGANIZER").endswith(f":mailto:mentoring+{SECRET}@example.org")


def test_what_is_fetched_names_no_attendees() -> None:
    """RFC 5546 §3.2.1."""
    ics = session_ics(shown(appointment()), "PUBLISH", NOW)
    assert b"ATTENDEE" not in ics
    assert b"asha@example.org" not in ics


def test_a_feed_is_a_calendar_also_without_sessions() -> None:
    assert lines(feed_ics([], "de", NOW))[:4] == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//telementor//telementor//EN",
        "METHOD:PUBLISH",
    ]
    two = [shown(appointment()), shown(appointment(uid="other@mentoring.example.org"))]
    assert feed_ics(two, "en", NOW).count(b"BEGIN:VEVENT") == 2


def test_a_closed_room_is_not_shown_as_a_way() -> None:
    description = one(
        session_ics(shown(appointment(state="cancelled"), closed=True), "CANCEL", NOW), "DESCRIPTION"
    )
    assert "http" not in description


@settings(max_examples=40, deadline=None)
@given(name=st.text(max_size=80), agenda=st.text(max_size=200), email=st.emails())
def test_whatever_people_write_stays_inside_its_property(name: str, agenda: str, email: str) -> None:
    session = appointment(agenda=agenda)
    ics = session_ics(shown(session, replace(ANN, email=email), replace(ASHA, name=name)), "REQUEST", NOW)
    assert [re.split("[:;]", line)[0] for line in lines(ics)] == PROPERTIES


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_a_name_is_one_line_that_turns_no_other(name: str) -> None:
    shown_ = one_line(name)
    assert shown_ == " ".join(shown_.split(" "))
    assert shown_.isprintable() or not re.search(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown_
    )


def test_a_name_from_right_to_left_leaves_what_follows_it_in_order() -> None:
    assert one_line("علی") == "علی\u200e"
    assert one_line("\u202eevil") == "evil"


def test_the_organizer_is_an_address_of_the_sender() -> None:
    assert organizer_address("Mentoring <mentoring@example.org>", "s") == "mentoring+s@example.org"
    assert organizer_address("mentoring@example.org", "s") == "mentoring+s@example.org"


# ------------------------------------------------------------------------------------------- moments in words

START = moment("2026-12-01T15:00", "Europe/London").start


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "Tuesday, 1 December 2026, 15:00 London (your time) · 20:30 Kolkata (Asha)"),
        ("de-AT", "Dienstag, 1. Dezember 2026, 15:00 London (Ihre Zeit) · 20:30 Kolkata (Asha)"),
        ("hi", "मंगलवार, 1 दिसंबर 2026, 15:00 London (आपका समय) · 20:30 Kolkata (Asha)"),
        ("xx", "Tuesday, 1 December 2026, 15:00 London (your time) · 20:30 Kolkata (Asha)"),
    ],
)
def test_both_times_in_the_readers_language(language: str, told: str) -> None:
    assert when(texts_for(language), START, "Europe/London", "Asia/Kolkata", "Asha") == told


def test_the_partners_date_is_told_where_it_is_another_one() -> None:
    told = when(LANGUAGES["en"], START, "Pacific/Auckland", "America/New_York", "Bo")
    assert told == "Wednesday, 2 December 2026, 04:00 Auckland (your time) · Tue 1 Dec, 10:00 New York (Bo)"
    assert when(LANGUAGES["en"], START, "UTC", "UTC", "Bo") == "Tuesday, 1 December 2026, 15:00 UTC"


def test_S9_a_time_that_comes_twice_is_told_with_its_offset() -> None:
    first = moment("2026-10-25T01:30", "Europe/London", 0).start
    assert short(LANGUAGES["en"], first, "Europe/London") == "Sun 25 Oct, 01:30 (UTC+01:00) (London)"
    again = moment("2026-10-25T01:30", "Europe/London", 1).start
    assert "01:30 (UTC+00:00)" in short(LANGUAGES["en"], again, "Europe/London")
    assert reading(again, "Europe/London").fold == 1


def test_every_language_fills_in_the_same() -> None:
    for name in LANGUAGES["en"].__struct_fields__:
        expected = _holes(getattr(LANGUAGES["en"], name))
        for language, texts in LANGUAGES.items():
            assert _holes(getattr(texts, name)) >= expected - {"name"}, (language, name)
            assert all(_all_texts(getattr(texts, name))), (language, name)


def _all_texts(value: object) -> list[str]:
    if isinstance(value, Letter):
        return [value.subject, value.opening, value.button]
    return list(value) if isinstance(value, tuple) else [str(value)]


def _holes(value: object) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", " ".join(_all_texts(value))))
