"""The seam between the rooms and whatever carries their words: the code of the room sees this and nothing of Socket.IO."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from rooms.pushes import ReplacedPush, RevokedPush


class Identity(Struct, frozen=True):
    """Who a socket is. `login` or `token` is what it came with, so that its revocation finds it (C4)."""

    person: str
    device: str
    login: str | None = None
    token: str | None = None


class Connection(Protocol):
    """One socket of one person's device.

    `send` never waits: what is sent is written in order. Beyond the bound on waiting bytes an `ephemeral` frame is
    dropped; for any other the connection is closed, and the client resumes (PROTOCOL.md, "Limits").
    """

    id: str
    identity: Identity

    def send(self, frame: bytes, *, ephemeral: bool = False) -> None: ...

    def cut(self) -> None:
        """Too much waits for it elsewhere: closed at once, and the client resumes."""
        ...

    def dismiss(self, last: ReplacedPush | RevokedPush) -> None:
        """Says why, and closes the transport for good."""
        ...
