"""`lifecycle drift budget`: false alarms promised, seen, and one budget for all models."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import allowed_actor_option, json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.report.words import plural
from consumers.services.drift_budget import (
    FleetBudget,
    ModelBudget,
    OpenAlarm,
    Share,
    UnknownModel,
    divide,
    divided,
    fleet_budget,
)
from consumers.store.repositories.budget_orders import BudgetOrder
from domain.judgement.alarm_rates import per_month as in_month
from schemas.clock import to_ms

_LARGEST = 10**9

_MODEL = ("model", "per_month", "windows", "expected", "episodes", "open")
_DETECTOR = ("detector", "per_window", "per_month", "source")
_ALARM = ("model", "drift_type", "opened", "p_value", "q_value", "stands")
_SHARE = ("model", "per_month_now", "share", "per_month", "changes")


@click.command("budget", short_help="False alarms promised and seen; one budget for all models.")
@click.option("--model", help="Only this model's promise, detector by detector.")
@click.option(
    "--fdr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="False discovery rate at which the open alarms of all models are judged together.",
)
@click.option("--per-month", help="Divide so many false alarms in 30 days over all models, such as 2 or 0.5.")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    help="With --per-month: a model and its weight, such as m=2; again for more.  [default: 1 each]",
)
@click.option("--apply", "applied", is_flag=True, help="Put the divided budget in force, not only show it.")
@allowed_actor_option
@click.option("--reason", help="With --apply: why; kept.")
@json_option
@with_system
async def budget(
    system: System,
    model: str | None,
    fdr: float,
    per_month: str | None,
    weights: tuple[str, ...],
    applied: bool,
    actor: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """False alarms that policies promise in 30 days, and what was seen; or divide a budget over all models.

    What is seen holds real drifts too. An open alarm stands if, with all models judged together, at most a
    share of --fdr of the models whose alarms stand is expected not to have drifted. Dividing changes the
    detectors of every model by one factor, for what is not judged yet: they start afresh, and open episodes
    go on. What is promised is promised of each version that serves.

    \b
    Examples:
      lifecycle drift budget --home DIR
      lifecycle drift budget --per-month 2 --weight brent-move=3 --home DIR
      lifecycle drift budget --per-month 2 --apply --actor ada --reason "too many" --home DIR
    """
    if per_month is None:
        if weights or applied or actor or reason:
            raise Refused("--weight, --apply, --actor and --reason need --per-month", USAGE)
        async with system.store.read() as session:
            found = await fleet_budget(session)
        _show(found, model, fdr, as_json)
        return
    if model is not None:
        raise Refused(
            "--model and --per-month do not go together: a budget is divided over all models", USAGE
        )
    if applied and not (actor and reason):
        raise Refused("--apply needs --actor and --reason", USAGE)
    total, wanted = _number("--per-month", per_month), _weights(weights)
    if applied:
        assert actor is not None and reason is not None  # noqa: S101, PT018 - asked for above
        async with system.store.write() as session:
            now = system.context("cli").now()
            parts = await divide(session, total, wanted, actor=actor, reason=reason, now=now)
    else:
        async with system.store.read() as session:
            parts = await divided(session, total, wanted)
    _show_shares(parts, applied=applied, as_json=as_json)


def _number(option: str, text: str) -> Fraction:
    """Exactly what was written: 0.1 is a tenth."""
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise Refused(f"{option} {text!r} is not a number", USAGE) from None
    if not 0 < number <= _LARGEST:
        raise Refused(f"{option} {text!r} is not above 0 and at most {_LARGEST:,}", USAGE)
    return number


def _weights(given: Sequence[str]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for each in given:
        name, sign, weight = each.rpartition("=")
        if not sign or not name:
            raise Refused(f"--weight {each!r} is not a model and a number, such as brent-move=2", USAGE)
        if name in found:
            raise Refused(f"--weight names {name} twice", USAGE)
        found[name] = _number(f"--weight of {name}", weight)
    return found


def _show(found: FleetBudget, model: str | None, fdr: float, as_json: bool) -> None:
    models = [each for each in found.models if model in (None, each.model)]
    if model is not None and not models:
        raise UnknownModel(model)
    alarms = [each for each in found.alarms if model in (None, each.episode.model)]
    if as_json:
        print_json(
            {
                "window_length_ms": found.length_ms,
                "per_month": float(found.per_month),
                "models": [_model(each, found.length_ms) for each in models],
                "fdr": fdr,
                "open_alarms": [_alarm(each, fdr) for each in alarms],
                "last_order": _order(found.order),
            }
        )
        return
    print_table("false alarms by model", [_row(each) for each in models], _MODEL, "no models")
    if model is not None:
        detectors = _detectors(models[0], found.length_ms)
        print_table("promised by detector", detectors, _DETECTOR, "no detector is on")
    together = f"{plural(len(found.models), 'model')} together"
    click.echo(f"at most {float(found.per_month):.4g} false alarms in 30 days are promised, by {together}")
    if (order := _order(found.order)) is not None:
        click.echo("{per_month:g} in 30 days were divided by {actor} on {at}: {reason}".format(**order))
    if alarms:
        print_table(
            f"open alarms of all models together, at a false discovery rate of {fdr:g}",
            [_alarm(each, fdr) for each in alarms],
            _ALARM,
            "",
        )
        click.echo(f"{sum(each.stands(fdr) for each in alarms)} of {len(alarms)} open alarms stand")


def _row(each: ModelBudget) -> dict[str, Any]:
    seen = ", ".join(f"{number} {kind.value}" for kind, number in sorted(each.episodes.items()))
    return {
        "model": each.model,
        "per_month": float(each.per_month),
        "windows": each.windows.count,
        "expected": float(each.expected),
        "episodes": seen or None,
        "open": each.open,
    }


def _model(each: ModelBudget, length_ms: int) -> dict[str, Any]:
    return {
        **_row(each),
        "episodes": {kind.value: number for kind, number in sorted(each.episodes.items())},
        "windows_since": when(each.windows.first_due_ms),
        "detectors": _detectors(each, length_ms),
    }


def _detectors(each: ModelBudget, length_ms: int) -> list[dict[str, Any]]:
    return [
        {
            "detector": rate.detector,
            "per_window": None if rate.per_window is None else float(rate.per_window),
            "per_month": None if rate.per_window is None else float(in_month(rate.per_window, length_ms)),
            "source": rate.source,
        }
        for rate in each.rates
    ]


def _alarm(each: OpenAlarm, fdr: float) -> dict[str, Any]:
    return {
        "model": each.episode.model,
        "version": each.episode.version,
        "drift_type": each.episode.drift_type.value,
        "opened": when(each.episode.opened_at_ms),
        "p_value": each.p_value,
        "q_value": each.q_value,
        "stands": each.stands(fdr),
        "drift_id": each.episode.episode_id,
    }


def _order(order: BudgetOrder | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "per_month": float(Fraction(order.per_month)),
        "actor": order.actor,
        "reason": order.reason,
        "at": when(to_ms(order.ordered_at)),
        "models": sorted(order.policies),
    }


def _show_shares(parts: Sequence[Share], *, applied: bool, as_json: bool) -> None:
    shown = [_share(each) for each in parts]
    if as_json:
        print_json({"applied": applied, "shares": shown})
        return
    print_table("the budget divided", shown, _SHARE, "no models")
    changed = sum(each.changes for each in parts)
    policies = plural(changed, "new policy", "new policies")
    if not changed:
        click.echo("every policy is within its share already: nothing changes")
    elif applied:
        click.echo(f"{policies} for what is not judged yet; their detectors start afresh")
    else:
        click.echo(f"{policies}, whose detectors start afresh: --apply puts them in force")


def _share(each: Share) -> dict[str, Any]:
    values: Mapping[str, Any] = {name: {field: value} for name, (field, value) in each.values.items()}
    return {
        "model": each.model,
        "per_month_now": float(each.per_month_before),
        "share": float(each.share),
        "per_month": float(each.per_month),
        "changes": each.changes,
        "values": values,
    }
