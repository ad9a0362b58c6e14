"""A model's past for rehearsals: from the rows in the store, or record by record from the log."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
import orjson

from consumers.rehearsal.past import Past, joined, small
from consumers.rehearsal.windows import Column, Frame, LoggedWindow, Outcomes, PairedWindow, TalliedWindow
from consumers.services.history import Answered, HistoricalDataService
from consumers.services.judging import NEVER_MS
from consumers.services.profiles import profile_of
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import StoredRow, TallyRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError
from domain.experiments.plan import BINARY_METRICS, ExperimentPlan
from domain.windows.merge import merge_bodies
from domain.windows.metrics import score
from domain.windows.moments import LARGEST
from domain.windows.profile import ReferenceProfile

BY_UNIT = ("USER_SEGMENT", "SWITCHBACK")
"""Strategies whose rehearsals need the log."""
BATCHES = 10
"""A past must hold the outcomes of so many of the plan's batches."""
Source = Literal["rows", "pairs", "log"]


class PastTooShort(DomainError):
    """There is not enough of a past to rehearse an experiment on."""

    def __init__(self, plan: ExperimentPlan, found: str) -> None:
        super().__init__(
            f"{plan.model} version {plan.champion.version} has {found}: a rehearsal needs "
            f"{plan.batch.min_outcomes * BATCHES} of every metric of the plan ({BATCHES} of its batches)"
        )


class UnitsNotKnown(DomainError):
    """Rows outside experiments do not say which unit an outcome belongs to; only the log does."""

    def __init__(self, plan: ExperimentPlan, why: str) -> None:
        super().__init__(
            f"the plan splits units ({plan.strategy}), and those of {plan.model}'s past are not known: {why}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A past and where it is from."""

    past: Past
    source: Source
    units: Sequence[str] = ()
    """Names of the units that outcomes number; only from the log."""

    def variance(self, plan: ExperimentPlan, metric: str) -> float:
        """Of one outcome; under SHADOW_MODE of one difference, which is twice the champion's own without
        pairs to measure it on."""
        own = self.past.variance(metric)
        if plan.strategy != "SHADOW_MODE" or self.source == "pairs":
            return own
        return plan.variances.get(metric, 2 * own)

    def base_rate(self, plan: ExperimentPlan) -> float | None:
        """Of a hit metric's hits; None of other metrics and of pairs, which do not say it."""
        hits = plan.primary.metric in BINARY_METRICS and self.source != "pairs"
        return self.past.mean(plan.primary.metric) if hits else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which past: what fell due after `after_ms`, up to `through_ms`, in windows of `length_ms`."""

    length_ms: int
    through_ms: int
    after_ms: int = NEVER_MS


async def known_by_rows(session: ReadSession, plan: ExperimentPlan, span: Span) -> Known:
    """From score rows: what the champion served, or under SHADOW_MODE the pairs of earlier shadow experiments
    against it, if there are enough. What challengers served meanwhile is not part of it, so a past with split
    experiments holds less traffic. Raises PastTooShort, UnitsNotKnown."""
    if plan.strategy in BY_UNIT:
        raise UnitsNotKnown(plan, "window rows hold none outside experiments; --from log reads them")
    if plan.strategy == "SHADOW_MODE":
        pairs = await _pairs(session, plan, span)
        if pairs is not None:
            return Known(past=pairs, source="pairs")
    rows = await TallyRepository(session).version_scores(
        plan.model, plan.champion.version, span.after_ms, span.through_ms
    )
    windows = [
        TalliedWindow(frame=frame, body=body, apart=plan.strategy == "SHADOW_MODE")
        for frame, body in _merged(rows, "served", span.length_ms)
    ]
    if not windows:
        raise PastTooShort(plan, "no window whose outcomes are complete")
    if plan.strategy == "SHADOW_MODE":
        windows = _stretched(windows, plan)
    return _enough(plan, Known(past=Past(windows=joined(windows, plan)), source="rows"))


def _stretched(windows: list[TalliedWindow], plan: ExperimentPlan) -> list[TalliedWindow]:
    """So that differences have the variance that the plan says they have."""
    past = Past(windows=windows)
    scales = {
        metric: math.sqrt(variance / (2 * past.variance(metric)))
        for metric, variance in plan.variances.items()
        if past.variance(metric) > 0
    }
    return [TalliedWindow(frame=each.frame, body=each.body, apart=True, scales=scales) for each in windows]


async def _pairs(session: ReadSession, plan: ExperimentPlan, span: Span) -> Past | None:
    found = []
    for record in await ExperimentRepository(session).list(plan.model):
        earlier = ExperimentPlan.of_record(record.config)
        if earlier.strategy != "SHADOW_MODE" or earlier.champion.version != plan.champion.version:
            continue
        # one challenger's: those of several would be of the same requests
        name = earlier.treatments[0].name
        rows = await TallyRepository(session).experiment_rows(
            plan.model, record.experiment_id, span.after_ms, span.through_ms
        )
        found += [row for row in rows if row.key.variant == name]
    found.sort(key=lambda row: (row.due_ms, row.key.window_start_ms, row.key.horizon_s, row.key.partition))
    bodies = _merged(found, "paired", span.length_ms)
    windows = [PairedWindow(frame=frame, body=body, centres={}) for frame, body in bodies]
    if not windows:
        return None
    whole = Past(windows=windows)
    if whole.count(plan.primary.metric) < plan.batch.min_outcomes * BATCHES:
        return None
    centres = {metric: whole.mean(metric) for metric in plan.metrics if whole.count(metric)}
    centred = [PairedWindow(frame=frame, body=body, centres=centres) for frame, body in bodies]
    return Past(windows=joined(centred, plan))


def _merged(rows: Sequence[StoredRow], needed: str, length_ms: int) -> list[tuple[Frame, Mapping[str, Any]]]:
    """One body per window and horizon of the rows that have anything under `needed`, over partitions, arms
    and experiments; units of different experiments are numbered apart, so they are left out."""
    found: list[tuple[Frame, Mapping[str, Any]]] = []
    for (due_ms, start_ms, horizon_s), group in groupby(
        rows, key=lambda row: (row.due_ms, row.key.window_start_ms, row.key.horizon_s)
    ):
        frame = Frame(start_ms=start_ms, end_ms=start_ms + length_ms, due_ms=due_ms, horizon_s=horizon_s)
        bodies = [{**body, "units": {}} for row in group if (body := orjson.loads(row.body)).get(needed)]
        if bodies:
            found.append((frame, merge_bodies("score", bodies)))
    return found


async def known_by_log(
    session: ReadSession, history: HistoricalDataService, plan: ExperimentPlan, span: Span
) -> Known:
    """Record by record, as the windows count them. Raises PastTooShort, UnitsNotKnown, HistoryNotClosed."""
    found = await history.answered(plan.model, plan.champion.version, span.through_ms)
    answered = [each for each in found if each.due_ms > span.after_ms]
    stored = await ProfileRepository(session).get_many({(plan.model, plan.champion.version)})
    profile = next((profile_of(each) for each in stored.values()), None)
    if not answered:
        raise PastTooShort(plan, "no prediction in the log whose outcome side is closed")
    names = sorted({each.answer.unit for each in answered if each.answer.unit is not None})
    if plan.strategy == "USER_SEGMENT" and not names:
        raise UnitsNotKnown(plan, "no prediction in the log names one")
    numbers = {name: number for number, name in enumerate(names)}
    groups = _groups(answered, plan, span.length_ms)
    windows = [_logged(frame, group, plan, profile, numbers) for frame, group in groups]
    return _enough(plan, Known(past=Past(windows=windows), source="log", units=names))


def _groups(
    answered: Sequence[Answered], plan: ExperimentPlan, length_ms: int
) -> list[tuple[Frame, list[Answered]]]:
    """Neighbouring windows together, as `joined` does with rows."""
    groups: list[tuple[Frame, list[Answered]]] = []
    for (due_ms, start_ms, horizon_s), same in groupby(
        answered, key=lambda each: (each.due_ms, each.window_start_ms, each.answer.horizon_s)
    ):
        frame = Frame(start_ms=start_ms, end_ms=start_ms + length_ms, due_ms=due_ms, horizon_s=horizon_s)
        before, last = groups[-1] if groups else (frame, [])
        if last and small(before, sum(each.outcome is not None for each in last), plan):
            groups[-1] = (before.joined(frame), [*last, *same])
        else:
            groups.append((frame, list(same)))
    return groups


def _logged(
    frame: Frame,
    group: Sequence[Answered],
    plan: ExperimentPlan,
    profile: ReferenceProfile | None,
    numbers: Mapping[str, int],
) -> LoggedWindow:
    in_force = profile if profile is not None and profile.in_force(frame.start_ms) else None
    answers, outcomes = [each.answer for each in group], [each.outcome for each in group]
    scores = score([answer.prediction for answer in answers], [True] * len(group), outcomes, in_force)
    covariates = [_measured(answer.covariate) for answer in answers]
    adjusted = all(covariates[row] is not None for row in scores.matched)
    x = np.array([math.nan if value is None else value for value in covariates])
    columns = {}
    for metric, sample in (scores.samples | scores.values).items():
        if metric in plan.metrics:
            rows = np.asarray(sample.rows, np.int64)
            columns[metric] = Column(rows, sample.values[None], x[rows] if adjusted else None)
    return LoggedWindow(
        frame=frame,
        records=Outcomes(
            n=len(group),
            matched=np.array([outcome is not None for outcome in outcomes]),
            columns=columns,
            ids=[answer.prediction_id for answer in answers],
            at_ms=np.array([each.occurred_at_ms for each in group]),
            units=np.array([-1 if answer.unit is None else numbers[answer.unit] for answer in answers]),
        ),
    )


def _measured(covariate: float | None) -> float | None:
    return covariate if covariate is not None and abs(covariate) <= LARGEST else None


def _enough(plan: ExperimentPlan, known: Known) -> Known:
    for metric in plan.metrics:
        count = known.past.count(metric)
        if count < plan.batch.min_outcomes * BATCHES:
            unit = "outcome" if count == 1 else "outcomes"
            raise PastTooShort(plan, f"{count} {unit} of {metric} whose windows are complete")
    return known
