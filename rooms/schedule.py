"""What becomes of a session: pure decisions on its present value (PROTOCOL.md, rules S1 to S10).

A store reads an appointment, has it decided here, and writes the `Change` with its claims, events and notices in one
transaction. Time is passed in. What time brings about (`settle`) is always decided first, so that nobody acts on a session
that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from rooms import commands as c
from rooms import events as e
from rooms import zones
from rooms.errors import Conflict, Forbidden, Gone, Invalid, TooLarge
from rooms.membership import RoomRecord
from rooms.session import MINUTE_MS, Answer, Attendance, Proposal, Session, State
from rooms.zones import Moment

BUCKET_MS: Final = 5 * MINUTE_MS
"""The grain of claims (S3): two sessions of a person never touch the same bucket."""

NOW_MS: Final = MINUTE_MS
"""A wall time has no seconds, so that "now" may lie so far back."""

SYSTEM: Final = "system"

NoticeKind = Literal[
    "request", "confirmed", "cancel", "proposed", "proposal_declined", "proposal_expired"
]  # fmt: skip
"""`request`, `confirmed` and `cancel` carry a calendar object (iTIP REQUEST, REQUEST, CANCEL)."""


class Rules(Struct, frozen=True):
    """Bounds in milliseconds. `early`: so long before the start both may begin. `alone`: so long after it whoever waits is
    asked, and an unanswered request is over. `overrun`: a session goes on so long after its end while both are in the call.
    `buffer`: kept free after each session. `horizon`: how far ahead one may plan."""

    early_ms: int = 15 * MINUTE_MS
    alone_ms: int = 10 * MINUTE_MS
    proposal_ms: int = 72 * 60 * MINUTE_MS
    overrun_ms: int = 120 * MINUTE_MS
    buffer_ms: int = 0
    horizon_ms: int = 2 * 366 * 24 * 60 * MINUTE_MS
    minutes_max: int = 480


class Appointment(Struct, frozen=True):
    """A session with what only the server knows of it."""

    session: Session
    attendance: Attendance = Attendance()


class Notice(Struct, frozen=True):
    """Something to be said outside of the room, once per (session, its `seq`, recipient, kind, about) (S5). `about`: the
    proposal, where it is about one."""

    kind: NoticeKind
    recipient: str
    about: str = ""


class Change(Struct, frozen=True):
    """What is written together (S5). The store gives each event its `key` and `next`."""

    appointment: Appointment
    events: tuple[e.SessionEvent, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def session(self) -> Session:
        return self.appointment.session

    def then(self, later: Change) -> Change:
        """This and then that, as one."""
        return Change(later.appointment, self.events + later.events, self.notices + later.notices)


# ------------------------------------------------------------------------------------- what people do


def book(
    record: RoomRecord, person: str, command: c.SessionBook, session_id: str, uid: str, now: int, rules: Rules
) -> Change:
    """A request of one, which the other answers. Raises `Invalid` for a time that is none, or has passed (S9)."""
    when = _ahead(zones.moment(command.wall, command.tz, command.fold), now, rules)
    answers: dict[str, Answer] = {
        member.person: "accepted" if member.person == person else "needs_action" for member in record.members
    }
    session = Session(
        id=session_id,
        uid=uid,
        room=record.slug,
        state="requested",
        wall=when.wall,
        tz=when.tz,
        fold=when.fold,
        start=when.start,
        minutes=command.minutes,
        seq=0,
        rev=1,
        by=person,
        agenda=command.agenda or "",
        proposals=(),
        answers=answers,
    )
    event = e.SessionRequested(by=person, key="", session=session)
    return Change(Appointment(session), (event,), _to_all("request", session))


def decide(
    record: RoomRecord,
    appointment: Appointment,
    person: str,
    command: c.SessionCommand,
    new_id: str,
    now: int,
    rules: Rules,
) -> Change:
    """A change that somebody asks for. `new_id` names what it makes.

    Raises `Conflict` with `current` for a stale `rev` (S4) and for what a session under way does not allow (S10), `Gone`
    with `current` for one that is over, `Forbidden` for what the other side has to do, `Invalid` and `TooLarge` for a value.
    """
    settled = settle(appointment, now, rules)
    session = settled.session
    if command.rev != session.rev:
        raise Conflict(
            "The session has been changed meanwhile; here is how it is now.", field="rev", current=session
        )
    if not session.is_open:
        raise Gone("This session is over.", field="session", current=session)
    step: Callable[..., Change] = _STEPS[type(command)]
    return settled.then(step(_Asked(record, settled.appointment, person, new_id, now, rules), command))


class _Asked(Struct, frozen=True):
    """Everything a step depends on but the command itself."""

    record: RoomRecord
    appointment: Appointment
    person: str
    new_id: str
    now: int
    rules: Rules

    @property
    def session(self) -> Session:
        return self.appointment.session

    @property
    def unchanged(self) -> Change:
        return Change(self.appointment)

    def not_live(self, sentence: str) -> None:
        if self.session.state == "live":
            raise Conflict(sentence, field="session", current=self.session)

    def not_agreed_on(self) -> None:
        """In some pairs what is agreed on is only changed by agreeing again."""
        session = self.session
        if self.record.moves == "approve" and session.state == "confirmed":
            raise Forbidden(
                "In this pair a new time is agreed on first: please propose it.",
                field="session",
                current=session,
            )


def _move(asked: _Asked, command: c.SessionMove) -> Change:
    session = asked.session
    asked.not_live("The session is under way: extend it, or book another one to continue later.")
    asked.not_agreed_on()
    when = zones.moment(command.wall, command.tz, command.fold)
    minutes = command.minutes or session.minutes
    if (when.start, minutes) == (session.start, session.minutes):
        return asked.unchanged
    moved = replace(
        _at(session, _ahead(when, asked.now, asked.rules), minutes),
        by=asked.person if session.state == "requested" else session.by,
        answers=_asked_again(session, asked.person),
    )
    return _moved(session, moved, asked.person, command.reason or "")


def _propose(asked: _Asked, command: c.SessionPropose) -> Change:
    session = asked.session
    asked.not_live("The session is under way: extend it, or book another one to continue later.")
    minutes = command.minutes or session.minutes
    times = tuple(
        _ahead(
            zones.moment(t.wall, t.tz, t.fold, f"times[{index}]."), asked.now, asked.rules, f"times[{index}]."
        )
        for index, t in enumerate(command.times)
    )
    starts = [time.start for time in times]
    if len(set(starts)) < len(starts):
        raise Invalid("The same time is there twice.", field="times")
    if minutes == session.minutes and session.start in starts:
        raise Invalid("The session is at this time already.", field=f"times[{starts.index(session.start)}]")
    for theirs in session.proposals:
        if theirs.by != asked.person and theirs.minutes == minutes:
            for time in theirs.times:
                if time.start in starts:  # across each other, and both want this one
                    return _agreed(asked, theirs, time)
    proposal = Proposal(
        id=asked.new_id,
        by=asked.person,
        times=times,
        minutes=minutes,
        reason=command.reason or "",
        expires=min(asked.now + asked.rules.proposal_ms, max(starts), session.end),
    )
    kept = tuple(theirs for theirs in session.proposals if theirs.by != asked.person)
    after = replace(session, rev=session.rev + 1, proposals=(*kept, proposal))
    event = e.SessionProposed(by=asked.person, key="", session=after, proposal=proposal.id)
    notices = tuple(
        Notice("proposed", other, proposal.id) for other in after.answers if other != asked.person
    )
    return Change(replace(asked.appointment, session=after), (event,), notices)


def _answer(asked: _Asked, command: c.SessionAnswer) -> Change:
    if command.proposal is not None:
        return _answer_proposal(asked, command.proposal, command.accept)
    if command.accept is None:
        return _decline(asked)
    if command.accept != 0:
        raise Invalid("The session has one time: accept it with 0.", field="accept")
    session = asked.session
    if session.answers.get(asked.person) == "accepted":
        return asked.unchanged
    answers: dict[str, Answer] = {**session.answers, asked.person: "accepted"}
    state: State = "confirmed" if session.state == "requested" else session.state
    after = replace(session, rev=session.rev + 1, state=state, answers=answers)
    event = e.SessionConfirmed(by=asked.person, key="", session=after)
    return Change(replace(asked.appointment, session=after), (event,), _to_all("confirmed", after))


def _decline(asked: _Asked) -> Change:
    session = asked.session
    asked.not_live("The session is under way; it can be ended.")
    if session.state == "requested" and session.by == asked.person:
        raise Forbidden("It is for the other side to answer; you can cancel it.", field="accept")
    answers: dict[str, Answer] = {**session.answers, asked.person: "declined"}
    after = replace(_over(session, "declined"), answers=answers)
    event = e.SessionDeclined(by=asked.person, key="", session=after)
    return Change(replace(asked.appointment, session=after), (event,), _to_all("cancel", after))


def _answer_proposal(asked: _Asked, proposal_id: str, accept: int | None) -> Change:
    session = asked.session
    asked.not_live("The session is under way; nothing is proposed any more.")
    proposal = next((one for one in session.proposals if one.id == proposal_id), None)
    if proposal is None:
        raise Gone("This proposal is not open any more.", field="proposal", current=session)
    if accept is None:
        kept = tuple(one for one in session.proposals if one.id != proposal_id)
        after = replace(session, rev=session.rev + 1, proposals=kept)
        event = e.SessionDeclined(by=asked.person, key="", session=after, proposal=proposal_id)
        told = proposal.by != asked.person  # nobody is told of what they did themselves
        notices = (Notice("proposal_declined", proposal.by, proposal_id),) if told else ()
        return Change(replace(asked.appointment, session=after), (event,), notices)
    if proposal.by == asked.person:
        raise Forbidden("It is for the other side to answer; you can take it back.", field="accept")
    if not 0 <= accept < len(proposal.times):
        raise Invalid("The proposal has no such time.", field="accept")
    time = proposal.times[accept]
    if time.start < asked.now - NOW_MS:
        raise Gone("This time has passed.", field="accept", current=session)
    return _agreed(asked, proposal, time)


def _agreed(asked: _Asked, proposal: Proposal, time: Moment) -> Change:
    """Both want this time: it is the new one, and nobody is asked again (S2)."""
    session = asked.session
    answers: dict[str, Answer] = dict.fromkeys(session.answers, "accepted")
    moved = replace(_at(session, time, proposal.minutes), state="confirmed", answers=answers)
    return _moved(session, moved, asked.person, proposal.reason, proposal.id)


def _cancel(asked: _Asked, command: c.SessionCancel) -> Change:
    asked.not_live("The session is under way; it can be ended.")
    after = _over(asked.session, "cancelled")
    event = e.SessionCancelled(by=asked.person, key="", session=after, reason=command.reason or "")
    return Change(replace(asked.appointment, session=after), (event,), _to_all("cancel", after))


def _extend(asked: _Asked, command: c.SessionExtend) -> Change:
    session = asked.session
    if session.state == "requested":
        raise Conflict(
            "This session is not agreed on yet: move it instead.", field="session", current=session
        )
    if asked.now < session.start:
        asked.not_agreed_on()
    minutes = session.minutes + command.minutes
    if minutes > asked.rules.minutes_max:
        raise TooLarge(f"A session takes at most {asked.rules.minutes_max} minutes.", field="minutes")
    answers = session.answers if session.state == "live" else _asked_again(session, asked.person)
    after = replace(
        session, minutes=minutes, seq=session.seq + 1, rev=session.rev + 1, answers=answers, proposals=()
    )
    event = e.SessionExtended(by=asked.person, key="", session=after, minutes=command.minutes)
    return Change(replace(asked.appointment, session=after), (event,), _to_all("request", after))


def _agenda(asked: _Asked, command: c.SessionAgenda) -> Change:
    session = asked.session
    if command.agenda == session.agenda:
        return asked.unchanged
    after = replace(session, agenda=command.agenda, rev=session.rev + 1)
    event = e.SessionAgendaSet(by=asked.person, key="", session=after)
    return Change(replace(asked.appointment, session=after), (event,))


def _end(asked: _Asked, _: c.SessionEnd) -> Change:
    """Who came is what was measured: whoever says that it is over has not come by that."""
    session = asked.session
    if session.state == "live":
        return _finished(asked.appointment, asked.person, asked.now)
    if session.state == "requested" or asked.now < session.start + asked.rules.alone_ms:
        raise Conflict(
            "This session has not begun: it can be moved or cancelled.", field="session", current=session
        )
    return _finished(asked.appointment, asked.person, asked.now)


_STEPS: dict[type[c.Strict], Callable[[_Asked, Any], Change]] = {
    c.SessionMove: _move,
    c.SessionPropose: _propose,
    c.SessionAnswer: _answer,
    c.SessionCancel: _cancel,
    c.SessionExtend: _extend,
    c.SessionAgenda: _agenda,
    c.SessionEnd: _end,
}


# ------------------------------------------------------------------------------------- what time brings


def settle(appointment: Appointment, now: int, rules: Rules, together: bool | None = None) -> Change:
    """What time alone brings about. `together`: whether both are in the call; None when that is not known, and then a live
    session is only over after its overrun."""
    change = _proposals_expired(appointment, now)
    session = change.session
    match session.state:
        case "requested" if now >= session.start + rules.alone_ms:
            after = _over(session, "expired")
            event = e.SessionExpired(by=SYSTEM, key="", session=after)
            expired = Change(replace(change.appointment, session=after), (event,), _to_all("cancel", after))
            return change.then(expired)
        case "confirmed" if now >= session.end:
            return change.then(_finished(change.appointment, SYSTEM, now))
        case "live" if now >= session.end + (0 if together is False else rules.overrun_ms):
            return change.then(_finished(change.appointment, SYSTEM, _at_most(session, now, rules)))
    return change


def observe(
    appointment: Appointment, in_room: Collection[str], in_call: Collection[str], now: int, rules: Rules
) -> Change:
    """Who is there, from a quarter of an hour before the start on: attendance is kept, and with both in the call it
    begins."""
    session = appointment.session
    if not session.is_open or now < session.start - rules.early_ms:
        return settle(appointment, now, rules)
    members = session.answers.keys()
    calling = members & set(in_call)
    seen = replace(
        appointment,
        attendance=_attendance(
            appointment.attendance, members & {*in_room, *calling}, calling, _at_most(session, now, rules)
        ),
    )
    together = len(calling) == len(members)
    change = Change(seen)
    if together and session.state != "live" and now < session.end:
        answers: dict[str, Answer] = dict.fromkeys(session.answers, "accepted")
        live = replace(session, state="live", rev=session.rev + 1, answers=answers, proposals=())
        event = e.SessionStarted(by=SYSTEM, key="", session=live)
        change = Change(replace(seen, session=live), (event,))
    return change.then(settle(change.appointment, now, rules, together))


def observe_room(
    ahead: Sequence[Appointment],
    in_room: Collection[str],
    in_call: Collection[str],
    now: int,
    rules: Rules,
) -> list[Change]:
    """`observe` for a room's open sessions, in the order of their start. Who is there is there for one of them: the last
    that has begun and is not over, or if there is none the first ahead. So one that goes on is over when the next begins,
    and the next does not begin before."""
    on = [i for i, one in enumerate(ahead) if one.session.state == "live" or now < one.session.end]
    begun = [i for i in on if ahead[i].session.start <= now]
    this = begun[-1] if begun else next(iter(on), len(ahead))
    return [
        observe(one, in_room, in_call, now, rules)
        if i == this
        else settle(one, now, rules, False if i < this else None)
        for i, one in enumerate(ahead)
    ]


def withdraw(appointment: Appointment, now: int, rules: Rules) -> Change:
    """Its room is closed: what is under way is over, and what lies ahead is cancelled."""
    change = settle(appointment, now, rules)
    session = change.session
    if not session.is_open:
        return change
    if session.state == "live":
        return change.then(_finished(change.appointment, SYSTEM, now))
    after = _over(session, "cancelled")
    event = e.SessionCancelled(by=SYSTEM, key="", session=after)
    cancelled = Change(replace(change.appointment, session=after), (event,), _to_all("cancel", after))
    return change.then(cancelled)


def rederive(appointment: Appointment, now: int) -> Change | None:
    """S6: the same wall time under new rules of its zone; None where nothing changes. Not for what has begun. One whose zone
    is not in today's data (it was taken out, or another node has newer data) keeps its moment."""
    session = appointment.session
    if (
        not session.is_open
        or session.state == "live"
        or session.start <= now
        or not zones.is_zone(session.tz)
    ):
        return None
    start = zones.again(session.wall, session.tz, session.fold)
    if start == session.start:
        return None
    moved = _at(session, Moment(session.wall, session.tz, start, session.fold), session.minutes)
    return _moved(session, replace(moved, proposals=session.proposals), SYSTEM, "")


def keep_moment(appointment: Appointment) -> Change:
    """Where `rederive` would make somebody be in two sessions at once: the moment stays, and the wall time is what clocks
    show then (S3 before S6). Its `seq` stays, as for a calendar nothing has changed."""
    session = appointment.session
    shown = zones.reading(session.start, session.tz)
    after = replace(session, wall=shown.wall, fold=shown.fold, rev=session.rev + 1)
    event = e.SessionRescheduled(by=SYSTEM, key="", session=after, old=session.times, new=after.times)
    return Change(replace(appointment, session=after), (event,))


def due(session: Session, rules: Rules) -> int | None:
    """When time alone may change something next, milliseconds UTC; None: never again."""
    if not session.is_open:
        return None
    over = session.start + rules.alone_ms if session.state == "requested" else session.end
    return min((over, *(proposal.expires for proposal in session.proposals)))


def buckets(session: Session, rules: Rules) -> range:
    """The five-minute buckets since the epoch that each of its people gives to it (S3); none once it is over."""
    if not session.is_open:
        return range(0)
    return range(session.start // BUCKET_MS, -(-(session.end + rules.buffer_ms) // BUCKET_MS))


# --------------------------------------------------------------------------------------------- the parts


def _ahead(when: Moment, now: int, rules: Rules, field: str = "") -> Moment:
    if when.start < now - NOW_MS:
        raise Invalid("This time has passed already.", field=f"{field}wall")
    if when.start > now + rules.horizon_ms:
        raise Invalid("This is too far ahead.", field=f"{field}wall")
    return when


def _at(session: Session, when: Moment, minutes: int) -> Session:
    """S2: another start or duration is another `seq`. Open proposals were about the old time."""
    return replace(
        session,
        wall=when.wall,
        tz=when.tz,
        fold=when.fold,
        start=when.start,
        minutes=minutes,
        seq=session.seq + 1,
        rev=session.rev + 1,
        proposals=(),
    )


def _moved(before: Session, after: Session, by: str, reason: str, proposal: str | None = None) -> Change:
    """Whoever came to the old time has not come to the new one."""
    event = e.SessionRescheduled(
        by=by, key="", session=after, old=before.times, new=after.times, reason=reason, proposal=proposal
    )
    return Change(Appointment(after), (event,), _to_all("request", after))


def _over(session: Session, state: State) -> Session:
    """It does not take place: for a calendar that is a cancellation (S2)."""
    return replace(session, state=state, seq=session.seq + 1, rev=session.rev + 1, proposals=())


def _finished(appointment: Appointment, by: str, now: int) -> Change:
    """It has taken place, or somebody did not come."""
    session, attendance = appointment.session, appointment.attendance
    closed = _attendance(attendance, (), (), now)
    absent = tuple(sorted(person for person in session.answers if person not in attendance.came))
    over = replace(session, rev=session.rev + 1, proposals=())
    event: e.SessionEvent
    if session.state == "live" or not absent:
        after = replace(over, state="ended")
        event = e.SessionEnded(by=by, key="", session=after, attended=closed.seconds(now))
    else:
        after = replace(over, state="no_show", who=absent)
        event = e.SessionNoShow(by=by, key="", session=after, who=absent)
    return Change(Appointment(after, closed), (event,))


def _proposals_expired(appointment: Appointment, now: int) -> Change:
    session = appointment.session
    change = Change(appointment)
    for proposal in session.proposals if session.is_open else ():
        if proposal.expires <= now:
            session = change.session
            kept = tuple(one for one in session.proposals if one.id != proposal.id)
            after = replace(session, rev=session.rev + 1, proposals=kept)
            event = e.SessionExpired(by=SYSTEM, key="", session=after, proposal=proposal.id)
            notices = _to_all("proposal_expired", after, proposal.id)
            change = change.then(Change(replace(appointment, session=after), (event,), notices))
    return change


def _at_most(session: Session, now: int, rules: Rules) -> int:
    """The latest that somebody is in its call: whoever looks after an outage of a night has not seen a night of it."""
    return min(now, session.end + rules.overrun_ms)


def _attendance(before: Attendance, there: Collection[str], calling: Collection[str], now: int) -> Attendance:
    spent = dict(before.spent_ms)
    since = {person: at for person, at in before.since.items() if person in calling}
    for person, at in before.since.items():
        if person not in calling:
            spent[person] = spent.get(person, 0) + max(0, now - at)
    for person in calling:
        since.setdefault(person, now)
    return Attendance(tuple(sorted({*before.came, *there})), spent, since)


def _asked_again(session: Session, mover: str) -> dict[str, Answer]:
    return {person: "accepted" if person == mover else "needs_action" for person in session.answers}


def _to_all(kind: NoticeKind, session: Session, about: str = "") -> tuple[Notice, ...]:
    return tuple(Notice(kind, person, about) for person in session.answers)
