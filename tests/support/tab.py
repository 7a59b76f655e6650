"""A browser tab as a person with a screen reader uses it: by roles and accessible names (ui.md), never by selectors."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.condition import until

WATCH = Path(__file__).with_name("page_watch.js").read_text()
CALL_S = 20
"""Two browsers and a server share two cores; a call of theirs takes under a second when the machine is idle."""


@dataclass(frozen=True)
class Received:
    """What came over all open peer connections of a page."""

    frames: int
    audio: int
    video: int
    open: int
    made: int


class Tab(abc.ABC):
    """What tests do in any browser; Chromium and Firefox each know how."""

    @abc.abstractmethod
    async def open(self, url: str) -> None:
        """Go to an address."""

    @abc.abstractmethod
    async def reload(self) -> None:
        """As with the browser's button."""

    @abc.abstractmethod
    async def press(self, name: str) -> None:
        """Press the button of this accessible name, as soon as it is there."""

    @abc.abstractmethod
    async def press_the_one_button(self) -> None:
        """Press the only button of a page."""

    @abc.abstractmethod
    async def write(self, text: str) -> None:
        """Type into the textbox `Message` without sending."""

    @abc.abstractmethod
    async def has(self, role: str, name: str) -> bool:
        """Whether something of that role and exactly that name is visible."""

    @abc.abstractmethod
    async def text_of(self, role: str, name: str) -> str:
        """The text inside the element of that role and name."""

    @abc.abstractmethod
    async def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression (a promise is awaited)."""

    async def enter(self, link: str) -> None:
        """Open a personal link and press its one button; returns in the room."""
        await self.open(link)
        await self.press_the_one_button()

        async def in_the_room() -> bool:
            return bool(await self.evaluate("location.pathname.startsWith('/r/')"))

        await until(in_the_room, "the room behind the link")
        await self.link_is("online")

    async def say(self, text: str) -> None:
        """Write a message and press `Send`."""
        await self.write(text)
        await self.press("Send")

    async def call_state(self) -> str:
        """`document.documentElement.dataset.call`."""
        state: str = await self.evaluate("document.documentElement?.dataset.call ?? ''")
        return state

    async def call_is(self, *states: str, timeout_s: float = CALL_S) -> None:
        """Wait for a state of the call."""

        async def reached() -> bool:
            return await self.call_state() in states

        try:
            await until(reached, f"data-call in {states}", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it is {await self.call_state()!r}") from None

    async def link_is(self, state: str, timeout_s: float = CALL_S) -> None:
        """Wait for `dataset.link` to be online or offline."""

        async def reached() -> bool:
            return bool(await self.evaluate(f"document.documentElement?.dataset.link === {state!r}"))

        await until(reached, f"data-link {state}", timeout_s=timeout_s)

    async def received(self) -> Received:
        """What came over the page's peer connections so far."""
        return Received(**await self.evaluate("window.__watch.received()"))

    async def sees_and_hears(self, *, frames: int = 5, timeout_s: float = CALL_S) -> None:
        """Wait until more picture and sound come in than have come so far."""
        before = await self.received()

        async def more() -> bool:
            now = await self.received()
            newer = now.made != before.made
            return now.frames > (0 if newer else before.frames) + frames and now.audio > (
                0 if newer else before.audio
            )

        try:
            await until(more, "growing picture and sound", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; before {before}, now {await self.received()}") from None

    async def reads(self, text: str, *, timeout_s: float = CALL_S) -> None:
        """Wait until the conversation holds a text."""

        async def there() -> bool:
            return text in await self.conversation()

        try:
            await until(there, f"{text!r} in the conversation", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it holds {await self.conversation()!r}") from None

    async def conversation(self) -> str:
        """The text of the log region `Conversation`; empty while it is not there."""
        if not await self.has("log", "Conversation"):
            return ""
        return await self.text_of("log", "Conversation")

    async def times_read(self, text: str) -> int:
        """How often a text stands in the conversation."""
        return (await self.conversation()).count(text)

    async def hears_status(self, *words: str, timeout_s: float = CALL_S) -> None:
        """Wait until the status region says one of these words."""

        async def said() -> bool:
            status = (await self.text_of("status", "Status")).lower()
            return any(word.lower() in status for word in words)

        try:
            await until(said, f"one of {words} in the status", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it says {await self.text_of('status', 'Status')!r}") from None
