"""The page of one experiment: the verdict in words, the way to it, its arms and all its numbers."""

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from consumers.report import pictures, words
from consumers.report.page import Cell, Markup, details, element, figure, joined, page, table
from consumers.services.trial_paths import TrialPath
from domain.judgement.path import Allocation, Look

Measure = Mapping[str, Any]
_MOST_LOOKS = 100
"""In the table of looks."""
_KINDS = {
    "promoted": "good",
    "promotion decided": "good",
    "rolled back": "bad",
    "roll-back decided": "bad",
}
_HOW = {
    "SHADOW_MODE": "in shadow: all answer, the champion's answer is used",
    "PERCENTAGE_SPLIT": "by a split of requests",
    "USER_SEGMENT": "by a split of units",
    "SWITCHBACK": "by periods: each unit's arm is drawn anew in every one",
}


def render(told: TrialPath) -> str:
    """The document; the same bytes for the same experiment at the same point of its life."""
    plan, record = told.plan, told.record
    rivals = " and ".join(f"version {each.version}" for each in plan.treatments)
    who = f"{rivals} against version {plan.champion.version} of {plan.model}, {_how(told)}"
    body = joined(
        [
            element("h1", f"Experiment {plan.experiment}"),
            element("p", who, kind="soft"),
            _tiles(told),
            element("h2", "Verdict"),
            *(_sentence(each) for each in words.verdict(told)),
            *_soundness(told),
            *_pictures(told),
            *_arms(told),
            *_rules(told),
            *_looks(told),
            element("h2", "Plan"),
            element("p", f"Frozen when it started; SHA-256 {record.config_hash}.", kind="soft"),
            element("pre", orjson.dumps(record.config, option=orjson.OPT_INDENT_2).decode()),
            element("h2", "How to check this"),
            element("pre", _commands(told)),
        ]
    )
    return page(f"Experiment {plan.experiment}", body)


# ---------------------------------------------------------------- words


def _how(told: TrialPath) -> str:
    how, record = _HOW[told.plan.strategy], told.record
    if record.started_at_ms is None:
        return how
    end = "now" if record.closed_at_ms is None else words.moment(record.closed_at_ms)
    return f"{how}; {words.moment(record.started_at_ms)} to {end}"


def _tiles(told: TrialPath) -> Markup:
    numbers, head = told.last, words.headline(told)
    tiles = [_tile(head, f"status {told.record.status.value}", _KINDS.get(head, ""))]
    if numbers is not None:
        every = [each for found in numbers["treatments"].values() for each in words.primaries(found)]
        best = max(every, key=_log_e)
        bounds = f"{words.signed(best['lower'])} and {words.signed(best['upper'])}"
        found = "–" if best["log_e"] is None else words.e_value(best["log_e"])
        batches = words.plural(numbers["batches"], "batch", "batches")
        tiles += [
            _tile(words.signed(best["estimate"]), f"gain on {best['metric']}; bounds {bounds}"),
            _tile(found, f"e-value; {words.e_value(best['threshold'])} is needed"),
            _tile(f"{numbers['outcomes']:,}", f"outcomes in {batches}"),
        ]
    return element("div", *tiles, kind="tiles")


def _tile(value: str, what: str, kind: str = "") -> Markup:
    return element("div", element("b", value), element("span", what), kind=f"tile {kind}".strip())


def _log_e(measure: Measure) -> float:
    return -math.inf if measure["log_e"] is None else float(measure["log_e"])


def _sentence(said: str) -> Markup:
    return element("p", said, kind="alarm" if said.startswith(words.INVALID) else "")


def _soundness(told: TrialPath) -> Iterator[Markup]:
    if told.account is not None:
        yield element("p", words.spent(told, told.account), kind="soft")
    if told.pruned:
        gone = (
            "Retention has deleted window rows of its time, so its way cannot be recomputed here; the "
            "verdict's own evidence is kept for ever."
        )
        yield element("p", gone)
    elif told.agrees is False:
        broken = "The path recomputed from the stored rows does NOT end at the stored numbers: "
        yield element("p", f"{broken}lifecycle replay finds the first difference.", kind="alarm")
    elif told.agrees:
        rows = words.plural(told.rows, "stored row")
        sound = f"Recomputed from {rows}: the path below ends at exactly these numbers."
        yield element("p", sound, kind="soft")


def _commands(told: TrialPath) -> str:
    lines = [
        "# all numbers of this page",
        f"lifecycle experiment report {shlex.quote(told.plan.experiment)} --json --home DIR",
    ]
    if told.verdict is not None:
        lines += [
            "# the verdict, recomputed from the log",
            f"lifecycle verify {told.verdict.decision_id} --home DIR",
        ]
    return "\n".join(lines)


# ---------------------------------------------------------------- pictures


def _pictures(told: TrialPath) -> Iterator[Markup]:
    if not told.path:
        return
    yield element("h2", "Gain")
    for place, goal in enumerate(told.plan.primaries):
        yield figure(
            pictures.gain(told, place),
            f"Estimated gain on {goal.key} (above zero the challenger is better), and the bounds between "
            "which it surely lies. Each bound holds at all looks together, so looking often does not make "
            "it wrong; early ones may lie outside the picture.",
        )
    harm = " Dashed: evidence that a challenger does harm." if told.plan.harm else ""
    most = " Of several primaries the largest is drawn." if told.plan.more_primaries else ""
    yield element("h2", "Evidence")
    yield figure(
        pictures.evidence(told),
        "E-values at every look, on a scale of powers of ten. At a solid line its claim is shown; below one "
        f"the data speak against it.{most}{harm}",
    )
    if told.plan.guardrails:
        yield element("h2", "Guardrails")
        yield figure(
            pictures.guardrails(told),
            "Evidence that each metric got worse by less than its margin. A promotion needs all of them "
            "above the line at the same look.",
        )


# ---------------------------------------------------------------- arms


def _arms(told: TrialPath) -> Iterator[Markup]:
    if not told.path:
        return
    shadow = told.plan.strategy == "SHADOW_MODE"
    yield element("h2", "Arms")
    yield figure(
        pictures.arrivals(told),
        "Outcomes that arrived in time, per arm, in closed batches; by the time at which they were complete.",
    )
    if not shadow:
        yield figure(
            pictures.ratios(told),
            "Evidence that the arms are not split as planned, over all epochs, largest so far: at the line "
            "promotion is blocked for good.",
        )
    columns = ["epoch", "arm", "version", "planned share", "predictions", "share", "outcomes", "arrived"]
    checked = told.plan.strategy == "PERCENTAGE_SPLIT"
    checks = ["ratio e-value", "arrivals e-value"] if checked else []
    by = (
        "By allocation epoch."
        if not checked
        else "By allocation epoch; the checks are those of the epoch alone."
    )
    yield element("p", by, kind="soft")
    yield table([*columns, *checks], [row for each in told.allocations for row in _allocation(told, each)])
    yield from _levels(told)


def _levels(told: TrialPath) -> Iterator[Markup]:
    if not (levels := told.levels):
        return
    said = (
        f"What each arm scored on its own, on {told.plan.primary.metric}; no verdict rests on it. From and "
        "to hold a rate of hits at all looks together, if hits are independent. The lift is the gain as a "
        "part of the champion's mean, with one-sided bounds."
    )
    yield element("p", said, kind="soft")
    rows = [[name, *words.level(found).values()] for name, found in levels.items()]
    yield table(["arm", *words.LEVEL], rows)


def _allocation(told: TrialPath, found: Allocation) -> Iterator[list[Cell]]:
    total = sum(arm.n for arm in found.arms.values())
    checks = [log_e for log_e in (found.ratio_log_e, found.arrival_log_e) if log_e is not None]
    for variant in told.plan.variants:
        arm = found.arms[variant.name]
        yield [
            str(found.epoch),
            variant.name,
            variant.version,
            words.percent(found.shares[variant.name]) if checks else "all",
            arm.n,
            words.percent(arm.n / total) if checks and total else "all",
            arm.matched,
            words.percent(arm.arrived_share),
            # of all arms together: said once
            *(words.e_value(log_e) if variant.champion else "" for log_e in checks),
        ]


# ---------------------------------------------------------------- tables


def _rules(told: TrialPath) -> Iterator[Markup]:
    numbers = told.last
    if numbers is None:
        return
    columns = ["rule", "metric", "margin", "gain", "lower", "upper", "e-value", "needed", "shown", "alpha"]
    columns += ["v", "weight", "rho"]
    yield element("h2", "Rules at the last look")
    for treatment in told.plan.treatments:
        found = numbers["treatments"][treatment.name]
        rules = [
            *(("primary", each) for each in words.primaries(found)),
            *(("loss", each) for each in found.get("losses", ())),
            *(("guardrail", each) for each in found["guardrails"]),
            *(("harm", each) for each in found["harm"]),
        ]
        yield element("h3", f"version {treatment.version} ({treatment.name})")
        yield table(columns, [_rule(kind, each) for kind, each in rules])
    meaning = (
        "Gains are in units of the metric and positive when users are better off. v is the variance process, "
        "weight turns sums into means, rho tunes the mixture: with them every e-value can be computed anew."
    )
    yield element("p", meaning, kind="soft")


def _rule(kind: str, found: Measure) -> list[Cell]:
    known = found["log_e"] is not None
    shown = ("yes" if found["log_e"] >= found["threshold"] else "no") if known else None
    return [
        kind,
        found["metric"],
        found["margin"],
        *(found[name] for name in ("estimate", "lower", "upper")),
        words.e_value(found["log_e"]) if known else None,
        words.e_value(found["threshold"]),
        shown,
        found["alpha"],
        *(found[name] for name in ("v", "weight", "rho")),
    ]


def _looks(told: TrialPath) -> Iterator[Markup]:
    if not told.path:
        return
    shown = told.path[-_MOST_LOOKS:]
    every = words.plural(len(told.path), "look")
    summary = every if len(shown) == len(told.path) else f"The last {len(shown)} of {every}"
    columns = ["complete at", "epoch", "batches", "outcomes", "version"]
    columns += ["metric"] if told.plan.more_primaries else []
    columns += ["gain", "lower", "upper", "e-value", "verdict"]
    yield element("h2", "Looks")
    yield details(summary, table(columns, [row for look in shown for row in _look(told, look)]))


def _look(told: TrialPath, look: Look) -> Iterator[list[Cell]]:
    for treatment in told.plan.treatments:
        for found in words.primaries(look.numbers["treatments"][treatment.name]):
            yield [
                words.moment(look.at_ms),
                str(look.epoch),
                look.numbers["batches"],
                look.numbers["outcomes"],
                treatment.version,
                *([found["metric"]] if told.plan.more_primaries else []),
                *(found[name] for name in ("estimate", "lower", "upper")),
                None if found["log_e"] is None else words.e_value(found["log_e"]),
                look.verdict or "",
            ]
