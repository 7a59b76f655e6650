"""Which STUN and TURN servers a client is told of, with credentials that expire (rule K4).

Credentials are of the kind that coturn calls `use-auth-secret` ("A REST API For Access To TURN Services",
draft-uberti-behave-turn-rest-00): the user name is `<expiry>:<name>`, the password a base64 HMAC-SHA1 of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Literal

from msgspec import Struct


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
    """What an operator has: no third party's server is ever named by default. `ttl_s` is 600 at least (K4)."""

    stun_urls: tuple[str, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: str = ""
    ttl_s: int = 3600
    policy: Literal["all", "relay"] = "all"

    def configuration(self, name: str, now_ms: int) -> Configuration:
        """For one person. `name` ends up in the relay's log: an opaque id, never an address."""
        expires_s = now_ms // 1000 + self.ttl_s
        servers: list[Server] = []
        if self.stun_urls:
            servers.append(Server(self.stun_urls))
        if self.turn_urls:
            username = f"{expires_s}:{name}"
            digest = hmac.new(self.turn_secret.encode(), username.encode(), hashlib.sha1).digest()
            servers.append(Server(self.turn_urls, username, base64.b64encode(digest).decode()))
        return Configuration(tuple(servers), self.policy, expires_s * 1000)

    def __repr__(self) -> str:
        return f"IceServers(stun_urls={self.stun_urls}, turn_urls={self.turn_urls}, policy={self.policy})"
