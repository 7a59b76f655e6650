"""Every setting there is, in one frozen structure.

`Settings` is the only list: the flags of the command line, the environment (`TELEMENTOR_PORT`), the file
(`telementor.toml`) and the documentation in config/ all follow from it, and tests compare them.

    defaults  ←  file  ←  environment  ←  flags

Errors: SettingsError
    Raised for a setting that is unknown, wrong, or contradicts another one. Its text is one sentence
    for a person: which setting, where it stands, what it should be. It never holds a secret.
"""

import difflib
import ipaddress
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from media.ice import Address
from signaling.stores import store_url

ENV_PREFIX: Final = "TELEMENTOR_"
CONFIG_VARIABLE: Final = "TELEMENTOR_CONFIG"
FILE_NAME: Final = "telementor.toml"

SENDER_LOCAL_CHARACTERS: Final = 31
"""Of 64 (RFC 5321 §4.5.3.1.1); the rest is for a plus and a secret of at most 32."""

_SENDER: Final = re.compile(
    r"(?:(?P<name>[^<>@\"\x00-\x1f\x7f]+) <)?(?P<local>[A-Za-z0-9._=-]+)@[A-Za-z0-9.-]+(?(name)>)"
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """A setting is unknown, wrong or at odds with another; the text is one sentence that says which."""


class Secret:
    """A value that shows itself to nobody who does not ask for it by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that computes with it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(withheld)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator can decide. Names carry units; every number has bounds and says what it is for."""

    # Where it listens
    host: Annotated[str, Meta(min_length=1, description="Address to listen on. 0.0.0.0 or :: means all.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0 takes any free one.")] = (
        8000
    )
    public_url: Annotated[
        str | None,
        Meta(
            description="Address under which people reach the server, such as https://mentoring.example.org."
            " Links are made from it and it is the only allowed origin. Not set: the address it listens on."
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...],
        Meta(
            max_length=64,
            description="Networks of reverse proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8.",
        ),
    ] = ()

    # Where it keeps things
    data: Annotated[
        Path, Meta(description="Folder of the server: embedded store, SQLite, remembered facts.")
    ] = Path("data")
    redis: Annotated[
        str | None,
        Meta(
            description="Redis or Valkey for the room logs: redis://, rediss://, unix://,"
            " redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port."
            " Not set: the server runs its own Valkey in the data folder."
        ),
    ] = None
    replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=5,
            description="Replicas of the store that must have a message before it is acknowledged."
            " 0: what the store itself promises is enough.",
        ),
    ] = 0
    store_connections: Annotated[
        int,
        Meta(
            ge=4, le=1024, description="Most connections to one store for what waits for replicas; more wait."
        ),
    ] = 64
    database: Annotated[
        str | None,
        Meta(
            description="Database for people and pairs: postgresql:// or sqlite:///."
            " Not set: SQLite in the data folder."
        ),
    ] = None

    housekeeping_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="Seconds between two rounds that remove what the retention no longer keeps."
            " One node does each for all rooms.",
        ),
    ] = 3600
    store_rewrite_s: Annotated[
        int,
        Meta(
            ge=1,
            le=604_800,
            description="Seconds between two rewrites of the embedded store's file."
            " Until then a deleted text is still in it, though nowhere else.",
        ),
    ] = 86_400

    # How it reports
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severe event that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="One line per event, for people or for machines.")
    ] = "text"

    # How it stops, and how nodes know of each other
    drain_s: Annotated[
        int,
        Meta(
            ge=0,
            le=7,
            description="Seconds that clients get to move to another server when this one stops."
            " At most 7: the whole stop has to fit into 10 s.",
        ),
    ] = 7
    drain_notice_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=4000,
            description="Milliseconds of drain_s in which a server that stops is not ready but still takes sockets,"
            " so that a load balancer's health check notices first. Without trusted_proxies there is none to wait for.",
        ),
    ] = 1000
    node_lease_ms: Annotated[
        int,
        Meta(
            ge=500,
            le=60_000,
            description="Milliseconds after which a node that says nothing counts as gone.",
        ),
    ] = 3000
    connect_timeout_s: Annotated[
        int,
        Meta(ge=1, le=60, description="Seconds that a transport may stay open without having logged in."),
    ] = 5

    # How calls find their way
    stun_urls: Annotated[
        tuple[str, ...],
        Meta(
            max_length=8,
            description="STUN servers, such as stun:stun.example.org:3478, given to the clients.",
        ),
    ] = ()
    turn_urls: Annotated[
        tuple[str, ...],
        Meta(
            max_length=8,
            description="Relays, such as turn:relay.example.org:3478?transport=udp; need turn_secret.",
        ),
    ] = ()
    turn_secret: Annotated[
        Secret | None,
        Meta(description="Secret shared with the relay (coturn: static-auth-secret). Never logged."),
    ] = None
    turn_ttl_s: Annotated[
        int,
        Meta(
            ge=5,
            le=86_400,
            description="Seconds that a relay credential is good for. Below 600, for trying out what then happens,"
            " `telementor check` complains.",
        ),
    ] = 3600
    relay_policy: Annotated[
        Literal["all", "relay"],
        Meta(
            description="all: media goes the shortest way; relay: always over the relay, hiding addresses."
            " `telementor relay` sets it for the programme and wins."
        ),
    ] = "all"

    network_checks_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Network checks before a call that run at once on this server, for up to 20 s each;"
            " one more is answered limited. 0: none.",
        ),
    ] = 4

    # How it writes mail
    smtp_host: Annotated[
        str | None,
        Meta(
            description="Mail server for calendar mails and reminders; needs mail_from."
            " Not set: every mail becomes a file in DIR/mail, and nobody gets one.",
        ),
    ] = None
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="TCP port of the mail server.")] = 587
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(
            description="starttls: encrypted before anything is said; tls: from the first byte (port 465);"
            " none: not at all, for a mail server on this machine."
        ),
    ] = "starttls"
    smtp_user: Annotated[
        str | None,
        Meta(description="Name to log in to the mail server with. Not set: no log-in."),
    ] = None
    smtp_password: Annotated[
        Secret | None, Meta(description="Password that belongs to smtp_user. Never logged.")
    ] = None
    smtp_password_file: Annotated[
        Path | None, Meta(description="File with the password, instead of smtp_password.")
    ] = None
    mail_from: Annotated[
        str | None,
        Meta(
            description="Sender of all mails, such as Mentoring <mentoring@example.org>. Invitations also name"
            " mentoring+SECRET@example.org as their organizer. Not set: telementor at the host of public_url."
        ),
    ] = None

    # How long things are good for
    link_ttl_days: Annotated[
        int, Meta(ge=1, le=90, description="Days within which a login link works, once.")
    ] = 7
    login_ttl_days: Annotated[
        int, Meta(ge=1, le=400, description="Days that a login lasts from its last use.")
    ] = 90
    away_s: Annotated[
        int, Meta(ge=1, le=600, description="Seconds that a dropped device counts as away before it is gone.")
    ] = 30
    ring_s: Annotated[int, Meta(ge=1, le=300, description="Seconds that a call rings.")] = 45
    call_resume_s: Annotated[
        int,
        Meta(ge=1, le=86_400, description="Seconds that an empty call can be resumed before it is ended."),
    ] = 600

    # Sessions
    session_minutes_max: Annotated[
        int, Meta(ge=5, le=1440, description="Longest session in minutes, extensions included.")
    ] = 480
    session_buffer_minutes: Annotated[
        int,
        Meta(
            ge=0,
            le=240,
            description="Minutes after each session in which neither of the two can have another one."
            " Sessions that were planned before keep what they had until they are moved.",
        ),
    ] = 0
    session_proposal_hours: Annotated[
        int, Meta(ge=1, le=720, description="Hours after which a proposal that nobody answered is over.")
    ] = 72
    sessions_open_max: Annotated[
        int, Meta(ge=1, le=1000, description="Sessions ahead that a room can have at a time.")
    ] = 100
    session_changes_per_s: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Requests that change sessions a second, per person and room and server, in the long run.",
        ),
    ] = 2
    session_changes_burst: Annotated[
        int, Meta(ge=1, le=10_000, description="Such requests at once before session_changes_per_s counts.")
    ] = 20

    # What one message may be
    text_code_points: Annotated[
        int, Meta(ge=1, le=100_000, description="Longest chat message in Unicode code points.")
    ] = 8000
    text_bytes: Annotated[
        int, Meta(ge=1, le=400_000, description="Longest chat message in bytes of UTF-8.")
    ] = 16_384
    message_bytes: Annotated[
        int,
        Meta(
            ge=16_384,
            le=1_048_576,
            description="Largest message from a client in bytes; above it is answered too_large.",
        ),
    ] = 131_072
    packet_bytes: Annotated[
        int,
        Meta(
            ge=131_072,
            le=16_777_216,
            description="Largest packet in bytes that is read at all; above it the socket is closed.",
        ),
    ] = 1_048_576
    description_bytes: Annotated[
        int, Meta(ge=4096, le=524_288, description="Largest session description (SDP) in bytes.")
    ] = 65_536
    candidates: Annotated[int, Meta(ge=1, le=256, description="Most ICE candidates in one signal.")] = 64
    candidate_bytes: Annotated[int, Meta(ge=256, le=8192, description="Largest ICE candidate in bytes.")] = (
        1024
    )

    # How much one person or socket may do
    chat_per_s: Annotated[
        int, Meta(ge=1, le=1000, description="Chat requests a second, per person and room, in the long run.")
    ] = 10
    chat_burst: Annotated[
        int, Meta(ge=1, le=10_000, description="Chat requests at once before chat_per_s counts.")
    ] = 30
    signals_per_s: Annotated[
        int, Meta(ge=10, le=10_000, description="Call signals a second, per socket, in the long run.")
    ] = 100
    signals_burst: Annotated[
        int, Meta(ge=10, le=100_000, description="Call signals at once before signals_per_s counts.")
    ] = 300
    typing_per_s: Annotated[
        int, Meta(ge=1, le=100, description="Typing notices a second, per socket; more are refused.")
    ] = 2
    api_per_s: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="HTTP requests of the portal and of scripts a second, per person, in the long run.",
        ),
    ] = 10
    api_burst: Annotated[
        int, Meta(ge=1, le=10_000, description="HTTP requests at once before api_per_s counts.")
    ] = 100
    sockets_per_person: Annotated[
        int, Meta(ge=1, le=64, description="Open sockets of one person; one more replaces the oldest.")
    ] = 8
    rooms_per_socket: Annotated[int, Meta(ge=1, le=64, description="Rooms that one socket may be in.")] = 8
    backlog_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=16_777_216,
            description="Bytes that may wait for one slow socket before it is closed and has to resume.",
        ),
    ] = 524_288

    # How many may come
    sockets_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Sockets of people on this server; one more is answered unavailable and may come again.",
        ),
    ] = 10_000
    handshakes_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Transports that have not logged in yet; one more is refused with HTTP 503.",
        ),
    ] = 2000
    handshakes_per_s: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="New transports a second from one address (a whole school may be behind it), in the long run;"
            " one more is refused with HTTP 429.",
        ),
    ] = 200
    handshakes_burst: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="New transports at once before handshakes_per_s counts."),
    ] = 2000
    enters_per_s: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Personal links a second that are tried from one address, in the long run;"
            " one more is refused with HTTP 429.",
        ),
    ] = 5
    enters_burst: Annotated[
        int, Meta(ge=1, le=100_000, description="Personal links at once before enters_per_s counts.")
    ] = 100

    requests_per_s: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Requests a second to the portal's interface (/api) and to calendar feeds from one address, in the"
            " long run; one more is refused with HTTP 429.",
        ),
    ] = 100
    requests_burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Such requests at once before requests_per_s counts.")
    ] = 1000

    # How history is read
    page_default: Annotated[
        int, Meta(ge=1, le=1000, description="Events in a page when none was asked for.")
    ] = 50
    page_max: Annotated[int, Meta(ge=1, le=1000, description="Most events in one page.")] = 200
    page_bytes: Annotated[
        int, Meta(ge=16_384, le=1_048_576, description="Most bytes of events in one page.")
    ] = 131_072

    def __repr__(self) -> str:
        shown = (f"{name}={_shown(getattr(self, name))}" for name in self.__struct_fields__)
        return f"Settings({', '.join(shown)})"


# The headings of the example file and of the documentation, by the first setting below each.
HEADINGS: Final[Mapping[str, str]] = {
    "host": "Where it listens",
    "data": "Where it keeps things",
    "log_level": "How it reports",
    "drain_s": "How it stops, and how nodes know of each other",
    "stun_urls": "How calls find their way",
    "smtp_host": "How it writes mail",
    "link_ttl_days": "How long things are good for",
    "text_code_points": "What one message may be",
    "chat_per_s": "How much one person or socket may do",
    "sockets_max": "How many may come",
    "page_default": "How history is read",
}

# What should be set when nothing is the default; shown, commented out, in the example file.
_EXAMPLES: Final[Mapping[str, object]] = {
    "public_url": "https://mentoring.example.org",
    "redis": "redis://127.0.0.1:6379/0",
    "database": "postgresql://telementor@127.0.0.1/telementor",
    "turn_secret": "the same as static-auth-secret of coturn",
    "smtp_host": "smtp.example.org",
    "smtp_user": "mentoring@example.org",
    "smtp_password": "as the mail server knows it",
    "smtp_password_file": "/etc/telementor/smtp_password",
    "mail_from": "Mentoring <mentoring@example.org>",
}

_HINTS: Final = get_type_hints(Settings, include_extras=True)


# ---------------------------------------------------------------------------------------------- reading


def find_file(flags: Mapping[str, object], env: Mapping[str, str]) -> Path | None:
    """The settings file: `--config`, else TELEMENTOR_CONFIG, else a telementor.toml in the data folder.

    A file that was named has to exist; `load` says so when it does not.
    """
    named = flags.get("config") or env.get(CONFIG_VARIABLE)
    if named:
        return Path(str(named))
    folder = flags.get("data") or env.get(ENV_PREFIX + "DATA") or Settings().data
    file = Path(str(folder)) / FILE_NAME
    return file if file.is_file() else None


def load(flags: Mapping[str, object], env: Mapping[str, str], file: Path | None) -> Settings:
    """Settings from all three places; later ones win: file, environment, flags.

    `flags` are those that were given (None counts as not given); `env` is the whole environment, of which
    only names that begin with TELEMENTOR_ are looked at, and an empty value counts as not given.

    Raises SettingsError.
    """
    values: dict[str, Any] = {}
    if file is not None:
        for name, value in _read(file).items():
            values[name] = _value(name, value, f"in {file}", name, lenient=False)
    for variable, text in sorted(env.items()):
        if variable.startswith(ENV_PREFIX) and variable != CONFIG_VARIABLE and text != "":
            name = variable.removeprefix(ENV_PREFIX).lower()
            values[name] = _value(name, text, "in the environment", variable, lenient=True)
    for name, value in flags.items():
        if value is not None and name != "config":
            flag = "--" + name.replace("_", "-")
            values[name] = _value(name, value, "on the command line", flag, lenient=True)
    settings = Settings(**values)
    _check_together(settings)
    return settings


def without_password(url: str) -> str:
    """The same URL, fit for a log or an error: what stands before an @, in a query or a fragment is withheld."""
    address, *more = re.split(r"[?#]", url, maxsplit=1)
    return re.sub(r"//.*@", "//…@", address) + ("?…" if more else "")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"The settings file {file} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The settings file {file} is not valid TOML: {error}.") from None


def _value(name: str, value: object, place: str, written: str, *, lenient: bool) -> Any:
    """`value` as the type of the setting `name`; `written` is how the setting is spelled at that place."""
    hint = _HINTS.get(name)
    if hint is None:
        raise SettingsError(f"There is no setting {written} ({place}){_nearest(name, written)}")
    kind, _ = _kind_and_meta(hint)
    if lenient and isinstance(value, str) and get_origin(kind) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        checked = msgspec.convert(value, hint, strict=not lenient) if name not in _READ_BY_HAND else value
        return _PARSERS[name](checked) if name in _PARSERS else checked
    except (msgspec.ValidationError, ValueError, TypeError):
        secret = name in {"turn_secret", "smtp_password", "redis", "database"}
        but = "" if secret else f", but is {_shown(value)}"
        raise SettingsError(f"{written} {place} must be {expected(name)}{but}.") from None


def _nearest(name: str, written: str) -> str:
    near = difflib.get_close_matches(name, _HINTS, n=1)
    if not near:
        return "."
    right = near[0]
    if written.startswith("--"):
        right = "--" + right.replace("_", "-")
    elif written.startswith(ENV_PREFIX):
        right = ENV_PREFIX + right.upper()
    return f"; did you mean {right}?"


def _check_together(settings: Settings) -> None:
    """What no single setting can get wrong."""
    s = settings
    if s.turn_urls and s.turn_secret is None:
        raise SettingsError(
            "turn_urls are set but turn_secret is not, so no client could log in to the relay."
        )
    if s.relay_policy == "relay" and not s.turn_urls:
        raise SettingsError("relay_policy is relay but turn_urls are not set, so no call could ever connect.")
    _check_mail(s)
    for small, large in (
        ("page_default", "page_max"),
        ("message_bytes", "packet_bytes"),
        ("description_bytes", "message_bytes"),
        ("text_bytes", "message_bytes"),
    ):
        if getattr(s, small) > getattr(s, large):
            raise SettingsError(
                f"{small} ({getattr(s, small)}) must not be greater than {large} ({getattr(s, large)})."
            )


def _check_mail(s: Settings) -> None:
    if s.smtp_host is not None and s.mail_from is None:
        raise SettingsError("smtp_host is set but mail_from is not, so no mail would have a sender.")
    if s.smtp_password is not None and s.smtp_password_file is not None:
        raise SettingsError("smtp_password and smtp_password_file are both set; one of them is enough.")
    if (s.smtp_user is None) != (s.smtp_password is None and s.smtp_password_file is None):
        raise SettingsError("smtp_user and its password belong together; one of them is not set.")


# ------------------------------------------------------------------------------- kinds of settings


def _origin(text: str) -> str:
    """An origin as browsers write it (RFC 6454 §6): lower-case host, no default port, nothing behind it."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError(text)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(text)
    name = parts.hostname.encode("idna").decode()  # also of a host in other letters (RFC 5891)
    host = f"[{name}]" if ":" in name else name
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _url_of(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if urlsplit(text).scheme not in schemes:
            raise ValueError
        return text

    return parse


def _store(text: str) -> str:
    return store_url.parse(text).text


def _ice_urls(*beginnings: str) -> Callable[[Iterable[str]], tuple[str, ...]]:
    def parse(urls: Iterable[str]) -> tuple[str, ...]:
        urls = tuple(urls)
        for url in urls:
            if not url.startswith(beginnings) or len(url) > 300:
                raise ValueError(url)
            Address.parse(url)
        return urls

    return parse


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError
    return Path(value)


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError
    return Secret(value)


def _sender(text: str) -> str:
    """`name@host`, also in brackets behind a name. Short enough for a session's secret behind a plus (RFC 5321
    §4.5.3.1.1), and ASCII, which every mail server takes."""
    found = _SENDER.fullmatch(text.strip())
    if found is None or len(found["local"]) > SENDER_LOCAL_CHARACTERS:
        raise ValueError
    return text.strip()


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list | tuple) or len(value) > 64:
        raise ValueError
    return tuple(ipaddress.ip_network(str(text)) for text in value)


# Types that msgspec does not know; their parsers check everything themselves.
_READ_BY_HAND: Final = frozenset(
    {"data", "turn_secret", "smtp_password", "smtp_password_file", "trusted_proxies"}
)

_PARSERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "public_url": _origin,
    "redis": _store,
    "database": _url_of("postgresql", "postgres", "postgresql+asyncpg", "sqlite", "sqlite+aiosqlite"),
    "stun_urls": _ice_urls("stun:", "stuns:"),
    "turn_urls": _ice_urls("turn:", "turns:"),
    "data": _path,
    "turn_secret": _secret,
    "smtp_host": _text,
    "smtp_user": _text,
    "smtp_password": _secret,
    "smtp_password_file": _path,
    "mail_from": _sender,
    "trusted_proxies": _networks,
}

_EXPECTED: Final[Mapping[str, str]] = {
    "public_url": "an address such as https://mentoring.example.org, with nothing behind the host and port",
    "redis": "an address such as redis://host:6379/0, unix:///path, redis+sentinel://host,host/name or"
    " redis+cluster://host,host (rediss for TLS)",
    "database": "an address that begins with postgresql:// or sqlite:///",
    "stun_urls": "a list of addresses such as stun:stun.example.org:3478",
    "turn_urls": "a list of addresses such as turn:relay.example.org:3478?transport=udp",
    "data": "the path of a folder",
    "turn_secret": "a text",
    "smtp_password": "a text",
    "smtp_password_file": "the path of a file",
    "mail_from": "an address such as mentoring@example.org or Mentoring <mentoring@example.org>, with at most"
    " 31 characters before the @",
    "trusted_proxies": "a list of at most 64 networks such as 10.0.0.0/8 or 192.0.2.7",
}


def _kind_and_meta(hint: Any) -> tuple[Any, Meta]:
    kind, meta = get_args(hint)[:2]
    if get_origin(kind) in {Union, types.UnionType}:
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    return kind, meta


def expected(name: str) -> str:
    """What a value of the setting has to be, as the end of a sentence."""
    if name in _EXPECTED:
        return _EXPECTED[name]
    kind, meta = _kind_and_meta(_HINTS[name])
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if kind is int:
        return f"a whole number from {meta.ge} to {meta.le}"
    return "a text that is not empty"


def description(name: str) -> str:
    """What the setting is for, in one or two sentences."""
    return _kind_and_meta(_HINTS[name])[1].description or ""


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(without_password(value)) if "://" in value else repr(value)
    return repr(value)


# ------------------------------------------------------------------------------------ the example file


def example() -> str:
    """The text of config/telementor.example.toml: every setting with its default and meaning."""
    lines = [
        "# Every setting of telementor with its default. Copy what you change; leave out the rest.",
        "# The same names work as environment variables (TELEMENTOR_PORT=8001; lists with commas) and win",
        "# over the file; flags of the command line win over both.",
        "# Made from signaling/settings.py: python -m signaling.settings > config/telementor.example.toml",
    ]
    defaults = Settings()
    for name in Settings.__struct_fields__:
        if name in HEADINGS:
            lines += ["", "", f"# --- {HEADINGS[name]} ---"]
        bounds = expected(name)
        lines += ["", *_wrapped(f"{description(name)} ({bounds[0].upper()}{bounds[1:]}.)")]
        default = getattr(defaults, name)
        lines.append(
            f"# {name} = {_toml(_EXAMPLES[name])}" if name in _EXAMPLES else f"{name} = {_toml(default)}"
        )
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int = 100) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="# ")


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    return msgspec.json.encode(str(value)).decode()


if __name__ == "__main__":
    sys.stdout.write(example())
