"""A store that fails over may lose the end of its log: the pages of those who wrote it bring it back (rule L5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis

from tests.browser.conftest import OpenTab
from tests.browser.meeting import Meeting
from tests.support.chromium import ChromiumTab
from tests.support.client import Options, PythonClient
from tests.support.condition import until
from tests.support.redis_servers import running
from tests.support.server import Server
from tests.support.tab import Tab

pytestmark = pytest.mark.faults

OUTBOX = """new Promise((resolve, reject) => {
  const opening = indexedDB.open('telementor.outbox');
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const asked = opening.result.transaction('entries').objectStore('entries').getAll();
    asked.onsuccess = () => { opening.result.close(); resolve(JSON.stringify(asked.result)); };
  };
})"""


class Replica:
    """A room's log as a replica has it that lags behind; its promotion cuts all connections."""

    def __init__(self, store: redis.Redis, room: str) -> None:
        self._store = store
        self._room = f"{{{room}}}*"
        self._kept: dict[bytes, tuple[bytes, int]] = {}

    def _keys(self) -> list[bytes]:
        return list(self._store.scan_iter(match=self._room, count=1000))

    def copy(self) -> None:
        """What is there now."""
        for key in self._keys():
            value = self._store.dump(key)
            assert value
            self._kept[key] = value, max(0, self._store.pttl(key))

    def promote(self) -> None:
        """From now on there is what was there when it was copied."""
        with self._store.pipeline(transaction=True) as all_at_once:
            all_at_once.delete(*self._keys())
            for key, (value, ttl_ms) in self._kept.items():
                all_at_once.restore(key, ttl_ms, value)
            all_at_once.execute()
        for kind in ("pubsub", "normal"):
            self._store.client_kill_filter(_type=kind, skipme=True)


class OnRedis:
    """A server whose store is somebody else's Redis."""

    def __init__(self, server: Server, store: redis.Redis) -> None:
        self.server = server
        self.store = store

    async def fail_over(self, replica: Replica, *tabs: Tab) -> None:
        """The server dies with its store; both come back, the store without the end of its log."""
        await self.server.kill()
        for tab in tabs:
            await tab.link_is("offline")
        replica.promote()
        await self.server.start()
        for tab in tabs:
            await tab.link_is("online")


@pytest_asyncio.fixture(loop_scope="session")
async def on_redis(isolated: None, tmp_path: Path) -> AsyncIterator[OnRedis]:
    with running("redis") as url:
        server = Server(tmp_path, {"TELEMENTOR_REDIS": url})
        await server.start()
        with redis.Redis.from_url(url) as store:
            yield OnRedis(server, store)
        await server.close()
    assert "Traceback" not in server.log, f"the server tripped:\n{server.log[-4000:]}"


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(open_tab: OpenTab, on_redis: OnRedis) -> Meeting:
    """Mentor and mentee in a room whose store will fail over."""
    tabs = [await open_tab(), await open_tab()]
    for tab in tabs:
        tab.outage_expected = True
    return await Meeting.begin(on_redis.server, await on_redis.server.pair(), tabs[0], tabs[1])


async def _say(meeting: Meeting, *said: tuple[Tab, str]) -> None:
    """One after the other, each read by both."""
    for author, text in said:
        await author.say(text)
        await asyncio.gather(meeting.mentor.reads(text), meeting.mentee.reads(text))


async def _all_sent(*tabs: Tab) -> None:
    for tab in tabs:
        await _without("waiting", tab.conversation, "the acknowledgement of everything")


async def _without(text: str, where: Callable[[], Awaitable[str]], what: str) -> None:
    async def it_is() -> bool:
        return text not in await where()

    await until(it_is, what)


async def _shows(tab: Tab, texts: list[str]) -> None:
    """Each text once, and nothing waits any more."""
    for text in texts:
        await tab.reads(text)
    await _all_sent(tab)
    assert {text: await tab.times_read(text) for text in texts} == dict.fromkeys(texts, 1)


async def _delete(tab: ChromiumTab, text: str) -> None:
    article = tab.page.get_by_role("article").filter(has_text=text)
    await article.get_by_role("button", name="Message actions").click()
    await tab.page.get_by_role("menuitem", name="Delete").click()


async def _log(meeting: Meeting) -> list[dict[str, Any]]:
    """As a client reads it that was never there."""
    client = await PythonClient(meeting.server.url, meeting.pair.mentor, Options()).connect()
    try:
        joined = await client.done("room.join", {"room": meeting.pair.room, "limit": 200})
    finally:
        await client.drop()
    events: list[dict[str, Any]] = joined["log"]["events"]
    return events


async def _logged(meeting: Meeting, texts: list[str]) -> list[str]:
    """What is in the log as soon as all of this is."""

    async def complete() -> list[str] | None:
        found = [event.get("text", "") for event in await _log(meeting)]
        return found if set(texts) <= set(found) else None

    found = await until(complete, f"{texts} in the log", timeout_s=20)
    assert found
    return found


@pytest.mark.parametrize("server_too", [True, False], ids=["with the server", "under the server"])
async def test_L5_a_rolled_back_tail_heals_by_itself(
    meeting: Meeting, on_redis: OnRedis, server_too: bool
) -> None:
    room, mentor, mentee = meeting.pair.room, meeting.mentor, meeting.mentee
    replica = Replica(on_redis.store, room)
    await _say(meeting, (mentor, "first of the mentor"), (mentee, "first of the mentee"))
    await _all_sent(mentor, mentee)
    replica.copy()
    texts = [f"lost {number}, {who}" for number in range(3) for who in ("mentor", "mentee")]
    for text in texts:
        await _say(meeting, (mentor if "mentor" in text else mentee, text))
    await _all_sent(mentor, mentee)
    if server_too:
        await on_redis.fail_over(replica, mentor, mentee)
    else:
        replica.promote()
    everything = ["first of the mentor", "first of the mentee", *texts]
    logged = await _logged(meeting, everything)
    await asyncio.gather(_shows(mentor, everything), _shows(mentee, everything))
    assert sorted(logged) == sorted(everything)
    for who in ("mentor", "mentee"):
        assert [text for text in logged if who in text] == [text for text in everything if who in text]


async def test_L8_what_was_deleted_in_the_rolled_back_tail_stays_deleted(
    meeting: Meeting, on_redis: OnRedis
) -> None:
    room, mentor, mentee = meeting.pair.room, meeting.mentor, meeting.mentee
    assert isinstance(mentor, ChromiumTab)
    replica = Replica(on_redis.store, room)
    await _say(meeting, (mentor, "regretted before"))
    replica.copy()
    await _say(meeting, (mentor, "regretted after"), (mentor, "meant"))
    for text in ("regretted before", "regretted after"):
        await _delete(mentor, text)
    await _without("regretted", mentee.conversation, "the deletion on the other page")
    await _without("regretted", lambda: mentor.evaluate(OUTBOX), "the deletion on the author's disk")
    await on_redis.fail_over(replica, mentor, mentee)
    await _logged(meeting, ["meant"])
    await asyncio.gather(_shows(mentor, ["meant"]), _shows(mentee, ["meant"]))
    for tab in (mentor, mentee):
        await _without("regretted", tab.conversation, "the deletion published again")
    assert "regretted" not in str(await _log(meeting))


async def test_L8_deleting_in_one_tab_takes_the_text_that_another_left_on_the_disk(
    meeting: Meeting, open_tab: OpenTab
) -> None:
    assert isinstance(meeting.mentor, ChromiumTab)
    other = await open_tab(beside=meeting.mentor)
    await other.open(f"{meeting.server.url}/r/{meeting.pair.room}")
    await other.link_is("online")
    await _say(meeting, (meeting.mentor, "regretted"))
    await _all_sent(meeting.mentor)
    await meeting.mentor.page.close()
    await other.reads("regretted")
    assert "regretted" in await other.evaluate(OUTBOX)
    await _delete(other, "regretted")
    await _without("regretted", lambda: other.evaluate(OUTBOX), "a disk without the deleted text")


async def test_L8_after_logging_out_nothing_that_was_said_stays_on_the_device(meeting: Meeting) -> None:
    mentor = meeting.mentor
    await _say(meeting, (mentor, "said on a shared computer"))
    await _all_sent(mentor)
    assert "shared computer" in await mentor.evaluate(OUTBOX), "kept for a rollback"
    await mentor.open(f"{meeting.server.url}/")
    await mentor.press("Log out")
    await _without("shared computer", lambda: mentor.evaluate(OUTBOX), "an empty disk")


async def test_L5_a_page_that_was_closed_brings_its_part_when_it_is_opened_again(
    meeting: Meeting, on_redis: OnRedis, open_tab: OpenTab
) -> None:
    room, mentor = meeting.pair.room, meeting.mentor
    assert isinstance(mentor, ChromiumTab)
    replica = Replica(on_redis.store, room)
    await _say(meeting, (mentor, "before"))
    replica.copy()
    await _say(meeting, (mentor, "lost, one"), (mentor, "lost, two"))
    await _all_sent(mentor)
    again = await open_tab(beside=mentor)
    again.outage_expected = True
    await mentor.page.close()
    await on_redis.fail_over(replica, meeting.mentee)
    await again.open(f"{meeting.server.url}/r/{room}")
    texts = ["before", "lost, one", "lost, two"]
    assert await _logged(meeting, texts) == texts
    await asyncio.gather(_shows(again, texts), _shows(meeting.mentee, texts))
