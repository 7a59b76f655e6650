"""A Cluster of a test's own, to be killed and moved."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.redis_topologies import Cluster, RedisServer


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster([RedisServer() for _ in range(6)])
    try:
        yield await made.start()
    finally:
        await made.close()
