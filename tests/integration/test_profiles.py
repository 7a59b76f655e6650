"""What people say of themselves: one suite, on SQLite and on a real PostgreSQL."""

import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rooms.availability import DayException, Hours, Span, WeeklySpan
from rooms.errors import NotFound
from rooms.membership import Member
from rooms.portal import ProfileChange
from signaling.stores.calendars import Calendars
from signaling.stores.directory import Directory, Named, PairAdded
from signaling.stores.profiles import Profiles
from signaling.stores.tables import audit, claim, person, session
from tests.support.postgres import postgres as postgres  # noqa: PLC0414 - a fixture

pytestmark = [pytest.mark.integration, pytest.mark.contract]

NOW = 1_800_000_000_000
HOURS = Hours(
    (WeeklySpan(0, "09:00", "12:00"), WeeklySpan(6, "13:00", "24:00")),
    (DayException("2026-12-24", ()), DayException("2026-12-31", (Span("10:00", "11:00"),))),
)


@pytest.fixture(params=["sqlite", "postgresql"])
async def directory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Directory]:
    on_disk = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/people.db" if on_disk else request.getfixturevalue("postgres").fresh()
    opened = await Directory.open(url, itertools.count(NOW).__next__)
    yield opened
    await opened.close()


@pytest.fixture
def profiles(directory: Directory) -> Profiles:
    return Profiles(directory.database, lambda: NOW)


@pytest.fixture
async def pair(directory: Directory) -> PairAdded:
    return await directory.add_pair(Named("Mara", "mara@example.org"), Named("Mio", "mio@example.org"))


async def test_hours_are_kept_as_they_were_said_and_can_be_taken_back(
    profiles: Profiles, pair: PairAdded
) -> None:
    mara = pair.mentor.id
    assert (await profiles.profile(mara)).hours is None
    assert (await profiles.set_hours(mara, HOURS)).hours == HOURS
    assert await profiles.hours([mara, pair.mentee.id]) == {
        mara: (HOURS, "UTC"),
        pair.mentee.id: (None, "UTC"),
    }
    assert (await profiles.set_hours(mara, None)).hours is None


async def test_zone_and_language_are_set_apart_and_a_change_is_noted(
    directory: Directory, profiles: Profiles, pair: PairAdded
) -> None:
    mara = pair.mentor.id
    await profiles.change(mara, ProfileChange(tz="Asia/Kolkata"))
    shown = await profiles.change(mara, ProfileChange(language="de"))
    assert (shown.name, shown.tz, shown.language) == ("Mara", "Asia/Kolkata", "de")
    assert await profiles.change(mara, ProfileChange()) == shown
    assert await profiles.change(mara, ProfileChange(tz="Asia/Kolkata")) == shown
    noted = [one.person for one in await directory.audit.changes_after(0) if one.action == "profile.set"]
    assert noted == [mara, mara], "what changes nothing is not noted"


async def test_a_feed_has_one_address_at_a_time_and_its_secret_is_not_kept(
    directory: Directory, profiles: Profiles, pair: PairAdded
) -> None:
    mara = pair.mentor.id
    assert not (await profiles.profile(mara)).feed
    first, second = await profiles.new_feed(mara), await profiles.new_feed(mara)
    assert len(second) == 43
    assert (await profiles.of_feed(first), await profiles.of_feed(second)) == (None, mara)
    async with directory.database.reading() as connection:
        rows = (await connection.execute(sa.select(person))).all() + (
            await connection.execute(sa.select(audit))
        ).all()
    assert second not in repr(rows)
    assert (await profiles.profile(mara)).feed
    assert not (await profiles.end_feed(mara)).feed
    assert not (await profiles.end_feed(mara)).feed
    assert await profiles.of_feed(second) is None


async def test_rooms_are_shown_with_both_people_and_without_removed_ones(
    directory: Directory, profiles: Profiles, pair: PairAdded
) -> None:
    await profiles.change(pair.mentee.id, ProfileChange(tz="Asia/Kolkata"))
    other = await directory.add_pair(Named("Mio", "mio@example.org"), Named("Max", "max@example.org"))
    one, two = await profiles.rooms(pair.mentee.id)
    assert (one.slug, two.slug, one.moves) == (pair.slug, other.slug, "free")
    assert one.members == (
        Member(pair.mentor.id, "Mara", "mentor", "UTC"),
        Member(pair.mentee.id, "Mio", "mentee", "Asia/Kolkata"),
    )
    assert two.member(pair.mentee.id).role == "mentor"
    await directory.remove_pair(pair.slug)
    assert [record.slug for record in await profiles.rooms(pair.mentee.id)] == [other.slug]


async def _session(directory: Directory, pair: PairAdded, **columns: object) -> str:
    id_ = str(uuid.uuid4())
    values = {
        "state": "confirmed", "wall": "", "tz": "", "fold": 0, "start_ms": 0, "end_ms": 0, "minutes": 0, "seq": 0,
        "rev": 1, "by_id": pair.mentor.id, "agenda": "", "proposals": [], "answers": {}, "who": [], "attendance": {},
        "booker_id": pair.mentor.id, "organizer": "secret", "created_ms": 0, "timed_ms": 0, **columns,
    }  # fmt: skip
    async with directory.database.writing() as connection:
        await connection.execute(
            sa.insert(session).values(id=id_, uid=id_, booking_key=id_, pair_id=pair.pair, **values)
        )
    return id_


async def test_a_feed_holds_what_is_not_over_for_long_and_not_called_off(
    directory: Directory, pair: PairAdded
) -> None:
    calendars = Calendars(directory.database)
    mara, mio = pair.mentor.id, pair.mentee.id
    later = await _session(directory, pair, start_ms=200, end_ms=300)
    sooner = await _session(directory, pair, start_ms=90, end_ms=101, state="ended")
    await _session(directory, pair, start_ms=0, end_ms=100)
    for state in ("cancelled", "declined", "expired"):
        await _session(directory, pair, start_ms=200, end_ms=300, state=state)
    for reader, partner in ((mara, mio), (mio, mara)):
        found = await calendars.feed(reader, 100, 10)
        assert [entry.session.id for entry in found] == [sooner, later]
        assert {(entry.reader.id, entry.partner.id) for entry in found} == {(reader, partner)}
        assert found[0].partner.email in {"mara@example.org", "mio@example.org"}
    assert [entry.session.id for entry in await calendars.feed(mara, 100, 1)] == [sooner]
    assert await calendars.feed("nobody", 0, 10) == []
    one = await calendars.entry(["nobody", mio], later)
    assert one is not None
    assert (one.session.id, one.reader.id, one.organizer) == (later, mio, "secret")
    assert await calendars.entry(["nobody"], later) is None
    await directory.remove_pair(pair.slug)
    assert (await calendars.feed(mara, 0, 10), await calendars.entry([mara], later)) == ([], None)


async def test_s3_busy_is_what_either_has_given_away_but_to_the_spared_session(
    directory: Directory, profiles: Profiles, pair: PairAdded
) -> None:
    mara, mio = pair.mentor.id, pair.mentee.id
    ids = [await _session(directory, pair) for _ in range(2)]
    async with directory.database.writing() as connection:
        for who, bucket, which in [(mara, 9, 0), (mara, 10, 0), (mio, 10, 0), (mio, 11, 1), (mara, 20, 1)]:
            await connection.execute(
                sa.insert(claim).values(person_id=who, bucket=bucket, session_id=ids[which])
            )
    assert await profiles.busy([mara, mio], 10, 20, None) == {10, 11}
    assert await profiles.busy([mara], 9, 21, None) == {9, 10, 20}
    assert await profiles.busy([mara, mio], 9, 21, ids[0]) == {11, 20}


async def test_of_an_erased_person_nothing_stays(
    directory: Directory, profiles: Profiles, pair: PairAdded
) -> None:
    mara = pair.mentor.id
    await profiles.set_hours(mara, HOURS)
    secret = await profiles.new_feed(mara)
    await directory.erase(mara)
    assert await profiles.of_feed(secret) is None
    assert (await profiles.profile(mara)).hours is None


async def test_nobody_has_no_profile(profiles: Profiles) -> None:
    for asked in (
        profiles.profile("nobody"),
        profiles.change("nobody", ProfileChange(tz="UTC")),
        profiles.set_hours("nobody", None),
        profiles.new_feed("nobody"),
        profiles.end_feed("nobody"),
    ):
        with pytest.raises(NotFound):
            await asked
