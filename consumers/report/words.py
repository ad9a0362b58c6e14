"""Numbers, times and verdicts as people read them; the command line and the pages say the same."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from consumers.services.trial_paths import TrialPath
from domain.experiments.budget import Account
from domain.experiments.levels import Level
from domain.experiments.plan import ExperimentPlan
from domain.experiments.srm import ALARM_LOG_E
from schemas.clock import from_ms
from schemas.events import ExperimentStatus

Numbers = Mapping[str, Any]
_LARGEST = 1e6
_SMALLEST = 1e-6
INVALID = "INVALID"
"""Begins the sentence that says so."""
_TESTS = {
    "contrast_log_e": "by the comparison of means",
    "mcnemar_log_e": "by the exact test of pairs",
    "odds_log_e": "by the exact test of hits",
}
"""Fields of a measure with one test's log e-value; a rule takes the smallest, valid if any of them is."""
_CHECKS = {"sample_ratio": "predictions", "outcome_arrivals": "outcomes that arrived"}


LEVEL = ("outcomes", "mean", "from", "to", "lift", "lower", "upper")
"""Columns of what an arm scored on its own."""


def level(found: Level) -> dict[str, str | int | None]:
    """By column."""

    def plain(value: float | None) -> str | None:
        return None if value is None else f"{value:.6g}"

    def part(value: float | None) -> str | None:
        return None if value is None else f"{value:+.2%}"

    values = (
        found.n,
        plain(found.mean),
        plain(found.rate_lower),
        plain(found.rate_upper),
        part(found.lift),
        part(found.lift_lower),
        part(found.lift_upper),
    )
    return dict(zip(LEVEL, values, strict=True))


def e_value(log_e: float) -> str:
    """The e-value of a natural logarithm, three digits."""
    if log_e >= math.log(_LARGEST):
        return "over 1,000,000"
    if log_e < math.log(_SMALLEST):
        return "under 0.000001"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def moment(at_ms: int) -> str:
    """Event time in UTC, to the minute; without a time of day where there is none."""
    at = from_ms(at_ms).astimezone(UTC)
    return at.strftime("%Y-%m-%d" if at_ms % 86_400_000 == 0 else "%Y-%m-%d %H:%M")


def signed(value: float | None) -> str:
    """A gain with its sign, five digits."""
    if value is None:
        return "not known yet"
    return f"{value:+.5g}" if math.isfinite(value) else "unbounded"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 batch`, `1,200 batches`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    return f"{100 * share:.4g}%"


# ---------------------------------------------------------------- verdicts


_NOT_YET = (
    "It is not carried out yet: the registry worker does that, or, where the policy leaves it to a person or "
    "the experiment is paused, `lifecycle experiment complete`."
)


def headline(told: TrialPath) -> str:
    """What became of it, in two or three words."""
    status, kind = told.record.status, _kind(told)
    if status is ExperimentStatus.CANCELLED:
        return "cancelled"
    if told.record.ended_by_person:
        return "stopped"
    if kind == "PROMOTE":
        if told.plan.reverses is not None and status is ExperimentStatus.COMPLETED_PROMOTED:
            return "restored"
        return "promoted" if status is ExperimentStatus.COMPLETED_PROMOTED else "promotion decided"
    if kind == "ROLL_BACK":
        return "roll-back decided" if status is ExperimentStatus.RUNNING else "rolled back"
    if kind == "INCONCLUSIVE":
        return "no decision"
    return "runs" if status is ExperimentStatus.RUNNING else "not started"


def verdict(told: TrialPath) -> list[str]:
    """The verdict in sentences: what was decided, why, and every number that it rests on."""
    numbers = told.last
    said = [_outcome(told, numbers)]
    if numbers is None:
        return [*said, "The judge has not looked at any batch of it."] if _may_have_looks(told) else said
    for treatment in told.plan.treatments:
        said += _treatment(
            told.plan, treatment.name, treatment.version, numbers["treatments"][treatment.name]
        )
    said.append(_minimums(told.plan, numbers))
    said.append(_validity(told.plan, numbers))
    return said


def _may_have_looks(told: TrialPath) -> bool:
    return told.record.started_at_ms is not None and not told.pruned


def _kind(told: TrialPath) -> str | None:
    if told.verdict is None or told.numbers is None:
        return None
    kind: str = told.numbers["verdict"]
    return kind


def _outcome(told: TrialPath, numbers: Numbers | None) -> str:
    record, champion = told.record, f"version {told.plan.champion.version}"
    after = ""
    if numbers is not None:
        batches = plural(numbers["batches"], "batch", "batches")
        after = f" after {plural(numbers['outcomes'], 'outcome')} in {batches}"
    if record.started_at_ms is None:
        ended = record.closed_at_ms is not None
        return "It was cancelled before it started." if ended else "It has not been started."
    if record.status is ExperimentStatus.CANCELLED:
        closed = "" if record.closed_at_ms is None else f" on {moment(record.closed_at_ms)}"
        return f"It was cancelled{closed}{after}, and no verdict was carried out: {champion} stays."
    if record.ended_by_person:
        closed = "" if record.closed_at_ms is None else f" on {moment(record.closed_at_ms)}"
        return f"A person stopped it{closed}{after}: no decision, so {champion} stays."
    kind = _kind(told)
    if kind is None or numbers is None:
        return (
            f"It runs since {moment(record.started_at_ms)} and has no verdict{after}: {champion} serves on."
        )
    ours = f"Version {numbers['version']}"
    why = f"{moment(numbers['at_ms'])}{after}. Rule: {numbers['rule']}."
    open_ = record.status is ExperimentStatus.RUNNING
    carried = f" {_NOT_YET}" if open_ and kind != "INCONCLUSIVE" else ""
    if kind == "PROMOTE":
        return f"{ours} {'is to replace' if open_ else 'replaces'} {champion}: decided on {why}{carried}"
    if kind == "ROLL_BACK":
        return f"{ours} does harm and {champion} stays: decided on {why}{carried}"
    return (
        f"No decision, so {champion} stays: ended on {why} "
        "That is not the same as no effect: the bounds below say what the effect may still be."
    )


def primaries(found: Numbers) -> tuple[Numbers, ...]:
    """The measures of a challenger's primaries, in the plan's order."""
    return (found["primary"], *found.get("more_primaries", ()))


def _treatment(plan: ExperimentPlan, name: str, version: str, found: Numbers) -> list[str]:
    who = f"Version {version} ({name})"
    return [
        *(_primary(plan, who, each) for each in primaries(found)),
        *_losses(found.get("losses", ())),
        *(_limit("Guardrail", each, "less", "holds", "is not shown to hold") for each in found["guardrails"]),
        *(_limit("Harm", each, "more", "is shown", "is not shown") for each in found["harm"]),
    ]


def _primary(plan: ExperimentPlan, who: str, found: Numbers) -> str:
    if found["log_e"] is None:
        return f"{who} on {found['metric']} is not tested yet: the variance that tunes the test is not known."
    claim = f"a loss of less than {found['margin']:.5g}" if found["margin"] else "a gain"
    sharers = {"challengers": len(plan.treatments), "primaries": len(plan.primaries)}
    named = " and ".join(f"{count} {what}" for what, count in sharers.items() if count > 1)
    shared = f", shared by {named}," if named else ""
    worse = "loses more" if found["margin"] else "is no better"
    return (
        f"{who} on {found['metric']}: estimated gain {signed(found['estimate'])}, surely above "
        f"{signed(found['lower'])} and surely below {signed(found['upper'])}, each with confidence "
        f"{percent(1 - found['alpha'])} at all looks together. The e-value for {claim} is "
        f"{e_value(found['log_e'])}, and {e_value(found['threshold'])} is needed: alpha {plan.alpha:g}"
        f"{shared} lets a challenger that {worse} get there in at most {percent(found['alpha'])} of "
        f"experiments, however often one looks.{_parts(found)}"
    )


def _losses(found: Sequence[Numbers]) -> list[str]:
    """Of several primaries: whether any of them holds a promotion back."""
    if not found:
        return []
    lost = [each for each in found if each["log_e"] is not None and each["log_e"] >= each["threshold"]]
    if not lost:
        return [f"Any one primary promotes; none of the {len(found)} is shown to get worse."]
    named = " and ".join(f"{each['metric']} (e-value {e_value(each['log_e'])})" for each in lost)
    return [f"Shown to get worse: {named}. While that is so, no gain on another primary promotes it."]


def _limit(kind: str, found: Numbers, claim: str, yes: str, no: str) -> str:
    what = f"{kind} on {found['metric']} (worse by {claim} than {found['margin']:.5g})"
    if found["log_e"] is None:
        return f"{what} is not tested yet."
    shown = found["log_e"] >= found["threshold"]
    return (
        f"{what} {yes if shown else no}: gain {signed(found['estimate'])} "
        f"[{signed(found['lower'])}, {signed(found['upper'])}], e-value {e_value(found['log_e'])} of the "
        f"{e_value(found['threshold'])} that are needed.{_parts(found)}"
    )


def _parts(found: Numbers) -> str:
    """What the e-value was made of, where several tests are asked; and what only exact tests know."""
    said = ""
    parts = [f"{e_value(found[name])} {test}" for name, test in _TESTS.items() if found.get(name) is not None]
    if len(parts) > 1:
        said += f" It is the smaller of {' and '.join(parts)}."
    if found.get("mcnemar_log_e") is not None:
        ours, theirs = found["only_treatment_right"], found["only_champion_right"]
        said += f" Only the challenger was right {ours:,} times, only the champion {theirs:,} times."
    odds = [found.get("odds_ratio_lower"), found.get("odds_ratio_upper")]
    if any(bound is not None for bound in odds):
        low, high = ("unbounded" if bound is None else f"{bound:.5g}" for bound in odds)
        said += f" Odds of a hit, challenger to champion: {low} to {high}."
    return said


def _minimums(plan: ExperimentPlan, numbers: Numbers) -> str:
    unmet, minimums = numbers["unmet_minimums"], plan.minimums
    if unmet:
        return f"Minimums that a promotion still waits for: {'; '.join(unmet)}."
    return (
        f"All minimums of a promotion are met: at least {minimums.batches} batches, "
        f"{minimums.outcomes_per_arm} outcomes in every arm, and {percent(minimums.arrived_share)} of the "
        "outcomes arrived."
    )


def _validity(plan: ExperimentPlan, numbers: Numbers) -> str:
    if plan.strategy == "SHADOW_MODE":
        return "Every request goes to all arms, so there is no split of traffic to check."
    alarm = e_value(ALARM_LOG_E)
    largest = (
        f"{e_value(numbers['ratio_log_e'])} for predictions, {e_value(numbers['arrival_log_e'])} for outcomes"
    )
    if numbers["invalid"]:
        named = " and ".join(_CHECKS.get(each, each) for each in numbers["invalid"])
        return (
            f"{INVALID}: the {named} are not split as planned (largest e-values {largest}; alarm at "
            f"{alarm}). That blocks promotion for good and never a rollback."
        )
    return f"The arms are split as planned: largest e-values {largest}; the alarm is at {alarm}."


def spent(told: TrialPath, account: Account) -> str:
    """What the experiment takes from its quarter's account of alpha."""
    mine = next(each for each in account.entries if each.experiment == told.plan.experiment)
    total = f"{account.spent:g}" + ("" if account.budget is None else f" of {account.budget:g}")
    if mine.returned:
        back = f"It gave its alpha {mine.alpha:g} back: it was cancelled before any look."
        return f"{back} {account.quarter} has spent {total}."
    return f"It spends alpha {mine.alpha:g} from the account of {account.quarter}, which has spent {total}."
