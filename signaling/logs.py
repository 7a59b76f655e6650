"""One line per event, for people (`text`) or for machines (`json`), without anybody's words in it.

Every log line of the process goes through here, those of libraries too. As a last line of defence a value
whose key names something private (message text, SDP, a token, an address) is withheld, however deep it lies
and whoever logs it. Code must not count on that: it logs ids.
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

WITHHELD: Final = "[withheld]"

# Compared without case, and after leaving out a leading part: `user_email` and `Email` are `email`.
PRIVATE: Final = frozenset(
    {
        "address",
        "auth",
        "authorization",
        "body",
        "candidate",
        "candidates",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "description",
        "email",
        "headers",
        "link",
        "message",
        "name",
        "password",
        "payload",
        "sdp",
        "secret",
        "text",
        "token",
    }
)


def configure(
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["text", "json"],
    stream: TextIO | None = None,
) -> None:
    """Sends everything logged from now on to `stream` (default: standard error). May be called again."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    finish: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        withhold_private,
        _as_json if form == "json" else _as_text,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[*shared, _foreign], processors=finish)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These log every packet or statement, with what is in it, at info or debug.
    for chatty in (
        "aiohttp.access",
        "aioice",
        "aiortc",
        "aiosqlite",
        "alembic",
        "engineio",
        "socketio",
        "sqlalchemy",
    ):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def withhold_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: the same event without private values. `event` itself (what happened) stays."""
    return {key: value if key == "event" else _cleaned(key, value) for key, value in event.items()}


def _cleaned(key: object, value: object) -> object:
    if value is not None and str(key).lower().rpartition("_")[2] in PRIVATE:
        return WITHHELD
    if isinstance(value, Mapping):
        return {inner: _cleaned(inner, part) for inner, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned("", part) for part in value]
    return value


def _foreign(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Marks what a library logged, so that nobody looks for its words in our code."""
    event["library"] = event.pop("logger", getattr(logger, "name", ""))
    return event


def _as_json(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
    return json.dumps({"at": event.pop("at", None), **event}, default=str)


def _as_text(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
    """`2026-01-31T12:00:00.000000Z info signaling.app: server stopped reason="a word" rooms=3`"""
    at, level, what = event.pop("at", ""), event.pop("level", ""), event.pop("event", "")
    logger = event.pop("logger", None) or event.pop("library", "")
    pairs = "".join(f" {key}={_plain(value)}" for key, value in event.items())
    return f"{at} {level} {logger}: {_one_line(str(what))}{pairs}"


def _plain(value: object) -> str:
    if not isinstance(value, str):
        return _quoted(value)
    simple = value.isprintable() and value and not any(c in ' "=' for c in value)
    return value if simple else _quoted(value)


def _one_line(text: str) -> str:
    return text if text.isprintable() else _quoted(text)[1:-1]


def _quoted(value: object) -> str:
    """JSON with letters as they are, unless something in it could break the line or move the cursor."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value, default=str)
