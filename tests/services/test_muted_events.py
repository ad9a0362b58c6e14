"""What a muted drift may be announced by, and what not."""

from typing import Any

from consumers.services.decisions import decision_id, event_of
from schemas.events import DriftDetected
from tests.services.test_handlers import handle
from tests.services.world import World


async def test_a_muted_drift_backs_no_event_and_its_escalation_backs_that_of_the_episode(
    registry_world: World,
) -> None:
    found: dict[str, Any] = {
        "version": "1",
        "drift_type": "DATA_DRIFT",
        "severity": "drift",
        "detector": "roll-up-chi-square",
        "statistic": 1.25,
        "threshold": 0.5,
        "sample_size": 10,
    }
    async with registry_world.store.write() as session:
        opened = await registry_world.decided(
            session, kind="drift", subject="1/DATA_DRIFT", muted={"mute_id": "m"}, **found
        )
        escalated = await registry_world.decided(
            session,
            kind="escalation",
            subject="1/DATA_DRIFT",
            at_ms=9_500,
            cause=list(opened.key),
            opened_muted=True,
            **found,
        )
    assert event_of(opened) is None
    announced = event_of(escalated)
    assert isinstance(announced, DriftDetected)
    assert announced.drift_id == decision_id(opened.key)
    # somebody who says that the muted opening was announced
    claimed = announced.model_copy(update={"decision_id": decision_id(opened.key)})
    assert await handle(registry_world, claimed) == "forged"
    other = announced.model_copy(update={"drift_id": "another"})
    assert await handle(registry_world, other, offset=1) == "forged"
    assert await handle(registry_world, announced, offset=2) == "episode opened"
