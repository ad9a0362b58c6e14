"""Plans as people write them, where they are rehearsed."""

import pytest

from consumers.services.plans import NotRehearsed, plan_of_document
from tests.services.world import MODEL, TEMPLATE, World


async def test_a_switchback_is_not_rehearsed(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.read() as session:
        assert (await plan_of_document(session, MODEL, TEMPLATE)).champion.version == "1"
        with pytest.raises(NotRehearsed, match="cannot be rehearsed"):
            await plan_of_document(
                session, MODEL, {**TEMPLATE, "strategy": "SWITCHBACK", "period_ms": 60_000}
            )
