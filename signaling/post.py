"""Notices become mails (S5): what is due is read again, dropped if it is no longer true, written, and handed over.

At least once: a node that dies between handing over and marking leaves the notice to another, which sends it again with the
same Message-ID. Every node does this; a lease keeps two from doing the same at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from rooms.errors import Unavailable
from rooms.session import Proposal
from signaling.calendar import Shown, Side, organizer_address
from signaling.mail import AddressError, Mail, Sender, digest_mail, message_id, session_mail
from signaling.mail_carriers import WHOLE_S, Carrier, NotTakenError, RefusedError
from signaling.metrics import Metrics
from signaling.reminders import WINDOWS
from signaling.stores.notices import Notice, Notices, Outcome, Subject

log = structlog.get_logger()

AT_ONCE: Final = 8
"""Mails that a node sends at the same time; it leases no more than that, so none waits while its lease runs."""

LEASE_MS: Final = round(WHOLE_S * 1000) + 30_000
"""Longer than handing over can take, and marking it."""

LOOK_S: Final = 1.0
"""Without a kick. A dead node's notices are found so, too."""

FIRST_AGAIN_MS: Final = 30_000
LAST_AGAIN_MS: Final = 3_600_000
"""What was not taken is offered again after the first, then after twice that, up to the second; a fifth more or less."""

ATTEMPTS_MAX: Final = 20
AGE_MAX_MS: Final = 86_400_000
"""Beyond either a notice is dead."""

KNOCK_MS: Final = 900_000
"""A knock that is older opens nobody's door."""

COUNTED_S: Final = 15.0
"""How old the figures of what waits may be."""

Unread = Callable[[str, str, str, str], Awaitable[bool]]
"""(slug, person, partner, about): is that digest still true?"""


class Post:
    """`kick` says that something is due now."""

    def __init__(
        self,
        notices: Notices,
        carrier: Carrier,
        sender: Sender,
        metrics: Metrics,
        unread: Unread,
        now_ms: Callable[[], int],
    ) -> None:
        self._notices = notices
        self._carrier = carrier
        self._sender = sender
        self._metrics = metrics
        self._unread = unread
        self._now_ms = now_ms
        self._kicked = asyncio.Event()

    def kick(self) -> None:
        self._kicked.set()

    async def run(self) -> None:
        """For as long as the node runs. A database that is away is asked again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count(), name="what waits for the post")
            while True:
                try:
                    while await self.deliver():
                        pass
                except Unavailable:
                    log.warning("the post waits for the database")
                except Exception:  # the node goes on
                    log.exception("the post failed")
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._kicked.wait()
                except TimeoutError:
                    pass
                self._kicked.clear()

    async def deliver(self) -> int:
        """One batch of what is due; how many those were. Raises `Unavailable`."""
        now = self._now_ms()
        batch = await self._notices.lease(now, now + LEASE_MS, AT_ONCE)
        results = await asyncio.gather(*map(self._deliver, batch), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result  # what it was about is tried again when its lease is over
        return len(batch)

    async def _deliver(self, notice: Notice) -> None:
        try:
            subject = await self._notices.subject(notice)
            if subject is None or not await self._stands(notice, subject):
                await self._done(notice, "dropped")
                return
            mail = self._written(notice, subject)
            name = f"{notice.id:012d}-{notice.kind}-{subject.recipient.language[:8]}"
            await self._carrier.carry(mail.recipient, mail.content, name)
        except Unavailable:
            raise
        except (AddressError, RefusedError) as error:
            await self._done(notice, "dead", error)
        except NotTakenError as error:
            await self._again(notice, error)
        except Exception as error:  # noqa: BLE001 - tried as others are; what it says may hold an address
            await self._again(notice, NotTakenError(f"The mail cannot be written ({type(error).__name__})."))
        else:
            await self._done(notice, "sent")

    async def _done(self, notice: Notice, outcome: Outcome, error: Exception | None = None) -> None:
        await self._notices.finish(notice, outcome)
        self._metrics.mails.labels(outcome).inc()
        told = log.warning if error else log.info
        told(f"mail {outcome}", notice=notice.id, kind=notice.kind, reason=str(error) if error else None)

    async def _again(self, notice: Notice, error: NotTakenError) -> None:
        now = self._now_ms()
        if notice.attempts + 1 >= ATTEMPTS_MAX or now - notice.created_ms >= AGE_MAX_MS:
            await self._done(notice, "dead", error)
            return
        wait_ms = min(FIRST_AGAIN_MS * 2**notice.attempts, LAST_AGAIN_MS) * random.uniform(0.8, 1.2)  # noqa: S311
        await self._notices.put_off(notice, now + round(wait_ms))
        self._metrics.mails.labels("retried").inc()
        log.warning("mail not taken", notice=notice.id, kind=notice.kind, reason=str(error))

    async def _stands(self, notice: Notice, subject: Subject) -> bool:
        if notice.kind == "digest":
            return await self._unread(subject.slug, notice.recipient, subject.partner.id, notice.about)
        return still_true(notice, subject, self._now_ms())

    def _written(self, notice: Notice, subject: Subject) -> Mail:
        id_ = message_id(
            self._sender, notice.subject, notice.seq, notice.recipient, notice.kind, notice.about
        )
        room_url = f"{self._sender.public_url}/r/{subject.slug}"
        if subject.session is None:
            side = Side(reader=subject.recipient, partner=subject.partner, room_url=room_url)
            return digest_mail(side, self._sender, id_, self._now_ms())
        shown = Shown(
            reader=subject.recipient,
            partner=subject.partner,
            room_url=room_url,
            closed=subject.closed,
            session=subject.session,
            organizer=organizer_address(self._sender.mail_from, subject.organizer),
        )
        return session_mail(notice.kind, shown, self._sender, id_, self._now_ms(), _proposal(notice, subject))

    async def _count(self) -> None:
        while True:
            try:
                waiting = await self._notices.waiting()
            except Unavailable:
                pass  # the figures stay as they were
            except Exception:  # the node goes on
                log.exception("what waits for the post could not be counted")
            else:
                self._metrics.mails_dead.set(waiting.dead)
                age_ms = 0 if waiting.oldest_ms is None else self._now_ms() - waiting.oldest_ms
                self._metrics.mail_oldest.set(max(0, age_ms) / 1000)
            await asyncio.sleep(COUNTED_S)


def _proposal(notice: Notice, subject: Subject) -> Proposal | None:
    if notice.kind != "proposed" or subject.session is None:
        return None
    return next((one for one in subject.session.proposals if one.id == notice.about), None)


def still_true(notice: Notice, subject: Subject, now_ms: int) -> bool:
    """Whether what a notice says of its session is so now."""
    session = subject.session
    if session is None or session.seq != notice.seq:
        return False
    if notice.kind == "cancel":
        return session.state in ("cancelled", "declined", "expired")
    if not session.is_open or now_ms >= session.end:
        return False
    match notice.kind:
        case "request":
            return not subject.confirmed  # one mail for both, if the answer was faster than the post
        case "proposed":
            return _proposal(notice, subject) is not None
        case "knock":
            return now_ms < notice.created_ms + KNOCK_MS
        case "reminder_24h" | "reminder_1h" | "reminder_10m":
            from_ms, until_ms = WINDOWS[notice.kind]
            return session.state == "confirmed" and from_ms >= session.start - now_ms > until_ms
    return True
