"""The room log's guarantees (rooms.ports.RoomLog), on our Valkey, on Debian's Redis 7.0 and on a Cluster of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rooms import events
from rooms.errors import Conflict, Invalid, Limited, NotFound, Unavailable
from rooms.events import CallStarted, ChatDeleted, ChatEdited, ChatPosted, ChatReacted, Posted
from rooms.ids import event_at, event_order
from rooms.ports import (
    Draft,
    LiveSwap,
    LiveValue,
    Rate,
    Request,
    Retention,
    Rewrite,
    Seen,
    Stale,
    Trimmed,
    Written,
)
from signaling.stores.channels import Channels
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import TRIM_STEP, UNREAD_ENTRIES, RedisRoomLog, channel
from signaling.stores.store import Store
from tests.support.condition import until

pytestmark = [pytest.mark.contract, pytest.mark.integration]

BIG = 1_000_000


@pytest.fixture
def redis(store: Store) -> Any:
    return store.redis


@pytest.fixture
def log(store: Store) -> RedisRoomLog:
    return RedisRoomLog(store)


@pytest.fixture
def slug() -> str:
    return uuid.uuid4().hex


def key() -> str:
    return str(uuid.uuid4())


def posted(text: str, request_key: str, by: str = "ann") -> Draft:
    return Draft(request_key, events.encode(ChatPosted(by=by, key=request_key, text=text)))


async def say(
    log: RedisRoomLog, slug: str, text: str, request_key: str | None = None, by: str = "ann"
) -> Written:
    request_key = request_key or key()
    return await log.write(
        slug, (posted(text, request_key, by),), request=Request(by, request_key, "chat.send")
    )


async def edit(log: RedisRoomLog, slug: str, ref: str, seen: str, text: str) -> Written:
    change = key()
    body = events.encode(
        ChatEdited(by="ann", key=change, ref=ref, text=text, posted=Posted(at=event_at(ref), by="ann"))
    )
    rewrite = Rewrite(ref, seen, "edit")
    return await log.write(
        slug, (Draft(change, body),), request=Request("ann", change, "chat.edit"), rewrite=rewrite
    )


async def delete(log: RedisRoomLog, slug: str, ref: str, seen: str) -> Written:
    change = key()
    body = events.encode(ChatDeleted(by="ann", key=change, ref=ref))
    rewrite = Rewrite(ref, seen, "delete")
    return await log.write(
        slug, (Draft(change, body),), request=Request("ann", change, "chat.delete"), rewrite=rewrite
    )


async def react(log: RedisRoomLog, slug: str, ref: str, seen: str) -> Written:
    change = key()
    body = events.encode(ChatReacted(by="bob", key=change, ref=ref, emoji="👍", on=True))
    return await log.write(
        slug,
        (Draft(change, body),),
        request=Request("bob", change, "chat.react"),
        rewrite=Rewrite(ref, seen, "react"),
    )


async def all_of(log: RedisRoomLog, slug: str) -> list[str]:
    page = await log.page(slug, before=None, after="0-0", limit=200, max_bytes=BIG)
    assert not page.more
    return [entry.id for entry in page.entries]


async def test_L1_ids_grow_and_prev_names_the_one_before(log: RedisRoomLog, slug: str) -> None:
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(20)]
    entries = (await log.page(slug, before=None, after="0-0", limit=50, max_bytes=BIG)).entries
    assert [entry.id for entry in entries] == ids == sorted(ids, key=event_order)
    assert [entry.prev for entry in entries] == [None, *ids[:-1]]
    assert await log.heads([]) == []
    assert (await log.heads([slug]))[0].id == ids[-1]


async def test_L1_concurrent_writers_make_one_chain(log: RedisRoomLog, slug: str) -> None:
    await asyncio.gather(*(say(log, slug, f"{number}", by=f"p{number % 3}") for number in range(60)))
    entries = (await log.page(slug, before=None, after="0-0", limit=200, max_bytes=BIG)).entries
    assert len(entries) == 60
    assert [entry.prev for entry in entries][1:] == [entry.id for entry in entries][:-1]


async def test_L3_the_same_key_appends_once(log: RedisRoomLog, slug: str) -> None:
    again = key()
    first = await say(log, slug, "one", again)
    answers = await asyncio.gather(*(say(log, slug, "one", again.upper()) for _ in range(10)))
    assert all(answer == Written(first.ids, dup=True) for answer in answers)
    assert await all_of(log, slug) == [first.ids[0]]


async def test_L3_a_key_belongs_to_its_person(log: RedisRoomLog, slug: str) -> None:
    same = key()
    assert (await say(log, slug, "a", same, by="ann")).ids != (await say(log, slug, "b", same, by="bob")).ids


async def test_L3_the_same_key_with_another_verb_is_a_conflict(log: RedisRoomLog, slug: str) -> None:
    same = key()
    first = await say(log, slug, "a", same)
    with pytest.raises(Conflict):
        await log.write(slug, (posted("x", same),), request=Request("ann", same, "chat.react"))
    with pytest.raises(Conflict):
        await log.newest(slug, first.ids[0], Request("ann", same, "chat.edit"))
    assert await all_of(log, slug) == list(first.ids)


async def test_L3_the_day_changes_and_the_key_is_still_known(
    log: RedisRoomLog, redis: Any, slug: str
) -> None:
    """The store's own clock decides the day; yesterday's generation is looked into as well."""
    same = key()
    first = await say(log, slug, "a", same)
    (today,) = [name async for name in redis.scan_iter(match=f"{{{slug}}}:keys:*")]
    day = int(today.rsplit(b":", 1)[1])
    await redis.rename(today, f"{{{slug}}}:keys:{day - 1}")
    assert await say(log, slug, "a", same) == Written(first.ids, dup=True)
    await redis.rename(f"{{{slug}}}:keys:{day - 1}", f"{{{slug}}}:keys:{day - 2}")
    assert not (await say(log, slug, "a", same)).dup


async def test_rate_a_burst_then_so_many_a_second(log: RedisRoomLog, slug: str) -> None:
    rate = Rate("ann", per_s=2, burst=5)

    async def request(request_key: str) -> Written:
        return await log.write(
            slug, (posted("x", request_key),), request=Request("ann", request_key, "chat.send"), rate=rate
        )

    keys = [key() for _ in range(6)]
    for request_key in keys[:5]:
        await request(request_key)
    with pytest.raises(Limited) as limited:
        await request(keys[5])
    assert limited.value.retry_ms is not None
    assert 0 < limited.value.retry_ms <= 500
    assert (await request(keys[0])).dup, "a request that was done before costs nothing"
    assert len(await all_of(log, slug)) == 5
    await log.write(slug, (posted("x", key(), "bob"),), rate=Rate("bob", per_s=2, burst=5))


async def test_L5_resume_after_a_cursor(log: RedisRoomLog, slug: str) -> None:
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(10)]
    newest = await log.resume(slug, None, 4, BIG)
    assert [entry.id for entry in newest.entries] == ids[-4:]
    assert (newest.more, newest.reset, newest.head) == (True, None, ids[-1])
    after = await log.resume(slug, Seen(newest.epoch, ids[6], newest.entries[0].key), 50, BIG)
    assert [entry.id for entry in after.entries] == ids[7:]
    assert (after.more, after.reset) == (False, None)
    behind = await log.resume(slug, Seen(newest.epoch, ids[0], None), 3, BIG)
    assert [entry.id for entry in behind.entries] == ids[1:4]
    assert behind.more
    nothing_yet = await log.resume(slug, Seen(newest.epoch, None, None), 3, BIG)
    assert [entry.id for entry in nothing_yet.entries] == ids[:3]
    assert nothing_yet.reset is None


async def test_L5_an_empty_log_has_an_epoch_that_stays(log: RedisRoomLog, slug: str) -> None:
    first = await log.resume(slug, None, 10, BIG)
    assert (first.head, first.entries, first.more) == (None, (), False)
    again = await log.resume(slug, Seen(first.epoch, None, None), 10, BIG)
    assert (again.epoch, again.reset) == (first.epoch, None)
    await say(log, slug, "x")
    assert (await log.resume(slug, None, 10, BIG)).epoch == first.epoch


async def test_L5_resets(log: RedisRoomLog, slug: str) -> None:
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(5)]
    epoch = (await log.heads([slug]))[0].epoch
    assert (await log.resume(slug, Seen("another", ids[2], None), 10, BIG)).reset == "epoch"
    wrong_key = await log.resume(slug, Seen(epoch, ids[2], key()), 10, BIG)
    assert wrong_key.reset == "diverged", "a promoted replica used the id again for something else"
    assert [entry.id for entry in wrong_key.entries] == ids, "a reset brings the newest page"
    beyond = f"{event_at(ids[-1]) + 1}-0"
    assert (await log.resume(slug, Seen(epoch, beyond, None), 10, BIG)).reset == "diverged"


async def test_L6_pages_and_their_bounds(log: RedisRoomLog, slug: str) -> None:
    ids = [(await say(log, slug, "x" * 1_000)).ids[0] for _ in range(10)]

    async def page(
        before: str | None, after: str | None, limit: int, size: int = BIG
    ) -> tuple[list[str], bool]:
        read = await log.page(slug, before=before, after=after, limit=limit, max_bytes=size)
        return [entry.id for entry in read.entries], read.more

    assert await page(None, None, 3) == (ids[-3:], True)
    assert await page(ids[3], None, 3) == (ids[:3], False)
    assert await page(ids[4], None, 3) == (ids[1:4], True)
    assert await page(None, ids[6], 3) == (ids[7:], False)
    assert await page(None, ids[5], 3) == (ids[6:9], True)
    assert await page(None, None, 10, 3_900) == (ids[-3:], True)
    assert await page(None, "0-0", 10, 3_900) == (ids[:3], True)
    assert await page(None, "0-0", 10, 10) == (ids[:1], True), "always one, so that a reader gets on"


# Retention


async def trim(log: RedisRoomLog, slug: str, *, days: int | None = None, count: int | None = None) -> int:
    """All steps of retention; how many entries they removed."""
    removed = 0
    while (step := await log.trim(slug, Retention(days=days, count=count))).more:
        removed += step.entries
    return removed


async def said_long_ago(redis: Any, slug: str, days: int, text: str) -> str:
    """An entry as `write` makes it, at a time that the store's clock has passed. Only for a log that is still empty, or ends
    before."""
    draft, prev = posted(text, key()), await redis.hget(f"{{{slug}}}:meta", "tail") or b""
    at = f"{(int(time.time()) - days * 86_400) * 1000}-*"
    id_ = (await redis.xadd(f"{{{slug}}}:log", {"p": prev, "k": draft.key}, id=at)).decode()
    await redis.hset(f"{{{slug}}}:bodies", id_, draft.body)
    await redis.hset(f"{{{slug}}}:meta", mapping={"epoch": "e", "tail": id_, "key": draft.key})
    return id_


async def reset_of(
    log: RedisRoomLog, slug: str, id_: str | None, cursor_key: str | None = None
) -> str | None:
    epoch = (await log.heads([slug]))[0].epoch
    return (await log.resume(slug, Seen(epoch, id_, cursor_key), 200, BIG)).reset


async def test_retention_by_count_keeps_the_newest(log: RedisRoomLog, slug: str) -> None:
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(10)]
    assert await trim(log, slug, count=10) == 0
    assert (await log.resume(slug, None, 10, BIG)).floor is None, "nothing was removed"
    assert await trim(log, slug, count=4) == 6
    assert await all_of(log, slug) == ids[6:]
    page = await log.page(slug, before=None, after=None, limit=10, max_bytes=BIG)
    assert (page.floor, page.more) == (ids[5], False)
    assert page.entries[0].prev == ids[5], "a kept entry may name a removed one"
    assert (await log.resume(slug, None, 10, BIG)).floor == ids[5]


async def test_retention_by_age_goes_by_the_clock_of_the_store(
    log: RedisRoomLog, redis: Any, slug: str
) -> None:
    old = [await said_long_ago(redis, slug, days, "old") for days in (40, 30, 20)]
    new = (await say(log, slug, "new")).ids[0]
    assert await trim(log, slug, days=41) == 0
    assert await trim(log, slug, days=25) == 2
    assert await all_of(log, slug) == [old[2], new]
    assert await trim(log, slug, days=25, count=1) == 1, "what either bound removes is removed"
    assert await trim(log, slug, days=1) == 0
    assert await all_of(log, slug) == [new]


async def test_L5_a_cursor_before_the_floor_is_trimmed_and_one_at_it_is_good(
    log: RedisRoomLog, slug: str
) -> None:
    keys = [key() for _ in range(5)]
    ids = [(await say(log, slug, "x", each)).ids[0] for each in keys]
    await trim(log, slug, count=2)
    assert await reset_of(log, slug, ids[1]) == "trimmed"
    assert await reset_of(log, slug, None) == "trimmed", "nothing seen, and something is missing"
    assert await reset_of(log, slug, ids[2]) is None, "nothing after it is missing"
    assert await reset_of(log, slug, ids[2], keys[2]) is None
    assert await reset_of(log, slug, ids[2], keys[1]) == "diverged"
    assert await reset_of(log, slug, ids[3], keys[3]) is None
    epoch = (await log.heads([slug]))[0].epoch
    resumed = await log.resume(slug, Seen(epoch, ids[2], keys[2]), 10, BIG)
    assert [entry.id for entry in resumed.entries] == ids[3:]


async def test_retention_of_everything_leaves_a_log_that_goes_on(
    log: RedisRoomLog, redis: Any, slug: str
) -> None:
    last = [await said_long_ago(redis, slug, 9, "old") for _ in range(3)][-1]
    assert await trim(log, slug, days=1) == 3
    assert (await log.heads([slug]))[0].id == last
    assert await reset_of(log, slug, last) is None
    next_ = (await say(log, slug, "again")).ids[0]
    page = await log.page(slug, before=None, after="0-0", limit=10, max_bytes=BIG)
    assert [(entry.id, entry.prev) for entry in page.entries] == [(next_, last)]


async def test_retention_removes_the_words(log: RedisRoomLog, redis: Any, slug: str) -> None:
    """An edited message's text is where the edit is, and goes with it."""
    first = (await say(log, slug, "a secret")).ids[0]
    edited = (await edit(log, slug, first, first, "a secret as well")).ids[0]
    await say(log, slug, "kept")
    assert await trim(log, slug, count=1) == 1
    everything = [await redis.dump(name) async for name in redis.scan_iter(match=f"{{{slug}}}*")]
    assert not any(b"secret" in dumped for dumped in everything if dumped)
    assert not await redis.exists(f"{{{slug}}}:gone", f"{{{slug}}}:current")
    assert (await log.newest(slug, first, Request("ann", key(), "chat.edit"))).entry is None
    with pytest.raises(Stale):
        await edit(log, slug, first, edited, "back again")
    with pytest.raises(NotFound):
        await log.write(slug, (posted("x", key()),), answers=first)


async def test_retention_works_in_bounded_steps(log: RedisRoomLog, redis: Any, slug: str) -> None:
    """Also over what is known of removed entries: a room of many edits has more of them than entries."""
    whole = Retention(days=None, count=1)
    for _ in range(2 * TRIM_STEP // 50):
        pipe = redis.pipeline()
        for _ in range(50):
            id_ = (await redis.xadd(f"{{{slug}}}:log", {"p": "", "k": key()})).decode()
            pipe.hset(f"{{{slug}}}:bodies", id_, b"x")
            pipe.hset(f"{{{slug}}}:gone", f"1-{id_.split('-')[0]}{id_.split('-')[1]}", key())
        await pipe.execute()
    last = (await say(log, slug, "last")).ids[0]
    steps = [step := await log.trim(slug, whole)]
    while step.more:
        steps.append(step := await log.trim(slug, whole))
    assert max(step.entries for step in steps) == TRIM_STEP
    assert sum(step.entries for step in steps) == 2 * TRIM_STEP
    assert await all_of(log, slug) == [last]
    assert await redis.hkeys(f"{{{slug}}}:bodies") == [last.encode()]
    assert not await redis.exists(f"{{{slug}}}:gone")
    assert (await log.trim(slug, whole)) == Trimmed(0, more=False)


@pytest.mark.parametrize("steps_done", [1, 2])
async def test_retention_that_was_cut_short_is_finished_by_the_next(
    log: RedisRoomLog, redis: Any, slug: str, steps_done: int
) -> None:
    first = (await say(log, slug, "a")).ids[0]
    await edit(log, slug, first, first, "b")
    await say(log, slug, "kept")
    for _ in range(steps_done):
        assert (await log.trim(slug, Retention(days=None, count=1))).more
    await trim(log, slug)
    assert not await redis.exists(f"{{{slug}}}:gone", f"{{{slug}}}:current")


Act = st.sampled_from(["say", "edit", "delete", "react"])
Acts = st.lists(
    st.tuples(Act, st.integers(0, 30)) | st.tuples(st.just("trim"), st.integers(1, 6)), max_size=25
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=Acts)
def test_retention_never_removes_what_is_to_be_kept(store_url: str, acts: list[tuple[str, int]]) -> None:
    """Whatever is said, edited, deleted and answered between: the newest `count` entries are there, everything else that was
    trimmed is nowhere, and each cursor that was ever good is told the truth."""

    async def whole() -> None:
        store = connect(store_url, 5)
        try:
            await _kept(RedisRoomLog(store), store.redis, uuid.uuid4().hex, acts)
        finally:
            await store.aclose()

    asyncio.run(whole())


async def _kept(log: RedisRoomLog, redis: Any, slug: str, acts: list[tuple[str, int]]) -> None:
    ever: list[str] = []  # every id that there ever was
    there: list[str] = []  # those that should be in the log
    refs: dict[str, str] = {}  # message → its newest entry
    floor: str | None = None
    for act, number in acts:
        ref = list(refs)[number % len(refs)] if refs else ""
        if act == "trim":
            doomed = there[: max(0, len(there) - number)]
            assert await trim(log, slug, count=number) == len(doomed)
            there = there[len(doomed) :]
            floor = doomed[-1] if doomed else floor
            refs = {ref: held for ref, held in refs.items() if held in there}
            continue
        if act == "say" or not ref:
            new = (await say(log, slug, "text")).ids[0]
            refs[new] = new
        elif act == "react":
            new = (await react(log, slug, ref, refs[ref])).ids[0]
        else:
            there.remove(refs[ref])
            if act == "edit":
                new = refs[ref] = (await edit(log, slug, ref, refs[ref], "more")).ids[0]
            else:
                new = (await delete(log, slug, ref, refs.pop(ref))).ids[0]
        there.append(new)
        ever.append(new)
        assert await all_of(log, slug) == there
    assert await all_of(log, slug) == there
    assert sorted(await redis.hkeys(f"{{{slug}}}:bodies")) == sorted(id_.encode() for id_ in there)
    resumed = await log.resume(slug, None, 200, BIG)
    assert resumed.floor == floor
    for ref, held in refs.items():
        found = await log.newest(slug, ref, Request("ann", key(), "chat.edit"))
        assert found.entry is not None
        assert found.entry.id == held
    for id_ in ever:
        lost = floor is not None and event_order(id_) < event_order(floor)
        assert await reset_of(log, slug, id_) == ("trimmed" if lost else None), id_
    known = await redis.hkeys(f"{{{slug}}}:gone") + await redis.hvals(f"{{{slug}}}:current")
    assert all(event_order(id_.decode()) > event_order(floor or "0-0") for id_ in known)


async def test_L8_an_edit_leaves_only_the_newest_text(log: RedisRoomLog, redis: Any, slug: str) -> None:
    first = (await say(log, slug, "a secret slip")).ids[0]
    other = (await say(log, slug, "between")).ids[0]
    second = (await edit(log, slug, first, first, "another slip")).ids[0]
    third = (await edit(log, slug, first, second, "said well")).ids[0]
    assert await all_of(log, slug) == [other, third]
    found = await log.newest(slug, first, Request("ann", key(), "chat.edit"))
    assert found.entry is not None
    assert found.entry.id == third
    everything = [await redis.dump(name) async for name in redis.scan_iter(match=f"{{{slug}}}*")]
    assert not any(b"slip" in dumped for dumped in everything if dumped)
    epoch = (await log.heads([slug]))[0].epoch
    for removed in (first, second):
        resumed = await log.resume(slug, Seen(epoch, removed, None), 10, BIG)
        assert resumed.reset is None, "a cursor on a removed entry is still good"
        assert [entry.id for entry in resumed.entries][-1] == third


async def test_L8_a_deleted_message_is_nowhere(log: RedisRoomLog, slug: str) -> None:
    first = (await say(log, slug, "a secret")).ids[0]
    deleted = (await delete(log, slug, first, first)).ids[0]
    assert await all_of(log, slug) == [deleted]
    with pytest.raises(Stale):
        await edit(log, slug, first, first, "back again")
    found = await log.newest(slug, first, Request("ann", key(), "chat.edit"))
    assert found.entry is not None
    assert isinstance(events.decode(found.entry.body), ChatDeleted)


async def test_L8_forgotten_entries_are_nowhere_and_cursors_on_them_are_good(
    log: RedisRoomLog, redis: Any, slug: str
) -> None:
    first = (await say(log, slug, "kept")).ids[0]
    reactions = [(await react(log, slug, first, first)).ids[0] for _ in range(2)]
    between = (await say(log, slug, "kept too")).ids[0]
    reactions.append((await react(log, slug, first, first)).ids[0])
    for person in ("ann", "bob"):
        await log.mark_read(slug, person, first, b"push")
    keys = {entry.id: entry.key for entry in (await log.resume(slug, None, 10, BIG)).entries}
    for _ in range(2):
        await log.forget(slug, "bob", [*reactions, f"{event_at(first) + 60_000}-0"])
        assert await all_of(log, slug) == [first, between]
        resumed = await log.resume(slug, None, 10, BIG)
        assert (resumed.read, resumed.head) == ({"ann": first}, reactions[-1])
        assert set(await redis.hkeys(f"{{{slug}}}:bodies")) == {first.encode(), between.encode()}
        assert set(await redis.hkeys(f"{{{slug}}}:gone")) == {id_.encode() for id_ in reactions}
        for id_ in reactions:
            assert await reset_of(log, slug, id_, keys[id_]) is None
            assert await reset_of(log, slug, id_, key()) == "diverged"
    next_ = (await say(log, slug, "it goes on")).ids[0]
    (entry,) = (await log.resume(slug, Seen(resumed.epoch, reactions[-1], None), 10, BIG)).entries
    assert (entry.id, entry.prev) == (next_, reactions[-1])


async def test_more_entries_than_one_step_takes_are_forgotten(
    log: RedisRoomLog, redis: Any, slug: str
) -> None:
    pipe = redis.pipeline()
    for number in range(2 * TRIM_STEP + 1):
        pipe.xadd(f"{{{slug}}}:log", {"p": "", "k": key()}, id=f"1-{number + 1}")
    await pipe.execute()
    ids = [f"1-{number + 1}" for number in range(2 * TRIM_STEP + 1)]
    await log.forget(slug, "bob", ids)
    assert await redis.xlen(f"{{{slug}}}:log") == 0
    assert await redis.hlen(f"{{{slug}}}:gone") == len(ids)


async def test_a_read_mark_is_forgotten_without_an_entry(log: RedisRoomLog, slug: str) -> None:
    first = (await say(log, slug, "x")).ids[0]
    await log.mark_read(slug, "bob", first, b"push")
    await log.forget(slug, "bob", [])
    resumed = await log.resume(slug, None, 10, BIG)
    assert (resumed.read, [entry.id for entry in resumed.entries]) == ({}, [first])


async def test_L8_of_two_edits_at_once_one_wins(log: RedisRoomLog, slug: str) -> None:
    first = (await say(log, slug, "a")).ids[0]
    outcomes = await asyncio.gather(
        *(edit(log, slug, first, first, f"b{number}") for number in range(8)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Written) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Stale) for outcome in outcomes) == 7
    assert len(await all_of(log, slug)) == 1


async def test_newest_knows_a_request_that_was_done(log: RedisRoomLog, slug: str) -> None:
    first = (await say(log, slug, "a")).ids[0]
    request = Request("ann", key(), "chat.delete")
    body = events.encode(ChatDeleted(by="ann", key=request.key, ref=first))
    done = await log.write(
        slug, (Draft(request.key, body),), request=request, rewrite=Rewrite(first, first, "delete")
    )
    found = await log.newest(slug, first, request)
    assert found.done == Written(done.ids, dup=True)


async def test_live_values_are_compared_and_set(log: RedisRoomLog, slug: str) -> None:
    first = await log.write(slug, (), live=LiveSwap(0, b"one"))
    assert first.version > 0
    with pytest.raises(Stale):
        await log.write(slug, (posted("x", key()),), live=LiveSwap(0, b"lost"))
    second = await log.write(slug, (posted("x", key()),), live=LiveSwap(first.version, b"two"))
    assert await log.live(slug) == LiveValue(second.version, b"two")
    head = (await log.heads([slug]))[0]
    assert (head.version, head.id) == (second.version, second.ids[0])
    assert len(await all_of(log, slug)) == 1, "what was refused has written nothing"


async def test_R5_a_version_is_never_used_again(log: RedisRoomLog, redis: Any, slug: str) -> None:
    """Not even after a failover that lost the last steps: what was decided on them is refused."""
    first = await log.write(slug, (), live=LiveSwap(0, b"one"))
    lost = await log.write(slug, (), live=LiveSwap(first.version, b"lost"))
    await redis.hset(f"{{{slug}}}:live", mapping={"v": first.version, "s": b"one"})
    again = await log.write(slug, (), live=LiveSwap(first.version, b"two"))
    assert again.version != lost.version
    with pytest.raises(Stale):
        await log.write(slug, (), live=LiveSwap(lost.version, b"decided on what was lost"))


async def test_L10_read_marks_go_forward_only(log: RedisRoomLog, slug: str) -> None:
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(3)]
    assert await log.mark_read(slug, "bob", ids[1], b"push")
    assert not await log.mark_read(slug, "bob", ids[0], b"push")
    assert not await log.mark_read(slug, "bob", ids[1], b"push")
    with pytest.raises(Invalid):
        await log.mark_read(slug, "bob", f"{event_at(ids[2])}-999", b"push")
    assert (await log.resume(slug, None, 1, BIG)).read == {"bob": ids[1]}


async def test_L10_what_is_unread_are_messages_of_others_behind_the_mark(
    log: RedisRoomLog, slug: str
) -> None:
    async def unread(person: str = "bob", most: int = 99) -> int:
        (count,) = await log.unread([slug], person, most)
        return count

    assert await unread() == 0
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(3)]
    mine = (await say(log, slug, "mine", by="bob")).ids[0]
    await log.write(slug, (Draft(key(), events.encode(CallStarted(by="ann", key=key(), call="c"))),))
    assert (await unread(), await unread("ann"), await unread(most=2)) == (3, 1, 2)
    await log.mark_read(slug, "bob", ids[0], b"push")
    assert await unread() == 2
    await edit(log, slug, ids[0], ids[0], "read before, edited since")
    edited = (await edit(log, slug, ids[1], ids[1], "not read yet, edited")).ids[0]
    assert await unread() == 2
    change = key()
    body = events.encode(ChatDeleted(by="ann", key=change, ref=ids[1]))
    await log.write(slug, (Draft(change, body),), rewrite=Rewrite(ids[1], edited, "delete"))
    assert await unread() == 1
    await log.mark_read(slug, "bob", mine, b"push")
    assert await unread() == 0


async def test_L10_unread_messages_of_many_rooms_are_counted_in_bounded_steps(
    log: RedisRoomLog, store: Store
) -> None:
    """Many more than are counted, behind a new store's first look at the script."""
    slugs = [uuid.uuid4().hex for _ in range(20)]
    for slug in slugs[:2]:
        await log.write(slug, tuple(posted("x", key()) for _ in range(1_000)))
    await log.write(slugs[2], tuple(posted("x", key(), by="ann") for _ in range(150)))
    await log.write(slugs[2], tuple(posted("x", key(), by="bob") for _ in range(50)))
    await log.write(slugs[3], (posted("x", key()),))
    await log.write(slugs[3], tuple(posted("x", key(), by="bob") for _ in range(UNREAD_ENTRIES)))
    await store.on_each_primary("SCRIPT", "FLUSH")
    counts = await log.unread(slugs, "bob", 99)
    assert counts == [99, 99, 99, 0, *[0] * 16], "beyond the entries that are looked at nothing is found"
    assert await log.unread([], "bob", 99) == []


@pytest.fixture
async def ears(store: Store) -> AsyncIterator[Ears]:
    made = Ears(store)
    yield made
    await made.close()


class Ears:
    """Channels that remember what they heard and which of them came back."""

    def __init__(self, store: Store) -> None:
        self.heard: list[bytes] = []
        self.restored: list[str] = []
        self.channels = Channels(store, lambda _, message: self.heard.append(message), self.restored.append)
        self._task = asyncio.create_task(self.channels.run())

    async def close(self) -> None:
        self._task.cancel()
        await self.channels.stop()


async def test_L2_the_channel_tells_in_order_what_was_written(
    log: RedisRoomLog, ears: Ears, slug: str
) -> None:
    await ears.channels.subscribe(channel(slug))
    ids = [(await say(log, slug, f"{number}")).ids[0] for number in range(5)]
    await log.whisper(slug, b"- - typing x")
    last = await log.write(slug, (posted("last", key()),), live=LiveSwap(0, b"blob"))
    await until(lambda: len(ears.heard) == 8, "all that was published")
    assert [message.split(b" ")[1].decode() for message in ears.heard[:5]] == ids
    assert ears.heard[5] == b"P- - typing x"
    assert ears.heard[6].startswith(b"L")
    assert ears.heard[7] == f"S{last.version} blob".encode()


async def test_R2_entering_and_reading_are_one_step(log: RedisRoomLog, ears: Ears, slug: str) -> None:
    await ears.channels.subscribe(channel(slug))
    said = (await say(log, slug, "before")).ids
    entered = await log.resume(slug, None, 10, BIG, LiveSwap(0, b"one"))
    assert ([entry.id for entry in entered.entries], entered.swapped) == ([*said], True)
    assert (entered.version > 0, entered.blob) == (True, b"one")
    assert await log.live(slug) == LiveValue(entered.version, b"one")
    late = await log.resume(slug, None, 10, BIG, LiveSwap(0, b"lost"))
    assert (late.swapped, late.version, late.blob) == (False, entered.version, b"one")
    next_ = await log.resume(slug, None, 10, BIG, LiveSwap(entered.version, b"two"))
    assert next_.swapped
    assert next_.version > entered.version
    only_read = await log.resume(slug, None, 10, BIG)
    assert (only_read.swapped, only_read.version, only_read.blob) == (False, next_.version, b"two")
    told = [f"S{entered.version} one".encode(), f"S{next_.version} two".encode()]
    await until(lambda: ears.heard[1:] == told, "each value once")


async def test_L2_lost_channels_come_back_and_say_so(
    store: Store, log: RedisRoomLog, ears: Ears, slug: str
) -> None:
    slugs = [f"{slug}{number}" for number in range(12)]
    for one in slugs:
        await ears.channels.subscribe(channel(one))
    await store.on_each_primary("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: set(ears.restored) == {channel(one) for one in slugs}, "the channels are back")
    await log.whisper(slugs[3], b"again")
    await until(lambda: ears.heard == [b"Pagain"], "heard again")


async def test_L2_what_is_not_wanted_any_more_is_not_looked_for(
    store: Store, log: RedisRoomLog, ears: Ears, slug: str
) -> None:
    await ears.channels.subscribe(channel(slug))
    await ears.channels.subscribe(channel(slug + "2"))
    ears.channels.unsubscribe(channel(slug))
    await store.on_each_primary("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: ears.restored == [channel(slug + "2")], "the one that is wanted")
    await log.whisper(slug, b"nobody listens")
    await log.whisper(slug + "2", b"heard")
    await until(lambda: ears.heard == [b"Pheard"], "only the one that is wanted")


async def test_a_store_that_is_away_is_unavailable() -> None:
    client = connect("unix:///nowhere/at/all.sock", 1)
    with pytest.raises(Unavailable) as away:
        await RedisRoomLog(client).write("room", (posted("x", key()),))
    assert away.value.retry_ms
    await client.aclose()


async def test_a_command_that_is_cancelled_is_never_answered(log: RedisRoomLog, slug: str) -> None:
    """Wherever in it that happens. Else whoever goes on and on could not be ended."""
    for steps in range(40):
        asking = asyncio.create_task(log.page(slug, before=None, after=None, limit=1, max_bytes=BIG))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not asking.cancel():
            break
        await asyncio.wait([asking])
        assert asking.cancelled(), f"after {steps} steps"


async def test_a_restarted_store_is_given_the_scripts_again(
    log: RedisRoomLog, store: Store, slug: str
) -> None:
    await say(log, slug, "a")
    await store.on_each_primary("SCRIPT", "FLUSH")
    assert len((await say(log, slug, "b")).ids) == 1
