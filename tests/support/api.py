"""A client of the HTTP door that believes nothing: each answer is held against the server's own OpenAPI description, and so
is each body that was taken."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import aiohttp
from jsonschema import Draft202012Validator

Document = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Status, code and field of a refusal."""
        return self.status, self.body["error"]["code"], self.body["error"].get("field")


def operation(document: Document, method: str, path: str) -> dict[str, Any] | None:
    """What the description says of a request; None: nothing."""
    plain = path.partition("?")[0]
    # Of two that fit the one with fewer parameters is meant (OpenAPI 3.1, "Path Templating Matching").
    for template in sorted(document["paths"], key=lambda template: template.count("{")):
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template.replace(".", r"\.")), plain):
            found: dict[str, Any] | None = document["paths"][template].get(method.lower())
            return found
    return None


def check(document: Document, schema: dict[str, Any], value: object) -> None:
    """Raises what jsonschema raises."""
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


class Api:
    """Somebody at the HTTP door, with these headers."""

    def __init__(self, http: aiohttp.ClientSession, url: str, document: Document, **headers: str) -> None:
        self._http = http
        self._url = url
        self._document = document
        self._headers = headers

    async def ask(self, method: str, path: str, body: object = ..., **more: Any) -> Answer:
        """`body` is sent as JSON; other ways to say something (`data`, `headers`) are aiohttp's."""
        headers = {**self._headers, **more.pop("headers", {})}
        if body is not ...:
            more["data"] = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        async with self._http.request(
            method, self._url + path, headers=headers, allow_redirects=False, **more
        ) as answer:
            is_json = answer.content_type == "application/json"
            said = await answer.read()
            got = Answer(answer.status, json.loads(said) if is_json and said else said, answer.headers)
        self._check(method, path, body, got)
        return got

    def _check(self, method: str, path: str, body: object, got: Answer) -> None:
        known = operation(self._document, method, path)
        if known is None:
            return
        described = known["responses"].get(str(got.status))
        assert described, f"{method} {path} was answered {got.status}, which the description does not know"
        content_type = got.headers["Content-Type"].partition(";")[0]
        assert content_type in described["content"], content_type
        if schema := described["content"][content_type].get("schema"):
            check(self._document, schema, got.body)
        if got.status == 200 and body is not ...:
            check(self._document, known["requestBody"]["content"]["application/json"]["schema"], body)

    async def done(self, method: str, path: str, body: object = ..., **more: Any) -> Any:
        """The body of an answer that is good."""
        answer = await self.ask(method, path, body, **more)
        assert answer.status == 200, (answer.status, answer.body)
        assert answer.body["ok"] is True
        return answer.body
