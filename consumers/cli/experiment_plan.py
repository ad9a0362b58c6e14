"""`lifecycle experiment plan`: what an experiment would cost and find, rehearsed on the champion's past."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table
from consumers.cli.rehearsal import (
    AUTO,
    LOG,
    ROWS,
    days_option,
    duration,
    file_argument,
    past_document,
    past_of,
    past_words,
    percent,
    plan_of,
    quartiles,
    reservations,
    runs_option,
    seed_option,
    source_option,
    summary_document,
    summary_of,
    wrapped,
)
from consumers.rehearsal.arms import Effect
from consumers.rehearsal.past import block_ms, outcomes_of_batch
from consumers.rehearsal.rates import Summary
from consumers.rehearsal.runs import Rehearsals, default_mde, fixed_size, limit_of
from consumers.services.pasts import BY_UNIT, Known
from domain.experiments.plan import ExperimentPlan
from domain.windows.moments import LARGEST

_COLUMNS = ("gain", "promoted", "rolled_back", "neither", "time", "middle_half", "outcomes", "fixed")


@click.command("plan", short_help="How long a plan takes, by rehearsal on the past.")
@click.argument("model")
@file_argument
@click.option(
    "--effect",
    "effects",
    type=float,
    multiple=True,
    help="A gain on the primary metric, in its units; again for more; negative is worse.  "
    "[default: 0, half the mde, the mde, twice the mde]",
)
@runs_option(100, "Rehearsals of each effect.")
@seed_option
@source_option("auto is the log where units are split, which rows do not know, and rows otherwise.")
@days_option
@json_option
@with_system
async def plan(
    system: System,
    model: str,
    file: Path,
    effects: tuple[float, ...],
    runs: int,
    seed: int,
    source: str,
    days: int | None,
    as_json: bool,
) -> None:
    """How long an experiment by the plan in FILE would take, and what it would find.

    FILE is a whole plan, or the `experiment` section of a policy: then the version in PRODUCTION against one
    challenger. Experiments are rehearsed on blocks of the champion's past with an effect added: the traffic,
    the spread and how windows depend on each other are the model's own, and the judge is the judge.

    \b
    Examples:
      lifecycle experiment plan brent-move plan.json --home DIR
      lifecycle experiment plan brent-move plan.json --effect 0.01 --effect 0.02 --runs 100 --home DIR
    """
    chosen = await plan_of(system, model, file)
    if not all(abs(effect) <= LARGEST for effect in effects):
        raise Refused("--effect: not a number that can be measured", USAGE)
    units = chosen.strategy in BY_UNIT
    known = await past_of(system, chosen, (LOG if units else ROWS) if source == AUTO else source, days)
    mde = default_mde(chosen, known.variance(chosen, chosen.primary.metric))
    gains = effects or (0.0, mde / 2, mde, 2 * mde)
    found = [(gain, _rehearsed(chosen, known, gain, runs, seed)) for gain in gains]
    if as_json:
        print_json(_document(chosen, known, seed, mde, found))
        return
    print_table(
        f"rehearsals of {chosen.experiment}", [_shown(chosen, known, *each) for each in found], _COLUMNS, ""
    )
    for line in wrapped(_sentences(chosen, known, mde, found)):
        click.echo(line)


def _rehearsed(chosen: ExperimentPlan, known: Known, gain: float, runs: int, seed: int) -> Summary:
    ended = Rehearsals(plan=chosen, seed=seed).over(
        known.past,
        Effect(gain=gain, base_rate=known.base_rate(chosen)),
        runs,
        block_ms=block_ms(known.past, chosen),
        units=known.units,
    )
    return summary_of(f"gain {gain:.4g}", runs, ended)


def _fixed(chosen: ExperimentPlan, known: Known, gain: float) -> int | None:
    if chosen.primary.denominator is not None:
        return None
    return fixed_size(chosen, gain + chosen.primary.margin, known.variance(chosen, chosen.primary.metric))


def _limit(chosen: ExperimentPlan, known: Known) -> int:
    return limit_of(chosen, outcomes_of_batch(known.past, chosen))


def _document(
    chosen: ExperimentPlan, known: Known, seed: int, mde: float, found: Sequence[tuple[float, Summary]]
) -> dict[str, Any]:
    return {
        "model": chosen.model,
        "experiment": chosen.experiment,
        "config_hash": chosen.config_hash,
        "seed": seed,
        "past": past_document(known, chosen),
        "mde": mde,
        "mde_from": "n_star" if chosen.mde is None else "plan",
        "given_up_after": _limit(chosen, known),
        "effects": [
            {"gain": gain, **summary_document(summary), "fixed_size": _fixed(chosen, known, gain)}
            for gain, summary in found
        ],
    }


def _shown(chosen: ExperimentPlan, known: Known, gain: float, summary: Summary) -> dict[str, Any]:
    nothing = (summary.inconclusive.count + summary.undecided.count) / summary.runs
    fixed = _fixed(chosen, known, gain)
    return {
        "gain": f"{gain:.3g}",
        "promoted": percent(summary.promoted.share),
        "rolled_back": percent(summary.rolled_back.share),
        "neither": percent(nothing),
        "time": duration(summary.lasted_ms.median),
        "middle_half": quartiles(summary.lasted_ms),
        "outcomes": f"{summary.outcomes.median:,.0f}",
        "fixed": None if fixed is None else f"{fixed:,}",
    }


def _sentences(
    chosen: ExperimentPlan, known: Known, mde: float, found: Sequence[tuple[float, Summary]]
) -> list[str]:
    metric = chosen.primary.key
    why = (
        "the plan's mde"
        if chosen.mde is not None
        else f"what a fixed test of n_star = {chosen.n_star:,} finds"
    )
    said = [f"Past: {past_words(known, chosen)}.", f"A gain of {mde:.4g} on {metric} is {why}."]
    for gain, summary in found:
        if gain == mde:
            ended = summary.lasted_ms
            said.append(
                f"A challenger that is better by that much is promoted in {percent(summary.promoted.share)} "
                f"of {summary.runs:,} rehearsals; half of them are over within {duration(ended.median)}, and "
                f"the mean is {duration(ended.mean)} and {summary.outcomes.mean:,.0f} outcomes."
            )
        elif gain == 0:
            said.append(
                f"One that is no better is promoted in {percent(summary.promoted.share)} (at most "
                f"{percent(summary.promoted.upper)}, at 95 %); lifecycle experiment calibrate asks the log."
            )
    undecided = max(summary.undecided.share for _, summary in found)
    if undecided:
        said.append(
            f"Up to {percent(undecided)} were given up after {_limit(chosen, known):,} outcomes: real "
            "experiments would go on; max_outcomes, max_duration_ms or mde gives the plan an end."
        )
    said += reservations(known, chosen)
    invalid = max(summary.invalid.share for _, summary in found)
    if invalid > 0.01:
        said.append(f"In up to {percent(invalid)} a ratio check raised an alarm and blocked promotion.")
    return said
