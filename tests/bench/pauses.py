"""How long the event loop of one node does not turn: everything that is large, while people write.

`watched.py` is the node's program; it notes when its loop was late, and what ran then.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from signaling.data_folder import DataFolder
from signaling.stores.directory import Directory
from signaling.stores.embedded import EmbeddedStore
from tests.bench.contestants import SETTINGS, Contestant, Running, settle, telementor_alone
from tests.bench.cores import OTHER_CORES, SERVER_CORE, pin
from tests.bench.crowd import AT_ONCE, PAIRS, many_files
from tests.bench.load import Load, generator
from tests.bench.page import Say, table
from tests.support.server import Server

TALKING = 100
"""Pairs of those who write all the time."""

COMING = 50
"""Pairs of those who drop and come back, and how many of them a second."""

READING = 10
"""Pairs with long histories of long messages."""

LONG_MESSAGES = 300
WINDOW_S = 6.0
PAGES_PER_S = 20
CHANGES = 500
KEPT = 50
"""Messages of a room that the retention leaves."""

STACKS = 3
"""Of the longest pause: those that were seen most often."""

SOME_S, PAUSE_S = 0.02, 0.05
"""Longer ones are counted; there should be none of the second."""

RAISED = {
    **SETTINGS,
    "TELEMENTOR_PAGE_BYTES": "1048576",
    "TELEMENTOR_HOUSEKEEPING_S": "5",
    "TELEMENTOR_DRAIN_S": "1",
}

ABOUT = f"""\
One node with its own Valkey (fsync before each acknowledgement) on a core of its own, {2 * PAIRS:,} silent clients on it,
and chat at half of what it can. How late its event loop came to what was due, without the time in which it was ready and had
no processor; collections of garbage are part of it. Windows of {WINDOW_S:g} s."""

HEADINGS = (
    *("what else happens", "longest, ms", f"over {SOME_S * 1000:.0f} ms", f"over {PAUSE_S * 1000:.0f} ms"),
    *("with the machine's part, ms", "longest collection, ms", "chat p99 / longest, ms", "what ran in the longest"),
)  # fmt: skip

Thing = Callable[[], Awaitable[Any]]


class Late(Struct):
    """A line of `watched.py`."""

    at_s: float
    late_s: float
    stood_s: float
    gc_s: float
    stacks: list[tuple[str, int]]

    @property
    def own_s(self) -> float:
        """Without the time in which there was no processor for it."""
        return max(0.0, self.late_s - self.stood_s)


async def measure(folder: Path, seconds: float, say: Say, *, silent: int = PAIRS) -> None:
    """One thing after the other; `silent` pairs are there beside those who do something."""
    del seconds  # WINDOW_S
    many_files()
    lines = folder / "late.jsonl"
    server = Server(folder, RAISED, program=(sys.executable, "-m", "tests.bench.watched", str(lines)))
    try:
        await server.start()
        (store,) = server.stores()
        pin(server.pid, SERVER_CORE)
        pin(store, OTHER_CORES)
        database = f"sqlite:///{server.data / 'telementor.db'}"
        pairs = await settle(database, silent + TALKING + COMING + READING)
        async with generator() as load:
            await _come(load, Running([server.url], [server.pid], store, pairs), silent)
            rows = await _beside_chat(load, _things(load, server, database, pairs[-1].room), lines)
            start_s = time.monotonic()
            await server.terminate()
            rows.append(["nobody writes, and the node is told to stop", *_cells({}, _since(lines, start_s))])
    finally:
        await server.close()
    say(f"\n## Pauses\n\n{ABOUT}\n\n{table(HEADINGS, rows)}")


async def _come(load: Load, running: Running, silent: int) -> None:
    people = Contestant("", telementor_alone).people(running)
    sizes = {"silent": silent, "talking": TALKING, "coming": COMING, "reading": READING}
    for number, (name, size) in enumerate(sizes.items()):
        key = f"00000000-0000-4000-8{number:03x}-"
        load.crowd(name, people[: size * 2], engine_io=True, key=key)
        del people[: size * 2]
        await load("come_in", name, at_once=AT_ONCE)
    await load("fill", "coming")
    await load("fill_long", "reading", each=LONG_MESSAGES)


def _things(load: Load, server: Server, database: str, room: str) -> dict[str, Thing]:
    return {
        "nothing": lambda: asyncio.sleep(0),
        f"{COMING} others a second come back": lambda: load(
            "come_and_go", "coming", seconds=WINDOW_S, per_s=COMING
        ),
        f"{PAGES_PER_S} pages of 1 MiB a second are read": lambda: load(
            "read_pages", "reading", seconds=WINDOW_S, per_s=PAGES_PER_S
        ),
        f"a room of {LONG_MESSAGES} long messages is exported": lambda: server.command(
            "export", "--room", room
        ),
        "the store's file is written anew": EmbeddedStore(DataFolder(server.data)).rewrite,
        f"{CHANGES} pairs are added: a change of each is looked at": lambda: settle(database, CHANGES),
        "the policy of relays is set: each room is looked at": lambda: _set_policy(database),
        f"retention leaves {KEPT} messages of each room": lambda: server.command(
            "retention", "--count", str(KEPT)
        ),
        "all who are silent drop at once, and come back": lambda: load(
            "come_back", "silent", at_once=AT_ONCE
        ),
    }


async def _set_policy(database: str) -> None:
    directory = await Directory.open(database, lambda: time.time_ns() // 1_000_000)
    try:
        await directory.programme.set_relay_policy("relay")
    finally:
        await directory.close()


async def _beside_chat(load: Load, things: Mapping[str, Thing], lines: Path) -> list[list[str]]:
    most = await load("saturate", "talking", what="chat", seconds=2.0, in_flight=2)
    rows = []
    for name, thing in things.items():
        start_s = time.monotonic()
        chat = load("pace", "talking", what="chat", seconds=WINDOW_S, per_s=most["per_s"] / 2)
        told, _ = await asyncio.gather(chat, thing())
        rows.append([name, *_cells(told, _since(lines, start_s))])
    return rows


def _since(lines: Path, start_s: float) -> list[Late]:
    late = [msgspec.json.decode(line, type=Late) for line in lines.read_bytes().splitlines()]
    return [one for one in late if one.at_s > start_s]


def _cells(told: Mapping[str, Any], late: Sequence[Late]) -> list[str]:
    longest = max(late, key=lambda one: one.own_s, default=Late(0, 0, 0, 0, []))
    whole_s = max((one.late_s for one in late), default=0.0)
    gc_s = max((one.gc_s for one in late), default=0.0)
    ran = [f"{stack} ({times})" for stack, times in longest.stacks[:STACKS]]
    return [
        *(
            _ms(longest.own_s),
            *(str(sum(one.own_s > most_s for one in late)) for most_s in (SOME_S, PAUSE_S)),
        ),
        *(_ms(whole_s), _ms(gc_s)),
        f"{_ms(told['p99_s'])} / {_ms(told['most_s'])}" if told else "–",
        "; ".join(ran) or "–",
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"
