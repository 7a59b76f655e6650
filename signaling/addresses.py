"""Where a request comes from, and how much may come from one address.

The peer of the connection is who asks, unless the operator trusts it as a proxy: then X-Forwarded-For says who, read from
its right end, hop by hop, for as long as the hop that wrote it is trusted. X-Forwarded-Proto, X-Forwarded-Host and
Forwarded are believed from nobody: the public address is a setting.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import structlog
from aiohttp import web

from rooms.errors import Limited
from signaling.buckets import TokenBuckets
from signaling.front import Opening
from signaling.settings import Network

log = structlog.get_logger()

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ADDRESSES_MAX = 10_000
"""Addresses whose rate is known at a time; beyond it the one that has been silent longest starts anew."""


class Addresses:
    """`trusted` are the networks of our own proxies."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self._warned = False

    def client(self, request: web.Request | Opening) -> Address | None:
        """Who asks; None for a connection that is gone already."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        if not isinstance(peer, tuple):
            return None
        return self.of(peer[0], ",".join(request.headers.getall("X-Forwarded-For", ())))

    def of(self, peer: str, forwarded: str) -> Address | None:
        """The rightmost address of `forwarded` and `peer` that is no trusted proxy's; without one, the leftmost."""
        known = _read(peer)
        if forwarded and known is not None and not self._trusts(known):
            self._warn()
        for hop in reversed(forwarded.split(",")):
            if known is None or not self._trusts(known) or (before := _read(hop)) is None:
                break
            known = before
        return known

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn(self) -> None:
        """Once: it may be a proxy that the settings do not know, and then all of its visitors share one rate."""
        if not self._warned:
            self._warned = True
            log.warning("X-Forwarded-For is not believed: its sender is not in trusted_proxies")


class AddressRate:
    """At most `burst` at once and `per_s` in the long run from one address (of IPv6, from one /64: that is what one
    connection gets). `refused` is called for each that is too much."""

    def __init__(self, addresses: Addresses, per_s: float, burst: int, refused: Callable[[], None]) -> None:
        self._addresses = addresses
        self._buckets = TokenBuckets(per_s, burst, ADDRESSES_MAX)
        self._refused = refused

    def take(self, request: web.Request | Opening) -> None:
        """Raises `Limited` with the time until the next one."""
        address = self._addresses.client(request)
        if address is None:
            return
        try:
            self._buckets.take(_owner(address), time.monotonic())
        except Limited:
            self._refused()
            raise


@lru_cache(maxsize=1_024)
def _read(text: str) -> Address | None:
    """An IPv4 address that comes over an IPv6 socket is that IPv4 address (RFC 4291 §2.5.5.2)."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _owner(address: Address) -> tuple[int, int]:
    return address.version, int(address) if address.version == 4 else int(address) >> 64
