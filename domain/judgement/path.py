"""How an experiment came to where it is: every look that the judge had, recomputed from the rows.

Nothing of this is stored. The judge keeps sums only; whoever wants to see the way takes the closed rows and
walks it again with the same functions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.experiments.moments import Moments
from domain.experiments.ramps import planned
from domain.experiments.scores import Totals, WindowScores
from domain.experiments.srm import srm_log_e
from domain.experiments.state import ExperimentState
from domain.experiments.verdict import report, standings
from domain.judgement import trials
from domain.judgement.rows import Row, instants
from domain.judgement.trials import DatedPlan
from domain.plain import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One closed batch, and what the judge saw then."""

    at_ms: int
    """When the outcomes of its last window were complete."""
    epoch: int
    """Allocation epoch of the batch."""
    numbers: Json
    """Of all closed batches until then, by `domain.experiments.verdict.report` like a verdict's evidence."""
    verdict: str | None
    """The verdict that was given at this look; a horizon may end the experiment between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The arms of one allocation epoch over its closed batches: are they split as planned?"""

    epoch: int
    first_ms: int
    last_ms: int
    """Its first and its last look."""
    looks: int
    arms: dict[str, Totals]
    shares: Mapping[str, float]
    """That the arms were promised in it."""
    ratio_log_e: float | None
    """Evidence at its end that predictions are not split as planned; None under SHADOW_MODE, which splits
    nothing, and under USER_SEGMENT, where predictions are no coin tosses. The judge's own check is over all
    epochs, and remembers the largest."""
    arrival_log_e: float | None
    """The same of the outcomes that arrived."""


def looks(dated: DatedPlan, rows: Sequence[Row], length_ms: int) -> Iterator[Look]:
    """Every look at `rows`, which hold all score rows of the experiment that count, in judging order.

    It ends with the verdict. An experiment that ended without one, by time or by a person, ends where its
    rows do.
    """
    plan, state, newest = dated.plan, ExperimentState(), -1
    for scores in counted(dated, rows, length_ms):
        before = state.batches
        state, verdict = trials.taken(plan, state, scores, begins=scores.epoch > newest)
        newest = scores.epoch
        if state.batches > before:
            yield Look(
                at_ms=scores.due_ms,
                epoch=scores.epoch,
                numbers=report(plan, state, standings(plan, state)),
                verdict=None if verdict is None else verdict.kind,
            )
        if state.verdict is not None:
            return


def counted(dated: DatedPlan, rows: Sequence[Row], length_ms: int) -> Iterator[WindowScores]:
    """The windows of `rows` that are evidence, in judging order; a verdict does not end them."""
    newest = -1
    for instant in instants(rows):
        if not dated.counts(instant.due_ms):
            continue
        for (name, epoch), group in sorted(trials.by_experiment(instant).items()):
            if name != dated.plan.experiment or epoch < newest:
                continue
            scores = trials.window_scores(dated, group, instant, length_ms)
            if scores is not None:
                newest = epoch
                yield scores


def scored(windows: Iterable[WindowScores]) -> dict[str, dict[str, Moments]]:
    """By arm and metric: the outcomes of all of them."""
    found: dict[str, dict[str, Moments]] = {}
    for window in windows:
        for name, body in window.arms.items():
            arm = found.setdefault(name, {})
            for metric, moments in body.get("metrics", {}).items():
                arm[metric] = arm.get(metric, Moments()) + Moments.of_body(moments)
    return found


def allocations(dated: DatedPlan, path: Sequence[Look]) -> list[Allocation]:
    """The looks of `path` by allocation epoch, in order."""
    plan, found = dated.plan, []
    names = [variant.name for variant in plan.variants]
    before = dict.fromkeys(names, Totals())
    for epoch in dict.fromkeys(look.epoch for look in path):
        mine = [look for look in path if look.epoch == epoch]
        after = {name: Totals(**mine[-1].numbers["arms"][name]) for name in names}
        arms = {name: _less(after[name], before[name]) for name in names}
        before = after
        given = dated.shares(epoch, mine[0].at_ms) or planned(plan)
        shares = [given[name] for name in names]
        events = plan.strategy == "PERCENTAGE_SPLIT"
        found.append(
            Allocation(
                epoch=epoch,
                first_ms=mine[0].at_ms,
                last_ms=mine[-1].at_ms,
                looks=len(mine),
                arms=arms,
                shares=dict(given),
                ratio_log_e=srm_log_e([arms[name].n for name in names], shares) if events else None,
                arrival_log_e=srm_log_e([arms[name].matched for name in names], shares) if events else None,
            )
        )
    return found


def _less(whole: Totals, part: Totals) -> Totals:
    return Totals(whole.n - part.n, whole.matched - part.matched, whole.missing - part.missing)
