"""Sessions as a state machine: any history of two pairs that share a mentor, and after each step what must hold (rules S1 to
S10 of PROTOCOL.md)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rooms import commands as c
from rooms import events as e
from rooms import schedule, zones
from rooms.errors import Conflict, Gone, Invalid, RoomError
from rooms.membership import Member, RoomRecord
from rooms.schedule import Appointment, Change, Rules
from rooms.session import MINUTE_MS, OPEN, Session, Times

pytestmark = pytest.mark.unit

RULES = Rules()
NOON = 1_801_656_000_000
"""2027-02-03 12:00 UTC."""

MENTOR = Member("mentor", "A", "mentor", "Europe/London")
RECORDS = {
    "one": RoomRecord("one", "A and B", (MENTOR, Member("b", "B", "mentee", "Asia/Kolkata"))),
    "two": RoomRecord(
        "two", "A and C", (MENTOR, Member("c", "C", "mentee", "America/New_York")), moves="approve"
    ),
}
ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "America/New_York")

who = st.sampled_from((("one", "mentor"), ("one", "b"), ("two", "mentor"), ("two", "c")))
slots = st.sampled_from((-2, *range(13)))
"""Quarters of an hour from now: few, so that histories collide."""
which = st.sampled_from((0, 0, 0, 0, 1, 1, 2, 5))
"""Of the sessions, those that are open first: so that a history goes on with one."""
olds = st.sampled_from((False,) * 9 + (True,))
"""Whether somebody saw an older `rev` (S4)."""
lengths = st.sampled_from((15, 32, 60))


class Histories(RuleBasedStateMachine):
    """Books and moves, proposes and answers, extends and ends; people come, go and are cut off; time passes; what was
    seen may be old."""

    @initialize()
    def begin(self) -> None:
        self.now = NOON
        self.kept: dict[str, Appointment] = {}
        self.claims: dict[tuple[str, int], str] = {}
        self.log: list[e.SessionEvent] = []
        self.born: dict[str, Session] = {}
        self.told: set[tuple[str, int, str, str, str]] = set()
        self.made = 0
        self.calls: dict[str, set[str]] = {"one": set(), "two": set()}

    # What a store does with a change

    def commit(self, before: Appointment | None, change: Change) -> None:
        after = change.session
        wanted = {(person, bucket) for person in after.answers for bucket in schedule.buckets(after, RULES)}
        taken = {claim for claim in wanted if self.claims.get(claim, after.id) != after.id}
        if taken:
            raise Conflict(field="wall", current=before.session if before else None)
        self.claims = {claim: by for claim, by in self.claims.items() if by != after.id}
        self.claims |= dict.fromkeys(wanted, after.id)
        self.kept[after.id] = change.appointment
        self.born.setdefault(after.id, after)
        self.log += change.events
        self.check_step(before, change)

    def check_step(self, before: Appointment | None, change: Change) -> None:
        after = change.session
        if before is None:
            assert (after.seq, after.rev, after.state) == (0, 1, "requested")
        else:
            old = before.session
            moved = (old.start, old.minutes) != (after.start, after.minutes)
            called_off = old.is_open and after.state in ("declined", "expired", "cancelled")
            assert after.seq == old.seq + moved + called_off, "S2"
            assert old.is_open or after == old, "what is over stays as it is"
            assert (after.rev > old.rev) == (after != old), "S4"
            assert bool(change.events) == (after != old), "whoever sees the log sees every change"
            rescheduled = [one for one in change.events if isinstance(one, e.SessionRescheduled)]
            extended = any(isinstance(one, e.SessionExtended) for one in change.events)
            assert len(rescheduled) == (moved and not extended), "S8: one for each move"
            for one in rescheduled:
                assert (one.old, one.new) == (old.times, after.times)
            if old.state == "live":
                assert after.start == old.start, "S10"
                assert after.state in ("live", "ended"), "S10"
        if change.events:
            assert change.events[-1].session == after
        for notice in change.notices:
            told = (after.id, after.seq, notice.recipient, notice.kind, notice.about)
            # A confirmation may be said again at the same time, after an answer was changed; all else is new.
            assert told not in self.told or notice.kind == "confirmed", "S5"
            self.told.add(told)

    def attempt(self, session_id: str, decide: Callable[[Appointment], Change]) -> RoomError | None:
        before, claims, length = dict(self.kept), dict(self.claims), len(self.log)
        try:
            self.commit(self.kept[session_id], decide(self.kept[session_id]))
        except RoomError as refused:
            assert (before, claims, length) == (self.kept, self.claims, len(self.log)), "nothing is changed"
            return refused
        return None

    def some(self, choice: int) -> str | None:
        ids = sorted(
            self.kept, key=lambda id_: (not self.kept[id_].session.is_open, self.kept[id_].session.start, id_)
        )
        return ids[choice % len(ids)] if ids else None

    def time(self, slot: int, tz: str) -> dict[str, Any]:
        quarter = 15 * MINUTE_MS
        shown = zones.reading((self.now // quarter + slot) * quarter, tz)
        return {"wall": shown.wall, "tz": tz, "fold": shown.fold}

    def ask(
        self, choice: int, member: int, old_rev: bool, make: Callable[[Session], c.SessionCommand]
    ) -> None:
        session_id = self.some(choice)
        if session_id is None:
            return
        appointment = self.kept[session_id]
        session = appointment.session
        record = RECORDS[session.room]
        person = record.members[member].person
        self.made += 1
        command = make(session)
        refused = self.attempt(
            session_id,
            lambda kept: schedule.decide(record, kept, person, command, f"p{self.made}", self.now, RULES),
        )
        if old_rev and schedule.settle(appointment, self.now, RULES).session.rev != session.rev - 1:
            assert isinstance(refused, Conflict), "S4"
            assert refused.field == "rev"
            assert isinstance(refused.current, Session)
            assert refused.current.id == session_id
        if not session.is_open and not old_rev:
            assert isinstance(refused, Gone)
        if session.state == "live" and isinstance(
            command, c.SessionMove | c.SessionPropose | c.SessionCancel
        ) and not old_rev:  # fmt: skip
            assert refused is not None, "S10"

    # What people do

    @rule(by=who, slot=slots, minutes=lengths, tz=st.sampled_from(ZONES))
    def book(self, by: tuple[str, str], slot: int, minutes: int, tz: str) -> None:
        slug, person = by
        self.made += 1
        command = c.SessionBook(slug, f"key{self.made}", **self.time(slot, tz), minutes=minutes)
        try:
            self.commit(
                None,
                schedule.book(
                    RECORDS[slug], person, command, f"s{self.made}", f"s{self.made}@h", self.now, RULES
                ),
            )
        except Invalid:
            assert slot < 0 or self.now % (15 * MINUTE_MS) > schedule.NOW_MS
        except Conflict:
            pass

    @rule(choice=which, member=st.integers(0, 1), slot=slots, minutes=st.none() | lengths,
          tz=st.sampled_from(ZONES), old=olds)  # fmt: skip
    def move(self, choice: int, member: int, slot: int, minutes: int | None, tz: str, old: bool) -> None:
        self.ask(choice, member, old, lambda s: c.SessionMove(
            s.room, s.id, s.rev - old, **self.time(slot, tz), minutes=minutes))  # fmt: skip

    @rule(choice=which, member=st.integers(0, 1), times=st.lists(slots, min_size=1, max_size=5),
          minutes=st.none() | lengths, old=olds)  # fmt: skip
    def propose(self, choice: int, member: int, times: list[int], minutes: int | None, old: bool) -> None:
        self.ask(choice, member, old, lambda s: c.SessionPropose(
            s.room, s.id, s.rev - old, [c.ProposedTime(**self.time(slot, "UTC")) for slot in times], minutes))  # fmt: skip

    @rule(choice=which, member=st.integers(0, 1), proposal=st.none() | st.integers(0, 1),
          accept=st.sampled_from((0, 0, 0, 1, 4, -1, None)), old=olds)  # fmt: skip
    def answer(self, choice: int, member: int, proposal: int | None, accept: int | None, old: bool) -> None:
        def make(session: Session) -> c.SessionCommand:
            ids = [one.id for one in session.proposals]
            named = None if proposal is None else ids[proposal] if proposal < len(ids) else "p-unknown"
            return c.SessionAnswer(session.room, session.id, session.rev - old, named, accept)

        self.ask(choice, member, old, make)

    @rule(choice=which, member=st.integers(0, 1), old=olds)
    def cancel(self, choice: int, member: int, old: bool) -> None:
        self.ask(choice, member, old, lambda s: c.SessionCancel(s.room, s.id, s.rev - old))

    @rule(choice=which, member=st.integers(0, 1), minutes=lengths, old=olds)
    def extend(self, choice: int, member: int, minutes: int, old: bool) -> None:
        self.ask(choice, member, old, lambda s: c.SessionExtend(s.room, s.id, s.rev - old, minutes))

    @rule(choice=which, member=st.integers(0, 1), agenda=st.sampled_from(("", "bridges")))
    def agenda(self, choice: int, member: int, agenda: str) -> None:
        self.ask(choice, member, False, lambda s: c.SessionAgenda(s.room, s.id, s.rev, agenda))

    @rule(choice=which, member=st.integers(0, 1), old=olds)
    def end(self, choice: int, member: int, old: bool) -> None:
        self.ask(choice, member, old, lambda s: c.SessionEnd(s.room, s.id, s.rev - old))

    @rule(choice=which)
    def agree(self, choice: int) -> None:
        """Whoever was asked says yes."""
        for member in (0, 1):
            self.ask(choice, member, False, lambda s: c.SessionAnswer(s.room, s.id, s.rev, None, 0))

    # What happens

    @rule(slug=st.sampled_from(("one", "two")), minutes=st.integers(0, 20))
    def both_come(self, slug: str, minutes: int) -> None:
        """To the next session of their room, or near it."""
        starts = [
            kept.session.start
            for kept in self.kept.values()
            if kept.session.is_open and kept.session.room == slug
        ]
        if starts:
            self.now = max(self.now, min(starts) - minutes * MINUTE_MS)
            self.calls[slug] = set(RECORDS[slug].others("nobody"))
            self.look()

    @rule(by=who, there=st.booleans(), seen=st.booleans())
    def comes_or_goes(self, by: tuple[str, str], there: bool, seen: bool) -> None:
        """`seen` False: the node dies before it says so, and somebody looks later."""
        slug, person = by
        (self.calls[slug].add if there else self.calls[slug].discard)(person)
        if seen:
            self.look()

    @rule()
    def look(self) -> None:
        for session_id in list(self.kept):
            room = self.kept[session_id].session.room
            calling = frozenset(self.calls[room])
            refused = self.attempt(
                session_id, lambda kept, calling=calling: schedule.observe(kept, calling, calling, self.now, RULES)  # type: ignore[misc]
            )  # fmt: skip
            assert refused is None, "what time brings about is never refused"

    @rule(minutes=st.integers(1, 40), kept_time=st.booleans())
    def time_passes(self, minutes: int, kept_time: bool) -> None:
        """`kept_time` False: nobody kept it, so what is due is found by whoever comes next."""
        self.now += minutes * MINUTE_MS
        if kept_time:
            for session_id in list(self.kept):
                if (
                    self.attempt(session_id, lambda kept: schedule.settle(kept, self.now, RULES))
                ) is not None:
                    raise AssertionError("what time brings about is never refused")
                session = self.kept[session_id].session
                later = schedule.due(session, RULES)
                assert later is None or later > self.now or session.state == "live", "no work is left over"

    # What always holds

    @invariant()
    def nobody_is_in_two_sessions_at_once(self) -> None:
        """S3, by the clock and not by claims."""
        for person in ("mentor", "b", "c"):
            mine = sorted(
                (kept.session.start, kept.session.end)
                for kept in self.kept.values()
                if kept.session.is_open and person in kept.session.answers
            )
            assert all(one[1] <= other[0] for one, other in itertools.pairwise(mine)), "S3"

    @invariant()
    def links_and_names_stay(self) -> None:
        for session_id, first in self.born.items():
            now = self.kept[session_id].session
            assert (now.id, now.uid, now.room) == (first.id, first.uid, first.room), "S1"
            assert zones.again(now.wall, now.tz, now.fold) == now.start, "S6"

    @invariant()
    def the_log_tells_it_all(self) -> None:
        told: dict[str, Session] = {}
        for event in self.log:
            told[event.session.id] = event.session
        assert told == {id_: kept.session for id_, kept in self.kept.items()}

    @invariant()
    def states_are_what_they_say(self) -> None:
        for kept in self.kept.values():
            session = kept.session
            assert (session.state in OPEN) == session.is_open
            if session.state in ("confirmed", "live"):
                assert "declined" not in session.answers.values()
            if session.state == "no_show":
                assert session.who
                assert not set(session.who) & set(kept.attendance.came)
            if not session.is_open or session.state == "live":
                assert not session.proposals
            assert len({one.by for one in session.proposals}) == len(session.proposals)
            assert all(spent >= 0 for spent in kept.attendance.spent_ms.values())


HISTORIES = 300
TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=HISTORIES, stateful_step_count=40, deadline=None)


@pytest.mark.slow  # the same with a hundred times as many: `pytest -m slow tests/unit/test_session_histories.py`
def test_many_histories() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Histories, settings=settings(max_examples=HISTORIES * 100, stateful_step_count=40, deadline=None)
    )


def test_times_say_what_a_move_was() -> None:
    session = Session(
        "s", "s@h", "one", "confirmed", "2027-02-03T15:00", "UTC", NOON, 30, 3, 4, "b", "", (), {}
    )
    assert session.times == Times("2027-02-03T15:00", "UTC", NOON, 30)
