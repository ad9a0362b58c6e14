"""Negative controls: with a rule off in all workers, the suite must object, and for the right reason."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.run import Result
from tests.chaos.scenario import SHORT_CREW, Scenario, short_run
from tests.chaos.schedule import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`by`: the check that has to object; others may."""

    rule: str
    by: str
    scenario: Scenario
    faults: Sequence[Fault] = ()

    def caught(self, result: Result) -> bool:
        return self.by in result.failed


_ONE_OF_EACH = dict.fromkeys(SHORT_CREW, 1)


def _killing(kind: str, times: int) -> tuple[Fault, ...]:
    return tuple(Fault(at_s=6.0 + 6.0 * number, kind="kill-all-of", target=kind) for number in range(times))


CONTROLS = (
    Control(
        rule="duplicate rule off",
        by="rows_equal_the_oracle",
        scenario=short_run(101, 10.0, mutant="duplicate rule off", crew=_ONE_OF_EACH),
    ),
    Control(
        rule="low water ahead of the rows",
        by="rows_equal_the_oracle",
        scenario=short_run(102, 20.0, mutant="low water ahead of the rows"),
        faults=_killing("tally", 2),
    ),
    Control(
        rule="inbox off",
        by="every_promotion_is_applied_once",
        scenario=short_run(103, 30.0, mutant="inbox off", crew=_ONE_OF_EACH),
        faults=(
            *_killing("registry", 1),
            Fault(at_s=20.0, kind="redelivery"),
            Fault(at_s=26.0, kind="redelivery"),
        ),
    ),
)
