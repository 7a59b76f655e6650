"""A screen in a size and a colour scheme: axe finds nothing, nothing overflows, and a picture is kept to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.axe import violations
from tests.support.chromium import ChromiumTab

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SIZES: dict[str, dict[str, Any]] = {"desktop": DESKTOP, "phone": PHONE}

each_size_and_scheme = pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("desktop", "light"),
        ("phone", "dark"),
        pytest.param("desktop", "dark", marks=pytest.mark.slow),
        pytest.param("phone", "light", marks=pytest.mark.slow),
    ],
)
"""Each size and each scheme once; `-m slow` has the other two as well."""


class Look:
    """Looks at a tab in one size and colour scheme, and remembers what axe said."""

    def __init__(self, artifacts: Path, size: str, scheme: str) -> None:
        self._artifacts = artifacts
        self._suffix = f"{size}-{scheme}"
        self.found: dict[str, list[str]] = {}

    async def at(self, tab: ChromiumTab, screen: str) -> None:
        """Take the picture and run axe; failures are gathered, so that one run shows them all."""
        await tab.picture(self._artifacts / "screens" / f"{screen}-{self._suffix}.png")
        problems = await violations(tab.page)
        if await tab.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
            problems.append("the page scrolls sideways")
        if problems:
            self.found[screen] = problems
