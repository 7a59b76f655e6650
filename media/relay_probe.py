"""Asks STUN servers and relays what a browser would ask them: an address (RFC 8489), an allocation (RFC 8656).

The allocation is made with a credential of the kind that clients get, and given back. What went wrong is named by a
`Problem`; who words it for a person stands elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from typing import Final, Literal

from aioice import stun
from aioice.turn import create_turn_endpoint
from msgspec import Struct

from media.ice import Address

PROBE_S: Final = 5.0
"""For one server: five tries of a lost packet; a browser would have given up on it by then, too."""

ALLOCATION_S: Final = 60
"""An allocation that could not be given back ends by itself after this long."""

Problem = Literal[
    "unresolved", "silent", "closed", "certificate", "credential", "quota", "unroutable", "refused"
]
"""The name has no address; nothing answers; the port is closed; the TLS certificate is not valid; the relay does not accept
the credential (401), has no allocation left for it (486, 508), relays from an address that only its own network knows, or
refuses for another reason."""


class Finding(Struct, frozen=True):
    """What came of one URL. `detail` is of the server or of OpenSSL: a few words, never a secret."""

    url: str
    problem: Problem | None = None
    detail: str = ""


async def probe(url: str, username: str | None = None, credential: str | None = None) -> Finding:
    """Within `PROBE_S`. A credential is needed for `turn:` and `turns:`. Raises ValueError for what is no such URL."""
    address = Address.parse(url)
    try:
        async with asyncio.timeout(PROBE_S):
            host = await _resolved(address)
            if not address.is_relay:
                await _ask_for_address(address, host)
                return Finding(url)
            relayed = await _allocate(address, host, username, credential)
    except socket.gaierror:
        return Finding(url, "unresolved")
    except ssl.SSLCertVerificationError as error:
        return Finding(url, "certificate", error.verify_message)
    except ssl.SSLError as error:
        return Finding(url, "certificate", error.reason or "")
    except stun.TransactionFailed as error:
        return _refusal(url, error)
    except (TimeoutError, stun.TransactionError, EOFError):
        return Finding(url, "silent")
    except ConnectionRefusedError:
        return Finding(url, "closed")
    except (OSError, ValueError) as error:
        return Finding(url, "refused", type(error).__name__)
    if ipaddress.ip_address(host).is_global and not ipaddress.ip_address(relayed).is_global:
        return Finding(url, "unroutable", relayed)
    return Finding(url)


def _refusal(url: str, error: stun.TransactionFailed) -> Finding:
    code, reason = error.response.attributes.get("ERROR-CODE", (0, ""))
    problems: dict[int, Problem] = {401: "credential", 486: "quota", 508: "quota"}
    return Finding(url, problems.get(code, "refused"), f"{code} {reason}")


async def _resolved(address: Address) -> str:
    """IPv4 where there is one: that is what most networks carry. Raises socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return str(found[0][4][0])


async def _allocate(address: Address, host: str, username: str | None, credential: str | None) -> str:
    """The relayed address of an allocation that was made and given back."""
    given_back = _Ended()
    transport, _ = await create_turn_endpoint(
        lambda: given_back,
        # The name, where a certificate has to be valid for it.
        server_addr=(address.host if address.is_tls else host, address.port),
        username=username,
        password=credential,
        lifetime=ALLOCATION_S,
        ssl=ssl.create_default_context() if address.is_tls else None,
        transport=address.transport,
    )
    relayed = str(transport.get_extra_info("sockname")[0])
    transport.close()
    await given_back.wait()
    return relayed


class _Ended(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()


async def _ask_for_address(address: Address, host: str) -> None:
    """A binding request; any well-formed answer will do."""
    request = bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST))
    if address.is_tls:
        await _ask_over_tls(address, request)
        return
    answered = _Answered()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: answered, remote_addr=(host, address.port)
    )
    try:
        for again_s in (0.5, 1.0, 2.0, PROBE_S):  # RFC 8489 §6.2.1
            transport.sendto(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await answered.wait()
                    return
    finally:
        transport.close()


async def _ask_over_tls(address: Address, request: bytes) -> None:
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=ssl.create_default_context()
    )
    try:
        writer.write(request)
        header = await reader.readexactly(stun.HEADER_LENGTH)
        stun.parse_message(header + await reader.readexactly(int.from_bytes(header[2:4])))
    finally:
        writer.close()


class _Answered(asyncio.DatagramProtocol):
    """Raises from `wait` what the network said."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        with contextlib.suppress(ValueError):
            stun.parse_message(data)
            if not self._answer.done():
                self._answer.set_result(None)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)

    async def wait(self) -> None:
        await asyncio.shield(self._answer)
