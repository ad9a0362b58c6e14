"""The story in the terminal: what happened in time order, then the figures.

Everything is built of plain text, never of markup: names and reasons come from the log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from consumers.demo import words
from consumers.demo.story import DemoStory, Episode, day

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

Kind = Literal["service", "inputs", "drift", "job", "experiment", "verdict", "promotion"]
# what follows what when several things happen at one moment
_ORDER: tuple[Kind, ...] = ("service", "inputs", "drift", "job", "verdict", "promotion", "experiment")
_STYLES: dict[Kind, str] = {
    "service": "green",
    "inputs": "dim",
    "drift": "red",
    "job": "yellow",
    "experiment": "cyan",
    "verdict": "blue",
    "promotion": "bold green",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the timeline."""

    at_ms: int
    kind: Kind
    text: str


def chronicle(story: DemoStory) -> list[Entry]:
    """Everything that happened, in time order; input drifts with nothing else between them share a line."""
    dated: list[tuple[Entry, Episode | None]] = [(entry, None) for entry in _major(story)]
    for episode in story.drift_episodes:
        kind: Kind = "inputs" if episode.of_inputs else "drift"
        entry = Entry(at_ms=episode.opened_at_ms, kind=kind, text=words.episode(episode))
        dated.append((entry, episode if episode.of_inputs else None))
    dated.sort(key=lambda pair: (pair[0].at_ms, _ORDER.index(pair[0].kind)))
    told: list[Entry] = []
    for _, run in groupby(dated, key=lambda pair: pair[1] is not None):
        told.extend(_together(list(run)))
    return told


def _major(story: DemoStory) -> Iterator[Entry]:
    if story.from_ms is not None and story.first_version is not None:
        yield Entry(
            at_ms=story.from_ms, kind="service", text=f"{words.v(story.first_version)} begins to serve"
        )
    for job in story.retraining_jobs:
        yield Entry(at_ms=job.opened_at_ms, kind="job", text=words.job(job))
    for trial in story.experiments:
        yield Entry(at_ms=trial.started_at_ms, kind="experiment", text=words.trial_start(trial))
        ended_at_ms = trial.ended_at_ms
        if ended_at_ms is None:
            ended_at_ms = max(trial.started_at_ms, story.to_ms or 0)
        yield Entry(at_ms=ended_at_ms, kind="verdict", text=words.trial_end(trial))
    for promotion in story.promotions:
        yield Entry(at_ms=promotion.at_ms, kind="promotion", text=words.promotion(promotion))


def _together(run: Sequence[tuple[Entry, Episode | None]]) -> Iterator[Entry]:
    """A run of input drifts as one entry, other entries as they are."""
    episodes = [episode for _, episode in run if episode is not None]
    if episodes:
        yield Entry(at_ms=episodes[0].opened_at_ms, kind="inputs", text=words.input_drifts(episodes))
    else:
        yield from (entry for entry, _ in run)


def figures(story: DemoStory) -> list[tuple[str, str]]:
    """Name and value of every figure of the summary."""
    served, frozen = story.champion_mae, story.frozen_v1_mae
    changed = words.after_first_promotion(story)
    return [
        ("served", f"{words.dollars(served)} mean absolute error"),
        ("v1, never retrained", f"{words.dollars(frozen)}: served is {words.comparison(served, frozen)}"),
        (
            "served by later versions",
            f"{len(changed.at_ms):,} of {words.plural(len(story.series.at_ms), 'day')}: "
            f"{words.comparison(changed.champion_mae, changed.frozen_v1_mae)} there",
        ),
        ("drift episodes", words.drifts(story)),
        ("retraining", words.job_fates(story)),
        ("experiments", words.verdicts(story)),
        ("promotions", str(len(story.promotions))),
        ("log", f"{story.predictions:,} predictions, {story.outcomes:,} outcomes"),
        ("windows", f"{story.windows:,}, {words.plural(story.divergences, 'divergence')}"),
        ("conservation", "every record accounted for" if story.conservation_ok else "BROKEN"),
        ("report", story.report),
    ]


def render(story: DemoStory) -> "RenderableType":
    """The timeline and the summary; fits any console from 60 columns on."""
    from rich.console import Group
    from rich.panel import Panel

    panel = Panel(_summary(story), title="summary", title_align="left", expand=False, padding=(1, 2))
    return Group(_table(story), panel)


def print_story(story: DemoStory, console: "Console") -> None:
    """Print it; a console that is no terminal gets plain text."""
    console.print(render(story))


def _table(story: DemoStory) -> "Table":
    from rich import box
    from rich.table import Table

    span = f": {day(story.from_ms)} to {day(story.to_ms)}" if story.from_ms and story.to_ms else ""
    table = Table(
        title=_plain(f"{story.model}{span}"),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("date", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for entry in chronicle(story):
        style, soft = _STYLES[entry.kind], "dim" if entry.kind == "inputs" else ""
        detail = _plain(entry.text, "bold" if entry.kind == "promotion" else soft)
        table.add_row(_plain(day(entry.at_ms), soft), _plain(entry.kind, style), detail)
    return table


def _summary(story: DemoStory) -> "Table":
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in figures(story):
        alarm = value == "BROKEN"
        grid.add_row(_plain(name, "bold"), _plain(value, "bold red" if alarm else ""))
    return grid


def _plain(text: str, style: str = "") -> "Text":
    """Text without control characters: a name from the log must not drive the terminal."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else " " for c in text), style=style)
