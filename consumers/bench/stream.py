"""A made-up stream of predictions and outcomes, the same for the same seed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import orjson

from schemas.clock import from_ms
from schemas.logrecords import NewRecord
from schemas.topics import Topics


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """Sizes of the stream. Records = predictions + their outcomes + duplicates."""

    predictions: int = 200_000
    features: int = 12
    models: int = 8
    partitions: int = 4
    per_second: int = 5_000
    """Predictions per second of event time."""
    outcome_share: float = 0.95
    duplicate_share: float = 0.01
    horizon_s: int = 60
    seed: int = 7
    start_ms: int = 1_700_000_000_000

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(f"feature_{index:02}" for index in range(self.features))

    @property
    def model_names(self) -> tuple[str, ...]:
        return tuple(f"model-{index}" for index in range(self.models))


def records(plan: StreamPlan, topics: Topics) -> Iterator[NewRecord]:
    """Predictions in time order, then their outcomes in time order: each topic is in order by itself."""
    random = Random(plan.seed)
    due: list[tuple[int, str, float]] = []
    for index in range(plan.predictions):
        at_ms = plan.start_ms + index * 1_000 // plan.per_second
        identity = f"request-{index:010}"
        level = random.gauss(0, 1)
        value = orjson.dumps(
            {
                "occurred_at": from_ms(at_ms).isoformat(),
                "prediction_id": identity,
                "model": plan.model_names[index % plan.models],
                "version": "1",
                "served": True,
                "prediction": level,
                "features": {name: random.gauss(0, 1) for name in plan.feature_names},
                "horizon_s": plan.horizon_s,
            }
        )
        record = NewRecord(topic=topics.predictions, key=identity.encode(), value=value, timestamp_ms=at_ms)
        yield record
        if random.random() < plan.duplicate_share:
            yield record
        if random.random() < plan.outcome_share:
            due.append((at_ms + plan.horizon_s * 1_000, identity, level + random.gauss(0, 1)))
    for at_ms, identity, actual in due:
        value = orjson.dumps(
            {"occurred_at": from_ms(at_ms).isoformat(), "prediction_id": identity, "actual": actual}
        )
        yield NewRecord(topic=topics.outcomes, key=identity.encode(), value=value, timestamp_ms=at_ms)
    # an hour later: everything is closed
    end_ms = plan.start_ms + math.ceil(plan.predictions / plan.per_second) * 1_000 + 3_600_000
    for topic in (topics.predictions, topics.outcomes):
        for partition in range(plan.partitions):
            yield NewRecord(topic=topic, key=None, value=None, timestamp_ms=end_ms, partition=partition)


def chunks(plan: StreamPlan, topics: Topics, size: int) -> Iterator[list[NewRecord]]:
    """`records`, so many at a time."""
    stream = records(plan, topics)
    while chunk := list(islice(stream, size)):
        yield chunk
