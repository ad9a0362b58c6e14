"""Negative controls: with a rule off in all workers, the suite must object, and for the right reason."""

from dataclasses import dataclass
from typing import Any

from tests.chaos.run import Result
from tests.chaos.scenario import Scenario, short_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`by`: the check that has to object; others may."""

    rule: str
    scenario: Scenario
    by: str

    def caught(self, result: Result) -> bool:
        return self.by in result.failed


def _control(rule: str, by: str, seed: int, seconds: float, **other: Any) -> Control:
    return Control(rule=rule, by=by, scenario=short_run(seed, seconds, mutant=rule, **other))


CONTROLS = (
    _control("duplicate rule off", "rows_equal_the_oracle", 101, 12.0, faults=()),
    _control(
        "low water ahead of the rows", "rows_equal_the_oracle", 102, 25.0, faults=("kill", "kill-all-of")
    ),
    _control("inbox off", "every_promotion_is_applied_once", 103, 30.0, faults=("redelivery",)),
)
