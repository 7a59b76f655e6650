"""From the address of a store to its client."""

from __future__ import annotations

from typing import Final

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel

from signaling.stores import store_url
from signaling.stores.redis_cluster import ClusterStore
from signaling.stores.redis_sentinel import PrimaryPool, SentinelStore
from signaling.stores.store import OneStore, Store, options

SENTINEL_S: Final = 1.0
"""What one Sentinel gets to answer before the next is asked: the one on a dead machine is often the first."""


def connect(url: str, timeout_s: float, connections: int = 64) -> Store:
    """Every command ends within about `timeout_s`; more than `connections` at once to one primary wait for their turn within
    that time. Raises ValueError for an address that is none."""
    address = store_url.parse(url)
    bounds = options(timeout_s)
    if address.kind == "one":
        pool = ConnectionPool.from_url(url, **bounds)
        return OneStore(Redis(connection_pool=pool), timeout_s, connections)
    bounds |= {"username": address.user, "password": address.password, "ssl": address.tls}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.places]
        # Slots that nobody serves are no reason to refuse the rooms of all others.
        cluster = RedisCluster(
            startup_nodes=nodes, require_full_coverage=False, max_connections=2 * connections, **bounds
        )
        return ClusterStore(cluster, timeout_s, connections)
    sentinels = Sentinel(address.places, sentinel_kwargs=options(SENTINEL_S))  # type: ignore[no-untyped-call]
    primary = sentinels.master_for(
        address.name, connection_pool_class=PrimaryPool, db=address.database, **bounds
    )
    return SentinelStore(primary, timeout_s, connections)
