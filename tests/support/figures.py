"""Figures that tests measure and print, and never assert."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

Figure = tuple[str, float, str]
_noted: list[Figure] = []


def measured(what: str, value: float, unit: str) -> None:
    """Note a figure; the end of the run prints the median and the greatest of each kind."""
    _noted.append((what, value, unit))


def noted() -> list[Figure]:
    """What was measured since the last time this was asked."""
    figures = list(_noted)
    _noted.clear()
    return figures


def summary(figures: Iterable[Figure]) -> list[str]:
    """One line for each kind."""
    kinds: dict[tuple[str, str], list[float]] = {}
    for what, value, unit in figures:
        kinds.setdefault((what, unit), []).append(value)
    return [
        f"{what}: median {statistics.median(values):.3g} {unit}, greatest {max(values):.3g} {unit} of {len(values)}"
        for (what, unit), values in sorted(kinds.items())
    ]
