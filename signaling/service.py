"""The one path from a request to its effect: checked, and handed to the one method that its verb is. What changes the log is
written at once (`verbs/chat.py`); what changes the room's live value is a step (`live_steps.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rooms import bounds
from rooms import commands as c
from rooms.bounds import Limits
from signaling.connection import Connection
from signaling.verbs.call import CallVerbs
from signaling.verbs.chat import ChatVerbs
from signaling.verbs.reply import Answer
from signaling.verbs.room import RoomVerbs
from signaling.verbs.session import SessionVerbs


class Service:
    """Every verb of the contract is one row here."""

    def __init__(
        self, limits: Limits, room: RoomVerbs, chat: ChatVerbs, call: CallVerbs, session: SessionVerbs
    ) -> None:
        self._limits = limits
        self._verbs: Mapping[type[c.Strict], Callable[[Connection, Any], Answer]] = {
            c.RoomJoin: room.join,
            c.RoomLeave: room.leave,
            c.LogPage: room.page,
            c.ChatSend: chat.send,
            c.ChatEdit: chat.edit,
            c.ChatDelete: chat.delete,
            c.ChatReact: chat.react,
            c.ChatTyping: chat.typing,
            c.ChatRead: chat.read,
            c.CallJoin: call.join,
            c.CallLeave: call.leave,
            c.CallDecline: call.decline,
            c.CallMedia: call.media,
            c.CallSignal: call.signal,
            c.Ice: call.ice,
            c.Echo: call.echo,
            c.SessionBook: session.book,
            c.SessionMove: session.change,
            c.SessionPropose: session.change,
            c.SessionAnswer: session.change,
            c.SessionCancel: session.change,
            c.SessionExtend: session.change,
            c.SessionAgenda: session.change,
            c.SessionEnd: session.change,
            c.SessionKnock: session.knock,
        }

    def handle(self, connection: Connection, command: c.Command) -> Answer:
        """What needs to wait for nothing is answered at once. Raises a `RoomError`, at once or when it is awaited; then
        nothing has been changed."""
        bounds.check(command, self._limits)
        return self._verbs[type(command)](connection, command)
