"""The bench's results as records, and as a Markdown page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from consumers.driftbench import words
from consumers.driftbench.detectors import says
from consumers.driftbench.measures import Cost, Delay, FalseAlarms
from consumers.driftbench.series import DETECTS, LATE, Met
from consumers.driftbench.situations import STREAMS
from consumers.driftbench.tables import Result

Record = Mapping[str, Any]


def false_alarm_record(found: FalseAlarms) -> dict[str, Any]:
    return {
        "stream": found.stream,
        "detector": found.detector,
        "windows": found.windows,
        "episodes": found.episodes,
        "per_10000": found.per_10000,
        "upper_95": found.upper,
        "alarming_per_10000": None if found.alarming is None else found.alarming / found.windows * 10_000,
        "budget_per_10000": None if found.budget is None else found.budget * 10_000,
        "verdict": found.verdict,
    }


def delay_record(found: Delay) -> dict[str, Any]:
    return {
        "stream": found.stream,
        "detector": found.detector,
        "runs": found.runs,
        "median": found.median,
        "missed": found.missed_share,
        "early": found.early_share,
    }


def cost_record(found: Cost) -> dict[str, Any]:
    return {"stream": found.stream, "detector": found.detector, "microseconds": found.microseconds}


def met_record(found: Met) -> dict[str, Any]:
    return {
        "series": found.series,
        "detector": found.detector,
        "observations": found.observations,
        "annotators": found.annotators,
        "marks": found.marks,
        "alarms": list(found.alarms),
        "precision": found.near.precision,
        "recall": found.near.recall,
        "f1": found.near.f1,
        "late_precision": found.late.precision,
        "late_recall": found.late.recall,
        "late_f1": found.late.f1,
        "covering": found.covering,
    }


def document(results: Sequence[Result], seed: int) -> dict[str, Any]:
    """Everything as plain JSON. Only `cost` differs between two runs of one seed."""
    tables: dict[str, list[Record]] = {"false_alarms": [], "delays": [], "cost": [], "series": []}
    for found in results:
        match found:
            case FalseAlarms():
                tables["false_alarms"].append(false_alarm_record(found))
            case Delay():
                tables["delays"].append(delay_record(found))
            case Cost():
                tables["cost"].append(cost_record(found))
            case list():
                tables["series"] += [met_record(met) for met in found]
    broken = sum(
        record["verdict"] == "broken" and getattr(STREAMS[record["stream"]], "measured_phi", True)
        for record in tables["false_alarms"]
    )
    return {"seed": seed, "broken": broken, **tables}


# ---------------------------------------------------------------- Markdown


def markdown(told: Mapping[str, Any], command: str) -> str:
    """A page of the tables; `command` made it."""
    parts = [
        "# Drift detectors, measured",
        f"Written by `{command}`; the same seed gives the same figures, but for the cost.",
        words.METHOD,
    ]
    for title, rows in (
        ("## False alarms", _false_alarms(told["false_alarms"])),
        ("## Delays", _delays(told["delays"])),
        ("## Cost", _costs(told["cost"])),
        ("## Series that people marked", _series(told["series"])),
    ):
        body = list(rows)
        if body:
            parts += [title, *body]
    parts += ["## Detectors", _list(says())]
    return "\n\n".join(parts) + "\n"


def _false_alarms(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    yield words.FALSE_ALARMS
    for stream in _in_order(records, "stream"):
        rows = [
            [
                record["detector"],
                f"{record['windows']:,}",
                _number(record["per_10000"]),
                _number(record["upper_95"]),
                _number(record["budget_per_10000"]),
                "" if record["budget_per_10000"] is None else record["verdict"],
                _share(record["alarming_per_10000"], 10_000),
            ]
            for record in records
            if record["stream"] == stream
        ]
        head = ["detector", "windows", "per 10,000", "at most", "budget", "", "windows alarming"]
        yield f"### {stream}: {STREAMS[stream].says}"
        yield _table(head, rows)


def _delays(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    runs = [record["runs"] for record in records]
    yield words.delays(max(runs), min(runs))
    for kinds, title in (
        (("numbers", "features", "categories"), "inputs and predictions"),
        (("errors",), "errors"),
    ):
        chosen = [record for record in records if STREAMS[record["stream"]].kind in kinds]
        streams, detectors = _in_order(chosen, "stream"), _in_order(chosen, "detector")
        if not chosen:
            continue
        found = {(record["stream"], record["detector"]): record for record in chosen}
        yield f"### Delays: {title}"
        rows = [
            [stream, *(_waited(found.get((stream, detector))) for detector in detectors)]
            for stream in streams
        ]
        for part in range(0, len(detectors), 7):
            some = [row[:1] + row[1 + part : 8 + part] for row in rows]
            yield _table(["change", *detectors[part : part + 7]], [row for row in some if any(row[1:])])
        yield _list({stream: STREAMS[stream].says for stream in streams})


def _costs(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    yield words.COST
    streams, detectors = _in_order(records, "stream"), _in_order(records, "detector")
    found = {(record["stream"], record["detector"]): record["microseconds"] for record in records}
    rows = [
        [detector, *(_number(found.get((stream, detector)), 3) for stream in streams)]
        for detector in detectors
    ]
    yield _table(["detector", *streams], rows)


def _series(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    yield words.SERIES
    yield words.SERIES_USE
    detectors = _in_order(records, "detector")
    names = ("precision", "recall", "f1", "late_f1", "covering")
    rows = []
    for detector in detectors:
        own = [record for record in records if record["detector"] == detector]
        means = [_number(math.fsum(record[name] for record in own) / len(own), 2) for name in names]
        rows.append([detector, str(sum(len(record["alarms"]) for record in own)), *means])
    head = ["detector", "alarms", "precision", "recall", "F1", f"F1, up to {LATE} late", "covering"]
    yield "### Mean over the series"
    yield _table(head, rows)
    yield "### F1 (alarms) of each series"
    series = _in_order(records, "series")
    found = {(record["series"], record["detector"]): record for record in records}
    rows = []
    for detector in detectors:
        told = [found[name, detector] for name in series]
        rows.append([detector, *(f"{each['f1']:.2f} ({len(each['alarms'])})" for each in told)])
    marks = [f"{name} ({found[name, detectors[0]]['marks']} marks)" for name in series]
    yield _table(["detector", *marks], rows)


def _in_order(records: Sequence[Record], name: str) -> list[str]:
    order = {each: place for place, each in enumerate((*STREAMS, *says(), *DETECTS))}
    found = dict.fromkeys(record[name] for record in records)
    return sorted(found, key=lambda each: order.get(each, -1)) if name != "series" else list(found)


def _waited(record: Record | None) -> str:
    if record is None:
        return ""
    if record["early"] == 1.0:
        return "early"
    waited = "–" if record["median"] is None else f"{record['median']:g}"
    notes = [f"{record['missed']:.2f}"] if record["missed"] else []
    if record["early"] >= 0.1:
        notes.append(f"early {record['early']:.2f}")
    return waited + (f" ({', '.join(notes)})" if notes else "")


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _share(count: float | None, of: float) -> str:
    return "" if count is None else f"{count / of:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _list(said: Mapping[str, str]) -> str:
    return "\n".join(f"- `{name}`: {words}" for name, words in said.items())
