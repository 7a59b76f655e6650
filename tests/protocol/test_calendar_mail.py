"""From a booking over the API to the mail, through a whole server; and the commands that tell of mails (S5)."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from pathlib import Path

import aiohttp
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import new_key
from tests.support.condition import until
from tests.support.mail_server import PASSWORD, USER, mail_server
from tests.support.server import Server


async def book(server: Server, room: str, token: str) -> None:
    told = {"key": new_key(), "wall": "2027-11-02T15:00", "tz": "Europe/London", "minutes": 60}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.post(f"{server.url}/api/rooms/{room}/sessions", json=told) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def test_S5_a_booking_is_mailed_as_files_where_there_is_no_mail_server(own_server: OpenServer) -> None:
    server = await own_server()
    pair = await server.pair()
    await book(server, pair.room, pair.mentee.token)
    folder = server.data / "mail"
    await until(lambda: folder.is_dir() and len(list(folder.glob("*.eml"))) == 2, "two mails")
    for file in folder.glob("*.eml"):
        mail = message_from_bytes(file.read_bytes(), policy=default)
        plain = mail.get_body(("plain",))
        assert plain
        assert f"{server.url}/r/{pair.room}" in plain.get_content()
        assert mail["From"].addresses[0].domain == "telementor.invalid"


async def test_S5_a_booking_is_mailed_and_what_was_refused_is_listed_and_tried_again(
    own_server: OpenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server(tmp_path) as mailbox:
        mailbox.on_recipient = lambda _: "550 nobody here"
        monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.ca))
        server = await own_server(
            SMTP_HOST="127.0.0.1",
            SMTP_PORT=mailbox.port,
            SMTP_USER=USER,
            SMTP_PASSWORD=PASSWORD,
            MAIL_FROM="Mentoring <mentoring@example.org>",
        )
        pair = await server.pair()
        await book(server, pair.room, pair.mentee.token)

        async def dead() -> list[str]:
            return (await server.command("mail", "dead")).split()

        async def both() -> list[str]:
            listed = await dead()
            return listed if listed.count("request") == 2 else []

        listed = await until(both, "the list of what was given up", timeout_s=20)
        assert pair.mentee.person in listed
        assert not any("@" in word for word in listed), "nobody's address is shown"
        mailbox.on_recipient = lambda _: None
        assert await server.command("mail", "dead", "--retry") == "Tried again: 2."
        await until(lambda: len(mailbox.taken) == 2, "both mails")
        assert await dead() == []
        assert not any(mail.recipients[0] in server.log for mail in mailbox.taken), "no address in the log"
