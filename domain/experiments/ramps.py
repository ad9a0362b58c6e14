"""Shares of an allocation epoch that are not the plan's: how a person may change them, what was counted then.

The plan stays as it was frozen. Batches are of one epoch, so every batch is a stratum of standing shares and
the evidence of epochs adds up; only the sample-ratio checks must know which shares were promised when. The
tuning of the tests stays at the plan's shares: they hold at any tuning that is fixed beforehand, and one that
is wrong by 4x costs less than 8 % of the time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from domain.errors import DomainError
from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import Totals
from domain.plain import Json

Shares = Mapping[str, float]
"""By variant; of all variants, adding up to one. Empty where they are the plan's."""
_DIGITS = 12


class InvalidRamp(DomainError):
    """These shares cannot be given; nothing was changed."""

    def __init__(self, experiment: str, problem: str) -> None:
        super().__init__(f"experiment {experiment}: {problem}")
        self.experiment = experiment


@dataclass(frozen=True, slots=True)
class Ramp:
    """What closed batches of one epoch counted, and the shares that were promised then."""

    shares: Shares
    totals: Mapping[str, Totals] = field(default_factory=dict)

    def extended(self, batch: Mapping[str, Totals]) -> "Ramp":
        """With one more batch of all variants."""
        return replace(
            self, totals={name: self.totals.get(name, Totals()) + batch[name] for name in sorted(batch)}
        )

    def to_json(self) -> Json:
        totals = {name: self.totals[name].to_json() for name in sorted(self.totals)}
        return {"shares": dict(sorted(self.shares.items())), "totals": totals}

    @classmethod
    def from_json(cls, data: Json) -> "Ramp":
        return cls(dict(data["shares"]), {name: Totals(**each) for name, each in data["totals"].items()})


def planned(plan: ExperimentPlan) -> Shares:
    """The shares it starts with."""
    return {variant.name: variant.share for variant in plan.variants}


def ramped(plan: ExperimentPlan, current: Shares, wanted: Shares) -> Shares:
    """`current` with the challengers' `wanted` shares; the champion gets what is left. Raises InvalidRamp."""

    def refuse(problem: str) -> InvalidRamp:
        return InvalidRamp(plan.experiment, problem)

    if plan.strategy == "SHADOW_MODE":
        raise refuse("in shadow mode every arm answers every request, so there are no shares to change")
    if not wanted:
        raise refuse("no share is given")
    challengers = [variant.name for variant in plan.treatments]
    for name, share in wanted.items():
        if name == plan.champion.name:
            raise refuse(f"{name} is the champion, whose share is what the challengers leave")
        if name not in challengers:
            raise refuse(f"there is no challenger {name}, only {', '.join(challengers)}")
        if not 0 < share < 1:
            raise refuse(f"the share of {name} must be above 0 and below 1, and is {share:g}")
    shares = {name: wanted.get(name, current[name]) for name in challengers}
    left = round(1.0 - math.fsum(shares.values()), _DIGITS)
    if left <= 0:
        raise refuse(f"shares of {math.fsum(shares.values()):g} leave nothing to the champion")
    shares[plan.champion.name] = left
    after = {variant.name: shares[variant.name] for variant in plan.variants}
    if after == dict(current):
        raise refuse("the shares are these already")
    return after
