"""The portal's pages without a browser: enter by a link, log out, look at headers. Cookies as a browser keeps them."""

from __future__ import annotations

import secrets
from types import TracebackType
from urllib.parse import urldefrag

import aiohttp


class Browser:
    """One cookie jar and what may be done with it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Accept": "text/html"}
        )

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    @property
    def cookies(self) -> str:
        """The Cookie header that this jar sends."""
        return "; ".join(f"{cookie.key}={cookie.value}" for cookie in self.http.cookie_jar)

    async def post_enter(
        self, link: str, *, login: str | None = None, origin: str | None = None
    ) -> aiohttp.ClientResponse:
        """What the button of the enter page does: POST the token; redirects are not followed."""
        form = {"token": urldefrag(link).fragment, "login": login or new_login()}
        headers = {"Origin": self.url if origin is None else origin}
        return await self.http.post(f"{self.url}/enter", data=form, headers=headers, allow_redirects=False)

    async def enter(self, link: str, *, login: str | None = None) -> str:
        """Log in by a link; the name of the login, which the tab chose."""
        login = login or new_login()
        async with await self.post_enter(link, login=login) as answer:
            assert answer.status == 303, (answer.status, await answer.text())
        return login

    async def log_out(self, login: str) -> None:
        """End one login."""
        async with self.http.post(
            f"{self.url}/logout", data={"login": login}, headers={"Origin": self.url}, allow_redirects=False
        ) as answer:
            assert answer.status in {200, 204, 303}, answer.status


def new_login() -> str:
    """16 hex characters, chosen by a tab, that tell its login from those of other tabs."""
    return secrets.token_hex(8)
