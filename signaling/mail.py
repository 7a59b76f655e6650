"""What a mail says and how it is built (RFC 5322, RFC 2046, RFC 6047). Pure; `post` sends it.

A calendar mail is `mixed(alternative(plain, html, text/calendar; method=X), invite.ics)`, X being the METHOD in the body:
Outlook refuses another one. Every link leads to the room and does nothing by being opened (S7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from rooms.session import Proposal
from signaling.calendar import Method, Shown, Side, one_line, session_ics
from signaling.mail_texts.both_times import short
from signaling.mail_texts.texts import Letter
from signaling.stores.notices import Kind

METHODS: Final[dict[Kind, Method]] = {"request": "REQUEST", "confirmed": "REQUEST", "cancel": "CANCEL"}
"""Kinds that carry a calendar object."""

_POLICY: Final = SMTP.clone(cte_type="7bit")
"""Not every mail server takes 8 bit (RFC 6152)."""

_HTML: Final = """<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>
<body style="{style}">
{paragraphs}
{way}<hr>
<p><small>{footer}</small></p>
</body>
</html>
"""
"""No pictures, nothing from elsewhere, no script."""

_WAY: Final = """<p><a href="{url}" style="{style}">{button}</a></p>
<p><small>{url}</small></p>
"""

_STYLE: Final = "font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:1em auto;padding:0 1em"
_BUTTON: Final = "display:inline-block;padding:.6em 1.2em;border-radius:.4em;background:#14532d;color:#fff"


class AddressError(Exception):
    """Nothing can be sent to this address, now or later."""


class Sender(Struct, frozen=True):
    """Who writes. `mail_from` is an address, also as `Name <address>`; `public_url` that of the installation."""

    mail_from: str
    public_url: str

    @property
    def address(self) -> str:
        return parseaddr(self.mail_from)[1]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def site(self) -> str:
        return urlsplit(self.public_url).netloc

    @property
    def name(self) -> str:
        return parseaddr(self.mail_from)[0] or "Telementor"


def message_id(sender: Sender, *identity: str | int) -> str:
    """The same for the same notice, however often and from wherever it is sent, so that a repeat can be told (S5)."""
    name = hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()[:40]
    return f"<{name}@{sender.domain}>"


class Mail(Struct, frozen=True):
    """Finished: whom it is handed over for (RFC 5321 RCPT), and all of its bytes."""

    recipient: str
    content: bytes


def session_mail(
    kind: Kind, shown: Shown, sender: Sender, message_id: str, now_ms: int, proposal: Proposal | None = None
) -> Mail:
    """A mail about a session. `proposal` is what a mail of kind `proposed` is about. Raises `AddressError`."""
    session, texts = shown.session, shown.texts
    time = f"{shown.when(session.start)}, {texts.length.format(minutes=session.minutes)}"
    main, paragraphs = time, []
    if proposal is not None:
        times = [f"{n}. {shown.when(moment.start)}" for n, moment in enumerate(proposal.times, 1)]
        main = "\n".join((texts.candidates, *times, texts.length.format(minutes=proposal.minutes)))
        if proposal.reason.strip():
            paragraphs.append(texts.reason.format(reason=proposal.reason.strip()))
        paragraphs.append(f"{texts.stands}\n{time}")
    if session.agenda.strip() and kind != "cancel":
        paragraphs.append(f"{texts.agenda}:\n{session.agenda.strip()}")
    letter = _letter(kind, shown)
    words = _words(shown, sender, session.start)
    body = _body(letter, shown, words, main, paragraphs)
    if method := METHODS.get(kind):
        _invite(body, session_ics(shown, method, now_ms), method)
    return _posted(letter, shown, words, body, sender, shown.organizer, message_id, now_ms)


def digest_mail(side: Side, sender: Sender, message_id: str, now_ms: int) -> Mail:
    """Somebody wrote to the reader; nothing of what they wrote is in it. Raises `AddressError`."""
    letter, words = side.texts.digest, _words(side, sender, 0)
    body = _body(letter, side, words, "", [])
    return _posted(letter, side, words, body, sender, sender.address, message_id, now_ms)


# ----------------------------------------------------------------------------------------------------- words


def _letter(kind: Kind, shown: Shown) -> Letter:
    """Which words, from what the session is now and who of the two reads."""
    texts, session, reader = shown.texts, shown.session, shown.reader.id
    mine, theirs = session.answers.get(reader), session.answers.get(shown.partner.id)
    match kind:
        case "request" if session.state == "requested":
            return texts.asked_own if session.by == reader else texts.asked
        case "request" if mine == theirs:
            return texts.agreed
        case "request":
            return texts.moved if mine == "needs_action" else texts.moved_own
        case "cancel" if session.state == "expired":
            return texts.expired
        case "cancel" if session.state == "declined":
            return texts.declined_own if mine == "declined" else texts.declined
        case "cancel":
            return texts.withdrawn if shown.closed else texts.cancelled
    letter: Letter = getattr(texts, kind)
    return letter


def _words(side: Side, sender: Sender, start_ms: int) -> dict[str, str]:
    """What is filled into the texts."""
    return {
        "partner": one_line(side.partner.name),
        "name": one_line(side.reader.name),
        "site": sender.site,
        "short": short(side.texts, start_ms, side.reader.tz),
    }


def _body(
    letter: Letter, side: Side, words: dict[str, str], main: str, paragraphs: Sequence[str]
) -> EmailMessage:
    """Plain text and HTML. `main` is what the mail is about."""
    texts = side.texts
    before = [texts.greeting.format(**words), letter.opening.format(**words)]
    after = [_clean(paragraph) for paragraph in paragraphs]
    footer = texts.footer.format(**words)
    text = [*before, *filter(None, [main]), *after, *_way(letter, side), f"-- \n{footer}"]
    html = _HTML.format(
        language=texts.language,
        style=_STYLE,
        paragraphs="\n".join(
            [
                *map(_paragraph, before),
                *(f"<p><strong>{_marked(part)}</strong></p>" for part in filter(None, [main])),
                *map(_paragraph, after),
            ]
        ),
        way=""
        if side.closed
        else _WAY.format(style=_BUTTON, button=escape(letter.button), url=escape(side.room_url)),
        footer=escape(footer),
    )
    body = EmailMessage(policy=_POLICY)
    body.set_content("\n\n".join(text) + "\n")
    body.add_alternative(html, subtype="html")
    return body


def _way(letter: Letter, side: Side) -> list[str]:
    return [] if side.closed else [f"{letter.button}: {side.room_url}"]


def _clean(text: str) -> str:
    return "\n".join(one_line(line) for line in text.splitlines())


def _marked(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _paragraph(text: str) -> str:
    return f"<p>{_marked(text)}</p>"


def _invite(body: EmailMessage, ics: bytes, method: Method) -> None:
    """As one of the alternatives, which calendars in mail programs read, and as a file for all others."""
    body.add_alternative(ics.decode(), subtype="calendar", params={"method": method}, cte="base64")
    body.add_attachment(ics, maintype="application", subtype="ics", filename="invite.ics")


# ------------------------------------------------------------------------------------------------------ head


def _posted(
    letter: Letter,
    side: Side,
    words: dict[str, str],
    body: EmailMessage,
    sender: Sender,
    reply_to: str,
    message_id: str,
    now_ms: int,
) -> Mail:
    """With its head. That is written here and not by `EmailMessage`, which loses spaces between encoded words (RFC 2047)."""
    recipient = _recipient(side.reader.email)
    head = (
        _mailbox("From", sender.name, sender.address),
        _mailbox("To", one_line(side.reader.name), recipient),
        _mailbox("Reply-To", sender.name, reply_to),
        _field("Subject", letter.subject.format(**words)),
        _field("Date", format_datetime(datetime.fromtimestamp(now_ms // 1000, UTC))),
        _field("Message-ID", message_id),
        _field("Auto-Submitted", "auto-generated"),  # RFC 3834 §5
        _field("Content-Language", side.texts.language),
    )
    return Mail(recipient, "".join(head).encode("ascii") + body.as_bytes())


def _recipient(email: str) -> str:
    """Raises `AddressError`. A host in other letters is written as in the DNS (RFC 5891); a name in other letters (RFC 6531)
    is taken by too few mail servers."""
    local, _, host = email.rpartition("@")
    try:
        address = Address(addr_spec=f"{local}@{host.encode('idna').decode('ascii')}")
    except (ValueError, IndexError, MessageError):
        raise AddressError("Nothing can be sent to this address.") from None
    return address.addr_spec


def _mailbox(field: str, name: str, address: str) -> str:
    if name.isascii():
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{field}: "{quoted}"\r\n <{address}>\r\n'
    return f"{_field(field, name)[:-2]}\r\n <{address}>\r\n"


def _field(field: str, text: str) -> str:
    """One line of ours, folded."""
    charset = "us-ascii" if text.isascii() else "utf-8"
    return f"{field}: {Header(text, charset, header_name=field).encode(linesep=chr(13) + chr(10))}\r\n"
