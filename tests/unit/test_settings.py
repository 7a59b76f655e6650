"""Settings: where they come from, which are refused, and that the documentation tells the same."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from signaling import settings
from signaling.settings import Secret, Settings, SettingsError, find_file, load, without_password

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
RELAY = {"turn_urls": "turn:relay.example.org:3478", "turn_secret": "0123456789abcdef"}


def test_nothing_given_is_the_defaults():
    assert load({}, {}, None) == Settings()


def test_flags_win_over_environment_over_file_over_defaults(tmp_path):
    file = tmp_path / "telementor.toml"
    file.write_text('port = 1001\nhost = "192.0.2.1"\nring_s = 50\n')
    env = {"TELEMENTOR_PORT": "1002", "TELEMENTOR_HOST": "192.0.2.2", "PORT": "9"}
    built = load({"port": "1003", "host": None}, env, file)
    assert (built.port, built.host, built.ring_s, built.away_s) == (1003, "192.0.2.2", 50, 30)


def test_an_empty_variable_counts_as_not_given():
    assert load({}, {"TELEMENTOR_REDIS": ""}, None).redis is None


def test_lists_are_written_with_commas_in_the_environment():
    env = {
        "TELEMENTOR_STUN_URLS": "stun:a.example.org, stun:b.example.org",
        "TELEMENTOR_TRUSTED_PROXIES": "::1",
    }
    built = load({}, env, None)
    assert built.stun_urls == ("stun:a.example.org", "stun:b.example.org")
    assert [str(network) for network in built.trusted_proxies] == ["::1/128"]


def test_the_file_is_the_named_one_else_the_one_in_the_data_folder(tmp_path):
    in_folder = tmp_path / "telementor.toml"
    assert find_file({"data": tmp_path}, {}) is None
    in_folder.write_text("")
    assert find_file({"data": tmp_path}, {}) == in_folder
    assert find_file({}, {"TELEMENTOR_DATA": str(tmp_path)}) == in_folder
    assert find_file({"data": tmp_path}, {"TELEMENTOR_CONFIG": "/a"}) == Path("/a")
    assert find_file({"config": "/b"}, {"TELEMENTOR_CONFIG": "/a"}) == Path("/b")


@pytest.mark.parametrize(
    ("flags", "env", "text", "sentence"),
    [
        (
            {"prot": 1},
            {},
            "",
            "There is no setting --prot (on the command line); did you mean --port?",
        ),
        (
            {},
            {"TELEMENTOR_RINGS": "x"},
            "",
            "There is no setting TELEMENTOR_RINGS (in the environment); did you mean TELEMENTOR_RING_S?",
        ),
        ({}, {}, "zzz = 1", "There is no setting zzz (in FILE)."),
        (
            {"port": "http"},
            {},
            "",
            "--port on the command line must be a whole number from 0 to 65535, but is 'http'.",
        ),
        (
            {},
            {"TELEMENTOR_PORT": "70000"},
            "",
            "TELEMENTOR_PORT in the environment must be a whole number from 0 to 65535, but is '70000'.",
        ),
        ({}, {}, 'port = "80"', "port in FILE must be a whole number from 0 to 65535, but is '80'."),
        ({}, {}, 'log_format = "xml"', "log_format in FILE must be text or json, but is 'xml'."),
        (
            {},
            {},
            'trusted_proxies = ["10.0.0.1/8"]',
            (
                "trusted_proxies in FILE must be a list of at most 64 networks such as 10.0.0.0/8"
                " or 192.0.2.7, but is ['10.0.0.1/8']."
            ),
        ),
        (
            {"redis": "http://:hunter2@h/"},
            {},
            "",
            (
                "--redis on the command line must be an address such as redis://host:6379/0, unix:///path,"
                " redis+sentinel://host,host/name or redis+cluster://host,host (rediss for TLS)."
            ),
        ),
        (
            {},
            {},
            'public_url = "https://a.example.org/portal"',
            (
                "public_url in FILE must be an address such as https://mentoring.example.org, with nothing"
                " behind the host and port, but is 'https://a.example.org/portal'."
            ),
        ),
        (
            {},
            {"TELEMENTOR_TURN_URLS": "turn:relay.example.org:3478"},
            "",
            "turn_urls are set but turn_secret is not, so no client could log in to the relay.",
        ),
        (
            {"turn_urls": "turn:relay.example.org"},
            {},
            "",
            "turn_urls are set but turn_secret is not, so no client could log in to the relay.",
        ),
        (
            {"relay_policy": "relay"},
            {},
            "",
            "relay_policy is relay but turn_urls are not set, so no call could ever connect.",
        ),
        (
            {"smtp_host": "mail.example.org"},
            {},
            "",
            "smtp_host is set but mail_from is not, so no mail would have a sender.",
        ),
        (
            {"smtp_user": "me"},
            {},
            "",
            "smtp_user and its password belong together; one of them is not set.",
        ),
        (
            {"smtp_password": "hunter2", "smtp_password_file": "/p", "smtp_user": "me"},
            {},
            "",
            "smtp_password and smtp_password_file are both set; one of them is enough.",
        ),
        (
            {"mail_from": "A <a@example.org>, b@example.org"},
            {},
            "",
            (
                "--mail-from on the command line must be an address such as mentoring@example.org or"
                " Mentoring <mentoring@example.org>, with at most 31 characters before the @,"
                " but is 'A <a@example.org>, b@example.org'."
            ),
        ),
        (
            {},
            {},
            'smtp_password = ""',
            "smtp_password in FILE must be a text.",
        ),
        ({"page_default": "201"}, {}, "", "page_default (201) must not be greater than page_max (200)."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, flags, env, text, sentence):
    file = tmp_path / "telementor.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(flags, env, file)
    assert str(caught.value) == sentence.replace("FILE", str(file))


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"a\.toml does not exist\.$"):
        load({}, {}, tmp_path / "a.toml")
    broken = tmp_path / "b.toml"
    broken.write_text("port = = 1")
    with pytest.raises(SettingsError, match=r"b\.toml is not valid TOML: .*line 1"):
        load({}, {}, broken)


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Mentoring.Example.org:443/", "https://mentoring.example.org"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_public_url_is_an_origin_as_browsers_write_it(written, origin):
    assert load({"public_url": written}, {}, None).public_url == origin


def test_a_mail_server_is_named_whole(tmp_path):
    env = {
        "TELEMENTOR_SMTP_HOST": "mail.example.org",
        "TELEMENTOR_SMTP_USER": "me",
        "TELEMENTOR_SMTP_PASSWORD_FILE": str(tmp_path),
        "TELEMENTOR_SMTP_SECURITY": "tls",
        "TELEMENTOR_MAIL_FROM": "Mentoring <mentoring@example.org>",
    }
    built = load({}, env, None)
    assert (built.smtp_host, built.smtp_user, built.smtp_password_file) == (
        "mail.example.org",
        "me",
        tmp_path,
    )
    assert (built.smtp_security, built.mail_from) == ("tls", "Mentoring <mentoring@example.org>")
    assert "hunter2" not in repr(load({"smtp_user": "me", "smtp_password": "hunter2"}, {}, None))


def test_secrets_are_shown_to_nobody():
    built = load(
        {**RELAY, "redis": "redis://me:hunter2@h:1/0", "database": "postgresql://h/d?password=hunter2"},
        {},
        None,
    )
    assert built.turn_secret == Secret(RELAY["turn_secret"])
    assert built.turn_secret.reveal() == RELAY["turn_secret"]
    for shown in (repr(built), str(built), f"{built}", repr(built.turn_secret)):
        assert "hunter2" not in shown
        assert RELAY["turn_secret"] not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://me:hunter2@h:1/0", "redis://…@h:1/0"),
        ("redis://:hun/ter@2@h", "redis://…@h"),
        ("postgresql://u@h/d?password=hunter2", "postgresql://…@h/d?…"),
        ("sqlite:////srv/my data/telementor.db", "sqlite:////srv/my data/telementor.db"),
    ],
)
def test_an_address_is_shown_whole_but_for_what_is_secret(url, shown):
    assert without_password(url) == shown


def test_every_default_keeps_its_own_bounds():
    defaults = Settings()
    given = {
        name: getattr(defaults, name)
        for name in Settings.__struct_fields__
        if getattr(defaults, name) is not None and name not in {"data", "trusted_proxies"}
    }
    assert load(given, {}, None) == defaults


def test_every_setting_says_what_it_is_for():
    for name in Settings.__struct_fields__:
        assert settings.description(name).endswith("."), name
        assert settings.expected(name), name


def test_the_example_file_lists_every_setting_with_its_default():
    text = (ROOT / "config" / "telementor.example.toml").read_text("utf-8")
    assert text == settings.example(), "run: python -m signaling.settings > config/telementor.example.toml"
    # Uncommented, it is the defaults and the examples of what has none; all of it can be loaded.
    told = tomllib.loads(
        "\n".join(line.removeprefix("# ") if " = " in line else "" for line in text.splitlines())
    )
    assert set(told) == set(Settings.__struct_fields__)
    assert load({}, {}, ROOT / "config" / "telementor.example.toml") == Settings()


def test_the_operators_table_tells_names_and_defaults():
    readme = (ROOT / "config" / "README.md").read_text("utf-8").split("\n## ")[1]
    rows = [line.split("|")[1:4] for line in readme.splitlines() if line.startswith("| `")]
    told = {row[0].strip(" `"): (row[1].strip(" `"), row[2].strip()) for row in rows}
    defaults = Settings()
    assert list(told) == list(Settings.__struct_fields__)
    for name, (default, meaning) in told.items():
        value = getattr(defaults, name)
        shown = "not set" if value is None else "none" if value == () else str(value)
        assert default == shown, name
        assert meaning == settings.description(name), name


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
    assert msgspec.structs.replace(Settings(), port=1).port == 1
