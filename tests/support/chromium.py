"""Debian's Chromium, driven by Python Playwright. Console errors, CSP violations and foreign requests are kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.support.needs import needs_program
from tests.support.tab import WATCH, Tab

ACT_MS = 15_000
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--use-fake-device-for-media-stream=fps=30,device-count=3",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
ALLOW_DEVICES = "--use-fake-ui-for-media-stream"
OUTAGE = re.compile(r"net::ERR_|WebSocket connection to .* failed|status of 50[234]")
"""What Chromium itself writes to the console while a server is away."""
REFUSAL = re.compile(r"the server responded with a status of 4\d\d")
"""What Chromium itself writes to the console for a page that says no."""


@asynccontextmanager
async def chromium(
    *, devices_allowed: bool = True, program: str | None = None, more_flags: Sequence[str] = ()
) -> AsyncIterator[Browser]:
    """A browser; without `devices_allowed` camera and microphone are denied. `program` stands for Debian's Chromium."""
    flags = [*FLAGS, *([ALLOW_DEVICES] if devices_allowed else []), *more_flags]
    path = program or needs_program("chromium", variable="CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        await browser.close()


async def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A cookie jar of its own, watched from each page's first moment."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(ACT_MS)
    await context.add_init_script(WATCH)
    return context


class ChromiumTab(Tab):
    """A Playwright page, acted on by accessible names only."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.outage_expected = False
        self.refusal_expected = False
        self._origin = ""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._on_request(request.url))

    @classmethod
    async def new(cls, context: BrowserContext) -> ChromiumTab:
        """A new tab in a context."""
        return cls(await context.new_page())

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if (self.outage_expected and OUTAGE.search(message.text)) or (
            self.refusal_expected and REFUSAL.search(message.text)
        ):
            return
        self.complaints.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.netloc != self._origin:
            self.foreign.append(url)

    async def open(self, url: str) -> None:
        self._origin = self._origin or urlsplit(url).netloc
        await self.page.goto(url)

    async def reload(self) -> None:
        await self.page.reload()

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def press_the_one_button(self) -> None:
        await self.page.get_by_role("button").click()

    async def write(self, text: str) -> None:
        await self.page.get_by_role("textbox", name="Message", exact=True).fill(text)

    async def has(self, role: str, name: str) -> bool:
        found = self.page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        return await found.count() > 0 and await found.first.is_visible()

    async def text_of(self, role: str, name: str) -> str:
        return await self.page.get_by_role(role, name=name, exact=True).first.inner_text()  # type: ignore[arg-type]

    async def evaluate(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def picture(self, file: Path) -> None:
        """A screenshot of what a person sees."""
        file.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=str(file))

    async def check_quiet(self) -> None:
        """No console error or warning, no CSP violation, no request to anybody else."""
        violations = [] if self.page.is_closed() else await self.evaluate("window.__watch?.violations ?? []")
        problems = {"console": self.complaints, "CSP": violations, "requests to others": self.foreign}
        assert not any(problems.values()), problems
