"""The checker itself: a correct history passes, and every kind of planted violation is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.history import (
    Event,
    Heard,
    Kind,
    Moment,
    Promise,
    Read,
    Request,
    Resumed,
    Told,
    Witness,
    check,
)

pytestmark = pytest.mark.unit
ROOM = "room"


class History:
    """A correct history of one room: two clients send in turn, both hear, one of them comes and goes."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.log: list[Event] = []
        self.everything: list[Event] = []
        self.away: list[Event] = []
        self.is_away = False
        self.left_at: str | None = None
        self.witnesses = [Witness(name, ROOM, [Resumed(None, None)]) for name in ("a", "b")]
        self.readings = {"one": self.log, "two": self.log}
        self.clock = 0.0
        self.stride = 1

    @property
    def head(self) -> str | None:
        return self.everything[-1].id if self.everything else None

    @property
    def next_id(self) -> str:
        return f"{int(self.head.split('-')[0]) + self.stride}-0" if self.head else "1-0"

    def append(self, event: Event) -> None:
        self.log.append(event)
        self.everything.append(event)
        self.witnesses[0].moments.append(Heard(event))
        if self.is_away:
            self.away.append(event)
        else:
            self.witnesses[1].moments.append(Heard(event))

    def ask(self, client: str, verb: str, message: str | None, text: str | None) -> Request:
        key = f"k{len(self.requests)}"
        begun, self.clock = self.clock, self.clock + 2
        request = Request(client, ROOM, verb, key, message or key, text, begun)  # type: ignore[arg-type]
        self.requests.append(request)
        kind = {"send": "chat.posted", "edit": "chat.edited", "delete": "chat.deleted"}[verb]
        event = Event(self.next_id, self.head, kind, key, text)
        self.append(event)
        request.acks.append((event.id, begun + 1))
        return request

    def send(self, client: str) -> Request:
        return self.ask(client, "send", None, f"text {len(self.requests)}")

    def rewrite(self, verb: str, place: int) -> None:
        """An edit or a deletion of a message that is not deleted: the entry that stood for it is removed."""
        standing = [event for event in self.log if event.kind != "chat.deleted"]
        if not standing:
            return
        old = standing[place % len(standing)]
        message = next(one for one in self.requests if one.key == old.key)
        text = None if verb == "delete" else f"text {len(self.requests)}"
        self.ask(message.client, verb, message.message, text)
        self.log.remove(old)

    def leave(self) -> None:
        if not self.is_away:
            self.is_away, self.left_at = True, self.head

    def back(self) -> None:
        """The other client resumes: what is still there of what it missed is read."""
        self.left_at = self.left_at if self.is_away else self.head
        self.is_away = False
        missed = tuple(event for event in self.away if event in self.log)
        self.witnesses[1].moments += [Resumed(self.head, None, self.left_at), Read(missed)]
        self.away.clear()

    def check(self, promise: Promise = Promise.KEPT) -> list[str]:
        return [one.kind for one in check(self.requests, self.witnesses, {ROOM: self.readings}, promise)]


steps = st.lists(
    st.one_of(
        st.sampled_from([("send", "a"), ("send", "b"), ("leave", ""), ("back", "")]),
        st.tuples(st.sampled_from(["edit", "delete"]), st.integers(0, 9)),
    ),
    max_size=40,
)


def play(script: list[tuple[str, object]]) -> History:
    history = History()
    for verb, what in script:
        if verb == "send":
            history.send(str(what))
        elif verb == "leave":
            history.leave()
        elif verb == "back":
            history.back()
        else:
            assert isinstance(what, int)
            history.rewrite(verb, what)
    history.back()
    return history


def spoken(count: int = 5) -> History:
    return play([("send", "ab"[number % 2]) for number in range(count)])


@given(steps)
def test_a_correct_history_passes(script: list[tuple[str, object]]) -> None:
    assert play(script).check() == []


@given(steps, st.integers(0, 99))
def test_L4_a_loss_is_found(script: list[tuple[str, object]], place: int) -> None:
    history = play(script)
    history.send("a")
    del history.log[place % len(history.log)]
    assert "lost" in history.check()


@given(steps, st.integers(0, 99))
def test_L3_a_double_is_found(script: list[tuple[str, object]], place: int) -> None:
    history = play(script)
    history.send("a")
    old = history.log[place % len(history.log)]
    history.append(replace(old, id=history.next_id, prev=history.head))
    assert "doubled" in history.check()


@given(steps, st.integers(0, 99))
def test_L2_a_reorder_is_found_though_every_reader_agrees(
    script: list[tuple[str, object]], place: int
) -> None:
    history = play(script)
    history.send("a")
    history.send("a")
    here = place % (len(history.log) - 1)
    one, other = history.log[here], history.log[here + 1]
    history.log[here : here + 2] = [replace(other, id=one.id), replace(one, id=other.id)]
    assert "reordered" in history.check()


@given(steps, st.integers(0, 99))
def test_a_change_is_found(script: list[tuple[str, object]], place: int) -> None:
    history = play(script)
    history.send("a")
    here = place % len(history.log)
    history.log[here] = replace(history.log[here], text="something else")
    assert "changed" in history.check()


@given(steps)
def test_a_phantom_is_found(script: list[tuple[str, object]]) -> None:
    history = play(script)
    history.append(Event(history.next_id, history.head, "chat.posted", "nobody's", "boo"))
    assert "phantom" in history.check()


@given(steps, st.sampled_from([-3, -2]))
def test_L1_a_silent_gap_is_found(script: list[tuple[str, object]], place: int) -> None:
    history = play(script)
    for _ in range(3):
        history.send("a")
    del history.witnesses[0].moments[place]
    assert "gap" in history.check()


def test_L8_a_push_may_name_a_removed_event_that_nobody_can_be_told_any_more() -> None:
    """A node that had to read what it missed hands on what is left."""
    history = spoken()
    history.rewrite("edit", -1)
    del history.witnesses[0].moments[-2]
    assert history.check() == []


def planted_client_missed_the_last(history: History) -> None:
    history.witnesses[0].moments.pop()


def planted_read_missed_one(history: History) -> None:
    history.leave()
    missed = history.send("a")
    history.send("a")
    history.away[:] = [event for event in history.away if event.key != missed.key]
    history.back()


def planted_push_that_does_not_follow_the_joins_head(history: History) -> None:
    moments = history.witnesses[1].moments
    moments[-2] = replace(moments[-2], head=history.log[0].id)
    history.send("a")


def planted_push_before_any_join(history: History) -> None:
    history.witnesses[0].moments.insert(1, Heard(history.log[0]))


def planted_push_out_of_order(history: History) -> None:
    moments = history.witnesses[0].moments
    moments[2], moments[3] = moments[3], moments[2]


def planted_push_says_something_else(history: History) -> None:
    moments = history.witnesses[0].moments
    moments[2] = Heard(replace(history.log[1], text="something else"))


def planted_one_reader_misses_one(history: History) -> None:
    history.readings["two"] = history.log[:-1]


def planted_readers_disagree(history: History) -> None:
    history.readings["two"] = [history.log[1], history.log[0], *history.log[2:]]


def planted_second_id_for_a_key(history: History) -> None:
    history.requests[0].acks.append(("9-0", 99.0))


def planted_refused_and_there(history: History) -> None:
    history.requests[0].acks.clear()
    history.requests[0].refused = "gone"


def planted_refused(history: History) -> None:
    request = history.send("a")
    request.acks.clear()
    request.refused, request.unknown = "gone", True


def planted_older_text_still_there(history: History) -> None:
    old = history.log[0]
    history.rewrite("edit", 0)
    history.log.insert(0, old)


def planted_unacknowledged_seen_and_gone(history: History) -> None:
    history.requests[-1].acks.clear()
    history.log.pop()


def planted_text_under_two_keys(history: History) -> None:
    again = history.send("a")
    again.text = history.log[0].text
    twin = replace(history.log.pop(), text=again.text)
    history.log.append(twin)
    for witness in history.witnesses:
        witness.moments[-1] = Heard(twin)


def planted_reset(history: History) -> None:
    history.witnesses[0].moments += [Told("diverged"), Resumed(history.head, "diverged")]
    history.witnesses[0].moments.append(Read(tuple(history.log)))


def planted_later_request_stands_before(history: History) -> None:
    first, second = history.requests[:2]
    second.begun_at, second.acks = 0.0, [(second.acks[0][0], 0.1)]
    first.begun_at = 0.5


PLANTED: list[tuple[Callable[[History], None], Kind]] = [
    (planted_client_missed_the_last, "gap"),
    (planted_read_missed_one, "gap"),
    (planted_push_that_does_not_follow_the_joins_head, "gap"),
    (planted_push_before_any_join, "reordered"),
    (planted_push_out_of_order, "gap"),
    (planted_push_says_something_else, "changed"),
    (planted_one_reader_misses_one, "lost"),
    (planted_readers_disagree, "reordered"),
    (planted_second_id_for_a_key, "doubled"),
    (planted_refused_and_there, "phantom"),
    (planted_refused, "refused"),
    (planted_older_text_still_there, "doubled"),
    (planted_unacknowledged_seen_and_gone, "lost"),
    (planted_text_under_two_keys, "doubled"),
    (planted_reset, "reset"),
    (planted_later_request_stands_before, "reordered"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_what_is_planted_is_found(plant: Callable[[History], None], kind: Kind) -> None:
    history = spoken()
    assert history.check() == []
    plant(history)
    assert kind in history.check()


def rolled_back(stride: int = 1) -> tuple[History, Request]:
    """A failover lost the last message; its author was told and published it again, behind somebody else's next one."""
    history = spoken()
    lost = history.requests[-1]
    cursor = history.head
    history.log.pop()
    history.everything.pop()
    after: list[Moment] = [Resumed(history.head, "diverged", cursor), Read(tuple(history.log))]
    history.witnesses[0].moments += [Told("diverged"), *after]
    history.witnesses[1].moments += after  # it was away, and hears of it when it joins
    history.stride = stride
    history.send("b")
    again = Event(history.next_id, history.head, "chat.posted", lost.key, lost.text)
    history.append(again)
    lost.acks.append((again.id, history.clock))
    return history, lost


def test_L5_a_tail_that_was_rolled_back_announced_and_published_again_is_healed() -> None:
    history, _ = rolled_back()
    assert history.check(Promise.HEALED) == []
    assert {"reset", "doubled"} <= set(history.check(Promise.KEPT))
    assert set(history.check(Promise.REPLICATED)) == {"doubled"}, "L4: a replica had what was acknowledged"


def test_L5_a_tail_that_was_rolled_back_and_not_published_again_is_lost() -> None:
    history, lost = rolled_back()
    history.log.pop()
    lost.acks.pop()
    for witness in history.witnesses:
        witness.moments.pop()
    assert set(history.check(Promise.HEALED)) == {"lost"}


@pytest.mark.parametrize("stride", [1, 9], ids=["same ids", "other ids"])
def test_L5_a_roll_back_that_nobody_was_told_of_is_found(stride: int) -> None:
    history, _ = rolled_back(stride)
    history.witnesses[0].moments = [
        moment
        for moment in history.witnesses[0].moments
        if isinstance(moment, Heard) or moment == Resumed(None, None)
    ]
    assert "gap" in history.check(Promise.HEALED), "it never resumed"
    resumed = [
        Resumed(history.head, None, history.witnesses[0].moments[5].event.id),
        Read(tuple(history.log)),
    ]
    history.witnesses[0].moments += resumed
    assert {"doubled", "reordered"} & set(history.check(Promise.HEALED)), "it resumed, and was not told"


def test_L1_who_hears_an_unknown_prev_has_to_resume_where_a_store_may_roll_back() -> None:
    history = spoken()
    cursor = history.head
    history.send("a")
    moments = history.witnesses[0].moments
    moments[-1] = Heard(replace(history.log[-1], prev="77-0"))
    assert history.check(Promise.HEALED) == ["gap"]
    moments += [Resumed(history.head, None, cursor), Read((history.log[-1],))]
    assert history.check(Promise.HEALED) == []


def test_L5_what_was_heard_beyond_the_cursor_of_a_client_that_resumes_does_not_count() -> None:
    """It came while the pages before it were still read, from a primary that was none any more."""
    history = spoken()
    cursor = history.head
    elsewhere = Event(history.next_id, cursor, "chat.posted", "k5", "text 5")
    history.witnesses[0].moments += [Heard(elsewhere), Resumed(cursor, None, cursor)]
    history.stride = 2
    history.send("a")
    assert history.check(Promise.HEALED) == []


def test_L5_a_message_that_came_back_twice_is_found() -> None:
    history, lost = rolled_back()
    history.append(Event("70-0", history.head, "chat.posted", lost.key, lost.text))
    assert "doubled" in history.check(Promise.HEALED)
