"""Figures that tests measure and print, and never assert."""

from __future__ import annotations

_figures: list[str] = []


def measured(what: str, value: float, unit: str) -> None:
    """Note a figure; the end of the run prints all of them."""
    _figures.append(f"{what}: {value:.3g} {unit}")


def all_figures() -> list[str]:
    """What was measured in this run, in order."""
    return list(_figures)
