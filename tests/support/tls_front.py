"""TLS in front of a server, as a proxy of an operator's ends it: what was deciphered goes on as it is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

from tests.support.network_lab import Host


class TlsFront:
    """Listens on `port` of a host, and hands on to a port of the same address."""

    def __init__(
        self, host: Host, address: str, port: int, to_port: int, certificate: tuple[Path, Path]
    ) -> None:
        self._host = host
        self._place = (address, port)
        self._server_place = (address, to_port)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*certificate)

    async def start(self) -> TlsFront:
        """Listening."""
        listener = self._host.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(self._place)
        self._server = await asyncio.start_server(self._serve, sock=listener, ssl=self._context)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = self._host.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            await asyncio.get_running_loop().sock_connect(inner, self._server_place)
        except OSError:
            inner.close()
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_connection(sock=inner)
        await asyncio.gather(_pour(reader, server_writer), _pour(server_reader, writer))

    async def stop(self) -> None:
        """No new connections; the old ones end with their clients."""
        self._server.close()


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(65_536):
            into.write(chunk)
            await into.drain()
    into.close()
