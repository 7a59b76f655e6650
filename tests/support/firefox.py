"""Debian's Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/) over aiohttp: no geckodriver.

Elements are found by BiDi's accessibility locators and used by real pointer and key actions.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.condition import until
from tests.support.needs import needs_program
from tests.support.tab import WATCH, Tab

START_S = 60
COMMAND_S = 30
ACT_S = 15
PREFERENCES: dict[str, bool | int | str] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.getusermedia.insecure.enabled": True,
    "media.devices.insecure.enabled": True,
    # Be quiet on a closed network.
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.activity-stream.feeds.telemetry": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-manager.url": "data:text/plain,",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class BidiError(Exception):
    """Firefox refused a command."""


class Firefox:
    """One browser process with a profile of its own."""

    def __init__(
        self,
        prefix: Sequence[str] = (),
        socket_of: Callable[..., socket.socket] | None = None,
        scripts: Sequence[str] = (),
    ) -> None:
        """On another host of a laboratory: the words that start a program there, and what opens its sockets.

        `scripts` run in every page before its own.
        """
        self._prefix = prefix
        self._scripts = (WATCH, *scripts)
        self._socket_of = socket_of
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.console_errors: list[str] = []

    async def start(self) -> Firefox:
        """Start it headless and open a BiDi session."""
        path = needs_program("firefox-esr", variable="FIREFOX")
        self._profile = Path(tempfile.mkdtemp(prefix="firefox-"))
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()
        ]
        (self._profile / "user.js").write_text("\n".join(lines))
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            *(
                path,
                "--headless",
                "--no-remote",
                "--profile",
                str(self._profile),
                "--remote-debugging-port",
                "0",
            ),
            env={
                **os.environ,
                "HOME": str(self._profile),
                "MOZ_HEADLESS": "1",
                "MOZ_CRASHREPORTER_DISABLE": "1",
                "MOZ_DISABLE_CONTENT_SANDBOX": "1",
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        address = await asyncio.wait_for(self._address(), START_S)
        assert self._process.stderr
        self._drain = asyncio.create_task(self._process.stderr.read())
        open_socket = self._socket_of
        connector = aiohttp.TCPConnector(
            socket_factory=(lambda address: open_socket(*address[:2])) if open_socket else None
        )
        self._http = aiohttp.ClientSession(connector=connector)
        self._socket = await self._http.ws_connect(f"{address}/session", max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        await self.command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        await self.command("session.subscribe", events=["log.entryAdded"])
        for script in self._scripts:
            await self.command("script.addPreloadScript", functionDeclaration=f"() => {{ {script} }}")
        return self

    async def _address(self) -> str:
        assert self._process.stderr
        while line := await self._process.stderr.readline():
            if found := LISTENING.search(line.decode(errors="replace")):
                return found.group(1)
        raise BidiError("Firefox ended before it listened")

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if said.get("id") in self._waiting:
                future = self._waiting.pop(said["id"])
                if not future.done():
                    future.set_result(said)
            elif said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.console_errors.append(str(said["params"].get("text")))

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One BiDi command and its result."""
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
        answer = await asyncio.wait_for(future, COMMAND_S)
        if answer.get("type") == "error":
            raise BidiError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def tab(self) -> FirefoxTab:
        """A new tab."""
        return FirefoxTab(self, (await self.command("browsingContext.create", type="tab"))["context"])

    async def close(self) -> None:
        """End the browser and remove its profile."""
        with contextlib.suppress(TimeoutError, BidiError, ConnectionError):
            await asyncio.wait_for(self.command("browser.close"), 5)
        await self._http.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for task in (self._reader, self._drain):
            task.cancel()
        await asyncio.gather(self._reader, self._drain, return_exceptions=True)
        shutil.rmtree(self._profile, ignore_errors=True)


@asynccontextmanager
async def firefox(
    prefix: Sequence[str] = (),
    socket_of: Callable[..., socket.socket] | None = None,
    scripts: Sequence[str] = (),
) -> AsyncIterator[Firefox]:
    """A Firefox for the block, here or on a laboratory's host."""
    browser = await Firefox(prefix, socket_of, scripts).start()
    try:
        yield browser
    finally:
        await browser.close()


class FirefoxTab(Tab):
    """A BiDi browsing context, acted on by accessible names only."""

    def __init__(self, browser: Firefox, context: str) -> None:
        self._browser = browser
        self._context = context

    async def _command(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.command(method, context=self._context, **parameters)

    async def open(self, url: str) -> None:
        await self._command("browsingContext.navigate", url=url, wait="complete")

    async def reload(self) -> None:
        await self._command("browsingContext.reload", wait="complete")

    async def _nodes(self, role: str, name: str | None = None) -> list[dict[str, Any]]:
        value = {"role": role} if name is None else {"role": role, "name": name}
        found = await self._command(
            "browsingContext.locateNodes", locator={"type": "accessibility", "value": value}
        )
        nodes: list[dict[str, Any]] = found["nodes"]
        return nodes

    async def _node(self, role: str, name: str | None = None) -> dict[str, Any]:
        async def found() -> dict[str, Any] | None:
            nodes = await self._nodes(role, name)
            return nodes[0] if nodes else None

        node = await until(found, f"the {role} {name!r}", timeout_s=ACT_S)
        assert node
        return node

    async def _click(self, node: dict[str, Any]) -> None:
        await self._call("(element) => element.scrollIntoView({block: 'nearest'})", node)
        origin = {"type": "element", "element": {"sharedId": node["sharedId"]}}
        pointer = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        await self._command(
            "input.performActions", actions=[{"type": "pointer", "id": "mouse", "actions": pointer}]
        )

    async def press(self, name: str) -> None:
        await self._click(await self._node("button", name))

    async def press_the_one_button(self) -> None:
        node = await self._node("button")
        assert len(await self._nodes("button")) == 1
        await self._click(node)

    async def write(self, text: str) -> None:
        await self._click(await self._node("textbox", "Message"))
        keys = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        await self._command("input.performActions", actions=[{"type": "key", "id": "keys", "actions": keys}])

    async def has(self, role: str, name: str) -> bool:
        return bool(await self._nodes(role, name))

    async def text_of(self, role: str, name: str) -> str:
        text: str = await self._call("(element) => element.innerText", await self._node(role, name))
        return text

    async def _call(self, function: str, node: dict[str, Any]) -> Any:
        answer = await self._browser.command(
            "script.callFunction",
            functionDeclaration=f"(element) => JSON.stringify(({function})(element) ?? null)",
            arguments=[{"sharedId": node["sharedId"]}],
            target={"context": self._context},
            awaitPromise=False,
        )
        return _value(answer)

    async def evaluate(self, expression: str) -> Any:
        answer = await self._browser.command(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))",
            target={"context": self._context},
            awaitPromise=True,
        )
        return _value(answer)

    async def picture(self, file: Path) -> None:
        """A screenshot of what a person sees."""
        shot = await self._command("browsingContext.captureScreenshot")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))


def _value(answer: dict[str, Any]) -> Any:
    if answer["type"] == "exception":
        raise BidiError(answer["exceptionDetails"]["text"])
    return json.loads(answer["result"]["value"])
