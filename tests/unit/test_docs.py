"""What the documents say is what the code does: events, errors, pushes, limits, metrics, places."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from rooms import errors
from rooms.bounds import Limits
from rooms.commands import COMMANDS
from rooms.events import Event
from rooms.pushes import PUSHES
from signaling.answers import STATUS
from signaling.cli import main
from signaling.metrics import Metrics

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "signaling" / "PROTOCOL.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
OPERATORS = (ROOT / "config" / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_client_event_is_in_the_protocol_with_its_fields(name: str) -> None:
    documented = re.search(rf"`{re.escape(name)} (\{{.*?\}})`", PROTOCOL, re.DOTALL)
    assert documented, f"{name} is not documented"
    for field in COMMANDS[name].__struct_fields__:
        if field != "files":
            assert re.search(rf"\b{field}\b", documented[1]), f"{name}: {field} is not documented"


@pytest.mark.parametrize("name", PUSHES)
def test_every_push_is_in_the_protocol(name: str) -> None:
    listed = PROTOCOL.split("## Events from the server")[1].split("##")[0]
    assert f"`{name}`" in listed
    assert set(re.findall(r"`([a-z.]+)`", listed)) == set(PUSHES)


def test_every_kind_of_log_event_is_in_the_protocol() -> None:
    rule = PROTOCOL.split("- **L7**")[1].split("- **L8**")[0]
    kinds = {event.__struct_config__.tag for event in typing.get_args(Event)}
    assert set(re.findall(r"`((?:chat|call|session)\.[a-z_]+)", rule)) == kinds


def test_every_error_code_is_in_the_protocol_and_has_a_status() -> None:
    table = PROTOCOL.split("### Error codes")[1].split("## Connect")[0]
    codes = set(typing.get_args(errors.Code))
    assert set(re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE)) == codes
    assert {error.code for error in errors.RoomError.__subclasses__()} == codes
    assert set(STATUS) == codes
    over_http = PROTOCOL.split("## Over HTTP")[1]
    for code, status in STATUS.items():
        assert re.search(rf"{status}(?: *\n? *`[a-z_]+`)*? *\n? *`{code}`", over_http), (code, status)


def test_the_limits_are_the_defaults() -> None:
    limits = Limits()
    for shown in (
        f"{limits.text_code_points:,} code points",
        "16 KiB of UTF-8",
        "64 KiB",
        f"{limits.candidates} of 1 KiB",
    ):
        assert shown in PROTOCOL
    assert (limits.text_bytes, limits.description_bytes, limits.candidate_bytes) == (16_384, 65_536, 1_024)


def test_every_file_that_the_architecture_names_is_there() -> None:
    for name in re.findall(r"`((?:rooms|signaling|media)/[a-z_./]+)`", ARCHITECTURE):
        assert (ROOT / name).exists(), name


def test_every_metric_is_in_the_operators_manual() -> None:
    made = {family.name for family in Metrics().registry.collect()}
    told = {name.removesuffix("_total") for name in re.findall(r"`(telementor_[a-z_]+)`", OPERATORS)}
    assert told == made


def test_every_command_is_in_the_operators_manual(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"serve", "pair", "erase"} <= set(commands)
    for command in commands:
        assert f"`telementor {command}" in OPERATORS or f"\ntelementor {command} " in OPERATORS, command


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for name in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert name.startswith("http") or (ROOT / name).exists(), name
