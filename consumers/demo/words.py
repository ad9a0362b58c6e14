"""What happened, one plain sentence each; the terminal and the report say the same."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from consumers.demo.story import DemoStory, Episode, Job, Json, Promotion, Series, Trial, day, facts

ERROR_METRICS = frozenset({"abs_error", "abs_error_clipped"})
"""Metrics in dollars."""
_MOST_NAMED = 3


def v(version: str) -> str:
    """`v3` for version 3; other names stay as they are."""
    return f"v{version}" if version.isdecimal() else version


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 job`, `1,200 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def dollars(value: float | None) -> str:
    """An error level to a hundredth of a cent; `-` when unknown."""
    return "-" if value is None else f"{value:.4f} dollars"


def e_value(log_e: float) -> str:
    """The e-value itself, three digits."""
    if log_e > math.log(1e6):
        return "over 1,000,000"
    return f"{math.exp(log_e):.3g}"


def compared(log_e: float, threshold: float) -> str:
    """`e-value 26 >= 20`."""
    relation = ">=" if log_e >= threshold else "<"
    return f"e-value {e_value(log_e)} {relation} {e_value(threshold)}"


# ---------------------------------------------------------------- drift


def episode(found: Episode) -> str:
    """What drifted, by how much, and until when."""
    until = "still open at the end" if found.closed_at_ms is None else f"closed {day(found.closed_at_ms)}"
    evidence = facts(found.evidence)
    if found.of_inputs:
        what = "inputs" if found.drift_type == "DATA_DRIFT" else "predictions"
        named = ", ".join(str(name) for name in evidence.get("features", ())[:_MOST_NAMED])
        return f"{what} of {v(found.version)} drift" + (f" ({named})" if named else "") + f"; {until}"
    before, after = evidence.get("mean_before"), evidence.get("mean_after")
    level = ""
    if before is not None and after is not None:
        unit = " dollars" if evidence.get("metric") in ERROR_METRICS else ""
        level = f": error level {before:.2f} -> {after:.2f}{unit}"
    return f"drift opens on {v(found.version)}{level}; {until}"


def input_drifts(found: Sequence[Episode]) -> str:
    """Several episodes of inputs in one line."""
    if len(found) == 1:
        return episode(found[0])
    versions = ", ".join(v(version) for version in dict.fromkeys(each.version for each in found))
    named = Counter(name for each in found for name in facts(each.evidence).get("features", ()))
    top = ", ".join(str(name) for name, _ in named.most_common(_MOST_NAMED))
    mostly = f", mostly {top}" if top else ""
    return f"{len(found)} drifts of the inputs of {versions} until {day(found[-1].opened_at_ms)}{mostly}"


# ---------------------------------------------------------------- retraining


def holdout(validation: Json) -> str:
    """`0.265 against v1's 0.251 dollars on 125 holdout rows`; empty when nothing was compared."""
    ours, theirs = validation.get("challenger_mae"), validation.get("champion_mae")
    if ours is None or theirs is None:
        return ""
    champion = v(str(validation.get("champion_version")))
    rows = plural(int(validation.get("n", 0)), "holdout row")
    return f"error {ours:.4f} against {champion}'s {theirs:.4f} dollars on {rows}"


def job(found: Job) -> str:
    """What came of a job."""
    numbers = holdout(found.validation)
    match found.status:
        case "SUCCEEDED":
            name = v(found.version or "?")
            trained = f" trained on {plural(found.train_rows, 'row')}" if found.train_rows else " trained"
            return f"{name}{trained}" + (f": {numbers}" if numbers else "") + "; good enough, registered"
        case "VALIDATION_FAILED":
            if not numbers:
                return f"nothing to try: {found.detail}"
            return f"a new model was trained: {numbers}; not good enough, not registered"
        case "SUPPRESSED":
            return f"request held back: {found.detail or found.reason}"
        case _:
            return f"{found.status.lower()}: {found.detail or found.reason}"


# ---------------------------------------------------------------- experiments


def trial_start(found: Trial) -> str:
    where = " in shadow" if found.strategy == "SHADOW_MODE" else ""
    return f"{v(found.challenger_version)} is tried against {v(found.champion_version)}{where}"


def difference(measure: Json) -> str:
    """How the challenger did, `error 0.0155 dollars a day lower`; empty without a measure."""
    gain = measure.get("estimate")
    if gain is None:
        return ""
    if measure.get("metric") in ERROR_METRICS:
        return f"error {abs(gain):.4f} dollars a day {'lower' if gain > 0 else 'higher'}"
    return f"gain {gain:+.4g} on {measure.get('metric')}"


def trial_end(found: Trial) -> str:
    """The verdict with the numbers that made it."""
    evidence, champion = facts(found.evidence), v(found.champion_version)
    if found.verdict is None:
        if found.ended_at_ms is None:
            return f"{v(found.challenger_version)} against {champion} still runs at the end"
        return f"{v(found.challenger_version)} against {champion} was ended without a verdict"
    after = f"after {plural(int(evidence.get('outcomes', 0)), 'outcome')}"
    measure = _deciding(found, evidence)
    numbers = [difference(measure)] if measure else []
    if measure.get("log_e") is not None:
        numbers.append(compared(measure["log_e"], measure["threshold"]))
    said = f": {', '.join(numbers)}" if numbers else ""
    match found.verdict:
        case "PROMOTE":
            return f"verdict PROMOTE {after}{said}"
        case "ROLL_BACK":
            return f"verdict ROLL_BACK {after}{said}; {champion} stays"
        case _:
            return f"no decision {after}{said}; {champion} stays"


def _deciding(found: Trial, evidence: Json) -> Json:
    """The measure that the verdict rests on: harm that was shown, or else the primary."""
    if found.verdict == "ROLL_BACK":
        for treatment in evidence.get("treatments", {}).values():
            for measure in treatment.get("harm", ()):
                if measure.get("log_e") is not None and measure["log_e"] >= measure["threshold"]:
                    shown: Json = measure
                    return shown
    return found.primary


def promotion(found: Promotion) -> str:
    instead = f" instead of {v(found.previous_version)}" if found.previous_version else ""
    return f"{v(found.version)} is PRODUCTION{instead}"


# ---------------------------------------------------------------- the whole


def comparison(served: float | None, frozen: float | None) -> str:
    """How much lower or higher the served error is, in words; never prettier than it is."""
    if served is None or frozen is None:
        return "nothing to compare yet"
    if served == frozen:
        return "the same"
    share = f"{abs(frozen - served) / frozen:.1%} " if frozen > 0 else ""
    return f"{share}{'lower' if served < frozen else 'higher'}"


def after_first_promotion(story: DemoStory) -> Series:
    """The entries that another version than the first one served: only there can the two differ."""
    return story.series.where([version != story.first_version for version in story.series.served_version])


def equal_before_promotion(story: DemoStory) -> bool:
    """Whether the first version, asked again, answers exactly what it answered when it served."""
    series = story.series
    entries = zip(series.served_version, series.served, series.frozen_v1, strict=True)
    return all(served == frozen for version, served, frozen in entries if version == story.first_version)


def counted(names: Iterable[str]) -> str:
    """`3 PROMOTE, 1 INCONCLUSIVE`, most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())


def too_little_history(found: Job) -> bool:
    """Whether the job ended before there was a model to compare."""
    return found.status == "VALIDATION_FAILED" and not holdout(found.validation)


def job_fates(story: DemoStory) -> str:
    """`6 jobs: 4 registered, 1 not good enough, 1 with too little history`."""
    said = {"SUCCEEDED": "registered", "VALIDATION_FAILED": "not good enough", "SUPPRESSED": "held back"}
    jobs = story.retraining_jobs
    fates = counted(
        "with too little history" if too_little_history(each) else said.get(each.status, each.status.lower())
        for each in jobs
    )
    return plural(len(jobs), "job") + (f": {fates}" if fates else "")


def verdicts(story: DemoStory) -> str:
    """`4: 3 PROMOTE, 1 INCONCLUSIVE`."""
    fates = counted(each.verdict or each.status for each in story.experiments)
    return str(len(story.experiments)) + (f": {fates}" if fates else "")


def drifts(story: DemoStory) -> str:
    """`9 of errors, 31 of inputs`."""
    inputs = sum(episode.of_inputs for episode in story.drift_episodes)
    return f"{len(story.drift_episodes) - inputs} of errors, {inputs} of inputs"
