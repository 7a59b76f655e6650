"""Logging: one line per event in both forms, and nobody's words in any."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from signaling import logs

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream


def test_json_is_one_object_per_line():
    stream = logged("json")
    structlog.get_logger("signaling.app").info("server ready", rooms=3)
    entry = json.loads(stream.getvalue())
    assert entry.pop("at").endswith("Z")
    assert entry == {"event": "server ready", "level": "info", "logger": "signaling.app", "rooms": 3}


def test_text_is_for_people():
    stream = logged("text")
    structlog.get_logger("signaling.app").warning("server stops", reason="two words", code=0)
    assert (
        stream.getvalue().split(" ", 1)[1]
        == 'warning signaling.app: server stops reason="two words" code=0\n'
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_never_takes_more_than_one_line(form):
    stream = logged(form)
    try:
        raise ValueError("a\nb")
    except ValueError:
        structlog.get_logger().exception("broke\nin two", reason="c\nd\x1b[31m\u2028e")
    line = stream.getvalue()
    assert line.splitlines() == [line.rstrip("\n")]
    assert "\x1b" not in line
    assert "ValueError" in line
    assert "Traceback" in line


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("key", ["text", "sdp", "Token", "user_email", "turn_secret", "candidates", "Cookie"])
def test_private_values_are_withheld_however_deep(form, key):
    stream = logged(form)
    structlog.get_logger().info("it happened", **{key: "hunter2"}, deep=[{"a": {key: ["hunter2"]}}])
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count(logs.WITHHELD) == 2


def test_what_libraries_log_comes_out_the_same_way():
    stream = logged("json")
    logging.getLogger("some.library").warning("lost %s", "it", extra={"password": "hunter2"})
    entry = json.loads(stream.getvalue())
    assert (entry["event"], entry["library"], entry["level"]) == ("lost it", "some.library", "warning")


def test_the_level_counts_for_us_and_for_libraries():
    stream = logged("json", "warning")
    structlog.get_logger().info("too quiet")
    logging.getLogger("some.library").info("too quiet")
    assert stream.getvalue() == ""


def test_statements_and_packets_of_libraries_are_never_logged():
    stream = logged("json", "debug")
    for chatty in (
        "sqlalchemy.engine.Engine",
        "engineio.server",
        "socketio.server",
        "aiohttp.access",
        "aioice.ice",
    ):
        logging.getLogger(chatty).info("a packet with somebody's words")
    assert stream.getvalue() == ""
