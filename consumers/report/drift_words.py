"""A drift episode in sentences: what moved, how far, how sure that is, and what became of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from consumers.report.words import e_value, moment, percent, plural
from consumers.services.episode_stories import EpisodeStory, Retraining
from consumers.store.repositories.mutes import Mute
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.mutes import MUTED, announces
from schemas.clock import to_ms

Evidence = Mapping[str, Any]
_MEANING = {
    "DATA_DRIFT": "the inputs are not distributed as in the reference profile",
    "PREDICTION_DRIFT": "the predictions are not distributed as in the reference profile",
    "CONCEPT_DRIFT": "the errors grew, and the inputs do not explain it",
    "PERFORMANCE_DEGRADATION": "the errors grew while the inputs drifted",
}
_PROMISES = {
    "e-sr-promise": "the model does worse than it was promised to",
    "e-sr-estimate": "the model is expected to do worse than it was promised to",
}
"""What a broken promise means, by the detector that found it."""
_DETECTORS = {
    "roll-up-chi-square": "the roll-up tolerant chi-square test",
    "bucket-adwin": "bucket-ADWIN",
    "e-sr-scores": "the e-detector on scores",
    "e-sr-promise": "the e-detector against the promise",
    "e-sr-estimate": "the e-detector on expected performance (an estimate: outcomes are not in)",
}
_EFFECTS = {
    "psi": "PSI",
    "psi_adj": "adjusted PSI",
    "js": "JS",
    "ks": "KS",
    "wasserstein_per_sd": "Wasserstein per sd",
}
_MOST_FEATURES = 10


def headline(story: EpisodeStory) -> str:
    """What it is and whether it lasts, in one line."""
    episode = story.episode
    state = "open" if episode.closed_at_ms is None else f"over since {moment(episode.closed_at_ms)}"
    kind = episode.drift_type.value
    return f"{kind} ({episode.severity}) of version {episode.version} of {episode.model}, {state}"


def findings(story: EpisodeStory) -> list[str]:
    """What was found, in sentences; the numbers are those of the latest alarm that is in a decision."""
    opening = story.opening
    if opening is None:
        return ["The decision that opened it is not in the store."]
    alarms = [each for each in story.decisions if each.kind is not DecisionKind.RECOVERY]
    latest = alarms[-1]
    evidence = latest.evidence
    meaning = _PROMISES.get(opening.evidence["detector"], _MEANING[story.episode.drift_type.value])
    said = [_sentence(meaning), _detected(latest)]
    if opening.evidence.get("inputs_drifted") is not None:
        moved = "moved as well" if opening.evidence["inputs_drifted"] else "did not move"
        said.append(f"The inputs {moved}.")
    if "mean_before" in evidence and "mean_after" in evidence:
        what = evidence.get("metric", "the level")
        said.append(f"{what} went from {evidence['mean_before']:.5g} to {evidence['mean_after']:.5g}.")
    if (relation := opening.evidence.get("relation")) is not None:
        said.append(
            f"{percent(relation['realised'])} of {plural(relation['outcomes'], 'outcome')} were wrong, and "
            f"the inputs explain {percent(relation['explained'])} (p = {relation['p_value']:.3g})."
        )
    said += _features(evidence)
    if evidence.get("also"):
        others = ", ".join(_DETECTORS.get(each["detector"], each["detector"]) for each in evidence["also"])
        said.append(f"Alarmed too at that instant: {others}.")
    return said


def _detected(decision: Decision) -> str:
    evidence = decision.evidence
    detector = _DETECTORS.get(evidence["detector"], evidence["detector"])
    windows = plural(evidence["block_windows"], "window")
    sizes = plural(evidence["sample_size"], "item")
    if evidence.get("reference_size") is not None:
        sizes += f" against {evidence['reference_size']:,.0f} of the reference"
    return (
        f"Found by {detector} on {moment(decision.window_end_ms)} over {windows} ({sizes}): "
        f"{_measured(evidence)}."
    )


def _measured(evidence: Evidence) -> str:
    statistic, threshold = evidence["statistic"], evidence["threshold"]
    tolerance = evidence.get("tolerance")
    beyond = "" if tolerance is None else f", with a tolerance of {tolerance:g}"
    if evidence.get("log_e") is not None:
        return f"e-value {e_value(evidence['log_e'])}, and {e_value(threshold)} is an alarm{beyond}"
    if evidence.get("p_value") is not None:
        p_value = f"p = {evidence['p_value']:.3g} against a level of {threshold:.3g}"
        return f"statistic {statistic:.5g}, {p_value}{beyond}"
    return f"statistic {statistic:.5g} against a threshold of {threshold:.5g}{beyond}"


def _features(evidence: Evidence) -> list[str]:
    names: Sequence[str] = evidence.get("features", ())
    measures = {each["name"]: each for each in evidence.get("measures", ())}
    said = []
    for name in names[:_MOST_FEATURES]:
        measured = measures.get(name)
        said.append(f"{name} moved." if measured is None else _feature(name, measured))
    if not measures and evidence.get("effect_sizes"):
        said.append(f"Effect sizes of the strongest: {_effects(evidence['effect_sizes'])}.")
    rest = names[_MOST_FEATURES:]
    if rest:
        said.append(f"So did {', '.join(rest)}.")
    return said


def _feature(name: str, measured: Evidence) -> str:
    bins = [
        f"{each['bin']}: {percent(each['reference_share'])} -> {percent(each['share'])}"
        for each in measured["bins"]
    ]
    moved = f"; bins that moved most: {', '.join(bins)}" if bins else ""
    return f"{name} moved: {_effects(measured['effect_sizes'])}{moved}."


def _effects(sizes: Mapping[str, float]) -> str:
    order = [*(name for name in _EFFECTS if name in sizes), *sorted(set(sizes) - set(_EFFECTS))]
    return ", ".join(f"{_EFFECTS.get(name, name)} {sizes[name]:.3g}" for name in order)


def history(story: EpisodeStory) -> list[tuple[str, str]]:
    """(event time, what happened); an acknowledgement comes last, at the wall clock, and says so."""
    told: list[tuple[int, str]] = [(each.at_ms, _happened(each)) for each in story.decisions]
    for mute in story.mutes:
        told += _mute(mute)
    told += [_asked(each) for each in story.retraining]
    lines = [(moment(at_ms), what) for at_ms, what in sorted(told, key=lambda one: one[0])]
    known = story.listed.acknowledgement
    if known is not None:
        wall = moment(to_ms(known.acknowledged_at))
        lines.append((wall, f"acknowledged by {known.actor}: {known.reason} (wall clock)"))
    return lines


def _happened(decision: Decision) -> str:
    evidence = decision.evidence
    match decision.kind:
        case DecisionKind.DRIFT:
            held = evidence.get("held_alarms")
            before = f"; {plural(held, 'alarm')} before in the cooldown" if held else ""
            return f"opened as {evidence['severity']}{_told(decision)}{before}"
        case DecisionKind.ESCALATION:
            told = _told(decision) if evidence.get(MUTED) or announces(decision.kind, evidence) else ""
            return f"became {evidence['severity']}{told}"
        case _:
            return f"recovered: {evidence['reason']}"


def _told(decision: Decision) -> str:
    if announces(decision.kind, decision.evidence):
        return " and announced"
    mute = decision.evidence.get(MUTED)
    return ", muted" if mute is None else f", muted by {mute['actor']}"


def _mute(mute: Mute) -> list[tuple[int, str]]:
    until = "" if mute.until_ms is None else f" until {moment(mute.until_ms)}"
    what = "all drift" if mute.drift_type is None else mute.drift_type.value
    told = [(mute.effective_from_ms, f"{what} of {mute.model} muted{until} by {mute.actor}: {mute.reason}")]
    if mute.ended_ms is not None:
        told.append((mute.ended_ms, f"mute ended by {mute.ended_by}: {mute.ended_because}"))
    return told


def _asked(asked: Retraining) -> tuple[int, str]:
    at_ms = asked.decision.at_ms
    if asked.job is None:
        return at_ms, "retraining requested; the registry worker has not made a job of it yet"
    job = asked.job
    version = "" if job.version is None else f", version {job.version}"
    return at_ms, f"retraining requested: job {job.job_id} {job.status.value}{version}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
