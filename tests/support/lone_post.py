"""A process of its own that delivers what is due once, and can be killed: `DATABASE HOST:PORT CA NOW_MS`."""

from __future__ import annotations

import asyncio
import ssl
import sys

from signaling.mail_carriers import MailServer
from signaling.stores.directory import Directory
from tests.support.mail_server import PASSWORD, USER
from tests.support.planned import SENDER, Clock, Planned


async def main(url: str, port: int, ca: str, now: int) -> None:
    clock = Clock()
    clock.now = now
    directory = await Directory.open(url, clock)
    server = MailServer(
        host="127.0.0.1",
        port=port,
        security="starttls",
        user=USER,
        password=PASSWORD,
        sender=SENDER.address,
        ehlo="node.test",
        context=ssl.create_default_context(cafile=ca),
    )
    await Planned(directory, clock).post(server).deliver()
    await directory.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
