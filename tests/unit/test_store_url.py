"""The address of a store: what is understood, and what is refused without being repeated."""

from __future__ import annotations

import pytest

from signaling.stores.store_url import StoreUrl, parse

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("text", ["redis://127.0.0.1:6379/0", "rediss://me:pw@h", "unix:///run/valkey.sock"])
def test_one_store(text: str) -> None:
    assert parse(text) == StoreUrl(text, "one", ())


def test_a_primary_behind_sentinels() -> None:
    found = parse("redis+sentinel://me:p%40w@one,two:26380,[::1]:1/mymaster/3")
    assert (found.kind, found.name, found.database, found.tls) == ("sentinel", "mymaster", 3, False)
    assert found.places == (("one", 26379), ("two", 26380), ("::1", 1))
    assert (found.user, found.password) == ("me", "p@w")


def test_a_cluster() -> None:
    found = parse("rediss+cluster://one:7001,two")
    assert (found.kind, found.places, found.tls) == ("cluster", (("one", 7001), ("two", 6379)), True)
    assert (found.user, found.password) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "http://me:hunter2@h",
        "redis+sentinel://me:hunter2@h",
        "redis+sentinel://me:hunter2@h/name/0/more",
        "redis+sentinel://me:hunter2@h/name/x",
        "redis+cluster://me:hunter2@h/0",
        "redis+cluster://me:hunter2@",
        "redis+cluster://me:hunter2@one,,two",
        "redis+cluster://me:hunter2@one:port",
        "unix+cluster://me:hunter2@h",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is checked below
        parse(text)
    assert "hunter2" not in str(refused.value)
