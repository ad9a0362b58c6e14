"""A plan whose recorded calibration failed is not started to promote by itself."""

from dataclasses import replace

import pytest

from consumers.services import calibrations
from consumers.services.calibrations import Calibration, NotCalibrated, rules_hash
from consumers.services.experiments import plan_from_template
from consumers.services.policies import checked, put_in_force
from consumers.store.repositories.experiments import ExperimentRepository
from domain.experiments.plan import ExperimentPlan
from schemas.events import ExperimentStatus
from tests.services.world import MODEL, TEMPLATE, World

FAILED = Calibration(config_hash="c" * 64, alpha=0.05, upper=0.08, runs=400, seed=1, modes=("own", "t3"))
HELD = replace(FAILED, upper=0.04)


def a_plan(name: str = "e1", challenger: str = "2", **fields: object) -> ExperimentPlan:
    return plan_from_template(
        {**TEMPLATE, **fields}, experiment=name, model=MODEL, champion="1", challenger=challenger
    )


async def started(world: World, plan: ExperimentPlan) -> ExperimentStatus:
    async with world.store.write() as session:
        await world.experiments.create(session, plan)
    async with world.store.write() as session:
        return (await world.experiments.start(session, plan.experiment, at_ms=3_000)).status


async def recorded(world: World, plan: ExperimentPlan, found: Calibration) -> None:
    async with world.store.write() as session:
        await calibrations.record(session, plan, found)


def test_rules_are_the_plan_without_names_and_versions() -> None:
    assert rules_hash(a_plan()) == rules_hash(a_plan("e2", "3"))
    assert rules_hash(a_plan()) != rules_hash(a_plan(alpha=0.04))
    assert rules_hash(a_plan()) != rules_hash(replace(a_plan(), model="other"))


async def test_what_failed_is_not_started_and_nothing_changes(registry_world: World) -> None:
    await registry_world.with_production()
    await recorded(registry_world, a_plan("another", "9"), FAILED)
    with pytest.raises(NotCalibrated, match=r"at most 8 % by 400 rehearsals each of own, t3, alpha is 5 %"):
        await started(registry_world, a_plan())
    async with registry_world.store.read() as session:
        found = await ExperimentRepository(session).get("e1")
        assert await calibrations.recorded(session, a_plan()) == FAILED
    assert found is not None
    assert found.status is ExperimentStatus.CREATED


async def test_a_later_calibration_takes_the_place_of_an_earlier_one(registry_world: World) -> None:
    await registry_world.with_production()
    await recorded(registry_world, a_plan(), FAILED)
    await recorded(registry_world, a_plan(), HELD)
    assert await started(registry_world, a_plan()) is ExperimentStatus.RUNNING


async def test_a_laxer_question_is_no_answer(registry_world: World) -> None:
    await registry_world.with_production()
    await recorded(registry_world, a_plan(), replace(FAILED, alpha=0.5))
    with pytest.raises(NotCalibrated, match="alpha is 5 %"):
        await started(registry_world, a_plan())


async def test_other_rules_may_start(registry_world: World) -> None:
    await registry_world.with_production()
    await recorded(registry_world, a_plan(), FAILED)
    assert await started(registry_world, a_plan(alpha=0.04)) is ExperimentStatus.RUNNING


async def test_a_promotion_by_hand_needs_no_calibration(registry_world: World) -> None:
    await registry_world.with_production()
    await recorded(registry_world, a_plan(), FAILED)
    async with registry_world.store.write() as session:
        await put_in_force(session, MODEL, checked({"verdicts": {"promote": "by_hand"}}))
    assert await started(registry_world, a_plan()) is ExperimentStatus.RUNNING
