"""The page of a tuning: the real alarms of a model, and those of other settings, as lanes and as numbers."""

import string
from collections.abc import Iterator, Sequence

import orjson

from consumers.report.lanes import Bar, Group, Lane, Lanes, Mark, Stretch, svg
from consumers.report.page import Cell, Markup, details, element, figure, joined, page, table
from consumers.report.words import moment, percent, plural
from consumers.services.tuning import Candidate, Tuning
from domain.judgement.alarm_rates import MONTH_MS
from domain.judgement.timeline import Span, Timeline

NOT_TUNED = (
    "Rows are replayed as they were made: other bins, seasons or calibrations need a version with another "
    "reference profile, and what other alarms would have had trained and served nobody knows."
)
_ORDER = ("DATA_DRIFT", "PREDICTION_DRIFT", "CONCEPT_DRIFT", "PERFORMANCE_DEGRADATION")
_MOST_SPANS = 200
"""In a table of episodes."""
_DAY_MS, _HOUR_MS, _MINUTE_MS = 86_400_000, 3_600_000, 60_000
_SIGNS = {True: "later", False: "earlier"}


def letters(count: int) -> list[str]:
    """Names of candidates: A to Z, then A1, B1, and so on."""
    alphabet = string.ascii_uppercase
    rounds = range(-(-count // len(alphabet)))
    return [f"{letter}{number or ''}" for number in rounds for letter in alphabet][:count]


def lasting(span_ms: float) -> str:
    """`3.5 d`, `7 h`, `40 min`, `12 s`."""
    for unit_ms, name in ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "min")):
        if span_ms >= unit_ms:
            return f"{span_ms / unit_ms:.3g} {name}"
    return f"{span_ms / 1_000:.3g} s"


def shifted(later_ms: float | None) -> str | None:
    """`3 h later`, `20 min earlier`, `same`; None for None."""
    if later_ms is None:
        return None
    return f"{lasting(abs(later_ms))} {_SIGNS[later_ms > 0]}" if later_ms else "same"


def per_month(told: Tuning, line: Timeline) -> float:
    """Episodes opened in a month of 30 days."""
    return line.tally().opened * MONTH_MS / (told.to_ms - told.from_ms)


def alarm_share(told: Tuning, line: Timeline) -> float:
    """Share of the time in which any episode was open."""
    return line.in_alarm_ms() / (told.to_ms - told.from_ms)


def stream_name(span: Span) -> str:
    """The drift type; of an estimate it is said."""
    return f"{span.drift_type} (estimate)" if span.estimate else span.drift_type


def stream_names(lines: Sequence[Timeline]) -> list[str]:
    """What any of these alarmed on, in the order of the drift types."""
    found = {stream_name(span): span for line in lines for span in line.spans}
    return sorted(found, key=lambda name: (_ORDER.index(found[name].drift_type), name))


def render(told: Tuning) -> str:
    """The document; the same bytes for the same rows, decisions and settings."""
    title = f"Drift settings of {told.model}"
    period = f"{moment(told.from_ms)} to {moment(told.to_ms)}"
    windows = plural(told.windows, "window")
    body = joined(
        [
            element("h1", title),
            element("p", f"{period}, {windows}, replayed from {plural(told.rows, 'row')}", kind="soft"),
            _tiles(told),
            *_soundness(told),
            element("h2", "Alarms"),
            figure(svg(picture(told)), _caption(told)),
            element("h2", "Settings"),
            _settings(told),
            *_notes(told),
            element("h2", "Beside the real alarms"),
            _comparison(told),
            element(
                "p",
                "Episodes are the same drift if they overlap and the same thing drifts. In alarm is the "
                "share of the time with at least one open; a month has 30 days.",
                kind="soft",
            ),
            element("h2", "By drift type"),
            _types(told),
            *_episodes(told),
            element("h2", "How to check this"),
            element("p", NOT_TUNED),
            element("pre", _commands(told)),
        ]
    )
    return page(title, body)


# ---------------------------------------------------------------- the picture


def picture(told: Tuning) -> Lanes:
    """A group for each drift type and one for retraining: the real lane first, then the candidates'."""
    lines = [
        ("real", told.real),
        *zip(_names(told), (each.timeline for each in told.candidates), strict=True),
    ]
    groups = [
        Group(
            title=name,
            color=number % 5,
            lanes=[
                Lane(label=label, bars=[_bar(span) for span in line.spans if stream_name(span) == name])
                for label, line in lines
            ],
        )
        for number, name in enumerate(stream_names([line for _, line in lines]))
    ]
    if any(line.retrain_ms for _, line in lines):
        marks = [(label, [_mark(at) for at in line.retrain_ms]) for label, line in lines]
        lanes = [Lane(label=label, marks=found) for label, found in marks]
        groups.append(Group(title="orders to retrain", color=5, lanes=lanes))
    if not groups:
        groups = [Group(title="no alarms", color=0, lanes=[Lane(label=label) for label, _ in lines])]
    return Lanes(
        name="alarms",
        title=f"When {told.model} was in alarm, really and with other settings",
        x=(float(told.from_ms), float(told.to_ms)),
        groups=groups,
        strip="serving",
        stretches=[
            Stretch(label=f"version {each.version}", first=float(each.from_ms)) for each in told.served
        ],
        changes=[
            Mark(
                at=float(each.effective_from_ms),
                told=f"another policy from {moment(each.effective_from_ms)}",
            )
            for each in told.policies
        ],
    )


def _bar(span: Span) -> Bar:
    severe = span.opened_ms if span.severity == "drift" else span.escalated_ms
    return Bar(
        first=float(span.opened_ms),
        last=None if span.closed_ms is None else float(span.closed_ms),
        severe_from=None if severe is None else float(severe),
        told=_told(span),
    )


def _told(span: Span) -> str:
    closed = "still open" if span.closed_ms is None else f"to {moment(span.closed_ms)}"
    named = f": {', '.join(span.features[:5])}" if span.features else ""
    return f"{span.worst}, version {span.version}, {moment(span.opened_ms)} {closed}, {span.detector}{named}"


def _mark(at_ms: int) -> Mark:
    return Mark(at=float(at_ms), told=f"retraining asked for at {moment(at_ms)}")


def _caption(told: Tuning) -> str:
    changed = " A dashed line is where another policy came into force." if _changes(told) else ""
    return (
        "On top what really happened, faint behind the others; below it what each setting would have alarmed "
        "on. Pale is a warning, full is drift, an arrow is an episode that is still open, a diamond an order "
        f"to retrain; the numbers at the end count them.{changed}"
    )


def _changes(told: Tuning) -> bool:
    return any(told.from_ms < each.effective_from_ms < told.to_ms for each in told.policies)


# ---------------------------------------------------------------- words and tables


def _names(told: Tuning) -> list[str]:
    return letters(len(told.candidates))


def _tiles(told: Tuning) -> Markup:
    tally = told.real.tally()
    least = min(told.candidates, key=lambda each: each.timeline.tally().opened)
    most = max(told.candidates, key=lambda each: each.timeline.tally().opened)
    few, many = least.timeline.tally().opened, most.timeline.tally().opened
    tiles = [
        _tile(str(tally.opened), f"episodes really opened, {per_month(told, told.real):.3g} a month"),
        _tile(percent(round(alarm_share(told, told.real), 4)), "of the time in alarm"),
        _tile(
            f"{few} to {many}" if few != many else str(few),
            f"episodes with {plural(len(told.candidates), 'other setting')}",
        ),
        _tile(str(len(told.real.retrain_ms)), "orders to retrain"),
    ]
    return element("div", *tiles, kind="tiles")


def _tile(value: str, what: str) -> Markup:
    return element("div", element("b", value), element("span", what), kind="tile")


def _soundness(told: Tuning) -> Iterator[Markup]:
    if told.pruned_through_ms is not None:
        gone = (
            f"Rows that fell due by {moment(told.pruned_through_ms)} are deleted: the recorded decisions "
            "cannot be checked here, and the detectors of the settings begin after that."
        )
        yield element("p", gone)
    elif told.difference is not None:
        decision = told.difference.decision
        broken = (
            f"The recorded decisions are NOT those that the rows lead to; the first that differs is "
            f"{decision.kind} {decision.subject} of {moment(decision.at_ms)}: lifecycle replay tells more."
        )
        yield element("p", broken, kind="alarm")
    else:
        rows = plural(told.rows, "stored row")
        yield element("p", f"Recomputed from {rows}: the real alarms are exactly these.", kind="soft")


def _settings(told: Tuning) -> Markup:
    rows: list[list[Cell]] = [["real", "the policies that were in force"]]
    rows += [[name, each.setting.label] for name, each in zip(_names(told), told.candidates, strict=True)]
    return table(["", "what is different, in force all along"], rows)


def _notes(told: Tuning) -> Iterator[Markup]:
    for name, each in zip(_names(told), told.candidates, strict=True):
        for note in each.notes:
            yield element("p", f"{name}, {note}.", kind="alarm")


def _comparison(told: Tuning) -> Markup:
    columns = ["", "opened", "a month", "in alarm", "both", "only real", "only here", "opens", "earliest"]
    columns += ["latest", "retrain"]
    rows = [_row("real", told, told.real, None)]
    rows += [
        _row(name, told, each.timeline, each)
        for name, each in zip(_names(told), told.candidates, strict=True)
    ]
    return table(columns, rows)


def _row(name: str, told: Tuning, line: Timeline, candidate: Candidate | None) -> list[Cell]:
    beside: list[Cell] = [None] * 6
    if candidate is not None:
        found = candidate.comparison
        beside = [
            len(found.both),
            len(found.only_real),
            len(found.only_candidate),
            shifted(found.median_later_ms),
            shifted(min(found.later_ms, default=None)),
            shifted(max(found.later_ms, default=None)),
        ]
    share = percent(round(alarm_share(told, line), 4))
    return [
        name,
        line.tally().opened,
        round(per_month(told, line), 2),
        share,
        *beside,
        len(line.retrain_ms),
    ]


def _types(told: Tuning) -> Markup:
    lines = [
        ("real", told.real),
        *zip(_names(told), (each.timeline for each in told.candidates), strict=True),
    ]
    rows: list[list[Cell]] = []
    for drift_type in sorted({span.drift_type for _, line in lines for span in line.spans}, key=_ORDER.index):
        for name, line in lines:
            tally = line.tally(drift_type)
            share = percent(round(tally.in_alarm_ms / (told.to_ms - told.from_ms), 4))
            rows.append(
                [
                    drift_type,
                    name,
                    tally.opened,
                    tally.warn,
                    tally.drift,
                    tally.escalated,
                    tally.closed,
                    share,
                ]
            )
    columns = ["drift type", "", "opened", "as warning", "as drift", "escalated", "recovered", "in alarm"]
    return table(columns, rows)


def _episodes(told: Tuning) -> Iterator[Markup]:
    yield element("h2", "Episodes")
    yield details(f"real: {plural(len(told.real.spans), 'episode')}", _spans(told.real.spans))
    for name, each in zip(_names(told), told.candidates, strict=True):
        found = each.comparison
        for what, spans in (
            (f"{name}: only real", found.only_real),
            (f"{name}: only with it", found.only_candidate),
        ):
            if spans:
                yield details(f"{what}, {plural(len(spans), 'episode')}", _spans(spans))


def _spans(spans: Sequence[Span]) -> Markup:
    columns = ["opened", "recovered", "drift type", "version", "severity", "detector", "features"]
    rows: list[list[Cell]] = [
        [
            moment(span.opened_ms),
            "open" if span.closed_ms is None else moment(span.closed_ms),
            stream_name(span),
            span.version,
            span.worst,
            span.detector,
            ", ".join(span.features[:5]) + (" …" if len(span.features) > 5 else ""),
        ]
        for span in spans[:_MOST_SPANS]
    ]
    return table(columns, rows)


def _commands(told: Tuning) -> str:
    lines = ["# the real decisions, recomputed from the log", "lifecycle replay --home DIR"]
    for name, each in zip(_names(told), told.candidates, strict=True):
        drift = orjson.dumps(each.setting.policy.to_json(), option=orjson.OPT_INDENT_2).decode()
        lines += ["", f"# {name}: {each.setting.label}", drift]
    return "\n".join(lines)
