"""A certificate authority of one's own, and what it signs for a broker and for a client."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.sources import Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files, valid for a day."""

    authority: Path
    """Whom to trust: `ca_file`."""
    server: Path
    """The broker's key and certificate, for 127.0.0.1 and localhost."""
    client: Path
    """`cert_file` of a client."""
    client_key: Path
    """`key_file` of that client, without a password."""

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        """Write them into `folder`; Unavailable without openssl."""
        folder.mkdir()
        authority, authority_key = folder / "authority.pem", folder / "authority-key.pem"
        _openssl(authority, authority_key, "tests")
        signed = ["-CA", str(authority), "-CAkey", str(authority_key), "-addext", "basicConstraints=CA:FALSE"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        broker, broker_key = folder / "broker.pem", folder / "broker-key.pem"
        _openssl(broker, broker_key, "broker", *signed, *names)
        client, client_key = folder / "client.pem", folder / "client-key.pem"
        _openssl(client, client_key, "client", *signed)
        server = folder / "server.pem"
        server.write_text(broker_key.read_text() + broker.read_text())
        return cls(authority=authority, server=server, client=client, client_key=client_key)


def openssl() -> Path:
    """What makes certificates."""
    if (program := shutil.which("openssl")) is not None:
        return Path(program)
    raise Unavailable("certificates for Kafka's listeners are made by openssl: install it")


def _openssl(certificate: Path, key: Path, name: str, *options: str) -> None:
    wanted = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}", *options]
    command: list[str | Path] = [openssl(), "req", *wanted, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
