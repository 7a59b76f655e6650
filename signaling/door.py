"""Entering: personal links, log-ins of a browser, access tokens of scripts, and whose page a request comes from (rule C1).

One browser may hold several log-ins, one cookie each: a tab that comes through a link chooses a name for its log-in and
keeps it, so two links in two tabs are two people. The name is no secret; the cookie's value is, and only its hash is stored.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from msgspec import Struct

from rooms.errors import Forbidden, Gone, Invalid, NotFound, Unauthenticated, Unsupported
from rooms.ids import is_uuid
from signaling.connection import Identity
from signaling.front import Opening
from signaling.handshake import Auth
from signaling.stores.credentials import Credentials, LinkError, LinkUnknownError, Login, RefusedToken

COOKIE = "telementor_"
LOGIN_NAME = re.compile(r"[0-9a-f]{16}")
LOGINS_PER_BROWSER = 8
"""More log-ins than anybody has tabs for; the oldest one is forgotten beyond it."""

LOGIN_HEADER = "Telementor-Login"
"""Names the log-in of a tab, as `auth.login` does for its socket (C1)."""

SAFE_METHODS = frozenset({"GET", "HEAD"})
"""RFC 9110 §9.2.1: they change nothing (S7)."""

TOKEN_CHARACTERS = 256
"""Longer than every token that was ever made."""


class Browser(Struct, frozen=True):
    """The valid log-ins that a request's cookies hold, by their names, the newest first."""

    logins: dict[str, Login]

    def chosen(self, name: str | None) -> Login:
        """The log-in of that name; without one, the newest. Raises `Unauthenticated`."""
        login = next(iter(self.logins.values()), None) if name is None else self.logins.get(name)
        if login is None:
            raise Unauthenticated
        return login


class Entered(Struct, frozen=True):
    """A log-in that was just made: what its cookie is called and holds, and the room that the link leads to."""

    name: str
    secret: str
    slug: str | None


class Door:
    """`origin` is the only one allowed when an operator has set a public URL; otherwise the request's own host counts."""

    def __init__(self, credentials: Credentials, origin: str | None) -> None:
        self._credentials = credentials
        self._origin = origin

    async def identify(self, auth: Auth, request: web.Request | Opening, origin: str | None) -> Identity:
        """Who a new socket is. Raises `Unsupported`, `Invalid`, `Unauthenticated`, `Forbidden`."""
        if auth.v != 1:
            raise Unsupported("This server speaks version 1 of the protocol.", field="v")
        if not is_uuid(auth.device):
            raise Invalid("A device is named by a UUID.", field="device")
        if auth.token is not None:
            return await self._by_token(auth.token, auth.device)
        if auth.login is not None and not LOGIN_NAME.fullmatch(auth.login):
            raise Invalid("This is not the name of a log-in.", field="login")
        browser = await self.browser(request.cookies)
        if browser.logins:
            self.check_origin(request, origin)
        login = browser.chosen(auth.login)
        return Identity(person=login.person.id, device=auth.device.lower(), login=login.id)

    async def _by_token(self, token: str, device: str) -> Identity:
        found = await self._credentials.token(token[:TOKEN_CHARACTERS])
        if found is None:
            raise Unauthenticated("This access token is not known here.", field="token")
        if isinstance(found, RefusedToken):
            has = "has expired" if found.reason == "expired" else "has been revoked"
            raise Unauthenticated(f"This access token {has}.", field="token")
        return Identity(person=found.person, device=device.lower(), token=found.id)

    async def person(self, request: web.Request) -> str:
        """Whom this request speaks for: an access token's person, or the log-in that the tab names (`LOGIN_HEADER`), without
        a name the newest. With a cookie, whatever may change something has to come from a page of this server. Raises
        `Unauthenticated`, `Forbidden`."""
        if token := _bearer(request):
            return (await self._by_token(token, "")).person
        login = (await self.browser(request.cookies)).chosen(request.headers.get(LOGIN_HEADER))
        if request.method not in SAFE_METHODS:
            self.check_origin(request, request.headers.get("Origin"))
        return login.person.id

    async def persons(self, request: web.Request) -> list[str]:
        """Everybody whom this request may speak for: an access token's person, or those of its cookies."""
        if token := _bearer(request):
            return [(await self._by_token(token, "")).person]
        return [login.person.id for login in (await self.browser(request.cookies)).logins.values()]

    async def browser(self, cookies: Mapping[str, str]) -> Browser:
        held = [(key[len(COOKIE) :], value) for key, value in cookies.items() if key.startswith(COOKIE)]
        logins: dict[str, Login] = {}
        for name, secret in held[: 2 * LOGINS_PER_BROWSER]:
            if LOGIN_NAME.fullmatch(name) and (
                login := await self._credentials.login(secret[:TOKEN_CHARACTERS])
            ):
                logins[name] = login
        newest = sorted(
            logins.items(), key=lambda item: (item[1].created_ms, item[1].last_used_ms), reverse=True
        )
        return Browser(dict(newest))

    def check_origin(self, request: web.Request | Opening, origin: str | None) -> None:
        """A page of somebody else's must not act with our cookies. Raises `Forbidden`."""
        if self._origin is not None:
            own = origin == self._origin
        else:
            own = origin is not None and urlsplit(origin).netloc == request.host
        if not own:
            raise Forbidden("This request does not come from a page of this server.")

    async def enter(self, request: web.Request, form: Mapping[str, Any]) -> Entered:
        """Log in by a personal link (works once). Raises `Invalid`, `Forbidden`, `NotFound`, `Gone`."""
        token, name = form.get("token"), form.get("login", secrets.token_hex(8))
        if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARACTERS:
            raise Invalid("The link is incomplete.", field="token")
        if not isinstance(name, str) or not LOGIN_NAME.fullmatch(name):
            raise Invalid("This is not the name of a log-in.", field="login")
        origin = request.headers.get("Origin")
        if origin is not None:
            self.check_origin(request, origin)
        try:
            used = await self._credentials.use_link(token)
        except LinkUnknownError as error:
            raise NotFound(str(error)) from None
        except LinkError as error:
            raise Gone(str(error)) from None
        return Entered(name, used.secret, used.slug)

    async def leave(self, request: web.Request, form: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Log out: the named log-in, or all of this browser. Returns the names and the persons that are logged out now.
        Raises `Forbidden`."""
        self.check_origin(request, request.headers.get("Origin"))
        browser = await self.browser(request.cookies)
        wanted = form.get("login")
        names = [name for name in browser.logins if not wanted or name == wanted]
        for name in names:
            await self._credentials.end_login(request.cookies[COOKIE + name])
        return names, [browser.logins[name].person.id for name in names]


def _bearer(request: web.Request) -> str | None:
    """RFC 6750 §2.1; None where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
