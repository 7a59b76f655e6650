"""The HTTP edge: the pages of the web client, entering and leaving, what a page asks, and what an operator's tools ask.

A GET never changes anything (mail scanners open links). Somebody who is not of a room gets 404 for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from rooms.errors import (
    Invalid,
    Limited,
    NotFound,
    RoomError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from rooms.pushes import Refused
from signaling.addresses import AddressRate
from signaling.answers import STATUS, refusal
from signaling.api import Api
from signaling.door import COOKIE, LOGINS_PER_BROWSER, Door
from signaling.metrics import Metrics
from signaling.stores.directory import Directory

log = structlog.get_logger()

FORM_BYTES = 4_096
"""A form of ours holds a token and a name."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
        "frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": with it browsers send `Origin: null` from our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self), "
        "screen-wake-lock=(self), picture-in-picture=(self), autoplay=(self), geolocation=(), payment=(), usb=()"
    ),
}


class Web:
    """`ready` says whether store and database answer; `access_changed(person)` spreads a log-out at once."""

    def __init__(
        self,
        *,
        api: Api,
        door: Door,
        enters: AddressRate,
        directory: Directory,
        metrics: Metrics,
        dist: Path,
        ready: Callable[[], Awaitable[dict[str, Any]]],
        access_changed: Callable[[str], Awaitable[None]],
        secure: bool,
        login_ttl_s: int,
    ) -> None:
        self._api = api
        self._door = door
        self._enters = enters
        self._directory = directory
        self._metrics = metrics
        self._ready = ready
        self._access_changed = access_changed
        self._secure = secure
        self._login_ttl_s = login_ttl_s
        self._dist = dist
        index = dist / "index.html"
        self._page = index.read_text("utf-8") if index.exists() else _NO_CLIENT

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._errors], client_max_size=FORM_BYTES)
        app.on_response_prepare.append(self._add_headers)
        app.add_routes([
            web.get("/", self._home),
            web.get("/enter", self._enter_page),
            web.post("/enter", self._enter),
            web.post("/logout", self._logout),
            web.get("/r/{slug}", self._room_page),
            *self._api.routes(),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics_page),
        ])  # fmt: skip
        if (assets := self._dist / "assets").is_dir():
            app.router.add_static("/assets", assets)
        for file in self._dist.glob("*.*"):
            if file.name != "index.html":
                app.router.add_get(f"/{file.name}", _file(file))
        return app

    # Around every request

    @web.middleware
    async def _errors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Any:
        try:
            return await handler(request)
        except RoomError as error:
            return self._refuse(request, error)
        except web.HTTPNotFound:
            return self._refuse(request, NotFound("There is no such page."))
        except web.HTTPMethodNotAllowed as error:
            return self._other_method(request, error)
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(request, TooLarge())
        except ValueError:
            return self._refuse(request, Invalid())  # a body that is no form

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "telementor"
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if self._secure:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        immutable = request.path.startswith("/assets/") and response.status == 200
        response.headers.setdefault(
            "Cache-Control", "public, max-age=31536000, immutable" if immutable else "no-store"
        )

    def _refuse(self, request: web.Request, error: RoomError, status: int | None = None) -> web.Response:
        """The page with its plain sentence; where scripts ask, the error as an object."""
        status = status or STATUS[error.code]
        if request.path.startswith(("/api/", "/calendar/", "/socket.io/")):
            body = msgspec.json.encode(Refused(ok=False, error=refusal(error)))
            response = web.Response(status=status, body=body, content_type="application/json")
        else:
            response = self._html(status=status, problem=error.code)
        if error.retry_ms and isinstance(error, Limited | Unavailable):
            response.headers["Retry-After"] = str(-(-error.retry_ms // 1000))
        return response

    def _other_method(self, request: web.Request, error: web.HTTPMethodNotAllowed) -> web.Response:
        """405, and what OPTIONS asks for (RFC 9110 §9.3.7). No other origin is ever allowed anything (CORS)."""
        allow = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": allow})
        refused = self._refuse(request, Unsupported("This address does not know that method."), 405)
        refused.headers["Allow"] = allow
        return refused

    def _html(self, *, status: int = 200, problem: str | None = None) -> web.Response:
        """The one page of the web client; `problem` is an error code, which needs no escaping."""
        text = self._page.replace("<html", f'<html data-problem="{problem}"', 1) if problem else self._page
        return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")

    # Pages

    async def _home(self, request: web.Request) -> web.Response:
        """For everybody; who is not logged in reads how to get in."""
        known = (await self._door.browser(request.cookies)).logins
        return self._html(problem=None if known else Unauthenticated.code)

    async def _enter_page(self, _: web.Request) -> web.Response:
        return self._html()

    async def _room_page(self, request: web.Request) -> web.Response:
        """Whether a room exists is told only to those of it: all others get the same 404. Who is not logged in reads how
        to get in."""
        persons = await self._door.persons(request)
        if not persons:
            return self._refuse(request, Unauthenticated(), STATUS["not_found"])
        room = await self._directory.room(request.match_info["slug"])
        if room is None or not {member.person for member in room.members} & set(persons):
            raise NotFound
        return self._html()

    # Entering and leaving

    async def _enter(self, request: web.Request) -> web.Response:
        self._enters.take(request)
        entered = await self._door.enter(request, await request.post())
        response = _see_other(f"/r/{entered.slug}" if entered.slug else "/")
        browser = await self._door.browser(request.cookies)
        for name in list(browser.logins)[LOGINS_PER_BROWSER - 1 :]:
            response.del_cookie(COOKIE + name, path="/")
        response.set_cookie(
            COOKIE + entered.name,
            entered.secret,
            max_age=self._login_ttl_s,
            httponly=True,
            samesite="Lax",
            secure=self._secure,
            path="/",
        )
        return response

    async def _logout(self, request: web.Request) -> web.Response:
        names, persons = await self._door.leave(request, await request.post())
        response = _see_other("/")
        for name in names:
            response.del_cookie(COOKIE + name, path="/")
        for person in persons:
            try:
                await self._access_changed(person)
            except Unavailable:
                log.info("log-out is found by the poll")  # the store is away; the database already knows
        return response

    # Operators

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        state = await self._ready()
        return web.Response(
            status=200 if state["ready"] else 503,
            body=msgspec.json.encode(state),
            content_type="application/json",
        )

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )


def _file(path: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return serve


def _see_other(location: str) -> web.Response:
    """303: the browser goes on with a GET (RFC 9110 §15.4.4)."""
    return web.Response(status=303, headers={"Location": location})


_NO_CLIENT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>telementor</title></head><body>
<p>The web client has not been built: run <code>make setup</code>.</p></body></html>"""
