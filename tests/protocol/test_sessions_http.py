"""Sessions, profiles and free times over HTTP. Each answer is held against /api/openapi.json (tests/support/api.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio
import vobject
from jsonschema import Draft202012Validator

from tests.protocol.phrases import join, meet, new_key, say
from tests.support.api import Api, Document
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair, Person
from tests.support.portal import Browser
from tests.support.server import Server

LONDON = "Europe/London"
WRITES = {"post", "put", "patch", "delete"}

As = Callable[[Person], Api]


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def document(http: aiohttp.ClientSession, server: Server) -> Document:
    async with http.get(f"{server.url}/api/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        described: Document = await answer.json()
        return described


@pytest.fixture
def as_(http: aiohttp.ClientSession, server: Server, document: Document) -> As:
    """`as_(person)`: that person with their access token."""
    return lambda person: Api(http, server.url, document, Authorization=f"Bearer {person.token}")


@pytest.fixture
def nobody(http: aiohttp.ClientSession, server: Server, document: Document) -> Api:
    return Api(http, server.url, document)


def wall(days: int, clock: str = "15:00") -> str:
    """So many days from now, at a time that exists once in London."""
    return f"{(datetime.now(UTC) + timedelta(days=days)).date()}T{clock}"


def booking(days: int = 3, **fields: Any) -> dict[str, Any]:
    return {"key": new_key(), "wall": wall(days), "tz": LONDON, "minutes": 60, **fields}


async def book(api: Api, room: str, days: int = 3, **fields: Any) -> dict[str, Any]:
    answer = await api.done("POST", f"/api/rooms/{room}/sessions", booking(days, **fields))
    booked: dict[str, Any] = answer["session"]
    return booked


def operations(document: Document, room: str, session: str, *, writes: bool) -> list[tuple[str, str]]:
    """Every request that needs a log-in, with what it may be about."""
    found = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if described.get("security") != [] and (method in WRITES) == writes:
                query = "?from=2026-12-01&minutes=60&tz=UTC" if path.endswith("/slots") else ""
                found.append((method.upper(), path.format(room=room, session=session) + query))
    return found


# ------------------------------------------------------------------------------------- the description


async def test_the_description_is_of_these_routes(document: Document, nobody: Api) -> None:
    """Each address says the methods that are described, and no others; each is good JSON Schema."""
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        allowed = await nobody.ask("OPTIONS", path.format(room="room", session="session", secret="secret"))
        described = {name.upper() for name in methods} | ({"HEAD"} if "get" in methods else set())
        assert allowed.status == 204
        assert set(allowed.headers["Allow"].split(", ")) == described | {"OPTIONS"}, path
        assert not [name for name in allowed.headers if name.lower().startswith("access-control")]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]
    assert len(names) == len(set(names))


async def test_a_method_that_an_address_does_not_know_is_405_with_what_it_knows(nobody: Api) -> None:
    answer = await nobody.ask("PUT", "/api/me", {})
    assert answer.error == (405, "unsupported", None)
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, PATCH"
    assert (await nobody.ask("GET", "/api/nothing")).error == (404, "not_found", None)


# ------------------------------------------------------------------------------------ a session's life


async def test_s2_a_session_from_its_booking_to_its_end_over_http(as_: As, pair: Pair) -> None:
    mentor, mentee = as_(pair.mentor), as_(pair.mentee)
    asked = booking(agenda="Chapter 3")
    booked = (await mentor.done("POST", f"/api/rooms/{pair.room}/sessions", asked))["session"]
    again = (await mentor.done("POST", f"/api/rooms/{pair.room}/sessions", asked))["session"]
    assert again == booked, "the same key of the same person is the same session"
    assert (booked["state"], booked["seq"], booked["rev"], booked["agenda"]) == (
        "requested",
        0,
        1,
        "Chapter 3",
    )
    path = f"/api/sessions/{booked['id']}"
    assert (await mentee.done("GET", path))["session"] == booked

    confirmed = (await mentee.done("POST", f"{path}/answers", {"rev": 1, "accept": 0}))["session"]
    assert confirmed["state"] == "confirmed"
    moved = (
        await mentee.done("PATCH", path, {"rev": 2, "wall": wall(4), "tz": LONDON, "reason": "A train"})
    )["session"]
    assert (moved["wall"], moved["seq"], moved["rev"], moved["minutes"]) == (wall(4), 1, 3, 60)
    noted = (await mentor.done("PATCH", path, {"rev": 3, "agenda": "Chapter 4"}))["session"]
    assert (noted["agenda"], noted["seq"], noted["rev"]) == ("Chapter 4", 1, 4)
    longer = (await mentor.done("POST", f"{path}/extensions", {"rev": 4, "minutes": 15}))["session"]
    assert (longer["minutes"], longer["seq"]) == (75, 2)
    times = [{"wall": wall(5), "tz": LONDON}, {"wall": wall(6), "tz": "Asia/Kolkata"}]
    proposed = (await mentor.done("POST", f"{path}/proposals", {"rev": 5, "times": times}))["session"]
    (proposal,) = proposed["proposals"]
    agreed = (
        await mentee.done("POST", f"{path}/answers", {"rev": 6, "proposal": proposal["id"], "accept": 1})
    )["session"]
    assert (agreed["wall"], agreed["tz"], agreed["state"]) == (wall(6), "Asia/Kolkata", "confirmed")
    early = await mentor.ask("POST", f"{path}/end", {"rev": 7})
    assert early.error == (409, "conflict", "session")
    assert early.body["error"]["current"] == agreed

    cancelled = (await mentor.done("DELETE", path, {"rev": 7, "reason": "Ill"}))["session"]
    assert cancelled["state"] == "cancelled"
    over = await mentee.ask("PATCH", path, {"rev": 8, "wall": wall(9), "tz": LONDON})
    assert over.error == (410, "gone", "session")
    assert over.body["error"]["current"] == cancelled
    other = await book(mentee, pair.room, 5)
    listed = (await mentor.done("GET", f"/api/rooms/{pair.room}/sessions"))["sessions"]
    assert listed == [other, cancelled], "the open ones first"


async def test_a_session_is_cancelled_by_a_query_where_a_client_sends_no_body(as_: As, pair: Pair) -> None:
    mentor = as_(pair.mentor)
    booked = await book(mentor, pair.room)
    path = f"/api/sessions/{booked['id']}"
    assert (await mentor.ask("DELETE", path)).error == (400, "invalid", "rev")
    assert (await mentor.ask("DELETE", f"{path}?rev=1&rev=2")).error == (400, "invalid", "rev")
    assert (await mentor.ask("DELETE", f"{path}?rev=one")).error == (400, "invalid", "rev")
    answer = await mentor.done("DELETE", f"{path}?rev=1&reason=12")
    assert answer["session"]["state"] == "cancelled"


async def test_s4_a_stale_change_is_409_with_the_session_as_it_is(as_: As, pair: Pair) -> None:
    mentor, mentee = as_(pair.mentor), as_(pair.mentee)
    booked = await book(mentor, pair.room)
    path = f"/api/sessions/{booked['id']}"
    moved = (await mentee.done("PATCH", path, {"rev": 1, "wall": wall(4), "tz": LONDON}))["session"]
    stale: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", path, {"wall": wall(5), "tz": LONDON}),
        ("PATCH", path, {"agenda": "x"}),
        ("DELETE", path, {}),
        ("POST", f"{path}/proposals", {"times": [{"wall": wall(5), "tz": LONDON}]}),
        ("POST", f"{path}/answers", {"accept": 0}),
        ("POST", f"{path}/extensions", {"minutes": 5}),
        ("POST", f"{path}/end", {}),
    ]
    for method, where, body in stale:
        answer = await mentor.ask(method, where, {"rev": 1, **body})
        assert answer.error == (409, "conflict", "rev"), where
        assert answer.body["error"]["current"] == moved
    assert (await mentor.done("GET", path))["session"] == moved


async def test_s3_a_time_that_is_taken_is_409_and_says_whose_not_what(server: Server, as_: As) -> None:
    pair = await server.pair()
    other = await server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    await book(as_(pair.mentee), pair.room, agenda="Something private")
    answer = await as_(other.mentee).ask("POST", f"/api/rooms/{other.room}/sessions", booking())
    assert answer.error == (409, "conflict", "wall")
    assert pair.mentor.name in answer.body["error"]["message"]
    assert "private" not in str(answer.body)


async def test_s9_a_time_that_the_clocks_skip_is_refused_with_the_nearest_that_are(
    as_: As, pair: Pair
) -> None:
    spring = _next_change(LONDON, timedelta(hours=1))
    answer = await as_(pair.mentor).ask(
        "POST", f"/api/rooms/{pair.room}/sessions", booking(wall=f"{spring}T01:30", tz=LONDON)
    )
    assert answer.error == (400, "invalid", "wall")
    choices = answer.body["error"]["current"]["choices"]
    assert [choice["wall"][11:] for choice in choices] == ["00:55", "02:00"]


def _next_change(tz: str, to: timedelta) -> str:
    """The next day on which the clocks of a zone change to that offset."""
    day = datetime.now(ZoneInfo(tz)).replace(hour=12)
    for _ in range(400):
        before, day = day, day + timedelta(days=1)
        if before.utcoffset() != day.utcoffset() == to:
            return str(day.date())
    raise AssertionError("the clocks are not changed within a year")


# ----------------------------------------------------------------------------------------- who may what


async def test_strangers_get_404_for_everything_as_for_what_is_not_there(
    server: Server, as_: As, pair: Pair, document: Document
) -> None:
    booked = await book(as_(pair.mentor), pair.room)
    stranger = as_((await server.pair()).mentor)
    body = {"rev": 1, "wall": wall(4), "tz": LONDON}
    for writes in (False, True):
        real = operations(document, pair.room, booked["id"], writes=writes)
        made_up = operations(document, "made-up", new_key(), writes=writes)
        for (method, path), (_, nowhere) in zip(real, made_up, strict=True):
            if "/api/me" in path:
                continue
            sent: Any = ... if not writes else booking() if path.endswith("/sessions") else body
            answer, as_if = await stranger.ask(method, path, sent), await stranger.ask(method, nowhere, sent)
            assert answer.status == 404, (method, path, answer.body)
            assert answer.body == as_if.body, "it looks like what is not there"
    assert (await as_(pair.mentor).done("GET", f"/api/sessions/{booked['id']}"))["session"] == booked


async def test_who_is_not_logged_in_gets_401_for_everything(
    server: Server, nobody: Api, pair: Pair, document: Document, http: aiohttp.ClientSession
) -> None:
    bad = Api(http, server.url, document, Authorization="Bearer made-up")
    for writes in (False, True):
        for method, path in operations(document, pair.room, new_key(), writes=writes):
            for api in (nobody, bad):
                assert (await api.ask(method, path)).error[:2] == (401, "unauthenticated"), (method, path)


async def test_c1_with_a_cookie_only_our_own_pages_change_something(
    server: Server, as_: As, pair: Pair, document: Document
) -> None:
    booked = await book(as_(pair.mentor), pair.room)
    async with Browser(server.url) as browser:
        await browser.enter(pair.mentor.link)
        cookie = browser.cookies
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as bare:
        foreign: list[dict[str, str]] = [
            {},
            {"Origin": "null"},
            {"Origin": "https://evil.example"},
            {"Origin": server.url.replace("http:", "http://evil.example:")},
            {"Origin": "https://evil.example", "Authorization": "Basic Zm9vOmJhcg=="},
        ]
        for headers in foreign:
            api = Api(bare, server.url, document, Cookie=cookie, **headers)
            for method, path in operations(document, pair.room, booked["id"], writes=True):
                answer = await api.ask(method, path, {"rev": 1, "wall": wall(4), "tz": LONDON})
                assert answer.error == (403, "forbidden", None), (method, path, headers)
            assert (await api.done("GET", "/api/me"))["person"]["person"] == pair.mentor.person
        own = Api(bare, server.url, document, Cookie=cookie, Origin=server.url)
        moved = await own.done(
            "PATCH", f"/api/sessions/{booked['id']}", {"rev": 1, "wall": wall(4), "tz": LONDON}
        )
        assert moved["session"]["rev"] == 2


async def test_c1_the_header_chooses_the_log_in_of_the_tab(
    server: Server, pair: Pair, document: Document
) -> None:
    async with Browser(server.url) as browser:
        logins = [(pair.mentor, await browser.enter(pair.mentor.link))]
        logins.append((pair.mentee, await browser.enter(pair.mentee.link)))
        for person, login in logins:
            headers = {"Telementor-Login": login, "Origin": server.url}
            api = Api(browser.http, server.url, document, **headers)
            changed = await api.done("PATCH", "/api/me", {"language": "de"})
            assert changed["person"]["person"] == person.person
            assert (await book(api, pair.room, 5 if person is pair.mentor else 6))["by"] == person.person
        api = Api(browser.http, server.url, document)
        assert (await api.done("GET", "/api/me"))["person"]["person"] == pair.mentee.person, "the newest"
        unknown = await api.ask("GET", "/api/me", headers={"Telementor-Login": "0123456789abcdef"})
        assert unknown.error[:2] == (401, "unauthenticated")


# ---------------------------------------------------------------------------------------- reading (S7)


async def test_s7_get_and_head_change_nothing(
    server: Server, as_: As, pair: Pair, document: Document
) -> None:
    mentor = as_(pair.mentor)
    booked = await book(mentor, pair.room)
    feed = (await mentor.done("POST", "/api/me/feed"))["url"].removeprefix(server.url)
    pages = [
        "/",
        "/enter",
        f"/r/{pair.room}",
        "/api/openapi.json",
        feed,
        pair.mentor.link.removeprefix(server.url),
    ]
    reads = [path for _, path in operations(document, pair.room, booked["id"], writes=False)]
    assert len(reads) >= 4
    about = (booked["id"], pair.room)
    async with Browser(server.url) as browser:
        await browser.enter(pair.mentee.link)
        before = await until(lambda: _settled(server, *about), "the session's event in the log")
        assert {"session", "claim", "notice", "person", "login"} <= {row[0] for row in before}
        for headers in ({"Authorization": f"Bearer {pair.mentor.token}"}, {}):
            for path in pages + reads:
                for method in ("GET", "HEAD"):
                    async with browser.http.request(method, server.url + path, headers=headers) as answer:
                        await answer.read()
                        assert answer.status == 200, (method, path)
    assert _dump(server, *about) == before


OTHERS = ("session", "claim", "notice", "room_outbox")
"""Tables in which time works for the sessions of other tests meanwhile."""


def _dump(server: Server, *about: str) -> list[tuple[Any, ...]]:
    """Everything that is in the database; of `OTHERS` what is `about` these. Of notices what they are, not how far their
    delivery is."""
    rows: list[tuple[Any, ...]] = []
    with closing(sqlite3.connect(f"file:{server.data / 'telementor.db'}?mode=ro", uri=True)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
            columns = "id, subject, seq, recipient_id, kind" if table == "notice" else "*"
            rows += [
                (table, *row)
                for row in database.execute(f"SELECT {columns} FROM {table}")  # noqa: S608
                if table not in OTHERS or any(name in row for name in about)
            ]
    return sorted(rows, key=repr)


def _settled(server: Server, *about: str) -> list[tuple[Any, ...]] | None:
    """The dump, once every event has gone its way into a log."""
    dump = _dump(server, *about)
    return None if any(row[0] == "room_outbox" for row in dump) else dump


# --------------------------------------------------------------------------------------------- bad input


async def test_t4_what_is_no_json_is_invalid(as_: As, pair: Pair) -> None:
    mentor = as_(pair.mentor)
    where = f"/api/rooms/{pair.room}/sessions"
    for data in (b"", b"{", b"\xff\xfe", b"NaN", b"[" * 10_000, b'"\xed\xa0\x80"', b"key=1&wall=2", b"{} {}"):
        answer = await mentor.ask("POST", where, data=data)
        assert answer.error == (400, "invalid", None), data[:20]
    for body in (None, [], "text", 7, True):
        assert (await mentor.ask("POST", where, body)).error == (400, "invalid", None), body


async def test_t4_more_than_16_kib_are_too_large_however_they_come(as_: As, pair: Pair) -> None:
    mentor = as_(pair.mentor)
    where = f"/api/rooms/{pair.room}/sessions"

    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1_024

    for data in (b" " * 16_385, in_parts()):
        assert (await mentor.ask("POST", where, data=data)).error == (413, "too_large", None)
    padded = b" " * 16_300 + b"{}"
    assert (await mentor.ask("POST", where, data=padded)).error[:2] == (400, "invalid")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"room": "other"}, 400, "room"),
        ({"more": 1}, 400, "more"),
        ({"key": "no uuid"}, 400, "key"),
        ({"key": None}, 400, "key"),
        ({"minutes": 4}, 400, "minutes"),
        ({"minutes": 481}, 400, "minutes"),
        ({"minutes": "60"}, 400, "minutes"),
        ({"minutes": True}, 400, "minutes"),
        ({"minutes": 60.5}, 400, "minutes"),
        ({"minutes": 10**30}, 400, "minutes"),
        ({"wall": "tomorrow"}, 400, "wall"),
        ({"wall": "2020-01-01T10:00"}, 400, "wall"),
        ({"wall": "9999-01-01T10:00"}, 400, "wall"),
        ({"tz": "Mars/Olympus"}, 400, "tz"),
        ({"tz": "../../etc/passwd"}, 400, "tz"),
        ({"fold": 2}, 400, "fold"),
        ({"agenda": "x" * 2_001}, 413, "agenda"),
        ({"agenda": "a\0b"}, 400, "agenda"),
    ],
)
async def test_t4_a_wrong_field_is_named(
    as_: As, pair: Pair, change: dict[str, Any], status: int, field: str
) -> None:
    mentor = as_(pair.mentor)
    answer = await mentor.ask("POST", f"/api/rooms/{pair.room}/sessions", {**booking(), **change})
    assert answer.error == (status, "too_large" if status == 413 else "invalid", field)
    assert (await mentor.done("GET", f"/api/rooms/{pair.room}/sessions"))["sessions"] == []


async def test_t4_a_missing_field_and_one_deep_inside_are_named(as_: As, pair: Pair) -> None:
    mentor = as_(pair.mentor)
    booked = await book(mentor, pair.room)
    path = f"/api/sessions/{booked['id']}"
    time = {"wall": wall(4), "tz": LONDON}
    for method, where, body, field in [
        ("PATCH", path, time, "rev"),
        ("PATCH", path, {"rev": 1}, "wall"),
        ("PATCH", path, {"rev": 1, "session": booked["id"], **time}, "session"),
        ("PATCH", path, {"rev": 1, "agenda": "x", **time}, "wall"),
        ("POST", f"{path}/proposals", {"rev": 1, "times": []}, "times"),
        ("POST", f"{path}/proposals", {"rev": 1, "times": [time, {"wall": wall(4)}]}, "times[1].tz"),
        ("POST", f"{path}/proposals", {"rev": 1, "times": [{**time, "wall": "x"}]}, "times[0].wall"),
        ("POST", f"{path}/answers", {"rev": 1, "accept": "0"}, "accept"),
        ("POST", f"{path}/extensions", {"rev": 1, "minutes": 0}, "minutes"),
        ("POST", f"{path}/end", {"rev": -1}, "rev"),
    ]:
        assert (await mentor.ask(method, where, body)).error == (400, "invalid", field), body
    assert (await mentor.done("GET", path))["session"] == booked


@pytest.mark.parametrize("name", ["%00", "..%2f..", "x" * 300, "%ff", "a'b", "%F0%9F%98%80"])
async def test_a_name_that_names_nothing_is_not_found(as_: As, pair: Pair, name: str) -> None:
    mentor = as_(pair.mentor)
    for path in (f"/api/sessions/{name}", f"/api/rooms/{name}/sessions", f"/calendar/{name}.ics"):
        assert (await mentor.ask("GET", path)).status == 404


# ----------------------------------------------------------------------------------- the profile, hours

HOURS = {
    "weekly": [{"day": day, "from": "09:00", "to": "17:00"} for day in range(5)],
    "exceptions": [{"date": "2026-12-24", "spans": []}],
}


async def test_a_profile_is_set_and_shown(as_: As, pair: Pair) -> None:
    mentor = as_(pair.mentor)
    me = await mentor.done("GET", "/api/me")
    assert me["person"] == {
        "person": pair.mentor.person,
        "name": pair.mentor.name,
        "tz": "UTC",
        "language": "en",
        "hours": None,
        "feed": False,
    }
    changed = await mentor.done("PATCH", "/api/me", {"tz": "Asia/Kolkata", "language": "pt-BR"})
    assert (changed["person"]["tz"], changed["person"]["language"]) == ("Asia/Kolkata", "pt-BR")
    said = await mentor.done("PUT", "/api/me/hours", HOURS)
    assert said["person"]["hours"] == HOURS
    assert (await mentor.done("GET", "/api/me"))["person"] == said["person"]
    assert (await mentor.done("PUT", "/api/me/hours", None))["person"]["hours"] is None
    (room,) = (await as_(pair.mentee).done("GET", "/api/me"))["rooms"]
    assert room["partner"]["tz"] == "Asia/Kolkata"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", "/api/me", {"tz": "Nowhere"}, "tz"),
        ("PATCH", "/api/me", {"language": "<b>"}, "language"),
        ("PATCH", "/api/me", {"language": "x" * 17}, "language"),
        ("PATCH", "/api/me", {"name": "Somebody else"}, "name"),
        ("PUT", "/api/me/hours", {}, "weekly"),
        ("PUT", "/api/me/hours", {"weekly": [{"day": 7, "from": "09:00", "to": "10:00"}]}, "weekly[0].day"),
        ("PUT", "/api/me/hours", {"weekly": [{"day": 0, "from": "9:00", "to": "10:00"}]}, "weekly[0].from"),
        ("PUT", "/api/me/hours", {"weekly": [{"day": 0, "from": "09:00", "to": "25:00"}]}, "weekly[0].to"),
        ("PUT", "/api/me/hours", {"weekly": [{"day": 0, "from": "09:00", "to": "09:00"}]}, "weekly[0].to"),
        ("PUT", "/api/me/hours", {"weekly": [], "exceptions": [{"date": "2026-02-30", "spans": []}]}, "exceptions[0].date"),
        ("PUT", "/api/me/hours", {"weekly": [], "exceptions": [{"date": "2026-12-24"}]}, "exceptions[0].spans"),
    ],
)  # fmt: skip
async def test_t4_a_wrong_field_of_a_profile_is_named(
    as_: As, pair: Pair, method: str, path: str, body: Any, field: str
) -> None:
    assert (await as_(pair.mentor).ask(method, path, body)).error == (400, "invalid", field)


async def test_a_room_shows_the_zone_that_somebody_has_set_meanwhile(
    connect_python: Fleet, as_: As, pair: Pair
) -> None:
    mentor, _ = await meet(connect_python, pair)
    await as_(pair.mentee).done("PATCH", "/api/me", {"tz": "Asia/Kolkata"})

    zone = {"room": pair.room, "person": pair.mentee.person, "online": True, "tz": "Asia/Kolkata"}
    await mentor.next_push("person", zone)
    people = (await join(mentor, pair.room))["people"]
    assert [one["tz"] for one in people] == ["UTC", "Asia/Kolkata"]


async def test_the_first_page_says_who_is_there_what_is_next_and_unread(
    connect_python: Fleet, server: Server, as_: As, pair: Pair
) -> None:
    me = as_(pair.mentee)
    other = await server.pair(mentee=(pair.mentee.name, pair.mentee.email))
    first, second = (await me.done("GET", "/api/me"))["rooms"]
    assert (first["slug"], second["slug"]) == (pair.room, other.room)
    assert first == {
        "slug": pair.room,
        "title": f"{pair.mentor.name} and {pair.mentee.name}",
        "role": "mentee",
        "moves": "free",
        "partner": {
            "person": pair.mentor.person,
            "name": pair.mentor.name,
            "role": "mentor",
            "tz": "UTC",
            "online": False,
        },
        "session": None,
        "unread": 0,
    }
    later, sooner = await book(me, pair.room, 5), await book(me, pair.room, 4)
    mentor = await connect_python(pair.mentor)
    await join(mentor, pair.room)
    said = [await say(mentor, pair.room, text) for text in ("one", "two", "three")]
    mentee = await connect_python(pair.mentee)
    await join(mentee, pair.room)
    await mentee.done("chat.read", {"room": pair.room, "id": said[0]["id"]})
    await say(mentee, pair.room, "mine")
    first, second = (await me.done("GET", "/api/me"))["rooms"]
    assert (first["partner"]["online"], first["session"], first["unread"]) == (True, sooner, 2)
    assert (second["partner"]["online"], second["session"], second["unread"]) == (False, None, 0)
    await me.done("DELETE", f"/api/sessions/{sooner['id']}", {"rev": 1})
    assert (await me.done("GET", "/api/me"))["rooms"][0]["session"] == later


# ------------------------------------------------------------------------------------------- calendars


def events_of(calendar: bytes) -> list[Any]:
    return list(getattr(vobject.readOne(calendar.decode()), "vevent_list", []))


async def test_a_session_is_a_calendar_file_for_its_two_people(
    server: Server, as_: As, nobody: Api, pair: Pair, document: Document
) -> None:
    booked = await book(as_(pair.mentor), pair.room, agenda="Chapter 3")
    path = f"/api/sessions/{booked['id']}.ics"
    for person in (pair.mentor, pair.mentee):
        answer = await as_(person).ask("GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/calendar; charset=utf-8")
        (event,) = events_of(answer.body)
        start = datetime.fromtimestamp(booked["start"] / 1000, UTC)
        assert (event.uid.value, event.sequence.value, event.dtstart.value) == (booked["uid"], "0", start)
        assert (event.dtend.value, event.location.value) == (start + timedelta(hours=1), pair.url)
    stranger = as_((await server.pair()).mentor)
    for refused in (
        await stranger.ask("GET", path),
        await stranger.ask("GET", f"/api/sessions/{new_key()}.ics"),
    ):
        assert refused.error == (404, "not_found", "session")
    assert (await nobody.ask("GET", path)).error[:2] == (401, "unauthenticated")
    async with Browser(server.url) as browser:
        await browser.enter(pair.mentor.link)
        await browser.enter((await server.pair()).mentor.link)
        link = await Api(browser.http, server.url, document).ask("GET", path)
        assert link.status == 200, "a plain link says nothing of the log-in"


async def test_a_feed_shows_the_sessions_of_all_rooms_to_whoever_has_its_address(
    server: Server, as_: As, nobody: Api, pair: Pair
) -> None:
    mentor = as_(pair.mentor)
    other = await server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    url = (await mentor.done("POST", "/api/me/feed"))["url"]
    assert url.startswith(f"{server.url}/calendar/")
    path = url.removeprefix(server.url)
    assert events_of((await nobody.ask("GET", path)).body) == []
    sessions = [
        await book(mentor, pair.room, 3),
        await book(mentor, other.room, 4),
        await book(mentor, pair.room, 5),
    ]
    theirs = await server.pair()
    await book(as_(theirs.mentor), theirs.room, 3)
    await mentor.done("DELETE", f"/api/sessions/{sessions[2]['id']}", {"rev": 1})
    answer = await nobody.ask("GET", path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert [event.uid.value for event in events_of(answer.body)] == [one["uid"] for one in sessions[:2]]
    assert (await mentor.done("GET", "/api/me"))["person"]["feed"]

    second = (await mentor.done("POST", "/api/me/feed"))["url"].removeprefix(server.url)
    assert (await nobody.ask("GET", path)).error == (404, "not_found", None), "the old address has ended"
    assert (await nobody.ask("GET", second)).status == 200
    assert not (await mentor.done("DELETE", "/api/me/feed"))["person"]["feed"]
    assert (await nobody.ask("GET", second)).status == 404
    assert path.split("/")[2].removesuffix(".ics") not in server.log


# ----------------------------------------------------------------------------------------------- slots


def slots_of(room: str, **query: Any) -> str:
    asked = {"from": wall(3)[:10], "days": 1, "minutes": 60, "tz": "UTC", **query}
    return f"/api/rooms/{room}/slots?" + "&".join(f"{name}={value}" for name, value in asked.items())


async def test_s3_whatever_is_offered_can_be_booked_until_nothing_is_left(server: Server, as_: As) -> None:
    """Of two people who have another pair each: six sessions of four hours fill a day, wherever each begins."""
    pair = await server.pair()
    mentor = as_(pair.mentor)
    for clock, others in (
        ("09:10", await server.pair(mentor=(pair.mentor.name, pair.mentor.email))),
        ("14:10", await server.pair(mentee=(pair.mentee.name, pair.mentee.email))),
    ):
        await book(as_(others.mentor), others.room, wall=wall(3, clock), tz="UTC", minutes=15)
    path = slots_of(pair.room, minutes=240, tz="Asia/Kolkata")
    booked = 0
    while offered := (await mentor.done("GET", path))["slots"]:
        assert all(one["start"] < other["start"] for one, other in pairwise(offered))
        slot = offered[len(offered) // 2 * (booked % 2)]
        fields = {name: slot[name] for name in ("wall", "fold") if name in slot}
        session = await book(mentor, pair.room, tz="Asia/Kolkata", minutes=240, **fields)
        assert session["start"] == slot["start"]
        booked += 1
        left = {one["start"] for one in (await as_(pair.mentee).done("GET", path))["slots"]}
        assert left < {one["start"] for one in offered}
        assert not [start for start in left if abs(start - slot["start"]) < 240 * 60_000]
    assert 3 <= booked <= 7


async def test_slots_of_a_session_that_would_be_moved_count_its_own_time_as_free(
    server: Server, as_: As, pair: Pair
) -> None:
    mentor = as_(pair.mentor)
    booked = await book(mentor, pair.room, wall=wall(3, "10:00"), tz="UTC")

    async def starts(**query: Any) -> list[str]:
        found = await mentor.done("GET", slots_of(pair.room, **query))
        return [slot["wall"][11:] for slot in found["slots"]]

    assert not {"09:30", "10:00", "10:30"} & set(await starts())
    assert {"09:00", "11:00"} <= set(await starts())
    assert len(await starts(session=booked["id"])) == 48
    elsewhere = await server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    theirs = await book(mentor, elsewhere.room, wall=wall(3, "12:00"), tz="UTC")
    for session in (theirs["id"], new_key(), "%00"):
        refused = await mentor.ask("GET", slots_of(pair.room, session=session))
        assert refused.error == (404, "not_found", "session"), "another room's times are not told"


async def test_slots_say_whose_hours_they_are_outside_of(as_: As, pair: Pair) -> None:
    """Said on each one's own clock: 09:00–17:00 in Kolkata are 03:30–11:30 UTC; unsaid hours are 08:00–20:00."""
    mentor, mentee = as_(pair.mentor), as_(pair.mentee)
    await mentor.done("PATCH", "/api/me", {"tz": "Asia/Kolkata"})
    weekly = [{"day": day, "from": "09:00", "to": "17:00"} for day in range(7)]
    await mentor.done("PUT", "/api/me/hours", {"weekly": weekly})
    found = (await mentee.done("GET", slots_of(pair.room)))["slots"]
    outside = {slot["wall"][11:]: set(slot["outside"]) for slot in found}
    assert len(outside) == 48
    both = {pair.mentor.person, pair.mentee.person}
    assert outside["03:00"] == both
    assert outside["03:30"] == {pair.mentee.person}
    assert (outside["08:00"], outside["10:30"]) == (set(), set())
    assert outside["11:00"] == outside["19:00"] == {pair.mentor.person}
    assert outside["19:30"] == both
    nowhere = [{"date": wall(3)[:10], "spans": []}]
    await mentor.done("PUT", "/api/me/hours", {"weekly": weekly, "exceptions": nowhere})
    found = (await mentee.done("GET", slots_of(pair.room)))["slots"]
    assert all(pair.mentor.person in slot["outside"] for slot in found)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "soon"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"days": 0}, "days"),
        ({"days": 15}, "days"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": 481}, "minutes"),
        ({"tz": "Nowhere"}, "tz"),
        ({"more": 1}, "more"),
        ({"minutes": "60&minutes=60"}, "minutes"),
    ],
)
async def test_t4_a_wrong_parameter_is_named(as_: As, pair: Pair, query: dict[str, Any], field: str) -> None:
    assert (await as_(pair.mentor).ask("GET", slots_of(pair.room, **query))).error == (400, "invalid", field)
