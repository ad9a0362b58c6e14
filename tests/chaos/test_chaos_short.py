"""The fault suite in short, on servers of its own: one seed with a fault of each kind, and one control."""

from pathlib import Path

import pytest

from tests.chaos.controls import CONTROLS
from tests.chaos.run import play
from tests.chaos.scenario import short_run
from tests.servers.sources import or_refuse

pytestmark = pytest.mark.slow
SEED = 11


async def test_what_is_left_after_faults_is_what_the_log_leads_to(tmp_path: Path) -> None:
    scenario = short_run(
        SEED,
        30.0,
        faults=("kill-all-of", "kill", "freeze", "terminate", "broker-kill", "database-restart"),
    )
    with or_refuse():
        result = await play(scenario, tmp_path, print)
    assert result.failed == [], result.objections
    # it would prove nothing if nothing had happened
    assert result.figures["promotions"] >= 1
    assert result.figures["episodes"] >= 1
    assert result.figures["dead_letters"] >= 1


async def test_with_the_duplicate_rule_off_the_oracle_objects(tmp_path: Path) -> None:
    (control,) = (control for control in CONTROLS if control.rule == "duplicate rule off")
    with or_refuse():
        result = await play(control.scenario, tmp_path, print)
    assert control.caught(result)
