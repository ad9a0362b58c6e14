"""Settings of the brokers, and how durations are given."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

_DAY_S = 86_400


def _whole_milliseconds(seconds: float) -> float:
    """Event time is counted in milliseconds, so a setting of half a millisecond would be rounded silently."""
    if not math.isclose(seconds * 1_000, round(seconds * 1_000), abs_tol=1e-6):
        raise ValueError("must be a whole number of milliseconds")
    return seconds


_MAX_S = 366 * _DAY_S
Seconds = Annotated[float, Field(ge=0, le=_MAX_S, allow_inf_nan=False), AfterValidator(_whole_milliseconds)]
SomeSeconds = Annotated[
    float, Field(gt=0, le=_MAX_S, allow_inf_nan=False), AfterValidator(_whole_milliseconds)
]

_PROTOCOLS = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
_BY_PROTOCOL = {
    "SASL": ("sasl_mechanism", "sasl_username", "sasl_password", "oauth_token_file"),
    "SSL": ("ca_file", "cert_file", "key_file", "key_password"),
}
"""What only these protocols use."""


class KafkaSettings(BaseModel):
    """The brokers of the service engine. Without `bootstrap` the log is the embedded one, a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: str = Field(default="", description="addresses such as kafka-1:9092,kafka-2:9092")
    group: str = Field(
        default="lifecycle",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="consumer groups are this and the worker's name: lifecycle.tally",
    )
    client_id: str = Field(default="lifecycle", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = "lz4"
    fetch_bytes: int = Field(default=2 << 20, ge=1 << 10, le=64 << 20, description="of one partition at once")
    session_timeout_s: SomeSeconds = 10.0
    request_timeout_s: SomeSeconds = 40.0
    stuck_after_s: SomeSeconds = Field(
        default=120.0,
        description="a worker ends when it lags, the brokers answer and no record comes so long",
    )
    replication: int = Field(default=1, ge=1, le=15, description="of topics that `topics create` makes")
    hot_retention_s: float = Field(
        default=-1, ge=-1, description="of predictions and outcomes that `topics create` makes; -1 for ever"
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    oauth_token_file: Path | None = Field(
        default=None, description="read anew for every connection: whoever renews the token writes it here"
    )
    ca_file: Path | None = Field(
        default=None, description="authorities to trust, PEM; the system's when not set"
    )
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr | None = None

    @field_validator("bootstrap", mode="after")
    @classmethod
    def _are_addresses(cls, bootstrap: str) -> str:
        addresses = [each for each in map(str.strip, bootstrap.split(",")) if each]
        if bootstrap and not (addresses and all(map(_is_address, addresses))):
            raise ValueError(
                "must be addresses such as kafka-1:9092,kafka-2:9092, or empty for the embedded log"
            )
        return bootstrap

    @model_validator(mode="after")
    def _used(self) -> "KafkaSettings":
        """A setting that has no effect is refused: whoever gives a password or an authority relies on it."""
        for scheme, names in _BY_PROTOCOL.items():
            given = [name for name in names if getattr(self, name) is not None]
            if given and scheme not in self.security_protocol:
                protocols = " or ".join(each for each in _PROTOCOLS if scheme in each)
                raise ValueError(
                    f"{given[0]} has no effect with security_protocol {self.security_protocol}: "
                    f"set kafka.security_protocol to {protocols}, or leave kafka.{given[0]} out"
                )
        return self

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSettings":
        sasl = self.security_protocol.startswith("SASL")
        if sasl and self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_mechanism")
        if sasl and self.sasl_mechanism == "OAUTHBEARER" and self.oauth_token_file is None:
            raise ValueError("sasl_mechanism OAUTHBEARER needs oauth_token_file")
        if sasl and self.sasl_mechanism != "OAUTHBEARER" and not (self.sasl_username and self.sasl_password):
            raise ValueError(f"sasl_mechanism {self.sasl_mechanism} needs sasl_username and sasl_password")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file come together")
        if self.session_timeout_s >= self.request_timeout_s:
            raise ValueError("session_timeout_s must be below request_timeout_s")
        return self


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):  # a host alone, whose port is Kafka's own
        host, port = text, "9092"
    return bool(host) and not re.search(r"[\s/]", host) and port.isascii() and port.isdigit()
