"""`lifecycle experiment calibrate`: whether a plan's alpha holds, on the user's own data and on others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, WRONG, Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table
from consumers.cli.rehearsal import (
    AUTO,
    LOG,
    ROWS,
    LogTooShort,
    counted,
    days_option,
    file_argument,
    past_document,
    past_of,
    past_words,
    percent,
    plan_of,
    reservations,
    runs_option,
    seed_option,
    source_option,
    summary_document,
    wrapped,
)
from consumers.rehearsal.rates import Rate, runs_needed
from consumers.rehearsal.synthetic import MODES
from consumers.services import calibrations
from consumers.services.calibrating import OWN, Calibrating, Cell, TooFewRuns
from consumers.services.calibrations import Calibration
from consumers.services.pasts import BY_UNIT, Known, PastTooShort
from domain.experiments.plan import ExperimentPlan

ALL = "all"
_COLUMNS = ("data", "false_promotions", "upper_bound", "false_rollbacks", "power", "holds")


@click.command("calibrate", short_help="Whether a plan's alpha holds on your own data.")
@click.argument("model")
@file_argument
@click.option(
    "--mode",
    "modes",
    type=click.Choice((OWN, *MODES, ALL)),
    multiple=True,
    default=(OWN,),
    show_default=True,
    help="own is the model's own past; the others are made up: "
    + "; ".join(f"{name}, {mode.says}" for name, mode in MODES.items())
    + ". Again for more.",
)
@runs_option(400, "Rehearsals of equal models for each mode; a quarter as many for power.")
@seed_option
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="What false promotions may be at most.  [default: the plan's]",
)
@source_option("auto is the log as long as it holds enough.")
@days_option
@click.option(
    "--record",
    is_flag=True,
    help="Keep the answer: an experiment of such a plan that is not calibrated is then not started as long "
    "as promotions are automatic, and one that runs already leaves its promotion to a person.",
)
@json_option
@with_system
async def calibrate(
    system: System,
    model: str,
    file: Path,
    modes: tuple[str, ...],
    runs: int,
    seed: int,
    alpha: float | None,
    source: str,
    days: int | None,
    record: bool,
    as_json: bool,
) -> int:
    """How often the plan in FILE promotes a challenger that is no better, and how often one that is.

    On the model's own log this is an A/A test: the champion's predictions are put into the plan's arms at
    random, run by run, and judged by the judge. Under SHADOW_MODE, where both models answer everything, and
    where the log is gone, window rows are resampled instead. A bound says at 95 % that the rate is no larger.
    Exit code 1 says that the plan is not calibrated. --record keeps the answer for all experiments by the
    same rules, whatever their names and versions.

    \b
    Examples:
      lifecycle experiment calibrate brent-move plan.json --home DIR
      lifecycle experiment calibrate brent-move plan.json --mode all --runs 1000 --record --home DIR
    """
    chosen = await plan_of(system, model, file)
    limit = chosen.alpha if alpha is None else alpha
    if runs < runs_needed(limit):
        raise Refused(str(TooFewRuns(runs, limit)), USAGE)
    asked = _asked(chosen, modes)
    known = await _own(system, chosen, source, days) if OWN in asked else None
    calibrating = Calibrating(plan=chosen, known=known, seed=seed)
    cells = [calibrating.cell(mode, runs, counted) for mode in asked]
    held = all(cell.holds(limit) for cell in cells)
    runs_now = None
    if record:
        found = Calibration(
            config_hash=chosen.config_hash,
            alpha=limit,
            upper=_upper(cells),
            runs=runs,
            seed=seed,
            modes=tuple(asked),
        )
        async with system.store.write() as session:
            await calibrations.record(session, chosen, found)
            runs_now = await calibrations.running_by(session, chosen)
    if as_json:
        print_json({**_document(calibrating, limit, cells), "recorded": record})
    else:
        _print(calibrating, limit, cells)
        if record:
            click.echo("recorded for all experiments by these rules")
        if runs_now is not None and not held:
            click.echo(f"{runs_now} runs by them: its promotion would wait for a person to complete it")
    return 0 if held else WRONG


def _asked(chosen: ExperimentPlan, modes: Sequence[str]) -> list[str]:
    """Each mode once. Raises Refused for one that says nothing about the plan."""
    fitting = [name for name, mode in MODES.items() if chosen.strategy in mode.strategies]
    if ALL in modes:
        return [OWN, *fitting]
    for name in modes:
        if name != OWN and name not in fitting:
            raise Refused(f"--mode {name} says nothing about a plan of {chosen.strategy}", USAGE)
    return list(dict.fromkeys(modes))


async def _own(system: System, chosen: ExperimentPlan, source: str, days: int | None) -> Known:
    if source != AUTO:
        return await past_of(system, chosen, source, days)
    if chosen.strategy == "SHADOW_MODE":
        return await past_of(system, chosen, ROWS, days)
    try:
        return await past_of(system, chosen, LOG, days)
    except (PastTooShort, LogTooShort):
        if chosen.strategy in BY_UNIT:
            raise
    return await past_of(system, chosen, ROWS, days)


def _document(calibrating: Calibrating, alpha: float, cells: Sequence[Cell]) -> dict[str, Any]:
    plan, known = calibrating.plan, calibrating.known
    return {
        "model": plan.model,
        "experiment": plan.experiment,
        "config_hash": plan.config_hash,
        "seed": calibrating.seed,
        "alpha": alpha,
        "calibrated": all(cell.holds(alpha) for cell in cells),
        "past": None if known is None else past_document(known, plan),
        "mde": calibrating.mde,
        "modes": [
            {
                "mode": cell.mode,
                "holds": cell.holds(alpha),
                "equal": summary_document(cell.equal),
                "better": summary_document(cell.better),
            }
            for cell in cells
        ],
    }


def _print(calibrating: Calibrating, alpha: float, cells: Sequence[Cell]) -> None:
    plan, known = calibrating.plan, calibrating.known
    print_table(
        f"equal models under {plan.experiment}", [_shown(cell, alpha) for cell in cells], _COLUMNS, ""
    )
    said = []
    if known is not None:
        said.append(f"Own past: {past_words(known, plan)}. {_HOW[known.source]}")
        said += reservations(known, plan)
    gain = f"a gain of {calibrating.mde:.4g} on {plan.primary.key}"
    said.append(f"Power is that of finding {gain}. Bounds are at 95 %, by Clopper and Pearson.")
    harmed = [cell for cell in cells if plan.harm and cell.equal.rolled_back.lower > plan.harm_alpha]
    for cell in harmed:
        share = percent(cell.equal.rolled_back.share)
        said.append(f"{cell.mode}: {share} were rolled back for harm, over the plan's harm_alpha.")
    for line in wrapped([*said, _verdict(alpha, cells)]):
        click.echo(line)


_HOW = {
    "log": "Predictions were put into arms by the plan's allocation, each run under another salt.",
    "rows": "Windows were resampled in blocks, and arms drawn from their moments.",
    "pairs": "Windows were resampled in blocks, and differences drawn from their moments, less their mean.",
}


def _verdict(alpha: float, cells: Sequence[Cell]) -> str:
    wrong = [cell for cell in cells if not cell.holds(alpha)]
    if not wrong:
        return f"calibrated: false promotions are at most {percent(_upper(cells))}, alpha is {percent(alpha)}"
    named = ", ".join(cell.mode for cell in wrong)
    bound = f"upper 95 % bound {percent(_upper(wrong))} > alpha {percent(alpha)}"
    open_ones = any(cell.equal.promoted.lower <= alpha for cell in wrong)
    hint = "; more --runs may still show that it holds" if open_ones else ""
    return f"NOT calibrated: {bound} ({named}){hint}"


def _upper(cells: Sequence[Cell]) -> float:
    return max(cell.equal.promoted.upper for cell in cells)


def _shown(cell: Cell, alpha: float) -> dict[str, Any]:
    return {
        "data": cell.mode,
        "false_promotions": _of(cell.equal.promoted),
        "upper_bound": percent(cell.equal.promoted.upper),
        "false_rollbacks": _of(cell.equal.rolled_back),
        "power": _of(cell.power),
        "holds": cell.holds(alpha),
    }


def _of(rate: Rate) -> str:
    return f"{rate.count} of {rate.runs}"
