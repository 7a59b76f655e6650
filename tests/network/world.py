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
from tests.support.server import Server
from tests.support.tab import Tab
from tests.support.tls_front import TlsFront
from tests.support.turn_server import SECRET, TurnServer, certificate

SERVER = 10
RELAY = 20
TURN_PORT = 3478
TLS_PORT = 443
Way = Literal["udp", "tcp", "tls"]
BrowserName = Literal["chromium", "firefox"]


@dataclass
class Place:
    """Where a person sits: the machine, and its way into the net."""

    host: Host
    port: Port


@dataclass
class Phone(Place):
    """With two networks at once; `port` is Wi-Fi, which is preferred."""

    mobile: Port

    @property
    def wifi(self) -> Port:
        """The network that is lost when its owner leaves the house."""
        return self.port


class World:
    """A laboratory with a running server and relay; places and browsers are added as a scenario needs them."""

    def __init__(self, lab: NetworkLab, server: Server, server_port: Port, stack: AsyncExitStack) -> None:
        self.lab = lab
        self.server = server
        self.server_port = server_port
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

    def phone(self, name: str) -> Phone:
        """A machine with Wi-Fi and 4G at once, each with a translating router of its own."""
        host = self.lab.host(name)
        return Phone(host, self._home(host, "wlan0", 100), self._home(host, "wwan0", 600))

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
        # Camera and microphone need a secure page; a certificate that nobody knows is one here, for the relay's TLS too.
        flags = [
            f"--unsafely-treat-insecure-origin-as-secure={self.server.url}",
            "--ignore-certificate-errors",
        ]
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
    tls: bool = False,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = (),
) -> AsyncIterator[World]:
    """`ways`: how the relay is offered to the clients. `tls`: the page is behind TLS on port 443. `program` stands before
    the server's own command."""
    async with AsyncExitStack() as stack:
        lab = stack.enter_context(network_lab())
        machines = {name: lab.host(name) for name in ("server", "relay")}
        server_port = lab.plug(machines["server"], INTERNET, public(SERVER), gateway=GATEWAY)
        lab.plug(machines["relay"], INTERNET, public(RELAY), gateway=GATEWAY)
        relay = await _relay(folder / "relay", machines["relay"])
        stack.push_async_callback(relay.stop)
        told = {"TELEMENTOR_STUN_URLS": relay.stun_url} if stun else {}
        if ways:
            told["TELEMENTOR_TURN_URLS"] = ",".join(relay.urls[way] for way in ways)
            told["TELEMENTOR_TURN_SECRET"] = SECRET
        if tls:
            told["TELEMENTOR_PUBLIC_URL"] = f"https://{_plain(SERVER)}"
        (folder / "server").mkdir()
        server = Server(
            folder / "server",
            {**told, **(settings or {})},
            program=[*machines["server"].prefix, *program, needs_program("telementor")],
            host=_plain(SERVER),
        )
        stack.push_async_callback(server.close)
        await server.start()
        if tls:
            seal = certificate(folder, _plain(SERVER))
            to_port = int(server.url.rsplit(":", 1)[1])
            front = await TlsFront(machines["server"], _plain(SERVER), TLS_PORT, to_port, seal).start()
            stack.push_async_callback(front.stop)
        yield World(lab, server, server_port, stack)


async def _relay(folder: Path, host: Host) -> TurnServer:
    folder.mkdir()
    address = _plain(RELAY)
    options = ["--fingerprint", f"--relay-ip={address}", f"--userdb={folder / 'turndb'}"]
    relay = TurnServer(
        folder, address=address, port=TURN_PORT, tls_port=TLS_PORT, host=host, name=address, options=options
    )
    return await relay.start()


def _plain(number: int) -> str:
    return public(number).split("/")[0]
