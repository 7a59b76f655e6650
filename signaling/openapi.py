"""What the HTTP door offers as OpenAPI 3.1, made from its table of routes and the structs of the wire."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from rooms.pushes import Refused
from signaling.answers import STATUS
from signaling.door import COOKIE, LOGIN_HEADER, SAFE_METHODS

_REF: Final = "#/components/schemas/{name}"

NAME: Final = "[A-Za-z0-9_-]{1,64}"
"""What a slug, the id of a session or the secret of a feed may look like; anything else names nothing."""

NAMES: Final = ("room", "session")
"""What a command has of its path, not of its body."""

_READS: Final = ("invalid", "not_found", "limited", "unavailable")
_LOGGED_IN: Final = ("unauthenticated",)
_WRITES: Final = ("too_large", "forbidden", "conflict", "gone")


class Route(Struct, frozen=True):
    """One row of the contract. `answer` is a struct, sent as JSON, or a media type. `body`: what it may hold, one of
    these; a command without `NAMES`. `query`: its parameters. `login`: that of the tab, any of the browser's (for plain
    links), or none."""

    method: str
    path: str
    handler: Callable[..., Awaitable[Struct | bytes]]
    summary: str
    answer: type[Struct] | str
    body: tuple[Any, ...] = ()
    query: type[Struct] | None = None
    login: Literal["tab", "any", "none"] = "tab"


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of these routes. It depends on nothing but the code."""
    kinds: list[Any] = [Refused]
    for route in routes:
        kinds += [kind for kind in (route.answer, route.query, *route.body) if isinstance(kind, type)]
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REF)
    for kind in {kind.__name__ for route in routes for kind in route.body if isinstance(kind, type)}:
        _without_names(schemas[kind])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "telementor",
            "version": "1",
            "description": "Sessions, profiles and free times. Rules, limits and error codes: signaling/PROTOCOL.md.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"login": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "login": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": f"{COOKIE}<login>",
                    "description": f"One cookie for each log-in; {LOGIN_HEADER} names the one that counts."
                    " Whatever may change something needs the server's own Origin.",
                },
            },
        },
    }


def _without_names(schema: dict[str, Any]) -> None:
    for name in NAMES:
        schema["properties"].pop(name, None)
        if name in schema.get("required", ()):
            schema["required"].remove(name)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": _parameters(route, schemas),
        "responses": _responses(route),
    }
    if route.login == "none":
        operation["security"] = []
    if route.body:
        choices = [_schema(kind) for kind in route.body]
        operation["requestBody"] = {
            "required": route.query is None,
            "content": {
                "application/json": {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}}
            },
        }
    return operation


def _parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{NAME}$"},
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.login == "tab":
        found.append(
            {"name": LOGIN_HEADER, "in": "header", "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"}}
        )
    if route.query is not None:
        schema = schemas[route.query.__name__]
        found += [
            {
                "name": name,
                "in": "query",
                "required": not route.body and name in schema.get("required", ()),
                "schema": value,
            }
            for name, value in schema["properties"].items()
        ]
    return found


def _responses(route: Route) -> dict[str, Any]:
    codes = (
        *_READS,
        *(() if route.login == "none" else _LOGGED_IN),
        *(() if route.method in SAFE_METHODS else _WRITES),
    )
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS[code], []).append(code)
    answered: dict[str, Any]
    if isinstance(route.answer, str):
        answered = {route.answer: {}}
    else:
        answered = {"application/json": {"schema": _schema(route.answer)}}
    responses: dict[str, Any] = {"200": {"description": HTTPStatus.OK.phrase, "content": answered}}
    for status, some in sorted(by_status.items()):
        responses[str(status)] = {
            "description": ", ".join(some),
            "content": {"application/json": {"schema": _schema(Refused)}},
        }
    return responses


def _schema(kind: type[Any] | None) -> dict[str, Any]:
    return {"type": "null"} if kind is None else {"$ref": _REF.format(name=kind.__name__)}
