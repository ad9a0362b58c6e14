"""History for training equals a plain oracle over the log, and later records never change it."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.log.decode import Limits
from consumers.log.memory import InMemoryLog
from consumers.services.history import HistoricalDataService, HistoryNotClosed
from domain.windows.policy import WindowPolicy
from schemas import Topics
from schemas.clock import from_ms
from schemas.events import OutcomeObserved, PredictionMade
from schemas.logrecords import LogRecord, NewRecord
from schemas.outgoing import heartbeat, record_of

TOPICS = Topics()
POLICY = WindowPolicy(length_ms=10_000, slack_ms=3_000, grace_ms=5_000)
LIMITS = Limits()
NOW_MS = 10**12


def prediction(
    name: str,
    at_ms: int,
    *,
    model: str = "m",
    version: str = "1",
    variant: str | None = None,
    served: bool = True,
    value: float = 1.0,
    horizon_s: int = 2,
) -> PredictionMade:
    return PredictionMade(
        occurred_at=from_ms(at_ms),
        prediction_id=name,
        model=model,
        version=version,
        variant=variant,
        served=served,
        prediction=value,
        features={"x": float(at_ms)},
        horizon_s=horizon_s,
    )


def outcome(name: str, at_ms: int, actual: float) -> OutcomeObserved:
    return OutcomeObserved(occurred_at=from_ms(at_ms), prediction_id=name, actual=actual, values={})


async def log_of(events: Sequence[PredictionMade | OutcomeObserved], *, partitions: int = 1) -> InMemoryLog:
    log = InMemoryLog(now_ms=lambda: NOW_MS)
    await log.create_topics(TOPICS.specs(partitions))
    if events:
        await log.append([record_of(event, TOPICS, source="test") for event in events])
    return log


async def advance(log: InMemoryLog, at_ms: int) -> None:
    topics = await log.topics()
    for topic in (TOPICS.predictions, TOPICS.outcomes):
        for partition in range(topics[topic].partitions):
            await log.append([heartbeat(topic, partition, at_ms)])


def service(log: InMemoryLog) -> HistoricalDataService:
    return HistoricalDataService(log, TOPICS.predictions, TOPICS.outcomes, POLICY, LIMITS)


async def test_the_last_outcome_before_the_cutoff_wins() -> None:
    # window 0..10 s, due 2 s later, grace 5 s: the cutoff is 17 s
    log = await log_of(
        [
            prediction("a", 1_000),
            outcome("a", 5_000, 1.0),
            outcome("a", 16_999, 2.0),
            outcome("a", 17_000, 3.0),
        ]
    )
    await advance(log, 40_000)
    rows = await service(log).fetch("m", 17_000)
    assert [(row.prediction_id, row.actual, row.occurred_at_ms) for row in rows] == [("a", 2.0, 1_000)]


async def test_a_prediction_whose_cutoff_is_after_as_of_is_not_history_yet() -> None:
    log = await log_of([prediction("a", 1_000), outcome("a", 5_000, 1.0)])
    await advance(log, 40_000)
    assert await service(log).fetch("m", 16_999) == []
    assert len(await service(log).fetch("m", 17_000)) == 1


async def test_only_the_served_answer_gives_a_row_and_shadow_answers_stand_beside_it() -> None:
    log = await log_of(
        [
            prediction("a", 1_000, version="2", variant="challenger", served=False, value=7.0),
            prediction("a", 1_500, version="1", variant="champion", value=5.0),
            prediction("b", 1_600, version="2", variant="challenger", served=False),
            outcome("a", 5_000, 1.0),
            outcome("b", 5_000, 1.0),
        ]
    )
    await advance(log, 40_000)
    (row,) = await service(log).fetch("m", 17_000)
    assert (row.prediction_id, row.version, row.prediction) == ("a", "1", 5.0)
    assert row.answers == {"1": 5.0, "2": 7.0}


async def test_nothing_is_returned_before_the_log_has_passed_what_is_needed() -> None:
    log = await log_of([prediction("a", 1_000), outcome("a", 5_000, 1.0)])
    with pytest.raises(HistoryNotClosed, match="predictions"):
        await service(log).fetch("m", 17_000)
    await log.append([heartbeat(TOPICS.predictions, 0, 40_000)])
    with pytest.raises(HistoryNotClosed, match="outcomes") as caught:
        await service(log).fetch("m", 17_000)
    assert (caught.value.partition, caught.value.through_ms, caught.value.needed_ms) == (0, 2_000, 17_000)
    await log.append([heartbeat(TOPICS.outcomes, 0, 20_000)])
    assert len(await service(log).fetch("m", 17_000)) == 1


async def test_unreadable_records_and_other_models_are_passed_over() -> None:
    log = await log_of(
        [prediction("a", 1_000), prediction("b", 1_000, model="other"), outcome("a", 5_000, 1.0)]
    )
    junk = NewRecord(topic=TOPICS.predictions, key=b"x", value=b"{", timestamp_ms=2_000)
    await log.append([junk, NewRecord(topic=TOPICS.outcomes, key=b"x", value=b"[]", timestamp_ms=6_000)])
    await advance(log, 40_000)
    assert [row.prediction_id for row in await service(log).fetch("m", 17_000)] == ["a"]


async def test_rows_of_all_partitions_come_in_time_order() -> None:
    names = [f"p{i}" for i in range(20)]
    events: list[PredictionMade | OutcomeObserved] = []
    for i, name in enumerate(names):
        events += [prediction(name, 1_000 + i), outcome(name, 5_000, float(i))]
    log = await log_of(events, partitions=4)
    await advance(log, 40_000)
    rows = await service(log).fetch("m", 30_000)
    assert [row.prediction_id for row in rows] == names
    assert [row.prediction_id for row in await service(log).fetch("m", 30_000, from_ms=1_010)] == names[10:]


# ---------------------------------------------------------------- the oracle


def newest_before(records: Sequence[LogRecord], index: int) -> int:
    return max((record.timestamp_ms for record in records[:index]), default=0)


def timely(records: Sequence[LogRecord]) -> list[LogRecord]:
    """The rule of lateness, written down once more and slowly."""
    return [
        record
        for index, record in enumerate(records)
        if record.timestamp_ms >= newest_before(records, index) - POLICY.slack_ms and record.value
    ]


def oracle(
    predictions: Sequence[LogRecord], outcomes: Sequence[LogRecord], as_of_ms: int
) -> list[tuple[str, int, str, float, float]]:
    """Every request looked at by itself: its first served answer, the last outcome that its window uses."""
    made = [
        (record.timestamp_ms, PredictionMade.model_validate_json(record.value or b""))
        for record in timely(predictions)
    ]
    seen = [
        (record.timestamp_ms, OutcomeObserved.model_validate_json(record.value or b""))
        for record in timely(outcomes)
    ]
    rows: dict[str, tuple[int, tuple[str, int, str, float, float]]] = {}
    counted: set[tuple[int, str, str | None]] = set()
    for at_ms, answer in made:
        window = at_ms // POLICY.length_ms
        cutoff = (window + 1) * POLICY.length_ms + answer.horizon_s * 1000 + POLICY.grace_ms
        first = (window, answer.prediction_id, answer.variant) not in counted
        counted.add((window, answer.prediction_id, answer.variant))
        if not first or cutoff > as_of_ms or not answer.served:
            continue
        used = [
            event.actual
            for when, event in seen
            if event.prediction_id == answer.prediction_id
            and window * POLICY.length_ms - POLICY.slack_ms <= when < cutoff
        ]
        taken = rows.get(answer.prediction_id)
        if used and (taken is None or window < taken[0]):
            row = (answer.prediction_id, at_ms, answer.version, float(answer.prediction), float(used[-1]))
            rows[answer.prediction_id] = (window, row)
    return sorted((row for _, row in rows.values()), key=lambda row: (row[1], row[0]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(20_000, 70_000))
async def test_history_equals_a_plain_oracle_whatever_arrives_later(seed: int, as_of_ms: int) -> None:
    chance = random.Random(seed)
    events: list[PredictionMade | OutcomeObserved] = []
    clock = 0
    for _ in range(80):
        clock += chance.randrange(0, 1_500)
        name = f"p{chance.randrange(25)}"
        at_ms = max(0, clock - chance.randrange(0, 6_000))
        if chance.random() < 0.5:
            challenger = chance.random() < 0.3
            events.append(
                prediction(
                    name,
                    at_ms,
                    version="2" if challenger else "1",
                    variant="challenger" if challenger else None,
                    served=not challenger,
                    value=chance.random(),
                    horizon_s=2,
                )
            )
        else:
            events.append(outcome(name, at_ms, chance.random()))
    log = await log_of(events)
    await advance(log, as_of_ms + POLICY.slack_ms)
    closed = await service(log).fetch("m", as_of_ms)
    predictions = await log.read(TOPICS.predictions, 0, 0, 10_000)
    outcomes = await log.read(TOPICS.outcomes, 0, 0, 10_000)
    found = [
        (row.prediction_id, row.occurred_at_ms, row.version, row.prediction, row.actual) for row in closed
    ]
    assert found == oracle(predictions, outcomes, as_of_ms)
    late = [prediction(f"p{i}", chance.randrange(as_of_ms)) for i in range(25)]
    later = [outcome(f"p{i}", chance.randrange(as_of_ms), 99.0) for i in range(25)]
    await log.append([record_of(event, TOPICS, source="test") for event in [*late, *later]])
    await advance(log, as_of_ms + 500_000)
    assert await service(log).fetch("m", as_of_ms) == closed
