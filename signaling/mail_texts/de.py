"""German."""

from __future__ import annotations

from typing import Final

from signaling.mail_texts.texts import Letter, Texts

_ROOM: Final = "Zum Raum"
_ANSWER: Final = "Im Raum antworten"
_AGAIN: Final = "Neuen Termin finden"

DE: Final = Texts(
    language="de",
    weekdays=("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    weekdays_short=("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
    months=(
        "Januar", "Februar", "März", "April", "Mai", "Juni",
        "Juli", "August", "September", "Oktober", "November", "Dezember",
    ),
    months_short=(
        "Jan.", "Feb.", "März", "April", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez.",
    ),
    date="{weekday}, {day}. {month} {year}",
    date_short="{weekday}, {day}. {month}",
    your_time="{time} {city} (Ihre Zeit)",
    their_time="{time} {city} ({partner})",
    length="{minutes} Minuten",
    summary="Treffen mit {partner}",
    agenda="Themen",
    calendar_note="Verschieben oder absagen können Sie das Treffen in Ihrem Raum.",
    feed_name="Mentoring-Treffen",
    room="Ihr Raum, immer unter derselben Adresse: {url}",
    candidates="Vorgeschlagene Zeiten:",
    stands="Bis Sie sich einig sind, gilt der bisherige Termin:",
    reason="Grund: {reason}",
    footer="Sie erhalten diese Nachricht, weil Sie auf {site} einen gemeinsamen Raum mit {partner} haben.",
    greeting="Guten Tag {name},",
    asked=Letter(
        "{partner} bittet um ein Treffen: {short}",
        "{partner} möchte sich mit Ihnen treffen. Passt Ihnen diese Zeit?",
        _ANSWER,
    ),
    asked_own=Letter(
        "Ihre Anfrage an {partner}: {short}",
        "Ihre Anfrage ist bei {partner}. Bis zur Antwort ist die Zeit für Sie beide reserviert.",
        _ROOM,
    ),
    moved=Letter(
        "{partner} hat das Treffen verschoben: {short}",
        "{partner} hat Ihr Treffen verschoben. Das ist der neue Termin; Ihr Raum bleibt derselbe.",
        _ANSWER,
    ),
    moved_own=Letter(
        "Sie haben das Treffen mit {partner} verschoben: {short}",
        "Sie haben Ihr Treffen mit {partner} verschoben. Das ist der neue Termin; Ihr Raum bleibt derselbe.",
        _ROOM,
    ),
    agreed=Letter(
        "Neuer Termin für das Treffen mit {partner}: {short}",
        "Ihr Treffen mit {partner} hat einen neuen Termin. Ihr Raum bleibt derselbe.",
        _ROOM,
    ),
    confirmed=Letter(
        "Bestätigt: Treffen mit {partner}, {short}",
        "Ihr Treffen mit {partner} ist bestätigt.",
        _ROOM,
    ),
    cancelled=Letter(
        "Abgesagt: Treffen mit {partner}, {short}",
        "Ihr Treffen mit {partner} zu dieser Zeit wurde abgesagt."
        " Ihr Raum bleibt offen; dort finden Sie einen neuen Termin.",
        _AGAIN,
    ),
    withdrawn=Letter(
        "Abgesagt: Treffen mit {partner}, {short}",
        "Ihr Treffen mit {partner} zu dieser Zeit findet nicht statt: Ihr Raum wurde geschlossen.",
        _ROOM,
    ),
    declined=Letter(
        "{partner} kann nicht: {short}",
        "{partner} kann zu dieser Zeit nicht. Ihr Raum bleibt offen; dort finden Sie einen neuen Termin.",
        _AGAIN,
    ),
    declined_own=Letter(
        "Sie haben das Treffen mit {partner} abgelehnt: {short}",
        "Sie haben dieses Treffen mit {partner} abgelehnt. Ihr Raum bleibt offen; dort finden Sie einen neuen Termin.",
        _AGAIN,
    ),
    expired=Letter(
        "Nicht rechtzeitig beantwortet: Treffen mit {partner}, {short}",
        "Die Anfrage zu diesem Treffen mit {partner} wurde nicht rechtzeitig beantwortet, deshalb findet es nicht statt."
        " Ihr Raum bleibt offen; dort finden Sie einen neuen Termin.",
        _AGAIN,
    ),
    proposed=Letter(
        "{partner} schlägt einen anderen Termin vor",
        "{partner} schlägt für Ihr Treffen einen anderen Termin vor.",
        _ANSWER,
    ),
    proposal_declined=Letter(
        "{partner} hat Ihre Terminvorschläge abgelehnt",
        "Keiner Ihrer Vorschläge passt {partner}. Es bleibt beim bisherigen Termin:",
        _ROOM,
    ),
    proposal_expired=Letter(
        "Es bleibt beim Termin mit {partner}: {short}",
        "Die vorgeschlagenen Zeiten wurden nicht rechtzeitig beantwortet. Es bleibt beim bisherigen Termin:",
        _ROOM,
    ),
    knock=Letter(
        "{partner} wartet in Ihrem Raum auf Sie",
        "{partner} ist schon in Ihrem Raum und möchte gern beginnen.",
        _ROOM,
    ),
    reminder_24h=Letter(
        "Erinnerung: Treffen mit {partner}, {short}",
        "Eine Erinnerung an Ihr nächstes Treffen mit {partner}.",
        _ROOM,
    ),
    reminder_1h=Letter(
        "Bald: Treffen mit {partner}, {short}",
        "Ihr Treffen mit {partner} steht kurz bevor.",
        _ROOM,
    ),
    reminder_10m=Letter(
        "Gleich: Treffen mit {partner}, {short}",
        "Ihr Treffen mit {partner} beginnt gleich. Der Raum ist offen.",
        _ROOM,
    ),
    digest=Letter(
        "{partner} hat Ihnen geschrieben",
        "Während Sie weg waren, hat {partner} Ihnen in Ihrem Raum geschrieben. "
        "Eine weitere Nachricht dazu erhalten Sie erst, wenn Sie es gelesen haben.",
        _ROOM,
    ),
)  # fmt: skip
