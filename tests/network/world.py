"""Where the scenarios happen: a server, a relay and two people, each on a machine of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.network.call import JOURNAL, Call
from tests.support.chromium import ChromiumTab, chromium, new_context
from tests.support.firefox import firefox
from tests.support.needs import needs_program
from tests.support.network_lab import GATEWAY, INTERNET, Host, NetworkLab, Port, network_lab, public
from tests.support.relay import SECRET, Relay
from tests.support.server import Server
from tests.support.tab import Tab

SERVER = 10
RELAY = 20
Way = Literal["udp", "tcp", "tls"]
BrowserName = Literal["chromium", "firefox"]


@dataclass
class Place:
    """Where a person sits: the machine, and its way into the net (of several, the one in use)."""

    host: Host
    port: Port
    other: Port | None = None


class World:
    """A laboratory with a running server and relay; places and browsers are added as a scenario needs them."""

    def __init__(self, lab: NetworkLab, server: Server, relay: Relay, stack: AsyncExitStack) -> None:
        self.lab = lab
        self.server = server
        self.relay = relay
        self._stack = stack
        self._numbers = iter(range(30, 250))

    # Places

    def plain(self, name: str) -> Place:
        """A machine with a public address, behind nothing."""
        host = self.lab.host(name)
        return Place(host, self.lab.plug(host, INTERNET, public(next(self._numbers)), gateway=GATEWAY))

    def behind_router(
        self, name: str, nat: Literal["cone", "symmetric"] = "cone", forbidden: Sequence[str] = ()
    ) -> Place:
        """A machine at home or at school; `forbidden`: nftables rules of what the router does not let out."""
        host = self.lab.host(name)
        return Place(host, self._home(host, "eth0", 100, nat, forbidden))

    def phone(self, name: str) -> Place:
        """A machine with Wi-Fi and 4G at once, each with a translating router of its own; Wi-Fi is preferred."""
        host = self.lab.host(name)
        return Place(host, self._home(host, "wlan0", 100), self._home(host, "wwan0", 600))

    def _home(
        self,
        host: Host,
        interface: str,
        metric: int,
        nat: Literal["cone", "symmetric"] = "cone",
        forbidden: Sequence[str] = (),
    ) -> Port:
        number = next(self._numbers)
        segment = f"home{number}"
        router = self.lab.router(
            segment, inside=(segment, f"10.0.{number}.1/24"), outside=(INTERNET, public(number)), nat=nat
        )
        if forbidden:
            router.forbid(*forbidden)
        address, gateway = f"10.0.{number}.2/24", f"10.0.{number}.1"
        return self.lab.plug(host, segment, address, interface=interface, gateway=gateway, metric=metric)

    # Browsers

    async def tab(self, place: Place, browser: BrowserName = "chromium") -> Tab:
        """A browser of its own on that machine, and a tab in it."""
        if browser == "firefox":
            started = await self._stack.enter_async_context(
                firefox(place.host.prefix, place.host.open_socket, scripts=[JOURNAL])
            )
            return await started.tab()
        program = place.host.launcher(self.server.data.parent, needs_program("chromium", variable="CHROMIUM"))
        flags = [f"--unsafely-treat-insecure-origin-as-secure={self.server.url}"]
        running = await self._stack.enter_async_context(chromium(program=program, more_flags=flags))
        context = await new_context(running)
        await context.add_init_script(JOURNAL)
        return await ChromiumTab.new(context)

    async def meet(self, mentor: Place, mentee: Place, mentee_browser: BrowserName = "chromium") -> Call:
        """Two people who never met before, in their room, each in a browser on their own machine."""
        pair = await self.server.pair()
        tabs = await asyncio.gather(self.tab(mentor), self.tab(mentee, mentee_browser))
        return await Call.prepare(self.server, pair, *tabs)


@asynccontextmanager
async def a_world(
    folder: Path,
    *,
    ways: Sequence[Way] = (),
    stun: bool = False,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = (),
) -> AsyncIterator[World]:
    """`ways`: how the relay is offered to the clients; `program` stands before the server's own command."""
    async with AsyncExitStack() as stack:
        lab = stack.enter_context(network_lab())
        machines = {}
        for name, number in (("server", SERVER), ("relay", RELAY)):
            machines[name] = lab.host(name)
            lab.plug(machines[name], INTERNET, public(number), gateway=GATEWAY)
        relay = await Relay(folder / "relay", _plain(RELAY), prefix=machines["relay"].prefix).start()
        stack.push_async_callback(relay.stop)
        told = {"TELEMENTOR_STUN_URLS": relay.stun} if stun else {}
        if ways:
            told["TELEMENTOR_TURN_URLS"] = ",".join(relay.urls[way] for way in ways)
            told["TELEMENTOR_TURN_SECRET"] = SECRET
        server = Server(
            folder / "server",
            {**told, **(settings or {})},
            program=[*machines["server"].prefix, *program, needs_program("telementor")],
            host=_plain(SERVER),
        )
        (folder / "server").mkdir()
        stack.push_async_callback(server.close)
        await server.start()
        yield World(lab, server, relay, stack)


def _plain(number: int) -> str:
    return public(number).split("/")[0]
