"""Which STUN and TURN servers a client is told of, with credentials that expire (rule K4).

Credentials are of the kind that coturn calls `use-auth-secret` ("A REST API For Access To TURN Services",
draft-uberti-behave-turn-rest-00): the user name is `<expiry>:<name>`, the password a base64 HMAC-SHA1 of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Literal

from msgspec import Struct

_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:?/@\s]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)


class Address(Struct, frozen=True):
    """Where a STUN server or a relay listens."""

    scheme: str
    host: str
    port: int
    transport: Literal["udp", "tcp"]

    @property
    def is_relay(self) -> bool:
        return self.scheme.startswith("turn")

    @property
    def is_tls(self) -> bool:
        return self.scheme.endswith("s")

    @staticmethod
    def parse(url: str) -> Address:
        """Of a `stun:`, `stuns:`, `turn:` or `turns:` URL (RFC 7064, RFC 7065). Raises ValueError."""
        found = _URL.fullmatch(url)
        if found is None or int(found["port"] or 1) not in range(1, 65536):
            raise ValueError(url)
        if found["transport"] and found["scheme"].startswith(
            "stun"
        ):  # RFC 7064 has none, and browsers refuse it
            raise ValueError(url)
        tls = found["scheme"].endswith("s")
        return Address(
            scheme=found["scheme"],
            host=found["host"].strip("[]"),
            port=int(found["port"] or (5349 if tls else 3478)),
            transport="tcp" if tls or found["transport"] == "tcp" else "udp",
        )


class Server(Struct, frozen=True):
    """RTCIceServer (W3C WebRTC §4.2.4)."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


class Configuration(Struct, frozen=True):
    """`expires_at`: milliseconds UTC; a client asks again well before."""

    servers: tuple[Server, ...]
    policy: Literal["all", "relay"]
    expires_at: int


class IceServers(Struct, frozen=True):
    """What an operator has: no third party's server is ever named by default. `ttl_s` is 600 at least (K4), shorter only to
    see what happens when a credential expires."""

    stun_urls: tuple[str, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: str = ""
    ttl_s: int = 3600
    policy: Literal["all", "relay"] = "all"

    def configuration(
        self, name: str, now_ms: int, policy: Literal["all", "relay"] | None = None
    ) -> Configuration:
        """For one person. `name` ends up in the relay's log: an opaque id, never an address. `policy` is that of their
        programme, before ours."""
        expires_s = now_ms // 1000 + self.ttl_s
        servers: list[Server] = []
        if self.stun_urls:
            servers.append(Server(self.stun_urls))
        if self.turn_urls:
            username = f"{expires_s}:{name}"
            digest = hmac.new(self.turn_secret.encode(), username.encode(), hashlib.sha1).digest()
            servers.append(Server(self.turn_urls, username, base64.b64encode(digest).decode()))
        return Configuration(tuple(servers), policy or self.policy, expires_s * 1000)

    def __repr__(self) -> str:
        return f"IceServers(stun_urls={self.stun_urls}, turn_urls={self.turn_urls}, policy={self.policy})"
