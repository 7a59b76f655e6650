"""Two people and a session of theirs, as values."""

from __future__ import annotations

from typing import Any, Final

from rooms.session import Session
from rooms.zones import Moment, moment
from signaling.calendar import Shown, organizer_address
from signaling.stores.people import Person

ANN: Final = Person("ann", "ann@example.org", "Ann Walker", "Europe/London", "en")
ASHA: Final = Person("asha", "asha@example.org", "Asha Sharma", "Asia/Kolkata", "hi")

ROOM_URL: Final = "https://mentoring.example.org/r/abcdefghijklmnopqrstuvwxyz"
SENDER: Final = "Mentoring <mentoring@example.org>"
SECRET: Final = "5ec2e7" * 5


def appointment(when: Moment | None = None, **fields: Any) -> Session:
    """Confirmed, of Ann and Asha, on 1 December 2026 at 15:00 in London unless said otherwise."""
    at = when or moment("2026-12-01T15:00", "Europe/London")
    told: dict[str, Any] = {
        "id": "5e55",
        "uid": "5e55@mentoring.example.org",
        "room": ROOM_URL[-26:],
        "state": "confirmed",
        "wall": at.wall,
        "tz": at.tz,
        "fold": at.fold,
        "start": at.start,
        "minutes": 60,
        "seq": 0,
        "rev": 1,
        "by": ANN.id,
        "agenda": "",
        "proposals": (),
        "answers": {ANN.id: "accepted", ASHA.id: "accepted"},
    }
    return Session(**{**told, **fields})


def shown(session: Session, reader: Person = ANN, partner: Person = ASHA, *, closed: bool = False) -> Shown:
    """A session as one of the two is shown it."""
    return Shown(
        reader=reader,
        partner=partner,
        room_url=ROOM_URL,
        closed=closed,
        session=session,
        organizer=organizer_address(SENDER, SECRET),
    )
