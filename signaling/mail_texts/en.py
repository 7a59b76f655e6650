"""English."""

from __future__ import annotations

from typing import Final

from signaling.mail_texts.texts import Letter, Texts

_ROOM: Final = "Open your room"
_ANSWER: Final = "Answer in your room"
_AGAIN: Final = "Find another time"

EN: Final = Texts(
    language="en",
    weekdays=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    weekdays_short=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    months=(
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    months_short=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    date="{weekday}, {day} {month} {year}",
    date_short="{weekday} {day} {month}",
    your_time="{time} {city} (your time)",
    their_time="{time} {city} ({partner})",
    length="{minutes} minutes",
    summary="Session with {partner}",
    agenda="Agenda",
    calendar_note="To move or cancel this session, open your room.",
    feed_name="Mentoring sessions",
    room="Your room, always at the same address: {url}",
    candidates="Proposed times:",
    stands="Until you both agree, the present time stands:",
    reason="Why: {reason}",
    footer="You get this mail because you share a room with {partner} at {site}.",
    greeting="Hello {name},",
    asked=Letter(
        "{partner} asks for a session: {short}",
        "{partner} would like to meet you. Does this time suit you?",
        _ANSWER,
    ),
    asked_own=Letter(
        "You asked {partner} for a session: {short}",
        "Your request has been sent to {partner}. The time is held for both of you until there is an answer.",
        _ROOM,
    ),
    moved=Letter(
        "{partner} moved your session: {short}",
        "{partner} moved your session. This is the new time; your room stays the same.",
        _ANSWER,
    ),
    moved_own=Letter(
        "You moved your session with {partner}: {short}",
        "You moved your session with {partner}. This is the new time; your room stays the same.",
        _ROOM,
    ),
    agreed=Letter(
        "New time for your session with {partner}: {short}",
        "Your session with {partner} has a new time. Your room stays the same.",
        _ROOM,
    ),
    confirmed=Letter(
        "Confirmed: session with {partner}, {short}",
        "Your session with {partner} is confirmed.",
        _ROOM,
    ),
    cancelled=Letter(
        "Cancelled: session with {partner}, {short}",
        "Your session with {partner} at this time has been cancelled."
        " Your room stays open, and you can find another time there.",
        _AGAIN,
    ),
    withdrawn=Letter(
        "Cancelled: session with {partner}, {short}",
        "Your session with {partner} at this time does not take place: your room has been closed.",
        _ROOM,
    ),
    declined=Letter(
        "{partner} declined the session: {short}",
        "{partner} cannot come at this time. Your room stays open, and you can find another time there.",
        _AGAIN,
    ),
    declined_own=Letter(
        "You declined the session with {partner}: {short}",
        "You declined this session with {partner}. Your room stays open, and you can find another time there.",
        _AGAIN,
    ),
    expired=Letter(
        "Not answered in time: session with {partner}, {short}",
        "The request for this session with {partner} was not answered in time, so it does not take place."
        " Your room stays open, and you can find another time there.",
        _AGAIN,
    ),
    proposed=Letter(
        "{partner} proposes another time",
        "{partner} proposes another time for your session.",
        _ANSWER,
    ),
    proposal_declined=Letter(
        "{partner} declined the times that you proposed",
        "None of the times that you proposed suits {partner}. The session stays where it is:",
        _ROOM,
    ),
    proposal_expired=Letter(
        "The session with {partner} stays at its time: {short}",
        "The other times that were proposed have not been answered in time. The session stays where it is:",
        _ROOM,
    ),
    knock=Letter(
        "{partner} is waiting for you in your room",
        "{partner} is in your room already and would like to begin.",
        _ROOM,
    ),
    reminder_24h=Letter(
        "Reminder: session with {partner}, {short}",
        "A reminder of your next session with {partner}.",
        _ROOM,
    ),
    reminder_1h=Letter(
        "Soon: session with {partner}, {short}",
        "Your session with {partner} is coming up.",
        _ROOM,
    ),
    reminder_10m=Letter(
        "Starting now: session with {partner}, {short}",
        "Your session with {partner} is about to start. The door is open.",
        _ROOM,
    ),
    digest=Letter(
        "{partner} wrote to you",
        "While you were away, {partner} wrote to you in your room."
        " You will get no other mail about it until you have read it.",
        _ROOM,
    ),
)  # fmt: skip
