"""Recorded calibrations: a plan that promoted noise in its rehearsals is not started to promote by itself.

A calibration is of a plan's rules: everything in it but the experiment's name and the versions, so that what
was found for a policy's template holds for every experiment that automation makes of it.
No verdict depends on one: it is about who carries a promotion out.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from consumers.services.experiment_moves import waits
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.session import ReadSession, WriteSession
from domain.errors import DomainError
from domain.experiments.handling import SECTION as VERDICTS
from domain.experiments.plan import ExperimentPlan
from domain.plain import Json, read, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was found; `upper` is the largest upper 95 % bound of false promotions among the modes."""

    config_hash: str
    """Of the very plan that was rehearsed."""
    alpha: float
    upper: float
    runs: int
    seed: int
    modes: tuple[str, ...]

    def holds(self, plan: ExperimentPlan) -> bool:
        """Whether that is enough for the plan; what was asked may be stricter, not laxer."""
        return self.upper <= min(self.alpha, plan.alpha)

    def to_json(self) -> Json:
        return write(self)


class NotCalibrated(DomainError):
    """The plan's rules promoted a challenger that is no better too often, and promotion is automatic."""

    def __init__(self, plan: ExperimentPlan, found: Calibration) -> None:
        alpha = min(found.alpha, plan.alpha)
        super().__init__(
            f"experiment {plan.experiment} would promote by itself, and its plan is not calibrated: false "
            f"promotions are at most {100 * found.upper:.3g} % by {found.runs} rehearsals each of "
            f"{', '.join(found.modes)}, alpha is {100 * alpha:.3g} %. Change the plan, calibrate it anew "
            "with more runs, or have "
            f'promotions carried out by hand ("{VERDICTS}": {{"promote": "by_hand"}} in the policy)'
        )
        self.experiment, self.calibration = plan.experiment, found


def rules_hash(plan: ExperimentPlan) -> str:
    """SHA-256 of the plan without names of experiment and versions, hexadecimal."""
    body: dict[str, Any] = plan.to_json()
    del body["experiment"]
    body["variants"] = [{**variant, "version": None} for variant in body["variants"]]
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def record(session: WriteSession, plan: ExperimentPlan, found: Calibration) -> None:
    """Keeps it in place of an earlier one of the same rules."""
    await DeploymentRepository(session).put(_key(plan), found.to_json())


async def recorded(session: ReadSession, plan: ExperimentPlan) -> Calibration | None:
    """The last one of the plan's rules, None without any."""
    stored = await DeploymentRepository(session).get(_key(plan))
    return None if stored is None else read(Calibration, stored)


async def failed(session: ReadSession, plan: ExperimentPlan) -> Calibration | None:
    """The calibration that the plan's rules failed when they were last calibrated; None if they held, and
    without a record. While there is one, no promotion by them is carried out without a person: also not that
    of an experiment that was running already."""
    found = await recorded(session, plan)
    return None if found is None or found.holds(plan) else found


async def running_by(session: ReadSession, plan: ExperimentPlan) -> str | None:
    """The model's experiment that runs by the plan's rules, None without one."""
    found = await ExperimentRepository(session).running(plan.model)
    same = found is not None and rules_hash(ExperimentPlan.of_record(found.config)) == rules_hash(plan)
    return found.experiment_id if found is not None and same else None


async def require_calibrated(session: ReadSession, plan: ExperimentPlan, at_ms: int) -> None:
    """Raises NotCalibrated if the plan's rules failed when they were last calibrated, and the policy in force
    at `at_ms` has promotions carried out at once. Without a record it may start."""
    found = await failed(session, plan)
    if found is not None and not await waits(session, plan.model, "PROMOTE", at_ms):
        raise NotCalibrated(plan, found)


def _key(plan: ExperimentPlan) -> str:
    return f"calibration:{rules_hash(plan)}"
