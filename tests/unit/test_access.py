"""C4 when the database hiccups: a revocation that could not be applied is applied later."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from rooms.pushes import ReplacedPush, RevokedPush
from signaling import access
from signaling.access import Access
from signaling.connection import Identity
from signaling.stores.audit import Change
from signaling.stores.database import DatabaseUnavailableError
from tests.support.condition import until

pytestmark = pytest.mark.unit


class Socket:
    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.identity = Identity(person="ann", device=str(uuid.uuid4()), login="l1")
        self.last: ReplacedPush | RevokedPush | None = None

    def send(self, frame: bytes, *, ephemeral: bool = False) -> None:
        raise AssertionError(frame)

    def dismiss(self, last: ReplacedPush | RevokedPush) -> None:
        self.last = last


class Hiccuping:
    """Credentials and an audit that tell of a revocation and then, for a while, cannot say who is still good."""

    def __init__(self, hiccups: list[Exception]) -> None:
        self.hiccups = hiccups

    async def changes_after(self, change_id: int) -> list[Change]:
        return [Change(1, 0, "person.revoked", "ann", None, {})] if change_id < 1 else []

    async def logins_alive(self, _: Any) -> frozenset[str]:
        if self.hiccups:
            raise self.hiccups.pop()
        return frozenset()

    async def tokens_alive(self, _: Any) -> frozenset[str]:
        return frozenset()


@pytest.mark.parametrize("hiccup", [DatabaseUnavailableError("away"), ValueError("never seen before")])
async def test_C4_a_revocation_outlives_a_hiccup(hiccup: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "POLL_S", 0.01)
    socket = Socket()

    class People:
        def of_person(self, person: str) -> list[Socket]:
            return [socket] if person == "ann" else []

    stores = Hiccuping([hiccup, hiccup])
    keeper = Access(None, stores, stores, People(), None)  # type: ignore[arg-type]
    polling = asyncio.create_task(keeper.run())
    await until(lambda: socket.last is not None, "the revocation")
    assert socket.last == RevokedPush(reason="revoked")
    polling.cancel()


def test_the_database_says_to_a_client_only_that_it_is_away() -> None:
    error = DatabaseUnavailableError("The database db.internal:5432 cannot be used: no route.")
    assert "db.internal" in str(error)
    assert "db.internal" not in error.message
