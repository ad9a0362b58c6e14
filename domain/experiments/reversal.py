"""The experiment that a promotion leaves behind: the new version defends itself against the old one.

Roles are reversed, so that a verdict for the old version is evidence of harm by the new one: on the same
primary metrics, at the alpha of harm, with the waits of the harm rule and not those of a promotion. A sample
ratio mismatch does not hold it back, as it holds back no roll-back. Without a verdict it ends with its time,
and the new version has all traffic.
"""

from dataclasses import replace

from domain.experiments.hold_back import HoldBack
from domain.experiments.plan import ExperimentPlan, Minimums, Variant
from domain.experiments.state import TUNING_BATCHES

CHAMPION, HELD_BACK = "champion", "held_back"


def reversed_plan(
    plan: ExperimentPlan, hold_back: HoldBack, *, experiment: str, version: str
) -> ExperimentPlan:
    """After `version` won by `plan`: it as the champion, the champion of before as the challenger.

    If the old version turns out to do harm by the plan's own harm rules, it need not be held back any longer:
    that ends the experiment as well.
    """
    return ExperimentPlan(
        experiment=experiment,
        model=plan.model,
        strategy=plan.strategy,
        variants=(
            Variant(name=CHAMPION, version=version, share=1.0 - hold_back.share, champion=True),
            Variant(name=HELD_BACK, version=plan.champion.version, share=hold_back.share),
        ),
        primary=replace(plan.primary, margin=0.0),
        more_primaries=tuple(replace(goal, mde=None) for goal in plan.more_primaries),
        alpha=plan.harm_alpha,
        harm=plan.harm,
        harm_alpha=plan.harm_alpha,
        minimums=Minimums(
            batches=min(TUNING_BATCHES, plan.minimums.batches),
            outcomes_per_arm=plan.minimums.outcomes_per_arm,
            arrived_share=0.0,
        ),
        batch=plan.batch,
        n_star=plan.n_star,
        max_duration_ms=hold_back.duration_ms,
        variances=plan.variances,
        segments=plan.segments,
        period_ms=plan.period_ms,
        reverses=plan.experiment,
    )
