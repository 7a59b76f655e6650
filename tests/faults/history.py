"""The history checker: what clients asked, were told and heard, held against what the log says in the end. Pure.

The rules are the contract's: L1 (`prev` chain), L2 (one order for everyone), L3 (a key once), L4 (acknowledged is kept),
L5 (a log that could not be continued is announced), L8 (one entry stands for a message: the newest).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

Verb = Literal["send", "edit", "delete"]
Kind = Literal["lost", "doubled", "reordered", "changed", "phantom", "gap", "reset", "refused", "stuck"]

KINDS: Mapping[str, Verb] = {"chat.posted": "send", "chat.edited": "edit", "chat.deleted": "delete"}
"""What a request of each verb writes. Other kinds are the server's own, and nobody's request."""


class Promise(Enum):
    """What the store promises for what was acknowledged."""

    KEPT = "kept"
    """It stays, whatever happens; no log ever has to be reset."""

    REPLICATED = "replicated"
    """It stays. What was not acknowledged yet may be rolled back by a failover, and then clients are told so."""

    HEALED = "healed"
    """A failover may roll the newest back. Then every client is told so (`diverged`), or finds a `prev` that it does not
    know and resumes, and what is published again with its key is there once."""


@dataclass(frozen=True)
class Event:
    """An event as a client or a reader saw it. `prev` is None at a log's beginning."""

    id: str
    prev: str | None
    kind: str
    key: str
    text: str | None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Event:
        """From what the server pushes and pages."""
        return cls(data["id"], data["prev"], data["kind"], data["key"], data.get("text"))


@dataclass
class Request:
    """One request over all its tries. Times are monotonic seconds of one clock for all clients."""

    client: str
    room: str
    verb: Verb
    key: str
    message: str
    """The key of the `send` that it is about; its own for a `send`."""
    text: str | None
    begun_at: float
    acks: list[tuple[str, float]] = field(default_factory=list)
    """The id and time of each acknowledgement, in order."""
    refused: str | None = None
    """The error code for which it was given up."""
    unknown: bool = False
    """Whether the outcome of some try is unknown."""


@dataclass(frozen=True)
class Resumed:
    """`room.join` was answered: from now on pushes chain to `head`. `reset` is the answer's, `cursor` the client's: what it
    heard beyond that did not follow on anything, and does not count."""

    head: str | None
    reset: str | None
    cursor: str | None = None


@dataclass(frozen=True)
class Read:
    """A page of history, in the answer to a join or to `log.page`."""

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Heard:
    """A push `log`."""

    event: Event


@dataclass(frozen=True)
class Told:
    """A push `reset`."""

    reason: str


Moment = Resumed | Read | Heard | Told


@dataclass
class Witness:
    """What one client saw of one room, in order; it began when the log was empty and was caught up in the end."""

    client: str
    room: str
    moments: list[Moment] = field(default_factory=list)


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    kind: Kind
    room: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.room}: {self.what}"


def order(id_: str) -> tuple[int, int]:
    """A stream id as something that compares in the log's order."""
    at, _, number = id_.partition("-")
    return int(at), int(number)


def check(
    requests: Sequence[Request],
    witnesses: Sequence[Witness],
    logs: Mapping[str, Mapping[str, Sequence[Event]]],
    promise: Promise,
) -> list[Violation]:
    """Every broken promise. `logs` is room → reader → the whole log as that reader paged it in the end."""
    found: list[Violation] = []
    for room, readings in logs.items():
        asked = [request for request in requests if request.room == room]
        seen = [witness for witness in witnesses if witness.room == room]
        found += _Room(room, asked, seen, readings, promise).violations()
    return found


class _Room:
    def __init__(
        self,
        room: str,
        requests: Sequence[Request],
        witnesses: Sequence[Witness],
        readings: Mapping[str, Sequence[Event]],
        promise: Promise,
    ) -> None:
        self.room = room
        self.requests = requests
        self.by_key = {request.key: request for request in requests}
        self.witnesses = witnesses
        self.readings = readings
        self.promise = promise
        self.log = next(iter(readings.values()))
        self.superseded = self._superseded()

    def _superseded(self) -> set[str]:
        """The ids of entries that a newer request about the same message may have removed from the log (L8)."""
        newest = {request.message: request.key for request in self.requests}
        keys = {key for key, request in self.by_key.items() if newest[request.message] != key}
        told = {id_ for key in keys for id_, _ in self.by_key[key].acks}
        return told | {event.id for event in self._seen_events() if event.key in keys}

    def _seen_events(self) -> Iterator[Event]:
        for witness in self.witnesses:
            for moment in witness.moments:
                match moment:
                    case Heard(event):
                        yield event
                    case Read(events):
                        yield from events

    def violations(self) -> Iterator[Violation]:
        yield from self._readers_agree()
        yield from self._sound("the log", self.log)
        yield from self._once()
        yield from self._kept()
        yield from self._in_order()
        yield from self._ids()
        for witness in self.witnesses:
            yield from self._witnessed(witness)

    def _violation(self, kind: Kind, what: str) -> Violation:
        return Violation(kind, self.room, what)

    def _readers_agree(self) -> Iterator[Violation]:
        """L2: through every node the same log."""
        (first, log), *others = self.readings.items()
        for reader, other in others:
            if list(other) == list(log):
                continue
            if sorted(other, key=repr) == sorted(log, key=repr):
                yield self._violation("reordered", f"{first} and {reader} read another order")
                continue
            for event in sorted(set(log) ^ set(other), key=lambda event: order(event.id)):
                without = reader if event in log else first
                yield self._violation("lost", f"{event.key} is not read through {without}")

    def _sound(self, where: str, events: Iterable[Event]) -> Iterator[Violation]:
        """Somebody asked for each event, and it says what was asked; ids ascend."""
        last: Event | None = None
        for event in events:
            if last and order(event.id) <= order(last.id):
                yield self._violation("reordered", f"{where}: {event.id} after {last.id}")
            last = event
            yield from self._asked(where, event)

    def _asked(self, where: str, event: Event) -> Iterator[Violation]:
        if event.kind not in KINDS:
            return
        request = self.by_key.get(event.key)
        if request is None:
            yield self._violation("phantom", f"{where}: nobody sent {event.key} ({event.id})")
        elif request.verb != KINDS[event.kind] or request.text != event.text:
            yield self._violation("changed", f"{where}: {event.key} ({event.id}) is not what was sent")
        elif request.refused and not request.unknown:
            yield self._violation("phantom", f"{where}: {event.key} was refused ({request.refused})")

    def _once(self) -> Iterator[Violation]:
        """L3, L8: a key once, a text once, one entry for a message."""
        ours = [event for event in self.log if event.key in self.by_key]
        for key, count in Counter(event.key for event in ours).items():
            if count > 1:
                yield self._violation("doubled", f"{key} is there {count} times")
        for text, count in Counter(event.text for event in ours if event.text is not None).items():
            if count > 1:
                yield self._violation("doubled", f"the text {text!r} is there {count} times")
        for message, keys in self._entries().items():
            if len(keys) > 1:
                yield self._violation("doubled", f"{message} has {len(keys)} entries")

    def _entries(self) -> dict[str, set[str]]:
        """The keys in the log of each message: its own, or that of an edit or its deletion."""
        entries: dict[str, set[str]] = defaultdict(set)
        for event in self.log:
            if request := self.by_key.get(event.key):
                entries[request.message].add(event.key)
        return entries

    def _kept(self) -> Iterator[Violation]:
        """L4: the newest acknowledged request of each message, or a later one of it, is in the log. Who may edit a
        message sends one request at a time, so that a message's requests have an order."""
        histories: dict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            histories[request.message].append(request)
        entries = self._entries()
        for message, history in histories.items():
            acknowledged = [place for place, request in enumerate(history) if request.acks]
            if not acknowledged:
                continue
            newest = history[acknowledged[-1]]
            if entries[message].isdisjoint(request.key for request in history[acknowledged[-1] :]):
                what = (
                    f"{newest.verb} {newest.key} of {newest.client} was acknowledged as {newest.acks[-1][0]}"
                )
                yield self._violation("lost", f"{what} and is not there")

    def _in_order(self) -> Iterator[Violation]:
        """What was acknowledged before another request was begun, by whomever, stands before it. A request that was
        rolled back and published again has the place of its last acknowledgement."""
        earliest, earliest_key = float("inf"), ""
        for event in reversed(self.log):
            request = self.by_key.get(event.key)
            if request is None:
                continue
            if earliest < request.begun_at:
                what = (
                    f"{request.key} stands before {earliest_key}, which was acknowledged before it was begun"
                )
                yield self._violation("reordered", what)
            acks = [at for id_, at in request.acks if id_ == event.id]
            if acks and acks[0] < earliest:
                earliest, earliest_key = acks[0], request.key

    def _ids(self) -> Iterator[Violation]:
        """L3: a key is acknowledged with its first id again, and that is the id in the log; no client asked for what
        may be refused."""
        there = {event.key: event.id for event in self.log}
        may_change = self.promise is Promise.HEALED
        reset = {witness.client for witness in self.witnesses if any(map(_is_reset, witness.moments))}
        for request in self.requests:
            if request.refused and not may_change:
                what = f"{request.verb} {request.key} of {request.client} was right: {request.refused}"
                yield self._violation("refused", what)
            ids = list(dict.fromkeys(id_ for id_, _ in request.acks))
            if len(ids) > 1 and not may_change:
                yield self._violation("doubled", f"{request.key} was acknowledged as {' and '.join(ids)}")
            elif ids and there.get(request.key, ids[-1]) != ids[-1] and request.client not in reset:
                what = f"{request.key} was acknowledged as {ids[-1]} and is {there[request.key]}"
                yield self._violation("doubled", what)

    def _witnessed(self, witness: Witness) -> Iterator[Violation]:
        view = _View()
        where = f"{witness.client} heard"
        for moment in witness.moments:
            match moment:
                case Resumed(head, reset, cursor):
                    view.forget_beyond(cursor)
                    if reset:
                        yield from self._reset(witness, f"a join was answered with {reset}")
                        view.forget()
                    view.chained, view.position, view.behind = True, head, False
                case Told(reason):
                    yield from self._reset(witness, f"reset was pushed: {reason}")
                    view.forget()
                case Read(events):
                    yield from self._sound(where, events)
                    for event in events:
                        yield from self._see(where, view, event)
                case Heard(event):
                    yield from self._asked(where, event)
                    if not view.behind:
                        yield from self._chain(where, view, event)
                    if not view.behind:
                        yield from self._see(where, view, event)
        yield from self._complete(witness, view)

    def _reset(self, witness: Witness, what: str) -> Iterator[Violation]:
        if self.promise is Promise.KEPT:
            yield self._violation("reset", f"{witness.client}: {what}, and nothing may be rolled back")

    def _chain(self, where: str, view: _View, event: Event) -> Iterator[Violation]:
        """L1, L2: pushes ascend, and each names the one before it. Where a node had to read what it missed, that one may
        have been removed meanwhile (L8); whatever stayed and was not handed on is found by `_complete`."""
        if view.chained and self.promise is not Promise.KEPT and event.prev != view.position:
            view.behind = True  # the client knows, and resumes: what it hears until then does not count
            return
        if view.chained:
            if view.position and order(event.id) <= order(view.position):
                yield self._violation("reordered", f"{where} {event.id} after {view.position}")
            elif event.prev != view.position and event.prev not in self.superseded:
                what = f"{where} {event.id} with prev {event.prev}, and was at {view.position}"
                yield self._violation("gap", what)
        view.chained, view.position = True, event.id

    def _see(self, where: str, view: _View, event: Event) -> Iterator[Violation]:
        known = view.seen.setdefault(event.key, event.id)
        if known != event.id:
            yield self._violation("doubled", f"{where} {event.key} as {known} and as {event.id}")

    def _complete(self, witness: Witness, view: _View) -> Iterator[Violation]:
        """Who was caught up has seen all that is in the log, at the place where it is."""
        for event in self.log:
            seen = view.seen.get(event.key)
            if seen is None:
                yield self._violation("gap", f"{witness.client} never saw {event.key} ({event.id})")
            elif seen != event.id:
                yield self._violation(
                    "reordered", f"{witness.client} saw {event.key} as {seen}, not {event.id}"
                )
        there = {event.key for event in self.log}
        yield from self._vanished(witness, view, there)

    def _vanished(self, witness: Witness, view: _View, there: set[str]) -> Iterator[Violation]:
        """What a client saw leaves the log only for a newer entry of the same message (L8), or with a reset."""
        entries = self._entries()
        for key, id_ in view.seen.items():
            request = self.by_key.get(key)
            if request and key not in there and not entries[request.message]:
                yield self._violation("lost", f"{witness.client} saw {key} ({id_}), and it is not there")


def _is_reset(moment: Moment) -> bool:
    return isinstance(moment, Told) or (isinstance(moment, Resumed) and moment.reset is not None)


class _View:
    """What a client knows of the log since the last reset."""

    def __init__(self) -> None:
        self.chained = False
        self.behind = False
        self.position: str | None = None
        self.seen: dict[str, str] = {}

    def forget_beyond(self, cursor: str | None) -> None:
        """The client goes on from there."""
        bound = order(cursor) if cursor else (0, 0)
        self.seen = {key: id_ for key, id_ in self.seen.items() if order(id_) <= bound}

    def forget(self) -> None:
        """The log could not be continued."""
        self.chained, self.position = False, None
        self.seen.clear()
