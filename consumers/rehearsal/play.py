"""Rehearsals: the judge's own step over a past that is played again, to the verdict or a limit.

What is kept: the traffic (how many outcomes come when, and how many stay away), the level of every window
and how windows depend on each other inside a block, the spread inside windows, the label horizon, and every
rule of the plan, because the functions are the judge's. What is lost when windows are known by their rows
only: the split of a window's outcomes among arms is drawn from their moments, so skew and tails inside a
window, and what two metrics have in common there, are not those of the past. From the log nothing is lost but
the dependence between blocks. A season longer than a block is not kept in either case.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from consumers.rehearsal.arms import Arms
from consumers.rehearsal.past import moved
from consumers.rehearsal.windows import Generator, PastWindow
from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.judgement.trials import taken

UNDECIDED = "UNDECIDED"
"""Stopped by the rehearsal's own limit, which an experiment does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one rehearsal ended: a verdict's kind, or UNDECIDED. Outcomes are those of closed batches."""

    kind: str
    treatment: str | None
    lasted_ms: int
    """From its first window's start until the outcomes that decided it were complete."""
    outcomes: int
    batches: int
    invalid: bool


def play(
    plan: ExperimentPlan,
    windows: Iterator[tuple[int, PastWindow, int]],
    arms: Arms,
    limit: int,
    source: Generator,
) -> Ended:
    """One experiment over `windows` (of `Past`), given up after `limit` outcomes."""
    state, began_ms, due_ms, verdict, seen = ExperimentState(), None, 0, None, 0
    for turn, window, by_ms in windows:
        frame = moved(window, by_ms, due_ms)
        due_ms = frame.due_ms
        began_ms = frame.start_ms if began_ms is None else began_ms
        bodies = arms.bodies(window.outcomes(len(arms.order), source), turn, by_ms)
        if not bodies:
            continue
        scores = WindowScores(
            window_start_ms=frame.start_ms,
            window_end_ms=frame.end_ms,
            due_ms=frame.due_ms,
            horizon_s=frame.horizon_s,
            arms=bodies,
        )
        state, verdict = taken(plan, state, scores, begins=False)
        # a batch that never closes, for want of a metric or of an arm, must not play for ever
        seen += max(body["matched"] for body in bodies.values())
        if verdict is not None or state.outcomes >= limit or seen >= 2 * limit:
            break
    return Ended(
        kind=UNDECIDED if verdict is None else verdict.kind,
        treatment=None if verdict is None else verdict.treatment,
        lasted_ms=due_ms - (began_ms or 0),
        outcomes=state.outcomes,
        batches=state.batches,
        invalid=bool(state.invalid),
    )
