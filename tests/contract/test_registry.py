"""Who has a socket where (signaling.stores.registry), on one Redis and on a Cluster: R1, R3, and stores that fail over."""

from __future__ import annotations

import uuid

import pytest

from signaling.stores.registry import Arrival, Registry, person_channel
from signaling.stores.store import Store

pytestmark = [pytest.mark.contract, pytest.mark.integration]

ALIVE = ("n1", "n2")
MOST = 3
LEASE_MS = 3_000


@pytest.fixture
def person() -> str:
    return uuid.uuid4().hex


class Door:
    """Sockets of one person come and go."""

    def __init__(self, store: Store, person: str) -> None:
        self.registry = Registry(store)
        self.store = store
        self.person = person

    async def come(self, socket: str, device: str, node: str = "n1", since: int | None = None) -> Arrival:
        return await self.registry.connect(self.person, socket, node, device, ALIVE, MOST, since)

    async def sockets(self) -> set[str]:
        names = await self.store.run("HKEYS", f"{person_channel(self.person)}:sockets")
        return {name.decode() for name in names}

    async def forget(self) -> None:
        """As a store that was failed over to a replica that had not heard of it."""
        await self.store.run("DEL", f"{person_channel(self.person)}:sockets")


@pytest.fixture
def door(store: Store, person: str) -> Door:
    return Door(store, person)


async def test_R3_a_device_has_one_socket(door: Door) -> None:
    assert not (await door.come("s1", "d1")).was_online
    assert (await door.come("s2", "d1", "n2")).was_online
    assert await door.sockets() == {"s2"}


async def test_R2_sockets_that_have_just_gone_take_nobodys_place(door: Door) -> None:
    for number in range(MOST):
        await door.come(f"s{number}", f"d{number}")
    gone = [f"s{number}" for number in range(1, MOST)]
    arrival = await door.registry.connect(door.person, "new", "n1", "d", ALIVE, MOST, gone=gone)
    assert arrival.was_online
    assert await door.sockets() == {"s0", "new"}
    back = await door.registry.connect(door.person, "back", "n1", "d", ALIVE, MOST, gone=["s0", "new"])
    assert back.was_online, "until now: nobody was told otherwise"
    assert await door.sockets() == {"back"}


async def test_R3_a_socket_that_missed_its_dismissal_learns_of_it(door: Door) -> None:
    first = await door.come("s1", "d1")
    second = await door.come("s2", "d1", "n2")
    assert first.since
    assert second.since
    again = await door.come("s1", "d1", since=first.since - 1)
    assert again.since is None
    assert await door.sockets() == {"s2"}
    assert (await door.come("s2", "d1", "n2", since=second.since)).since == second.since


async def test_R1_sockets_that_a_store_forgot_are_registered_again_and_as_old_as_they_were(
    door: Door,
) -> None:
    first, second = await door.come("s1", "d1"), await door.come("s2", "d2", "n2")
    await door.forget()
    assert await door.come("s1", "d1", since=first.since) == Arrival(was_online=False, since=first.since)
    assert await door.come("s2", "d2", "n2", since=second.since) == Arrival(
        was_online=True, since=second.since
    )
    assert await door.sockets() == {"s1", "s2"}
    assert await door.registry.online([door.person, "nobody"], ALIVE, unknown=False) == {door.person}
    assert await door.registry.online([], ALIVE, unknown=False) == set()


async def test_sockets_per_person_the_oldest_goes(door: Door) -> None:
    for number in range(MOST + 1):
        await door.come(f"s{number}", f"d{number}")
    assert len(await door.sockets()) == MOST
    assert f"s{MOST}" in await door.sockets()


async def test_R1_the_last_of_those_that_go_is_told_so(door: Door) -> None:
    await door.come("s1", "d1")
    await door.come("s2", "d2", "dead")
    assert not await door.registry.disconnect(door.person, "s1", ALIVE), "s2 is on a node that is dead"


async def test_K1_what_rings_is_given_to_who_comes_later_until_it_is_quiet(door: Door) -> None:
    await door.registry.ring(door.person, "room", b"frame", 60_000)
    assert (await door.come("s1", "d1")).ringing == (b"frame",)
    await door.registry.quiet(door.person, "room", b"quiet")
    assert (await door.come("s2", "d2")).ringing == ()


async def test_L3_a_key_belongs_to_the_room_that_claimed_it(door: Door) -> None:
    assert await door.registry.claim(door.person, "k", "one")
    assert await door.registry.claim(door.person, "k", "one")
    assert not await door.registry.claim(door.person, "k", "another")


async def test_a_node_sees_the_others_and_what_is_due(door: Door) -> None:
    room = uuid.uuid4().hex
    await door.registry.due(room, 1)
    assert room in (await door.registry.beat("n1", LEASE_MS)).due
    later = uuid.uuid4().hex
    await door.registry.due_again({room: 1, later: (1 << 53) - 1})
    due = (await door.registry.beat("n1", LEASE_MS)).due
    assert (room in due, later in due) == (True, False)
    beat = await door.registry.beat("n2", LEASE_MS)
    assert room not in beat.due, "it was taken"
    assert beat.seen["n1"] <= beat.now
    await door.registry.depart("n1", LEASE_MS)
    beat = await door.registry.beat("n2", LEASE_MS)
    assert beat.now - LEASE_MS - 1_000 < beat.seen["n1"] < beat.now - LEASE_MS, "dead, and since now"
    assert beat.steady["n2"] <= beat.now
