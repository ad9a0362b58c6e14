"""What other drift settings would have alarmed on: a model's own window rows through the judge once more.

Nothing is written. Rows are as they were made: what they do not hold (other bins, a season, a calibration) no
setting can bring back. Nor would the log have been the same: with other alarms other versions might have been
trained and served. What is told is how other settings judge what really happened.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from consumers.services.backing import domain_decision
from consumers.services.judging import NEVER_MS, frozen_for, recompute, row_of
from consumers.services.policies import checked
from consumers.services.replaying import Difference, first_difference
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.pruning import ROWS, PruningRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError, InvalidField
from domain.judgement.judge import Frozen, judge
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.judgement.timeline import Comparison, Timeline, compared, timeline

MOST_SETTINGS = 64
_OWNER = "--set"
_SECTIONS = ("drift", "retrain")
_FROZEN = ("bins", "edges", "categories", "season", "slots", "calibration", "error_clip", "phi_windows")
"""What a person may look for among the settings and finds in the reference profile."""


class NotJudged(DomainError):
    """The model has no judged windows."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} has no judged window rows: there is nothing to replay")


class TooManySettings(DomainError):
    """A grid is larger than anybody could read."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} settings: at most {MOST_SETTINGS} can be compared at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field of a policy document and the values that are tried. `path` such as drift.errors.delta."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A policy to try."""

    label: str
    """What is different in it, as a person would say it."""
    document: Mapping[str, Any]
    policy: JudgementPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A setting and what it would have alarmed on."""

    setting: Setting
    timeline: Timeline
    comparison: Comparison
    notes: tuple[str, ...]
    """Parts of it that have nothing to judge in these rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The version that served most answers from a window on."""

    version: str
    from_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The real alarms of a model and those of every candidate."""

    model: str
    from_ms: int
    to_ms: int
    """What is compared lies between; windows before are replayed all the same."""
    rows: int
    windows: int
    """Judged in that time."""
    real: Timeline
    policies: tuple[DatedPolicy, ...]
    """That were really in force, by time."""
    served: tuple[Served, ...]
    candidates: tuple[Candidate, ...]
    difference: Difference | None
    """The first recorded decision that the rows do not lead to, or the other way round."""
    pruned_through_ms: int | None
    """Rows that fell due by then are deleted: what was decided cannot be checked, and the detectors of
    candidates begin after it."""

    @property
    def agrees(self) -> bool | None:
        """Whether the recorded decisions are those that the rows lead to; None where rows are deleted."""
        return None if self.pruned_through_ms is not None else self.difference is None


def change_of(text: str) -> Change:
    """Read `drift.errors.delta=0.01,0.05`: values are JSON, or else text; several are separated by commas.

    Raises InvalidField.
    """
    path, equals, values = text.partition("=")
    parts = path.split(".")
    if not equals or len(parts) < 2 or parts[0] not in _SECTIONS or not all(parts):
        raise InvalidField(
            _OWNER, path or "PATH", "drift.… or retrain.…, then =, then a value or several", text
        )
    if any(part in _FROZEN for part in parts):
        limit = (
            "a field of the policy; bins, seasons and calibrations are frozen in the reference profile that "
            "rows were made with: a new version with a new profile (lifecycle profile build) has others"
        )
        raise InvalidField(_OWNER, path, limit, values)
    return Change(path=path, values=tuple(_values(path, values)))


def _values(path: str, text: str) -> Iterator[Any]:
    try:
        yield orjson.loads(text)
        return
    except orjson.JSONDecodeError:
        pieces = _pieces(text)
    if not all(pieces):
        raise InvalidField(_OWNER, path, "followed by a value, or by several with commas between", text)
    for piece in pieces:
        try:
            yield orjson.loads(piece)
        except orjson.JSONDecodeError:
            yield piece


def _pieces(text: str) -> list[str]:
    """Cut at commas that are not within brackets."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces]


def settings_of(base: Mapping[str, Any], changes: Sequence[Change], name: str | None = None) -> list[Setting]:
    """`base` with every combination of `changes`; itself without any, under `name`.

    Raises InvalidPolicy, which names the field and its limit, and TooManySettings.
    """
    count = 1
    for change in changes:
        count *= len(change.values)
    if count > MOST_SETTINGS:
        raise TooManySettings(count)
    found = []
    for values in itertools.product(*(change.values for change in changes)):
        document = base
        for change, value in zip(changes, values, strict=True):
            document = _changed(document, change.path.split("."), value, change.path)
        pairs = zip(changes, values, strict=True)
        parts = [f"{change.path}={_shown(value)}" for change, value in pairs]
        read = checked(dict(document))
        found.append(
            Setting(
                label=" ".join([name] if name and not parts else [*([name] if name else []), *parts]),
                document=read,
                policy=JudgementPolicy.from_json(read),
            )
        )
    return found


def _changed(document: Mapping[str, Any], parts: Sequence[str], value: Any, path: str) -> dict[str, Any]:
    """A copy with another value at the path; a part that is absent or null becomes an object."""
    first, *rest = parts
    if not rest:
        return {**document, first: value}
    inner = document.get(first)
    if inner is not None and not isinstance(inner, Mapping):
        raise InvalidField(_OWNER, path, f"within an object, which {first} is not", value)
    return {**document, first: _changed(inner or {}, rest, value, path)}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def policy_now(session: ReadSession, model: str) -> dict[str, Any]:
    """The newest policy document of `model`; an empty one, which means the defaults, if it has none."""
    policies = await PolicyRepository(session).all(model)
    return dict(policies[-1].body) if policies else {}


async def tune(
    session: ReadSession,
    model: str,
    settings: Sequence[Setting],
    length_ms: int,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Tuning:
    """Replay every judged row of `model` with each of `settings` in force all along.

    `from_ms` and `to_ms` bound what is compared, not what is replayed. All rows of the model are held in
    memory as parsed JSON. Raises NotJudged.
    """
    judgement = await JudgementRepository(session).load(model, for_update=False)
    if judgement is None:
        raise NotJudged(model)
    stored_rows = await TallyRepository(session).rows_due(model, NEVER_MS, judgement.judged_through_ms)
    if not stored_rows:
        raise NotJudged(model)
    pruned_ms = await PruningRepository(session).through_ms(ROWS)
    rows = [row_of(row) for row in stored_rows]
    frozen = await frozen_for(session, model, rows, length_ms)
    recorded = await DecisionRepository(session).list(model=model)
    starts = {row.key.window_start_ms for row in rows if row.key.kind == "input"}
    begins_ms = min(starts or {row.key.window_start_ms for row in rows})
    ends_ms = max(row.due_ms for row in rows) + 1
    start_ms = begins_ms if from_ms is None else max(from_ms, begins_ms)
    stop_ms = max(start_ms + 1, ends_ms if to_ms is None else min(to_ms, ends_ms))
    pruned = pruned_ms if pruned_ms > NEVER_MS else None
    difference = None
    if pruned is None:
        again, _ = recompute(model, rows, frozen)
        difference = first_difference(recorded, again)
    real = timeline(map(domain_decision, recorded), start_ms, stop_ms)
    return Tuning(
        model=model,
        from_ms=start_ms,
        to_ms=stop_ms,
        rows=len(rows),
        windows=sum(start_ms <= start < stop_ms for start in starts),
        real=real,
        policies=tuple(sorted(frozen.policies, key=lambda dated: dated.effective_from_ms)),
        served=tuple(_served(rows)),
        candidates=tuple(
            _candidate(model, setting, rows, frozen, real, pruned or NEVER_MS) for setting in settings
        ),
        difference=difference,
        pruned_through_ms=pruned,
    )


def _candidate(
    model: str, setting: Setting, rows: Sequence[Row], frozen: Frozen, real: Timeline, after_ms: int
) -> Candidate:
    other = replace(frozen, policies=[DatedPolicy(effective_from_ms=NEVER_MS, policy=setting.policy)])
    found = timeline(judge(model, ModelState(), rows, other), real.from_ms, real.to_ms)
    # of real episodes from before the first row that is left no replay can know
    known = [span for span in real.spans if span.opened_ms > after_ms]
    return Candidate(
        setting=setting,
        timeline=found,
        comparison=compared(known, found.spans),
        notes=tuple(_notes(setting.policy, rows, frozen)),
    )


def _notes(policy: JudgementPolicy, rows: Sequence[Row], frozen: Frozen) -> Iterator[str]:
    """What the setting asks for that the rows do not hold."""
    metrics = {name for row in rows if row.key.kind == "score" for name in row.body.get("metrics", {})}
    if policy.errors is not None and policy.error_metric not in metrics:
        there = ", ".join(sorted(metrics)) or "none"
        yield f"errors: no score row has the metric {policy.error_metric} (there is: {there})"
    known = {name for profile in frozen.profiles.values() for name in profile.features}
    wanted = policy.features.features if policy.features is not None else ()
    missing = sorted(set(wanted) - known)
    if missing:
        yield f"features: no reference profile has {', '.join(missing)}"
    estimated = any("estimate" in row.body for row in rows if row.key.kind == "input")
    if policy.estimate is not None and not estimated:
        yield "estimate: no row holds an estimate; it takes a version whose profile has a calibration"


def _served(rows: Sequence[Row]) -> Iterator[Served]:
    """Changes of the version that serves, by window."""
    counts: dict[int, dict[str, int]] = {}
    for row in rows:
        if row.key.kind == "input" and row.body.get("served", 0):
            window = counts.setdefault(row.key.window_start_ms, {})
            window[row.key.version] = window.get(row.key.version, 0) + row.body["served"]
    before = None
    for start_ms in sorted(counts):
        version = max(counts[start_ms], key=lambda name: (counts[start_ms][name], name))
        if version != before:
            yield Served(version=version, from_ms=start_ms)
        before = version
