"""Who answers a request and whose answer is served, by an experiment's strategy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .buckets import bucket_of
from .split import Arm, InvalidSplit, Split, split_of

Strategy = Literal["PERCENTAGE_SPLIT", "USER_SEGMENT", "SHADOW_MODE"]


class UnitMissing(ValueError):
    """USER_SEGMENT keeps a unit with its arm, so a request without a unit cannot be assigned."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm that answers; only a served answer is acted on."""

    arm: str
    served: bool


class Allocation:
    """The assignment of one allocation epoch: a pure function of (salt, request, unit)."""

    def __init__(self, strategy: str, salt: str, arms: Sequence[Arm]) -> None:
        """Raises InvalidSplit for arms that cannot be given traffic and for an unknown strategy.

        In SHADOW_MODE shares have no meaning and are not looked at: every arm answers.
        """
        if strategy not in {"PERCENTAGE_SPLIT", "USER_SEGMENT", "SHADOW_MODE"}:
            raise InvalidSplit(f"unknown strategy {strategy!r}")
        if strategy == "SHADOW_MODE" and sum(arm.champion for arm in arms) != 1:
            raise InvalidSplit("exactly one arm must be the champion")
        self._strategy = strategy
        self._salt = salt
        self._shadow = tuple(Answer(arm.name, arm.champion) for arm in arms)
        self._split: Split | None = None if strategy == "SHADOW_MODE" else split_of(arms)

    def answers(self, prediction_id: str, unit: str | None = None) -> tuple[Answer, ...]:
        """The arms that answer, in the order of the config. Exactly one answer is served.

        PERCENTAGE_SPLIT draws by request, USER_SEGMENT by unit (raises UnitMissing without one).
        """
        if self._split is None:
            return self._shadow
        identity = prediction_id
        if self._strategy == "USER_SEGMENT":
            if unit is None:
                raise UnitMissing(f"request {prediction_id!r} names no unit")
            identity = unit
        return (Answer(self._split.arm_of(bucket_of(self._salt, identity)), True),)
