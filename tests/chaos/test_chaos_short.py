"""The fault suite in short, on servers of its own: one seed with a fault of each kind, and one control."""

from pathlib import Path

import pytest

from tests.chaos.controls import CONTROLS
from tests.chaos.run import play
from tests.chaos.scenario import SHORT_CREW, short_run
from tests.chaos.schedule import Fault
from tests.servers.sources import or_refuse

pytestmark = pytest.mark.slow
SEED = 13
FAULTS = (
    *(Fault(at_s=3.0 + number, kind="kill", target=f"{kind}-0") for number, kind in enumerate(SHORT_CREW)),
    Fault(at_s=9.0, kind="broker-kill", target="broker-0"),
    Fault(at_s=11.0, kind="freeze", target="tally-1", for_s=8.0),
    Fault(at_s=21.0, kind="database-restart"),
    Fault(at_s=24.0, kind="terminate", target="judge-1"),
)


async def test_what_is_left_after_faults_is_what_the_log_leads_to(tmp_path: Path) -> None:
    with or_refuse():
        result = await play(short_run(SEED, 30.0), tmp_path, print, FAULTS)
    assert result.failed == [], result.objections
    # it would prove nothing if nothing had happened
    assert result.figures["promotions"] >= 1
    assert result.figures["episodes"] >= 1
    assert result.figures["dead_letters"] >= 1


async def test_with_the_duplicate_rule_off_the_oracle_objects(tmp_path: Path) -> None:
    (control,) = (control for control in CONTROLS if control.rule == "duplicate rule off")
    with or_refuse():
        result = await play(control.scenario, tmp_path, print, control.faults)
    assert control.caught(result)
