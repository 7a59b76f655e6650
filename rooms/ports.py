"""What the domain needs from the world, with the guarantees that every adapter has to give. One contract suite runs
against each of them (tests/contract)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from rooms.log import Entry
from rooms.membership import RoomRecord


class Request(Struct, frozen=True):
    """The identity of a client's request (L3): the same `key` of the same `person` within 24 h is the same request."""

    person: str
    key: str
    verb: str


class Rate(Struct, frozen=True):
    """A token bucket of one person in one room: `per_s` tokens a second, at most `burst` at once."""

    person: str
    per_s: float
    burst: int


class Draft(Struct, frozen=True):
    """An event that wants to be appended."""

    key: str
    body: bytes


class Rewrite(Struct, frozen=True):
    """L8: a change to the message at `ref`, whose newest entry was `seen`. `react` leaves that entry alone, `edit` and
    `delete` remove it from the log."""

    ref: str
    seen: str
    how: Literal["edit", "delete", "react"]


class LiveSwap(Struct, frozen=True):
    """Compare-and-set of the room's live value: `seen` is the version that was decided on (0: none yet)."""

    seen: int
    blob: bytes


class Written(Struct, frozen=True):
    """`ids` of the appended events in order; `dup`: the request had been done before, `ids` is the first answer.
    `version` of the live value after it."""

    ids: tuple[str, ...]
    dup: bool = False
    version: int = 0


class Stale(Exception):  # noqa: N818 - not an error: read again and decide again
    """What was decided on has changed meanwhile; nothing was written."""


class Found(Struct, frozen=True):
    """The entry that now holds a message, and the outcome of the very request that asks, if it was done before."""

    entry: Entry | None
    done: Written | None


class LiveValue(Struct, frozen=True):
    """A room's live value with its version (0 and empty: none yet). Versions grow, and none is used twice."""

    version: int
    blob: bytes


class Head(Struct, frozen=True):
    """Where a room stands: its newest entry and the version of its live value."""

    epoch: str
    id: str | None
    key: str | None
    version: int


class Resume(Struct, frozen=True):
    """What a joining device needs of the log (L5), read at one moment. `head_key` is the key of the entry at `head`;
    `version` and `blob` are the live value that there is now: with `swapped` the one that was to be written."""

    epoch: str
    head: str | None
    head_key: str | None
    entries: tuple[Entry, ...]
    more: bool
    reset: Literal["trimmed", "diverged", "epoch"] | None
    version: int
    blob: bytes
    read: dict[str, str]
    floor: str | None
    """The newest entry that retention removed; None when it has removed nothing."""
    swapped: bool = False


class Page(Struct, frozen=True):
    """Ascending entries, whether there are more in the direction asked for, and the floor as in `Resume` (L6)."""

    entries: tuple[Entry, ...]
    more: bool
    floor: str | None


class Retention(Struct, frozen=True):
    """How much of a room's log is kept: entries of the last `days`, and the newest `count` of them. None: no bound."""

    days: int | None
    count: int | None


class Trimmed(Struct, frozen=True):
    """What a step of retention removed, and whether there is more to do."""

    entries: int
    more: bool


class Seen(Struct, frozen=True):
    """A cursor as a client holds it (L5)."""

    epoch: str
    id: str | None
    key: str | None


class RoomLog(Protocol):
    """The durable, totally ordered log of each room, and the versioned live value beside it.

    Ordered: ids of a room grow in the order in which its writes were done; `Entry.prev` names the one before.
    Atomic: a write is done whole or not at all, with its dedupe record, its live value and its publication.
    Lost: nothing that was answered, within the durability that the store promises (L4). A store that breaks its promise
    (a failover) is found out: `resume` answers `diverged` to whoever saw more than it has now.
    Repeated: never; an unknown outcome (`Unavailable`) is asked again with the same `Request`.
    Every method raises `Unavailable` when the store is away, within `timeout_s` of the adapter.
    """

    async def write(
        self,
        slug: str,
        drafts: tuple[Draft, ...],
        *,
        request: Request | None = None,
        rate: Rate | None = None,
        rewrite: Rewrite | None = None,
        live: LiveSwap | None = None,
        answers: str | None = None,
    ) -> Written:
        """Appends and publishes. Raises `Conflict` for a key that was used with another verb, `Limited` over the rate,
        `NotFound` when no message was ever posted at
        `answers`, `Stale` when `live` or `rewrite` was decided on something that is no longer so."""
        ...

    async def resume(
        self, slug: str, seen: Seen | None, limit: int, max_bytes: int, live: LiveSwap | None = None
    ) -> Resume:
        """At most `limit` events and `max_bytes` of them (always at least one): those after `seen`, else the newest. In the
        same step `live` is written and published, if what it was decided on is still so (`swapped`)."""
        ...

    async def page(
        self, slug: str, *, before: str | None, after: str | None, limit: int, max_bytes: int
    ) -> Page:
        """At most `limit` events and `max_bytes` of them (always at least one); neither bound: the newest."""
        ...

    async def trim(self, slug: str, retention: Retention) -> Trimmed:
        """One bounded step of retention: removes the oldest of the entries that are not kept, and what was known of removed
        ones. Never one that is to be kept. To be called until there is no more to do; may be cut short."""
        ...

    async def forget(self, slug: str, person: str, ids: Sequence[str]) -> None:
        """Removes these entries, which are no messages, and the person's read mark. A cursor on one of them stays good (L8).
        Tells nobody. In steps, so that it may be cut short, and may be repeated."""
        ...

    async def newest(self, slug: str, ref: str, request: Request) -> Found:
        """The entry that now holds the message first posted at `ref` (its deletion included). Raises `Conflict` for a key
        that was used with another verb."""
        ...

    async def live(self, slug: str) -> LiveValue: ...

    async def heads(self, slugs: Sequence[str]) -> list[Head | None]:
        """Where each of these rooms stands, in one trip to each part of the store; None for a room whose part is away. Epoch
        "" for a room that has no log."""
        ...

    async def unread(self, slugs: Sequence[str], person: str, most: int) -> list[int]:
        """How many messages of others lie behind the person's read mark in each of these rooms, counted up to `most`, in one
        trip to each part of the store. Only the newest 200 entries of a room are looked at: more than that of other things
        behind the mark hide older messages. 0 for a room whose part is away."""
        ...

    async def mark_read(self, slug: str, person: str, event_id: str, push: bytes) -> bool:
        """Forward only, and then publishes `push`; False when it did not move. Raises `Invalid` beyond the head."""
        ...

    async def whisper(self, slug: str, push: bytes) -> None:
        """Publishes something ephemeral to every node where somebody is in the room. May be lost."""
        ...


class Memberships(Protocol):
    """Who belongs where; SQL is the truth. Raises `Unavailable` when the database is away."""

    async def room(self, slug: str) -> RoomRecord | None:
        """With the number of rooms of each member. None for a room that never was or whose pair was removed."""
        ...
