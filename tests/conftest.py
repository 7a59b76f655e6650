"""For every test: what was measured is printed at the end."""

from __future__ import annotations

import pytest

from tests.support.figures import all_figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures are printed, never asserted: a busy machine must not fail a build."""
    figures = all_figures()
    if figures:
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.write_line(line)
