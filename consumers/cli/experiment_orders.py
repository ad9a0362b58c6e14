"""Orders for experiments: create, start, ramp, pause, resume, stop, complete, cancel."""

from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System, now_ms
from consumers.cli.documents import object_in
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import actor_option, json_option, moment, with_system
from consumers.cli.output import print_json
from consumers.services.experiment_moves import event_time_ms
from consumers.services.experiments import plan_from_template
from consumers.services.identity import experiment_id
from consumers.services.plans import to_be_recorded
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import ReadSession
from domain.errors import InvalidField
from domain.experiments.plan import ExperimentPlan

reason_option = click.option("--reason", required=True, help="Why; kept in the history.")


@click.command("create", short_help="Record a plan; from then on it is frozen.")
@click.argument("model")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--challenger", help="Version to compare with PRODUCTION, where FILE names no variants (as in a policy)."
)
@click.option("--name", help="Name of the experiment.  [default: FILE's, or MODEL-CHALLENGER-v-CHAMPION]")
@json_option
@with_system
async def create(
    system: System, model: str, file: Path, challenger: str | None, name: str | None, as_json: bool
) -> None:
    """Record the plan in the JSON document FILE as an experiment of MODEL. Nothing is tried before `start`.

    \b
    Example:
      lifecycle experiment create brent-move plan.json --challenger 3 --home DIR
    """
    document = await object_in(file)
    if name is not None:
        document["experiment"] = name
    async with system.store.write() as session:
        if await ModelRepository(session).get_model(model) is None:
            raise Refused(f"the registry has no model {model}: lifecycle registry list shows them")
        try:
            plan = to_be_recorded(await _plan(session, model, challenger, document))
        except InvalidField as error:
            raise Refused(f"{file}: {error}", USAGE) from error
        for variant in plan.variants:
            if await ModelRepository(session).get_version(model, variant.version) is None:
                raise Refused(
                    f"{model} has no version {variant.version}: lifecycle registry list {model} shows them"
                )
        record = await system.experiments().create(session, plan)
    if as_json:
        print_json({"experiment": record.experiment_id, "config_hash": record.config_hash})
    else:
        click.echo(
            f"experiment {record.experiment_id} is {record.status.value}: plan {record.config_hash[:12]}"
        )


@click.command("start", short_help="Offer the arms to routers.")
@click.argument("experiment")
@click.option(
    "--time",
    "time",
    help="Event time from which rows count, such as 2001-09-11; never before what is judged.  "
    "[default: how far event time has got]",
)
@actor_option
@reason_option
@with_system
async def start(system: System, experiment: str, time: str | None, actor: str, reason: str) -> None:
    """Start EXPERIMENT: routers follow it, and its alpha is spent from the quarter's account.

    \b
    Example:
      lifecycle experiment start brent-move-3-v-1 --actor ada --reason "rehearsed" --home DIR
    """
    async with system.store.write() as session:
        found = await ExperimentRepository(session).get(experiment)
        if found is None:
            raise Refused(f"there is no experiment {experiment}: lifecycle experiment list shows them")
        at_ms = await event_time_ms(session, found.model, now_ms()) if time is None else moment(time)
        record = await system.experiments().start(
            session, experiment, at_ms=at_ms, actor=actor, reason=reason
        )
    click.echo(f"experiment {experiment} is {record.status.value} (epoch {record.epoch})")


@click.command("ramp", short_help="Give challengers other shares.")
@click.argument("experiment")
@click.option(
    "--share",
    "shares",
    multiple=True,
    required=True,
    help="A challenger and its share, such as challenger=0.25; again for more. The champion has the rest.",
)
@actor_option
@reason_option
@with_system
async def ramp(system: System, experiment: str, shares: tuple[str, ...], actor: str, reason: str) -> None:
    """Change the shares of EXPERIMENT while it runs: a new allocation epoch of the same frozen plan.

    \b
    Example:
      lifecycle experiment ramp brent-move-3-v-1 --share challenger=0.25 --actor ada --reason fine --home DIR
    """
    wanted = _shares(shares)
    async with system.store.write() as session:
        record = await system.experiments().ramp(session, experiment, wanted, actor=actor, reason=reason)
    click.echo(f"experiment {experiment} has new shares (epoch {record.epoch})")


@click.command("pause", short_help="All traffic to the champion; evidence stays.")
@click.argument("experiment")
@actor_option
@reason_option
@with_system
async def pause(system: System, experiment: str, actor: str, reason: str) -> None:
    """Pause EXPERIMENT: the champion answers alone until `resume`; what is known stays known.

    \b
    Example:
      lifecycle experiment pause brent-move-3-v-1 --actor ada --reason "holiday" --home DIR
    """
    async with system.store.write() as session:
        record = await system.experiments().pause(session, experiment, actor=actor, reason=reason)
    click.echo(f"experiment {experiment} is paused (epoch {record.epoch})")


@click.command("resume", short_help="Give the arms back what they had.")
@click.argument("experiment")
@actor_option
@reason_option
@with_system
async def resume(system: System, experiment: str, actor: str, reason: str) -> None:
    """End the pause of EXPERIMENT: its arms get the shares back that they had.

    \b
    Example:
      lifecycle experiment resume brent-move-3-v-1 --actor ada --reason "open again" --home DIR
    """
    async with system.store.write() as session:
        record = await system.experiments().resume(session, experiment, actor=actor, reason=reason)
    click.echo(f"experiment {experiment} runs again (epoch {record.epoch})")


@click.command("stop", short_help="End it without a verdict; challengers are archived.")
@click.argument("experiment")
@actor_option
@reason_option
@with_system
async def stop(system: System, experiment: str, actor: str, reason: str) -> None:
    """Stop EXPERIMENT: no decision, so the champion stays and challengers are archived.

    It takes effect from what is judged now: no row that is judged later counts for it.

    \b
    Example:
      lifecycle experiment stop brent-move-3-v-1 --actor ada --reason "costs too much" --home DIR
    """
    async with system.store.write() as session:
        await system.experiments().stop(session, experiment, actor=actor, reason=reason)
    click.echo(f"experiment {experiment} is stopped: the champion stays")


@click.command("complete", short_help="Carry out the verdict that waits for a person.")
@click.argument("experiment")
@actor_option
@reason_option
@json_option
@with_system
async def complete(system: System, experiment: str, actor: str, reason: str, as_json: bool) -> None:
    """Carry out the verdict of EXPERIMENT that policy leaves to a person, or that a pause holds back.

    \b
    Example:
      lifecycle experiment complete brent-move-3-v-1 --actor ada --reason "reviewed" --home DIR
    """
    async with system.store.write() as session:
        verdict = await system.experiments().complete(session, experiment, actor=actor, reason=reason)
    if as_json:
        print_json({"experiment": experiment, "verdict": verdict})
    else:
        click.echo(f"experiment {experiment} is completed: {verdict}")


@click.command("cancel", short_help="End it without a verdict; challengers stay.")
@click.argument("experiment")
@click.option("--actor", default="a person", show_default=True, help="Who orders this; kept in the history.")
@click.option("--reason", default="", help="Why; kept in the history.")
@with_system
async def cancel(system: System, experiment: str, actor: str, reason: str) -> None:
    """End EXPERIMENT without a verdict; the champion stays, challengers stay in STAGING.

    It takes effect from what is judged now: no row that is judged later counts for it.

    \b
    Example:
      lifecycle experiment cancel brent-move-3-v-1 --home DIR
    """
    async with system.store.write() as session:
        cancelled = await system.experiments().cancel(session, experiment, actor=actor, reason=reason)
    if not cancelled:
        raise Refused(f"experiment {experiment} has ended already")
    click.echo(f"experiment {experiment} is cancelled")


ORDERS = (create, start, ramp, pause, resume, stop, complete, cancel)


async def _plan(
    session: ReadSession, model: str, challenger: str | None, document: dict[str, Any]
) -> ExperimentPlan:
    """A whole plan, or the `experiment` section of a policy with a challenger against PRODUCTION."""
    if "reverses" in document:
        raise InvalidField("plan", "reverses", "left out: promotions begin hold-backs", document["reverses"])
    if document.get("model", model) != model:
        raise InvalidField("plan", "model", f"{model}, or left out", document["model"])
    if "variants" in document:
        if challenger is not None:
            raise click.UsageError("--challenger is for a plan that names no variants")
        if "experiment" not in document:
            raise InvalidField("plan", "experiment", "given, here or by --name", None)
        return ExperimentPlan.from_json({**document, "model": model})
    if challenger is None:
        raise click.UsageError("the plan names no variants: name them, or one version with --challenger")
    production = await ModelRepository(session).production(model)
    if production is None:
        raise Refused(f"no version of {model} is PRODUCTION: there is nothing to compare with")
    template = {name: value for name, value in document.items() if name not in ("experiment", "model")}
    name = document.get("experiment", experiment_id(model, challenger, production.version))
    return plan_from_template(
        template, experiment=name, model=model, champion=production.version, challenger=challenger
    )


def _shares(written: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in written:
        name, given, share = each.rpartition("=")
        if name in found:
            raise click.UsageError(f"--share names {name} twice")
        try:
            found[name] = float(share)
        except ValueError:
            given = ""
        if not given or not name:
            raise click.UsageError(f"--share {each!r} is not of the form challenger=0.25")
    return found
