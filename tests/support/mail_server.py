"""A receiving mail server (aiosmtpd) with STARTTLS and a log-in, which can be told to refuse, hang, hang up and be away."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.turn_server import certificate

USER, PASSWORD = "mentoring", "correct horse"


@dataclass
class Received:
    """One mail that was taken: the envelope, the bytes, and whether they came encrypted and from whom."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        parsed = BytesParser(policy=default).parsebytes(self.content)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailServer:
    """`on_recipient` and `on_data` answer instead of "250 OK" (None: they do not); `on_data` is asked when the mail is there
    whole, and it was taken if the answer begins with 250."""

    context: ssl.SSLContext
    client_context: ssl.SSLContext
    ca: Path
    taken: list[Received] = field(default_factory=list)
    connections: int = 0
    on_recipient: Callable[[str], str | None] = lambda _: None
    on_data: Callable[[Received], str | None] = lambda _: None
    hang_up_after_data: bool = False
    silent: bool = False
    port: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """At the same port each time."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()

    def _protocol(self) -> SMTP:
        self.connections += 1
        return SMTP(
            self,
            tls_context=self.context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
            hostname="mail.test",
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(self, server: Any, session: Any, envelope: Any, how: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False, auth_data=USER)

    # What aiosmtpd asks of a handler

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if self.silent:
            await asyncio.Event().wait()
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (answer := self.on_recipient(address)) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = Received(
            str(envelope.mail_from),
            list(envelope.rcpt_tos),
            content,
            session.ssl is not None,
            session.auth_data,
        )
        answer = self.on_data(mail) or "250 OK"
        if answer.startswith("250"):
            self.taken.append(mail)
        if self.hang_up_after_data:
            assert server.transport
            server.transport.abort()  # type: ignore[attr-defined]
        return answer


@asynccontextmanager
async def mail_server(folder: Path) -> AsyncIterator[MailServer]:
    """Running, on a free port of this machine."""
    chain, key = certificate(folder, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = MailServer(context, ssl.create_default_context(cafile=chain), chain)
    await server.start()
    yield server
    await server.stop()
