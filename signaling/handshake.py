"""Who is at the other end of a new socket (rules C1, C2)."""

from __future__ import annotations

from rooms.commands import Strict


class Auth(Strict, frozen=True):
    """C1. `device` is one tab or app instance. Without `token` a log-in cookie counts; `login` says which of a browser's
    several (an addition to C1: two personal links in two tabs are two people)."""

    v: int
    device: str
    token: str | None = None
    login: str | None = None
