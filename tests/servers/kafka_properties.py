"""The configuration of a broker, as Kafka reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.servers.certificates import Certificates

Listener = Literal["CLIENTS", "BROKERS", "CONTROLLER", "SASL", "TLS", "SASL_TLS"]

# Clients apart from brokers, so that a proxy before one broker does not part it from the others.
PLAIN_LISTENERS: dict[Listener, str] = {
    "CLIENTS": "PLAINTEXT",
    "BROKERS": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
}
SECURED_LISTENERS: dict[Listener, str] = {"SASL": "SASL_PLAINTEXT", "TLS": "SSL", "SASL_TLS": "SASL_SSL"}
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
USER, PASSWORD = "lifecycle", "correct horse"
"""Who may enter by SASL, whatever the mechanism."""

_MODULES = "org.apache.kafka.common.security"
_JAAS = {
    "plain": f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "scram-sha-256": f"{_MODULES}.scram.ScramLoginModule required;",
    "scram-sha-512": f"{_MODULES}.scram.ScramLoginModule required;",
    # unsigned tokens, which Kafka takes for tests
    "oauthbearer": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
    f'unsecuredLoginStringClaim_sub="{USER}";',
}


def properties(
    *,
    number: int,
    voters: Mapping[int, str],
    listeners: Mapping[Listener, str],
    advertised: Mapping[Listener, str],
    data: Path,
    certificates: Certificates | None,
) -> str:
    """`server.properties` of broker `number`; `listeners` and `advertised` are addresses by listener."""
    protocols = {name: {**PLAIN_LISTENERS, **SECURED_LISTENERS}[name] for name in listeners}
    copies = min(3, len(voters))
    in_sync = max(1, copies - 1)
    lines = {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": _joined(voters, "@"),
        "listeners": _joined(listeners, "://"),
        "advertised.listeners": _joined(advertised, "://"),
        "listener.security.protocol.map": _joined(protocols, ":"),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "BROKERS",
        "log.dirs": data,
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": "false",
        # A broker that was killed may come back when its old session has ended: 9 s by default.
        "broker.session.timeout.ms": 4_000,
        "broker.heartbeat.interval.ms": 500,
    }
    if certificates is not None:
        lines |= _security(certificates, protocols)
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _security(certificates: Certificates, protocols: Mapping[Listener, str]) -> dict[str, object]:
    lines: dict[str, object] = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": certificates.server,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": certificates.authority,
        "ssl.client.auth": "requested",
    }
    for name in (name for name, protocol in protocols.items() if protocol.startswith("SASL")):
        prefix = f"listener.name.{name.lower()}"
        lines[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(mechanism.upper() for mechanism in _JAAS)
        for mechanism, module in _JAAS.items():
            lines[f"{prefix}.{mechanism}.sasl.jaas.config"] = module
    return lines


def _joined(table: Mapping[Any, str], between: str) -> str:
    return ",".join(f"{key}{between}{value}" for key, value in table.items())
