"""How every client of the brokers connects, and what its errors mean to the service.

Topics are never created by asking for them: aiokafka's metadata requests allow it, so brokers should run with
`auto.create.topics.enable=false`; `lifecycle topics create` makes topics as they must be.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from aiokafka import errors
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

from consumers.log.port import LogRefused, LogUnavailable, OffsetOutOfRange, UnknownTopic
from consumers.settings import KafkaSettings

_CLOSING_S = 5
_ASKING_S = 5
_REFUSALS = {
    errors.AuthenticationFailedError: "the brokers do not accept who we are: check kafka.sasl_… settings",
    errors.SaslAuthenticationFailed: "the brokers do not accept user or password: check kafka.sasl_username "
    "and kafka.sasl_password",
    errors.AuthenticationMethodNotSupported: "the brokers do not offer this kafka.sasl_mechanism",
    errors.UnsupportedSaslMechanismError: "the brokers do not offer this kafka.sasl_mechanism",
    errors.IllegalSaslStateError: "the brokers want no SASL here: check kafka.security_protocol",
    errors.SecurityDisabled: "the brokers have no authorizer",
    errors.TopicAuthorizationFailedError: "this user lacks the right to the topic: grant it",
    errors.GroupAuthorizationFailedError: "this user lacks the right to the consumer group: grant it",
    errors.ClusterAuthorizationFailedError: "this user lacks a right on the cluster: grant it",
    errors.TransactionalIdAuthorizationFailed: "this user lacks the right to write: grant it",
    errors.UnsupportedVersionError: "the brokers are too old: Kafka 3.0 or later is needed",
    errors.IncompatibleBrokerVersion: "the brokers are too old: Kafka 3.0 or later is needed",
    errors.UnrecognizedBrokerVersion: "the brokers are too old: Kafka 3.0 or later is needed",
    errors.UnsupportedCodecError: "kafka.compression names a codec that cannot be used here",
    errors.InvalidTopicError: "the brokers take no topic of this name: check topic_prefix",
    errors.InvalidReplicationFactorError: "there are fewer brokers than kafka.replication",
    errors.InvalidRequestError: "the brokers take no such record or request",
    errors.PolicyViolationError: "a policy of the brokers forbids it",
    errors.InvalidConfigurationError: "the brokers do not take this configuration",
}
"""What no retry changes, and what to do about it."""


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no annotations
    """The token of `oauth_token_file`, read for every connection, so that a renewed one is used at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        try:
            text = await asyncio.to_thread(self._path.read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            # an error that aiokafka expects while connecting: any other ends its background tasks
            raise errors.AuthenticationFailedError(f"kafka.oauth_token_file {self._path}: {error}") from error
        return text.strip()


class Client(Protocol):
    """A consumer, producer or bare client of aiokafka."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient and AIOKafkaClient share.

    Reads the certificate files; raises LogRefused for one that cannot be used.
    """
    password = settings.sasl_password
    token_file = settings.oauth_token_file
    return {
        "bootstrap_servers": [each.strip() for each in settings.bootstrap.split(",") if each.strip()],
        "client_id": settings.client_id,
        "request_timeout_ms": round(settings.request_timeout_s * 1_000),
        "metadata_max_age_ms": 60_000,
        "security_protocol": settings.security_protocol,
        "ssl_context": _ssl_context(settings),
        "sasl_mechanism": settings.sasl_mechanism or "PLAIN",
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": None if password is None else password.get_secret_value(),
        "sasl_oauth_token_provider": None if token_file is None else TokenFile(token_file),
    }


@contextmanager
def kafka_faults(brokers: str, topic: str | None = None) -> Iterator[None]:
    """Raise LogUnavailable, LogRefused or UnknownTopic (of `topic`) for the errors of aiokafka that mean it.

    An offset out of range comes through as aiokafka's: `out_of_range` asks for the limits that ours names.
    """
    try:
        yield
    except errors.OffsetOutOfRangeError:
        raise
    except errors.UnknownTopicOrPartitionError as error:
        if topic is None:
            raise LogUnavailable(brokers, _text(error)) from error
        raise UnknownTopic(topic) from error
    except (errors.KafkaError, errors.ConsumerStoppedError, OSError, NotImplementedError) as error:
        raise translated(brokers, error) from error


def translated(brokers: str, error: BaseException) -> LogRefused | LogUnavailable:
    """What a client's error means: retry (LogUnavailable), or a person must do something (LogRefused)."""
    for kind, advice in _REFUSALS.items():
        if isinstance(error, kind):
            return LogRefused(brokers, f"{advice} ({_text(error)})")
    match error:
        case ssl.SSLCertVerificationError():
            return LogRefused(
                brokers, f"the brokers' certificate is not trusted: check kafka.ca_file ({error})"
            )
        case NotImplementedError():
            return LogRefused(brokers, f"the brokers are too old or too new ({error})")
        case TimeoutError() | errors.RequestTimedOutError() | errors.KafkaTimeoutError():
            return LogUnavailable(brokers, "no answer in time")
        case _:
            return LogUnavailable(brokers, _text(error))


async def start(client: Client, settings: KafkaSettings) -> None:
    """Start `client`, or close it and raise LogUnavailable or LogRefused.

    aiokafka only logs why no broker took it, so one is asked again for the reason.
    """
    try:
        with kafka_faults(settings.bootstrap):
            async with asyncio.timeout(settings.request_timeout_s):
                await client.start()
    except LogUnavailable as unavailable:
        await _abandon(client)
        raise await _reason(settings) from unavailable.__cause__
    except BaseException:
        await _abandon(client)
        raise


async def out_of_range(
    consumer: Any, brokers: str, topic: str, partition: int, offset: int
) -> OffsetOutOfRange:
    """The error of a read at `offset`, with what `consumer` says the partition holds."""
    of = TopicPartition(topic, partition)
    with kafka_faults(brokers, topic):
        begin = (await consumer.beginning_offsets([of]))[of]
        end = (await consumer.end_offsets([of]))[of]
    return OffsetOutOfRange(topic, partition, offset, begin, end)


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    if not settings.security_protocol.endswith("SSL"):
        return None
    key_password = settings.key_password
    named = f"kafka.ca_file {settings.ca_file}"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            named = f"kafka.cert_file {settings.cert_file}, kafka.key_file {settings.key_file}"
            # without a password OpenSSL would ask for one on the terminal, and the process would hang
            context.load_cert_chain(
                settings.cert_file, settings.key_file, key_password.get_secret_value() if key_password else ""
            )
    except (OSError, ValueError) as error:
        raise LogRefused(settings.bootstrap, f"{named} cannot be used: {error}") from error
    return context


async def _reason(settings: KafkaSettings) -> LogRefused | LogUnavailable:
    """Why the brokers turn us away, or what each address says instead of answering."""
    arguments = connection(settings)
    hosts = collect_hosts(arguments.pop("bootstrap_servers"))
    del arguments["metadata_max_age_ms"]
    arguments["request_timeout_ms"] = min(arguments["request_timeout_ms"], _ASKING_S * 1_000)
    problems = []
    for host, port, _ in hosts:
        try:
            opened = await create_conn(host, port, **arguments)
            try:
                await opened.send(MetadataRequest([]))
            finally:
                opened.close()
        except (errors.KafkaError, OSError) as error:
            reason = translated(settings.bootstrap, error)
            if isinstance(reason, LogRefused):
                return reason
            problems.append(f"{host}:{port}: {_cause(error)}")
    advice = "no broker answers: check kafka.bootstrap, kafka.security_protocol, and the brokers"
    said = f" ({'; '.join(sorted(problems))})" if problems else ""
    return LogUnavailable(settings.bootstrap, advice + said)


def _cause(error: BaseException) -> str:
    """What a connection failed of, without the address, which its reader knows."""
    match error.__cause__ or error:
        case socket.gaierror():
            return "the host is not known"
        case ConnectionRefusedError():
            return "nothing listens there"
        case TimeoutError() | errors.RequestTimedOutError():
            return "no answer in time"
        case cause:
            return _text(cause)[:120]


async def _abandon(client: Client) -> None:
    """Close a client that never started; it may wait for brokers that do not answer."""
    try:
        async with asyncio.timeout(_CLOSING_S):
            await client.stop()
    except (errors.KafkaError, OSError):
        return


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
