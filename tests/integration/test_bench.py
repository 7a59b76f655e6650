"""`make bench` does not rot: its load, its servers and its pages work, with numbers too small to mean anything."""

from __future__ import annotations

from xml.dom import minidom

import pytest

from tests.bench import scoreboard
from tests.bench.contestants import HERE, NODE, NODE_PIPELINED, RIVAL, TELEMENTOR, contestants
from tests.bench.generator import ACKED, Answer, Crowd
from tests.bench.side_by_side import WORKLOADS, Idle, Results, Row, Sample, Size, compete
from tests.support.figures import measured

pytestmark = pytest.mark.integration

TINY = Size(
    seconds=0.1, warm_s=0, rounds=1, pairs=2, idle_pairs=2, idle_s=0.1, traffic_s=0.1, workloads=WORKLOADS
)


@pytest.mark.timeout(120)  # seconds where nothing else runs
async def test_every_load_runs_on_telementor_and_on_a_rival_and_every_message_is_there_exactly_once(tmp_path):
    chosen = [one for one in contestants() if one in (HERE[0], RIVAL[1])]
    measured(
        "servers of the bench that could be tried here (`make bench` installs the rivals)",
        len(chosen),
        "of 2",
    )
    results = await compete(tmp_path, TINY, chosen)
    assert list(results.rows) == list(WORKLOADS)
    for workload, rows in results.rows.items():
        assert [row.contestant for row in rows] == [one.name for one in chosen]
        for row in rows:
            assert row.faults == "", (workload, row)
            assert row.told("count") > 0, (workload, row)
            assert row.cpu_us > 0, (workload, row)
    assert [row.told("read_least") for row in results.rows["reconnect"]] == [50] * len(chosen)
    page = scoreboard.written(results)
    for one in chosen:
        assert page.count(f"\n| {one.name} |") == len(WORKLOADS) + 2  # summary and idle
    picture = minidom.parseString(scoreboard.picture(results))  # noqa: S318 - our own
    assert len(picture.getElementsByTagName("rect")) == 1 + len(WORKLOADS) * len(chosen)


def test_more_nodes_are_held_against_one_that_has_as_little_to_do():
    def row(name: str, cpu_us: float, share: int = 1) -> Row:
        told = {"per_s": 1_000 / share, "count": 1}
        return Row(name, [Sample(cpu_us, cpu_us, 0, 0, 0, told)], share)

    rows = [row(TELEMENTOR, 100), row(f"{TELEMENTOR}, 4 nodes", 150), row(TELEMENTOR, 140, share=4)]
    page = scoreboard.written(Results({"paced": rows}, [], TINY))
    assert "\n| 4 | 37.5 | 25.0 | 35.0 | 1.50 | 1.07 |" in page
    assert f"\n| {TELEMENTOR}, only 250 a second | 140 | 140–140 | – |" in page


def test_the_page_says_where_we_lose():
    def row(name: str, cpu_us: float) -> Row:
        return Row(name, [Sample(cpu_us, cpu_us, 0, 0, 0, {"per_s": 1, "count": 1})])

    won = [row(TELEMENTOR, 80), row(NODE, 100), row(NODE_PIPELINED, 90)]
    lost = [row(TELEMENTOR, 180), row(NODE, 100), row(NODE_PIPELINED, 90)]
    assert "loses" not in scoreboard.written(Results({"saturated": won}, [], TINY))
    idle = [Idle(TELEMENTOR, 1, 1, 12), Idle(NODE, 1, 1, 4)]
    page = scoreboard.written(Results({"saturated": won, "mixed": lost}, idle, TINY))
    assert "loses to Node (× Node): Mixed (2.00); processor time of clients that say nothing (3.00)." in page


@pytest.fixture
def two():
    """A crowd of one room that nobody connects: what is sent goes nowhere, what comes is told by the test."""
    people = [{"url": "", "room": "r", "token": "", "device": ""}] * 2
    crowd = Crowd({"engine_io": True, "key": "", "people": people})
    return crowd, *crowd.clients


OK = Answer(ok=True)
EVERYTHING = 0b11 | ACKED


async def told(crowd: Crowd) -> Row:
    """The row of a bench in which this was all."""
    crowd.drain_s = 0.01
    answer = await crowd.told(1, 1.0)
    return Row("it", [Sample(0, 0, 0, 0, 0, answer)])


async def test_the_row_of_a_server_that_does_all_says_nothing(two):
    crowd, mentor, _ = two
    number = crowd.new_message(mentor, EVERYTHING)
    crowd.acked(number, OK)
    crowd.heard(number, 0)
    crowd.heard(number, 1)
    assert (await told(crowd)).faults == ""


@pytest.mark.parametrize(
    ("heard", "acks", "fault"),
    [
        ((0, 1), 0, "1 not all there"),
        ((0,), 1, "1 not all there"),
        ((0, 1, 1), 1, "1 twice or to somebody else"),
        ((0, 1), 2, "1 twice or to somebody else"),
    ],
)
async def test_the_row_says_what_is_lost_and_what_came_twice(two, heard, acks, fault):
    crowd, mentor, _ = two
    number = crowd.new_message(mentor, EVERYTHING)
    for seat in heard:
        crowd.heard(number, seat)
    for _ in range(acks):
        crowd.acked(number, OK)
    assert (await told(crowd)).faults == fault


async def test_the_row_says_what_was_refused_and_a_signal_that_came_to_its_sender(two):
    crowd, mentor, mentee = two
    refused = crowd.new_message(mentor, EVERYTHING)
    crowd.acked(refused, Answer(ok=False, error={"code": "limited"}))
    signal = crowd.new_message(mentor, 1 << mentee.seat | ACKED)
    crowd.heard(signal, mentor.seat)
    assert (await told(crowd)).faults == "2 not all there, 1 twice or to somebody else, 1 refused"
