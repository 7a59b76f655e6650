"""`telementor` with an echo peer as aiortc alone would have it: every frame is decoded and encoded. Only to compare with."""

from __future__ import annotations

import sys

from aiortc import RTCPeerConnection

from media import echo
from signaling.cli import main


def _echo_back(connection: RTCPeerConnection, kind: str) -> None:
    transceiver = connection.addTransceiver(kind)

    @connection.on("track")
    def arrived(track: object) -> None:
        if getattr(track, "kind", "") == kind:
            transceiver.sender.replaceTrack(track)


if __name__ == "__main__":
    echo._echo_back = _echo_back  # type: ignore[assignment]
    sys.exit(main())
