"""The composition root: the only file that knows everyone. It builds a node from its settings, serves, and takes it down."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Collection
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from media.echo import EchoPeers
from media.ice import IceServers
from rooms.bounds import Limits
from rooms.call import CallRules
from rooms.errors import RoomError, Unavailable
from rooms.membership import RoomRecord
from rooms.pushes import IceServer, IceShown, PersonPush, Policy
from rooms.schedule import Change, Rules
from rooms.session import MINUTE_MS
from signaling import collector, lateness
from signaling.access import Access
from signaling.addresses import Addresses, AddressRate
from signaling.api import Api
from signaling.check import durability, ice_servers, relay_set_up
from signaling.data_folder import DataFolder
from signaling.departures import Departures
from signaling.door import Door
from signaling.front import Front
from signaling.housekeeping import Housekeeping
from signaling.hub import Hub
from signaling.leaves import Leaves
from signaling.live_steps import LiveSteps
from signaling.mail_carriers import carrier, mail_sender
from signaling.metrics import Metrics
from signaling.nodes import Nodes
from signaling.outbox import Outbox
from signaling.packets import pack
from signaling.post import Post
from signaling.reminders import Reminders
from signaling.service import Service
from signaling.sessions import Sessions
from signaling.settings import Settings, SettingsError
from signaling.sockets import SocketLimits, SocketServer
from signaling.stores.calendars import Calendars
from signaling.stores.channels import Channels
from signaling.stores.directory import Directory
from signaling.stores.embedded import EmbeddedStore
from signaling.stores.notices import Notices
from signaling.stores.profiles import Profiles
from signaling.stores.redis_client import connect
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.registry import Registry, person_channel
from signaling.stores.schedule import Backlog, Schedule
from signaling.stores.turns import Turns
from signaling.timekeeper import Timekeeper
from signaling.verbs.call import CallVerbs
from signaling.verbs.chat import ChatVerbs
from signaling.verbs.room import RoomVerbs
from signaling.verbs.seats import Seats
from signaling.verbs.session import SessionVerbs
from signaling.web import Web

log = structlog.get_logger()

DIST = Path(__file__).parent.parent / "web_client" / "dist"
"""The built web client: at the same place beside this package in a checkout and in an installation."""

STORE_TIMEOUT_S = 3.0
"""A command that the store does not answer in this time is `unavailable`, its outcome unknown."""

PROMISE_AGAIN_S = 60.0
PROMISE_S = 0.5
"""What /readyz says of the store's settings is at most this old, and takes at most this long to ask."""

IDLE_S = 60.0
"""A connection on which nothing has been asked for this long is closed; aiohttp's own hour would let them pile up."""

UNREAD_MS = 20_000
"""A connection whose other side takes nothing that was sent for this long is dead. A little more than the pings' time: no
socket ends by it that they would not end; but so does a page that is fetched and never read."""

SEND_BUFFER_BYTES = 131_072
"""What the kernel may hold back for one connection (Linux doubles it); left to itself, 4 MiB for each reader that stalls."""

OTHER_FILES = 2_000
"""Open files beside the sockets: connections to the parts of a store, static files, what is being closed."""

LAST_ANSWERS_S = 0.8
"""After the drain: for requests that are under way, and for what waits to be written."""

LEAVE_S = 0.7
"""After that: for telling the store who is gone. The lease of this node covers the rest."""

WHOLE_STOP_S = 9.5
"""From SIGTERM to the end of the embedded store; 10 s are promised (C3)."""


NO_HOST = "telementor.invalid"
"""What stands in a session's `uid` where no `public_url` is set (RFC 2606 §2)."""


NOTICES_KEPT_MS = 30 * 86_400_000
"""Of what was sent, dropped or given up is known that it was, for so long."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Node:
    """One server process: everything between its sockets and its stores."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        store_url: str,
        public_url: str | None,
        embedded: EmbeddedStore | None,
        address: str,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.draining = False
        self.metrics = Metrics()
        self._promised = (0.0, "")
        self.store = connect(store_url, STORE_TIMEOUT_S, settings.store_connections)
        self.registry = Registry(self.store)
        self.beating = connect(store_url, STORE_TIMEOUT_S, connections=2)
        room_log = RedisRoomLog(self.store, settings.replicas)
        self.channels = Channels(self.store, self._heard, self._restored)
        name = uuid.uuid4().hex[:12]
        self.hub = Hub(name, room_log, self.channels.subscribe, self.channels.unsubscribe)
        self.metrics.rooms.set_function(self.hub.count)
        departures = Departures()
        self.nodes = Nodes(
            name,
            self.registry,
            Registry(self.beating),
            departures=departures,
            lease_ms=settings.node_lease_ms,
            sockets_per_person=settings.sockets_per_person,
            subscribe=self.channels.subscribe,
            unsubscribe=self.channels.unsubscribe,
        )
        self.access = Access(directory, directory.credentials, directory.audit, self.nodes, self.hub)
        ice = ice_servers(settings)
        self.echoes = EchoPeers(
            settings.network_checks_max, lambda: ice.configuration("network-check", now_ms()).servers
        )
        self.metrics.echoes.set_function(lambda: len(self.echoes))
        limits, rules = _limits(settings), _rules(settings)
        self.schedule = Schedule(
            directory.database,
            rules=rules,
            host=urlsplit(public_url or "").hostname or NO_HOST,
            open_max=settings.sessions_open_max,
            now_ms=now_ms,
            new_id=lambda: str(uuid.uuid4()),
            new_secret=lambda: secrets.token_hex(16),
        )
        self.outbox = Outbox(self.schedule, room_log, self._backlog)
        self.sessions = Sessions(
            self.schedule,
            self.outbox,
            limits,
            per_s=settings.session_changes_per_s,
            burst=settings.session_changes_burst,
            on_change=self._session_changed,
        )
        turns = Turns(self.store, name)
        self.timekeeper = Timekeeper(
            self.schedule, room_log, turns, rules=rules, now_ms=now_ms, on_changes=self._time_brought
        )
        call_rules = CallRules(
            ring_ms=settings.ring_s * 1000,
            away_ms=settings.away_s * 1000,
            resume_ms=settings.call_resume_s * 1000,
        )
        self.steps = LiveSteps(
            room_log=room_log,
            memberships=directory,
            registry=self.registry,
            hub=self.hub,
            nodes=self.nodes,
            departures=departures,
            rules=call_rules,
            on_people=self.timekeeper.hint,
            now_ms=now_ms,
        )
        self.leaves = Leaves(
            departures=departures,
            hub=self.hub,
            nodes=self.nodes,
            echoes=self.echoes,
            steps=self.steps,
            away_ms=call_rules.away_ms,
            now_ms=now_ms,
        )
        seats = Seats(self.hub, directory, now_ms)
        room_verbs = RoomVerbs(
            seats=seats,
            hub=self.hub,
            nodes=self.nodes,
            room_log=room_log,
            steps=self.steps,
            leaves=self.leaves,
            sessions=self.sessions,
            limits=limits,
            rooms_per_socket=settings.rooms_per_socket,
            page_bytes=settings.page_bytes,
            online=self._online,
            ice=partial(_ice_shown, ice),
            on_people=self.timekeeper.hint,
        )
        self.chat = ChatVerbs(
            name,
            seats,
            self.hub,
            room_log,
            self.registry,
            per_s=settings.chat_per_s,
            burst=settings.chat_burst,
        )
        call_verbs = CallVerbs(
            seats=seats,
            hub=self.hub,
            steps=self.steps,
            leaves=self.leaves,
            nodes=self.nodes,
            registry=self.registry,
            echoes=self.echoes,
            ice=partial(_ice_shown, ice),
            rules=call_rules,
            new_id=lambda: str(uuid.uuid4()),
        )
        session_verbs = SessionVerbs(seats, self.sessions, self.registry, self.nodes)
        service = Service(limits, room_verbs, self.chat, call_verbs, session_verbs)
        self.housekeeping = Housekeeping(
            directory.programme,
            room_log,
            turns,
            every_s=settings.housekeeping_s,
            rewrite=embedded.rewrite if embedded else None,
            rewrite_every_s=settings.store_rewrite_s,
            clear_notices=self._clear_notices,
        )
        self.notices = Notices(directory.database)
        self.reminders = Reminders(
            self.notices,
            room_log,
            self.registry,
            turns,
            alive=lambda: self.nodes.alive,
            now_ms=now_ms,
        )
        sender = mail_sender(settings, public_url or address)
        self.post = Post(
            self.notices,
            carrier(settings, sender),
            sender,
            self.metrics,
            self.reminders.is_missed,
            now_ms,
        )
        self.nodes.on_presence = self._presence
        self.nodes.on_due = self.steps.attend
        self.nodes.on_lost = self._nodes_lost
        self.nodes.on_access = self.access.announced
        door = Door(directory.credentials, settings.public_url)
        addresses = Addresses(settings.trusted_proxies)
        limited = self.metrics.limited_addresses
        self.sockets = SocketServer(
            service,
            self.leaves,
            self.nodes,
            door,
            AddressRate(
                addresses,
                settings.handshakes_per_s,
                settings.handshakes_burst,
                limited.labels("handshake").inc,
            ),
            SocketLimits(
                message_bytes=settings.message_bytes,
                packet_bytes=settings.packet_bytes,
                backlog_bytes=settings.backlog_bytes,
                connect_timeout_s=settings.connect_timeout_s,
                sockets_max=settings.sockets_max,
                handshakes_max=settings.handshakes_max,
                signals_per_s=settings.signals_per_s,
                signals_burst=settings.signals_burst,
                typing_per_s=settings.typing_per_s,
            ),
            self.metrics,
        )
        self.nodes.on_late = self.sockets.ask_to_resume
        self.nodes.on_left = self.leaves.disconnected
        self.web = Web(
            api=Api(
                door=door,
                addresses=AddressRate(
                    addresses, settings.requests_per_s, settings.requests_burst, limited.labels("request").inc
                ),
                per_s=settings.api_per_s,
                burst=settings.api_burst,
                memberships=directory,
                profiles=Profiles(directory.database, now_ms),
                sessions=self.sessions,
                room_log=room_log,
                online=self._online,
                zone_taken=self._zone_taken,
                limits=limits,
                rules=_rules(settings),
                calendars=Calendars(directory.database),
                sender=sender,
                now_ms=now_ms,
            ),
            door=door,
            enters=AddressRate(
                addresses, settings.enters_per_s, settings.enters_burst, limited.labels("enter").inc
            ),
            directory=directory,
            metrics=self.metrics,
            dist=DIST,
            ready=self.ready,
            access_changed=self._access_changed,
            secure=urlsplit(public_url or "").scheme == "https",
            login_ttl_s=settings.login_ttl_days * 86_400,
        )

    async def start(self) -> None:
        await self.nodes.start()
        await self.access.start()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.channels.run(), name="channels")
            tasks.create_task(self.store.watch(), name="store")
            tasks.create_task(self.beating.watch(), name="store of the beats")
            tasks.create_task(self.nodes.run(), name="beats")
            tasks.create_task(self.access.run(), name="access")
            tasks.create_task(self.hub.sweep(), name="sweep")
            tasks.create_task(self.housekeeping.run(), name="housekeeping")
            tasks.create_task(self.post.run(), name="post")
            tasks.create_task(self.reminders.run(), name="reminders")
            tasks.create_task(self.outbox.run(), name="outbox")
            tasks.create_task(self.timekeeper.run(), name="timekeeper")
            tasks.create_task(self.timekeeper.heed(), name="who is there")
            tasks.create_task(collector.run(lambda: not self.nodes.connections()), name="collector")
            tasks.create_task(lateness.watch(self.metrics.lateness.observe), name="lateness")

    async def drain(self) -> None:
        """C3: not ready; behind a proxy, a moment in which its health check sees that and new sockets are still taken; then
        nobody is, and everybody is asked to go within what is left of the drain."""
        self.draining = True
        drain_s = float(self.settings.drain_s)
        notice_s = self.settings.drain_notice_ms / 1000 if self.settings.trusted_proxies else 0.0
        notice_s = min(notice_s, drain_s / 2)
        log.info("draining", seconds=drain_s)
        if notice_s:
            await self.sockets.emptied(notice_s)
        self.sockets.say_goaway(round((drain_s - notice_s) * 1000))
        if not await self.sockets.emptied(drain_s - notice_s):
            log.info("drained", left=len(self.nodes.connections()))

    async def stop(self) -> None:
        await self.sockets.shutdown()
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                stops = self.chat.stop, self.leaves.stop, self.echoes.stop
                await asyncio.gather(*(stop(LEAVE_S / 2) for stop in stops))
                await self.steps.stop()
                await self.nodes.depart()
        await self.hub.stop()
        await self.channels.stop()
        await self.store.aclose()
        await self.beating.aclose()

    async def ready(self) -> dict[str, Any]:
        """Rule "For operators": ready only while store and database answer, and not draining."""
        state: dict[str, Any] = {"store": True, "database": True, "draining": self.draining}
        try:
            await self.store.ping()
            state["acknowledged"] = await self._promise()
        except Unavailable:
            state["store"] = False
        try:
            await self.directory.ping()
        except Unavailable:
            state["database"] = False
        self.metrics.store_up.set(state["store"])
        state["ready"] = state["store"] and state["database"] and not state["draining"]
        return state

    async def _promise(self) -> str:
        """What an acknowledgement means (L4). Asked once a minute, and a health check does not wait for it."""
        asked_s, sentence = self._promised
        if not sentence or time.monotonic() > asked_s + PROMISE_AGAIN_S:
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(PROMISE_S):
                    sentence = (await durability(self.store, self.settings.replicas)).sentence
            self._promised = (time.monotonic(), sentence)
        return sentence or "A part of the store does not answer."

    # What the parts tell each other

    def _heard(self, channel: str, message: bytes) -> None:
        if self.hub.hears(channel):
            self.hub.on_message(channel, message)
        else:
            self.nodes.on_message(channel, message)

    def _restored(self, channel: str) -> None:
        if self.hub.hears(channel):
            self.hub.restored(channel)
        else:
            self.nodes.restored(channel)

    async def _presence(self, person: str, online: bool) -> None:
        """R1: the people of all rooms of somebody who came or went are told."""
        for slug in await self.directory.rooms_of(person):
            push = pack(PersonPush(room=slug, person=person, online=online))
            await self.hub.whisper_everywhere(slug, "person", push)

    async def _zone_taken(self, person: str, tz: str) -> None:
        """Whoever has a room of theirs open sees their times change."""
        online = person in await self._online([person])
        for slug in await self.directory.rooms_of(person):
            push = pack(PersonPush(room=slug, person=person, online=online, tz=tz))
            await self.hub.whisper_everywhere(slug, "person", push)

    async def _nodes_lost(self) -> None:
        """Dead nodes' people are away, and those who had no other socket are offline."""
        for resident in self.hub.residents():
            try:
                await self.steps.settle(resident.slug)
                await self._show_offline(resident.record)
            except RoomError as error:
                log.warning("could not settle after a lost node", code=error.code)

    async def _show_offline(self, record: RoomRecord) -> None:
        persons = record.persons
        online = await self.registry.online(persons, self.nodes.alive, unknown=True)
        if resident := self.hub.resident(record.slug):
            for person in set(persons) - online:
                push = pack(PersonPush(room=record.slug, person=person, online=False))
                self.hub.whisper(resident, "person", push)

    def _session_changed(self, change: Change) -> None:
        for happened in change.events:
            self.metrics.sessions.labels(happened.__struct_config__.tag).inc()
        if change.notices:
            self.post.kick()

    def _time_brought(self, changes: list[Change]) -> None:
        for change in changes:
            self._session_changed(change)
        self.outbox.kick()

    async def _clear_notices(self) -> None:
        await self.notices.clear(now_ms() - NOTICES_KEPT_MS)

    def _backlog(self, backlog: Backlog) -> None:
        self.metrics.outbox_pending.set(backlog.pending)
        oldest_ms = backlog.oldest_ms
        self.metrics.outbox_oldest.set(0 if oldest_ms is None else max(0, now_ms() - oldest_ms) / 1000)

    async def _online(self, persons: Collection[str]) -> set[str]:
        return await self.registry.online(persons, self.nodes.alive, unknown=False)

    async def _access_changed(self, person: str) -> None:
        await self.registry.publish(person_channel(person), b"A")


async def serve(settings: Settings, welcome: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, then drains. Prints `listening on http://…` once ready."""
    _open_files(settings.sockets_max + settings.handshakes_max + OTHER_FILES)
    folder = DataFolder(settings.data)
    folder.prepare()
    listening = _listen(settings.host, settings.port)
    told = _told_to_stop()
    async with contextlib.AsyncExitStack() as stack:
        embedded = None if settings.redis else await _embedded(stack, folder, told)
        store_url = embedded.url if embedded else settings.redis or ""
        directory = await Directory.open(
            settings.database or folder.sqlite_url, now_ms, login_ttl_days=settings.login_ttl_days
        )
        stack.push_async_callback(directory.close)
        await _reachable(settings, directory)
        address = _address(settings.host, listening)
        public_url = settings.public_url or address
        node = Node(settings, directory, store_url, settings.public_url, embedded, address)
        stack.push_async_callback(node.stop)
        await node.start()
        running = await stack.enter_async_context(_background(node.run(), "node"))
        await stack.enter_async_context(_serve_http(node, listening))
        folder.remember_public_url(public_url)
        print(f"listening on {address}", flush=True)  # noqa: T201 - the contract's line for scripts
        if welcome:
            await _welcome(settings, directory, public_url)
        collector.begin()
        await asyncio.wait({told, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running  # whatever ended it is said, and ends the process
        await _drain(node)


async def _reachable(settings: Settings, directory: Directory) -> None:
    """Says how far calls will reach. Raises SettingsError where none could ever connect."""
    for finding in relay_set_up(settings, await directory.programme.relay_policy()):
        if not finding.ok:
            raise SettingsError(finding.sentence)
        log.info(finding.sentence)


async def _embedded(
    stack: contextlib.AsyncExitStack, folder: DataFolder, told: asyncio.Task[float]
) -> EmbeddedStore:
    store = EmbeddedStore(folder)
    await store.start()
    stack.push_async_callback(_stop_store, store, told)
    await stack.enter_async_context(_background(store.watch(), "store"))
    return store


async def _stop_store(store: EmbeddedStore, told: asyncio.Task[float]) -> None:
    """A store that does not answer any more gets what is left of the whole stop: what it acknowledged is on disk."""
    if told.done():
        left_s = told.result() + WHOLE_STOP_S - asyncio.get_running_loop().time()
        await store.stop(max(left_s, 0.3))
    else:
        await store.stop()


@contextlib.asynccontextmanager
async def _background(work: Any, name: str) -> AsyncIterator[asyncio.Task[None]]:
    task: asyncio.Task[None] = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _open_files(wanted: int) -> None:
    """As many as the sockets need, if the system lets us: the usual 1024 would end it long before `sockets_max`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("fewer open files are allowed than sockets_max needs", allowed=allowed, needed=wanted)


def _listen(host: str, port: int) -> socket.socket:
    """Bound before anything is started: a taken port is the first thing that is said. Raises OSError with a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted inherits both.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"The server cannot listen on port {port} of {host}: {error.strerror}.") from None
    return listening


def _address(host: str, listening: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    port = listening.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


@contextlib.asynccontextmanager
async def _serve_http(node: Node, listening: socket.socket) -> AsyncIterator[None]:
    application = node.web.application()
    node.sockets.attach(application)
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=0.3, keepalive_timeout=IDLE_S
    )
    await runner.setup()
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()
    front = await loop.create_server(lambda: Front(server, node.sockets.open), sock=listening, backlog=1024)
    try:
        yield
    finally:
        front.close()
        await runner.cleanup()


async def _welcome(settings: Settings, directory: Directory, public_url: str) -> None:
    """`--welcome`: a first pair to try it with, and a fresh link for each of the two."""
    from signaling.welcome import first_links

    for line in await first_links(directory, public_url, settings.link_ttl_days):
        print(line, flush=True)  # noqa: T201


def _told_to_stop() -> asyncio.Task[float]:
    """Done when SIGTERM or SIGINT came, with the loop's time then, from the first moment on: a server that is told so while
    it starts drains, too."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def told() -> float:
        await stop.wait()
        return loop.time()

    return asyncio.create_task(told(), name="told to stop")


async def _drain(node: Node) -> None:
    """Told to stop again, it does not wait for anybody; what is in flight is finished in any case."""
    again = _told_to_stop()
    drained = asyncio.create_task(node.drain())
    await asyncio.wait({drained, again}, return_when=asyncio.FIRST_COMPLETED)
    drained.cancel()
    await asyncio.gather(drained, return_exceptions=True)
    await node.sockets.finish(LAST_ANSWERS_S)


def _limits(settings: Settings) -> Limits:
    return Limits(
        text_code_points=settings.text_code_points,
        text_bytes=settings.text_bytes,
        description_bytes=settings.description_bytes,
        candidates=settings.candidates,
        candidate_bytes=settings.candidate_bytes,
        page_default=settings.page_default,
        page_max=settings.page_max,
        minutes_max=settings.session_minutes_max,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        proposal_ms=settings.session_proposal_hours * 60 * MINUTE_MS,
        buffer_ms=settings.session_buffer_minutes * MINUTE_MS,
        minutes_max=settings.session_minutes_max,
    )


def _ice_shown(servers: IceServers, person: str, policy: Policy | None) -> IceShown:
    made = servers.configuration(person, now_ms(), policy)
    return IceShown(
        servers=[IceServer(list(s.urls), s.username, s.credential) for s in made.servers],
        policy=made.policy,
        expires_at=made.expires_at,
    )
