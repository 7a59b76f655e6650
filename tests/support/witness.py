"""Rules that hold for every answer and every push, checked on each one that any test hears."""

from __future__ import annotations

from typing import Any

CODES = frozenset(
    [
        "invalid",
        "unauthenticated",
        "forbidden",
        "not_found",
        "gone",
        "conflict",
        "too_large",
        "limited",
        "unavailable",
        "peer_away",
        "unsupported",
    ]
)
RETRIED = frozenset({"limited", "unavailable"})


class RuleBrokenError(AssertionError):
    """The server said something that the contract rules out."""


def demand(rule: str, holds: object, seen: object) -> None:
    """Raise RuleBrokenError with the rule's number and what was seen."""
    if not holds:
        raise RuleBrokenError(f"{rule}: {seen!r}")


def check_error(error: Any) -> None:
    """T2, T5: a known code, one plain sentence, `retry_ms` where trying again helps."""
    demand("T2: an error is an object", isinstance(error, dict), error)
    demand("T5: the code is listed", error.get("code") in CODES, error)
    message = error.get("message")
    demand(
        "T2: message is a sentence",
        isinstance(message, str) and message.strip() and "\n" not in message,
        error,
    )
    demand("T2: a sentence for a person, no trace", "Traceback" not in message, error)
    if error["code"] in RETRIED:
        demand(
            "T5: retry_ms is there", isinstance(error.get("retry_ms"), int) and error["retry_ms"] >= 0, error
        )
    if error.get("field") is not None:
        demand("T2: field is a path", isinstance(error["field"], str), error)


def check_ack(ack: Any) -> dict[str, Any]:
    """T2: `{ok: true, …}` or `{ok: false, error}`."""
    demand("T2: the ack is one object", isinstance(ack, dict), ack)
    demand("T2: ok is true or false", ack.get("ok") is True or ack.get("ok") is False, ack)
    if not ack["ok"]:
        check_error(ack.get("error"))
    return ack


def check_event(event: Any) -> None:
    """L1: what every event of a log carries; `at` is the milliseconds of its id."""
    for name in ("id", "prev", "at", "by", "kind", "key"):
        demand(f"L1: an event has {name}", name in event, event)
    demand("L1: id is a stream id", _is_stream_id(event["id"]), event)
    demand("L1: prev is a stream id or null", event["prev"] is None or _is_stream_id(event["prev"]), event)
    demand("T6/L1: at is the milliseconds of the id", event["at"] == int(event["id"].split("-")[0]), event)
    demand("L1: by is a string", isinstance(event["by"], str) and event["by"], event)
    demand("L1: key is a string", isinstance(event["key"], str) and event["key"], event)
    if event["prev"] is not None:
        demand("L1: prev is before id", order(event["prev"]) < order(event["id"]), event)


def _is_stream_id(value: Any) -> bool:
    parts = value.split("-") if isinstance(value, str) else []
    return len(parts) == 2 and all(part.isdecimal() for part in parts)


def order(stream_id: str) -> tuple[int, int]:
    """A stream id as something that compares in log order."""
    at, number = stream_id.split("-")
    return int(at), int(number)


class Witness:
    """What one socket has heard so far, to check the order of a room's pushes (L2)."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def hear(self, name: str, data: Any) -> None:
        """Check one push."""
        demand("T2: a push is one object", isinstance(data, dict), (name, data))
        if name != "log":
            return
        check_event(data)
        demand("L1: a pushed event names its room", isinstance(data.get("room"), str), data)
        last = self._last.get(data["room"])
        if last is not None:
            demand("L2: id order", order(last) < order(data["id"]), (last, data))
        self._last[data["room"]] = data["id"]
