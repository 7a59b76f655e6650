"""Whose address counts, and how much may come from one."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from rooms.errors import Limited
from signaling.addresses import Addresses
from signaling.buckets import TokenBuckets

pytestmark = pytest.mark.unit

TRUSTED = tuple(ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", "", "198.51.100.1"),
        ("198.51.100.1", "203.0.113.5", "198.51.100.1"),  # nobody vouches for what a stranger says
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5, 192.0.2.7", "203.0.113.5"),  # two proxies of ours
        ("10.0.0.1", "1.1.1.1, 203.0.113.5", "203.0.113.5"),  # what the visitor wrote itself is left of it
        ("10.0.0.1", "10.9.9.9, 10.8.8.8", "10.9.9.9"),  # everybody is ours: the farthest one
        ("10.0.0.1", "203.0.113.5, nonsense", "10.0.0.1"),
        ("10.0.0.1", " 203.0.113.5 ,", "10.0.0.1"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("::1", "2001:db8::5", "::1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy_of_ours(
    peer: str, forwarded: str, client: str
) -> None:
    assert str(Addresses(TRUSTED).of(peer, forwarded)) == client


def test_each_name_has_its_own_rate() -> None:
    buckets = TokenBuckets(per_s=2, burst=3, most=10)
    for _ in range(3):
        buckets.take("a", 0)
    with pytest.raises(Limited) as limited:
        buckets.take("a", 0)
    assert limited.value.retry_ms == 500
    buckets.take("b", 0)
    buckets.take("a", 0.5)
    with pytest.raises(Limited):
        buckets.take("a", 0.5)


def test_a_bucket_that_is_full_again_is_forgotten() -> None:
    buckets = TokenBuckets(per_s=1, burst=2, most=10)
    for name in ("a", "b"):
        buckets.take(name, 0)
    buckets.take("a", 1.5)
    buckets.take("c", 2)
    assert len(buckets) == 2, "b has been silent for as long as two tokens take"
    buckets.take("a", 2)
    with pytest.raises(Limited):
        buckets.take("a", 2)


def test_the_table_is_bounded() -> None:
    buckets = TokenBuckets(per_s=0.001, burst=1, most=100)
    for name in range(1_000):
        buckets.take(name, 0)
    assert len(buckets) == 100
    with pytest.raises(Limited):
        buckets.take(999, 0)
