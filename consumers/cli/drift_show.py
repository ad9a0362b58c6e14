"""`lifecycle drift show`: one episode, what was found and what became of it."""

import shutil
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.report.drift_words import findings, headline, history
from consumers.services.decisions import decision_id
from consumers.services.episode_stories import EpisodeStory, story
from consumers.store.errors import NotFound
from consumers.store.repositories.mutes import Mute


@click.command("show", short_help="One episode: what was found, and what became of it.")
@click.argument("drift_id")
@json_option
@with_system
async def show(system: System, drift_id: str, as_json: bool) -> None:
    """What DRIFT_ID is: kind, severity, what moved and how far, how sure that is, and its history.

    \b
    Example:
      lifecycle drift show ID --home DIR
    """
    async with system.store.read() as session:
        try:
            told = await story(session, drift_id)
        except NotFound as error:
            raise Refused(f"{error}: lifecycle drift list shows them") from error
    if as_json:
        print_json(_document(told))
        return
    click.echo(headline(told))
    width = shutil.get_terminal_size().columns
    for line in findings(told):
        click.echo(click.wrap_text(line, width, initial_indent="  ", subsequent_indent="    "))
    lines = [{"at": at, "what": what} for at, what in history(told)]
    click.echo()
    print_table("history", lines, ("at", "what"), "nothing is known of it")


def _document(told: EpisodeStory) -> dict[str, Any]:
    episode, known = told.episode, told.listed.acknowledgement
    return {
        "drift_id": episode.episode_id,
        "model": episode.model,
        "version": episode.version,
        "drift_type": episode.drift_type.value,
        "severity": episode.severity,
        "opened": when(episode.opened_at_ms),
        "closed": when(episode.closed_at_ms),
        "opened_muted": told.listed.opened_muted,
        "muted_now": told.listed.muted_now,
        "acknowledged": None
        if known is None
        else {"actor": known.actor, "reason": known.reason, "at": known.acknowledged_at.isoformat()},
        "words": findings(told),
        "decisions": [
            {
                "kind": each.kind.value,
                "at": when(each.at_ms),
                "decision_id": decision_id(each.key),
                "window_start": when(each.window_start_ms),
                "window_end": when(each.window_end_ms),
                "evidence": each.evidence,
            }
            for each in told.decisions
        ],
        "mutes": [mute_record(each) for each in told.mutes],
        "retraining": [
            {
                "at": when(each.decision.at_ms),
                "decision_id": decision_id(each.decision.key),
                "job_id": None if each.job is None else each.job.job_id,
                "status": None if each.job is None else each.job.status.value,
                "version": None if each.job is None else each.job.version,
            }
            for each in told.retraining
        ],
    }


def mute_record(mute: Mute) -> dict[str, Any]:
    """A mute as JSON."""
    return {
        "from": when(mute.effective_from_ms) if mute.effective_from_ms else "the beginning",
        "until": when(mute.until_ms),
        "ended": when(mute.ended_ms),
        "model": mute.model,
        "drift_type": "all" if mute.drift_type is None else mute.drift_type.value,
        "actor": mute.actor,
        "reason": mute.reason,
        "ended_by": mute.ended_by,
        "ended_because": mute.ended_because,
        "mute_id": mute.mute_id,
    }
