"""`lifecycle retraining`: jobs, and a person's request for one."""

import click

from consumers.bootstrap import System, now_ms
from consumers.cli.faults import Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.services.identity import stable_id
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.retraining import RetrainingRepository
from schemas.clock import from_ms
from schemas.events import RetrainingTrigger, RetrainRequested


@click.group("retraining", short_help="Retraining jobs: list, request.")
def command() -> None:
    """Retraining jobs."""


@command.command("list")
@click.option("--model", help="Only this model's.")
@json_option
@with_system
async def list_jobs(system: System, model: str | None, as_json: bool) -> None:
    """All jobs, and requests that were suppressed.

    \b
    Example:
      lifecycle retraining list --home DIR
    """
    async with system.store.read() as session:
        jobs = await RetrainingRepository(session).list(model=model)
    records = [
        {
            "as_of": when(job.as_of_ms),
            "model": job.model,
            "status": job.status.value,
            "trigger": job.trigger.value,
            "version": job.version,
            "attempts": job.attempts,
            "detail": (job.result or {}).get("detail"),
            "job_id": job.job_id,
        }
        for job in jobs
    ]
    if as_json:
        print_json(records)
        return
    columns = ("as_of", "model", "status", "trigger", "version", "attempts", "detail")
    print_table("retraining jobs", records, columns, "no retraining jobs")


@command.command("request")
@click.argument("model")
@click.option("--reason", required=True, help="Why; kept with the job.")
@with_system
async def request(system: System, model: str, reason: str) -> None:
    """Ask for a new version of MODEL, trained on the history so far.

    \b
    Example:
      lifecycle retraining request brent-move --reason "new feed" --home DIR
    """
    at_ms = now_ms()
    async with system.store.write() as session:
        production = await ModelRepository(session).production(model)
        if production is None:
            raise Refused(f"{model} has no PRODUCTION version to retrain")
        event = RetrainRequested(
            event_id=stable_id("manual-retraining", model, str(at_ms)),
            occurred_at=from_ms(at_ms),
            model=model,
            version=production.version,
            trigger=RetrainingTrigger.MANUAL,
            reason=reason,
            as_of=from_ms(at_ms),
        )
        await system.context("cli").promise(session, event)
    click.echo(f"retraining of {model} is requested: lifecycle retraining list shows the job")
