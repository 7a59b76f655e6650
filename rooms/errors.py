"""Every way in which telementor refuses, in one tree.

    RoomError
    ├── Invalid            the request is malformed                      (never retry as it is)
    ├── TooLarge           a value is over its bound                     (never retry as it is)
    ├── Unsupported        nobody here knows this request                (never)
    ├── Unauthenticated    who are you?                                  (after logging in)
    ├── Forbidden          you may not do this to that thing             (never)
    ├── NotFound           not there, or not yours to see                (never)
    ├── Gone               was there, is over                            (never)
    ├── Conflict           another state than you think; see `current`   (after reading it)
    ├── PeerAway           the other device is not connected now         (when its peer is "here")
    ├── Limited            over a rate; see `retry_ms`                   (after it)
    └── Unavailable        the store is away; see `retry_ms`             (after it, with the same key)

The code is stable (rule T5), the message is one plain sentence for a person. `signaling.answers` is the one place
that maps an error to the wire.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Code = Literal[
    "invalid",
    "too_large",
    "unsupported",
    "unauthenticated",
    "forbidden",
    "not_found",
    "gone",
    "conflict",
    "peer_away",
    "limited",
    "unavailable",
]


class RoomError(Exception):
    """The request is refused and nothing was changed."""

    code: ClassVar[Code]
    sentence: ClassVar[str]

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        retry_ms: int | None = None,
        current: object = None,
    ) -> None:
        self.message = message or self.sentence
        self.field = field
        self.retry_ms = retry_ms
        self.current = current
        super().__init__(self.message)


class Invalid(RoomError):
    code = "invalid"
    sentence = "This request is not understood."


class TooLarge(RoomError):
    code = "too_large"
    sentence = "This is larger than allowed."


class Unsupported(RoomError):
    code = "unsupported"
    sentence = "This server does not know that request."


class Unauthenticated(RoomError):
    code = "unauthenticated"
    sentence = "Please log in: open your personal link."


class Forbidden(RoomError):
    code = "forbidden"
    sentence = "You may not do that."


class NotFound(RoomError):
    code = "not_found"
    sentence = "There is nothing here that you could see."


class Gone(RoomError):
    code = "gone"
    sentence = "That is over."


class Conflict(RoomError):
    code = "conflict"
    sentence = "Things have changed in the meantime."


class PeerAway(RoomError):
    code = "peer_away"
    sentence = "The other side is not connected at this moment."


class Limited(RoomError):
    code = "limited"
    sentence = "That was too much at once; please wait a moment."


class Unavailable(RoomError):
    code = "unavailable"
    sentence = "The server cannot reach its store at this moment; please try again."
