"""From a notice to somebody's mailbox, with a real mail server (aiosmtpd, STARTTLS, log-in) at the other end: rule S5."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from rooms import commands as c
from signaling import mail_carriers, post
from signaling.check import _mail
from signaling.mail_carriers import KEPT_FILES, MailFolder, NotTakenError
from signaling.mail_carriers import MailServer as OurMailServer
from signaling.settings import Secret, Settings
from signaling.stores.notices import NewNotice
from signaling.stores.tables import person
from signaling.stores.tables import session as session_table
from tests.support.condition import until
from tests.support.mail_server import PASSWORD, USER, MailServer, mail_server
from tests.support.planned import SENDER, Clock, Planned, planned
from tests.support.postgres import postgres as postgres  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.integration

MINUTE_MS = 60_000
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[Planned]:
    async with planned(f"sqlite:///{tmp_path}/telementor.db", clock) as made:
        yield made


@pytest.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[MailServer]:
    async with mail_server(tmp_path) as server:
        yield server


def ours(mailbox: MailServer, **other: Any) -> OurMailServer:
    told = {
        "host": "127.0.0.1",
        "port": mailbox.port,
        "security": "starttls",
        "user": USER,
        "password": PASSWORD,
        "sender": SENDER.address,
        "ehlo": "node.test",
        "context": mailbox.client_context,
    }
    return OurMailServer(**{**told, **other})


def recipients(mailbox: MailServer) -> list[str]:
    return sorted(address for mail in mailbox.taken for address in mail.recipients)


async def test_a_request_reaches_both_whole(house: Planned, mailbox: MailServer) -> None:
    session = await house.book()
    assert await house.post(ours(mailbox)).deliver() == 2
    assert await house.states() == {"sent": 2}
    by_recipient = {mail.recipients[0]: mail for mail in mailbox.taken}
    assert set(by_recipient) == {house.pair.mentor.email, house.pair.mentee.email}
    for mail in mailbox.taken:
        assert (mail.encrypted, mail.user, mail.sender) == (True, USER, "mentoring@example.org")
        assert mail.content.isascii()
        assert all(len(line) <= 998 for line in mail.content.split(b"\r\n"))
    message = by_recipient[house.pair.mentor.email].message
    assert message["From"] == "Mentoring <mentoring@example.org>"
    assert message["To"] == f"Mara Mentor <{house.pair.mentor.email}>"
    assert message["Subject"] == "Mio Mentee asks for a session: Thu 4 Feb, 15:00 (London)"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "en"
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Date"].datetime.timestamp() * 1000 == house.clock.now
    assert message.get_content_type() == "multipart/mixed"
    alternative, attachment = message.iter_parts()
    assert alternative.get_content_type() == "multipart/alternative"
    plain, html, calendar = alternative.iter_parts()
    assert [part.get_content_type() for part in (plain, html, calendar)] == [
        "text/plain",
        "text/html",
        "text/calendar",
    ]
    assert calendar["Content-Type"].params["method"] == "REQUEST"
    assert "METHOD:REQUEST" in calendar.get_content()
    assert attachment.get_filename() == "invite.ics"
    assert attachment.get_content() == calendar.get_content().encode()
    unfolded = calendar.get_content().replace("\r\n ", "").splitlines()
    organizer = [line for line in unfolded if line.startswith("ORGANIZER")]
    reply_to = message["Reply-To"].addresses[0].addr_spec
    assert reply_to.startswith("mentoring+")
    assert organizer[0].endswith(f"mailto:{reply_to}")
    told = plain.get_content()
    assert "15:00 London (your time) · 16:00 Berlin (Mio Mentee), 60 minutes" in told
    assert "Bridges" in told
    assert f"https://mentoring.example.org/r/{session.room}" in told
    assert f'href="https://mentoring.example.org/r/{session.room}"' in html.get_content()
    assert "src=" not in html.get_content()
    german = by_recipient[house.pair.mentee.email].message
    assert german["Subject"] == "Ihre Anfrage an Mara Mentor: Do, 4. Feb., 16:00 (Berlin)"


async def test_S2_S8_a_move_is_one_request_and_a_cancellation_one_cancel(
    house: Planned, mailbox: MailServer
) -> None:
    post_ = house.post(ours(mailbox))
    booked = await house.book()
    await post_.deliver()
    session = await house.ask(house.pair.mentor.id, c.SessionAnswer, booked, proposal=None, accept=0)
    await post_.deliver()
    session = await house.move(session, "2027-02-05T10:00")
    await post_.deliver()
    await house.ask(house.pair.mentor.id, c.SessionCancel, session)
    await post_.deliver()
    told = []
    for mail in mailbox.taken:
        calendar = next(part for part in mail.message.walk() if part.get_content_type() == "text/calendar")
        lines = calendar.get_content().splitlines()
        kept = [line for line in lines if line.split(":")[0] in ("METHOD", "SEQUENCE", "STATUS")]
        assert calendar["Content-Type"].params["method"] == kept[0].partition(":")[2]
        if mail.recipients == [house.pair.mentor.email]:
            told.append(
                (mail.message["Subject"].partition(":")[0], *(line.partition(":")[2] for line in kept))
            )
    assert told == [
        ("Mio Mentee asks for a session", "REQUEST", "0", "TENTATIVE"),
        ("Confirmed", "REQUEST", "0", "CONFIRMED"),
        ("Mio Mentee moved your session", "REQUEST", "1", "CONFIRMED"),
        ("Cancelled", "CANCEL", "2", "CANCELLED"),
    ]


async def test_S5_what_was_overtaken_is_dropped(house: Planned, mailbox: MailServer) -> None:
    session = await house.agree()
    await house.move(session, "2027-02-05T10:00")
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"dropped": 4, "sent": 2}
    assert all("moved" in m.message["Subject"] or "verschoben" in m.message["Subject"] for m in mailbox.taken)


async def test_S5_a_request_that_was_answered_before_it_was_sent_is_dropped(
    house: Planned, mailbox: MailServer
) -> None:
    await house.agree()
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"dropped": 2, "sent": 2}
    assert {mail.message["Subject"].partition(":")[0] for mail in mailbox.taken} == {"Confirmed", "Bestätigt"}


async def test_S5_a_mail_whose_session_is_over_is_dropped(house: Planned, mailbox: MailServer) -> None:
    session = await house.agree()
    house.clock.now = session.end
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"dropped": 4}
    assert mailbox.taken == []


async def test_a_closed_room_still_tells_that_its_sessions_are_cancelled(
    house: Planned, mailbox: MailServer
) -> None:
    await house.agree()
    await house.directory.remove_pair(house.pair.slug)
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"dropped": 4, "sent": 2}
    for mail in mailbox.taken:
        plain = mail.message.get_body(("plain",))
        assert plain
        assert "https://" not in plain.get_content()


async def test_nobody_writes_to_who_was_erased(house: Planned, mailbox: MailServer) -> None:
    await house.agree()
    await house.directory.erase(house.pair.mentee.id)
    await house.post(ours(mailbox)).deliver()
    assert recipients(mailbox) == [house.pair.mentor.email]


async def test_a_refused_recipient_is_dead_and_the_other_gets_the_mail(
    house: Planned, mailbox: MailServer
) -> None:
    mailbox.on_recipient = lambda address: "550 no such user" if address.startswith("mio") else None
    await house.book()
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"dead": 1, "sent": 1}
    (dead,) = await house.notices.dead()
    assert dead.recipient == house.pair.mentee.id
    mailbox.on_recipient = lambda _: None
    assert await house.notices.revive(house.clock.now) == 1
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"sent": 2}


@pytest.mark.parametrize("what", ["recipient 4xx", "data 4xx", "recipient 530", "hang-up", "wrong password"])
async def test_what_passes_is_tried_again_with_the_same_message_id(
    house: Planned, mailbox: MailServer, what: str
) -> None:
    if what == "recipient 4xx":
        mailbox.on_recipient = lambda address: f"450 <{address}> later"
    if what == "recipient 530":
        mailbox.on_recipient = lambda _: "530 log in first"
    if what == "data 4xx":
        mailbox.on_data = lambda mail: f"451 <{mail.recipients[0]}> later"
    mailbox.hang_up_after_data = what == "hang-up"
    password = "wrong" if what == "wrong password" else PASSWORD
    await house.book()
    with capture_logs() as logged:
        await house.post(ours(mailbox, password=password)).deliver()
    assert await house.states() == {"pending": 2}
    first = {mail.message["Message-ID"] for mail in mailbox.taken}
    assert len(first) == (2 if what == "hang-up" else 0), "at least once: it had been taken"
    assert "example.org" not in str(logged), "nobody's address is logged"
    assert await house.post(ours(mailbox)).deliver() == 0, "not before its time"
    mailbox.on_recipient, mailbox.on_data, mailbox.hang_up_after_data = lambda _: None, lambda _: None, False
    house.clock.now += round(post.FIRST_AGAIN_MS * 1.2)
    mailbox.taken.clear()
    assert await house.post(ours(mailbox)).deliver() == 2
    assert await house.states() == {"sent": 2}
    assert not first or first == {mail.message["Message-ID"] for mail in mailbox.taken}


async def test_a_mail_server_that_says_nothing_holds_nobody_up(
    house: Planned, mailbox: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_carriers, "WHOLE_S", 0.2)
    mailbox.silent = True
    await house.book()
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"pending": 2}


async def test_a_mail_server_that_is_away_for_long_gets_it_when_it_is_back(
    house: Planned, mailbox: MailServer
) -> None:
    session = await house.book("2027-03-04T15:00")
    await mailbox.stop()
    tries = 0
    while house.clock.now < session.start and tries < 20:
        tries += await house.post(ours(mailbox)).deliver()
        house.clock.now += 10 * MINUTE_MS
    assert await house.states() == {"pending": 2}
    waited = house.clock.now
    await mailbox.start()
    while (await house.states()).get("pending"):
        house.clock.now += 10 * MINUTE_MS
        await house.post(ours(mailbox)).deliver()
    assert house.clock.now - waited <= 1.2 * post.LAST_AGAIN_MS + 10 * MINUTE_MS, (
        "asked at least once in an hour"
    )
    assert recipients(mailbox) == sorted([house.pair.mentor.email, house.pair.mentee.email])


async def test_it_is_given_up_after_a_day_or_twenty_tries(house: Planned, mailbox: MailServer) -> None:
    await house.book("2027-03-04T15:00")
    await mailbox.stop()
    begun, tries = house.clock.now, 0
    while (await house.states()).get("pending"):
        tries += await house.post(ours(mailbox)).deliver()
        house.clock.now += 30 * MINUTE_MS
        assert house.clock.now - begun <= DAY_MS + 60 * MINUTE_MS
    assert await house.states() == {"dead": 2}
    assert tries <= 2 * post.ATTEMPTS_MAX
    assert (await house.notices.waiting()).dead == 2


async def test_S5_a_process_killed_between_sending_and_marking_sends_the_same_mail_again(
    house: Planned, mailbox: MailServer, tmp_path: Path
) -> None:
    await house.book()
    mailbox.on_recipient = lambda address: "450 later" if address.startswith("mio") else None
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.lone_post",
        f"sqlite:///{tmp_path}/telementor.db",
        str(mailbox.port),
        str(mailbox.ca),
        str(house.clock.now),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )

    def killed(_: object) -> None:
        process.send_signal(signal.SIGKILL)

    mailbox.on_data = killed
    assert await process.wait() == -signal.SIGKILL
    await until(lambda: mailbox.taken, "the mail of the process that was killed")
    mailbox.on_data, mailbox.on_recipient = lambda _: None, lambda _: None
    again = house.post(ours(mailbox))
    assert await again.deliver() == 0, "somebody has them, for all that is known"
    house.clock.now += post.LEASE_MS
    assert await again.deliver() >= 1
    mine = [m.message["Message-ID"] for m in mailbox.taken if m.recipients == [house.pair.mentor.email]]
    assert len(mine) == 2
    assert len(set(mine)) == 1


async def test_of_two_nodes_one_sends_each(
    clock: Clock, mailbox: MailServer, postgres: Any, tmp_path: Path
) -> None:
    """On both databases at once: leases are SQL's business."""
    for url in (f"sqlite:///{tmp_path}/two.db", postgres.fresh()):
        mailbox.taken.clear()
        async with planned(url, clock) as one, planned(url, clock) as other:
            for day in range(1, 9):
                await one.book(f"2027-03-{day:02}T15:00")
            posts = [node.post(ours(mailbox)) for node in (one, other, one, other)]

            async def all_of(one_post: post.Post) -> None:
                while await one_post.deliver():
                    pass

            await asyncio.gather(*map(all_of, posts))
            assert await one.states() == {"sent": 16}
        ids = [mail.message["Message-ID"] for mail in mailbox.taken]
        assert len(ids) == len(set(ids)) == 16


async def test_a_late_mark_of_a_lost_lease_changes_nothing(house: Planned) -> None:
    await house.book()
    (first, _) = await house.notices.lease(house.clock.now, house.clock.now + 10, 8)
    later = house.clock.now + 10
    again = await house.notices.lease(later, later + 10, 8)
    assert first.id in {one.id for one in again}
    await house.notices.finish(first, "sent")
    assert await house.states() == {"pending": 2}


async def test_kinds_of_a_newer_version_are_left_to_it(house: Planned) -> None:
    await house.notices.add([NewNotice(house.pair.slug, 0, house.pair.mentor.id, "songs")], house.clock.now)  # type: ignore[arg-type]
    assert await house.notices.lease(house.clock.now, house.clock.now + 10, 8) == []


async def test_the_run_is_kicked_and_counts(house: Planned, mailbox: MailServer) -> None:
    post_ = house.post(ours(mailbox))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(post_.run())
        await house.book()
        post_.kick()
        await until(lambda: len(mailbox.taken) == 2, "both mails")

        def counted() -> bool:
            return house.metrics.registry.get_sample_value("telementor_mails_total", {"outcome": "sent"}) == 2

        await until(counted, "the figure")
        running.cancel()


async def test_what_is_done_is_forgotten_after_thirty_days(house: Planned, mailbox: MailServer) -> None:
    await house.book("2027-03-20T15:00")
    await house.post(ours(mailbox)).deliver()
    assert await house.notices.clear(house.clock.now) == 0
    assert await house.notices.clear(house.clock.now + 1) == 2
    assert await house.states() == {}


@pytest.mark.parametrize(
    "name",
    [
        "Mio\r\nBcc: all@example.org",
        'Mio "the" <root@example.org>, You',
        "\u202egro.elpmaxe",
        "علی رضایی",
        "आशा " * 40,
        "🙂 Mio\u2028",
        "=?utf-8?b?SGk=?=",
        "\ud800 half",
    ],
)
async def test_no_name_gets_out_of_its_place(house: Planned, mailbox: MailServer, name: str) -> None:
    if "\ud800" in name:
        name = "\ufffd half"  # no database takes half a character
    await house.meet("Mara Mentor", name)
    await house.book()
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"sent": 2}
    assert recipients(mailbox) == sorted([house.pair.mentor.email, house.pair.mentee.email])
    for mail in mailbox.taken:
        message = mail.message
        assert len(message["From"].addresses) == len(message["To"].addresses) == 1
        assert message["To"].addresses[0].addr_spec == mail.recipients[0]
        assert message["Bcc"] is None
        assert "\u202e" not in str(message["Subject"])
        assert message.get_content_type() == "multipart/mixed"


async def test_an_address_that_no_server_takes_is_dead(house: Planned, mailbox: MailServer) -> None:
    async with house.directory.database.writing() as connection:
        for email, who in (
            ("mïo@example.org", house.pair.mentee),
            ("mara@bücher.example", house.pair.mentor),
        ):
            await connection.execute(sa.update(person).where(person.c.id == who.id).values(email=email))
    await house.book()
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"dead": 1, "sent": 1}
    assert recipients(mailbox) == ["mara@xn--bcher-kva.example"]


async def test_nobodys_mailbox_is_filled_by_a_session_that_moves_to_and_fro(
    house: Planned, mailbox: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some at once, then what still is true when its turn comes; another room's mails do not wait for it."""
    monkeypatch.setattr(post, "MAILS_AT_ONCE", 3)
    post_ = house.post(ours(mailbox))
    session = await house.agree()
    for turn in range(5):
        session = await house.move(session, f"2027-02-04T{10 + turn % 2}:00")
        await post_.deliver()
    told = [house.pair.mentor.email, house.pair.mentee.email]
    assert recipients(mailbox) == sorted(told * 3)
    assert len(await house.kinds()) == 2 * 2, "not given up"
    mailbox.taken.clear()
    await house.meet()
    await house.book()
    await post_.deliver()
    assert len(mailbox.taken) == 2
    house.clock.now += round(1000 / post.MAILS_PER_S)
    later = house.post(ours(mailbox))
    while await later.deliver():
        pass
    assert (await house.states()).get("pending") is None
    newest = [mail for mail in mailbox.taken if mail.recipients[0] in told]
    assert len(newest) == 2


async def test_S5_a_mail_that_cannot_be_written_is_given_up_as_one_that_nobody_takes(
    house: Planned, mailbox: MailServer
) -> None:
    """Whatever is wrong with it, its turn ends, and the others come to theirs."""
    broken = await house.book("2027-03-04T15:00")
    await house.book("2027-03-05T15:00")
    async with house.directory.database.writing() as connection:
        row = sa.update(session_table).where(session_table.c.id == broken.id)
        await connection.execute(row.values(attendance=["?"]))
    post_ = house.post(ours(mailbox))
    with capture_logs() as logged:
        await post_.deliver()
    assert len(mailbox.taken) == 2
    assert "The mail cannot be written (ValidationError)." in str(logged)
    begun = house.clock.now
    while (await house.states()).get("pending"):
        house.clock.now += 30 * MINUTE_MS
        await post_.deliver()
        assert house.clock.now - begun <= DAY_MS + 60 * MINUTE_MS
    assert await house.states() == {"dead": 2, "sent": 2}


async def test_a_digest_holds_nothing_of_the_message_and_stands_until_read(
    house: Planned, mailbox: MailServer
) -> None:
    told = NewNotice(house.pair.slug, 0, house.pair.mentee.id, "digest", "1-0")
    assert await house.notices.add([told], house.clock.now) == 1
    assert await house.notices.add([told], house.clock.now) == 0
    await house.post(ours(mailbox)).deliver()
    (mail,) = mailbox.taken
    assert mail.message["Subject"] == "Mara Mentor hat Ihnen geschrieben"
    assert mail.message.get_content_type() == "multipart/alternative"
    house.unread = False
    await house.notices.add(
        [NewNotice(house.pair.slug, 0, house.pair.mentee.id, "digest", "2-0")], house.clock.now
    )
    await house.post(ours(mailbox)).deliver()
    assert await house.states() == {"sent": 1, "dropped": 1}


async def test_without_a_mail_server_mails_are_files_and_the_newest_stay(
    house: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mail"
    await house.book()
    await house.post(MailFolder(folder)).deliver()
    files = sorted(folder.iterdir())
    assert len(files) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert all(b'METHOD="REQUEST"' in file.read_bytes() or b"REQUEST" in file.read_bytes() for file in files)
    monkeypatch.setattr(mail_carriers, "KEPT_FILES", 1)
    await house.agree("2027-03-04T15:00")
    await house.post(MailFolder(folder)).deliver()
    assert len(list(folder.iterdir())) == 1
    assert KEPT_FILES == 1000
    MailFolder(folder).empty()
    assert list(folder.iterdir()) == []


# ------------------------------------------------------------------------------------ `telementor check`


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({}, "answers, encrypted, and knows us."),
        ({"smtp_password": Secret("wrong")}, "refuses smtp_user and its password (535)."),
        ({"smtp_port": 1}, "cannot be reached, or hangs up."),
        ({"smtp_security": "tls"}, "cannot be "),
        ({"public_url": None}, "links in mails lead nowhere."),
        ({"smtp_security": "none"}, "for everybody to read."),
        ({"smtp_password": None, "smtp_password_file": Path("/nowhere")}, "cannot be read."),
        ({"smtp_host": None}, "and nobody gets them."),
    ],
)
async def test_check_says_in_words_what_is_wrong_with_the_mail(
    mailbox: MailServer, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.ca))
    told: dict[str, Any] = {
        "public_url": "https://mentoring.example.org",
        "smtp_host": "127.0.0.1",
        "smtp_port": mailbox.port,
        "smtp_user": USER,
        "smtp_password": Secret(PASSWORD),
        "mail_from": SENDER.mail_from,
    }
    finding = await _mail(Settings(**{**told, **other}))
    assert sentence in finding.sentence
    assert finding.ok == (sentence in ("answers, encrypted, and knows us.", "and nobody gets them."))
    assert mailbox.taken == []


async def test_check_refuses_a_certificate_of_nobody(mailbox: MailServer) -> None:
    import ssl

    with pytest.raises(NotTakenError, match="encrypted"):
        await ours(mailbox, context=ssl.create_default_context()).try_out()
