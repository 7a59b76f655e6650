"""axe-core, run inside a page; its violations as readable lines."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from playwright.async_api import Page

from tests.support.needs import needs_node_module

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def _source() -> str:
    return (needs_node_module("axe-core") / "axe.min.js").read_text()


def _line(violation: dict[str, Any]) -> str:
    places = "; ".join(
        f"{' '.join(map(str, node['target']))}: {node['html'][:120]}" for node in violation["nodes"]
    )
    return f"{violation['id']} ({violation['impact']}): {violation['help']} at {places}"


async def violations(page: Page) -> list[str]:
    """What axe finds in the page as it is now."""
    if not await page.evaluate("Boolean(window.axe)"):
        await page.evaluate(_source())
    options = json.dumps({"runOnly": {"type": "tag", "values": TAGS}})
    result = await page.evaluate(f"axe.run(document, {options})")
    return [_line(violation) for violation in result["violations"]]
