"""From the address of a store to its client."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel

from signaling.stores import store_url
from signaling.stores.redis_cluster import ClusterStore
from signaling.stores.redis_sentinel import PrimaryPool, SentinelStore
from signaling.stores.store import OneStore, Store, options


def connect(url: str, timeout_s: float, connections: int = 64) -> Store:
    """Every command ends within about `timeout_s`. More than `connections` at once wait for a free one; behind Sentinels and
    in a cluster, where redis-py does not wait, they are `unavailable`. Raises ValueError for an address that is none."""
    address = store_url.parse(url)
    bounds = options(timeout_s, connections)
    if address.kind == "one":
        pool = BlockingConnectionPool.from_url(url, timeout=timeout_s, **bounds)
        return OneStore(Redis(connection_pool=pool), timeout_s)
    bounds |= {"username": address.user, "password": address.password, "ssl": address.tls}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.places]
        # Slots that nobody serves are no reason to refuse the rooms of all others.
        cluster = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **bounds)
        return ClusterStore(cluster, timeout_s)
    limits = {name: bounds[name] for name in ("socket_timeout", "socket_connect_timeout")}
    sentinels = Sentinel(address.places, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
    primary = sentinels.master_for(
        address.name, connection_pool_class=PrimaryPool, db=address.database, **bounds
    )
    return SentinelStore(primary, timeout_s)
