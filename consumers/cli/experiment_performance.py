"""`lifecycle experiment performance`: how each arm does now."""

from collections.abc import Sequence

import click

from consumers.bootstrap import System
from consumers.cli.faults import Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table
from consumers.report import words
from consumers.services.performances import performance_of
from consumers.store.repositories.experiments import ExperimentRepository
from domain.experiments.performance import PrimaryPerformance, VariantPerformance

_COLUMNS = ("variant", "version", "share", "outcomes", "arrived", "gain", "lower", "upper", "e_value", "p")


@click.command("performance", short_help="How each arm does now.")
@click.argument("experiment")
@click.option("--own", is_flag=True, help="Also what each arm scored on its own; reads all its rows.")
@json_option
@with_system
async def performance(system: System, experiment: str, own: bool, as_json: bool) -> None:
    """How each arm of EXPERIMENT does: counts, gain with bounds, e-value and p, all valid at any time.

    --own adds each arm's mean of the primary metric, where its rate of hits lies (if hits are independent),
    and the lift, the gain as a part of the champion's mean. No verdict rests on these.

    \b
    Example:
      lifecycle experiment performance brent-move-3-v-1 --own --home DIR
    """
    async with system.store.read() as session:
        found = await ExperimentRepository(session).get(experiment)
        if found is None:
            raise Refused(f"there is no experiment {experiment}: lifecycle experiment list shows them")
        arms = await performance_of(session, found, system.windows.length_ms, own=own)
    if as_json:
        print_json([arm.to_json() for arm in arms])
        return
    metric = next((arm.metric for arm in arms if arm.metric is not None), None)
    title = experiment if metric is None else f"{experiment}: gain on {metric}"
    print_table(title, [_row(arm, arm) for arm in arms], _COLUMNS, "it has no arms")
    for place in range(max((len(arm.more_primaries) for arm in arms), default=0)):
        challengers = [(arm, arm.more_primaries[place]) for arm in arms if arm.more_primaries]
        rows = [_row(arm, found) for arm, found in challengers]
        print_table(f"{experiment}: gain on {challengers[0][1].metric}", rows, _COLUMNS, "")
    if own:
        _print_levels(experiment, arms)
    for arm in arms:
        if arm.losing:
            click.echo(f"{arm.variant} is shown to get worse on {', '.join(arm.losing)}: it is not promoted")


def _print_levels(experiment: str, arms: Sequence[VariantPerformance]) -> None:
    known = [(arm.variant, arm.level) for arm in arms if arm.level is not None]
    rows = [{"variant": name, **words.level(level)} for name, level in known]
    metric = known[0][1].metric if known else "the primary metric"
    nothing = "no stored row has an outcome of it"
    print_table(f"{experiment}: each arm's own {metric}", rows, ("variant", *words.LEVEL), nothing)


def _row(arm: VariantPerformance, found: VariantPerformance | PrimaryPerformance) -> dict[str, object]:
    known = found.log_e is not None
    return {
        "variant": arm.variant,
        "version": arm.version,
        "share": "all" if arm.share is None else words.percent(arm.share),
        "outcomes": arm.outcomes,
        "arrived": words.percent(arm.arrived_share),
        "gain": words.signed(found.estimate) if known else None,
        "lower": words.signed(found.lower) if known else None,
        "upper": words.signed(found.upper) if known else None,
        "e_value": None if found.log_e is None else words.e_value(found.log_e),
        "p": None if found.p_value is None else f"{found.p_value:.3g}",
    }
