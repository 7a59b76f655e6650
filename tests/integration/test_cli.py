"""The operator's commands, each run whole in this process: what they print, on which stream, with which exit code."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from signaling.cli import DAY_S, PAIR_TOKEN_S, main
from signaling.data_folder import DataFolder
from signaling.stores.credentials import AccessToken, LinkUsedError, RefusedToken
from signaling.stores.directory import Directory

pytestmark = pytest.mark.integration

MARA, MIO = "Mara Mentor <mara@example.org>", "Mio Mentee <mio@example.org>"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CONFIG", "DATA", "REDIS", "DATABASE", "PUBLIC_URL", "HOST", "PORT"):
        monkeypatch.delenv(f"TELEMENTOR_{name}", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet"


@pytest.fixture
def telementor(data: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> Ran:
        try:
            code = main([*words, "--data", str(data)])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return run


@pytest.fixture
def pair(telementor: Command) -> dict:
    return json.loads(telementor("pair", "add", "--mentor", MARA, "--mentee", MIO, "--json").out)


def ask(data: Path, question: Callable[[Directory], object], now: int = 0) -> object:
    """The answer of the directory itself, at `now`."""

    async def asked() -> object:
        directory = await Directory.open(DataFolder(data).sqlite_url, lambda: now)
        try:
            return await question(directory)
        finally:
            await directory.close()

    return asyncio.run(asked())


# ------------------------------------------------------------------------------------------------- pairs


def test_a_pair_can_be_added_before_the_first_start(telementor, data):
    ran = telementor("pair", "add", "--mentor", MARA, "--mentee", MIO, "--json")
    assert (ran.code, ran.err) == (0, "")
    answer = json.loads(ran.out)
    assert set(answer) == {"room", "url", "mentor", "mentee"}
    assert set(answer["mentor"]) == set(answer["mentee"]) == {"person", "token", "link"}
    assert answer["url"] == f"http://127.0.0.1:8000/r/{answer['room']}"
    assert data.stat().st_mode & 0o777 == 0o700
    for role in ("mentor", "mentee"):
        base, token = answer[role]["link"].split("#")
        assert base == "http://127.0.0.1:8000/enter"
        used = ask(data, lambda directory, token=token: directory.credentials.use_link(token))
        assert (used.person.id, used.slug) == (answer[role]["person"], answer["room"])


def test_added_twice_it_is_the_same_pair_with_fresh_keys(telementor, pair):
    again = json.loads(telementor("pair", "add", "--mentor", MARA, "--mentee", MIO, "--json").out)
    assert again["room"] == pair["room"]
    for role in ("mentor", "mentee"):
        assert again[role]["person"] == pair[role]["person"]
        assert again[role]["token"] != pair[role]["token"]
        assert again[role]["link"] != pair[role]["link"]


def test_without_json_it_is_told_to_a_person(telementor):
    ran = telementor("pair", "add", "--mentor", MARA, "--mentee", MIO)
    assert ran.out.startswith("Added: http://127.0.0.1:8000/r/")
    assert "mentor Mara Mentor: http://127.0.0.1:8000/enter#" in ran.out
    assert "Each link works once, within 7 days." in ran.out
    assert telementor("pair", "add", "--mentor", MARA, "--mentee", MIO).out.startswith("Known already: ")


def test_the_commands_work_while_a_server_holds_the_folder(telementor, data, pair):
    folder = DataFolder(data)
    folder.lock()
    try:
        assert telementor("token", "--email", "mara@example.org").code == 0
    finally:
        folder.unlock()


def test_a_removed_pair_is_gone(telementor, data, pair):
    assert telementor("pair", "remove", "--room", pair["room"]) == Ran(0, "", "")
    assert ask(data, lambda directory: directory.room(pair["room"])) is None
    again = telementor("pair", "remove", "--room", pair["room"])
    assert again == Ran(1, "", f"telementor: There is no room {pair['room']}.\n")


def test_links_are_made_from_the_set_else_the_remembered_address(telementor, data, pair, monkeypatch):
    DataFolder(data).remember_public_url("http://127.0.0.1:9000")
    assert telementor("link", "--email", "mara@example.org").out.startswith("http://127.0.0.1:9000/enter#")
    monkeypatch.setenv("TELEMENTOR_PUBLIC_URL", "https://Mentoring.example.org/")
    assert telementor("link", "--email", "mara@example.org").out.startswith(
        "https://mentoring.example.org/enter#"
    )


# -------------------------------------------------------------------------------------------------- keys


def test_token_prints_only_the_token(telementor, data, pair):
    ran = telementor("token", "--email", "Mara@Example.org", "--ttl-s", "60")
    assert (ran.code, ran.err, len(ran.out.split())) == (0, "", 1)
    token = ask(data, lambda directory: directory.credentials.token(ran.out.strip()))
    assert isinstance(token, AccessToken)
    assert token.person == pair["mentor"]["person"]
    assert ask(
        data, lambda directory: directory.credentials.token(ran.out.strip()), token.expires_ms
    ) == RefusedToken("expired")


@pytest.mark.parametrize(("words", "life_s"), [((), PAIR_TOKEN_S), (("--ttl-s", "77"), 77)])
def test_the_tokens_of_a_pair_live_as_long_as_asked(telementor, data, words, life_s):
    answer = json.loads(telementor("pair", "add", "--mentor", MARA, "--mentee", MIO, "--json", *words).out)
    token = ask(data, lambda directory: directory.credentials.token(answer["mentee"]["token"]))
    made = ask(data, lambda directory: directory.audit.changes_after(0))[-1].at_ms
    assert abs(token.expires_ms - made - life_s * 1000) < 10_000
    assert PAIR_TOKEN_S == 30 * DAY_S


def test_link_prints_only_a_link_that_leads_to_the_room(telementor, data, pair):
    ran = telementor("link", "--email", "mio@example.org")
    assert (ran.code, ran.err, len(ran.out.split())) == (0, "", 1)
    token = ran.out.strip().split("#")[1]
    used = ask(data, lambda directory: directory.credentials.use_link(token))
    assert (used.person.id, used.slug) == (pair["mentee"]["person"], pair["room"])
    with pytest.raises(LinkUsedError):
        ask(data, lambda directory: directory.credentials.use_link(token))


def test_revoke_ends_what_one_person_holds(telementor, data, pair):
    assert telementor("revoke", "--email", "mara@example.org") == Ran(0, "", "")
    states = [
        ask(data, lambda d, role=role: d.credentials.token(pair[role]["token"]))
        for role in ("mentor", "mentee")
    ]
    assert states[0] == RefusedToken("revoked")
    assert isinstance(states[1], AccessToken)


# --------------------------------------------------------------------------------- what is kept, and erasure


def test_retention_is_shown_set_one_bound_at_a_time_and_cleared(telementor, data, pair):
    everything = Ran(0, "Kept of each room: all events, of any age.\n", "")
    assert telementor("retention") == everything
    days = telementor("retention", "--days", "30")
    assert days == Ran(0, "Kept of each room: all events, not older than 30 days.\n", "")
    both = telementor("retention", "--count", "1000")
    assert both.out == "Kept of each room: the newest 1000 events, not older than 30 days.\n"
    assert telementor("retention") == both
    assert telementor("retention", "--days", "never", "--count", "all") == everything
    assert telementor("retention") == everything
    actions = [change.action for change in ask(data, lambda directory: directory.audit.changes_after(0))]
    assert actions.count("retention.set") == 3, "to look is no change"


@pytest.mark.parametrize(
    "words", [("--days", "0"), ("--days", "36501"), ("--count", "-1"), ("--count", "never")]
)
def test_a_retention_that_cannot_be_is_refused(telementor, words):
    ran = telementor("retention", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "a whole number from 1 to" in ran.err


def test_the_relay_policy_is_shown_set_and_given_back_to_the_setting(telementor, data, monkeypatch):
    assert telementor("relay") == Ran(0, "Calls go the shortest way, as the setting relay_policy says.\n", "")
    refused = telementor("relay", "--policy", "relay")
    assert refused == Ran(
        1, "", "telementor: turn_urls are not set, so over a relay no call could ever connect.\n"
    )
    monkeypatch.setenv("TELEMENTOR_TURN_URLS", "turn:relay.example.org")
    monkeypatch.setenv("TELEMENTOR_TURN_SECRET", "0123456789abcdef")
    over = Ran(0, "Calls go always over the relay, as the programme says.\n", "")
    assert telementor("relay", "--policy", "relay") == over
    assert telementor("relay") == over
    assert telementor("relay", "--policy", "default").out.endswith("as the setting relay_policy says.\n")
    actions = [change.action for change in ask(data, lambda directory: directory.audit.changes_after(0))]
    assert actions == ["relay_policy.set"] * 2, "to look is no change, and neither is what is refused"


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_erase_does_nothing_without_a_yes(telementor, data, pair, monkeypatch, answer):
    monkeypatch.setattr("builtins.input", lambda _: answer)
    ran = telementor("erase", "--person", "mara@example.org")
    assert ran.code == 1
    assert (
        ran.out == "Mara Mentor <mara@example.org>; rooms, removed ones included: 1.\nNothing was changed.\n"
    )
    assert isinstance(ask(data, lambda d: d.credentials.token(pair["mentor"]["token"])), AccessToken)


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("words", ["token --email", "link --email", "revoke --email", "erase --yes --person"])
def test_nobody_of_that_address_is_said_in_one_sentence(telementor, words):
    ran = telementor(*words.split(), "zoe@example.org")
    assert ran == Ran(1, "", "telementor: Nobody has the e-mail address zoe@example.org.\n")


@pytest.mark.parametrize(
    ("mentor", "complaint"),
    [
        ("mara@example.org", "write it as"),
        ("Mara <mara>", "not an e-mail address"),
        ("Mara <a@b@c>", "not an e-mail address"),
        (f"Mara <{'m' * 250}@example.org>", "not an e-mail address"),
        (f"{'M' * 201} <mara@example.org>", "at most 200"),
        ("Ma\x07ra <mara@example.org>", "no control characters"),
        ("Ma\u2028ra <mara@example.org>", "no control characters"),
    ],
)
def test_somebody_who_cannot_be_is_refused(telementor, data, mentor, complaint):
    ran = telementor("pair", "add", "--mentor", mentor, "--mentee", MIO)
    assert ran.code == 2
    assert complaint in ran.err
    assert "Traceback" not in ran.err
    assert not data.exists()


def test_the_longest_name_of_any_script_is_kept_as_it_is(telementor):
    name = "🧑‍🏫" * 66 + "éa"  # 200 code points
    assert len(name) == 200
    ran = telementor("pair", "add", "--mentor", f"{name} <m@example.org>", "--mentee", MIO)
    assert ran.code == 0
    assert f"mentor {name}: " in ran.out


def test_one_person_is_no_pair(telementor):
    ran = telementor("pair", "add", "--mentor", MARA, "--mentee", "Mara <MARA@example.org>")
    assert ran == Ran(1, "", "telementor: Mentor and mentee are the same person (mara@example.org).\n")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("pair",),
        ("pair", "add"),
        ("token", "--email", "a@b.c", "--ttl-s", "0"),
        ("token",),
    ],
)
def test_a_command_that_is_not_one_ends_with_2(telementor, words):
    ran = telementor(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_a_wrong_setting_ends_with_2_and_one_sentence(telementor, monkeypatch):
    monkeypatch.setenv("TELEMENTOR_RING_S", "loud")
    ran = telementor("token", "--email", "mara@example.org")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("telementor: TELEMENTOR_RING_S in the environment must be a whole number")
    assert ran.err.count("\n") == 1


def test_a_folder_that_cannot_be_used_ends_with_1_and_one_sentence(telementor, data):
    data.mkdir(parents=True)
    (data / "thesis.odt").touch()
    ran = telementor("token", "--email", "mara@example.org")
    assert ran.code == 1
    assert (
        ran.err
        == f"telementor: {data} is not empty and no data folder of telementor; name an empty or a new one.\n"
    )


# ------------------------------------------------------------------------------------------------- check


def test_check_of_a_new_folder_finds_nothing_wrong_and_says_what_is_not_set(telementor):
    ran = telementor("check")
    assert (ran.code, ran.err) == (0, "")
    assert "The embedded store is not running now" in ran.out
    assert "only direct networks will work" in ran.out
    assert "Time-zone data is there" in ran.out


def test_check_says_what_does_not_answer_and_ends_with_1(telementor):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        ran = telementor("check", "--redis", f"redis://:hunter2@127.0.0.1:{silent.getsockname()[1]}")
    assert ran.code == 1
    (bad,) = [line for line in ran.out.splitlines() if line.startswith("BAD")]
    assert "does not answer" in bad
    assert "hunter2" not in ran.out


def test_check_and_serve_name_a_policy_without_a_relay(telementor, data, pair):
    ask(data, lambda directory: directory.programme.set_relay_policy("relay"))
    sentence = (
        "The programme's relay policy is relay but turn_urls are not set, so no call could ever connect."
    )
    assert f"BAD  {sentence}\n" in telementor("check").out
    served = telementor("serve", "--port", "0")
    assert (served.code, served.out) == (1, ""), "it never listens"
    assert served.err.endswith(f"telementor: {sentence}\n")


def test_check_complains_of_credentials_that_end_too_soon_and_of_a_secret_that_is_guessed(
    telementor, monkeypatch
):
    monkeypatch.setenv("TELEMENTOR_TURN_URLS", "turn:127.0.0.1:9?transport=tcp")
    monkeypatch.setenv("TELEMENTOR_TURN_SECRET", "short")
    monkeypatch.setenv("TELEMENTOR_TURN_TTL_S", "30")
    ran = telementor("check")
    assert ran.code == 1
    assert "BAD  turn_ttl_s is 30: below 600" in ran.out
    assert "BAD  turn_secret has fewer than 16 characters" in ran.out
    assert "BAD  turn:127.0.0.1:9?transport=tcp does not answer: nothing listens on this port." in ran.out


def test_check_names_a_page_that_gets_no_camera(telementor, monkeypatch):
    monkeypatch.setenv("TELEMENTOR_PUBLIC_URL", "http://mentoring.example.org")
    ran = telementor("check")
    assert ran.code == 1
    assert "BAD  http://mentoring.example.org is not https" in ran.out
