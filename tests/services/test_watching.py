"""A policy is held against the version that serves: what it cannot read is refused or said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumers.services.policies import InvalidPolicy, checked, put_in_force
from consumers.services.status import status
from consumers.services.watching import refuse_unfit, silent_detectors
from domain.windows.profile import FeatureReference
from tests.services.deployment import MODEL, Deployment, deployment, profile

SIDE = FeatureReference(kind="categorical", categories=("buy", "sell"), counts=(5, 5, 0, 0))


@asynccontextmanager
async def serving(folder: Path, migrated: Path) -> AsyncIterator[Deployment]:
    """Version 1 in production: a numeric feature without bin means, a categorical one, no prediction."""
    async with deployment(folder, migrated) as where:
        await where.register(replace(profile(), features={**profile().features, "side": SIDE}))
        async with where.store.write() as session:
            await where.registry.promote(
                session, MODEL, "1", expected_production=None, actor="ada", reason="first", at_ms=1
            )
        yield where


def reading(stream: str) -> dict[str, Any]:
    return {"drift": {"classics": [{"detector": "ADWIN", "stream": stream}]}}


async def test_a_classic_on_a_category_is_refused_by_its_place(tmp_path: Path, migrated_file: Path) -> None:
    async with serving(tmp_path, migrated_file) as where, where.store.read() as session:
        with pytest.raises(InvalidPolicy) as refused:
            await refuse_unfit(session, MODEL, checked(reading("feature:side")))
        await refuse_unfit(session, MODEL, checked(reading("feature:x")))
        await refuse_unfit(session, "another", checked(reading("feature:side")))
    assert str(refused.value) == (
        "policy.drift.classics[0].stream must be a numeric feature; it is categorical in version 1, "
        "not 'feature:side'"
    )


async def test_status_names_the_detectors_that_are_on_and_silent(tmp_path: Path, migrated_file: Path) -> None:
    body = checked(
        {
            **reading("feature:x"),
            "drift": {
                **reading("feature:x")["drift"],
                "predictions": None,
                "promise": {"metric": "sign_hit", "tolerance": 0.02},
            },
        }
    )
    async with serving(tmp_path, migrated_file) as where:
        async with where.store.write() as session:
            await put_in_force(session, MODEL, body)
        (model,) = (await status(where.store, where.log, where.topics))["models"]
        async with where.store.read() as session:
            of_default = await silent_detectors(session, MODEL, {})
            nobody = await silent_detectors(session, "another")
    assert model["silent_detectors"] == [
        {
            "detector": "promise",
            "why": "no baseline: the policy names none, and the reference profile does not measure sign_hit",
        },
        {
            "detector": "classics[0]",
            "why": "ADWIN: the reference profile does not hold the bin means of x",
        },
    ]
    assert [each.detector for each in of_default] == ["predictions"]
    assert nobody == ()
