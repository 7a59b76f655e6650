"""What becomes of a session, one example for each decision (rules S1 to S10 of PROTOCOL.md)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from rooms import commands as c
from rooms import events as e
from rooms import schedule, zones
from rooms.errors import Conflict, Forbidden, Gone, Invalid, TooLarge
from rooms.membership import Member, RoomRecord
from rooms.schedule import Appointment, Change, Notice, Rules
from rooms.session import MINUTE_MS, Session, Times

pytestmark = pytest.mark.unit

RULES = Rules()
HOUR_MS = 60 * MINUTE_MS
NOW = 1_801_656_000_000
"""2027-02-03 12:00 UTC."""
PAIR = RoomRecord(
    "room",
    "Ada and Bea",
    (Member("ada", "Ada", "mentor", "Europe/London"), Member("bea", "Bea", "mentee", "Asia/Kolkata")),
)
CAREFUL = replace(PAIR, moves="approve")
THREE = "2027-02-03T15:00"
FOUR = "2027-02-03T16:00"
FIVE = "2027-02-03T17:00"


def utc(wall: str) -> int:
    return zones.moment(wall, "UTC").start


def booked(by: str = "bea", wall: str = THREE, minutes: int = 60) -> Appointment:
    command = c.SessionBook("room", "key", wall, "UTC", minutes, "bridges")
    return schedule.book(PAIR, by, command, "s1", "s1@host", NOW, RULES).appointment


def ask(
    appointment: Appointment, person: str, kind: Any, record: RoomRecord = PAIR, now: int = NOW, **fields: Any
) -> Change:
    rev = fields.pop("rev", appointment.session.rev)
    command = kind("room", appointment.session.id, rev, **fields)
    return schedule.decide(record, appointment, person, command, "p1", now, RULES)


def agreed(**fields: Any) -> Appointment:
    return ask(booked(**fields), "ada", c.SessionAnswer, accept=0).appointment


def live() -> Appointment:
    both = ("ada", "bea")
    return schedule.observe(agreed(), both, both, utc(THREE), RULES).appointment


def move(appointment: Appointment, person: str, wall: str, **fields: Any) -> Change:
    return ask(appointment, person, c.SessionMove, wall=wall, tz="UTC", **fields)


def propose(appointment: Appointment, person: str, *walls: str, **fields: Any) -> Change:
    times = [c.ProposedTime(wall, "UTC") for wall in walls]
    return ask(appointment, person, c.SessionPropose, times=times, **fields)


def kinds(change: Change) -> list[str]:
    return [str(event.__struct_config__.tag) for event in change.events]


def test_S1_a_request_holds_its_time_and_waits_for_the_other() -> None:
    command = c.SessionBook("room", "key", "2027-02-03T15:00", "Asia/Kolkata", 45, "bridges")
    change = schedule.book(PAIR, "bea", command, "s1", "s1@host", NOW - HOUR_MS * 9, RULES)
    assert change.session == Session(
        id="s1", uid="s1@host", room="room", state="requested", wall="2027-02-03T15:00", tz="Asia/Kolkata",
        start=utc("2027-02-03T09:30"), minutes=45, seq=0, rev=1, by="bea", agenda="bridges", proposals=(),
        answers={"ada": "needs_action", "bea": "accepted"},
    )  # fmt: skip
    assert kinds(change) == ["session.requested"]
    assert change.notices == (Notice("request", "ada"), Notice("request", "bea"))
    assert len(schedule.buckets(change.session, RULES)) == 9


@pytest.mark.parametrize(
    ("wall", "field"),
    [("2027-02-03T11:58", "wall"), ("2029-02-10T12:00", "wall"), ("2027-03-28T01:30", "wall"), ("soon", "wall")],
)  # fmt: skip
def test_S9_a_time_that_cannot_be_is_refused(wall: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        schedule.book(
            PAIR, "bea", c.SessionBook("room", "k", wall, "Europe/London", 60), "s", "u", NOW, RULES
        )
    assert refused.value.field == field


def test_a_session_may_begin_in_this_very_minute() -> None:
    shown = zones.reading(NOW, "UTC")
    command = c.SessionBook("room", "k", shown.wall, "UTC", 30)
    assert schedule.book(PAIR, "bea", command, "s", "u", NOW + 59_000, RULES).session.start == NOW


def test_the_other_side_accepts_and_it_is_confirmed() -> None:
    change = ask(booked(), "ada", c.SessionAnswer, accept=0)
    assert (change.session.state, change.session.seq, change.session.rev) == ("confirmed", 0, 2)
    assert set(change.session.answers.values()) == {"accepted"}
    assert kinds(change) == ["session.confirmed"]
    assert {notice.kind for notice in change.notices} == {"confirmed"}


def test_accepting_again_changes_nothing() -> None:
    appointment = agreed()
    assert ask(appointment, "ada", c.SessionAnswer, accept=0) == Change(appointment)


def test_S2_declining_cancels_it_for_every_calendar() -> None:
    change = ask(booked(), "ada", c.SessionAnswer)
    assert (change.session.state, change.session.seq) == ("declined", 1)
    assert change.session.answers == {"ada": "declined", "bea": "accepted"}
    assert kinds(change) == ["session.declined"]
    assert {notice.kind for notice in change.notices} == {"cancel"}
    assert not schedule.buckets(change.session, RULES)


def test_S2_who_moves_has_accepted_and_the_other_is_asked_again() -> None:
    before = agreed()
    change = move(before, "bea", FOUR, minutes=30, reason="the train")
    after = change.session
    assert (after.state, after.start, after.minutes) == ("confirmed", utc(FOUR), 30)
    assert (after.seq, after.rev) == (1, 3)
    assert after.answers == {"ada": "needs_action", "bea": "accepted"}
    assert change.events == (
        e.SessionRescheduled(
            by="bea", key="", session=after, reason="the train",
            old=Times(THREE, "UTC", utc(THREE), 60), new=Times(FOUR, "UTC", utc(FOUR), 30),
        ),
    )  # fmt: skip
    assert change.notices == (Notice("request", "ada"), Notice("request", "bea"))


def test_S2_the_same_moment_in_another_zone_is_no_move() -> None:
    before = agreed()
    change = ask(before, "bea", c.SessionMove, wall="2027-02-03T20:30", tz="Asia/Kolkata")
    assert change == Change(before)


def test_a_request_that_is_moved_by_the_other_side_is_theirs() -> None:
    change = move(booked(by="bea"), "ada", FOUR)
    assert (change.session.state, change.session.by) == ("requested", "ada")
    assert change.session.answers == {"ada": "accepted", "bea": "needs_action"}


def test_where_a_pair_agrees_first_a_confirmed_session_is_proposed_and_not_moved() -> None:
    with pytest.raises(Forbidden):
        move(agreed(), "bea", FOUR, record=CAREFUL)
    assert move(booked(), "bea", FOUR, record=CAREFUL).session.start == utc(FOUR)
    assert propose(agreed(), "bea", FOUR, record=CAREFUL).session.proposals
    with pytest.raises(Forbidden):
        ask(agreed(), "bea", c.SessionExtend, record=CAREFUL, minutes=60)
    running_over = ask(agreed(), "bea", c.SessionExtend, record=CAREFUL, minutes=15, now=utc(THREE))
    assert running_over.session.minutes == 75


def test_S4_a_stale_rev_is_answered_with_the_session_as_it_is() -> None:
    appointment = agreed()
    for kind, fields in (
        (c.SessionMove, {"wall": FOUR, "tz": "UTC"}),
        (c.SessionPropose, {"times": [c.ProposedTime(FOUR, "UTC")]}),
        (c.SessionAnswer, {"accept": 0}),
        (c.SessionCancel, {}),
        (c.SessionExtend, {"minutes": 15}),
        (c.SessionAgenda, {"agenda": "x"}),
        (c.SessionEnd, {}),
    ):
        for rev in (appointment.session.rev - 1, appointment.session.rev + 1):
            with pytest.raises(Conflict) as refused:
                ask(appointment, "ada", kind, rev=rev, **fields)
            assert (refused.value.field, refused.value.current) == ("rev", appointment.session)


def test_S8_a_proposal_leaves_the_old_time_alone() -> None:
    before = agreed()
    change = propose(before, "bea", FOUR, FIVE, minutes=30, reason="a clash")
    after = change.session
    assert after.times == before.session.times
    assert (after.seq, after.rev) == (0, 3)
    (proposal,) = after.proposals
    assert [time.start for time in proposal.times] == [utc(FOUR), utc(FIVE)]
    assert (proposal.id, proposal.by, proposal.minutes, proposal.reason) == ("p1", "bea", 30, "a clash")
    assert proposal.expires == utc(FOUR), "the old end comes before the last time"
    assert kinds(change) == ["session.proposed"]
    assert change.notices == (Notice("proposed", "ada", "p1"),)


def test_S2_a_proposed_time_that_is_accepted_needs_no_other_word() -> None:
    proposed = propose(agreed(), "bea", FOUR, FIVE, minutes=30).appointment
    change = ask(proposed, "ada", c.SessionAnswer, proposal="p1", accept=1)
    after = change.session
    assert (after.state, after.start, after.minutes, after.seq) == ("confirmed", utc(FIVE), 30, 1)
    assert set(after.answers.values()) == {"accepted"}
    assert after.proposals == ()
    assert kinds(change) == ["session.rescheduled"]
    assert change.events[0].by == "ada"


def test_one_may_take_a_proposal_back_and_the_other_decline_it() -> None:
    proposed = propose(agreed(), "bea", FOUR).appointment
    for person, told in (("bea", ()), ("ada", (Notice("proposal_declined", "bea", "p1"),))):
        change = ask(proposed, person, c.SessionAnswer, proposal="p1")
        assert change.session.proposals == ()
        assert change.session.state == "confirmed"
        assert (kinds(change), change.notices) == (["session.declined"], told)
    with pytest.raises(Forbidden):
        ask(proposed, "bea", c.SessionAnswer, proposal="p1", accept=0)
    with pytest.raises(Invalid):
        ask(proposed, "ada", c.SessionAnswer, proposal="p1", accept=1)
    with pytest.raises(Gone):
        ask(proposed, "ada", c.SessionAnswer, proposal="p0", accept=0)


def test_a_proposed_time_that_has_passed_is_not_accepted() -> None:
    proposed = propose(agreed(minutes=240), "bea", FOUR, "2027-02-03T18:00").appointment
    with pytest.raises(Gone) as refused:
        ask(proposed, "ada", c.SessionAnswer, proposal="p1", accept=0, now=utc(FIVE))
    assert refused.value.field == "accept"


def test_proposals_across_each_other_meet_at_the_common_time() -> None:
    first = propose(agreed(), "bea", FOUR, FIVE).appointment
    change = propose(first, "ada", "2027-02-03T18:00", FIVE)
    assert change.session.start == utc(FIVE)
    assert set(change.session.answers.values()) == {"accepted"}
    assert kinds(change) == ["session.rescheduled"]


def test_proposals_across_each_other_that_do_not_meet_stand_beside_each_other() -> None:
    first = propose(agreed(), "bea", FOUR).appointment
    command = c.SessionPropose("room", "s1", first.session.rev, [c.ProposedTime(FIVE, "UTC")])
    change = schedule.decide(PAIR, first, "ada", command, "p2", NOW, RULES)
    assert [one.id for one in change.session.proposals] == ["p1", "p2"]
    accepted = ask(change.appointment, "bea", c.SessionAnswer, proposal="p2", accept=0)
    assert accepted.session.proposals == (), "accepting one closes the others"


def test_a_new_proposal_replaces_ones_own() -> None:
    first = propose(agreed(), "bea", FOUR).appointment
    command = c.SessionPropose("room", "s1", first.session.rev, [c.ProposedTime(FIVE, "UTC")])
    change = schedule.decide(PAIR, first, "bea", command, "p2", NOW, RULES)
    assert [one.id for one in change.session.proposals] == ["p2"]


@pytest.mark.parametrize(
    ("walls", "field"),
    [
        ((FOUR, FOUR), "times"),
        ((FOUR, THREE), "times[1]"),
        ((FOUR, "2027-02-03T11:00"), "times[1].wall"),
        ((FOUR, "x"), "times[1].wall"),
    ],
)
def test_T4_a_proposal_of_what_cannot_be_says_which(walls: tuple[str, ...], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        propose(agreed(), "bea", *walls)
    assert refused.value.field == field


def test_silence_lets_a_proposal_expire_and_both_are_told() -> None:
    proposed = propose(agreed(wall="2027-03-03T15:00"), "bea", "2027-03-03T16:00").appointment
    expires = proposed.session.proposals[0].expires
    assert expires == NOW + RULES.proposal_ms
    assert schedule.due(proposed.session, RULES) == expires
    assert schedule.settle(proposed, expires - 1, RULES) == Change(proposed)
    change = schedule.settle(proposed, expires, RULES)
    assert (change.session.state, change.session.times) == ("confirmed", proposed.session.times)
    assert change.session.proposals == ()
    assert kinds(change) == ["session.expired"]
    assert change.notices == (
        Notice("proposal_expired", "ada", "p1"),
        Notice("proposal_expired", "bea", "p1"),
    )


def test_a_request_that_nobody_answers_is_over_ten_minutes_after_its_start() -> None:
    late = utc(THREE) + RULES.alone_ms
    assert schedule.settle(booked(), late - 1, RULES) == Change(booked())
    change = schedule.settle(booked(), late, RULES)
    assert (change.session.state, change.session.seq) == ("expired", 1)
    with pytest.raises(Gone):
        ask(change.appointment, "ada", c.SessionAnswer, accept=0, now=late)


def test_what_is_due_is_found_by_whoever_comes_next() -> None:
    with pytest.raises(Conflict) as refused:
        ask(booked(), "ada", c.SessionAnswer, accept=0, now=utc(THREE) + RULES.alone_ms)
    assert isinstance(refused.value.current, Session)
    assert refused.value.current.state == "expired"


@pytest.mark.parametrize(
    ("minutes_before", "callers", "begins"),
    [(16, ("ada", "bea"), False), (15, ("ada", "bea"), True), (15, ("ada",), False), (0, ("ada", "eve"), False)],
)  # fmt: skip
def test_live_is_both_in_the_call_from_a_quarter_of_an_hour_before(
    minutes_before: int, callers: tuple[str, ...], begins: bool
) -> None:
    now = utc(THREE) - minutes_before * MINUTE_MS
    for appointment in (booked(), agreed()):
        change = schedule.observe(appointment, callers, callers, now, RULES)
        assert (change.session.state == "live") == begins
        assert kinds(change) == (["session.started"] if begins else [])


def test_both_in_the_room_are_not_yet_in_the_call() -> None:
    change = schedule.observe(agreed(), ("ada", "bea"), ("ada",), utc(THREE), RULES)
    assert change.session.state == "confirmed"
    assert change.appointment.attendance.came == ("ada", "bea")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (c.SessionMove, {"wall": FOUR, "tz": "UTC"}),
        (c.SessionPropose, {"times": [c.ProposedTime(FOUR, "UTC")]}),
        (c.SessionAnswer, {}),
        (c.SessionCancel, {}),
    ],
)
def test_S10_what_is_under_way_is_not_moved(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(Conflict) as refused:
        ask(live(), "ada", kind, now=utc(THREE), **fields)
    assert refused.value.field == "session"
    assert isinstance(refused.value.current, Session)


def test_S10_it_is_extended() -> None:
    before = live()
    change = ask(before, "bea", c.SessionExtend, minutes=30, now=utc(THREE))
    assert (change.session.state, change.session.minutes, change.session.seq) == ("live", 90, 1)
    assert change.session.answers == before.session.answers
    assert kinds(change) == ["session.extended"]
    with pytest.raises(TooLarge):
        ask(before, "bea", c.SessionExtend, minutes=421, now=utc(THREE))
    with pytest.raises(Conflict):
        ask(booked(), "bea", c.SessionExtend, minutes=15)


def test_a_live_session_ends_when_its_time_is_over_and_one_has_left() -> None:
    appointment, end = live(), utc(FOUR)
    both = ("ada", "bea")
    assert schedule.observe(appointment, both, both, end + 1, RULES).session.state == "live"
    left = schedule.observe(appointment, both, ("ada",), end - MINUTE_MS, RULES)
    assert left.session.state == "live", "whoever left may come back"
    change = schedule.observe(left.appointment, ("ada",), ("ada",), end, RULES)
    assert change.session.state == "ended"
    assert change.events[-1] == e.SessionEnded(
        by="system", key="", session=change.session, attended={"ada": 3600, "bea": 3540}
    )
    assert schedule.settle(appointment, end + RULES.overrun_ms - 1, RULES).session.state == "live"
    assert schedule.settle(appointment, end + RULES.overrun_ms, RULES).session.state == "ended"


def test_attendance_adds_up_over_leaving_and_coming_back() -> None:
    start, both = utc(THREE), ("ada", "bea")
    appointment = schedule.observe(agreed(), ("bea",), ("bea",), start - 5 * MINUTE_MS, RULES).appointment
    for minute, callers in ((0, both), (10, ("ada",)), (20, both), (59, ())):
        appointment = schedule.observe(
            appointment, callers, callers, start + minute * MINUTE_MS, RULES
        ).appointment
    end = schedule.settle(appointment, utc(FOUR), RULES, together=False)
    assert end.events[-1].attended == {"ada": 59 * 60, "bea": 54 * 60}  # type: ignore[union-attr]


@pytest.mark.parametrize("there", [(), ("ada",), None])
def test_a_night_in_which_nobody_looked_was_not_spent_in_the_call(there: tuple[str, ...] | None) -> None:
    morning = utc(FOUR) + 12 * HOUR_MS
    if there is None:
        change = schedule.settle(live(), morning, RULES)
    else:
        change = schedule.observe(live(), there, there, morning, RULES)
    assert change.events[-1].attended == {"ada": 3 * 3600, "bea": 3 * 3600}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("there", "who", "state"),
    [((), ("ada", "bea"), "no_show"), (("ada",), ("bea",), "no_show"), (("ada", "bea"), (), "ended")],
)
def test_who_did_not_come_is_known_at_the_end(
    there: tuple[str, ...], who: tuple[str, ...], state: str
) -> None:
    seen = schedule.observe(agreed(), there, (), utc(THREE) + MINUTE_MS, RULES).appointment
    assert schedule.settle(seen, utc(FOUR) - 1, RULES) == Change(seen)
    change = schedule.settle(seen, utc(FOUR), RULES)
    assert (change.session.state, change.session.who, change.session.seq) == (state, who, 0)
    assert not schedule.buckets(change.session, RULES), "it blocks no other"


def test_whoever_waits_may_give_up_ten_minutes_after_the_start() -> None:
    seen = schedule.observe(agreed(), ("ada",), (), utc(THREE), RULES).appointment
    with pytest.raises(Conflict):
        ask(seen, "ada", c.SessionEnd, now=utc(THREE) + RULES.alone_ms - 1)
    change = ask(seen, "ada", c.SessionEnd, now=utc(THREE) + RULES.alone_ms)
    assert (change.session.state, change.session.who) == ("no_show", ("bea",))
    assert ask(live(), "ada", c.SessionEnd, now=utc(THREE) + 1).session.state == "ended"


@pytest.mark.parametrize(("there", "who"), [((), ("ada", "bea")), (("bea",), ("ada",))])
def test_nobody_has_come_by_saying_that_the_other_has_not(
    there: tuple[str, ...], who: tuple[str, ...]
) -> None:
    """Over HTTP it can be said from anywhere."""
    seen = schedule.observe(agreed(), there, (), utc(THREE), RULES).appointment
    change = ask(seen, "ada", c.SessionEnd, now=utc(THREE) + RULES.alone_ms)
    assert (change.session.state, change.session.who) == ("no_show", who)


def test_whoever_came_to_the_old_time_has_not_come_to_the_new_one() -> None:
    seen = schedule.observe(agreed(), ("ada", "bea"), (), utc(THREE), RULES).appointment
    moved = move(seen, "ada", FOUR, now=utc(THREE)).appointment
    assert schedule.settle(moved, utc(FIVE), RULES).session.who == ("ada", "bea")


def test_the_agenda_touches_no_calendar() -> None:
    change = ask(agreed(), "bea", c.SessionAgenda, agenda="tunnels")
    assert (change.session.agenda, change.session.seq, change.session.rev) == ("tunnels", 0, 3)
    assert kinds(change) == ["session.agenda_set"]
    assert change.notices == ()
    assert ask(change.appointment, "ada", c.SessionAgenda, agenda="tunnels") == Change(change.appointment)


@pytest.mark.parametrize("kind", [c.SessionCancel, c.SessionEnd, c.SessionAnswer])
def test_what_is_over_stays_over(kind: Any) -> None:
    over = ask(agreed(), "bea", c.SessionCancel, reason="ill")
    assert (over.session.state, over.session.seq) == ("cancelled", 1)
    with pytest.raises(Gone) as refused:
        ask(over.appointment, "ada", kind)
    assert refused.value.current == over.session
    assert schedule.due(over.session, RULES) is None


def test_S6_new_rules_of_a_zone_move_the_moment_and_not_the_wall_time() -> None:
    appointment = agreed()
    other = replace(appointment, session=replace(appointment.session, start=utc(THREE) + HOUR_MS))
    change = schedule.rederive(other, NOW)
    assert change is not None
    assert (change.session.start, change.session.wall, change.session.seq) == (utc(THREE), THREE, 1)
    assert change.session.answers == appointment.session.answers
    assert [event.by for event in change.events] == ["system"]
    assert schedule.rederive(appointment, NOW) is None
    assert schedule.rederive(other, utc(THREE) + HOUR_MS) is None, "not what has begun"
    nowhere = replace(other, session=replace(other.session, tz="Europe/Atlantis"))
    assert schedule.rederive(nowhere, NOW) is None, "a zone that was taken out keeps no other from it"


def test_S3_before_S6_where_the_new_moment_is_taken_the_wall_time_moves() -> None:
    appointment = agreed()
    other = replace(appointment, session=replace(appointment.session, start=utc(THREE) + HOUR_MS))
    change = schedule.keep_moment(other)
    assert (change.session.wall, change.session.start, change.session.seq) == (FOUR, utc(FOUR), 0)


def test_S3_whatever_touches_five_minutes_takes_them() -> None:
    session = booked(wall="2027-02-03T15:04", minutes=32).session
    first = utc(THREE) // schedule.BUCKET_MS
    assert schedule.buckets(session, RULES) == range(first, first + 8)


def test_S3_a_pause_is_kept_after_a_session() -> None:
    session = agreed(minutes=50).session
    assert len(schedule.buckets(session, RULES)) == 10
    assert len(schedule.buckets(session, Rules(buffer_ms=10 * MINUTE_MS))) == 12
