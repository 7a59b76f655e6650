"""What an operator can see of a node (Prometheus). Labels are of closed sets: nothing that a client writes becomes one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rooms.commands import COMMANDS

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

LATE_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Durations(Collector):
    """A histogram of seconds for each verb. prometheus-client's own locks three times and walks through its bounds for each
    value; here there is one thread, and each request is counted."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self._counts: dict[str, list[int]] = {}
        self._sums_s: dict[str, float] = {}

    def took(self, verb: str, seconds: float) -> None:
        if verb not in self._counts:
            self._counts[verb], self._sums_s[verb] = [0] * (len(BUCKETS_S) + 1), 0.0
        self._counts[verb][bisect_left(BUCKETS_S, seconds)] += 1
        self._sums_s[verb] += seconds

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=["verb"])
        for verb, counts in self._counts.items():
            bounds = [*map(str, BUCKETS_S), "+Inf"]
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([verb], buckets, self._sums_s[verb])
        yield family


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sockets = Gauge("telementor_sockets", "Sockets of people on this node", registry=self.registry)
        self.handshakes = Gauge(
            "telementor_handshakes", "Transports that have not logged in yet", registry=self.registry
        )
        self.rooms = Gauge("telementor_rooms", "Rooms that this node has people in", registry=self.registry)
        self.echoes = Gauge(
            "telementor_network_checks", "Network checks that run on this node now", registry=self.registry
        )
        self.store_up = Gauge("telementor_store_up", "1 while the store answers", registry=self.registry)
        self.lateness = Histogram(
            "telementor_loop_late_seconds",
            "How late the event loop came to what was due, looked at 20 times a second",
            buckets=LATE_S,
            registry=self.registry,
        )
        self.requests = Durations("telementor_request_seconds", "Time from a request's turn to its answer")
        self.registry.register(self.requests)
        self.refusals = Counter(
            "telementor_refusals_total",
            "Requests that were refused",
            ["verb", "code"],
            registry=self.registry,
        )
        self.refused_sockets = Counter(
            "telementor_refused_sockets_total", "Sockets that were refused", ["code"], registry=self.registry
        )
        self.limited_addresses = Counter(
            "telementor_limited_addresses_total",
            "What was refused because too much came from one address",
            ["what"],
            registry=self.registry,
        )
        self.overflows = Counter(
            "telementor_overflows_total",
            "Sockets closed because too much waited for them",
            registry=self.registry,
        )
        self.sessions = Counter(
            "telementor_session_events_total",
            "What became of sessions through this node, by the kind of event",
            ["kind"],
            registry=self.registry,
        )
        self.outbox_pending = Gauge(
            "telementor_outbox_pending",
            "Events of sessions that are not in their room's log yet",
            registry=self.registry,
        )
        self.outbox_oldest = Gauge(
            "telementor_outbox_oldest_seconds",
            "How long the oldest of them has waited; 0 when there is none",
            registry=self.registry,
        )

        self.mails = Counter(
            "telementor_mails_total",
            "Notices that this node has dealt with",
            ["outcome"],
            registry=self.registry,
        )
        self.mails_dead = Gauge(
            "telementor_mails_dead", "Notices that were given up, of all nodes", registry=self.registry
        )
        self.mail_oldest = Gauge(
            "telementor_mail_oldest_seconds",
            "Age of the oldest notice that waits, of all nodes",
            registry=self.registry,
        )

    def handled(self, verb: str, seconds: float) -> None:
        self.requests.took(_known(verb), seconds)

    def refused(self, verb: str, code: str) -> None:
        self.refusals.labels(_known(verb), code).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


def _known(verb: str) -> str:
    return verb if verb in COMMANDS else "unknown"
