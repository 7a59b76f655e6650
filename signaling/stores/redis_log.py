"""The room log in Redis streams: the adapter of `rooms.ports.RoomLog`.

Keys of a room, all with its hash tag: `{r}:log` stream of places · `{r}:bodies` id → event · `{r}:meta` epoch, tail and its
key, floor and its key, how far the sweep behind it has come · `{r}:keys:<day>` requests of that day (24–48 h) · `{r}:gone`
removed id → key · `{r}:current` ref → its newest entry · `{r}:live` version and value · `{r}:read` read marks · `{r}:rate`
rates · channel `{r}`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import lru_cache

from rooms.errors import Conflict, Invalid, Limited, NotFound
from rooms.log import Entry
from rooms.ports import (
    Draft,
    Found,
    Head,
    LiveSwap,
    LiveValue,
    Page,
    Rate,
    Request,
    Resume,
    Retention,
    Rewrite,
    Seen,
    Stale,
    Trimmed,
    Written,
)
from signaling.stores.redis_link import Standing, Word
from signaling.stores.store import Script, Store


def channel(slug: str) -> str:
    return f"{{{slug}}}"


class RedisRoomLog:
    """See `rooms.ports.RoomLog` for what it guarantees. With `replicas` a write is answered once so many of the store's
    replicas have it, and `Unavailable` when they have not in time: it is written then, and asking again waits for them."""

    def __init__(self, store: Store, replicas: int = 0) -> None:
        self._store = store
        self._replicas = replicas
        self._epoch = str(uuid.uuid4())[:24]
        """Half of the epochs of the logs that begin here; the time is the other half."""
        self._write = Script(store, "write", after=("epoch", "live"))
        self._to_write = lru_cache(maxsize=ROOMS_KEPT)(self._writing)
        self._resume = Script(store, "resume", after=("entries", "epoch", "live"))
        self._to_resume = lru_cache(maxsize=ROOMS_KEPT)(self._resuming)
        self._page = Script(store, "page", after=("entries",))
        self._trim = Script(store, "trim", after=("entries",))
        self._forget = Script(store, "forget")
        self._newest = Script(store, "newest", after=("entries",))
        self._read = Script(store, "read")
        self._unread = Script(store, "unread", after=("entries",))

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
        arguments: list[Word] = [
            *((int(1_000_000 / rate.per_s), rate.burst) if rate else (0, 0)),
            _request_field(request) if request else "",
            request.verb if request else "",
            rate.person if rate else "",
            f"{rewrite.ref} {rewrite.seen} {rewrite.how}" if rewrite else "",
            live.seen if live else "",
            live.blob if live else "",
            answers or "",
        ]
        for draft in drafts:
            arguments += (draft.key, draft.body)
        answer = await self._write(self._to_write(slug), arguments, replicas=self._replicas)
        match answer[0]:
            case b"ok":
                return Written(tuple(map(bytes.decode, answer[2:])), version=int(answer[1]))
            case b"dup":
                return Written((answer[1].decode(),), dup=True)
            case b"key":
                raise _key_reused()
            case b"missing":
                raise NotFound("There is no such message to reply to.", field="reply_to")
            case b"limited":
                raise Limited(retry_ms=int(answer[1]))
            case _:
                raise Stale

    def _writing(self, slug: str) -> Standing:
        names = ("log", "meta", "keys:", "gone", "current", "live", "rate")
        keys = [*_keys(slug, *names), channel(slug), *_keys(slug, "bodies")]
        return self._write.on(keys, self._epoch, self._replicas)

    async def resume(
        self, slug: str, seen: Seen | None, limit: int, max_bytes: int, live: LiveSwap | None = None
    ) -> Resume:
        cursor = (seen.epoch, seen.id or "", seen.key or "") if seen else ("", "", "")
        swap = (live.seen, live.blob) if live else ("", "")
        replicas = self._replicas if live else 0
        answer = await self._resume(self._to_resume(slug), [*cursor, limit, *swap], replicas=replicas)
        epoch, tail, tail_key, reset, forward, raw, version, blob, marks, floor, swapped = answer
        entries, more = _fitting(raw, limit, max_bytes, ascending=bool(forward))
        return Resume(
            epoch=epoch.decode(),
            head=tail.decode() or None,
            head_key=tail_key.decode() or None,
            entries=entries,
            more=more,
            reset=reset.decode() or None,
            version=int(version),
            blob=blob,
            read={marks[i].decode(): marks[i + 1].decode() for i in range(0, len(marks), 2)},
            floor=floor.decode() or None,
            swapped=bool(swapped),
        )

    def _resuming(self, slug: str) -> Standing:
        keys = [*_keys(slug, "log", "meta", "gone", "live", "read", "bodies"), channel(slug)]
        return self._resume.on(keys, self._epoch)

    async def page(
        self, slug: str, *, before: str | None, after: str | None, limit: int, max_bytes: int
    ) -> Page:
        keys = _keys(slug, "log", "bodies", "meta")
        raw, floor = await self._page(keys, [before or "", after or "", limit + 1])
        entries, more = _fitting(raw, limit, max_bytes, ascending=after is not None)
        return Page(entries, more, floor.decode() or None)

    async def trim(self, slug: str, retention: Retention) -> Trimmed:
        age_ms = "" if retention.days is None else retention.days * DAY_MS
        count = "" if retention.count is None else retention.count
        keys = _keys(slug, "log", "meta", "gone", "current", "bodies")
        removed, more = await self._trim(keys, [age_ms, count, TRIM_STEP])
        return Trimmed(int(removed), more=bool(more))

    async def forget(self, slug: str, person: str, ids: Sequence[str]) -> None:
        keys = _keys(slug, "log", "meta", "gone", "bodies", "read")
        for start in range(0, len(ids) or 1, TRIM_STEP):
            words: list[Word] = [person, self._replicas, *ids[start : start + TRIM_STEP]]
            await self._forget(keys, words, replicas=self._replicas)

    async def newest(self, slug: str, ref: str, request: Request) -> Found:
        keys = _keys(slug, "log", "current", "keys:", "bodies", "meta")
        words: list[Word] = [ref, _request_field(request), self._replicas]
        raw, done = await self._newest(keys, words, replicas=self._replicas)
        if done:
            id_, _, verb = done.decode().partition(" ")
            if verb != request.verb:
                raise _key_reused()
            return Found(None, Written((id_,), dup=True))
        entries, _ = _fitting(raw, 1, 0, ascending=True)
        return Found(entries[0] if entries else None, None)

    async def live(self, slug: str) -> LiveValue:
        version, blob = await self._store.run("HMGET", f"{{{slug}}}:live", "v", "s")
        return LiveValue(int(version or 0), blob or b"")

    async def heads(self, slugs: Sequence[str]) -> list[Head | None]:
        asked: list[Standing] = []
        for slug in slugs:
            asked += _head_of(slug)
        answers = await self._store.each(*((one,) for one in asked))
        return [
            None if isinstance(meta, Exception) or isinstance(version, Exception) else _head(*meta, version)
            for meta, version in zip(answers[::2], answers[1::2], strict=True)
        ]

    async def unread(self, slugs: Sequence[str], person: str, most: int) -> list[int]:
        keys = [_keys(slug, "log", "bodies", "read") for slug in slugs]
        answers = await self._unread.each(keys, [person, most, UNREAD_ENTRIES])
        return [0 if isinstance(answer, Exception) else int(answer) for answer in answers]

    async def mark_read(self, slug: str, person: str, event_id: str, push: bytes) -> bool:
        keys = [f"{{{slug}}}:meta", f"{{{slug}}}:read", channel(slug)]
        moved = await self._read(keys, [person, event_id, b"P" + push])
        if moved < 0:
            raise Invalid("Nothing has been written there yet.", field="id")
        return bool(moved)

    async def whisper(self, slug: str, push: bytes) -> None:
        await self._store.publish(channel(slug), b"P" + push)


@lru_cache(maxsize=16_384)
def _head(epoch: bytes | None, tail: bytes | None, key: bytes | None, version: bytes | None) -> Head:
    """Most rooms stand where they stood when they were asked last."""
    return Head(
        epoch=epoch.decode() if epoch else "",
        id=tail.decode() if tail else None,
        key=key.decode() if key else None,
        version=int(version or 0),
    )


@lru_cache(maxsize=16_384)
def _head_of(slug: str) -> tuple[Standing, Standing]:
    """Asked of every room all the time."""
    return Standing("HMGET", f"{{{slug}}}:meta", "epoch", "tail", "key"), Standing(
        "HGET", f"{{{slug}}}:live", "v"
    )


def _request_field(request: Request) -> str:
    return f"{request.person}:{request.key.lower()}"


def _key_reused() -> Conflict:
    return Conflict("This key was used for another request.", field="key")


def _keys(slug: str, *names: str) -> list[str]:
    return [f"{{{slug}}}:{name}" for name in names]


def _fitting(
    flat: list[bytes], limit: int, max_bytes: int, *, ascending: bool
) -> tuple[tuple[Entry, ...], bool]:
    """The first entries of what `with_bodies` (entries.lua) answers, within both bounds (always one, so that a reader gets
    on), ascending; and whether something was left over."""
    taken: list[Entry] = []
    size_bytes = 0
    fields = iter(flat)
    for id_, prev, key, body in zip(fields, fields, fields, fields, strict=True):
        size_bytes += len(body) + PLACE_BYTES
        if len(taken) == limit or (taken and size_bytes > max_bytes):
            return tuple(taken if ascending else reversed(taken)), True
        taken.append(Entry(id_.decode(), prev.decode() or None, key.decode(), body))
    return tuple(taken if ascending else reversed(taken)), False


DAY_MS = 86_400_000

ROOMS_KEPT = 8_192
"""Rooms of which it is packed once how they are written and resumed, some 2 kB each; packed anew each time a command costs
three times as much. 10,000 people are in 5,000 rooms, and a cache that is a little too small for them would find nothing."""

TRIM_STEP = 500
"""Entries that one step of a removal takes at most: the store answers nobody else meanwhile, for about a millisecond."""

UNREAD_ENTRIES = 200
"""Entries of a room that a count of what is unread looks at, at most: well below a millisecond for short messages."""

PLACE_BYTES = 160
"""What `rooms.log.wire` adds to a body at most: names, two ids, a time and a slug."""
