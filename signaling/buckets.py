"""Rates of one socket that never need the store: signals and typing (PROTOCOL.md, "Limits")."""

from __future__ import annotations

from rooms.errors import Limited


class TokenBucket:
    """At most `burst` at once and `per_s` in the long run. Time is passed in, in seconds of any monotonic clock."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_s: float | None = None

    def take(self, now_s: float) -> None:
        """Raises `Limited` with the time until the next token, and takes none then."""
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            raise Limited(retry_ms=max(1, round((1 - self._tokens) / self._per_s * 1000)))
        self._tokens -= 1
