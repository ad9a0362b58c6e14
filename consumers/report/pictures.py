"""The pictures of one experiment: its gain, its evidence, its guardrails, its arms and their split."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumers.report import words
from consumers.report.page import COLORS
from consumers.report.plot import Band, Chart, Level, Line, span, svg
from consumers.services.trial_paths import TrialPath
from domain.experiments.srm import ALARM_LOG_E

Measure = Mapping[str, Any]
Pick = Callable[[Measure], Sequence[Measure]]
_DECADES = (-4.0, 8.0)
"""Evidence below is none and evidence above is beyond doubt: to show them would flatten all the rest."""
_HARM_COLOR = 3


def gain(told: TrialPath, place: int = 0) -> str:
    """The estimate and its confidence sequence on the primary at that place of the plan, by challenger."""
    goal = told.plan.primaries[place]
    plan, lines, bands, seen = told.plan, [], [], list[float]()
    for index, treatment in enumerate(plan.treatments):
        numbers = [(look.at_ms, look.numbers["treatments"][treatment.name]) for look in told.path]
        path = [(at, words.primaries(found)[place]) for at, found in numbers]
        estimates = [(at, _number(measure["estimate"])) for at, measure in path]
        bounds = [(at, _number(measure["lower"]), _number(measure["upper"])) for at, measure in path]
        color = index % COLORS
        lines.append(Line(label=f"version {treatment.version}", points=estimates, color=color, dots=True))
        bands.append(Band(points=bounds, color=color))
        # the first bounds are wide: what is known from the middle on sets the scale
        seen += [value for _, *pair in bounds[len(bounds) // 2 :] for value in pair]
        seen += [value for _, value in estimates[len(estimates) // 4 :]]
    levels = [Level(y=0.0, label="no gain", dashed=False)]
    if goal.margin:
        levels.append(Level(y=-goal.margin, label="margin"))
    mde = plan.mde_of(goal.key)
    if mde is not None:
        levels.append(Level(y=mde, label="worth having"))
    return svg(
        Chart(
            name=f"gain-{place}" if place else "gain",
            title=f"Estimated gain on {goal.key} over time with its confidence sequence",
            unit=f"gain on {goal.key}",
            lines=lines,
            bands=bands,
            levels=levels,
            y=span(seen, *(level.y for level in levels)),
        )
    )


def evidence(told: TrialPath) -> str:
    """E-values for a gain and for harm."""
    lines, needed = [], dict[float, list[str]]()
    several = len(told.plan.treatments) > 1
    for index, treatment in enumerate(told.plan.treatments):
        whose = f"version {treatment.version} " if several else ""
        lines.append(_e_line(told, treatment.name, f"{whose}better", index, words.primaries))
        if told.plan.harm:
            color = index if several else _HARM_COLOR
            harm = _e_line(
                told, treatment.name, f"{whose}harm", color, lambda each: each["harm"], dashed=True
            )
            lines.append(harm)
    for numbers in told.path[-1].numbers["treatments"].values():
        needed.setdefault(numbers["primary"]["threshold"], []).append("to promote")
        for each in numbers["harm"]:
            needed.setdefault(each["threshold"], []).append("for harm")
    return _e_chart("evidence", "Evidence for a gain and for harm over time", lines, needed)


def guardrails(told: TrialPath) -> str:
    """E-values for every guardrail."""
    lines, needed = list[Line](), dict[float, list[str]]()
    several = len(told.plan.treatments) > 1
    for treatment in told.plan.treatments:
        for index, rule in enumerate(told.plan.guardrails):
            label = f"{treatment.version}: {rule.metric}" if several else rule.metric
            lines.append(_e_line(told, treatment.name, label, len(lines), _guardrail(index)))
    for numbers in told.path[-1].numbers["treatments"].values():
        for each in numbers["guardrails"]:
            needed.setdefault(each["threshold"], []).append("needed")
    return _e_chart("guardrails", "Evidence that the guardrails hold, over time", lines, needed)


def arrivals(told: TrialPath) -> str:
    """Outcomes per arm."""
    lines = []
    challengers = [treatment.name for treatment in told.plan.treatments]
    for variant in told.plan.variants:
        points = [(look.at_ms, float(look.numbers["arms"][variant.name]["matched"])) for look in told.path]
        # the champion is dashed and in ink; challengers have the colour that they have above
        color = COLORS - 1 if variant.champion else challengers.index(variant.name) % COLORS
        lines.append(Line(label=variant.name, points=points, color=color, dashed=variant.champion))
    most = max(y for line in lines for _, y in line.points)
    return svg(
        Chart(
            name="arrivals",
            title="Outcomes that arrived, per arm, over time",
            unit="outcomes so far",
            lines=lines,
            y=(0.0, most * 1.06 or 1.0),
            height=250.0,
        )
    )


def ratios(told: TrialPath) -> str:
    """The judge's own checks of the split: largest evidence so far, over all epochs."""

    def points(name: str) -> list[tuple[float, float]]:
        return [(look.at_ms, _decade(look.numbers[name])) for look in told.path]

    lines = [
        Line(label="predictions", points=points("ratio_log_e"), color=0),
        Line(label="outcomes", points=points("arrival_log_e"), color=1, dashed=True),
    ]
    return _e_chart(
        "ratios",
        "Evidence against the planned split of the arms over time",
        lines,
        {ALARM_LOG_E: ["alarm"]},
        height=240.0,
    )


# ---------------------------------------------------------------- parts


def _guardrail(index: int) -> Pick:
    return lambda numbers: [numbers["guardrails"][index]]


def _e_line(
    told: TrialPath, treatment: str, label: str, color: int, pick: Pick, *, dashed: bool = False
) -> Line:
    """The decimal logarithm of the largest e-value of the picked rules at each look."""
    points = []
    for look in told.path:
        found = [each["log_e"] for each in pick(look.numbers["treatments"][treatment])]
        known = [log_e for log_e in found if log_e is not None]
        points.append((look.at_ms, _decade(max(known)) if known else math.nan))
    return Line(label=label, points=points, color=color % COLORS, dashed=dashed)


def _e_chart(
    name: str,
    title: str,
    lines: Sequence[Line],
    needed: Mapping[float, Sequence[str]],
    *,
    height: float = 310.0,
) -> str:
    """`needed` says of each threshold what it is for."""
    levels = []
    for log_e, purposes in sorted(needed.items()):
        purpose = purposes[0] if len(set(purposes)) == 1 else "needed"
        levels.append(Level(y=_decade(log_e), label=f"{purpose}: {words.e_value(log_e)}", dashed=False))
    low, high = _DECADES
    values = [min(max(y, low), high) for line in lines for _, y in line.points if math.isfinite(y)]
    return svg(
        Chart(
            name=name,
            title=title,
            unit="e-value",
            lines=lines,
            levels=levels,
            y=span(values, 0.0, *(level.y for level in levels)),
            decades=True,
            height=height,
        )
    )


def _decade(log_e: float) -> float:
    return log_e / math.log(10)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
