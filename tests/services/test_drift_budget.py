"""One budget of false alarms for all models: what is promised, what was seen, what still stands together."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import update

from consumers.services.drift_budget import (
    BudgetUnfit,
    FleetBudget,
    Share,
    UnknownModel,
    WindowsUnknown,
    divide,
    divided,
    fleet_budget,
)
from consumers.services.policies import checked, put_in_force
from consumers.store.repositories.budget_orders import BudgetOrderRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.tables import decisions
from domain.errors import InvalidField
from domain.judgement.alarm_rates import MONTH_MS, per_window
from domain.judgement.policy import JudgementPolicy
from schemas.events import DriftType
from tests.services.deployment import LENGTH, MODEL, Deployment, deployment, profile, served

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PER_MONTH = MONTH_MS // LENGTH
"""Windows."""


@pytest.fixture
async def where(tmp_path: Path, url: str) -> AsyncIterator[Deployment]:
    """Once per engine of the store; `m` drifted, and two other models are registered that nobody uses."""
    async with deployment(tmp_path, url) as made:
        await made.register(profile(), profile(model="idle"), profile(model="off"))
        await made.append(*served(0, 6), *served(6, 14, low=10))
        await made.beat(LENGTH * 14 + 10_000)
        async with made.store.write() as session:
            off = {"drift": {"features": None, "predictions": None, "errors": {"delta": 0.01}}}
            await put_in_force(session, "off", checked(off))
        await made.tallied()
        await made.judged()
        yield made


async def seen(where: Deployment) -> FleetBudget:
    async with where.store.read() as session:
        return await fleet_budget(session)


async def divided_by(where: Deployment, budget: str, **weights: str) -> list[Share]:
    async with where.store.write() as session:
        wanted = {name: Fraction(weight) for name, weight in weights.items()}
        return await divide(session, Fraction(budget), wanted, actor="ada", reason="too many", now=NOW)


async def policies(where: Deployment, model: str) -> list[dict[str, Any]]:
    async with where.store.read() as session:
        return [each.body for each in await PolicyRepository(session).all(model)]


async def test_what_each_model_promises_is_added_up_and_stands_beside_what_was_seen(
    where: Deployment,
) -> None:
    found = await seen(where)
    assert [each.model for each in found.models] == ["idle", "m", "off"]
    default = per_window(JudgementPolicy()) * PER_MONTH
    assert found.models[1].per_month == found.models[0].per_month == default
    assert found.models[2].per_month == Fraction(0.01) * Fraction(3, 100) * PER_MONTH
    assert found.per_month == sum(each.per_month for each in found.models)
    drifted = found.models[1]
    assert drifted.windows.count == 14
    assert drifted.expected == per_window(JudgementPolicy()) * 14
    assert drifted.episodes[DriftType.DATA_DRIFT] == 1
    assert drifted.open == 1
    assert found.models[0].windows.count == found.models[0].expected == 0
    assert found.order is None


async def test_a_strong_alarm_stands_among_all_models_and_says_how_surely(where: Deployment) -> None:
    (alarm,) = (await seen(where)).alarms
    assert alarm.episode.drift_type is DriftType.DATA_DRIFT
    (opening,) = [each for each in await where.decisions() if each.kind == "drift"]
    evidence = orjson.loads(opening.body)["evidence"]
    # the only feature, in a month of seconds
    part = evidence["p_value"] / evidence["threshold"]
    assert alarm.p_value == pytest.approx(float(per_window(JudgementPolicy()) * PER_MONTH) * part)
    assert 0 < alarm.p_value < 1e-3
    assert alarm.q_value == pytest.approx(alarm.p_value * 3 * (1 + 1 / 2 + 1 / 3))
    assert alarm.stands(0.05)


async def test_an_alarm_that_nobody_can_measure_stands_never(where: Deployment) -> None:
    async with where.store.write() as session:
        body = b'{"evidence":{"detector":"KSWIN","statistic":1,"threshold":1}}'
        await session.execute(update(decisions).where(decisions.c.kind == "drift").values(body=body))
    (alarm,) = (await seen(where)).alarms
    assert (alarm.p_value, alarm.q_value) == (1, 1)
    assert not alarm.stands(0.999)


async def test_a_budget_is_divided_over_all_models_and_the_sum_is_never_above_it(where: Deployment) -> None:
    before = {model: await policies(where, model) for model in ("idle", "m", "off")}
    async with where.store.read() as session:
        shown = await divided(session, Fraction(3), {"m": Fraction(4)})
    assert {model: await policies(where, model) for model in before} == before, "showing writes nothing"
    made = await divided_by(where, "3", m="4")
    assert made == shown
    assert {each.model: each.share for each in made} == {
        "idle": Fraction(1, 2),
        "m": Fraction(2),
        "off": Fraction(1, 2),
    }
    after = await seen(where)
    assert Fraction(2_999, 1_000) < after.per_month <= 3
    assert [each.per_month for each in after.models] == [each.per_month for each in made]
    assert set((await policies(where, "off"))[-1]["drift"]["errors"]) == {"delta"}
    assert (await policies(where, "off"))[-1]["drift"]["features"] is None
    judged = max(decision.at_ms for decision in await where.decisions())
    async with where.store.read() as session:
        newest = (await PolicyRepository(session).all(MODEL))[-1]
        order = await BudgetOrderRepository(session).last()
    assert newest.effective_from_ms > judged
    assert order is not None
    assert (order.per_month, order.actor, set(order.policies)) == ("3", "ada", {"idle", "m", "off"})
    assert order.policies[MODEL] == newest.hash
    assert after.order == order
    assert (await where.replaying.replay()).equal


async def test_the_same_budget_again_writes_nothing(where: Deployment) -> None:
    await divided_by(where, "0.1")
    count = {model: len(await policies(where, model)) for model in ("idle", "m", "off")}
    again = await divided_by(where, "0.1")
    assert not any(each.changes for each in again)
    assert {model: len(await policies(where, model)) for model in count} == count
    more = await divided_by(where, "0.1", idle="2")
    assert [each.model for each in more if each.changes] == ["idle", "m", "off"]


async def test_other_sections_of_a_policy_stay(where: Deployment) -> None:
    async with where.store.write() as session:
        body = {
            "drift": {"features": {"levels": 3}, "episodes": {"quiet_windows": 9}},
            "retrain": {"budget": 5},
        }
        await put_in_force(session, "idle", checked(body))
    await divided_by(where, "1")
    kept = (await policies(where, "idle"))[-1]
    assert kept["retrain"] == {"budget": 5}
    assert kept["drift"]["episodes"] == {"quiet_windows": 9}
    assert kept["drift"]["features"].keys() == {"levels", "false_alarms_per_window"}


async def test_what_cannot_be_divided_is_refused_and_nothing_is_written(where: Deployment) -> None:
    with pytest.raises(UnknownModel, match="there is no model nobody"):
        await divided_by(where, "1", nobody="2")
    with pytest.raises(InvalidField, match="per_month must be > 0"):
        await divided_by(where, "0")
    with pytest.raises(BudgetUnfit, match=r"idle cannot spend its share of .* level stays under 1"):
        await divided_by(where, str(3 * PER_MONTH))
    async with where.store.write() as session:
        everything_off = {"drift": {"features": None, "predictions": None, "errors": None}}
        await put_in_force(session, "off", checked(everything_off))
    with pytest.raises(BudgetUnfit, match="off cannot spend its share"):
        await divided_by(where, "1")
    assert len(await policies(where, "idle")) == 0


async def test_without_the_length_of_windows_nobody_knows_what_a_month_is(tmp_path: Path, url: str) -> None:
    async with deployment(tmp_path, url) as made, made.store.read() as session:
        assert await DeploymentRepository(session).get("windows") is None
        with pytest.raises(WindowsUnknown, match="lifecycle init"):
            await fleet_budget(session)
