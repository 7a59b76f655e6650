"""Figures that tests measure and print, and never assert."""

from __future__ import annotations

import statistics

_figures: dict[tuple[str, str], list[float]] = {}


def measured(what: str, value: float, unit: str) -> None:
    """Note a figure; the end of the run prints the median and the greatest of each kind."""
    _figures.setdefault((what, unit), []).append(value)


def all_figures() -> list[str]:
    """What was measured in this run, one line for each kind."""
    return [
        f"{what}: median {statistics.median(values):.3g} {unit}, greatest {max(values):.3g} {unit} of {len(values)}"
        for (what, unit), values in _figures.items()
    ]
