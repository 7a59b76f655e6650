"""A real coturn on an address and ports of its own, with a TLS certificate that it signed itself."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.condition import until
from tests.support.needs import needs_program
from tests.support.network_lab import Host
from tests.support.processes import with_us

SECRET = "a secret that is long enough"


def free_port(address: str) -> int:
    """A port of this address that neither UDP nor TCP uses now."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((address, 0))
        port: int = tcp.getsockname()[1]
        udp.bind((address, port))
    return port


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for a name or an address, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    try:
        shown: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        shown = x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([shown]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


class TurnServer:
    """`port` is for UDP and TCP, `tls_port` for TLS; free ones unless given. `options` are coturn's, `config` is its file
    instead of none. `host`: the laboratory's machine that it runs on, instead of this one."""

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls_port: int = 0,
        host: Host | None = None,
        name: str = "localhost",
        secret: str = SECRET,
        options: Sequence[str] = (),
        config: Path | None = None,
    ) -> None:
        self.address = address
        self.port = port or free_port(address)
        self.tls_port = tls_port or free_port(address)
        self._host = host
        self._log_file = folder / "turnserver.log"
        self.certificate, key = certificate(folder, name)
        source = ["-c", str(config)] if config else ["-n", "--use-auth-secret", "--no-cli", "--realm", "test"]
        self._words = [
            *(host.prefix if host else []),
            *(needs_program("turnserver"), *source),
            *(f"--static-auth-secret={secret}", f"--listening-ip={address}"),
            *(f"--listening-port={self.port}", f"--tls-listening-port={self.tls_port}"),
            *(f"--cert={self.certificate}", f"--pkey={key}"),
            *("--log-file=stdout", "--simple-log", f"--pidfile={folder / 'turnserver.pid'}"),
            *options,
        ]

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log_file.read_text(errors="replace")

    async def start(self) -> TurnServer:
        """Started and listening."""
        with self._log_file.open("wb") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *with_us(), *self._words, stdin=asyncio.subprocess.DEVNULL, stdout=sink, stderr=sink
            )

        def listens() -> bool:
            assert self._process.returncode is None, f"turnserver ended:\n{self.log}"
            with self._host.entered() if self._host else nullcontext(), socket.socket() as probe:
                return probe.connect_ex((self.address, self.port)) == 0

        await until(listens, "turnserver to listen")
        return self

    async def stop(self) -> None:
        """At once."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def urls(self) -> dict[str, str]:
        """How it is reached, by transport."""
        return {
            "udp": f"turn:{self.address}:{self.port}?transport=udp",
            "tcp": f"turn:{self.address}:{self.port}?transport=tcp",
            "tls": f"turns:{self.address if self._host else 'localhost'}:{self.tls_port}",
        }

    @property
    def stun_url(self) -> str:
        """It is a STUN server, too."""
        return f"stun:{self.address}:{self.port}"
