"""Plans as people write them, where they are rehearsed."""

from dataclasses import replace

import pytest

from consumers.services.plans import NoChampion, plan_of_document
from domain.errors import InvalidField
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
