"""Promotions that the registry may not make: answered, remembered, and nothing else."""

from consumers.store.repositories.inbox import InboxRepository
from tests.services.test_handlers import handle, production, promotion
from tests.services.world import MODEL, World


async def test_a_cancelled_experiment_is_never_promoted(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    event = await promotion(registry_world)
    async with registry_world.store.write() as session:
        await registry_world.experiments.cancel(session, "e1", at_ms=3_500)
    assert await handle(registry_world, event) == "stale: experiment e1 has ended"
    assert await production(registry_world) == "1"


async def test_an_order_that_a_rule_forbids_is_answered_and_leaves_nothing_half_done(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    event = await promotion(registry_world)  # of an experiment that the registry never heard of
    async with registry_world.store.write() as session:
        await registry_world.registry.freeze(session, MODEL)
    before = await registry_world.promised()
    result = await handle(registry_world, event)
    assert result == "refused: there is no experiment e1"
    assert await handle(registry_world, event, offset=1) == "duplicate"
    assert await registry_world.promised() == before
    async with registry_world.store.read() as session:
        assert await InboxRepository(session).result("registry/model-promoted", event.event_id) == result
