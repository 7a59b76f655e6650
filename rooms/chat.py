"""What people say: deciding on a message, its edits, its deletion and its reactions (rules L8, L9)."""

from __future__ import annotations

from rooms.commands import ChatDelete, ChatEdit, ChatReact, ChatSend
from rooms.errors import Forbidden, Gone, NotFound
from rooms.events import ChatDeleted, ChatEdited, ChatPosted, ChatReacted, Event, Posted
from rooms.ids import event_at
from rooms.log import Entry


def send(person: str, command: ChatSend) -> ChatPosted:
    return ChatPosted(by=person, key=command.key, text=command.text, reply_to=command.reply_to)


def edit(person: str, command: ChatEdit, newest: Entry | None, event: Event | None) -> ChatEdited:
    """`newest` is the entry that holds the message now, `event` its content. Raises as `_message` does, and `Forbidden`."""
    posted = _own(person, _message(command.id, newest, event))
    return ChatEdited(by=person, key=command.key, ref=command.id, text=command.text, posted=posted)


def delete(person: str, command: ChatDelete, newest: Entry | None, event: Event | None) -> ChatDeleted:
    _own(person, _message(command.id, newest, event))
    return ChatDeleted(by=person, key=command.key, ref=command.id)


def react(person: str, command: ChatReact, newest: Entry | None, event: Event | None) -> ChatReacted:
    _message(command.id, newest, event)
    return ChatReacted(by=person, key=command.key, ref=command.id, emoji=command.emoji, on=command.on)


def _message(ref: str, newest: Entry | None, event: Event | None) -> Posted:
    """Where the message at `ref` came from. Raises `NotFound` where no message ever was, `Gone` for a deleted one."""
    if newest is not None and isinstance(event, ChatDeleted) and event.ref == ref:
        raise Gone("This message has been deleted.", field="id")
    if newest is not None and isinstance(event, ChatPosted) and newest.id == ref:
        return Posted(at=event_at(ref), by=event.by, reply_to=event.reply_to)
    if isinstance(event, ChatEdited) and event.ref == ref:
        return event.posted
    raise NotFound("There is no such message.", field="id")


def _own(person: str, posted: Posted) -> Posted:
    if posted.by != person:
        raise Forbidden("Only the author of a message can change it.", field="id")
    return posted
