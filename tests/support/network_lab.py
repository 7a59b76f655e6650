"""A laboratory of networks on one machine: hosts in network namespaces, on Ethernet segments whose every port has its own
delay, jitter, loss and rate, and can be cut.

The switch is ours and in user space, over TAP devices, since not every kernel has `tc netem`. Routers translate addresses
with nftables. Needs root, iproute2, nftables and /dev/net/tun.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_interface
from pathlib import Path
from typing import Literal

from tests.support.needs import needs, needs_program

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
FRAME_BYTES = 2048
"""An Ethernet frame of 1500 bytes with its head."""
BURST = 64
"""Frames read from one port before the others get their turn."""
MULTICAST = 1
"""The bit of a MAC address's first byte."""
_libc = ctypes.CDLL(None, use_errno=True)


def _run(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Direction:
    """What happens to frames one way: `delay_s` and `jitter_s` each, a share `loss`, `rate` in bit/s (0 = any)."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    rate: int = 0
    queue_bytes: int = 64_000
    down: bool = False
    dropped: int = 0
    carried_bytes: int = 0
    _free_at: float = 0.0
    _last_at: float = 0.0

    def due(self, now: float, size: int) -> float | None:
        """When a frame comes out; None when it is lost, on the way or at the full queue. Order is kept."""
        if self.down or (self.loss and random.random() < self.loss):
            self.dropped += 1
            return None
        at = now
        if self.rate:
            start = max(now, self._free_at)
            if (start - now) * self.rate / 8 > self.queue_bytes:
                self.dropped += 1
                return None
            at = self._free_at = start + size * 8 / self.rate
        self.carried_bytes += size
        jitter = random.uniform(-self.jitter_s, self.jitter_s) if self.jitter_s else 0.0
        self._last_at = max(at + self.delay_s + jitter, self._last_at)
        return self._last_at


@dataclass
class Port:
    """Where a host's interface meets a segment. `up` is the way from the host, `dn` the way to it."""

    host: Host
    interface: str
    segment: str
    descriptor: int
    address: str
    """With prefix length."""
    gateway: str | None
    metric: int
    up: Direction = field(default_factory=Direction)
    dn: Direction = field(default_factory=Direction)

    def shape(self, *, delay_s: float = 0, jitter_s: float = 0, loss: float = 0, rate: int = 0) -> None:
        """An access link, the same both ways."""
        for way in (self.up, self.dn):
            way.delay_s, way.jitter_s, way.loss, way.rate = delay_s, jitter_s, loss, rate

    def cut(self, cut: bool = True) -> None:
        """Every frame is lost, and neither side is told: a black hole."""
        self.up.down = self.dn.down = cut

    def lose(self) -> None:
        """The interface goes away, as Wi-Fi does: address and link."""
        _run(f"ip -n {self.host.namespace} addr flush dev {self.interface}")
        _run(f"ip -n {self.host.namespace} link set {self.interface} down")

    def gain(self) -> None:
        """The interface is there, with its address and its routes: at first, and again after `lose`.

        What is sent from its address leaves by it, also while another interface has the better default route, as
        on a phone that has two networks at once.
        """
        ip = f"ip -n {self.host.namespace}"
        _run(f"{ip} link set {self.interface} up")
        _run(f"{ip} addr replace {self.address} dev {self.interface}")
        if self.gateway:
            way = f"default via {self.gateway} dev {self.interface} onlink"
            _run(f"{ip} route replace {way} metric {self.metric}")
            _run(f"{ip} route replace {way} table {self.metric}")
            near = ip_interface(self.address).network
            _run(f"{ip} route replace {near} dev {self.interface} table {self.metric}")


@dataclass
class Host:
    """One machine of the laboratory."""

    name: str
    namespace: str

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread opens or starts within the block belongs to the host."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        away = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        try:
            _setns(away)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)
            os.close(away)

    @property
    def prefix(self) -> list[str]:
        """Words before a program's, so that it runs on the host."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--"]

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """A socket of the host's, in our hands."""
        with self.entered():
            made = socket.socket(family, kind)
        made.setblocking(False)
        return made

    def run(self, command: str) -> None:
        """Run a command on the host."""
        _run(f"ip netns exec {self.namespace} {command}")

    def launcher(self, folder: Path, program: str) -> str:
        """The path of a script that starts `program` on the host, for those who start programs by their path."""
        script = folder / f"{Path(program).name}-on-{self.name}"
        script.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/{self.namespace} "{program}" "$@"\n')
        script.chmod(0o755)
        return str(script)

    def forbid(self, *rules: str) -> None:
        """nftables rules for what the host forwards, e.g. `udp dport 1-65535 drop`."""
        self.run("nft add table ip guard")
        self.run("nft add chain ip guard forward { type filter hook forward priority 0 ; }")
        for rule in rules:
            self.run(f"nft add rule ip guard forward {rule}")


class NetworkLab:
    """All hosts and segments; one thread forwards the frames."""

    def __init__(self) -> None:
        needs("root, to make network namespaces", os.geteuid() == 0)
        needs("/dev/net/tun", Path("/dev/net/tun").exists())
        for program in ("ip", "nft", "nsenter"):
            needs_program(program)
        self._tag = f"lab{os.getpid()}"
        self._hosts: list[Host] = []
        self._ports: list[Port] = []
        self._port_of: dict[tuple[str, bytes], Port] = {}
        self._waiting: list[tuple[float, int, bool, Port, bytes]] = []
        self._numbers = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._stopped = False
        self._thread = threading.Thread(target=self._forward, name="switch", daemon=True)
        self._thread.start()

    def host(self, name: str) -> Host:
        """A new machine, without interfaces yet."""
        host = Host(name, f"{self._tag}-{name}")
        _run(f"ip netns add {host.namespace}")
        self._hosts.append(host)
        # Router solicitations and duplicate detection of IPv6 only delay the start.
        for scope in ("all", "default"):
            host.run(f"sysctl -qw net.ipv6.conf.{scope}.disable_ipv6=1")
        _run(f"ip -n {host.namespace} link set lo up")
        return host

    def plug(
        self,
        host: Host,
        segment: str,
        address: str,
        *,
        interface: str = "eth0",
        gateway: str | None = None,
        metric: int = 100,
    ) -> Port:
        """Give a host an interface with an address (with prefix length) on a segment."""
        with host.entered():
            descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            request = struct.pack("16sH22x", interface.encode(), IFF_TAP_WITHOUT_HEADER)
            fcntl.ioctl(descriptor, TUNSETIFF, request)
        port = Port(host, interface, segment, descriptor, address, gateway, metric)
        port.gain()
        if gateway:
            own = ip_interface(address).ip
            _run(f"ip -n {host.namespace} rule add from {own} lookup {metric} priority {metric}")
        self._ports.append(port)
        self._selector.register(descriptor, selectors.EVENT_READ, port)
        os.write(self._woken, b"x")
        return port

    def router(
        self,
        name: str,
        *,
        inside: tuple[str, str],
        outside: tuple[str, str],
        nat: Literal["cone", "symmetric"] = "cone",
    ) -> Host:
        """A home router: (segment, address) inside and outside.

        A cone keeps the inner port, so that everybody sees the same mapping (RFC 4787 §4.1). Symmetric: a random port
        for each destination. Both let in only what was asked for, and what they drop is not remembered: an entry of
        its own for it would make the kernel choose another port for the answer, so that no hole could be punched.
        """
        host = self.host(name)
        self.plug(host, *inside, interface="lan0")
        self.plug(host, *outside, interface="wan0", gateway=GATEWAY)
        host.run("sysctl -qw net.ipv4.ip_forward=1")
        host.run("nft add table ip nat")
        host.run("nft add chain ip nat postrouting { type nat hook postrouting priority 100 ; }")
        mapping = "masquerade" if nat == "cone" else "masquerade fully-random"
        host.run(f"nft add rule ip nat postrouting oifname wan0 {mapping}")
        host.run("nft add table ip door")
        host.run("nft add chain ip door input { type filter hook input priority 0 ; }")
        host.run("nft add rule ip door input iifname wan0 ct state new drop")
        return host

    def _forward(self) -> None:
        while not self._stopped:
            wait_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            for key, _ in self._selector.select(wait_s):
                if key.data is None:
                    os.read(self._wake, 64)
                else:
                    self._take_from(key.data)
            self._hand_out()

    def _take_from(self, port: Port) -> None:
        for _ in range(BURST):
            try:
                frame = os.read(port.descriptor, FRAME_BYTES)
            except OSError:  # nothing more, or the interface is down
                return
            self._port_of[port.segment, frame[6:12]] = port
            at = port.up.due(time.monotonic(), len(frame))
            if at is None:
                continue
            known = None if frame[0] & MULTICAST else self._port_of.get((port.segment, frame[:6]))
            others = [one for one in self._ports if one.segment == port.segment and one is not port]
            for target in [known] if known else others:
                heapq.heappush(self._waiting, (at, next(self._numbers), False, target, frame))

    def _hand_out(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            at, _, came_down, port, frame = heapq.heappop(self._waiting)
            if not came_down:
                due = port.dn.due(at, len(frame))
                if due is None:
                    continue
                if due > now:
                    heapq.heappush(self._waiting, (due, next(self._numbers), True, port, frame))
                    continue
            try:
                os.write(port.descriptor, frame)
            except OSError:  # the interface is down, or its queue is full: a lost frame
                port.dn.dropped += 1

    def close(self) -> None:
        """Away with everything; whatever still runs on the hosts has no network any more."""
        self._stopped = True
        os.write(self._woken, b"x")
        self._thread.join(5)
        for port in self._ports:
            os.close(port.descriptor)
        for descriptor in (self._wake, self._woken):
            os.close(descriptor)
        for host in self._hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True, check=False)


INTERNET = "internet"
"""The segment on which everybody has a public address, 203.0.113.0/24 (RFC 5737)."""
GATEWAY = "203.0.113.254"
"""Nobody: programs only want a default route."""


def public(number: int) -> str:
    """An address on the internet segment, with prefix length."""
    return f"203.0.113.{number}/24"


@contextmanager
def network_lab() -> Iterator[NetworkLab]:
    """A laboratory for the block."""
    lab = NetworkLab()
    try:
        yield lab
    finally:
        lab.close()
