"""One fault run: clients talk, faults fall within 100 ms of acknowledgements, and in the end every log is checked."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.faults.clients import ScriptedClient
from tests.faults.history import Event, Promise, Violation, check
from tests.faults.reader import read_log
from tests.faults.stages import STAGES, Fault, NothingHappenedError, Stage
from tests.support.condition import until
from tests.support.people import Pair

PAIRS = 3
DEVICES = (1, 2)
"""Clients of a mentor and of a mentee."""

AFTER_ACK_S = 0.1
RECOVERED_S = 30.0
"""Within this after a fault every client has something acknowledged again."""

CAUGHT_UP_S = 20.0
"""Within this after the last request every client has seen all that there is: a lost last message is noticed in 5 s."""

Say = Callable[[str], None]


@dataclass
class Report:
    """What a run did and found."""

    stage: str
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    acknowledged: int = 0
    checked: int = 0
    pushes: int = 0
    tried_elsewhere: int = 0
    failovers: int = 0
    resets: int = 0
    healed: int = 0
    resumes_s: list[float] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        kinds = ("lost", "doubled", "reordered", "changed", "phantom", "gap", "reset", "refused", "stuck")
        found = Counter(violation.kind for violation in self.violations)
        return [
            f"{self.stage}, seed {self.seed}: {sum(self.faults.values())} faults",
            *(f"  {count:4} × {name}" for name, count in sorted(self.faults.items())),
            f"  {self.sent} requests sent, {self.acknowledged} acknowledged",
            f"  {self.checked} entries checked in the logs, {self.pushes} pushes heard",
            f"  {self.tried_elsewhere} requests were tried on more than one node",
            f"  resumed {len(self.resumes_s)} times: {percentiles(self.resumes_s)}",
            f"  {self.failovers} failovers; {self.resets} times a client was told of a roll-back",
            f"  {self.healed} requests were healed by publishing them again",
            "  " + ", ".join(f"{kind} {found[kind]}" for kind in kinds),
        ]


def percentiles(values: list[float]) -> str:
    """p50, p95 and p99 in seconds."""
    if not values:
        return "-"
    ranked = sorted(values)
    parts = ((name, ranked[min(len(ranked) - 1, int(len(ranked) * share))]) for name, share in RANKS)
    return ", ".join(f"{name} {value:.2f} s" for name, value in parts)


RANKS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


class Acks:
    """Lets a fault wait for the next acknowledgement that any client is given."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def arrived(self) -> None:
        """Called by the clients."""
        self._next.set()

    async def next(self) -> None:
        """The next one from now on."""
        self._next.clear()
        await self._next.wait()


async def play(
    stage_name: str,
    seconds: float,
    seed: int,
    say: Say,
    *,
    only: Sequence[str] = (),
    keep: Path | None = None,
) -> Report:
    """One run on one stage; `only` bounds the faults to those named. Everything is ended when it returns, and the nodes'
    logs are in `keep`."""
    chance = random.Random(f"{seed} {stage_name}")
    report = Report(stage_name, seed)
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        stage = STAGES[stage_name](Path(folder), random.Random(chance.random()))
        await stage.start()
        try:
            run = _Run(stage, report, chance, say)
            await run.play(seconds, only)
        except Exception:  # a fault that does not end: why, is not seen any more once all is closed
            for line in ("it breaks off", *stage.seen()):
                say(line)
            raise
        finally:
            await stage.close()
            if keep:
                for number, node in enumerate(stage.nodes):
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{stage_name}-node{number}.log").write_text(node.server.log)
    return report


class _Run:
    def __init__(self, stage: Stage, report: Report, chance: random.Random, say: Say) -> None:
        self.stage = stage
        self.report = report
        self.chance = chance
        self.say = say
        self.acks = Acks()
        self.clients: list[ScriptedClient] = []

    async def play(self, seconds: float, only: Sequence[str]) -> None:
        pairs = self.stage.pairs = [await self.stage.nodes[0].server.pair() for _ in range(PAIRS)]
        self.clients = [client for number, pair in enumerate(pairs) for client in self._of(pair, number)]
        talking = [asyncio.create_task(client.run()) for client in self.clients]
        playing = asyncio.create_task(self._faults_then_rest(seconds, only))
        try:
            done, _ = await asyncio.wait((playing, *talking), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (playing, *talking):
                task.cancel()
            await asyncio.gather(playing, *talking, return_exceptions=True)
        logs = {pair.room: await self._read_everywhere(pair) for pair in pairs}
        self._judge(logs)

    def _of(self, pair: Pair, number: int) -> list[ScriptedClient]:
        urls = [node.url for node in self.stage.nodes]
        persons = [pair.mentor] * DEVICES[0] + [pair.mentee] * DEVICES[1]
        return [
            ScriptedClient(
                f"{number}{'abcdef'[place]}",
                *(person, pair.room, urls, random.Random(self.chance.random()), self.acks.arrived),
            )
            for place, person in enumerate(persons)
        ]

    async def _faults_then_rest(self, seconds: float, only: Sequence[str]) -> None:
        await until(
            lambda: all(client.caught_up for client in self.clients),
            "every client to come in",
            timeout_s=RECOVERED_S,
        )
        faults = {name: fault for name, fault in self.stage.faults().items() if not only or name in only}
        began = monotonic()
        deck: list[str] = []
        while monotonic() - began < seconds:
            if not deck:
                deck = self.chance.sample(sorted(faults), len(faults))
            name = deck.pop()
            await self._inject(name, faults[name], began)
            if any(violation.kind == "stuck" for violation in self.report.violations):
                break
        await self._rest()

    async def _inject(self, name: str, fault: Fault, began: float) -> None:
        """Right after an acknowledgement, under load; done when every client is served again."""
        await self.acks.next()
        await asyncio.sleep(self.chance.uniform(0, AFTER_ACK_S))
        at = monotonic()
        self.say(f"{at - began:7.1f} s  {name}")
        try:
            await fault()
        except NothingHappenedError as nothing:
            self.say(f"           {nothing}")
        else:
            self.report.faults[name] += 1
        healed = monotonic()
        waiting = set(self.clients)

        def recovered() -> bool:
            waiting.difference_update([one for one in waiting if one.acknowledged_at > healed])
            return not waiting

        try:
            await until(recovered, "every client to be served", timeout_s=RECOVERED_S)
        except TimeoutError:
            names = ", ".join(sorted(client.name for client in waiting))
            self._stuck(f"{RECOVERED_S:.0f} s after {name} nothing of {names} was acknowledged")

    def _stuck(self, what: str) -> None:
        self.report.violations.append(Violation("stuck", self.stage.name, what))

    async def _rest(self) -> None:
        """No new requests; wait until all is acknowledged, and seen by everybody."""
        for client in self.clients:
            client.resting = True
        try:
            await until(self._settled, "all clients to see the same head", timeout_s=CAUGHT_UP_S)
        except TimeoutError:
            heads = ", ".join(f"{one.name} {one.head} ({one.waiting} waiting)" for one in self.clients)
            self._stuck(f"{CAUGHT_UP_S:.0f} s after the last request the clients had not all: {heads}")

    def _settled(self) -> bool:
        heads = {(client.witness.room, client.head) for client in self.clients}
        return all(client.settled for client in self.clients) and len(heads) == len(self.stage.pairs)

    async def _read_everywhere(self, pair: Pair) -> dict[str, list[Event]]:
        readings = {}
        for number, node in enumerate(self.stage.nodes):
            readings[f"node {number}"] = await read_log(node.url, pair)
        return readings

    def _judge(self, logs: dict[str, dict[str, list[Event]]]) -> None:
        requests = [request for client in self.clients for request in client.requests]
        report = self.report
        report.violations += check(
            requests, [client.witness for client in self.clients], logs, self.stage.promise
        )
        report.sent = len(requests)
        report.acknowledged = sum(bool(request.acks) for request in requests)
        report.checked = sum(len(log) for readings in logs.values() for log in readings.values())
        report.failovers = self.stage.failovers
        for client in self.clients:
            if client.deaf and self.stage.promise is Promise.KEPT:
                self._stuck(f"{client.name} did not hear, {client.deaf} times, what had been acknowledged")
            report.pushes += client.pushes
            report.resumes_s += client.resumes_s
            report.resets += len(client.resets)
            report.healed += client.healed
            report.tried_elsewhere += sum(len(nodes) > 1 for nodes in client.tries.values())
