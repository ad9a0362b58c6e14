"""`lifecycle experiment budget`: the alpha that models spent, and which promotions stand together."""

import math
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.report.words import e_value
from consumers.services.fleet import Fleet, fleet, present_quarter
from consumers.store.repositories.models import ModelRepository
from domain.errors import InvalidField
from domain.experiments.budget import Account, Quarter, Spending

ALL = "all"


@click.command("budget", short_help="Alpha spent and left; which promotions stand by e-BH.")
@click.argument("model", required=False)
@click.option("--quarter", help="Such as 2026Q4, or all.  [default: the quarter of the latest event time]")
@click.option(
    "--fdr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="False discovery rate at which promotions are judged together.",
)
@json_option
@with_system
async def budget(system: System, model: str | None, quarter: str | None, fdr: float, as_json: bool) -> None:
    """The account of alpha of MODEL, or of every model, and what e-BH says of the experiments in it.

    A quarter's experiments spend at most the model's budget; that bounds the chance of any false promotion
    among them. e-BH judges many experiments together: of the promotions that stand, a share of at most --fdr
    is expected to be false, however the experiments depend on each other.

    \b
    Examples:
      lifecycle experiment budget --home DIR
      lifecycle experiment budget brent-move --quarter 2026Q4 --home DIR
      lifecycle experiment budget --quarter all --fdr 0.1 --json --home DIR
    """
    async with system.store.read() as session:
        if model is not None and await ModelRepository(session).get_model(model) is None:
            raise Refused(f"there is no model {model}: lifecycle registry list shows them")
        now = system.context("cli").now()
        wanted = _wanted(quarter, await present_quarter(session, int(now.timestamp() * 1_000)))
        found = await fleet(session, model=model, quarters=wanted, q=fdr)
    if as_json:
        print_json(_document(found))
        return
    print_table("accounts of alpha", [_shown(account) for account in found.accounts], _ACCOUNT, "no models")
    spent = [_spending(found, account, each) for account in found.accounts for each in account.entries]
    if spent:
        print_table("spent by", spent, _SPENDING, "")
    if found.tried:
        print_table(f"e-BH at a false discovery rate of {fdr:g}", _hypotheses(found), _HYPOTHESIS, "")
        enough = e_value(found.discoveries.threshold)
        click.echo(f"{found.standing} of {found.promoted} promotions stand; an e-value of {enough} is needed")


_ACCOUNT = ("model", "quarter", "budget", "spent", "left", "experiments")
_SPENDING = ("experiment", "alpha", "spent", "started", "status")
_HYPOTHESIS = ("experiment", "version", "e_value", "q_value", "promoted", "stands")


def _wanted(quarter: str | None, present: Quarter) -> list[Quarter] | None:
    if quarter is None:
        return [present]
    if quarter == ALL:
        return None
    try:
        return [Quarter.parse(quarter)]
    except InvalidField as error:
        raise Refused(f"--quarter: {error}, or {ALL}", USAGE) from error


def _document(found: Fleet) -> dict[str, Any]:
    accounts = [
        {**_account(account), "by_experiment": [_spending(found, account, each) for each in account.entries]}
        for account in found.accounts
    ]
    return {
        "accounts": accounts,
        "e_bh": {
            "fdr": found.discoveries.q,
            "threshold_log_e": found.discoveries.threshold,
            "promoted": found.promoted,
            "standing": found.standing,
            "hypotheses": _hypotheses(found),
        },
    }


def _account(account: Account) -> dict[str, Any]:
    return {
        "model": account.model,
        "quarter": str(account.quarter),
        "budget": account.budget,
        "spent": account.spent,
        "left": account.left,
        "experiments": len(account.entries),
    }


def _shown(account: Account) -> dict[str, Any]:
    no_limit = {"budget": "no limit", "left": "no limit"} if account.budget is None else {}
    return _account(account) | no_limit


def _spending(found: Fleet, account: Account, each: Spending) -> dict[str, Any]:
    return {
        "experiment": each.experiment,
        "model": account.model,
        "alpha": each.alpha,
        "spent": 0.0 if each.returned else each.alpha,
        "started": when(each.started_at_ms),
        "status": found.statuses[each.experiment].value,
    }


def _hypotheses(found: Fleet) -> list[dict[str, Any]]:
    """All of them; an e-value that is not known counts as zero, and its logarithm is null."""
    pairs = zip(found.tried, found.discoveries.rejected, found.discoveries.q_values, strict=True)
    return [
        {
            "experiment": each.experiment,
            "model": each.model,
            "treatment": each.treatment,
            "version": each.version,
            "status": each.status.value,
            "log_e": each.log_e if math.isfinite(each.log_e) else None,
            "e_value": e_value(each.log_e) if math.isfinite(each.log_e) else None,
            "q_value": level,
            "promoted": each.promoted,
            "stands": stands,
        }
        for each, stands, level in pairs
    ]
