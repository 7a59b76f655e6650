"""Links, logins, cookies and pages, without a browser. (With one: tests/browser.)"""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urldefrag, urljoin

import aiohttp
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import join, new_key
from tests.support.client import Client
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.portal import Browser, new_login
from tests.support.server import Server

SHUT = frozenset({401, 404})
"""How a room's page answers who is not logged in."""


def _cookies(answer: aiohttp.ClientResponse) -> SimpleCookie:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.getall("Set-Cookie", []):
        jar.load(line)
    return jar


async def _page(browser: Browser, path: str, **more: Any) -> tuple[int, str, Any]:
    async with browser.http.get(urljoin(browser.url, path), allow_redirects=False, **more) as answer:
        return answer.status, await answer.text(), answer.headers


def _check_security_headers(headers: Any) -> None:
    policy = headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert "default-src" in policy
    assert "frame-ancestors 'none'" in policy
    assert "object-src 'none'" in policy or "default-src 'none'" in policy
    assert "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] in {"no-referrer", "same-origin", "strict-origin"}
    permissions = headers["Permissions-Policy"]
    assert "camera=(self)" in permissions
    assert "microphone=(self)" in permissions


async def test_entering_a_link_hides_its_token_from_every_log(server: Server, pair: Pair) -> None:
    for person in (pair.mentor, pair.mentee):
        address, token = urldefrag(person.link)
        assert address == f"{server.url}/enter"
        assert len(token) >= 22


async def test_entering_a_get_changes_nothing(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as scanner:
        for path in ("/enter", f"/enter?token={urldefrag(pair.mentor.link).fragment}"):
            for _ in range(3):
                status, text, headers = await _page(scanner, path)
                assert status in {200, 303, 404}
                assert "<script>" not in text
                _check_security_headers(headers)
        async with scanner.http.head(f"{server.url}/enter") as answer:
            assert answer.status in {200, 405}
        assert scanner.cookies == ""
    async with Browser(server.url) as browser:
        await browser.enter(pair.mentor.link)


async def test_entering_the_button_leads_to_the_room_once(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        async with await browser.post_enter(pair.mentor.link) as answer:
            assert answer.status == 303
            assert urljoin(server.url, answer.headers["Location"]).startswith(pair.url)
        status, text, headers = await _page(browser, pair.url)
        assert status == 200
        assert pair.mentor.email not in text
        _check_security_headers(headers)
        assert "no-store" in headers["Cache-Control"] or "no-cache" in headers["Cache-Control"]
    async with Browser(server.url) as second, await second.post_enter(pair.mentor.link) as answer:
        assert 400 <= answer.status < 500
        assert answer.headers["Content-Type"].startswith("text/html")
        assert second.cookies == ""
        _check_security_headers(answer.headers)


async def test_entering_pair_add_again_brings_links_that_work(server: Server, pair: Pair) -> None:
    link = await server.link(pair.mentor.email)
    assert link != pair.mentor.link
    async with Browser(server.url) as browser:
        await browser.enter(link)
        assert (await _page(browser, pair.url))[0] == 200


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"token": "made-up", "login": "0123456789abcdef"},
        {"token": "", "login": "0123456789abcdef"},
        {"token": "x" * 100_000, "login": "0123456789abcdef"},
        {"token": "<script>alert(1)</script>", "login": "0123456789abcdef"},
    ],
    ids=["nothing", "made up", "empty", "long", "script"],
)
async def test_entering_a_bad_link_is_a_page_in_words(server: Server, form: dict[str, str]) -> None:
    async with (
        Browser(server.url) as browser,
        browser.http.post(f"{server.url}/enter", data=form, headers={"Origin": server.url}) as answer,
    ):
        text = await answer.text()
        assert 400 <= answer.status < 500
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "alert(1)" not in text
        assert not answer.cookies
        _check_security_headers(answer.headers)


@pytest.mark.parametrize(
    "login", ["short", "X" * 16, "0123456789abcdef0", "../../etc/passwd", "a;b=c;d=e;f=g"]
)
async def test_entering_a_login_has_sixteen_hex_characters(server: Server, pair: Pair, login: str) -> None:
    async with Browser(server.url) as browser:
        form = {"token": urldefrag(pair.mentor.link).fragment, "login": login}
        async with browser.http.post(
            f"{server.url}/enter", data=form, headers={"Origin": server.url}, allow_redirects=False
        ) as answer:
            assert 400 <= answer.status < 500
            assert not _cookies(answer)
        await browser.enter(pair.mentor.link)


async def test_entering_a_foreign_page_cannot_log_somebody_in(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        async with await browser.post_enter(pair.mentor.link, origin="https://evil.example") as answer:
            assert 400 <= answer.status < 500
            assert not _cookies(answer)
        await browser.enter(pair.mentor.link)


async def test_entering_the_cookie_is_kept_from_scripts_and_other_sites(server: Server, pair: Pair) -> None:
    login = new_login()
    async with (
        Browser(server.url) as browser,
        await browser.post_enter(pair.mentor.link, login=login) as answer,
    ):
        cookies = _cookies(answer)
        assert len(cookies) == 1
        name, cookie = next(iter(cookies.items()))
        assert login in name
        assert cookie["httponly"]
        assert cookie["samesite"].lower() in {"lax", "strict"}
        assert cookie["path"] == "/"
        assert 80 * 86_400 <= int(cookie["max-age"]) <= 400 * 86_400
        assert not cookie["domain"]
        assert not cookie["secure"], "plain http on loopback: a Secure cookie would never come back"
        assert pair.mentor.token not in cookie.value
        assert urldefrag(pair.mentor.link).fragment not in cookie.value


async def test_entering_behind_https_the_cookie_is_secure(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    public_url = "https://mentoring.example.org"
    server = await own_server(PUBLIC_URL=public_url)
    pair = await server.pair()
    assert pair.mentor.link.startswith(f"{public_url}/enter#")
    login = new_login()
    async with (
        Browser(server.url) as browser,
        await browser.post_enter(pair.mentor.link, login=login, origin=public_url) as answer,
    ):
        assert answer.status == 303
        name, cookie = next(iter(_cookies(answer).items()))
        assert cookie["secure"]
        headers = {"Cookie": f"{name}={cookie.value}", "Origin": public_url}
    auth = {"v": 1, "device": new_key(), "login": login}
    mentor = await connect_python(None, server=server, auth=auth, headers=headers)
    await join(mentor, pair.room)


async def test_entering_two_links_in_one_cookie_jar_are_two_people(
    connect: Fleet, server: Server, pair: Pair
) -> None:
    async with Browser(server.url) as browser:
        logins = {pair.mentor: await browser.enter(pair.mentor.link)}
        logins[pair.mentee] = await browser.enter(pair.mentee.link)
        clients: list[Client] = []
        for person, login in logins.items():
            auth = {"v": 1, "device": new_key(), "login": login}
            clients.append(
                await connect(None, auth=auth, headers={"Cookie": browser.cookies, "Origin": server.url})
            )
            assert (await join(clients[-1], pair.room))["you"]["person"] == person.person
        await browser.log_out(logins[pair.mentor])
        await clients[0].next_push("revoked")
        await join(clients[1], pair.room)


async def test_entering_a_room_is_not_found_for_outsiders(server: Server, pair: Pair) -> None:
    other = await server.pair()
    async with Browser(server.url) as nobody:
        answers = [
            await _page(nobody, f"/r/{slug}") for slug in (pair.room, "made-up", "%00", "..%2f..%2fetc")
        ]
        assert {status for status, _, _ in answers} <= {401, 404}
        assert answers[0][:2] == answers[1][:2], "an existing room looks like none"
    async with Browser(server.url) as outsider:
        await outsider.enter(other.mentor.link)
        status, text, headers = await _page(outsider, pair.url)
        assert status == 404
        assert "Mara" not in text
        _check_security_headers(headers)


async def test_entering_after_log_out_the_room_is_closed(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        login = await browser.enter(pair.mentor.link)
        assert (await _page(browser, pair.url))[0] == 200
        kept = browser.cookies
        await browser.log_out(login)
        assert (await _page(browser, pair.url))[0] in SHUT
    async with aiohttp.ClientSession() as thief, thief.get(pair.url, headers={"Cookie": kept}) as answer:
        assert answer.status in SHUT, "the cookie itself is dead, not only forgotten by the browser"


async def test_entering_log_out_needs_a_post_of_our_own_page(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        login = await browser.enter(pair.mentor.link)
        async with browser.http.get(f"{server.url}/logout", allow_redirects=False) as answer:
            assert answer.status in {404, 405}
        foreign = {"Origin": "https://evil.example"}
        async with browser.http.post(
            f"{server.url}/logout", data={"login": login}, headers=foreign, allow_redirects=False
        ) as answer:
            assert 400 <= answer.status < 500
        assert (await _page(browser, pair.url))[0] == 200


async def test_entering_revoking_kills_links_and_logins(server: Server, pair: Pair) -> None:
    async with Browser(server.url) as browser:
        await browser.enter(pair.mentor.link)
        fresh = await server.link(pair.mentor.email)
        await server.revoke(pair.mentor.email)
        assert (await _page(browser, pair.url))[0] in SHUT
        async with await browser.post_enter(fresh) as answer:
            assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    "path", ["/", "/nothing-here", "/r/", "/enter/x", "/socket.io", "/.env", "/assets/../../x"]
)
async def test_entering_every_page_has_its_headers(server: Server, path: str) -> None:
    async with Browser(server.url) as browser:
        status, text, headers = await _page(browser, path)
        assert status < 500
        assert "Traceback" not in text
        assert headers["X-Content-Type-Options"] == "nosniff"
        if headers.get("Content-Type", "").startswith("text/html"):
            _check_security_headers(headers)
