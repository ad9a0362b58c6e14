"""Policies are checked whole, and act only on what is not judged yet."""

from pathlib import Path
from typing import Any

import pytest

from consumers.services.policies import InvalidPolicy, checked, put_in_force
from consumers.store.repositories.policies import PolicyRepository, StoredPolicy
from domain.errors import DomainError
from tests.services.deployment import Deployment, deployment, drifting_life

QUIET = {"drift": {"features": None, "predictions": None, "errors": None}}


async def put(where: Deployment, body: dict[str, Any]) -> StoredPolicy:
    async with where.store.write() as session:
        return await put_in_force(session, "m", checked(body))


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "policy must be a JSON object, not list"),
        ({"drfit": {}}, "drfit"),
        ({"drift": {"feature": {}}}, "feature"),
        ({"drift": {"features": {"levels": 0}}}, "levels"),
        ({"drift": {"features": {"levels": "7"}}}, "levels"),
        ({"drift": {"errors": {"delta": 2}}}, "delta"),
        ({"drift": {"episodes": {"quiet_windows": 0}}}, "quiet_windows"),
        ({"drift": []}, "drift"),
        ({"drift": {"features": 3}}, "features"),
        ({"drift": {"error_metric": 3}}, "error_metric"),
        ({"drift": {"error_metric": ""}}, "error_metric"),
        ({"retrain": {"budget": -1}}, "budget"),
        ({"retrain": None}, "retrain"),
        ({"training": []}, "training"),
        ({"validation": 1}, "validation"),
        ({"verdicts": "by_hand"}, "policy.verdicts must be an object"),
        ({"verdicts": {"promote": "maybe"}}, "policy.verdicts.promote must be one of automatic, by_hand"),
        ({"verdicts": {"demote": "by_hand"}}, "policy.verdicts.demote"),
        ({"experiment": None}, "experiment"),
        ({"drift": {"episodes": None}}, "episodes"),
        (
            {
                "experiment": {
                    "strategy": "SHADOW_MODE",
                    "primary": {"metric": "abs_error", "direction": "down"},
                }
            },
            "direction",
        ),
    ],
)
def test_a_wrong_document_is_refused_in_one_line_that_names_the_field(document: object, named: str) -> None:
    with pytest.raises(DomainError) as refused:
        checked(document)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


LIMIT = {"metric": "abs_error", "direction": "decrease", "margin": 0.1}
SHADOW: dict[str, Any] = {
    "strategy": "SHADOW_MODE",
    "primary": {"metric": "abs_error", "direction": "decrease"},
}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (
            {"drift": {"features": {"tolerance_drift": "x"}}},
            "policy.drift.features.tolerance_drift must be of type float, not 'x'",
        ),
        ({"drift": {"predictions": {"levels": 0}}}, "policy.drift.predictions.levels must be 1 to 20, not 0"),
        ({"drift": {"errors": {"cap": 1}}}, "policy.drift.errors.cap must be >= 2, not 1"),
        ({"drift": {"episodes": {"quiet_windows": 0}}}, "policy.drift.episodes.quiet_windows must be >= 1"),
        ({"drift": {"error_metric": 3}}, "policy.drift.error_metric must be the name of a metric"),
        ({"retrain": {"budget": -1}}, "policy.retrain.budget must be >= 0, not -1"),
        ({"training": {"command": []}}, "policy.training.command must be a list"),
        ({"validation": {"tolerance": "a"}}, "policy.validation.tolerance must be a number"),
        ({"experiment": {**SHADOW, "alpha": 2.0}}, "policy.experiment.alpha must be"),
        ({"experiment": {**SHADOW, "primary": {}}}, "policy.experiment.primary.metric must be given"),
        ({"experiment": {**SHADOW, "batch": {"min_outcomes": 1}}}, "policy.experiment.batch.min_outcomes"),
        ({"experiment": {**SHADOW, "minimums": {"batches": 0}}}, "policy.experiment.minimums.batches"),
        (
            {"experiment": {**SHADOW, "hold_back": {"share": 0.6, "duration_ms": 1}}},
            "policy.experiment.hold_back.share must be above 0 and at most 0.5, not 0.6",
        ),
        ({"experiment": {**SHADOW, "harm": [{**LIMIT, "x": 1}]}}, "policy.experiment.harm.x must be one of"),
        (
            {"experiment": {**SHADOW, "guardrails": [{**LIMIT, "margin": -1.0}], "harm": [LIMIT]}},
            "policy.experiment.guardrails.margin must be >= 0",
        ),
        (
            {"experiment": {**SHADOW, "primary": SHADOW["primary"] | {"denominator": "squared_error"}}},
            "policy.experiment.primary.denominator must be null unless units are split",
        ),
        (
            {"experiment": {**SHADOW, "more_primaries": [{"metric": "brier", "direction": "down"}]}},
            "policy.experiment.more_primaries.direction must be one of increase, decrease",
        ),
        (
            {"experiment": {**SHADOW, "more_primaries": [SHADOW["primary"]]}},
            "policy.experiment.more_primaries must be of different metrics",
        ),
        (
            {"experiment": {**SHADOW, "primary": SHADOW["primary"] | {"mde": 0.1}}},
            "policy.experiment.primary.mde must be null of the primary",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_field_is_named_by_its_path_in_the_document(document: object, says: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        checked(document)
    assert str(refused.value).startswith(says)


async def test_a_policy_before_the_first_judgement_counts_from_the_beginning(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        assert (await put(where, QUIET)).effective_from_ms == 0
        await drifting_life(where)
        await where.tallied()
        assert await where.judged() == 0


async def test_a_policy_counts_only_for_what_is_not_judged(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        made = await where.judged()
        assert made > 0
        quiet = await put(where, QUIET)
        assert quiet.effective_from_ms > max(decision.at_ms for decision in await where.decisions())
        assert (await where.replaying.replay()).equal
        assert await where.judged() == 0


async def test_a_policy_that_is_not_in_force_yet_can_be_followed_by_another(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        first, again = await put(where, {}), await put(where, {})
        assert first == again
        second = await put(where, QUIET)
        third = await put(where, {})
        assert [one.effective_from_ms for one in (first, second, third)] == [0, 1, 2]
        async with where.store.read() as session:
            assert await PolicyRepository(session).all("m") == [first, second, third]
        await drifting_life(where)
        await where.tallied()
        assert await where.judged() > 0
