"""The address of a store as an operator writes it.

    redis://user:password@host:6379/0         one Redis or Valkey (rediss:// over TLS, unix:///path for a socket)
    redis+sentinel://host:26379,host/name/0   the primary that Sentinels call by this name
    redis+cluster://host:6379,host:6379       a Redis Cluster: some of its nodes, the others are found

The user and password are those of the Redis nodes. Sentinels are asked without one.
"""

from __future__ import annotations

from typing import Final, Literal, cast
from urllib.parse import unquote, urlsplit

from msgspec import Struct

Kind = Literal["one", "sentinel", "cluster"]

_KINDS: Final = {"redis": "one", "rediss": "one", "unix": "one"} | {
    f"{scheme}+{kind}": kind for scheme in ("redis", "rediss") for kind in ("sentinel", "cluster")
}
_PORTS: Final = {"one": 6379, "sentinel": 26379, "cluster": 6379}


class StoreUrl(Struct, frozen=True):
    """`text` is the whole address. `name` and `database` are of a primary behind Sentinels."""

    text: str
    kind: Kind
    places: tuple[tuple[str, int], ...]
    tls: bool = False
    user: str | None = None
    password: str | None = None
    name: str = ""
    database: int = 0


def parse(text: str) -> StoreUrl:
    """Raises ValueError; its text never holds the address, which may hold a password."""
    parts = urlsplit(text)
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise ValueError("unknown scheme")
    if kind == "one":
        return StoreUrl(text, "one", ())
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    path = [unquote(part) for part in parts.path.split("/") if part]
    if (kind == "sentinel") is not bool(path) or len(path) > 2:
        raise ValueError("a name is for Sentinels, and they need one")
    return StoreUrl(
        text,
        cast("Kind", kind),
        tuple(_place(host, _PORTS[kind]) for host in hosts.split(",")),
        tls=parts.scheme.startswith("rediss"),
        user=unquote(user) or None,
        password=unquote(password) or None,
        name=path[0] if path else "",
        database=int(path[1]) if len(path) > 1 else 0,
    )


def _place(text: str, port: int) -> tuple[str, int]:
    one = urlsplit(f"//{text}")
    if not one.hostname:
        raise ValueError("a host is missing")
    return one.hostname, one.port or port
