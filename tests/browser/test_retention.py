"""What the operator's retention removed is gone from the page's history, and the page says so (rules L5, L6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.browser.conftest import OpenTab
from tests.support.condition import until
from tests.support.server import Server

ENDS_HERE = "Older messages are not kept."


@pytest_asyncio.fixture(loop_scope="session")
async def tidy(isolated: None, tmp_path: Path) -> AsyncIterator[Server]:
    """A server that removes every second what is not kept."""
    server = await Server(tmp_path, {"TELEMENTOR_HOUSEKEEPING_S": "1"}).start()
    yield server
    await server.close()
    assert "Traceback" not in server.log, f"the server tripped:\n{server.log[-4000:]}"


async def test_L6_the_page_says_where_history_ends(tidy: Server, open_tab: OpenTab, artifacts: Path) -> None:
    pair = await tidy.pair()
    mentor = await open_tab()
    await mentor.enter(pair.mentor.link)
    for number in range(5):
        await mentor.say(f"message {number}")
        await mentor.reads(f"message {number}")
    assert ENDS_HERE not in await mentor.conversation(), "everything is kept until somebody says otherwise"
    await tidy.command("retention", "--count", "2")
    mentee = await open_tab()
    await mentee.enter(pair.mentee.link)

    async def trimmed() -> bool:
        await mentee.open(f"{tidy.url}/r/{pair.room}")
        await mentee.reads("message 4")
        return "message 2" not in await mentee.conversation()

    await until(trimmed, "the retention to be applied")
    await mentee.reads(ENDS_HERE)
    shown = await mentee.conversation()
    assert [number for number in range(5) if f"message {number}" in shown] == [3, 4]
    await mentee.picture(artifacts / "where_history_ends.png")
