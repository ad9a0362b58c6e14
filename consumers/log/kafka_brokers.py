"""The brokers as one party to ask: finds who answers what, and asks again while an answer may still come.

KafkaLog speaks the protocol through aiokafka's client instead of through its consumer and producer. A read
must be the log's answer for an offset (nothing means the end), an append must end in time and leave nothing
behind that still sends: a consumer's buffer and a producer that retries for ever promise neither.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType

from consumers.log.kafka_client import connection, kafka_faults, start
from consumers.log.kafka_wire import TopicsRequest, id_text
from consumers.log.port import LogUnavailable, UnknownTopic
from consumers.settings import KafkaSettings

T = TypeVar("T")

_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 1.0
# a broker that stands still must not use the whole time up: the next attempt may find another in its place
_ATTEMPTS = 8
_LEAST_ATTEMPT_S = 1.0
_CLOSING_S = 5
# partitions are never added by us; whoever adds some by hand is noticed after this
_FRESH_S = 60
NO_LEADER = -1
# final errors that aiokafka does not know: UNSUPPORTED_COMPRESSION_TYPE, and INVALID_RECORD, which a record
# without a key is to a compacted topic
_LATER_CODES = {76: errors.UnsupportedCodecError, 87: errors.InvalidRequestError}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTopic:
    """A topic as the brokers describe it. `leaders` are node ids, -1 where there is none now."""

    name: str
    topic_id: str
    leaders: tuple[int, ...]
    replication: int
    """Replicas of the partition that has the fewest."""
    internal: bool

    @property
    def partitions(self) -> int:
        return len(self.leaders)


class _BareClient:
    """aiokafka's client with the names that consumers and producers have for starting and stopping."""

    def __init__(self, settings: KafkaSettings, attempt_ms: int) -> None:
        arguments = connection(settings) | {"request_timeout_ms": attempt_ms}
        self.kafka = AIOKafkaClient(**arguments)

    async def start(self) -> None:
        await self.kafka.bootstrap()

    async def stop(self) -> None:
        await self.kafka.close()


class Brokers:
    """Connections to the brokers, made when needed. Safe for concurrent tasks of one event loop."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.name = settings.bootstrap
        self._timeout_s = settings.request_timeout_s
        self.attempt_ms = round(max(_LEAST_ATTEMPT_S, settings.request_timeout_s / _ATTEMPTS) * 1_000)
        """How long one request may take, here and at the broker."""
        self._settings = settings
        self._client: _BareClient | None = None
        self._opening = asyncio.Lock()
        self._silent: set[int] = set()
        """Brokers that did not answer lately: whoever may be asked is asked first."""
        self._topics: dict[str, tuple[float, FoundTopic]] = {}
        self._closed = False

    async def connect(self) -> None:
        """Raises LogUnavailable, LogRefused."""
        await self._opened()

    async def answered(self, attempt: Callable[[], Awaitable[T]], topic: str | None = None) -> T:
        """What `attempt` returns, tried again after errors that pass, until the request timeout.

        Raises LogUnavailable, LogRefused, UnknownTopic.
        """
        last: errors.KafkaError | None = None
        backoff_s = _BACKOFF_S
        try:
            with kafka_faults(self.name, topic):
                async with asyncio.timeout(self._timeout_s):
                    while True:
                        try:
                            return await attempt()
                        except errors.KafkaError as error:
                            if not passes(error):
                                raise
                            last = error
                        self.forget()
                        await asyncio.sleep(backoff_s)
                        backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
        except LogUnavailable as unavailable:
            if not isinstance(unavailable.__cause__, TimeoutError):
                raise
            # the brokers may have moved to other addresses: begin again with those of the settings
            await self._drop()
            seconds = f"no answer for {self._timeout_s:g} s"
            raise LogUnavailable(self.name, f"{seconds} ({last!r})" if last else seconds) from unavailable

    async def ask(self, request: Any, node: int | None = None) -> Any:
        """One request to one broker, any if none is named. Raises KafkaError."""
        client = (await self._opened()).kafka
        if node is None:
            nodes = [broker.nodeId for broker in client.cluster.brokers()]
            node = random.choice([each for each in nodes if each not in self._silent] or nodes)
        try:
            answer = await client.send(node, request)
        except errors.KafkaError:
            self._silent.add(node)
            raise
        self._silent.discard(node)
        return answer

    async def topic(self, name: str) -> FoundTopic:
        """From memory if asked lately. Raises UnknownTopic, KafkaError."""
        now = asyncio.get_running_loop().time()
        known = self._topics.get(name)
        if known is not None and now - known[0] < _FRESH_S:
            return known[1]
        for _ in range(2):  # of a topic just made not every broker has heard
            (raw,) = (await self.ask(TopicsRequest([name]))).topics
            if errors.for_code(raw[0]) is not errors.UnknownTopicOrPartitionError:
                found = found_topic(raw)
                self._topics[name] = now, found
                return found
            await asyncio.sleep(_BACKOFF_S)
        raise UnknownTopic(name)

    async def all_topics(self) -> list[FoundTopic]:
        """Raises KafkaError."""
        raw_topics = (await self.ask(TopicsRequest(None))).topics
        return [found for found in map(found_topic, raw_topics) if not found.internal]

    async def everywhere(self, request: Any) -> list[Any]:
        """The answer of every broker to `request`. Raises KafkaError."""
        client = (await self._opened()).kafka
        return [await client.send(broker.nodeId, request) for broker in client.cluster.brokers()]

    async def leader(self, topic: str, partition: int) -> int:
        """The broker to read from and write to. Raises UnknownTopic, KafkaError."""
        found = await self.topic(topic)
        if not 0 <= partition < found.partitions:
            raise UnknownTopic(topic, partition)
        leader = found.leaders[partition]
        if leader == NO_LEADER:
            raise errors.LeaderNotAvailableError
        return leader

    async def coordinator(self, group: str) -> int:
        """The broker that keeps the positions of `group`. Raises KafkaError."""
        client = (await self._opened()).kafka
        node: int = await client.coordinator_lookup(CoordinationType.GROUP, group)
        return node

    def forget(self, topic: str | None = None) -> None:
        """Who leads what is asked anew."""
        if topic is None:
            self._topics.clear()
        else:
            self._topics.pop(topic, None)

    async def close(self) -> None:
        self._closed = True
        await self._drop()

    async def _opened(self) -> _BareClient:
        if self._closed:
            raise LogUnavailable(self.name, "it is closed")
        async with self._opening:
            if self._client is None:
                client = _BareClient(self._settings, self.attempt_ms)
                await start(client, self._settings)
                self._client = client
            return self._client

    async def _drop(self) -> None:
        client, self._client = self._client, None
        self.forget()
        self._silent.clear()
        if client is None:
            return
        try:
            async with asyncio.timeout(_CLOSING_S):
                await client.stop()
        except (errors.KafkaError, OSError):
            return  # a connection that cannot be closed in order is gone as well


def passes(error: errors.KafkaError) -> bool:
    """Whether the same request may succeed later, as with most codes that aiokafka has no name for."""
    return error.retriable or isinstance(error, errors.UnknownError)


def checked(code: int, message: str | None = None) -> None:
    """Raises the error that `code` stands for; 0 is none."""
    kind = _LATER_CODES.get(code) or errors.for_code(code)
    if kind is not errors.NoError:
        raise kind(message or f"code {code}")


def found_topic(raw: Any) -> FoundTopic:
    code, name, topic_id, internal, partitions, *_ = raw
    checked(code)
    leaders = {partition: (leader, len(replicas)) for _, partition, leader, _, replicas, *_ in partitions}
    return FoundTopic(
        name=name,
        topic_id=id_text(topic_id),
        leaders=tuple(leaders[partition][0] for partition in range(len(leaders))),
        replication=min((count for _, count in leaders.values()), default=0),
        internal=internal,
    )
