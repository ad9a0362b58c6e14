"""Topics of a deployment on Kafka: made as they must be, and held against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import errors
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

from consumers.log.differences import TopicDifference
from consumers.log.kafka_brokers import NO_LEADER, Brokers, FoundTopic, checked, found_topic
from consumers.log.kafka_client import translated
from consumers.log.kafka_wire import AlterTopicsRequest, TopicsRequest
from consumers.log.port import LogRefused, TopicMismatch, TopicSpec
from schemas.topics import DEAD_LETTER

_TOPIC_RESOURCE = 2
_FOR_EVER = -1
_UNLIMITED = (1 << 63) - 1
# Kafka begins a file when a record is this much later than the file's first one, by event time. A history of
# decades would make a thousand files of a few records each; where nothing is deleted, size alone decides.
_CENTURY_MS = 100 * 366 * 86_400_000
_WEEK_MS = 7 * 86_400_000
# raw records and their headers of origin: more than any topic they come from takes
_RECORD_BYTES = 1 << 20
_DEAD_LETTER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaTopic:
    """A topic with the configuration that applies to it, defaults of the brokers included."""

    found: FoundTopic
    config: Mapping[str, str]

    @property
    def spec(self) -> TopicSpec:
        cleanup: Literal["compact", "delete"] = (
            "compact" if "compact" in self.config["cleanup.policy"] else "delete"
        )
        return TopicSpec(
            name=self.found.name,
            partitions=self.found.partitions,
            cleanup=cleanup,
            retention_ms=int(self.config["retention.ms"]),
        )


def config_of(spec: TopicSpec, *, replication: int, future_ms: int) -> dict[str, str]:
    """The configuration of a topic of ours; the values are spelt as the brokers spell them."""
    bytes_limit = _DEAD_LETTER_BYTES if _is_dead_letter(spec) else _RECORD_BYTES
    keeps_all = spec.cleanup == "delete" and spec.retention_ms == _FOR_EVER
    return {
        "cleanup.policy": spec.cleanup,
        "compression.type": "producer",
        "max.message.bytes": str(bytes_limit),
        "message.timestamp.after.max.ms": str(future_ms),
        "message.timestamp.before.max.ms": str(_UNLIMITED),
        "message.timestamp.type": "CreateTime",
        "min.insync.replicas": str(max(1, replication - 1)),
        "retention.bytes": str(_FOR_EVER),
        "retention.ms": str(spec.retention_ms),
        "segment.ms": str(_CENTURY_MS if keeps_all else _WEEK_MS),
    }


def _is_dead_letter(spec: TopicSpec) -> bool:
    return spec.name.rpartition(".")[2] == DEAD_LETTER


def differences(
    topic: KafkaTopic, spec: TopicSpec, *, replication: int, future_ms: int
) -> list[TopicDifference]:
    """What differs beside partitions, cleanup and retention. Only what people must know: not file sizes."""
    wanted = config_of(spec, replication=replication, future_ms=future_ms)
    found = topic.config
    needed = {
        # of a topic that deletes as well, the last record of a key goes too: its state would be lost
        "cleanup.policy": spec.cleanup == "compact",
        # event times that brokers overwrite or do not bound make wrong windows
        "message.timestamp.type": True,
        "message.timestamp.after.max.ms": int(found["message.timestamp.after.max.ms"]) > future_ms,
        "message.timestamp.before.max.ms": True,
        # a record whose dead letter the brokers do not take holds up its partition
        "max.message.bytes": _is_dead_letter(spec),
        "min.insync.replicas": False,
        "retention.bytes": False,
    }
    changes = _changes(wanted, found)
    if topic.spec.cleanup != spec.cleanup:
        del changes["cleanup.policy"]  # a TopicSpec tells
    wrong = [(key, wanted[key], found[key], serious) for key, serious in needed.items() if key in changes]
    if topic.found.replication < replication:
        wrong.append(("replication", str(replication), str(topic.found.replication), False))
    return [
        TopicDifference(topic=spec.name, setting=key, expected=expected, found=actual, needed=serious)
        for key, expected, actual, serious in wrong
    ]


async def find_topics(brokers: Brokers, prefix: str = "") -> dict[str, KafkaTopic]:
    """Every topic whose name begins with `prefix`, by name. Raises LogUnavailable, LogRefused."""

    async def attempt() -> dict[str, KafkaTopic]:
        found = {each.name: each for each in await brokers.all_topics() if each.name.startswith(prefix)}
        configs = await _configs(brokers, sorted(found))
        return {name: KafkaTopic(found=found[name], config=config) for name, config in configs.items()}

    return await brokers.answered(attempt)


async def create_topics(
    brokers: Brokers, specs: Sequence[TopicSpec], *, replication: int, future_ms: int
) -> None:
    """Creates what is missing and sets the configuration of the others that differs.

    Raises TopicMismatch, changing nothing, for another partition count; LogUnavailable, LogRefused.
    """
    existing = {each.name: each for each in await brokers.answered(brokers.all_topics)}
    counts = {name: found.partitions for name, found in existing.items()}
    for spec in specs:
        found = counts.setdefault(spec.name, spec.partitions)
        if found != spec.partitions:
            raise TopicMismatch(spec.name, spec.partitions, found)
    missing = {
        spec.name: (spec, config_of(spec, replication=replication, future_ms=future_ms))
        for spec in specs
        if spec.name not in existing
    }
    if missing:
        await _create(brokers, list(missing.values()), replication)
    # more replicas in sync than there are replicas would refuse every record
    present = {
        spec.name: config_of(spec, replication=existing[spec.name].replication, future_ms=future_ms)
        for spec in specs
        if spec.name in existing
    }
    if present:
        await _correct(brokers, present)


async def _create(
    brokers: Brokers, missing: Sequence[tuple[TopicSpec, Mapping[str, str]]], replication: int
) -> None:
    topics: list[Any] = [
        (spec.name, spec.partitions, replication, [], list(config.items())) for spec, config in missing
    ]

    async def attempt() -> None:
        response = await brokers.ask(CreateTopicsRequest(topics, brokers.attempt_ms, False))
        for name, code, message in response.topic_errors:
            # made meanwhile by someone else, or by our first attempt, whose answer was lost
            if errors.for_code(code) is not errors.TopicAlreadyExistsError:
                _check(brokers, name, code, message)

    await brokers.answered(attempt)
    await _settled(brokers, {spec.name: config for spec, config in missing})


async def _correct(brokers: Brokers, wanted: Mapping[str, Mapping[str, str]]) -> None:
    async def attempt() -> None:
        actual = await _configs(brokers, sorted(wanted))
        changes = {name: _changes(config, actual[name]) for name, config in wanted.items() if name in actual}
        changes = {name: config for name, config in changes.items() if config}
        if changes:
            for code, message, _, name in (await brokers.ask(AlterTopicsRequest(changes))).resources:
                _check(brokers, name, code, message)
            await _settled(brokers, changes)

    await brokers.answered(attempt)


async def _settled(brokers: Brokers, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Returns once every broker has heard of it, so that whoever asks any of them next finds it so."""

    async def attempt() -> None:
        for response in await brokers.everywhere(TopicsRequest(list(wanted))):
            for raw in response.topics:
                if min(found_topic(raw).leaders, default=NO_LEADER) == NO_LEADER:
                    raise errors.LeaderNotAvailableError
        for response in await brokers.everywhere(_describe(list(wanted))):
            for code, message, _, name, entries in response.resources:
                checked(code, message)
                if _changes(wanted[name], {key: value for key, value, *_ in entries}):
                    raise errors.StaleMetadata(f"the configuration of {name}")

    brokers.forget()
    await brokers.answered(attempt)


def _changes(wanted: Mapping[str, str], actual: Mapping[str, str]) -> dict[str, str]:
    """What has to be set. A topic may take larger records than it must."""
    return {
        key: value
        for key, value in wanted.items()
        if actual.get(key) != value and not (key == "max.message.bytes" and int(actual[key]) > int(value))
    }


async def _configs(brokers: Brokers, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The configuration of each topic that there still is."""
    if not names:
        return {}
    configs = {}
    for code, message, _, name, entries in (await brokers.ask(_describe(names))).resources:
        if errors.for_code(code) is not errors.UnknownTopicOrPartitionError:  # deleted meanwhile
            _check(brokers, name, code, message)
            configs[name] = {key: value for key, value, *_ in entries}
    return configs


def _describe(names: Sequence[str]) -> DescribeConfigsRequest:
    return DescribeConfigsRequest([(_TOPIC_RESOURCE, name, None) for name in names])


def _check(brokers: Brokers, name: str, code: int, message: str | None) -> None:
    """Raises the error of one topic; a refusal says which topic and what the brokers said."""
    try:
        checked(code, message)
    except errors.KafkaError as error:
        meaning = translated(brokers.name, error)
        if isinstance(meaning, LogRefused):
            raise LogRefused(brokers.name, f"topic {name}: {meaning.problem}") from error
        raise
