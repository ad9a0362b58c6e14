"""The way of one experiment: its looks recomputed from the rows in the store, beside what the store says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from consumers.services.budgets import account_of
from consumers.services.dated_plans import dated_plan
from consumers.services.experiment_moves import verdict_of
from consumers.services.judging import row_of
from consumers.store.repositories.decisions import Decision
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.pruning import ROWS, PruningRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.experiments.budget import Account, Quarter
from domain.experiments.levels import Level, Scored, levels
from domain.experiments.plan import ExperimentPlan
from domain.experiments.state import ExperimentState
from domain.experiments.verdict import report, standings
from domain.judgement.path import Allocation, Look, allocations, counted, looks, scored
from domain.judgement.rows import Row

Numbers = Mapping[str, Any]
_COMPARED = ("log_e", "estimate", "lower", "upper", "batches")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPath:
    """Everything there is to tell about one experiment."""

    record: ExperimentRecord
    plan: ExperimentPlan
    verdict: Decision | None
    numbers: Numbers | None
    """What the verdict rests on or, without one, what the judge holds; None before the first look and after a
    cancellation, which leaves nothing with the judge."""
    path: tuple[Look, ...]
    allocations: tuple[Allocation, ...]
    rows: int
    """That the path was recomputed from."""
    pruned: bool
    """Whether the first of its rows are deleted, so that no path can be recomputed."""
    account: Account | None
    """Of the quarter in which it started; None while it has not, and of a hold-back."""
    scored: Scored = field(default_factory=dict)
    """What the arms had in those rows, of windows after the last look too."""

    @property
    def last(self) -> Numbers | None:
        """The numbers that the report ends with: the store's, else those of the last look."""
        if self.numbers is not None:
            return self.numbers
        return self.path[-1].numbers if self.path else None

    @property
    def levels(self) -> Mapping[str, Level]:
        """What each arm scored on its own, by name."""
        return levels(self.plan, self.scored, self.last)

    @property
    def agrees(self) -> bool | None:
        """Whether the path ends where the store says it does, to the last bit; None when one is missing."""
        if self.numbers is None or not self.path:
            return None
        return _essence(self.numbers) == _essence(self.path[-1].numbers)


async def trial_path(session: ReadSession, experiment: str, length_ms: int) -> TrialPath | None:
    """The path of `experiment`, None when there is none of that name."""
    record = await ExperimentRepository(session).get(experiment)
    if record is None:
        return None
    plan = ExperimentPlan.of_record(record.config)
    if record.started_at_ms is None:
        return TrialPath(
            record=record,
            plan=plan,
            verdict=None,
            numbers=None,
            path=(),
            allocations=(),
            rows=0,
            pruned=False,
            account=None,
        )
    dated = dated_plan(record, record.started_at_ms, await ExperimentRepository(session).moves(experiment))
    pruned = await PruningRepository(session).through_ms(ROWS) > record.started_at_ms
    rows = [] if pruned else await _rows(session, record, record.started_at_ms)
    path = tuple(looks(dated, rows, length_ms))
    return TrialPath(
        record=record,
        plan=plan,
        verdict=await verdict_of(session, record),
        numbers=await judged_numbers(session, record, plan),
        path=path,
        allocations=tuple(allocations(dated, path)),
        rows=len(rows),
        scored=scored(counted(dated, rows, length_ms)),
        pruned=pruned,
        account=None
        if record.reverses
        else await account_of(session, record.model, Quarter.of(record.started_at_ms)),
    )


async def _rows(session: ReadSession, record: ExperimentRecord, started_at_ms: int) -> list[Row]:
    judgement = await JudgementRepository(session).load(record.model, for_update=False)
    if judgement is None:
        return []
    through_ms = judgement.judged_through_ms
    if record.closed_at_ms is not None:
        through_ms = min(through_ms, record.closed_at_ms)
    stored = await TallyRepository(session).experiment_rows(
        record.model, record.experiment_id, started_at_ms, through_ms
    )
    return [row_of(row) for row in stored]


async def judged_numbers(
    session: ReadSession, record: ExperimentRecord, plan: ExperimentPlan
) -> Numbers | None:
    """What the verdict rests on or, without one, what the judge holds; None before the first look and after a
    person ended it, which leaves nothing with the judge."""
    verdict = await verdict_of(session, record)
    if verdict is not None:
        evidence: Numbers = orjson.loads(verdict.body)["evidence"]
        return evidence
    judgement = await JudgementRepository(session).load(record.model, for_update=False)
    trial = None if judgement is None else judgement.state.get("trials", {}).get(record.experiment_id)
    if trial is None or trial["evidence"] is None:
        return None
    state = ExperimentState.from_json(trial["evidence"])
    return report(plan, state, standings(plan, state)) if state.batches else None


def _essence(numbers: Numbers) -> dict[str, Any]:
    measures = {
        name: [
            {key: measure[key] for key in _COMPARED}
            for measure in (
                each["primary"],
                *each.get("more_primaries", ()),
                *each.get("losses", ()),
                *each["guardrails"],
                *each["harm"],
            )
        ]
        for name, each in numbers["treatments"].items()
    }
    return {"batches": numbers["batches"], "outcomes": numbers["outcomes"], "measures": measures}
