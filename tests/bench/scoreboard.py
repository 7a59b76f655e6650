"""The results of `side_by_side` in words, as a table for each workload and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tests.bench.contestants import BETTER_NODE, NODES, SETTINGS, TELEMENTOR
from tests.bench.page import machine, table
from tests.bench.side_by_side import COMERS_PER_S, IN_FLIGHT, PER_S, Idle, Results, Row, Size

KEPT = Path(__file__).parent
TITLES = {
    "saturated": "Chat, as much as there can be",
    "paced": f"Chat, {PER_S:,} a second",
    "half": "Chat, half of what each can",
    "reconnect": "Reconnect",
    "relay": "Relay of signals, as much as there can be",
    "mixed": "Mixed",
}
ABOUT = {
    "saturated": f"{IN_FLIGHT} messages of each client on their way at any time.",
    "paced": "Few at once make each dearer than many.",
    "half": "Half of what the same server did above, evenly: what delays are like when nothing is short.",
    "reconnect": "All sockets drop and come again: WebSocket, log-in, join, the newest 50 messages.",
    "relay": "2 kB to the other one of the pair, and an acknowledgement.",
    "mixed": f"{PER_S // 2} messages and {PER_S // 2} signals a second; {COMERS_PER_S} others a second drop and come back.",
}
ABOUT_NODES = (
    f"What one of N nodes costs at {PER_S:,} a second together. A node that has little to do pays more for each message, "
    "also when it is alone: so beside 1/N of one node at the whole pace stands one node that has only an Nth of the"
    " messages."
    " What is over that one is the work that more nodes make."
)
NODES_HEADINGS = (
    *("nodes", "each, CPU ms a second", "1/N of one at the whole pace", "one alone at an Nth of it"),
    *("over 1/N", "over one alone with as little"),
)
HEADINGS = (
    *("server", "CPU µs each", "least–greatest", "× Node", "busiest node", "a second", "of its core", "store, µs each"),
    *("generator, µs each", "p50 / p99 / longest, ms", "lost, twice, refused"),
)  # fmt: skip


def written(results: Results) -> str:
    """Markdown."""
    parts = [_preface(results.size), "### CPU microseconds of the server for each", _summary(results)]
    for workload, ranked in results.rows.items():
        cells = [_cells(row, _node(ranked)) for row in ranked]
        parts += [f"### {TITLES[workload]}", ABOUT[workload], table(HEADINGS, cells)]
        if workload == "paced" and (shared := _shared(ranked)):
            parts += [ABOUT_NODES, table(NODES_HEADINGS, shared)]
    if results.idle:
        parts += ["### Clients that say nothing", _about_idle(results.size), _idle_table(results.idle)]
    return "\n\n".join(parts)


def _shared(ranked: Sequence[Row]) -> list[list[str]]:
    """Of telementor's nodes with the rooms together: what one of N costs a second, beside one alone at the whole pace and
    beside one alone at an Nth of it."""
    by_title = {(row.contestant, row.share): row.cpu_us for row in ranked}
    alone_us = by_title.get((TELEMENTOR, 1), 0.0)
    found = []
    for one in NODES:
        share_us, together_us = by_title.get((TELEMENTOR, one.nodes)), by_title.get((one.name, 1))
        if share_us and together_us and alone_us and not one.apart:
            each = [cpu_us * PER_S / one.nodes / 1000 for cpu_us in (together_us, alone_us, share_us)]
            ratios = [f"{together_us / cpu_us:.2f}" for cpu_us in (alone_us, share_us)]
            found.append([str(one.nodes), *(f"{ms:.1f}" for ms in each), *ratios])
    return found


def keep(results: Results) -> None:
    """The newest whole run, beside this file."""
    picture_of_it = "![CPU microseconds of each server for each message](side_by_side.svg)"
    parts = (
        "# Side by side",
        "`make bench` writes this page anew.",
        machine(),
        picture_of_it,
        written(results),
    )
    text = "\n\n".join(parts) + "\n"
    (KEPT / "side_by_side.md").write_text(text)
    (KEPT / "side_by_side.svg").write_text(picture(results))


def _preface(size: Size) -> str:
    raised = ", ".join(name.removeprefix("TELEMENTOR_").lower() for name in SETTINGS if name[-3:] != "VEL")
    return (
        f"{size.pairs * 2} clients, two to a room. Windows of {size.seconds:g} s on one server after the other,"
        f" {size.rounds} times; medians. The servers have one core to themselves, the load generator and the store have the"
        " others. All are on the same Redis, `appendfsync everysec`, unless a row says otherwise."
        " “× Node” is to the better of its two forms."
        " A message is stored, told to both of the room, acknowledged; telementor also removes duplicates, checks strictly,"
        " keeps the order on all nodes, counts rates and holds presence. For the load its bounds are raised:"
        f" {raised}."
    )


def _node(rows: Sequence[Row]) -> float | None:
    """What the better form of Node costs."""
    return min((row.cpu_us for row in rows if row.contestant in BETTER_NODE), default=None)


def _times(value: float, node: float | None) -> str:
    return f"{value / node:.2f}" if node else "–"


def _us(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _summary(results: Results) -> str:
    lines = []
    for first in next(iter(results.rows.values())):
        cells = []
        for ranked in results.rows.values():
            row = next((row for row in ranked if row.contestant == first.contestant), None)
            cells.append(_summed(row, _node(ranked)) if row else "")
        lines.append([first.contestant, *cells])
    heads = [
        TITLES[workload].replace(", as much as there can be", ", saturated") for workload in results.rows
    ]
    note = "In brackets: × Node. !: not every message was there exactly once, or somebody was refused; see below."
    return "\n\n".join([note, table(["server", *heads], lines), *_losses(results)])


def _losses(results: Results) -> list[str]:
    """Said, not left to be found: where telementor costs more than the better form of Node."""
    lost = []
    for workload, ranked in results.rows.items():
        ours = next((row.cpu_us for row in ranked if row.contestant == TELEMENTOR), None)
        node = _node(ranked)
        if ours and node and ours > node:
            lost.append(f"{TITLES[workload]} ({_times(ours, node)})")
    busy_ms = {one.contestant: one.ms_a_second for one in results.idle}
    node_ms = min((busy_ms[name] for name in BETTER_NODE if name in busy_ms), default=None)
    if TELEMENTOR in busy_ms and node_ms and busy_ms[TELEMENTOR] > node_ms:
        lost.append(f"processor time of clients that say nothing ({_times(busy_ms[TELEMENTOR], node_ms)})")
    return [f"Where telementor loses to Node (× Node): {'; '.join(lost)}."] if lost else []


def _summed(row: Row, node: float | None) -> str:
    return f"{_us(row.cpu_us)} ({_times(row.cpu_us, node)}){' !' if row.faults else ''}"


def _cells(row: Row, node: float | None) -> list[str]:
    delays = [f"{row.told(name) * 1000:.1f}" for name in ("p50_s", "p99_s", "most_s")]
    per_s = row.told("per_s") or row.median(lambda sample: sample.told["count"] / sample.told["seconds"])
    return [
        *(row.title, _us(row.cpu_us), "–".join(map(_us, row.spread))),
        _times(row.cpu_us, node if row.share == 1 else None),
        *(_us(row.median(lambda sample: sample.busiest_us)), f"{per_s:,.0f}"),
        f"{row.median(lambda sample: sample.core):.0%}",
        *(
            _us(row.median(lambda sample: sample.store_us)),
            _us(row.median(lambda sample: sample.generator_us)),
        ),
        " / ".join(delays) if row.told("most_s") else "–",
        row.faults or "none",
    ]


def _about_idle(size: Size) -> str:
    return (
        f"{size.idle_pairs * 2:,} clients of each server, all servers at once. Memory is what the processes hold more than"
        f" before anybody came; processor time is that of {size.idle_s:g} s, in which everybody is pinged once."
    )


def _idle_table(idle: Sequence[Idle]) -> str:
    headings = ("server", "memory of a client, kB", "after traffic, kB", "CPU of 1,000 clients, ms a second")
    return table(
        headings,
        [
            [
                one.contestant,
                f"{one.bytes_each / 1000:.1f}",
                f"{one.bytes_after / 1000:.1f}",
                f"{one.ms_a_second:.1f}",
            ]
            for one in idle
        ],
    )


# The picture

BAR, GAP, NAMES, PLOT, VALUES, TOP = 16, 5, 330, 420, 90, 34
WIDTH = NAMES + PLOT + VALUES
OURS, THEIRS = "#1b7f79", "#b7bec7"


def picture(results: Results) -> str:
    """Bars for each workload, with the least and the greatest as a line across; plain SVG."""
    parts, top = [], 0
    for workload, rows in results.rows.items():
        parts.append(_panel(TITLES[workload], rows, top))
        top += TOP + len(rows) * (BAR + GAP) + GAP
    style = "font-family:sans-serif;font-size:12px;fill:#222"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">\n'
        f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>\n<g style="{style}">\n{"".join(parts)}</g>\n</svg>\n'
    )


def _panel(title: str, rows: Sequence[Row], top: int) -> str:
    most = max(row.spread[1] for row in rows)
    lines = [f'<text x="4" y="{top + 22}" font-weight="bold">{escape(title)}: CPU µs for each</text>']
    for place, row in enumerate(rows):
        y = top + TOP + place * (BAR + GAP)
        middle = y + BAR / 2
        least, value, greatest = (
            amount / most * PLOT for amount in (row.spread[0], row.cpu_us, row.spread[1])
        )
        color = OURS if row.contestant.startswith("telementor") else THEIRS
        lines += [
            f'<text x="{NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(row.title)}</text>',
            f'<rect x="{NAMES}" y="{y}" width="{value:.1f}" height="{BAR}" fill="{color}"/>',
            f'<line x1="{NAMES + least:.1f}" x2="{NAMES + greatest:.1f}" y1="{middle}" y2="{middle}" stroke="#222"/>',
            f'<text x="{NAMES + greatest + 6:.1f}" y="{middle + 4}">{_us(row.cpu_us)}</text>',
        ]
    return "\n".join(lines) + "\n"
