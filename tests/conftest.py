"""For every test: what was measured is printed at the end, and workers beside each other have a network each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator

import pytest

from tests.support.figures import noted, summary
from tests.support.private_network import private_network
from tests.support.reports import told

FIGURE = "figure"
NAMES = ("ipproto", "udp", "dport", "53")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Figures travel with the report: of a worker (pytest -n) nothing else comes back."""
    report = yield
    report.user_properties += [(FIGURE, figure) for figure in noted()]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures are printed, never asserted: a busy machine must not fail a build."""
    figures = summary(told(terminalreporter, FIGURE))
    if figures:
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def apart() -> Iterator[None]:
    """A worker that runs beside others (pytest -n) lives in a network of its own.

    Else a server that is down for a moment could lose its port to another worker's test. Not for others than root: they may
    not make one, and lose a port very rarely.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and os.geteuid() == 0:
        with private_network():
            # Nobody answers here: a name is unknown at once, not after the resolver's time limits. Only outside of the
            # browsers' own network: Firefox asks for the way to port 53 to learn its address.
            subprocess.run(["ip", "rule", "add", *NAMES, "unreachable"], check=True)
            yield
    else:
        yield
