"""aiokafka behind one door: imported when needed, its errors as the SDK's, its clients stopped in time."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .contracts import LogError, LogUnavailable
from .contracts.errors import LogRefused
from .kafka_connection import KafkaConnection

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.abc import AbstractTokenProvider

# a new topic is known to one broker before the others
_LOOKS = 3
_LOOK_AGAIN_S = 0.2
_GIVE_UP_S = 5.0


class KafkaMissing(ImportError):
    """Kafka needs aiokafka, which the SDK does not install by itself."""

    def __init__(self, problem: str = "aiokafka is not installed") -> None:
        super().__init__(f"{problem}: install gal-friday-lifecycle-sdk[kafka]")


def require(connection: KafkaConnection) -> None:
    """Raises KafkaMissing at construction, not at the first publish in the middle of the night."""
    try:
        from aiokafka import codec
    except ImportError as error:
        raise KafkaMissing() from error
    # aiokafka looks too, but leaves half a producer behind
    if connection.compression != "none" and not getattr(codec, f"has_{connection.compression}")():
        raise KafkaMissing(f"the codec {connection.compression} is not installed")


def options(connection: KafkaConnection, client_id: str) -> dict[str, Any]:
    """What every client of aiokafka takes. Raises LogRefused for certificates that cannot be used."""
    try:
        context = connection.tls_context()
    except (OSError, ssl.SSLError) as error:
        raise LogRefused(connection.bootstrap, f"the certificates cannot be used: {error}") from error
    return {
        "bootstrap_servers": connection.bootstrap,
        "client_id": client_id,
        "request_timeout_ms": int(connection.request_timeout_s * 1_000),
        "security_protocol": connection.security_protocol,
        "ssl_context": context,
        "sasl_mechanism": connection.sasl_mechanism or "PLAIN",
        "sasl_plain_username": connection.sasl_username,
        "sasl_plain_password": connection.sasl_password,
        "sasl_oauth_token_provider": _token_provider(connection),
    }


def producer(connection: KafkaConnection, client_id: str, batch_bytes: int) -> "AIOKafkaProducer":
    """An idempotent producer, not started. Raises LogRefused for certificates that cannot be used."""
    from aiokafka import AIOKafkaProducer

    return AIOKafkaProducer(
        **options(connection, client_id),
        acks="all",
        enable_idempotence=True,
        compression_type=None if connection.compression == "none" else connection.compression,
        max_batch_size=batch_bytes,
    )


async def partition_counts(client: Any, topics: tuple[str, ...]) -> Mapping[str, int]:
    """The partitions of those of `topics` that exist."""
    found: dict[str, int] = {}
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_LOOK_AGAIN_S)
        # asking for a topic by name would create it on brokers that create topics by themselves
        cluster = await client.fetch_all_metadata()
        found = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        if all(found.values()):
            break
    return {topic: count for topic, count in found.items() if count}


@contextmanager
def translated(connection: KafkaConnection) -> Iterator[None]:
    """What keeps the brokers from answering is LogUnavailable; what a person must change, LogRefused."""
    from aiokafka.errors import ConsumerStoppedError, KafkaError

    try:
        yield
    except TimeoutError as error:
        raise LogUnavailable(
            connection.bootstrap, f"no answer within {connection.request_timeout_s:g} s"
        ) from error
    except (KafkaError, ConsumerStoppedError, OSError, AssertionError) as error:
        # aiokafka asserts what the brokers told it before, such as which partitions there are
        raise _meaning(connection, error, explained(error)) from error


async def started(client: "AIOKafkaProducer | AIOKafkaConsumer", connection: KafkaConnection) -> None:
    """Start `client` in time, or stop it and raise LogUnavailable or LogRefused with the reason."""
    from aiokafka.errors import KafkaConnectionError

    try:
        with translated(connection):
            async with asyncio.timeout(connection.request_timeout_s):
                await client.start()
    except BaseException as error:
        await stop(client)
        if isinstance(error.__cause__, KafkaConnectionError):
            # aiokafka says only that it found no broker; a wrong password deserves its own words
            raise await _diagnosis(connection) from error.__cause__
        raise


async def give_up(producer: "AIOKafkaProducer") -> None:
    """Stop a producer without waiting for what it could not deliver.

    An idempotent producer retries for ever and its `stop` waits for it. Without a transaction manager its
    sender drops a batch that has expired, and here every batch has; a closed connection ends the requests.
    """
    accumulator: Any = producer._message_accumulator
    sender: Any = producer._sender
    sender._txn_manager = None
    waiting = [batch for batches in accumulator._batches.values() for batch in batches]
    for batch in (*waiting, *accumulator._pending_batches):
        batch._ttl = 0
    for connection in tuple(producer.client._conns.values()):
        connection.close()
    await stop(producer)


async def stop(client: "AIOKafkaProducer | AIOKafkaConsumer") -> None:
    """Stop `client`, within a few seconds and whatever the brokers do."""
    from aiokafka.errors import KafkaError

    with suppress(TimeoutError, KafkaError, OSError):
        async with asyncio.timeout(_GIVE_UP_S):
            await client.stop()


def explained(error: BaseException) -> str:
    """One line; aiokafka's errors often have no text but their name."""
    text = " ".join(str(error).split())
    name = type(error).__name__.removesuffix("Error")
    return text if name in text or isinstance(error, OSError) else f"{name}: {text}".rstrip(": ")


def _meaning(connection: KafkaConnection, error: BaseException, problem: str) -> LogRefused | LogUnavailable:
    """Whether repeating may help."""
    from aiokafka import errors

    lasting = (
        errors.AuthenticationFailedError,
        errors.SaslAuthenticationFailed,
        errors.UnsupportedSaslMechanismError,
        errors.IllegalSaslStateError,
        errors.TopicAuthorizationFailedError,
        errors.ClusterAuthorizationFailedError,
        errors.MessageSizeTooLargeError,
        errors.RecordListTooLargeError,
        errors.InvalidTopicError,
        ssl.SSLCertVerificationError,
    )
    kind = LogRefused if isinstance(error, lasting) else LogUnavailable
    return kind(connection.bootstrap, problem)


async def _diagnosis(connection: KafkaConnection) -> LogError:
    """Why no broker of the list can be used: what each one says when it is asked alone."""
    from aiokafka.conn import collect_hosts, create_conn
    from aiokafka.errors import KafkaError

    settings = options(connection, "lifecycle-sdk")
    del settings["bootstrap_servers"]
    said: list[str] = []
    refused: BaseException | None = None
    for host, port, _ in collect_hosts(connection.bootstrap, randomize=False):
        try:
            async with asyncio.timeout(min(_GIVE_UP_S, connection.request_timeout_s)):
                (await create_conn(host, port, **settings)).close()
            said.append(f"{host}:{port} is only now there")
        except TimeoutError:
            said.append(f"{host}:{port} does not answer to {connection.security_protocol}")
        except (KafkaError, OSError) as error:
            said.append(f"{host}:{port}: {explained(error)}")
            refused = error if isinstance(_meaning(connection, error, ""), LogRefused) else refused
    return _meaning(connection, refused or OSError(), "; ".join(said))


def _token_provider(connection: KafkaConnection) -> "AbstractTokenProvider | None":
    if connection.sasl_mechanism != "OAUTHBEARER":
        return None
    from aiokafka.abc import AbstractTokenProvider
    from aiokafka.errors import AuthenticationFailedError

    class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no annotations
        async def token(self) -> str:
            try:
                if connection.oauth_token is not None:
                    return await connection.oauth_token()
                assert connection.oauth_token_file is not None  # noqa: S101 - checked when it was made
                return (await asyncio.to_thread(connection.oauth_token_file.read_text)).strip()
            except Exception as error:
                # any other error would end the tasks that connect
                raise AuthenticationFailedError(f"no token: {error}") from error

    return Tokens()
