"""Presence and call as a state machine: any history, and after each step what must hold (rules R2–R6, K1, R4)."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from rooms import call, presence
from rooms.call import CallRules, Here
from rooms.commands import CallJoin, CallMedia, Media
from rooms.errors import RoomError
from rooms.events import CallEnded, CallMissed, CallStarted
from rooms.ids import peer_id
from rooms.live import Decision, Live, Peer, changes, decode, encode, moved
from rooms.pushes import PeerShown, QuietPush, RingPush

pytestmark = pytest.mark.unit

SLUG = "room"
PERSONS = ("mentor", "mentee")
DEVICES = tuple((person, f"{person}-{number}") for person in PERSONS for number in (1, 2))
NODES = ("n1", "n2")
RULES = CallRules(ring_ms=45_000, away_ms=30_000, resume_ms=600_000)
ON = Media(audio=True, video=True, screen=False)


def here(device: tuple[str, str], now: int) -> Here:
    person, name = device
    return Here(SLUG, peer_id(SLUG, person, name), person, PERSONS, now)


class RoomHistory(RuleBasedStateMachine):
    """Devices come, go, are cut off, call and hang up; nodes die; time passes."""

    @initialize()
    def begin(self) -> None:
        self.now = 1_800_000_000_000
        self.live = Live()
        self.seen: dict[str, PeerShown] = {}
        self.sockets: dict[str, str] = {}
        self.dead: dict[str, int] = {}
        self.made = 0
        self.open_calls: list[str] = []
        self.ringing: set[str] = set()

    def take(self, decision: Decision) -> None:
        """What a node does with a decision, and what a client makes of the pushes."""
        old, self.live = self.live, decode(encode(decision.live))
        assert self.live == decision.live
        for push in changes(SLUG, old, self.live):
            shown = PeerShown(
                peer=push.peer, person=push.person, device=push.device, state=push.state,
                leg=push.leg, media=push.media, rollback=push.rollback,
            )  # fmt: skip
            if push.state == "gone":
                del self.seen[push.peer]
            else:
                self.seen[push.peer] = shown
        for peer, push_moved in moved(SLUG, old, self.live):
            assert self.live.call is not None
            assert push_moved.call == self.live.call.id
            assert self.live.peers[peer].media is None
        for event in decision.events:
            if isinstance(event, CallStarted):
                assert not self.open_calls
                self.open_calls.append(event.call)
            elif isinstance(event, CallEnded | CallMissed):
                assert self.open_calls == [event.call]
                self.open_calls.clear()
        for notice in decision.notices:
            if isinstance(notice.push, RingPush):
                self.ringing.add(notice.person)
            else:
                assert isinstance(notice.push, QuietPush)
                self.ringing.discard(notice.person)

    def settled(self) -> Decision:
        return call.settle(self.live, SLUG, PERSONS, lambda peer: self.dead.get(peer.node), self.now, RULES)

    def alive(self) -> list[str]:
        return [node for node in NODES if node not in self.dead]

    @rule(device=st.sampled_from(DEVICES), node=st.sampled_from(NODES))
    def enter(self, device: tuple[str, str], node: str) -> None:
        self.dead.pop(node, None)  # a new process may take the place of a dead one
        me = here(device, self.now)
        self.made += 1
        self.sockets[me.peer] = f"s{self.made}"
        arrived = Peer(me.peer, me.person, device[1], node, self.sockets[me.peer])
        before = self.settled()
        self.take(before.then(Decision(presence.enter(before.live, arrived))))
        assert self.live.peers[me.peer].away_until is None

    @rule(device=st.sampled_from(DEVICES), late=st.booleans())
    def drop(self, device: tuple[str, str], late: bool) -> None:
        me = here(device, self.now)
        socket = self.sockets.get(me.peer, "none")
        gone = "an older one" if late else socket
        before = self.settled()
        known = before.live.peers.get(me.peer)
        self.take(before.then(Decision(presence.drop(before.live, me.peer, gone, self.now, RULES.away_ms))))
        if late and known is not None:
            assert self.live.peers.get(me.peer) == known, "R3: a replaced socket drops nothing"

    @rule(device=st.sampled_from(DEVICES))
    def leave_room(self, device: tuple[str, str]) -> None:
        before = self.settled()
        me = here(device, self.now)
        self.take(before.then(call.leave_room(before.live, me)))
        assert me.peer not in self.live.peers, "R6: gone at once"

    @rule(node=st.sampled_from(NODES))
    def node_dies(self, node: str) -> None:
        self.dead.setdefault(node, self.now)
        self.take(self.settled())
        assert all(peer.away_until is not None for peer in self.live.peers.values() if peer.node == node)

    @rule(seconds=st.sampled_from((1, 10, 29, 31, 46, 599, 601, 4_000)))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.take(self.settled())
        due = call.deadline(self.live, RULES)
        assert due is None or due > self.now, "whatever was due has been done"

    @rule(
        device=st.sampled_from(DEVICES),
        which=st.sampled_from(("anew", "this", "over")),
        keep=st.booleans(),
        rollback=st.sampled_from((None, True, False)),
    )
    def join_call(self, device: tuple[str, str], which: str, keep: bool, rollback: bool | None) -> None:
        me = here(device, self.now)
        before = self.settled()
        self.made += 1
        current = before.live.call.id if before.live.call else None
        named = {"anew": None, "this": current, "over": "a call of long ago"}[which]
        legs = before.live.call.legs if before.live.call else {}
        command = CallJoin(SLUG, ON, call=named, rollback=rollback, leg=legs.get(me.peer) if keep else None)
        try:
            decision = before.then(call.join(before.live, me, command, f"call-{self.made}", RULES))
        except RoomError as error:
            assert error.code == ("conflict" if me.peer not in before.live.peers else "gone")  # noqa: PT017
            assert which == "over" or me.peer not in before.live.peers
            return
        self.take(decision)
        peer = self.live.peers[me.peer]
        assert peer.media is not None
        if keep and named is not None and me.peer in legs:
            assert peer.leg == legs[me.peer], "K5: the leg is kept"
        else:
            assert peer.leg > before.live.peers[me.peer].leg, "K1a: it grows"
        if which == "this" and current:
            assert self.live.call is not None
            assert self.live.call.id == current, "K1: resumed, not begun"

    @precondition(lambda self: self.live.call is not None)
    @rule(device=st.sampled_from(DEVICES))
    def leave_call(self, device: tuple[str, str]) -> None:
        before = self.settled()
        if before.live.call is None:
            return
        decision = before.then(call.leave(before.live, here(device, self.now), before.live.call.id))
        self.take(decision)

    @precondition(lambda self: self.live.call is not None)
    @rule(person=st.sampled_from(PERSONS))
    def decline(self, person: str) -> None:
        before = self.settled()
        if before.live.call is None:
            return
        nobody = replace(here((person, "elsewhere"), self.now), peer="")
        self.take(before.then(call.decline(before.live, nobody, before.live.call.id)))

    @precondition(lambda self: bool(self.live.callers()))
    @rule(video=st.booleans())
    def change_media(self, video: bool) -> None:
        before = self.settled()
        if not before.live.callers() or before.live.call is None:
            return
        peer = before.live.callers()[0]
        me = here((peer.person, peer.device), self.now)
        command = CallMedia(SLUG, before.live.call.id, Media(audio=True, video=video, screen=False))
        self.take(before.then(call.media(before.live, me, command)))

    @invariant()
    def r5_snapshot_and_pushes_are_a_fresh_snapshot(self) -> None:
        assert self.seen == {peer.peer: peer.shown() for peer in self.live.peers.values()}

    @invariant()
    def r4_one_device_of_a_person_is_in_the_call(self) -> None:
        persons = [peer.person for peer in self.live.callers()]
        assert len(persons) == len(set(persons))

    @invariant()
    def k1_who_is_in_a_call_is_in_one_that_is_open(self) -> None:
        assert not self.live.callers() or self.live.call is not None
        assert self.open_calls == ([self.live.call.id] if self.live.call else [])

    @invariant()
    def k1_ringing_ends(self) -> None:
        rings = self.live.call is not None and self.live.call.ring_until is not None
        assert rings or not self.ringing

    @invariant()
    def k1_an_empty_call_has_a_deadline(self) -> None:
        live_call = self.live.call
        if live_call and not any(peer.away_until is None for peer in self.live.callers()):
            assert live_call.empty_since is not None


RoomHistory.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestRoomHistory = RoomHistory.TestCase


def entered(*devices: tuple[str, str], now: int = 0) -> Live:
    live = Live()
    for person, device in devices:
        live = presence.enter(live, Peer(peer_id(SLUG, person, device), person, device, "n1", f"s-{device}"))
    return live


MENTOR, MENTEE = DEVICES[0], DEVICES[2]


def joined(live: Live, device: tuple[str, str], now: int, **more: object) -> Decision:
    return call.join(live, here(device, now), CallJoin(SLUG, ON, **more), "c1", RULES)  # type: ignore[arg-type]


def test_K1_an_answered_call_ends_with_its_seconds() -> None:
    live = joined(entered(MENTOR, MENTEE), MENTOR, 0).live
    live = joined(live, MENTEE, 5_000).live
    live = call.leave(live, here(MENTOR, 60_000), "c1").live
    ended = call.leave(live, here(MENTEE, 65_000), "c1")
    assert [event.seconds for event in ended.events if isinstance(event, CallEnded)] == [65]
    assert ended.live.call is None


def test_K1_an_unanswered_call_is_missed_and_quiet() -> None:
    live = joined(entered(MENTOR, MENTEE), MENTOR, 0).live
    ended = call.leave(live, here(MENTOR, 9_000), "c1")
    assert [type(event) for event in ended.events] == [CallMissed]
    assert {n.push.reason for n in ended.notices if isinstance(n.push, QuietPush)} == {"cancelled"}


def test_K1_after_ten_minutes_an_abandoned_call_has_ended_when_it_was_left() -> None:
    live = joined(joined(entered(MENTOR, MENTEE), MENTOR, 0).live, MENTEE, 1_000).live
    for device in (MENTOR, MENTEE):
        me = here(device, 20_000)
        live = presence.drop(live, me.peer, f"s-{device[1]}", 20_000, RULES.away_ms)
    assert call.settle(live, SLUG, PERSONS, lambda _: None, 619_999, RULES).events == ()
    late = call.settle(live, SLUG, PERSONS, lambda _: None, 620_000, RULES)
    assert [event.seconds for event in late.events if isinstance(event, CallEnded)] == [20]


def test_K1_both_vanish_and_one_calls_anew_rings_again() -> None:
    live = joined(joined(entered(MENTOR, MENTEE), MENTOR, 0).live, MENTEE, 1_000).live
    for device in (MENTOR, MENTEE):
        live = presence.drop(live, here(device, 0).peer, f"s-{device[1]}", 20_000, RULES.away_ms)
    live = call.settle(live, SLUG, PERSONS, lambda _: None, 60_000, RULES).live
    live = presence.enter(live, Peer(here(MENTOR, 0).peer, *MENTOR, "n1", "s2"))
    again = call.join(live, here(MENTOR, 61_000), CallJoin(SLUG, ON), "c2", RULES)
    assert [type(event) for event in again.events] == [CallEnded, CallStarted]
    assert any(isinstance(notice.push, RingPush) and notice.person == "mentee" for notice in again.notices)


def test_K1_a_reload_resumes_silently_with_a_new_leg() -> None:
    live = joined(joined(entered(MENTOR, MENTEE), MENTOR, 0).live, MENTEE, 1_000).live
    again = joined(live, MENTEE, 2_000, call="c1")
    assert again.events == again.notices == ()
    assert again.live.peers[here(MENTEE, 0).peer].leg == 2


def test_R2_a_dead_nodes_people_are_away_since_its_last_beat() -> None:
    live = entered(MENTOR)
    away = call.settle(live, SLUG, PERSONS, lambda _: 5_000, 8_000, RULES).live
    assert away.peers[here(MENTOR, 0).peer].away_until == 35_000
    assert call.settle(live, SLUG, PERSONS, lambda _: 5_000, 35_000, RULES).live.peers == {}
