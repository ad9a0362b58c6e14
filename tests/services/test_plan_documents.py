"""Plans as people write them, where they are rehearsed."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from consumers.services.plans import MAX_NAME, NoChampion, plan_of_document, to_be_recorded
from domain.errors import InvalidField
from domain.windows.metrics import METRICS, VALUE_PREFIX, score
from domain.windows.profile import ReferenceProfile
from schemas.clock import from_ms
from schemas.events import Name, OutcomeObserved
from tests.services.world import MODEL, TEMPLATE, World


async def test_a_template_is_the_version_that_serves_against_one_challenger(registry_world: World) -> None:
    async with registry_world.store.read() as session:
        with pytest.raises(NoChampion, match="no version of brent is PRODUCTION"):
            await plan_of_document(session, MODEL, TEMPLATE)
    await registry_world.with_production()
    switching = {**TEMPLATE, "strategy": "SWITCHBACK", "period_ms": 60_000}
    async with registry_world.store.read() as session:
        for document in (TEMPLATE, switching):
            found = await plan_of_document(session, MODEL, document)
            assert (found.model, found.champion.version, len(found.treatments)) == (MODEL, "1", 1)


async def test_a_whole_plan_is_taken_as_it_is(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.read() as session:
        whole = await plan_of_document(session, MODEL, TEMPLATE)
        whole = replace(whole, experiment="mine", alpha=0.02)
        assert await plan_of_document(session, MODEL, whole.to_json()) == whole
        wrong: list[object] = [[], {**whole.to_json(), "model": "other"}]
        for document in wrong:
            with pytest.raises(InvalidField):
                await plan_of_document(session, MODEL, document)


RATIO = {"metric": "value.pnl", "direction": "increase", "denominator": "value.volume"}


@pytest.mark.parametrize(
    "fields,says",
    [
        (
            {"primary": {"metric": "abs_eror", "direction": "decrease"}},
            "Goal.metric must be one of abs_error,",
        ),
        ({"harm": [{"metric": "pnl", "direction": "increase"}]}, "Limit.metric must be one of .*value.NAME"),
        (
            {"strategy": "USER_SEGMENT", "primary": {**RATIO, "denominator": "volume"}},
            "Goal.denominator must be one of",
        ),
        ({"variances": {"abs_eror": 1.0}}, "variances must be of what the plan compares: abs_error, not"),
        ({"segments": ["v" * 129], "strategy": "USER_SEGMENT"}, "segments must be of names of 1 to 128"),
    ],
)
async def test_a_plan_that_waits_for_what_nobody_measures_is_refused_by_its_field(
    registry_world: World, fields: dict[str, object], says: str
) -> None:
    await registry_world.with_production()
    async with registry_world.store.read() as session:
        with pytest.raises(InvalidField, match=says):
            await plan_of_document(session, MODEL, {**TEMPLATE, **fields})
        sticky = {"strategy": "USER_SEGMENT", "primary": RATIO, "variances": {"value.pnl/value.volume": 2.0}}
        assert (await plan_of_document(session, MODEL, {**TEMPLATE, **sticky})).primary.metric == "value.pnl"


def test_every_metric_that_windows_have_is_known() -> None:
    profile = ReferenceProfile(model="m", version="1", task="regression", features={}, error_clip=1.0)

    def outcome(actual: float | str) -> OutcomeObserved:
        return OutcomeObserved(prediction_id="r", actual=actual, values={"pnl": 2.0}, occurred_at=from_ms(0))

    number = score([0.5], [True], [outcome(1.0)], profile)
    probability = score([0.5], [True], [outcome(1.0)], replace(profile, task="probability"))
    label = score(["up"], [True], [outcome("up")], None)
    assert {*number.samples, *probability.samples, *label.samples} == set(METRICS)
    assert list(number.values) == [f"{VALUE_PREFIX}pnl"]


@pytest.mark.parametrize("length,fine", [(128, True), (129, False)])
async def test_a_name_that_no_event_can_carry_is_refused_when_it_is_given(
    registry_world: World, length: int, fine: bool
) -> None:
    await registry_world.with_production()
    async with registry_world.store.read() as session:
        whole = (await plan_of_document(session, MODEL, TEMPLATE)).to_json()
        document = {**whole, "experiment": "e" * length}
        if fine:
            assert (await plan_of_document(session, MODEL, document)).experiment == "e" * length
        else:
            with pytest.raises(InvalidField, match="experiment must be of names of 1 to 128 characters"):
                await plan_of_document(session, MODEL, document)


def test_the_limit_of_names_is_that_of_events() -> None:
    TypeAdapter(Name).validate_python("n" * MAX_NAME)
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python("n" * (MAX_NAME + 1))


async def test_a_version_is_compared_with_itself_in_rehearsals_only(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.read() as session:
        whole = (await plan_of_document(session, MODEL, TEMPLATE)).to_json()
        twice = [{**variant, "version": "1"} for variant in whole["variants"]]
        rehearsed = await plan_of_document(session, MODEL, {**whole, "variants": twice})
    with pytest.raises(InvalidField, match=r"variants must be of different versions, not \['1', '1'\]"):
        to_be_recorded(rehearsed)
