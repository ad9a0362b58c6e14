"""`lifecycle policy`: how a model is watched, retrained and tried."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.documents import document_in
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import always_json_option, with_system
from consumers.cli.output import print_json, when
from consumers.services.policies import InvalidPolicy, checked, put_in_force
from consumers.services.watching import refuse_unfit, silent_detectors
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository, StoredPolicy
from domain.judgement.silence import Silent


@click.group("policy", short_help="How a model is watched, retrained and tried.")
def command() -> None:
    """A model's policy: drift detectors, when to retrain, how to train, validate and try a challenger."""


@command.command("show")
@click.argument("model")
@always_json_option
@with_system
async def show(system: System, model: str) -> None:
    """All policies of MODEL, with the time from which each is in force.

    `silent` lists detectors that are on and can say nothing of the version in production, and why.

    \b
    Example:
      lifecycle policy show brent-move --home DIR
    """
    async with system.store.read() as session:
        found = await PolicyRepository(session).all(model)
        silent = [await silent_detectors(session, model, each.body) for each in found]
    if not found:
        raise Refused(f"{model} has no policy: lifecycle policy set gives it one")
    print_json(
        [
            {"from": _since(each), "hash": each.hash, **each.body, **_said(without)}
            for each, without in zip(found, silent, strict=True)
        ]
    )


@command.command("set")
@click.argument("model")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_system
async def set_policy(system: System, model: str, file: Path) -> None:
    """Put the JSON document FILE in force for MODEL, for everything that is not judged yet.

    \b
    Example:
      lifecycle policy set brent-move policy.json --home DIR
    """
    document = await document_in(file)
    try:
        body = checked(document)
    except InvalidPolicy as error:
        raise Refused(f"{file}: {error}", USAGE) from error
    async with system.store.write() as session:
        try:
            await refuse_unfit(session, model, body)
        except InvalidPolicy as error:
            raise Refused(f"{file}: {error}", USAGE) from error
        stored = await put_in_force(session, model, body)
        known = await ModelRepository(session).get_model(model)
        silent = await silent_detectors(session, model, body)
    click.echo(f"policy {stored.hash[:12]} of {model} is in force from {_since(stored)}")
    for each in silent:
        # of what is on by default nobody asked
        if each.detector.partition("[")[0] in body.get("drift", {}):
            click.echo(f"note: {each.detector} is silent: {each.why}", err=True)
    if known is None:
        click.echo(f"note: the registry has no model {model} yet", err=True)


def _said(silent: Sequence[Silent]) -> dict[str, Any]:
    return {"silent": {each.detector: each.why for each in silent}} if silent else {}


def _since(policy: StoredPolicy) -> str | None:
    return when(policy.effective_from_ms) if policy.effective_from_ms else "the beginning"
