"""The experiment half of a judgement: score rows of an experiment's arms, and the verdict they lead to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.verdict import Verdict
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.rows import Instant, Row
from domain.judgement.state import ModelState, Trial
from domain.windows.merge import merge_bodies


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPlan:
    """A frozen plan, and the due times between which its rows count."""

    plan: ExperimentPlan
    started_at_ms: int = -1
    """Rows that fall due later count; what was judged before the start stays as it was judged."""
    cancelled_at_ms: int | None = None
    """Rows that fall due later no longer count; None unless it was cancelled."""

    def counts(self, due_ms: int) -> bool:
        """Whether rows due at `due_ms` are evidence."""
        return self.started_at_ms < due_ms and not self.over(due_ms)

    def over(self, due_ms: int) -> bool:
        """Whether it was cancelled before `due_ms`."""
        return self.cancelled_at_ms is not None and due_ms > self.cancelled_at_ms


def judge(
    model: str, state: ModelState, instant: Instant, plans: Mapping[str, DatedPlan], length_ms: int
) -> Iterator[Decision]:
    """Fold the score rows of every running experiment; yields a verdict at most once per experiment.

    Rows of an experiment that nobody started are not judged.
    """
    for name in sorted(plans.keys() & state.trials.keys()):
        if plans[name].over(instant.due_ms) and state.trials[name].running:
            state.trials[name] = Trial(evidence=None, verdict="CANCELLED", last_due_ms=instant.due_ms)
    for (name, _epoch), rows in sorted(_by_experiment(instant).items()):
        dated = plans.get(name)
        if dated is None or not dated.counts(instant.due_ms):
            continue
        trial = state.trials.setdefault(name, Trial(evidence=ExperimentState().to_json()))
        if trial.evidence is None:
            continue
        scores = WindowScores(
            window_start_ms=instant.window_start_ms,
            window_end_ms=instant.window_start_ms + length_ms,
            due_ms=instant.due_ms,
            horizon_s=instant.horizon_s,
            arms=_arms(rows),
        )
        after, verdict = step(dated.plan, ExperimentState.from_json(trial.evidence), scores)
        trial.evidence, trial.last_due_ms = after.to_json(), instant.due_ms
        if verdict is not None:
            trial.evidence, trial.verdict = None, verdict.kind
            yield _decision(model, state, instant, dated.plan, verdict, length_ms)


def _by_experiment(instant: Instant) -> dict[tuple[str, int], list[Row]]:
    """Allocation epochs are separate strata: a change of shares never pools."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in instant.rows:
        if row.key.experiment and row.key.variant:
            groups.setdefault((row.key.experiment, row.key.epoch), []).append(row)
    return groups


def _arms(rows: list[Row]) -> dict[str, Mapping[str, Any]]:
    bodies: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        bodies.setdefault(row.key.variant, []).append(row.body)
    return {variant: merge_bodies("score", parts) for variant, parts in sorted(bodies.items())}


def _decision(
    model: str, state: ModelState, instant: Instant, plan: ExperimentPlan, verdict: Verdict, length_ms: int
) -> Decision:
    winner = next((v for v in plan.variants if v.name == verdict.treatment), plan.champion)
    evidence = {
        **verdict.evidence,
        "verdict": verdict.kind,
        "treatment": verdict.treatment,
        "version": winner.version,
        "champion_version": plan.champion.version,
        "tallies_digest": state.tallies_digest,
    }
    return Decision(
        kind=DecisionKind.VERDICT,
        model=model,
        subject=plan.experiment,
        at_ms=instant.due_ms,
        window_start_ms=instant.window_start_ms,
        window_end_ms=instant.window_start_ms + length_ms,
        config_hash=plan.config_hash,
        evidence=evidence,
    )
