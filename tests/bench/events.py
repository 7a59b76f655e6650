"""Messages written straight into a room log."""

from __future__ import annotations

import uuid

from rooms import events
from rooms.events import ChatPosted
from rooms.ports import Draft, Request
from signaling.stores.redis_log import RedisRoomLog

PERSON = str(uuid.uuid4())


async def posted(log: RedisRoomLog, slug: str, number: int) -> None:
    """One of 100 bytes, as `chat.send` writes it."""
    key, text = str(uuid.uuid4()), f"{number} ".ljust(100, ".")
    draft = Draft(key, events.encode(ChatPosted(by=PERSON, key=key, text=text)))
    await log.write(slug, (draft,), request=Request(PERSON, key, "chat.send"))
