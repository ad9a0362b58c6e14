"""The topics of a deployment, made and held against what its settings need."""

from collections.abc import Sequence

from consumers.log.differences import ConfiguredLog, TopicDifference
from consumers.log.port import EventLog, TopicSpec
from consumers.settings import ConfigManager, SettingsError
from domain.errors import DomainError
from schemas.topics import HOT_TOPICS, Topics

_FOR_EVER = -1
# whoever is called out at night looks at it in the morning
_OUTAGE_MS = 86_400_000


class TopicsWrong(DomainError):
    """Topics are missing or made otherwise than results need. `differences` are those that matter."""

    def __init__(self, differences: Sequence[TopicDifference]) -> None:
        self.differences = tuple(differences)
        first = differences[0]
        more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
        found = "is missing" if first.found is None else f"is {first.found}, must be {first.expected}"
        what = first.topic if first.found is None else f"{first.topic}: {first.setting}"
        super().__init__(
            f"topics are not as this deployment needs them: {what} {found}{more}. "
            "Run: lifecycle topics create (what it cannot change, lifecycle topics check shows)"
        )


def wanted_topics(settings: ConfigManager) -> list[TopicSpec]:
    """Every topic as the settings want it. Raises SettingsError if records would be lost."""
    hot_s, least_s = settings.kafka.hot_retention_s, least_retention_ms(settings) / 1_000
    if 0 <= hot_s < least_s:
        limit = f"must be -1, or {least_s:.0f} or more: the longest horizon, grace, slack and a day of outage"
        key = "kafka.hot_retention_s"
        raise SettingsError(key, hot_s, limit, settings.source(key))
    hot_ms = _FOR_EVER if hot_s < 0 else round(hot_s * 1_000)
    return Topics(settings.topic_prefix).specs(settings.partitions, hot_retention_ms=hot_ms)


async def check_topics(log: EventLog, settings: ConfigManager) -> list[TopicDifference]:
    """Every difference, by topic."""
    wanted = wanted_topics(settings)
    found = await log.topics()
    differences = [
        difference for spec in wanted for difference in _differences(spec, found.get(spec.name), settings)
    ]
    if isinstance(log, ConfiguredLog):
        differences += await log.configuration_differences([spec for spec in wanted if spec.name in found])
    return sorted(differences, key=lambda each: (each.topic, each.setting))


async def require_topics(log: EventLog, settings: ConfigManager) -> None:
    """Raises TopicsWrong if there is a difference with which results would be wrong."""
    needed = [difference for difference in await check_topics(log, settings) if difference.needed]
    if needed:
        raise TopicsWrong(needed)


def least_retention_ms(settings: ConfigManager) -> int:
    """How long predictions and outcomes must be kept: until nothing waits for them, and an outage longer."""
    windows = settings.windows
    waits_ms = windows.max_horizon_s * 1_000 + windows.length_ms + windows.grace_ms + windows.slack_ms
    return waits_ms + _OUTAGE_MS


def _differences(
    wanted: TopicSpec, found: TopicSpec | None, settings: ConfigManager
) -> list[TopicDifference]:
    def differs(setting: str, expected: object, actual: object, *, needed: bool) -> TopicDifference:
        shown = None if actual is None else str(actual)
        return TopicDifference(
            topic=wanted.name, setting=setting, expected=str(expected), found=shown, needed=needed
        )

    if found is None:
        return [differs("topic", f"{wanted.partitions} partitions", None, needed=True)]
    differences = []
    if found.partitions != wanted.partitions:
        # keys of predictions and outcomes meet only while both have the same count
        differences.append(differs("partitions", wanted.partitions, found.partitions, needed=True))
    if found.cleanup != wanted.cleanup:
        differences.append(differs("cleanup.policy", wanted.cleanup, found.cleanup, needed=True))
    least_ms = least_retention_ms(settings)
    # hot topics are kept for ever, or until nothing can wait for them
    hot = wanted.name.removeprefix(settings.topic_prefix) in HOT_TOPICS
    if hot and found.retention_ms != _FOR_EVER and found.retention_ms < least_ms:
        differences.append(differs("retention.ms", f"at least {least_ms}", found.retention_ms, needed=False))
    elif found.retention_ms != wanted.retention_ms:
        differences.append(differs("retention.ms", wanted.retention_ms, found.retention_ms, needed=False))
    return differences
