"""How topics differ from what a deployment needs, in words that every engine shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from consumers.log.port import TopicSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDifference:
    """One thing that is not as it should be. With a `needed` one nothing may run: results would be wrong."""

    topic: str
    setting: str
    expected: str
    found: str | None
    needed: bool


@runtime_checkable
class ConfiguredLog(Protocol):
    """A log whose topics have more settings than a TopicSpec tells. Kafka is one."""

    async def configuration_differences(self, specs: Sequence[TopicSpec]) -> list[TopicDifference]:
        """What differs beyond what a TopicSpec tells, in topics of `specs` that exist."""
        ...
