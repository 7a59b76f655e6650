"""The `telementor` command: serve, and what an operator does beside a running server.

Exit codes: 0 done; 1 it could not be done, with one sentence; 2 the command or a setting is wrong, with one sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from rooms.errors import RoomError
from signaling import logs, records
from signaling.backup import BackupError, backup, restore
from signaling.data_folder import DataFolder, DataFolderError
from signaling.mail_carriers import MailFolder
from signaling.open_stores import open_database, open_directory
from signaling.settings import Settings, SettingsError, find_file, load
from signaling.stores.database import DatabaseError
from signaling.stores.directory import Directory, Named
from signaling.stores.engine import EmbeddedStoreError
from signaling.stores.notices import Notices
from signaling.stores.people import DirectoryError, Person
from signaling.whole_file import whole_file

DAY_S: Final = 86_400
PAIR_TOKEN_S: Final = 30 * DAY_S
"""How long the tokens that `pair add` prints are good for."""

DAYS_MAX: Final = 36_500
COUNT_MAX: Final = 1_000_000_000

NAME_CODE_POINTS: Final = 200
EMAIL_CHARACTERS: Final = 254
"""RFC 5321 §4.5.3.1.3: a path has 256 octets, two of them brackets."""

_NAMED = re.compile(r"(?P<name>[^<>]+?)\s*<(?P<email>[^<>\s]+)>")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")

EXPECTED = (
    SettingsError, DataFolderError, DatabaseError, DirectoryError, EmbeddedStoreError, BackupError, RoomError, OSError,
)  # fmt: skip
"""What can go wrong without anybody having made a mistake in the program: one sentence each."""

Command = Callable[[argparse.Namespace, Settings], Awaitable[int]]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    flags = {
        name: getattr(given, name, None) for name in ("data", "redis", "database", "host", "port", "config")
    }
    try:
        settings = load(flags, os.environ, find_file(flags, os.environ))
    except SettingsError as error:
        return _complain(error, 2)
    logs.configure(settings.log_level, settings.log_format)
    command: Command = given.command
    try:
        return _run(command(given, settings))
    except EXPECTED as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130


def _run(work: Awaitable[int]) -> int:
    async def whole() -> int:
        return await work

    if sys.platform == "win32":
        return asyncio.run(whole())
    import uvloop  # not on every platform

    return uvloop.run(whole())


def _complain(error: BaseException, code: int) -> int:
    print(f"telementor: {error}", file=sys.stderr)
    return code


# ------------------------------------------------------------------------------------------------ what to type


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", metavar="DIR", help="folder of the server (default: data)")
    common.add_argument("--redis", metavar="URL", help="Redis or Valkey instead of the embedded store")
    common.add_argument("--database", metavar="URL", help="PostgreSQL instead of SQLite in the data folder")
    common.add_argument(
        "--config", metavar="FILE", help="settings file (default: telementor.toml in the data folder)"
    )

    parser = argparse.ArgumentParser(prog="telementor", description="Live e-mentoring on your own server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, help_: str, where: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = where.add_parser(
            name, parents=[common], help=help_, description=help_
        )
        made.set_defaults(command=command)
        return made

    serve = add("serve", _serve, "Serve until SIGTERM.")
    serve.add_argument("--host", metavar="H", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", metavar="N", help="port to listen on (default: 8000; 0: any)")
    serve.add_argument(
        "--welcome", action="store_true", help="make a first pair and print a link for each of the two"
    )

    pair = commands.add_parser("pair", help="Add or remove a pair.").add_subparsers(
        required=True, metavar="ACTION"
    )
    added = add("add", _pair_add, "Give two people one room; done twice it is the same room.", pair)
    added.add_argument("--mentor", required=True, type=_named, metavar='"NAME <MAIL>"')
    added.add_argument("--mentee", required=True, type=_named, metavar='"NAME <MAIL>"')
    added.add_argument("--ttl-s", type=_seconds, default=PAIR_TOKEN_S, metavar="N", help="life of the tokens")
    added.add_argument("--json", action="store_true", help="one JSON object for scripts")
    removed = add("remove", _pair_remove, "Close a room to both; what they said is kept.", pair)
    removed.add_argument("--room", required=True, metavar="SLUG")

    token = add("token", _token, "Print an access token for scripts.")
    _email_argument(token)
    token.add_argument("--ttl-s", type=_seconds, default=DAY_S, metavar="N", help="its life in seconds")
    _email_argument(add("link", _link, "Print a new personal link for whoever lost theirs."))
    _email_argument(add("revoke", _revoke, "End all log-ins, links and access tokens of a person."))
    kept = add("retention", _retention, "Show how much of the rooms' history is kept, or set it.")
    for name, unbounded, most, help_ in (
        ("--days", "never", DAYS_MAX, "remove what is older than N days; never: for no age"),
        ("--count", "all", COUNT_MAX, "keep the newest N events of a room; all: of any number"),
    ):
        kept.add_argument(
            name, type=_bound(unbounded, most), default=argparse.SUPPRESS, metavar="N", help=help_
        )
    relayed = add("relay", _relay, "Show which way calls go, or set it for the programme.")
    relayed.add_argument(
        "--policy",
        choices=("all", "relay", "default"),
        help="all: the shortest way; relay: always over the relay, hiding addresses; default: as the server's"
        " setting relay_policy says",
    )
    moved = add("moves", _moves, "Show how a pair moves its confirmed sessions, or set it.")
    moved.add_argument("--room", required=True, metavar="SLUG")
    moved.add_argument(
        "how",
        nargs="?",
        choices=("free", "approve"),
        help="free: either side to any time that is free for both; approve: the other side agrees first",
    )
    copied = add("export", _export, "Write one room's history as JSON Lines, also that of a removed room.")
    copied.add_argument("--room", required=True, metavar="SLUG")
    copied.add_argument(
        "--out", type=Path, metavar="FILE", help="a file of your own (default: standard output)"
    )
    erased = add(
        "erase", _erase, "Erase a person: their messages, reactions, sessions, log-ins, name and address."
    )
    erased.add_argument("--person", required=True, metavar="E-MAIL")
    erased.add_argument("--yes", action="store_true", help="do not ask")
    for name, work, help_ in (
        ("backup", _backup, "Write everything into one file, beside a running server or without one."),
        ("restore", _restore, "Bring a backup into an empty data folder; the server must not run."),
    ):
        add(name, work, help_).add_argument("file", type=Path, metavar="FILE")
    mail = commands.add_parser("mail", help="Mails that could not be delivered.").add_subparsers(
        required=True, metavar="ACTION"
    )
    dead = add("dead", _mail_dead, "List the mails that were given up, or try them again.", mail)
    dead.add_argument("--retry", action="store_true", help="try all of them again")
    add("check", _check, "Test the set-up and say what is wrong, in words.")
    return parser


def _email_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--email", required=True, metavar="E")


def _named(text: str) -> Named:
    found = _NAMED.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError('write it as "Name <name@example.org>"')
    name, email = found["name"].strip(), found["email"]
    if len(name) > NAME_CODE_POINTS:
        raise argparse.ArgumentTypeError(f"a name has at most {NAME_CODE_POINTS} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise argparse.ArgumentTypeError("a name has no control characters")
    if not _EMAIL.fullmatch(email) or len(email) > EMAIL_CHARACTERS:
        raise argparse.ArgumentTypeError("this is not an e-mail address")
    return Named(name, email)


def _bound(unbounded: str, most: int) -> Callable[[str], int | None]:
    """A whole number from 1 to `most`, or the word for no bound."""

    def parsed(text: str) -> int | None:
        if text == unbounded:
            return None
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a whole number from 1 to {most}, or: {unbounded}")
        return int(text)

    return parsed


def _seconds(text: str) -> int:
    """From a second to ten years."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 3650 * DAY_S:
        raise argparse.ArgumentTypeError("a whole number of seconds, 1 at least")
    return int(text)


# ------------------------------------------------------------------------------------------------- what it does


async def _serve(given: argparse.Namespace, settings: Settings) -> int:
    from signaling.app import serve  # everything else starts without the weight of a server

    await serve(settings, welcome=given.welcome)
    return 0


async def _pair_add(given: argparse.Namespace, settings: Settings) -> int:
    async with open_directory(settings) as directory:
        added = await directory.add_pair(given.mentor, given.mentee)
        url = _public_url(settings)
        people = {}
        for role, person in (("mentor", added.mentor), ("mentee", added.mentee)):
            token = await directory.credentials.new_token(person.id, given.ttl_s)
            link = await _new_link(directory, settings, person, added.pair)
            people[role] = {"person": person.id, "token": token, "link": link}
    if given.json:
        print(json.dumps({"room": added.slug, "url": f"{url}/r/{added.slug}", **people}))
        return 0
    print(f"{'Added' if added.created else 'Known already'}: {url}/r/{added.slug}")
    for role, person in (("mentor", added.mentor), ("mentee", added.mentee)):
        print(f"  {role} {person.name}: {people[role]['link']}")
    print(f"Each link works once, within {settings.link_ttl_days} days.")
    return 0


async def _pair_remove(given: argparse.Namespace, settings: Settings) -> int:
    async with open_directory(settings) as directory:
        await directory.remove_pair(given.room)
    return 0


async def _token(given: argparse.Namespace, settings: Settings) -> int:
    async def made(directory: Directory, person: Person) -> str:
        return await directory.credentials.new_token(person.id, given.ttl_s)

    print(await _for_person(given, settings, made))
    return 0


async def _link(given: argparse.Namespace, settings: Settings) -> int:
    async def made(directory: Directory, person: Person) -> str:
        return await _new_link(directory, settings, person, None)

    print(await _for_person(given, settings, made))
    return 0


async def _revoke(given: argparse.Namespace, settings: Settings) -> int:
    async def revoked(directory: Directory, person: Person) -> str:
        await directory.credentials.revoke_all(person.id)
        return ""

    await _for_person(given, settings, revoked)
    return 0


async def _check(_: argparse.Namespace, settings: Settings) -> int:
    from signaling.check import findings

    wrong = False
    async for finding in findings(settings):
        print(f"{'ok  ' if finding.ok else 'BAD '} {finding.sentence}")
        wrong |= not finding.ok
    return int(wrong)


async def _mail_dead(given: argparse.Namespace, settings: Settings) -> int:
    """Nobody's address is printed: a person is an id."""
    async with open_database(settings) as database:
        notices = Notices(database)
        if given.retry:
            print(f"Tried again: {await notices.revive(time.time_ns() // 1_000_000)}.")
            return 0
        for one in await notices.dead():
            made = datetime.fromtimestamp(one.created_ms // 1000, UTC).isoformat()
            print(f"{made}  {one.kind}  person {one.recipient}  about {one.subject}  attempts {one.attempts}")
    return 0


async def _backup(given: argparse.Namespace, settings: Settings) -> int:
    rooms = await backup(settings, given.file)
    print(f"{given.file}: {rooms} rooms and everybody in them.")
    return 0


async def _restore(given: argparse.Namespace, settings: Settings) -> int:
    rooms = await restore(settings, given.file)
    print(f"{rooms} rooms and everybody in them are back.")
    return 0


async def _retention(given: argparse.Namespace, settings: Settings) -> int:
    changes = {name: getattr(given, name) for name in ("days", "count") if name in given}
    async with open_directory(settings) as directory:
        retention = structs.replace(await directory.programme.retention(), **changes)
        if changes:
            await directory.programme.set_retention(retention)
    age = "of any age" if retention.days is None else f"not older than {retention.days} days"
    count = "all events" if retention.count is None else f"the newest {retention.count} events"
    print(f"Kept of each room: {count}, {age}.")
    return 0


async def _relay(given: argparse.Namespace, settings: Settings) -> int:
    if given.policy == "relay" and not settings.turn_urls:
        raise SettingsError("turn_urls are not set, so over a relay no call could ever connect.")
    async with open_directory(settings) as directory:
        if given.policy is not None:
            await directory.programme.set_relay_policy(None if given.policy == "default" else given.policy)
        policy = await directory.programme.relay_policy()
    way = "always over the relay" if (policy or settings.relay_policy) == "relay" else "the shortest way"
    print(f"Calls go {way}, as {'the setting relay_policy' if policy is None else 'the programme'} says.")
    return 0


async def _moves(given: argparse.Namespace, settings: Settings) -> int:
    async with open_directory(settings) as directory:
        if given.how is not None:
            await directory.set_moves(given.room, given.how)
        moves = await directory.moves(given.room)
    way = "by either side, at once" if moves == "free" else "once the other side has agreed"
    print(f"Confirmed sessions of this room are moved {way}.")
    return 0


async def _export(given: argparse.Namespace, settings: Settings) -> int:
    async with aclosing(records.export(settings, given.room)) as lines:
        if given.out is None:
            async for line in lines:
                print(line)
            return 0
        events = -1
        with whole_file(given.out) as out:
            async for line in lines:
                out.write(f"{line}\n".encode())
                events += 1
    print(f"{given.out}: {events} events.")
    return 0


async def _erase(given: argparse.Namespace, settings: Settings) -> int:
    async with open_directory(settings) as directory:
        person = await directory.person_by_email(given.person)
        rooms = len(await directory.kept_rooms_of(person.id))
    print(f"{person.name} <{person.email}>; rooms, removed ones included: {rooms}.")
    if not given.yes and not _confirmed("This cannot be undone. Write yes to erase all that they wrote: "):
        print("Nothing was changed.")
        return 1
    erased = await records.erase(settings, person.id)
    MailFolder(settings.data / "mail").empty()
    print(
        "Erased: name, address and log-ins;"
        f" messages: {erased.messages}, reactions: {erased.reactions}; rooms closed: {erased.rooms_closed}."
    )
    print(f"Sessions cancelled: {erased.sessions_cancelled}.")
    print("Backups and exports that were made before still hold them.")
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() == "yes"
    except EOFError:
        print()
        return False


async def _for_person(
    given: argparse.Namespace, settings: Settings, work: Callable[[Directory, Person], Awaitable[str]]
) -> str:
    async with open_directory(settings) as directory:
        return await work(directory, await directory.person_by_email(given.email))


async def _new_link(directory: Directory, settings: Settings, person: Person, pair: str | None) -> str:
    token = await directory.credentials.new_link(person.id, pair, settings.link_ttl_days * DAY_S)
    return f"{_public_url(settings)}/enter#{token}"


def _public_url(settings: Settings) -> str:
    """As set; else as the running or last server knew it; else where one would listen."""
    remembered = DataFolder(settings.data).public_url()
    return settings.public_url or remembered or f"http://{settings.host}:{settings.port}"


if __name__ == "__main__":
    sys.exit(main())
