"""`lifecycle experiment`: what is being tried, and how it stands."""

import click
import orjson

from consumers.bootstrap import System
from consumers.cli.experiment_budget import budget
from consumers.cli.experiment_calibrate import calibrate
from consumers.cli.experiment_orders import ORDERS
from consumers.cli.experiment_performance import performance
from consumers.cli.experiment_plan import plan
from consumers.cli.experiment_report import report
from consumers.cli.faults import Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_fields, print_json, print_table, when
from consumers.services.dated_plans import shares_of
from consumers.services.experiment_moves import standing, verdict_of
from consumers.store.repositories.decisions import Decision
from consumers.store.repositories.experiments import ExperimentMove, ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.session import ReadSession
from domain.experiments.plan import ExperimentPlan
from schemas.events import ExperimentStatus


@click.group("experiment", short_help="Experiments: plans, traffic, evidence, verdicts.")
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
        experiments = ExperimentRepository(session)
        found, last = await experiments.list(model), await experiments.last_moves()
    records = [
        {
            "experiment": each.experiment_id,
            "model": each.model,
            "status": standing(each, last.get(each.experiment_id)).value,
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
        moves = await ExperimentRepository(session).moves(experiment)
        verdict = await verdict_of(session, found)
        evidence = await _evidence(session, found, verdict)
    record = {
        "experiment": found.experiment_id,
        "status": standing(found, moves[-1].move if moves else None).value,
        "epoch": found.epoch,
        "shares": dict(shares_of(ExperimentPlan.from_json(found.config), moves)),
        "started": when(found.started_at_ms),
        "ended": when(found.closed_at_ms),
        "config_hash": found.config_hash,
        "decision_id": found.decision_id,
        "waiting_verdict": _waiting(found, verdict),
        "history": [_told(move) for move in moves],
        "plan": found.config,
        "evidence": evidence,
    }
    if as_json:
        print_json(record)
    else:
        print_fields(experiment, record)


async def _evidence(session: ReadSession, found: ExperimentRecord, verdict: Decision | None) -> object:
    """What the verdict rests on; before there is one, the judge's state of the trial so far."""
    if verdict is not None:
        return orjson.loads(verdict.body)["evidence"]
    judgement = await JudgementRepository(session).load(found.model, for_update=False)
    return None if judgement is None else judgement.state["trials"].get(found.experiment_id)


def _waiting(found: ExperimentRecord, verdict: Decision | None) -> str | None:
    """The verdict that is not carried out yet: by the registry, or by a person."""
    if verdict is None or found.status is not ExperimentStatus.RUNNING:
        return None
    return str(orjson.loads(verdict.body)["evidence"]["verdict"])


def _told(move: ExperimentMove) -> dict[str, object]:
    return {
        "at": when(move.at_ms),
        "move": move.move,
        "epoch": move.epoch,
        "shares": move.shares,
        "actor": move.actor,
        "reason": move.reason,
    }


command.add_command(budget)
command.add_command(calibrate)
command.add_command(plan)
command.add_command(report)
command.add_command(performance)
for order in ORDERS:
    command.add_command(order)
