"""`telementor check`: is this set-up sound? Each finding is one plain sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from redis.exceptions import ResponseError

from media import relay_probe
from media.ice import IceServers
from rooms.errors import Unavailable
from rooms.pushes import Policy
from signaling.data_folder import DataFolder
from signaling.mail_carriers import NotTakenError, mail_sender, mail_server
from signaling.settings import Settings, SettingsError, without_password
from signaling.stores.database import DatabaseError
from signaling.stores.directory import Directory
from signaling.stores.embedded import EmbeddedStore
from signaling.stores.redis_client import connect
from signaling.stores.store import OneStore, Store

TIMEOUT_S = 3.0

CREDENTIAL_S = 600
"""K4: what is promised of a relay credential's life."""

RELAY_SECRET_CHARACTERS = 16
"""Below it a relay's secret is guessed from one credential that was seen."""


class Finding(Struct, frozen=True):
    ok: bool
    sentence: str


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    folder = DataFolder(settings.data)
    folder.prepare()
    database, policy = await _database(settings, folder)
    yield database
    async for finding in _store(settings, folder):
        yield finding
    yield _address(settings)
    for finding in (*relay_set_up(settings, policy), *_credentials(settings), *await _asked(settings)):
        yield finding
    yield await _mail(settings)
    yield _zones()


async def _mail(settings: Settings) -> Finding:
    """The mail server is greeted, spoken to encrypted, and logged in to; no mail is sent."""
    if settings.smtp_host is None:
        return Finding(
            True, f"smtp_host is not set: mails are files in {settings.data / 'mail'}, and nobody gets them."
        )
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    if settings.public_url is None:
        return Finding(False, "smtp_host is set but public_url is not: links in mails lead nowhere.")
    if settings.smtp_security == "none" and settings.smtp_user is not None:
        return Finding(False, f"smtp_security is none: the password goes to {where} for everybody to read.")
    try:
        await mail_server(settings, mail_sender(settings, settings.public_url)).try_out()
    except NotTakenError as error:
        return Finding(False, f"Mail cannot be sent over {where}: {error}")
    except SettingsError as error:
        return Finding(False, str(error))
    encrypted = "unencrypted" if settings.smtp_security == "none" else "encrypted"
    known = "and knows us" if settings.smtp_user is not None else "and asks for no log-in"
    return Finding(True, f"The mail server {where} answers, {encrypted}, {known}.")


async def _database(settings: Settings, folder: DataFolder) -> tuple[Finding, Policy | None]:
    """And the programme's relay policy."""
    url = settings.database or folder.sqlite_url
    try:
        directory = await Directory.open(url, lambda: time.time_ns() // 1_000_000)
        try:
            policy = await directory.programme.relay_policy()
        finally:
            await directory.close()
    except DatabaseError as error:
        return Finding(False, f"The database {without_password(url)} cannot be used: {error}"), None
    sentence = f"The database {without_password(url)} answers and its tables are up to date."
    return Finding(True, sentence), policy


async def _store(settings: Settings, folder: DataFolder) -> AsyncIterator[Finding]:
    if settings.redis is None and not folder.socket.exists():
        yield Finding(
            True, "The embedded store is not running now; the server starts it, and acknowledges after fsync."
        )
        return
    url = settings.redis or EmbeddedStore(folder).url
    store = connect(url, TIMEOUT_S, connections=4)
    try:
        infos = await store.on_each_primary("INFO", "server")
        versions = {_version(info) for info in infos}
        yield Finding(True, f"The store answers ({', '.join(sorted(versions))}).")
        if isinstance(store, OneStore) and infos[0].get("redis_mode") == "cluster":
            yield Finding(False, "The store is a node of a Cluster: write its address as redis+cluster://….")
            return
        yield await durability(store, settings.replicas)
    except Unavailable:
        yield Finding(False, f"The store {without_password(url)} does not answer.")
    finally:
        await store.aclose()


def _version(info: Mapping[str, Any]) -> str:
    return str(info.get("valkey_version") or info.get("redis_version"))


async def durability(store: Store, replicas: int) -> Finding:
    """Which promise an acknowledgement holds (rule L4): the weakest of all primaries. Raises `Unavailable`."""
    try:
        configs = await store.on_each_primary("CONFIG GET", "append*")
        roles = await store.on_each_primary("INFO", "replication")
    except Unavailable as error:
        if isinstance(
            error.__cause__, ResponseError
        ):  # it answers, and forbids the question, as hosted ones do
            return Finding(True, "The store does not tell its settings: whoever runs it knows what survives.")
        raise
    connected = min(int(role.get("connected_slaves", 0)) for role in roles)
    if connected < replicas:
        return Finding(
            False,
            f"A primary has {connected} replica(s) and replicas is {replicas}: nothing can be acknowledged.",
        )
    on_disk = _on_disk([{_text(name): _text(value) for name, value in config.items()} for config in configs])
    if replicas:
        also = " It also waits for its primary's disk." if on_disk.ok else ""
        return Finding(
            True,
            f"Acknowledged means on {replicas + 1} machines: it survives the loss of any {replicas} of them"
            f" while the one that takes over has it.{also}",
        )
    if on_disk.ok and connected:
        return Finding(
            True,
            f"{on_disk.sentence} A failover can lose what its replica had not got yet (see the setting"
            " replicas).",
        )
    return on_disk


def _on_disk(configs: Sequence[Mapping[str, str]]) -> Finding:
    if any(config.get("appendonly") != "yes" for config in configs):
        return Finding(
            False, "The store keeps no append-only file: a store that dies loses acknowledged messages."
        )
    if all(config.get("appendfsync") == "always" for config in configs):
        return Finding(
            True, "Acknowledged means on disk: it survives kill -9 of server and store, and power loss."
        )
    return Finding(
        False,
        "The store does not sync before it answers (appendfsync): the last seconds can be lost with it.",
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _address(settings: Settings) -> Finding:
    if settings.public_url is None:
        return Finding(True, "public_url is not set: links use the address that the server listens on.")
    if settings.public_url.startswith("http://") and "localhost" not in settings.public_url:
        return Finding(
            False,
            f"{settings.public_url} is not https: browsers give no camera or microphone to such a page.",
        )
    return Finding(True, f"Links lead to {settings.public_url}.")


def ice_servers(settings: Settings) -> IceServers:
    return IceServers(
        stun_urls=tuple(settings.stun_urls),
        turn_urls=tuple(settings.turn_urls),
        turn_secret=settings.turn_secret.reveal() if settings.turn_secret else "",
        ttl_s=settings.turn_ttl_s,
        policy=settings.relay_policy,
    )


def relay_set_up(settings: Settings, policy: Policy | None) -> list[Finding]:
    """How far calls can reach, as far as the settings and the programme's policy say."""
    if not settings.turn_urls and policy == "relay":
        return [
            Finding(
                False,
                "The programme's relay policy is relay but turn_urls are not set, so no call could ever connect.",
            )
        ]
    if settings.turn_urls:
        way = "always over a relay" if (policy or settings.relay_policy) == "relay" else "the shortest way"
        return [Finding(True, f"Calls go {way}; relay addresses: {len(settings.turn_urls)}.")]
    if settings.stun_urls:
        return [
            Finding(
                True, "STUN is set but no relay: calls fail where both sides are behind strict firewalls."
            )
        ]
    return [
        Finding(
            True,
            "Neither STUN nor a relay is set: only direct networks will work (the same network, or no NAT).",
        )
    ]


def _credentials(settings: Settings) -> list[Finding]:
    found = []
    if settings.turn_secret and len(settings.turn_secret.reveal()) < RELAY_SECRET_CHARACTERS:
        found.append(
            Finding(
                False, f"turn_secret has fewer than {RELAY_SECRET_CHARACTERS} characters: it can be guessed."
            )
        )
    if settings.turn_ttl_s < CREDENTIAL_S:
        found.append(
            Finding(
                False,
                f"turn_ttl_s is {settings.turn_ttl_s}: below {CREDENTIAL_S} a device that slept for a moment"
                " comes back with a credential that has expired.",
            )
        )
    return found


async def _asked(settings: Settings) -> list[Finding]:
    """Every STUN server and every relay is asked as a browser would ask it, all at once."""
    made = ice_servers(settings).configuration("check", time.time_ns() // 1_000_000)
    answers = await asyncio.gather(
        *(
            relay_probe.probe(url, server.username, server.credential)
            for server in made.servers
            for url in server.urls
        )
    )
    return [Finding(answer.problem is None, f"{answer.url} {said(answer)}") for answer in answers]


def said(answer: relay_probe.Finding) -> str:
    """What came of asking, as the end of a sentence."""
    relay = answer.url.startswith("turn")
    sentences: dict[relay_probe.Problem | None, str] = {
        None: "gives an allocation and takes it back." if relay else "answers.",
        "unresolved": "cannot be asked: its name has no address.",
        "silent": f"does not answer within {relay_probe.PROBE_S:.0f} s: is it running, and does a firewall let"
        " this port through?",
        "closed": "does not answer: nothing listens on this port.",
        "certificate": f"shows a TLS certificate that browsers refuse ({answer.detail}).",
        "credential": "refuses our credential: turn_secret is not its static-auth-secret, or one of the two clocks"
        " is wrong.",
        "quota": f"has no allocation left ({answer.detail}): its quota is used up, or too small.",
        "unroutable": f"relays from {answer.detail}, which nobody else can reach: its external-ip is not set.",
        "refused": f"refuses ({answer.detail}).",
    }
    return sentences[answer.problem]


def _zones() -> Finding:
    ZoneInfo("Asia/Kolkata")
    return Finding(True, f"Time-zone data is there (tzdata {version('tzdata')}).")
