"""Performance expected before outcomes arrive, beside what happened; from the log to the figures."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consumers.services.estimating import (
    Estimation,
    NotCalibrated,
    NotEstimatedYet,
    NothingServed,
    estimate,
)
from domain.windows.calibration import Calibration
from domain.windows.profile import MetricReference, ReferenceProfile
from schemas.events import Event
from tests.services.deployment import (
    EACH,
    LENGTH,
    MODEL,
    Deployment,
    deployment,
    outcome,
    prediction,
    profile,
)

ANSWERS = (0.1, 0.3, 0.6, 0.9)
CHANCES = (0.05, 0.25, 0.7, 0.95)
"""Of the label 1 at each answer: what the calibration says."""
CALIBRATION = Calibration(x=ANSWERS, y=CHANCES)


def calibrated(number: str = "1", effective_from_ms: int = 0) -> ReferenceProfile:
    errors = {"hit": MetricReference(n=100_000, mean=0.83, M2=14_000.0)}
    bare = profile(number, effective_from_ms)
    return replace(bare, task="probability", error_clip=None, calibration=CALIBRATION, errors=errors)


def answered(
    first: int, last: int, *, chances: Sequence[float] = CHANCES, arrive: bool = True, version: str = "1"
) -> list[Event]:
    """Windows `first` to `last`; labels follow `chances`."""
    events: list[Event] = []
    for number in range(first * EACH, last * EACH):
        at_ms = LENGTH * (number // EACH) + number % EACH * 8
        which = Random(f"{number}").randrange(4)
        label = float(Random(f"label {number}").random() < chances[which])
        events.append(prediction(number, at_ms, prediction=ANSWERS[which], version=version))
        if arrive:
            events.append(outcome(number, at_ms + 20, actual=label))
    return events


@pytest.fixture
async def where(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, migrated_file, partitions=2) as made:
        yield made


async def told(where: Deployment, version: str | None = None, windows: int | None = None) -> Estimation:
    async with where.store.read() as session:
        return await estimate(session, MODEL, version, LENGTH, windows)


async def lived(where: Deployment, *events: Event, windows: int = 20) -> None:
    await where.register(calibrated())
    await where.append(*events)
    await where.beat(LENGTH * windows + 10_000)
    await where.tallied()


async def test_a_calibrated_version_turns_out_as_expected(where: Deployment) -> None:
    await lived(where, *answered(0, 20))
    found = await told(where)
    assert (found.version, found.served, found.promised_accuracy) == ("1", True, 0.83)
    assert [stretch.windows for stretch in found.stretches] == [1] * 20
    whole = found.whole
    assert whole.windows == 20
    assert whole.expected.n == whole.answers == whole.outcomes == 20 * EACH
    assert whole.expected.accuracy == pytest.approx(0.8375, abs=0.02)
    assert whole.expected.accuracy == pytest.approx(whole.realised_accuracy or 0, abs=0.03)
    assert not any(stretch.unexplained for stretch in (*found.stretches, whole))
    cut = await told(where, windows=6)
    assert [stretch.windows for stretch in cut.stretches] == [6, 6, 6, 2]
    assert cut.whole.expected.n1 == whole.expected.n1
    assert (cut.stretches[1].first_ms, cut.stretches[1].last_ms) == (6 * LENGTH, 12 * LENGTH)


async def test_a_changed_relation_shows_in_what_happened_and_not_in_the_estimate(where: Deployment) -> None:
    await lived(where, *answered(0, 10), *answered(10, 20, chances=(0.5, 0.5, 0.5, 0.5)))
    before, after = (await told(where, windows=10)).stretches
    assert before.expected.accuracy == pytest.approx(after.expected.accuracy or 0, abs=0.02)
    assert (before.unexplained, after.unexplained) == (False, True)
    assert after.gap is not None
    assert after.gap < -0.25


async def test_windows_without_outcomes_do_not_blur_what_is_compared(where: Deployment) -> None:
    sure = [event for event in answered(4, 8, arrive=False) if getattr(event, "prediction", None) != 0.3]
    await lived(where, *answered(0, 4), *sure)
    (whole,) = (await told(where, windows=20)).stretches
    known = (await told(where, windows=4)).stretches[0]
    assert whole.windows == 8
    assert whole.expected.accuracy != whole.judged.accuracy
    assert (whole.judged, whole.gap) == (known.expected, known.gap)


async def test_before_outcomes_arrive_there_is_an_estimate_and_nothing_beside_it(where: Deployment) -> None:
    await lived(where, *answered(0, 5, arrive=False))
    whole = (await told(where)).whole
    assert whole.expected.accuracy is not None
    assert (whole.outcomes, whole.realised_accuracy, whole.gap, whole.standard_errors) == (
        0,
        None,
        None,
        None,
    )
    assert whole.arrived == 0
    assert not whole.unexplained


async def test_a_version_without_calibration_is_told_how_to_get_one(where: Deployment) -> None:
    await where.register(profile("1"), replace(profile("2"), task="probability", error_clip=None))
    await where.register_another("3")
    events = [*answered(0, 2), *answered(2, 4, version="2"), *answered(4, 6, version="3")]
    await where.append(*events)
    await where.beat(20_000)
    await where.tallied()
    with pytest.raises(NotCalibrated, match="its task is regression, and only predicted probabilities"):
        await told(where, "1")
    with pytest.raises(
        NotCalibrated, match="no calibration in its reference profile: lifecycle profile build"
    ):
        await told(where, "2")
    # the model is one of regression by the registry, which knows no version's own task
    with pytest.raises(NotCalibrated, match="version 3 of m has no calibration: its task is regression"):
        await told(where)


async def test_a_model_or_version_without_rows_and_a_calibration_to_come_are_said(where: Deployment) -> None:
    with pytest.raises(NothingServed, match="m has no window rows"):
        await told(where)
    await where.register(calibrated(effective_from_ms=10**9))
    await where.append(*answered(0, 2))
    await where.beat(20_000)
    await where.tallied()
    with pytest.raises(NotEstimatedYet, match="no closed window that it counts for yet"):
        await told(where)
    with pytest.raises(NothingServed, match="version 7 of m"):
        await told(where, "7")


async def test_answers_in_the_shadow_are_estimated_if_there_are_no_others(where: Deployment) -> None:
    await where.register(calibrated())
    events = [
        event.model_copy(update={"served": False}) if hasattr(event, "served") else event
        for event in answered(0, 4)
    ]
    await where.append(*events)
    await where.beat(20_000)
    await where.tallied()
    found = await told(where)
    assert found.served is False
    assert found.whole.expected.n == 4 * EACH
