"""A Faust application as the control plane needs it: raw records in order, positions moved by hand.

What is stock Faust and is switched off here loses events or cannot be run:

* A stream acknowledges an event whenever its iteration ends, by a cancelled or failed handler too, and while
  partitions change hands it acknowledges what it skips. `Delivered` is acknowledged by `done()` and nothing
  else.
* Faust creates no source topics and would idle without a word: whoever starts the application has checked
  that they exist. The topics it creates for itself (leadership) would need a broker that allows it.
* It makes folders for tables, serves them, and warns of slow handlers by its own clock: there are no tables,
  and the worker has a watchdog.
"""

import ssl
from collections.abc import Sequence
from typing import Any, cast

import faust
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from mode.threads import WorkerThread
from yarl import URL

from consumers.log.kafka_client import connection
from consumers.log.port import LogRecord
from consumers.settings import KafkaSettings

COMMIT_EVERY_S = 1.0
_BUFFER = 100
"""Events of one topic that wait for its agent. Few: no partition shall wait behind thousands of another's."""
_NEVER_S = 10 * 366 * 86_400.0
_MARGIN_S = 1.0
_MILLISECONDS = 1_000


class Delivered(faust.Event):
    """An event whose position moves when `done` is called, and never otherwise."""

    handled = False

    def ack(self) -> bool:
        """What Faust calls on its own; does nothing before `done`."""
        return super().ack() if self.handled else False

    def done(self) -> None:
        """The event's effects are committed: it need not come again."""
        self.handled = True
        self.ack()

    def forget(self) -> None:
        """Give the event back unhandled: it comes again, to whoever holds its partition then."""
        # Faust would wait for it before it hands over partitions or stops
        self.app.consumer.unacked.discard(self.message)

    def record(self) -> LogRecord:
        """The record as every log gives it. Kafka keeps one time per record."""
        message = self.message
        # exact: a double holds milliseconds of any year; Faust has divided them by a thousand
        timestamp_ms = round(message.timestamp * _MILLISECONDS)
        headers = cast(Sequence[tuple[str, bytes]], message.headers or ())
        return LogRecord(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            timestamp_ms=timestamp_ms,
            key=message.key,
            value=message.value,
            headers=tuple(headers),
            appended_ms=timestamp_ms,
        )


class _Thread(WorkerThread):
    """Where Faust's consumer runs. A broker that does not answer must not keep the process from ending."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.daemon = True


AIOKafkaConsumerThread.Worker = _Thread


class _App(faust.App):
    def _create_directories(self) -> None:
        """Nothing is kept in files; the working directory may be read-only."""


def faust_app(settings: KafkaSettings, group: str) -> faust.App:
    """The application of the consumer group `group`, not started. LogRefused for unusable certificates."""
    arguments = connection(settings)
    request_s, session_s = settings.request_timeout_s, settings.session_timeout_s
    return _App(
        group,
        broker=[URL(f"kafka://{address}") for address in arguments["bootstrap_servers"]],
        broker_client_id=settings.client_id,
        broker_credentials=_credentials(settings, arguments),
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 3,
        broker_request_timeout=request_s,
        # a join is answered when the rebalance is over: the answer must come before the request times out
        broker_rebalance_timeout=max(request_s - _MARGIN_S, request_s / 2),
        broker_commit_interval=COMMIT_EVERY_S,
        broker_commit_livelock_soft_timeout=_NEVER_S,
        stream_processing_timeout=_NEVER_S,
        stream_wait_empty=True,
        stream_buffer_maxsize=_BUFFER,
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        # Faust's own assignor serves tables; without standby copies it takes Kafka's round robin
        table_standby_replicas=0,
        web_enabled=False,
        autodiscover=False,
        Event=Delivered,
    )


def raw_topic(app: faust.App, name: str) -> Any:
    """The topic `name`, whose keys and values stay bytes: what they mean is the handlers' business."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def _credentials(settings: KafkaSettings, arguments: dict[str, Any]) -> Any:
    context: ssl.SSLContext | None = arguments["ssl_context"]
    if not settings.security_protocol.startswith("SASL"):
        return None if context is None else SSLCredentials(context)
    if settings.sasl_mechanism == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=arguments["sasl_oauth_token_provider"], ssl_context=context)
    return SASLCredentials(
        username=arguments["sasl_plain_username"],
        password=arguments["sasl_plain_password"],
        mechanism=settings.sasl_mechanism,
        ssl_context=context,
    )
