"""The people of a test, as `telementor pair add --json` hands them out."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import Any

_numbers = itertools.count(1)


def fresh_email(role: str) -> str:
    """An address that no other test uses."""
    return f"{role}.{os.getpid()}.{next(_numbers)}@example.org"


@dataclass(frozen=True)
class Person:
    """One end of a pair: who it is, an access token for scripts, a link for a browser."""

    name: str
    email: str
    person: str
    token: str = field(repr=False)
    link: str = field(repr=False)


@dataclass(frozen=True)
class Pair:
    """A mentor, a mentee and their one permanent room."""

    room: str
    url: str
    mentor: Person
    mentee: Person

    @classmethod
    def read(cls, answer: dict[str, Any], mentor: tuple[str, str], mentee: tuple[str, str]) -> Pair:
        """Strictly what the contract lists for `pair add --json`."""
        one, other = answer["mentor"], answer["mentee"]
        return cls(
            room=answer["room"],
            url=answer["url"],
            mentor=Person(*mentor, person=one["person"], token=one["token"], link=one["link"]),
            mentee=Person(*mentee, person=other["person"], token=other["token"], link=other["link"]),
        )
