"""`lifecycle experiment performance`: how each arm does now."""

import click

from consumers.bootstrap import System
from consumers.cli.faults import Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table
from consumers.report import words
from consumers.services.performances import performance_of
from consumers.store.repositories.experiments import ExperimentRepository
from domain.experiments.performance import VariantPerformance

_COLUMNS = ("variant", "version", "share", "outcomes", "arrived", "gain", "lower", "upper", "e_value", "p")


@click.command("performance", short_help="How each arm does now.")
@click.argument("experiment")
@json_option
@with_system
async def performance(system: System, experiment: str, as_json: bool) -> None:
    """How each arm of EXPERIMENT does: counts, gain with bounds, e-value and p, all valid at any time.

    \b
    Example:
      lifecycle experiment performance brent-move-3-v-1 --home DIR
    """
    async with system.store.read() as session:
        found = await ExperimentRepository(session).get(experiment)
        if found is None:
            raise Refused(f"there is no experiment {experiment}: lifecycle experiment list shows them")
        arms = await performance_of(session, found, system.windows.length_ms)
    if as_json:
        print_json([arm.to_json() for arm in arms])
        return
    metric = next((arm.metric for arm in arms if arm.metric is not None), None)
    title = experiment if metric is None else f"{experiment}: gain on {metric}"
    print_table(title, [_row(arm) for arm in arms], _COLUMNS, "it has no arms")


def _row(arm: VariantPerformance) -> dict[str, object]:
    known = arm.log_e is not None
    return {
        "variant": arm.variant,
        "version": arm.version,
        "share": "all" if arm.share is None else words.percent(arm.share),
        "outcomes": arm.outcomes,
        "arrived": words.percent(arm.arrived_share),
        "gain": words.signed(arm.estimate) if known else None,
        "lower": words.signed(arm.lower) if known else None,
        "upper": words.signed(arm.upper) if known else None,
        "e_value": None if arm.log_e is None else words.e_value(arm.log_e),
        "p": None if arm.p_value is None else f"{arm.p_value:.3g}",
    }
