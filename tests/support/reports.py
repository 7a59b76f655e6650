"""What tests told with their reports, on however many workers they ran."""

from __future__ import annotations

from typing import Any

import pytest


def told(terminalreporter: pytest.TerminalReporter, name: str) -> list[Any]:
    """The values of this name in the properties of all reports, in the order in which the tests ended."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    return [
        value for report in reports for key, value in getattr(report, "user_properties", ()) if key == name
    ]
