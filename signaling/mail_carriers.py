"""Who takes a finished mail: a mail server (SMTP, RFC 5321), or a folder where there is none.

Errors: NotTakenError
    It was not taken, or that is not known; it may be offered again, with the same Message-ID.
      └── RefusedError  it never will be (5xx for this recipient or this mail)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from signaling.mail import Sender
from signaling.settings import Settings, SettingsError
from signaling.whole_file import whole_file

STEP_S: Final = 20.0
"""For one answer of the mail server."""

WHOLE_S: Final = 60.0
"""For one mail, from the connection to the answer behind its last line. A server that takes longer gets it again."""

NO_HOST: Final = "telementor.invalid"
"""Where nobody is (RFC 2606 §2): the sender's host while `public_url` is not set."""

KEPT_FILES: Final = 1_000
"""Mails in the folder; older ones are removed."""

_ASK_AGAIN: Final = frozenset({530, 534, 535, 538})
"""5xx that are about our log-in (RFC 4954 §6), which an operator puts right: no fault of the recipient."""


class NotTakenError(Exception):
    """The text says why, for an operator, and holds nobody's address."""


class RefusedError(NotTakenError):
    """Offering it again would change nothing."""


class Carrier(Protocol):
    """Takes one mail, at least once: after an error it may have been taken all the same."""

    async def carry(self, recipient: str, content: bytes, name: str) -> None:
        """`name` is fit for a file, and the same for the same mail. Raises `NotTakenError`."""
        ...


class MailFolder:
    """Mails as files (0600), to be looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def carry(self, recipient: str, content: bytes, name: str) -> None:
        try:
            await asyncio.to_thread(self._write, content, name)
        except OSError as error:
            raise NotTakenError(f"The mail cannot be written: {error.strerror}.") from None

    def empty(self) -> None:
        """Removes them all. Raises OSError."""
        for file in self._path.glob("*.eml"):
            file.unlink(missing_ok=True)

    def _write(self, content: bytes, name: str) -> None:
        self._path.mkdir(mode=0o700, exist_ok=True)
        with whole_file(self._path / f"{name}.eml") as file:
            file.write(content)
        for old in sorted(self._path.glob("*.eml"))[:-KEPT_FILES]:
            old.unlink(missing_ok=True)


class MailServer:
    """One connection for each mail, so that one that stalls holds up no other. `context` is what certificates are checked
    with; None: the system's."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: str,
        user: str | None,
        password: str | None,
        sender: str,
        ehlo: str,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._security = security
        self._user = user
        self._password = password
        self._sender = sender
        self._ehlo = ehlo
        self._context = context or ssl.create_default_context()

    async def carry(self, recipient: str, content: bytes, name: str) -> None:
        try:
            async with asyncio.timeout(WHOLE_S), self._connected() as client:
                await client.sendmail(self._sender, [recipient], content)
        except SMTPRecipientsRefused as error:
            raise _refusal(error.recipients[0].code) from None
        except SMTPDataError as error:
            raise _refusal(error.code) from None
        except (SMTPException, OSError) as error:
            raise NotTakenError(_why(error)) from None

    async def try_out(self) -> None:
        """Connects, encrypts, logs in, and sends nothing. Raises `NotTakenError`."""
        try:
            async with asyncio.timeout(STEP_S), self._connected():
                pass
        except (SMTPException, OSError) as error:
            raise NotTakenError(_why(error)) from None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[SMTP]:
        client = SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            local_hostname=self._ehlo,
            timeout=STEP_S,
            use_tls=self._security == "tls",
            start_tls=self._security == "starttls",
            tls_context=None if self._security == "none" else self._context,
        )
        try:
            await client.connect()
            yield client
            with contextlib.suppress(SMTPException, OSError):  # it has been taken by then
                await client.quit()
        finally:
            client.close()


def mail_sender(settings: Settings, public_url: str) -> Sender:
    """Who writes the mails. Without `mail_from`, an address that says from which installation they are."""
    host = urlsplit(public_url).hostname or ""
    if not host.replace(".", "").replace("-", "").isalnum() or host.replace(".", "").isdigit():
        host = NO_HOST
    return Sender(settings.mail_from or f"telementor@{host}", public_url)


def carrier(settings: Settings, sender: Sender) -> Carrier:
    """As the settings say. Raises SettingsError for a password file that cannot be read."""
    if settings.smtp_host is None:
        return MailFolder(settings.data / "mail")
    return mail_server(settings, sender)


def mail_server(settings: Settings, sender: Sender, context: ssl.SSLContext | None = None) -> MailServer:
    """The one that the settings name. Raises SettingsError for a password file that cannot be read."""
    password = settings.smtp_password.reveal() if settings.smtp_password else None
    if settings.smtp_password_file is not None:
        try:
            password = settings.smtp_password_file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise SettingsError(
                f"smtp_password_file ({settings.smtp_password_file}) cannot be read."
            ) from None
    return MailServer(
        host=settings.smtp_host or "",
        port=settings.smtp_port,
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=password,
        sender=sender.address,
        ehlo=urlsplit(sender.public_url).hostname or "localhost",
        context=context,
    )


def _refusal(code: int) -> NotTakenError:
    permanent = 500 <= code < 600 and code not in _ASK_AGAIN
    return (RefusedError if permanent else NotTakenError)(f"The mail server answers {code}.")


def _why(error: Exception) -> str:
    """What a mail server writes may quote an address: only its number is told."""
    match error:
        case SMTPAuthenticationError():
            return f"The mail server refuses smtp_user and its password ({error.code})."
        case SMTPResponseException():
            return f"The mail server answers {error.code}."
        case TimeoutError():
            return "The mail server does not answer in time."
        case ssl.SSLError():
            return f"The mail server cannot be spoken to encrypted ({error.reason})."
        case SMTPConnectError() if isinstance(error.__cause__, ssl.SSLError):
            return f"The mail server cannot be spoken to encrypted ({error.__cause__.reason})."
        case SMTPConnectError() | OSError():
            return "The mail server cannot be reached, or hangs up."
    return f"The mail server does not do what is needed ({type(error).__name__})."
