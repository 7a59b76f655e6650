"""The call of a room: ring, answer, move, hang up, vanish, resume (rules K1–K4, R4). Time and new ids are passed in.

nothing ──join──▶ ringing ──other joins──▶ answered ──last leave──▶ call.ended
                     │ decline, 45 s: quiet                │ all vanish
                     └──last leave──▶ call.missed          └──10 min──▶ call.ended
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from rooms import presence
from rooms.commands import CallJoin, CallMedia
from rooms.errors import Conflict, Gone
from rooms.events import CallEnded, CallMissed, CallStarted, Event
from rooms.live import Call, Decision, Live, Notice, Peer
from rooms.pushes import MediaShown, QuietPush, RingPush


class CallRules(Struct, frozen=True):
    """Ring long enough to walk to the desk; a grace for a lift or a reload; a resume for a rebooted laptop."""

    ring_ms: int = 45_000
    away_ms: int = 30_000
    resume_ms: int = 600_000


class Here(Struct, frozen=True):
    """Who acts, where, and when. `members` are all persons of the room."""

    slug: str
    peer: str
    person: str
    members: tuple[str, ...]
    now: int


def join(live: Live, here: Here, command: CallJoin, new_call: str, rules: CallRules) -> Decision:
    """K1: start the call, answer it, move it to this device, or resume it. Raises `Gone` for a call that is over."""
    me = _present(live, here)
    decision = Decision(live)
    if command.call is not None and (live.call is None or live.call.id != command.call):
        raise Gone("This call is over.", field="call")
    if command.call is None and live.call is not None and not live.callers():
        # Everybody vanished and somebody calls anew: the old call ended when it was left, and the partner is rung again.
        decision = _end(live, live.call, "system", here.slug, here.members, live.call.empty_since or here.now)
    if decision.live.call is None:
        decision = decision.then(_start(decision.live, here, new_call, rules))
    elif here.person != decision.live.call.by and not decision.live.call.answered:
        decision = decision.then(_answer(decision.live, decision.live.call, here))
    return decision.then(Decision(_with_leg(decision.live, me, command)))


def leave(live: Live, here: Here, call: str) -> Decision:
    """K1: hang up. The last one to leave ends the call. Raises `Gone` for a call that is over; leaving one in which one is
    not changes nothing."""
    if live.call is None or live.call.id != call:
        raise Gone("This call is over.", field="call")
    return _hang_up(live, here)


def leave_room(live: Live, here: Here) -> Decision:
    """R6: out of the room at once, and out of its call."""
    decision = _hang_up(live, here)
    return replace(decision, live=decision.live.without_peer(here.peer))


def decline(live: Live, here: Here, call: str) -> Decision:
    """K1: no. Raises `Gone` for a call that is over; a call that no longer rings stays as it is."""
    if live.call is None or live.call.id != call:
        raise Gone("This call is over.", field="call")
    if live.call.ring_until is None or here.person == live.call.by:
        return Decision(live)
    return _quiet(live, live.call, here.slug, here.members, "declined")


def media(live: Live, here: Here, command: CallMedia) -> Decision:
    """K4. Raises `Conflict` for somebody who is not in that call."""
    me = _present(live, here)
    if live.call is None or live.call.id != command.call or me.media is None:
        raise Conflict("You are not in this call.", field="call")
    return Decision(live.with_peer(replace(me, media=MediaShown.of(command.media))))


def settle(
    live: Live,
    slug: str,
    members: tuple[str, ...],
    lost_at: Callable[[Peer], int | None],
    now: int,
    rules: CallRules,
) -> Decision:
    """What time alone brings about: dead nodes' people away, the away gone, ringing over, an abandoned call ended.
    `lost_at` says since when a peer's socket is gone, or None while it is there."""
    live = presence.drop_lost(live, lost_at, rules.away_ms)
    decision = Decision(presence.expire(live, now))
    call = decision.live.call
    if call is None:
        return decision
    if call.ring_until is not None:
        if not decision.live.callers():
            decision = decision.then(_quiet(decision.live, call, slug, members, "cancelled"))
        elif call.ring_until <= now:
            decision = decision.then(_quiet(decision.live, call, slug, members, "timeout"))
    call = decision.live.call or call
    if call.empty_since is not None and call.empty_since + rules.resume_ms <= now:
        decision = decision.then(_end(decision.live, call, "system", slug, members, call.empty_since))
    return decision


def deadline(live: Live, rules: CallRules) -> int | None:
    """When `settle` has something to do next (ms UTC); None: nothing waits for time."""
    due = [peer.away_until for peer in live.peers.values() if peer.away_until is not None]
    if live.call is not None:
        if live.call.ring_until is not None:
            due.append(live.call.ring_until)
        if live.call.empty_since is not None:
            due.append(live.call.empty_since + rules.resume_ms)
    return min(due, default=None)


def derived_key(call: str, what: str) -> str:
    """The key of an event of the server's own: the same for every node that decides the same thing."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{call}/{what}"))


def _present(live: Live, here: Here) -> Peer:
    me = live.peers.get(here.peer)
    if me is None:
        raise Conflict("Please join the room first.", field="room")
    return me


def _start(live: Live, here: Here, new_call: str, rules: CallRules) -> Decision:
    others = tuple(person for person in here.members if person != here.person)
    call = Call(
        id=new_call, by=here.person, since=here.now, ring_until=here.now + rules.ring_ms if others else None
    )
    started = CallStarted(by=here.person, key=derived_key(new_call, "started"), call=new_call)
    ring = RingPush(room=here.slug, call=new_call, by=here.person)
    return Decision(live.with_call(call), (started,), tuple(Notice(person, ring) for person in others))


def _answer(live: Live, call: Call, here: Here) -> Decision:
    answered = replace(call, answered=True)
    if call.ring_until is None:
        return Decision(live.with_call(answered))
    return _quiet(live, answered, here.slug, here.members, "answered")


def _with_leg(live: Live, me: Peer, command: CallJoin) -> Live:
    """The joining peer with its media and leg; its person's other device leaves the call to it (R4)."""
    call = live.call
    assert call is not None
    newest = max(me.leg, call.legs.get(me.peer, 0))
    keeps = command.call is not None and command.leg is not None and command.leg == call.legs.get(me.peer)
    leg = newest if keeps else newest + 1
    for other in live.callers():
        if other.person == me.person and other.peer != me.peer:
            live = live.with_peer(replace(other, media=None))
    sends = MediaShown.of(command.media)
    joined = replace(me, media=sends, leg=leg, rollback=command.rollback is not False, away_until=None)
    return live.with_peer(joined).with_call(replace(call, empty_since=None, legs={**call.legs, me.peer: leg}))


def _hang_up(live: Live, here: Here) -> Decision:
    me = live.peers.get(here.peer)
    if me is None or me.media is None:
        return Decision(live)
    live = live.with_peer(replace(me, media=None))
    if live.callers() or live.call is None:
        return Decision(presence.noticing_emptiness(live, here.now))
    return _end(live, live.call, here.person, here.slug, here.members, here.now)


def _end(live: Live, call: Call, by: str, slug: str, members: tuple[str, ...], at: int) -> Decision:
    for peer in live.callers():
        live = live.with_peer(replace(peer, media=None))
    quiet = _quiet(live, call, slug, members, "cancelled") if call.ring_until else Decision(live)
    event: Event
    if call.answered:
        seconds = max(0, round((at - call.since) / 1000))
        event = CallEnded(by=by, key=derived_key(call.id, "ended"), call=call.id, seconds=seconds)
    else:
        event = CallMissed(by=call.by, key=derived_key(call.id, "missed"), call=call.id)
    return replace(quiet, live=quiet.live.with_call(None), events=(event,))


def _quiet(
    live: Live,
    call: Call,
    slug: str,
    members: tuple[str, ...],
    reason: Literal["answered", "declined", "cancelled", "timeout"],
) -> Decision:
    """Nothing rings any more; every socket of every member hears why, the caller's too."""
    push = QuietPush(room=slug, call=call.id, reason=reason)
    quiet = live.with_call(replace(call, ring_until=None))
    return Decision(quiet, notices=tuple(Notice(person, push) for person in members))
