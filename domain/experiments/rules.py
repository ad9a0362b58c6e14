"""What an experiment compares: goals that promote, limits that hold back or roll back."""

from dataclasses import dataclass, field
from typing import Literal

from domain.errors import InvalidField
from domain.plain import LATER

Direction = Literal["increase", "decrease"]


def require(fine: bool, where: str, limit: str, value: object) -> None:
    """Raises InvalidField for the field at `where`, written `Owner.field`, unless it is fine."""
    if not fine:
        owner, _, name = where.partition(".")
        raise InvalidField(owner, name, limit, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A primary metric and what counts as better.

    A `margin` > 0 makes it a non-inferiority goal: promote when the loss is surely smaller than the margin.
    With a `denominator`, another metric, it is the ratio of the two sums and not the metric's mean; this
    needs USER_SEGMENT.
    """

    metric: str
    direction: Direction
    margin: float = 0.0
    denominator: str | None = field(default=None, metadata=LATER)
    mde: float | None = field(default=None, metadata=LATER)
    """Of one of a plan's `more_primaries`: the gain worth having. That of `primary` is the plan's own."""

    def __post_init__(self) -> None:
        require(bool(self.metric), "Goal.metric", "not empty", self.metric)
        require(self.margin >= 0, "Goal.margin", ">= 0", self.margin)
        limit = "another metric, or null"
        require(self.denominator not in ("", self.metric), "Goal.denominator", limit, self.denominator)
        require(self.mde is None or self.mde > 0, "Goal.mde", "> 0 or null", self.mde)

    @property
    def key(self) -> str:
        """What is compared: the metric, or numerator/denominator."""
        return _key(self.metric, self.denominator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A metric that may get worse by less than `margin` (in its own units).

    As guardrail: promotion needs evidence that it did not get worse by more. As harm: evidence that it did
    get worse by more rolls back. `denominator` as of a goal.
    """

    metric: str
    direction: Direction
    margin: float = 0.0
    denominator: str | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        require(bool(self.metric), "Limit.metric", "not empty", self.metric)
        require(self.margin >= 0, "Limit.margin", ">= 0", self.margin)
        limit = "another metric, or null"
        require(self.denominator not in ("", self.metric), "Limit.denominator", limit, self.denominator)

    @property
    def key(self) -> str:
        """What is compared: the metric, or numerator/denominator."""
        return _key(self.metric, self.denominator)


def _key(metric: str, denominator: str | None) -> str:
    return metric if denominator is None else f"{metric}/{denominator}"
