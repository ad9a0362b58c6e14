"""`lifecycle drift tune`: what other drift settings would have alarmed on."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.documents import object_in
from consumers.cli.faults import USAGE, WRONG, Refused
from consumers.cli.options import json_option, moment, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.cli.rehearsal import wrapped
from consumers.report.page import write_whole
from consumers.report.tuning import NOT_TUNED, alarm_share, letters, per_month, render, shifted
from consumers.report.words import percent
from consumers.services.policies import InvalidPolicy
from consumers.services.tuning import (
    Candidate,
    Setting,
    TooManySettings,
    Tuning,
    change_of,
    policy_now,
    settings_of,
    tune,
)
from domain.errors import InvalidField
from domain.judgement.timeline import Timeline

_COLUMNS = ("setting", "opened", "a_month", "in_alarm", "both", "only_real", "only_here", "opens", "retrain")
_TYPE_COLUMNS = ("drift_type", "setting", "opened", "escalated", "recovered", "in_alarm")


@click.command("tune", short_help="What other drift settings would have alarmed on.")
@click.argument("model")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PATH=VALUE[,VALUE…]",
    help="A field of the policy and the values to try, such as drift.errors.delta=0.01,0.05; again for more "
    "fields: every combination is tried.",
)
@click.option("--from", "since", help="Compare from this event time on; windows before are replayed too.")
@click.option("--to", "until", help="Compare up to this event time.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file with the timelines as a picture; an older one is replaced.",
)
@json_option
@with_system
async def command(
    system: System,
    model: str,
    file: Path | None,
    changes: tuple[str, ...],
    since: str | None,
    until: str | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Judge MODEL's own windows again with other settings, and show the alarms beside the real ones.

    FILE is a policy document; without one the settings are those of the newest policy, changed by --set.
    Nothing is written. Bins, seasons and calibrations cannot be tuned: rows were made with them. Exit code 1
    says that the recorded decisions are not those that the rows lead to.

    \b
    Examples:
      lifecycle drift tune brent-move --set drift.features.tolerance_drift=0.05,0.2 --home DIR
      lifecycle drift tune brent-move policy.json --from 2024-01-01 --out tune.html --home DIR
    """
    if file is None and not changes:
        raise Refused("what is to be tried? --set drift.PART.FIELD=VALUE, or a policy document FILE", USAGE)
    from_ms = None if since is None else moment(since, "--from")
    to_ms = None if until is None else moment(until, "--to")
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise Refused("--from must be before --to", USAGE)
    async with system.store.read() as session:
        base = await policy_now(session, model) if file is None else await object_in(file)
        settings = _settings(base, changes, file)
        told = await tune(session, model, settings, system.windows.length_ms, from_ms=from_ms, to_ms=to_ms)
    if out is not None:
        await asyncio.to_thread(write_whole, out, render(told))
    if as_json:
        print_json(_document(told))
    else:
        _print(told, out)
    return WRONG if told.agrees is False else 0


def _settings(base: dict[str, Any], changes: Sequence[str], file: Path | None) -> list[Setting]:
    try:
        return settings_of(base, [change_of(text) for text in changes], None if file is None else file.name)
    except (InvalidPolicy, InvalidField, TooManySettings) as error:
        raise Refused(str(error), USAGE) from error


# ---------------------------------------------------------------- for people


def _print(told: Tuning, out: Path | None) -> None:
    names = letters(len(told.candidates))
    lines = list(zip(names, told.candidates, strict=True))
    for name, each in lines:
        click.echo(f"{name}: {each.setting.label}")
    click.echo()
    records = [_shown("real", told, told.real, None)]
    records += [_shown(name, told, each.timeline, each) for name, each in lines]
    title = f"alarms of {told.model}, {when(told.from_ms)} to {when(told.to_ms)}, {told.windows} windows"
    print_table(title, records, _COLUMNS, "")
    print_table("by drift type", list(_by_type(told, names)), _TYPE_COLUMNS, "no alarms at all")
    for name, each in lines:
        for note in each.notes:
            click.echo(f"{name}, {note}")
    for line in wrapped([NOT_TUNED]):
        click.echo(line)
    if out is not None:
        click.echo(f"{out}: the timelines as a picture")
    if told.pruned_through_ms is not None:
        gone = when(told.pruned_through_ms)
        click.echo(
            f"rows that fell due by {gone} are deleted: decisions are not checked, detectors begin there"
        )
    if told.difference is not None:
        decision = told.difference.decision
        click.echo(
            f"the recorded decisions are NOT those that the rows lead to; the first is {decision.kind} "
            f"{decision.subject} at {when(decision.at_ms)}: lifecycle replay tells more",
            err=True,
        )


def _shown(name: str, told: Tuning, line: Timeline, candidate: Candidate | None) -> dict[str, Any]:
    found = None if candidate is None else candidate.comparison
    return {
        "setting": name,
        "opened": line.tally().opened,
        "a_month": f"{per_month(told, line):.3g}",
        "in_alarm": percent(round(alarm_share(told, line), 3)),
        "both": None if found is None else len(found.both),
        "only_real": None if found is None else len(found.only_real),
        "only_here": None if found is None else len(found.only_candidate),
        "opens": None if found is None else shifted(found.median_later_ms),
        "retrain": len(line.retrain_ms),
    }


def _by_type(told: Tuning, names: Sequence[str]) -> list[dict[str, Any]]:
    lines = [("real", told.real), *zip(names, (each.timeline for each in told.candidates), strict=True)]
    records = []
    for drift_type in sorted({span.drift_type for _, line in lines for span in line.spans}):
        for name, line in lines:
            tally = line.tally(drift_type)
            share = tally.in_alarm_ms / (told.to_ms - told.from_ms)
            records.append(
                {
                    "drift_type": drift_type,
                    "setting": name,
                    "opened": tally.opened,
                    "escalated": tally.escalated,
                    "recovered": tally.closed,
                    "in_alarm": percent(round(share, 3)),
                }
            )
    return records


# ---------------------------------------------------------------- for programs


def _document(told: Tuning) -> dict[str, Any]:
    difference = told.difference
    return {
        "model": told.model,
        "from": when(told.from_ms),
        "to": when(told.to_ms),
        "windows": told.windows,
        "rows": told.rows,
        "recomputed_agrees": told.agrees,
        "first_difference": None if difference is None else difference.decision.decision_id,
        "rows_pruned_through": when(told.pruned_through_ms),
        "real": _line(told, told.real),
        "settings": [
            {
                "setting": name,
                "label": each.setting.label,
                "policy": each.setting.policy.to_json(),
                "notes": list(each.notes),
                **_line(told, each.timeline),
                "beside_real": _beside(each),
            }
            for name, each in zip(letters(len(told.candidates)), told.candidates, strict=True)
        ],
        "not_tuned": NOT_TUNED,
    }


def _line(told: Tuning, line: Timeline) -> dict[str, Any]:
    types = sorted({span.drift_type for span in line.spans})
    return {
        "all": line.tally().to_json(),
        "by_drift_type": {name: line.tally(name).to_json() for name in types},
        "opened_per_month": per_month(told, line),
        "in_alarm_share": alarm_share(told, line),
        "retrain_ms": list(line.retrain_ms),
        "episodes": [span.to_json() for span in line.spans],
    }


def _beside(candidate: Candidate) -> dict[str, Any]:
    found = candidate.comparison
    return {
        "both": [
            {"real": real.to_json(), "setting": other.to_json(), "later_ms": later_ms}
            for (real, other), later_ms in zip(found.both, found.later_ms, strict=True)
        ],
        "only_real": [span.to_json() for span in found.only_real],
        "only_setting": [span.to_json() for span in found.only_candidate],
        "median_later_ms": found.median_later_ms,
    }
