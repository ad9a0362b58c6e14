"""An experiment, one closed window at a time."""

from dataclasses import replace

from domain.errors import DomainError
from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState, fold, progressed
from domain.experiments.verdict import Verdict, decide, horizon, standings, verdict


class OutOfOrder(DomainError):
    """Windows of an experiment come in the order in which their outcomes are complete."""

    def __init__(self, due_ms: int, newest_ms: int) -> None:
        self.due_ms, self.newest_ms = due_ms, newest_ms
        super().__init__(f"window due at {due_ms} after one due at {newest_ms}")


def step(
    plan: ExperimentPlan, state: ExperimentState, scores: WindowScores
) -> tuple[ExperimentState, Verdict | None]:
    """Add one window; look at the evidence if it closes a batch.

    A batch closes by counts and times only. The horizon is checked at every window, so that an arm without
    traffic cannot keep an experiment open; one without any window is the caller's to end (domain/judgement
    ends it when it was silent for `max_duration_ms`). At most one verdict is ever given: afterwards the
    state stays as it is.

    The first treatment that does harm ends the experiment, also if others do well: what harms users is not
    kept running. Harm is judged from the batch on at which the tuning rho is frozen: the first one if the
    plan gives the metric's variance, otherwise batch min(10, minimums.batches). Raises OutOfOrder if `due_ms`
    goes back, and then nothing has changed.

    Windows with equal `due_ms` (other horizons) must come in a fixed order: sums inside an open batch are
    floating-point and their last bits depend on it.
    """
    if state.verdict is not None:
        return state, None
    if state.due_ms is not None and scores.due_ms < state.due_ms:
        raise OutOfOrder(scores.due_ms, state.due_ms)
    start_ms = scores.window_start_ms
    began_ms = start_ms if state.began_ms is None else min(state.began_ms, start_ms)
    batch = state.batch.extended(plan, scores)
    state = replace(state, batch=batch, began_ms=began_ms, due_ms=scores.due_ms)
    if not batch.complete(plan):
        return _stop_at_horizon(plan, state, scores)
    state = fold(plan, state)
    ranking = standings(plan, state)
    for standing in ranking:
        log_es = {measure.metric: measure.log_e for measure in standing.primaries}
        state = progressed(state, standing.treatment, log_es)
    found = decide(plan, state, ranking, scores.due_ms)
    if found is None:
        return _stop_at_horizon(plan, state, scores)
    return replace(state, verdict=found.kind), found


def _stop_at_horizon(
    plan: ExperimentPlan, state: ExperimentState, scores: WindowScores
) -> tuple[ExperimentState, Verdict | None]:
    words = horizon(plan, state, scores.window_end_ms)
    if words is None:
        return state, None
    found = verdict(plan, state, standings(plan, state), "INCONCLUSIVE", words, scores.due_ms)
    return replace(state, verdict=found.kind), found
