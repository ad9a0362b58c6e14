"""Tuning judges a model's own rows with other settings, tells what differs, and writes nothing."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consumers.services.policies import InvalidPolicy, checked, put_in_force
from consumers.services.tuning import (
    MOST_SETTINGS,
    NotJudged,
    TooManySettings,
    Tuning,
    change_of,
    policy_now,
    settings_of,
    tune,
)
from consumers.store.repositories.pruning import PruningRepository
from domain.errors import InvalidField
from tests.services.deployment import LENGTH, MODEL, Deployment, deployment, drifting_life


@pytest.fixture
async def done(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    """A deployment with a drift in it, tallied and judged."""
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        await drifting_life(where)
        await where.tallied(batch_records=700)
        await where.judged()
        yield where


async def tuned(where: Deployment, *changes: str, **span: Any) -> Tuning:
    async with where.store.read() as session:
        base = await policy_now(session, MODEL)
        settings = settings_of(base, [change_of(text) for text in changes])
        return await tune(session, MODEL, settings, LENGTH, **span)


async def test_the_policy_that_was_in_force_alarms_as_it_did(done: Deployment) -> None:
    told = await tuned(done)
    (same,) = told.candidates
    assert told.agrees is True
    assert told.real.spans
    assert same.timeline == told.real
    assert [one for one, _ in same.comparison.both] == list(told.real.spans)
    assert set(same.comparison.later_ms) == {0}
    assert (same.comparison.only_real, same.comparison.only_candidate) == ((), ())
    assert (told.windows, told.rows) == (14, 14 * 2 * 2)
    assert [(each.version, each.from_ms) for each in told.served] == [("1", 0)]


async def test_what_is_switched_off_alarms_no_more_and_what_is_tolerant_later(done: Deployment) -> None:
    told = await tuned(done, "drift.features=null", "drift.errors=null")
    (silent,) = told.candidates
    assert silent.timeline.spans == ()
    assert silent.timeline.retrain_ms == ()
    assert silent.comparison.only_real == told.real.spans
    told = await tuned(done, "drift.features.tolerance_drift=0.1,9", "drift.features.tolerance_warn=0.02")
    strict, tolerant = told.candidates
    severe = [each.timeline.tally("DATA_DRIFT").drift for each in (strict, tolerant)]
    assert severe == [1, 0]
    assert strict.setting.label.startswith("drift.features.tolerance_drift=0.1 ")


async def test_nothing_is_written(done: Deployment) -> None:
    file = done.folder / "store.db"
    before = sha256(file.read_bytes()).digest()
    await tuned(done, "drift.errors.delta=0.001,0.1")
    assert sha256(file.read_bytes()).digest() == before


async def test_a_time_bounds_what_is_compared_and_not_what_is_replayed(done: Deployment) -> None:
    whole = await tuned(done)
    first = whole.real.spans[0].opened_ms
    early = await tuned(done, to_ms=first)
    assert early.real.spans == early.candidates[0].timeline.spans == ()
    late = await tuned(done, from_ms=first)
    assert late.real.spans == late.candidates[0].timeline.spans == whole.real.spans
    assert late.windows < whole.windows


async def test_a_policy_that_came_later_is_compared_with_those_that_were_in_force(done: Deployment) -> None:
    async with done.store.write() as session:
        await put_in_force(session, MODEL, checked({"drift": {"errors": None}}))
    told = await tuned(done)
    assert len(told.policies) == 1
    assert told.agrees is True
    missed = {each.drift_type for each in told.candidates[0].comparison.only_real}
    assert missed <= {"CONCEPT_DRIFT", "PERFORMANCE_DEGRADATION"}
    assert missed


async def test_recorded_decisions_that_the_rows_do_not_lead_to_are_said(done: Deployment) -> None:
    victim = (await done.decisions())[0]
    done.sql("store.db", "UPDATE decisions SET at_ms = at_ms + 1 WHERE decision_id = ?", victim.decision_id)
    done.sql(
        "store.db",
        "UPDATE decisions SET body = ? WHERE decision_id = ?",
        victim.body.replace(f'"at_ms":{victim.at_ms}'.encode(), f'"at_ms":{victim.at_ms + 1}'.encode()),
        victim.decision_id,
    )
    told = await tuned(done)
    assert told.agrees is False
    assert told.difference is not None
    assert told.difference.decision.decision_id == victim.decision_id


async def test_where_rows_are_deleted_nothing_is_called_proven(done: Deployment) -> None:
    async with done.store.write() as session:
        await PruningRepository(session).delete_rows(3 * LENGTH, [0, 1], 1_000)
    told = await tuned(done)
    assert told.agrees is None
    assert told.pruned_through_ms == 3 * LENGTH
    assert told.from_ms >= 2 * LENGTH
    assert told.candidates[0].timeline.spans


async def test_what_the_rows_do_not_hold_is_noted(done: Deployment) -> None:
    told = await tuned(done, "drift.error_metric=pinball", 'drift.features.features=["x","z"]')
    notes = told.candidates[0].notes
    assert any("no score row has the metric pinball (there is: abs_error" in note for note in notes)
    assert any("no reference profile has z" in note for note in notes)


async def test_a_model_without_judged_rows_has_nothing_to_replay(done: Deployment) -> None:
    async with done.store.read() as session:
        with pytest.raises(NotJudged, match="other has no judged window rows"):
            await tune(session, "other", settings_of({}, []), LENGTH)


@pytest.mark.parametrize(
    "text,says",
    [
        ("drift.errors.delta", "--set.drift.errors.delta must be drift.… or retrain.…, then =, then a value"),
        ("experiment.alpha=0.1", "--set.experiment.alpha must be drift.… or retrain.…"),
        ("drift..delta=1", "--set.drift..delta must be"),
        ("drift.features.bins=10", "frozen in the reference profile"),
        ("drift.season.slots=24", "a new version with a new profile"),
        ("drift.errors.delta=0.1,,0.2", "--set.drift.errors.delta must be followed by a value"),
        ("drift.errors.delta=", "--set.drift.errors.delta must be followed by a value"),
    ],
)
def test_a_change_that_cannot_be_meant_is_named(text: str, says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        change_of(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "text,says",
    [
        ("drift.features.tolerance_drift=-1", "policy.drift.features.tolerance_drift must be"),
        ("drift.features.tolerance=1", "policy.drift.features.tolerance must be one of"),
        ("drift.errors.delta=true", "policy.drift.errors.delta must be"),
        ("drift.nothing.at=1", "policy.drift.nothing must be one of"),
        ("retrain.budget=-1", "policy.retrain.budget must be >= 0"),
    ],
)
def test_a_wrong_setting_is_named_with_its_limit(text: str, says: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        settings_of({}, [change_of(text)])
    assert says in str(refused.value)


def test_values_are_json_or_text_and_lists_stay_whole() -> None:
    assert change_of("drift.errors.delta=0.1, 0.2").values == (0.1, 0.2)
    assert change_of("drift.features=null").values == (None,)
    assert change_of('drift.features.features=["a","b"],["c"]').values == (["a", "b"], ["c"])
    assert change_of("drift.error_metric=hit,abs_error").values == ("hit", "abs_error")


def test_a_grid_is_every_combination_and_has_an_end() -> None:
    changes = [change_of("drift.errors.delta=0.1,0.2"), change_of("drift.episodes.quiet_windows=3,4,5")]
    found = settings_of({"drift": {"features": None}}, changes, "p.json")
    assert len({each.label for each in found}) == 6
    assert {each.policy.errors.delta for each in found if each.policy.errors} == {0.1, 0.2}
    assert all(each.policy.features is None for each in found)
    assert found[0].label == "p.json drift.errors.delta=0.1 drift.episodes.quiet_windows=3"
    many = ",".join(str(number) for number in range(1, MOST_SETTINGS + 2))
    with pytest.raises(TooManySettings, match="65 settings: at most 64"):
        settings_of({}, [change_of(f"drift.episodes.quiet_windows={many}")])
