"""The experiment half of a judgement: score rows of an experiment's arms, and the verdict they lead to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import OpenBatch, WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.verdict import Verdict, standings
from domain.experiments.verdict import verdict as final
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.rows import Instant, Row
from domain.judgement.state import ModelState, Trial
from domain.windows.merge import merge_bodies


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedShares:
    """Shares of one allocation epoch."""

    at_ms: int
    """They hold for rows that fall due later; nothing of the epoch was judged before."""
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPlan:
    """A frozen plan, its ramps, and the due times between which its rows count."""

    plan: ExperimentPlan
    started_at_ms: int = -1
    """Rows that fall due later count; what was judged before the start stays as it was judged."""
    cancelled_at_ms: int | None = None
    """Rows that fall due later no longer count; None unless it was ended by a person."""
    ramps: Mapping[int, DatedShares] = field(default_factory=dict)
    """By allocation epoch, where the shares are not the plan's."""

    def counts(self, due_ms: int) -> bool:
        """Whether rows due at `due_ms` are evidence."""
        return self.started_at_ms < due_ms and not self.over(due_ms)

    def shares(self, epoch: int, due_ms: int) -> Mapping[str, float]:
        """What arms were promised in `epoch`, as rows due at `due_ms` know it; empty: the plan's shares."""
        ramp = self.ramps.get(epoch)
        return ramp.shares if ramp is not None and ramp.at_ms < due_ms else {}

    def over(self, due_ms: int) -> bool:
        """Whether a person ended it before `due_ms`."""
        return self.cancelled_at_ms is not None and due_ms > self.cancelled_at_ms


def judge(
    model: str, state: ModelState, instant: Instant, plans: Mapping[str, DatedPlan], length_ms: int
) -> Iterator[Decision]:
    """Take one instant of the model into its started experiments; yields at most one verdict for each, ever.

    Score rows are evidence; rows of any kind show that an experiment is alive. One that is silent for its
    longest duration ends INCONCLUSIVE. Rows of an experiment that nobody started are not judged.
    """
    for name in sorted(plans.keys() & state.trials.keys()):
        if plans[name].over(instant.due_ms) and state.trials[name].running:
            trial = state.trials[name]
            trial.evidence, trial.verdict, trial.last_due_ms = None, "CANCELLED", instant.due_ms
    for (name, epoch), rows in sorted(by_experiment(instant).items()):
        dated = plans.get(name)
        if dated is None or not dated.counts(instant.due_ms):
            continue
        trial = state.trials.setdefault(name, Trial(evidence=ExperimentState().to_json()))
        if trial.evidence is None:
            continue
        trial.last_due_ms = instant.due_ms
        verdict = _folded(trial, dated, epoch, rows, instant, length_ms)
        if verdict is not None:
            yield _ended(model, state, instant, dated.plan, verdict, length_ms)
    for name in sorted(plans):
        dated = plans[name]
        verdict = _silence(state, dated, instant.due_ms)
        if verdict is not None:
            yield _ended(model, state, instant, dated.plan, verdict, length_ms)


def running(state: ModelState, plans: Mapping[str, DatedPlan], due_ms: int) -> bool:
    """Whether any experiment has started by `due_ms` and neither been cancelled nor decided, rows or none."""
    return any(_undecided(state, dated, due_ms) for dated in plans.values())


def _undecided(state: ModelState, dated: DatedPlan, due_ms: int) -> bool:
    trial = state.trials.get(dated.plan.experiment)
    return dated.counts(due_ms) and (trial is None or trial.running)


def _folded(
    trial: Trial, dated: DatedPlan, epoch: int, rows: list[Row], instant: Instant, length_ms: int
) -> Verdict | None:
    """Add one window's scores of one epoch to the trial's evidence."""
    if trial.evidence is None or epoch < trial.epoch:
        return None
    plan, scores = dated.plan, window_scores(dated, rows, instant, length_ms)
    if scores is None:
        return None
    before = ExperimentState.from_json(trial.evidence)
    after, verdict = taken(plan, before, scores, begins=epoch > trial.epoch)
    trial.evidence, trial.epoch, trial.looked = after.to_json(), epoch, after.batches > 0
    return verdict


def window_scores(
    dated: DatedPlan, rows: Sequence[Row], instant: Instant, length_ms: int
) -> WindowScores | None:
    """What the plan's arms scored in one window, by their rows of one epoch; None if nothing of it counts."""
    arms = _arms(dated.plan, rows) if instant.kind == "score" else {}
    if not arms:
        return None
    epoch = rows[0].key.epoch
    return WindowScores(
        window_start_ms=instant.window_start_ms,
        window_end_ms=instant.window_start_ms + length_ms,
        due_ms=instant.due_ms,
        horizon_s=instant.horizon_s,
        arms=arms,
        epoch=epoch,
        shares=dated.shares(epoch, instant.due_ms),
    )


def taken(
    plan: ExperimentPlan, before: ExperimentState, scores: WindowScores, *, begins: bool
) -> tuple[ExperimentState, Verdict | None]:
    """The evidence with one more window, which `begins` an allocation epoch or not."""
    if begins:
        # a batch is one stratum: its windows must be of one allocation, so the open one begins again
        before = replace(before, batch=OpenBatch())
    return step(plan, before, scores)


def _silence(state: ModelState, dated: DatedPlan, due_ms: int) -> Verdict | None:
    """The end of an experiment that had no row for its longest duration: no row will end it any more."""
    plan = dated.plan
    if plan.max_duration_ms is None or not _undecided(state, dated, due_ms):
        return None
    trial = state.trials.get(plan.experiment)
    since_ms = dated.started_at_ms if trial is None else max(trial.last_due_ms, dated.started_at_ms)
    if due_ms - since_ms < plan.max_duration_ms:
        return None
    known = trial.evidence if trial is not None else None
    evidence = ExperimentState() if known is None else ExperimentState.from_json(known)
    words = f"no rows for {plan.max_duration_ms} ms, its longest duration"
    return final(plan, evidence, standings(plan, evidence), "INCONCLUSIVE", words, due_ms)


def _ended(
    model: str, state: ModelState, instant: Instant, plan: ExperimentPlan, verdict: Verdict, length_ms: int
) -> Decision:
    trial = state.trials.setdefault(plan.experiment, Trial(evidence=None, last_due_ms=instant.due_ms))
    trial.evidence, trial.verdict = None, verdict.kind
    return _decision(model, state, instant, plan, verdict, length_ms)


def by_experiment(instant: Instant) -> dict[tuple[str, int], list[Row]]:
    """Allocation epochs are separate strata: a change of shares never pools."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in instant.rows:
        if row.key.experiment and row.key.variant:
            groups.setdefault((row.key.experiment, row.key.epoch), []).append(row)
    return groups


def _arms(plan: ExperimentPlan, rows: Sequence[Row]) -> dict[str, Mapping[str, Any]]:
    """Bodies by variant, of the plan's versions only: another model behind the label is not the arm.

    A shadow's pairs are differences from what the champion answered. Where another version answered under
    the champion's label too, nothing says which pairs are against which: the window is left out.
    """
    versions = {variant.name: variant.version for variant in plan.variants}
    right = [row for row in rows if versions.get(row.key.variant) == row.key.version]
    champion = plan.champion
    strange = any(row.key.variant == champion.name and row.key.version != champion.version for row in rows)
    if strange and plan.strategy == "SHADOW_MODE":
        return {}
    bodies: dict[str, list[Mapping[str, Any]]] = {}
    for row in right:
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
