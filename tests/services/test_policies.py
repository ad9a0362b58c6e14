"""Policies are checked whole, and act only on what is not judged yet."""

from pathlib import Path
from typing import Any

import pytest

from consumers.services.policies import checked, put_in_force
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
        ([], "document"),
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
