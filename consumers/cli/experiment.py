"""`lifecycle experiment`: what is being tried, and how it stands."""

import click
import orjson

from consumers.bootstrap import System
from consumers.cli.experiment_budget import budget
from consumers.cli.experiment_report import report
from consumers.cli.faults import Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_fields, print_json, print_table, when
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.session import ReadSession


@click.group("experiment", short_help="Experiments: list, show, report, budget, cancel.")
def command() -> None:
    """Experiments of challengers against champions."""


@command.command("list")
@click.option("--model", help="Only this model's.")
@json_option
@with_system
async def list_experiments(system: System, model: str | None, as_json: bool) -> None:
    """All experiments.

    \b
    Example:
      lifecycle experiment list --home DIR
    """
    async with system.store.read() as session:
        found = await ExperimentRepository(session).list(model)
    records = [
        {
            "experiment": each.experiment_id,
            "model": each.model,
            "status": each.status.value,
            "strategy": each.config["strategy"],
            "started": when(each.started_at_ms),
            "ended": when(each.closed_at_ms),
            "decision_id": each.decision_id,
        }
        for each in found
    ]
    if as_json:
        print_json(records)
        return
    columns = ("experiment", "model", "status", "strategy", "started", "ended", "decision_id")
    print_table("experiments", records, columns, "no experiments")


@command.command("show")
@click.argument("experiment")
@json_option
@with_system
async def show(system: System, experiment: str, as_json: bool) -> None:
    """The frozen plan of EXPERIMENT and its evidence so far.

    \b
    Example:
      lifecycle experiment show brent-move-3-v-1 --home DIR
    """
    async with system.store.read() as session:
        found = await ExperimentRepository(session).get(experiment)
        if found is None:
            raise Refused(f"there is no experiment {experiment}: lifecycle experiment list shows them")
        evidence = await _evidence(session, found)
    record = {
        "experiment": found.experiment_id,
        "status": found.status.value,
        "started": when(found.started_at_ms),
        "ended": when(found.closed_at_ms),
        "config_hash": found.config_hash,
        "decision_id": found.decision_id,
        "plan": found.config,
        "evidence": evidence,
    }
    if as_json:
        print_json(record)
    else:
        print_fields(experiment, record)


async def _evidence(session: ReadSession, found: ExperimentRecord) -> object:
    """What the verdict rests on; before there is one, the judge's state of the trial so far."""
    if found.decision_id is not None:
        verdict = await DecisionRepository(session).get(found.decision_id)
        if verdict is not None:
            return orjson.loads(verdict.body)["evidence"]
    judgement = await JudgementRepository(session).load(found.model, for_update=False)
    return None if judgement is None else judgement.state["trials"].get(found.experiment_id)


@command.command("cancel")
@click.argument("experiment")
@with_system
async def cancel(system: System, experiment: str) -> None:
    """End EXPERIMENT without a verdict; the champion stays, challengers stay in STAGING.

    It takes effect from what is judged now: no row that is judged later counts for it.

    \b
    Example:
      lifecycle experiment cancel brent-move-3-v-1 --home DIR
    """
    async with system.store.write() as session:
        cancelled = await system.experiments().cancel(session, experiment)
    if not cancelled:
        raise Refused(f"experiment {experiment} has ended already")
    click.echo(f"experiment {experiment} is cancelled")


command.add_command(budget)
command.add_command(report)
