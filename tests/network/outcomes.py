"""What the scenarios have shown, as a Markdown table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One scenario: seconds to the first picture, the freezes it caused (of several, all of them), the way of the media."""

    scenario: str
    first_pictures_s: list[float] = field(default_factory=list)
    freezes_s: list[float] = field(default_factory=list)
    path: str = ""
    passed: bool = False

    def row(self) -> str:
        """Its line of the table."""
        verdict = "pass" if self.passed else "**FAIL**"
        return f"| {self.scenario} | {shown(self.first_pictures_s)} | {shown(self.freezes_s)} | {self.path} | {verdict} |"


HEAD = """| scenario | first picture | freeze | path | |
|---|---|---|---|---|"""


def shown(seconds: list[float]) -> str:
    """One figure as it is; of several the median and the 95th percentile (the nearest rank)."""
    if len(seconds) < 2:
        return "".join(f"{one:.2f} s" for one in seconds)
    return f"p50 {percentile(seconds, 0.5):.2f} s, p95 {percentile(seconds, 0.95):.2f} s of {len(seconds)}"


def percentile(values: list[float], share: float) -> float:
    """The nearest rank: the least value that at least `share` of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
