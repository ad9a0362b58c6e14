"""The report: one HTML file that needs nothing else, with the same bytes for the same story."""

import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from consumers.demo import charts, words
from consumers.demo.story import DemoStory, Promotion, Trial, day, facts
from consumers.demo.timeline import figures
from consumers.report.page import write_whole

_TEMPLATE = "report.html.j2"
Row = Mapping[str, Any]


def render_report(story: DemoStory) -> str:
    """The page as text. Needs matplotlib and jinja2 (the extra `demo`)."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    template = resources.files("consumers.demo").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(template).render(_context(story)) + "\n"


def write_report(story: DemoStory, path: Path) -> None:
    """Write the page to `path`, whole or not at all; an older one is replaced. Raises OSError."""
    write_whole(path, render_report(story))


def _context(story: DemoStory) -> dict[str, Any]:
    from markupsafe import Markup

    measured = charts.measured(story)
    later = words.after_first_promotion(story)
    served, frozen = story.champion_mae, story.frozen_v1_mae
    drawn = bool(story.series.at_ms)

    def safe(svg: str) -> Markup:
        return Markup(svg)  # noqa: S704 - our own drawing; matplotlib escapes the texts in it

    return {
        "story": story,
        "first": words.v(story.first_version or "1"),
        "span": f"{day(story.from_ms or 0)} to {day(story.to_ms or 0)}" if drawn else "nothing served yet",
        "days": len(story.series.at_ms),
        "later_days": len(later.at_ms),
        "served": words.dollars(served),
        "frozen": words.dollars(frozen),
        "comparison": words.comparison(served, frozen),
        "later_comparison": words.comparison(later.champion_mae, later.frozen_v1_mae),
        "equal_before": words.equal_before_promotion(story),
        "figures": [(name, value) for name, value in figures(story) if name != "report"],
        "error_chart": safe(charts.error_chart(story)) if drawn else None,
        "saved_chart": safe(charts.saved_chart(story)) if drawn else None,
        "price_chart": safe(charts.price_chart(story)) if drawn else None,
        "gain_chart": safe(charts.gain_chart(measured)) if measured else None,
        "promotions": [_promotion_row(promotion) for promotion in story.promotions],
        "trials": [_trial_row(trial) for trial in story.experiments],
        "jobs": [
            {"day": day(job.opened_at_ms), "status": job.status, "why": job.reason, "what": words.job(job)}
            for job in story.retraining_jobs
        ],
        "errors": [_episode_row(story, index) for index in _episodes(story, of_inputs=False)],
        "inputs": [_episode_row(story, index) for index in _episodes(story, of_inputs=True)],
        "decision": next((promotion.decision_id for promotion in story.promotions), None) or _opening(story),
    }


def _opening(story: DemoStory) -> str:
    """A decision to show `verify` with when nothing was promoted: an episode's id is its opening's."""
    return story.drift_episodes[0].id if story.drift_episodes else "DECISION"


def _promotion_row(promotion: Promotion) -> Row:
    evidence = facts(promotion.evidence)
    return {
        "day": day(promotion.at_ms),
        "what": words.promotion(promotion),
        "rule": evidence.get("rule", "no decision: a person ordered it"),
        "actor": promotion.actor,
        "decision": promotion.decision_id,
    }


def _trial_row(trial: Trial) -> Row:
    measure, evidence = trial.primary, facts(trial.evidence)
    return {
        "start": day(trial.started_at_ms),
        "end": "-" if trial.ended_at_ms is None else day(trial.ended_at_ms),
        "what": f"{words.v(trial.challenger_version)} against {words.v(trial.champion_version)}",
        "said": words.trial_end(trial),
        "batches": evidence.get("batches"),
        "gain": _signed(measure.get("estimate")),
        "bounds": f"{_signed(measure.get('lower'))} to {_signed(measure.get('upper'))}" if measure else "-",
        "decision": trial.decision_id,
    }


def _episodes(story: DemoStory, *, of_inputs: bool) -> list[int]:
    return [i for i, episode in enumerate(story.drift_episodes) if episode.of_inputs is of_inputs]


def _episode_row(story: DemoStory, index: int) -> Row:
    episode = story.drift_episodes[index]
    evidence = facts(episode.evidence)
    return {
        "opened": day(episode.opened_at_ms),
        "closed": "open" if episode.closed_at_ms is None else day(episode.closed_at_ms),
        "version": words.v(episode.version),
        "type": episode.drift_type,
        "severity": episode.severity,
        "detector": evidence.get("detector", "-"),
        "before": _level(evidence.get("mean_before")),
        "after": _level(evidence.get("mean_after")),
        "features": ", ".join(str(name) for name in evidence.get("features", ())) or "-",
        "p_value": "-" if evidence.get("p_value") is None else f"{evidence['p_value']:.1e}",
        "n": evidence.get("sample_size", "-"),
        "id": episode.id,
    }


def _level(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.4f}" if math.isfinite(value) else "no bound"
