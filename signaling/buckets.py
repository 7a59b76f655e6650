"""Rates that never need the store: of one socket, and of one address at this node (PROTOCOL.md, "Limits")."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from rooms.errors import Limited


class TokenBucket:
    """At most `burst` at once and `per_s` in the long run. Time is passed in, in seconds of any monotonic clock."""

    __slots__ = ("_at_s", "_burst", "_per_s", "_tokens")

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


class TokenBuckets:
    """A bucket for each name that comes, for at most `most` names. A bucket that has had the time to fill up is forgotten,
    and so is, beyond `most`, the one that was asked longest ago: its name starts anew."""

    def __init__(self, per_s: float, burst: float, most: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[Hashable, tuple[TokenBucket, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: Hashable, now_s: float) -> None:
        """As `TokenBucket.take`."""
        self._forget(now_s)
        known = self._buckets.pop(name, None)
        bucket = known[0] if known else TokenBucket(self._per_s, self._burst)
        self._buckets[name] = (bucket, now_s)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        bucket.take(now_s)

    def _forget(self, now_s: float) -> None:
        while self._buckets:
            name, (_, asked_s) = next(iter(self._buckets.items()))
            if now_s - asked_s < self._burst / self._per_s:
                return
            del self._buckets[name]
