"""`call.*`, and what goes before a call: `ice`, and the `echo` of the network check. The steps of a call are decided by
`rooms/call.py`; a signal is handed on and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import asdict

from media.echo import LIMIT_S, BadOfferError, EchoPeers, TooManyError
from rooms import call as calls
from rooms import commands as c
from rooms import pushes as p
from rooms.call import CallRules
from rooms.errors import Conflict, Gone, Invalid, Limited, NotFound, PeerAway, Unavailable
from rooms.live import Live, Peer
from signaling.connection import Connection
from signaling.hub import Hub
from signaling.leaves import Leaves
from signaling.live_steps import LiveSteps
from signaling.nodes import Nodes
from signaling.packets import event, pack
from signaling.stores.registry import Registry, node_channel
from signaling.verbs.reply import DONE, Reply
from signaling.verbs.seats import Seats

ECHO_BUSY = "Too many network checks run at the moment. You can still enter the room."
ECHO_FAILED = "The network check could not be set up. You can still enter the room."
ECHO_RETRY_MS = 5_000


class CallVerbs:
    """All of them raise as `Seats.of`; those that change the call as `LiveSteps.commit`, too. `ice` makes a person's ICE
    configuration under the policy of their programme."""

    def __init__(
        self,
        *,
        seats: Seats,
        hub: Hub,
        steps: LiveSteps,
        leaves: Leaves,
        nodes: Nodes,
        registry: Registry,
        echoes: EchoPeers,
        ice: Callable[[str, p.Policy | None], p.IceShown],
        rules: CallRules,
        new_id: Callable[[], str],
    ) -> None:
        self._seats = seats
        self._hub = hub
        self._steps = steps
        self._leaves = leaves
        self._nodes = nodes
        self._registry = registry
        self._echoes = echoes
        self._ice = ice
        self._rules = rules
        self._new_id = new_id

    async def join(self, connection: Connection, command: c.CallJoin) -> Reply:
        resident, seat = await self._seats.of(connection, command.room)
        here, new_call = self._seats.here(resident.record, seat), self._new_id()
        live = await self._steps.commit(
            resident.record, lambda live: calls.join(live, here, command, new_call, self._rules)
        )
        assert live.call is not None
        others = [peer.in_call() for peer in live.callers() if peer.peer != seat.peer]
        return Reply(
            pack(p.CallJoined(ok=True, call=live.call.id, leg=live.peers[seat.peer].leg, peers=others))
        )

    async def leave(self, connection: Connection, command: c.CallLeave) -> Reply:
        resident, seat = await self._seats.of(connection, command.room)
        here = self._seats.here(resident.record, seat)
        await self._steps.commit(resident.record, lambda live: calls.leave(live, here, command.call))
        return DONE

    async def decline(self, connection: Connection, command: c.CallDecline) -> Reply:
        resident, seat = await self._seats.of(connection, command.room)
        here = self._seats.here(resident.record, seat)
        await self._steps.commit(resident.record, lambda live: calls.decline(live, here, command.call))
        return DONE

    async def media(self, connection: Connection, command: c.CallMedia) -> Reply:
        resident, seat = await self._seats.of(connection, command.room)
        here = self._seats.here(resident.record, seat)
        await self._steps.commit(resident.record, lambda live: calls.media(live, here, command))
        return DONE

    def signal(self, connection: Connection, command: c.CallSignal) -> Reply | Awaitable[Reply]:
        """Within a node at once; to another over its channel. Raises as `_ends`, `PeerAway` when the socket is not there."""
        seated = self._hub.seat_of(connection, command.room)
        if seated is None:
            return self._seats.refuse(connection, command.room)
        resident, seat = seated
        me, target = _ends(resident.live, seat.peer, command)
        push = p.SignalPush(
            room=resident.slug,
            call=command.call,
            from_=me.peer,
            from_leg=me.leg,
            to_leg=command.to_leg,
            seq=command.seq,
            gen=command.gen,
            description=command.description,
            candidates=command.candidates,
        )
        frame = event("call.signal", pack(push))
        if target.node == self._nodes.node:
            there = self._nodes.connection(target.socket)
            if there is None:
                self._leaves.away_now(target.socket)
                raise PeerAway
            there.send(frame)
            return DONE
        return self._signal_elsewhere(target, frame)

    async def _signal_elsewhere(self, target: Peer, frame: bytes) -> Reply:
        if not await self._registry.publish(node_channel(target.node), f"X{target.socket} ".encode() + frame):
            raise PeerAway
        return DONE

    async def ice(self, connection: Connection, command: c.Ice) -> Reply:
        resident, _ = await self._seats.of(connection, command.room)
        shown = self._ice(connection.identity.person, resident.record.relay_policy)
        return Reply(pack(p.IceAnswer(ok=True, **asdict(shown))))

    async def echo(self, connection: Connection, command: c.Echo) -> Reply:
        """Raises `Invalid` for an offer that cannot be answered, `Limited`, `Unavailable`."""
        await self._seats.of(connection, command.room)
        try:
            sdp = await self._echoes.answer(connection.id, command.description.sdp)
        except BadOfferError:
            raise Invalid("The network check cannot answer this offer.", field="description.sdp") from None
        except TooManyError as error:
            raise Limited(ECHO_BUSY, retry_ms=max(1_000, round(error.retry_s * 1000))) from None
        except (TimeoutError, OSError):
            raise Unavailable(ECHO_FAILED, retry_ms=ECHO_RETRY_MS) from None
        if not self._nodes.is_connected(connection):
            await self._echoes.end(connection.id)
            raise Gone
        description = c.Description(type="answer", sdp=sdp)
        return Reply(pack(p.EchoAnswer(ok=True, description=description, limit_s=int(LIMIT_S))))


def _ends(live: Live, mine: str, command: c.CallSignal) -> tuple[Peer, Peer]:
    """The two ends of a signal (K2). Raises `Conflict` when the sender is not in that call, `PeerAway` when the other is not
    reachable now, `Gone` when it has joined anew, `NotFound` for a peer that never was in it."""
    me = live.peers.get(mine)
    if live.call is None or live.call.id != command.call or me is None or me.media is None:
        raise Conflict("You are not in this call.", field="call")
    target = live.peers.get(command.to)
    if target is None or target.peer == mine:
        if command.to in live.call.legs and command.to != mine:
            raise PeerAway(field="to")
        raise NotFound("There is no such peer in this call.", field="to")
    if target.media is None or target.away_until is not None:
        raise PeerAway(field="to")
    if target.leg != command.to_leg:
        raise Gone("The other side has joined anew.", field="to_leg", current={"leg": target.leg})
    return me, target
