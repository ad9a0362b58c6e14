"""A frozen plan with the dates and shares that the store knows: what judging, replay and reports read."""

from collections.abc import Sequence

from consumers.store.repositories.experiments import ExperimentMove, ExperimentRecord
from domain.experiments.plan import ExperimentPlan
from domain.experiments.ramps import Shares, planned
from domain.judgement.trials import DatedPlan, DatedShares


def dated_plan(
    record: ExperimentRecord, started_at_ms: int, allocations: Sequence[ExperimentMove]
) -> DatedPlan:
    """Of a started experiment; `allocations` are its moves that began epochs with shares of their own."""
    plan = ExperimentPlan.of_record(record.config)
    return DatedPlan(
        plan=plan,
        started_at_ms=started_at_ms,
        cancelled_at_ms=record.closed_at_ms if record.ended_by_person else None,
        ramps={
            move.epoch: DatedShares(at_ms=move.at_ms, shares=move.shares)
            for move in allocations
            if move.shares is not None and dict(move.shares) != dict(planned(plan))
        },
    )


def shares_of(plan: ExperimentPlan, moves: Sequence[ExperimentMove]) -> Shares:
    """What the arms get, or will get again when a pause ends."""
    given = [move.shares for move in moves if move.shares is not None]
    return given[-1] if given else planned(plan)
