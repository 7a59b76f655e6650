"""The stores that every adapter is held against: our Valkey, Debian's Redis 7.0, and a Cluster of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from signaling.stores.redis_client import connect
from signaling.stores.store import Store
from tests.support.redis_servers import running
from tests.support.redis_topologies import clustered


@pytest.fixture(scope="package", params=["valkey", "redis", "cluster"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with clustered() if request.param == "cluster" else running(request.param) as url:
        yield url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    client = connect(store_url, 5)
    yield client
    await client.aclose()
