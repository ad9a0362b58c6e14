"""How to reach the brokers. Needs aiokafka only when something connects."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
Compression = Literal["none", "gzip", "lz4", "snappy", "zstd"]
TokenSource = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """The brokers, and how to prove who is calling. Secrets do not show in its `repr`.

    Raises ValueError for a combination that no broker would accept.
    """

    bootstrap: str
    """Addresses such as kafka-1:9092,kafka-2:9092; any one that answers is enough."""
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    oauth_token: TokenSource | None = field(default=None, repr=False)
    """Asked for a token for every connection (OAUTHBEARER)."""
    oauth_token_file: Path | None = None
    """Read anew for every connection: whoever renews the token writes it here (OAUTHBEARER)."""
    ca_file: Path | None = None
    """Authorities to trust, PEM; the system's when None."""
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    compression: Compression = "lz4"
    request_timeout_s: float = 30.0
    """How long one call of a publisher or reader may take before it raises LogUnavailable."""

    def __post_init__(self) -> None:
        problem = self._address_problem() or self._sasl_problem() or self._tls_problem()
        if problem:
            raise ValueError(problem)

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    def tls_context(self) -> ssl.SSLContext | None:
        """Certificates as the files hold them now; None without TLS. Raises OSError, ssl.SSLError."""
        if not self.uses_tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            # without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(self.cert_file, self.key_file, self.key_password or "")
        return context

    def _address_problem(self) -> str | None:
        for address in self.bootstrap.split(","):
            host, colon, port = address.strip().rpartition(":")
            if not (host and colon and port.isdecimal() and 0 < int(port) < 1 << 16):
                return f"bootstrap: {address.strip()!r} is not host:port"
        if not self.request_timeout_s > 0:
            return f"request_timeout_s must be positive, not {self.request_timeout_s}"
        return None

    def _sasl_problem(self) -> str | None:
        if not self.uses_sasl:
            unused = self.sasl_mechanism or self.sasl_username or self.sasl_password
            # silently sending no credentials would look like a broker that forgets them
            return f"credentials are never sent over {self.security_protocol}" if unused else None
        if self.sasl_mechanism is None:
            return f"{self.security_protocol} needs sasl_mechanism"
        if self.sasl_mechanism == "OAUTHBEARER":
            if (self.oauth_token is None) == (self.oauth_token_file is None):
                return "OAUTHBEARER needs either oauth_token or oauth_token_file"
        elif self.sasl_username is None or self.sasl_password is None:
            return f"{self.sasl_mechanism} needs sasl_username and sasl_password"
        return None

    def _tls_problem(self) -> str | None:
        if not self.uses_tls and (self.ca_file or self.cert_file or self.key_file):
            return f"certificates are not used over {self.security_protocol}"
        if self.key_file is not None and self.cert_file is None:
            return "key_file needs cert_file"
        return None
