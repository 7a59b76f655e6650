"""What a mail says and how it is built (RFC 5322, RFC 2046, RFC 6047). Pure; `post` sends it.

A calendar mail is `mixed(alternative(plain, html, text/calendar; method=X), invite.ics)`, X being the METHOD in the body:
Outlook refuses another one. Every link leads to the room and does nothing by being opened (S7).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
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
from signaling.mail_texts.texts import Letter, Texts
from signaling.stores.notices import Kind

METHODS: Final[dict[Kind, Method]] = {"request": "REQUEST", "confirmed": "REQUEST", "cancel": "CANCEL"}
"""Kinds that carry a calendar object."""

_POLICY: Final = SMTP.clone(cte_type="7bit")
"""Not every mail server takes 8 bit (RFC 6152)."""

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
    def header(self) -> Address:
        return Address(parseaddr(self.mail_from)[0] or "Telementor", addr_spec=self.address)


def message_id(sender: Sender, *identity: str | int) -> str:
    """The same for the same notice, however often and from wherever it is sent, so that a repeat can be told (S5)."""
    name = hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()[:40]
    return f"<{name}@{sender.domain}>"


def session_mail(
    kind: Kind, shown: Shown, sender: Sender, message_id: str, now_ms: int, proposal: Proposal | None = None
) -> bytes:
    """A mail about a session. `proposal` is what a mail of kind `proposed` is about. Raises `AddressError`."""
    session, texts = shown.session, shown.texts
    paragraphs = [_time_line(shown)]
    if proposal is not None:
        times = [f"{n}. {shown.when(time.start)}" for n, time in enumerate(proposal.times, 1)]
        length = texts.length.format(minutes=proposal.minutes)
        paragraphs = ["\n".join((texts.candidates, *times, length))]
        if proposal.reason.strip():
            paragraphs.append(texts.reason.format(reason=one_line(proposal.reason)))
        paragraphs.append(f"{texts.stands}\n{_time_line(shown)}")
    if session.agenda.strip() and kind != "cancel":
        paragraphs.append(f"{texts.agenda}:\n{session.agenda.strip()}")
    message = _written(_letter(kind, shown), shown, paragraphs, sender, message_id, now_ms, session.start)
    message["Reply-To"] = Address(message["From"].addresses[0].display_name, addr_spec=shown.organizer)
    if method := METHODS.get(kind):
        _invite(message, session_ics(shown, method, now_ms), method)
    return message.as_bytes()


def digest_mail(side: Side, sender: Sender, message_id: str, now_ms: int) -> bytes:
    """Somebody wrote to the reader; nothing of what they wrote is in it. Raises `AddressError`."""
    message = _written(side.texts.digest, side, [], sender, message_id, now_ms)
    message["Reply-To"] = message["From"]
    return message.as_bytes()


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
            return texts.cancelled
    letter: Letter = getattr(texts, kind)
    return letter


def _time_line(shown: Shown) -> str:
    return f"{shown.when(shown.session.start)}, {shown.texts.length.format(minutes=shown.session.minutes)}"


def _written(
    letter: Letter,
    side: Side,
    paragraphs: list[str],
    sender: Sender,
    message_id: str,
    now_ms: int,
    start_ms: int = 0,
) -> EmailMessage:
    """Head, plain text and HTML."""
    texts = side.texts
    filled = {
        "partner": one_line(side.partner.name),
        "name": one_line(side.reader.name),
        "site": sender.site,
        "short": short(texts, start_ms, side.reader.tz),
    }
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender.header
    message["To"] = _recipient(side)
    message["Subject"] = letter.subject.format(**filled)
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms // 1000, UTC))
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5
    message["Content-Language"] = texts.language
    body = [texts.greeting.format(**filled), letter.opening.format(**filled), *map(_clean, paragraphs)]
    footer = texts.footer.format(**filled)
    message.set_content(_plain(body, letter.button, side.room_url, footer))
    message.add_alternative(_html(texts, body, letter.button, side.room_url, footer), subtype="html")
    return message


def _recipient(side: Side) -> Address:
    """Raises `AddressError`. A host in other letters is written as in the DNS (RFC 5891)."""
    local, _, host = side.reader.email.rpartition("@")
    try:
        return Address(one_line(side.reader.name), local, host.encode("idna").decode("ascii"))
    except (ValueError, IndexError):
        raise AddressError("Nothing can be sent to this address.") from None


def _clean(text: str) -> str:
    return "\n".join(one_line(line) for line in text.splitlines())


def _plain(body: list[str], button: str, url: str, footer: str) -> str:
    return "\n\n".join([*body, f"{button}: {url}", f"-- \n{footer}"]) + "\n"


def _html(texts: Texts, body: list[str], button: str, url: str, footer: str) -> str:
    """No pictures, nothing from elsewhere, no script."""
    paragraphs = "\n".join(f"<p>{escape(text).replace(chr(10), '<br>')}</p>" for text in body)
    link = escape(url)
    return (
        f'<!doctype html>\n<html lang="{texts.language}">\n<head><meta charset="utf-8">'
        f'<meta name="color-scheme" content="light dark"></head>\n<body style="{_STYLE}">\n{paragraphs}\n'
        f'<p><a href="{link}" style="{_BUTTON}">{escape(button)}</a></p>\n<p><small>{link}</small></p>\n'
        f"<hr>\n<p><small>{escape(footer)}</small></p>\n</body>\n</html>\n"
    )


def _invite(message: EmailMessage, ics: bytes, method: Method) -> None:
    """As one of the alternatives, which calendars in mail programs read, and as a file for all others."""
    text = ics.decode("utf-8")
    message.add_alternative(text, subtype="calendar", params={"method": method}, cte="base64")
    message.add_attachment(ics, maintype="application", subtype="ics", filename="invite.ics")
