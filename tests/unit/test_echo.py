"""The parts of the network check that need no network, and aiortc's private parts that it stands on (K6)."""

from __future__ import annotations

import importlib.metadata
import inspect

import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, rtcrtpreceiver
from aiortc.jitterbuffer import JitterFrame

from media import echo
from media.echo import PRIVATE, BadOfferError
from media.ice import Address

pytestmark = pytest.mark.unit

OFFER = """v=0
o=- 1 2 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=sendrecv
a=mid:0
a=rtcp-mux
a=rtpmap:96 opus/48000/2
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=fingerprint:sha-256 00:11
a=setup:actpass
"""


async def test_aiortc_still_has_the_private_parts_that_the_echo_peer_uses() -> None:
    version = importlib.metadata.version("aiortc")
    assert version.startswith("1.16."), f"aiortc is {version} now: look at PRIVATE in media/echo.py"
    connection = RTCPeerConnection()
    transceiver = connection.addTransceiver("video")
    for owner, part in ((transceiver.receiver, RTCRtpReceiver), (transceiver.sender, RTCRtpSender)):
        for name in PRIVATE[part]:
            assert hasattr(owner, name), f"aiortc's {part.__name__} has no {name} any more"
    await connection.close()
    source = inspect.getsource(rtcrtpreceiver)
    for line in (
        "self.__decoder_queue.put((codec, encoded_frame))",
        "self.__decoder_queue.put(None)",
        "async def _send_rtcp_pli(self, media_ssrc: int)",
    ):
        assert line in source, f"aiortc's receiver does not say {line!r} any more"
    assert vars(JitterFrame(b"", 0)).keys() == {"data", "timestamp"}
    assert "self._send_keyframe()" in inspect.getsource(RTCRtpSender)


def candidate(address: str, *, transport: str = "UDP", number: int = 1) -> str:
    return f"a=candidate:{number} 1 {transport} 2122260223 {address} {50_000 + number} typ host\n"


def test_K6_an_offer_of_sound_is_taken() -> None:
    assert echo._checked(OFFER).replace("\r\n", "\n") == OFFER


@pytest.mark.parametrize(
    "line",
    [
        candidate("127.0.0.1"),
        candidate("::1"),
        candidate("224.0.0.251"),
        candidate("0.0.0.0"),  # noqa: S104 - this is what is refused
        candidate("3b8e0f0e-9d3b-4b5e-8b52-1f1f6f6c3f6a.local"),
        candidate("192.0.2.7", transport="TCP"),
        "a=candidate:\n",
        "a=end-of-candidates\n",
    ],
)
def test_K6_what_cannot_be_called_is_left_out(line: str) -> None:
    assert echo._checked(OFFER + line) == echo._checked(OFFER)


def test_K6_the_first_32_addresses_are_called() -> None:
    kept = echo._checked(OFFER + "".join(candidate("192.0.2.7", number=n) for n in range(40)))
    assert kept.count("a=candidate:") == 32
    assert "candidate:31 " in kept


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "v=0\n",
        "nonsense",
        OFFER.replace("audio", "application"),
        OFFER.replace("opus", "speex"),
        OFFER.replace("a=ice-ufrag:abcd\n", ""),
        OFFER.replace("a=ice-pwd:abcdefghijklmnopqrstuv\n", ""),
        OFFER.replace("a=fingerprint:sha-256 00:11\n", ""),
        OFFER.replace("a=setup:actpass\n", ""),
        OFFER.replace("a=setup:actpass", "a=setup:perhaps"),
        OFFER.replace("a=mid:0\n", ""),
        OFFER + OFFER[OFFER.index("m=") :].replace("mid:0", "mid:1"),
        OFFER + "a=x\n" * 600,
        OFFER.replace("UDP/TLS/RTP/SAVPF 96", "UDP/TLS/RTP/SAVPF 300"),
    ],
)
def test_K6_a_bad_offer_is_told_before_anything_is_made_of_it(wrong: str) -> None:
    with pytest.raises(BadOfferError):
        echo._checked(wrong)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("stun:s.example.org", Address("stun", "s.example.org", 3478, "udp")),
        ("stuns:s.example.org", Address("stuns", "s.example.org", 5349, "tcp")),
        ("turn:[2001:db8::1]:80?transport=tcp", Address("turn", "2001:db8::1", 80, "tcp")),
        ("turns:t.example.org:443?transport=tcp", Address("turns", "t.example.org", 443, "tcp")),
    ],
)
def test_an_address_is_read_as_rfc_7064_and_7065_write_it(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "turn:",
        "turn:a:0",
        "turn:a:65536",
        "turn:a?transport=sctp",
        "turn:a b",
        "turn:u@a",
        "turn:[x",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"turn|http"):
        Address.parse(url)
