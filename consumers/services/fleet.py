"""The experiments of many models together: what they spent, and which of their promotions stand by e-BH."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from consumers.services.budgets import account_over, spendings
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import ReadSession
from domain.experiments.budget import Account, Quarter
from domain.experiments.ebh import Discoveries, ebh, joint_log_e
from domain.experiments.plan import ExperimentPlan
from domain.experiments.state import ExperimentState
from domain.experiments.verdict import standings
from domain.judgement.state import Trial
from schemas.events import ExperimentStatus

Evidence = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One challenger of one experiment: a hypothesis, "it is no better"."""

    experiment: str
    model: str
    quarter: Quarter
    """In which the experiment started."""
    treatment: str
    version: str
    status: ExperimentStatus
    promoted: bool
    """Whether the verdict was to promote it."""
    log_e: float
    """At the end or, while it runs, at the last look; minus infinity where a cancelled one left none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Accounts by model and quarter, and e-BH over the challengers that the judge has looked at."""

    accounts: tuple[Account, ...]
    statuses: Mapping[str, ExperimentStatus]
    """By experiment, of all in the accounts."""
    tried: tuple[Tried, ...]
    discoveries: Discoveries
    """In the order of `tried`."""

    @property
    def promoted(self) -> int:
        return sum(each.promoted for each in self.tried)

    @property
    def standing(self) -> int:
        """Promotions that hold at the false discovery rate."""
        pairs = zip(self.tried, self.discoveries.rejected, strict=True)
        return sum(each.promoted and rejected for each, rejected in pairs)


async def present_quarter(session: ReadSession, now_ms: int) -> Quarter:
    """The quarter of event time: of the latest that was judged or started, else of the wall clock."""
    judged = [each.judged_through_ms for each in await JudgementRepository(session).all()]
    started = [each.started_at_ms for each in await ExperimentRepository(session).list()]
    return Quarter.of(max([*judged, *(at for at in started if at is not None)], default=now_ms))


async def fleet(
    session: ReadSession, *, model: str | None, quarters: Iterable[Quarter] | None, q: float
) -> Fleet:
    """The accounts of `quarters` (None: of all that had a start) and e-BH over what was started in them.

    e-BH takes the experiments of `model` only, or of every model. An experiment without a look is no
    hypothesis yet; one that was cancelled after some is one without evidence: leaving it out because it went
    badly would make the others look better than they are.
    """
    records = await ExperimentRepository(session).list(model)
    judgements = {each.model: each for each in await JudgementRepository(session).all()}
    known = [each.name for each in await ModelRepository(session).list_models()] if model is None else [model]
    models = sorted({*known, *(record.model for record in records)})
    wanted = None if quarters is None else set(quarters)
    accounts: list[Account] = []
    for name in models:
        spent = spendings((each for each in records if each.model == name), judgements.get(name))
        found = {Quarter.of(each.started_at_ms) for each in spent} if wanted is None else wanted
        accounts += [await account_over(session, name, quarter, spent) for quarter in sorted(found)]
    counted = {each.experiment for account in accounts for each in account.entries}
    mine = [record for record in records if record.experiment_id in counted]
    verdicts = await _verdicts(session, model)
    tried = [one for record in mine for one in _tried(record, verdicts, judgements.get(record.model))]
    return Fleet(
        accounts=tuple(accounts),
        statuses={record.experiment_id: record.status for record in mine},
        tried=tuple(tried),
        discoveries=ebh([each.log_e for each in tried], q),
    )


async def _verdicts(session: ReadSession, model: str | None) -> dict[str, Evidence]:
    """Evidence of the verdicts, by experiment: also of those that the registry has not carried out yet."""
    decisions = await DecisionRepository(session).list(model=model, kind="verdict")
    return {each.subject: orjson.loads(each.body)["evidence"] for each in decisions}


def _tried(
    record: ExperimentRecord, verdicts: Mapping[str, Evidence], judgement: Judgement | None
) -> list[Tried]:
    assert record.started_at_ms is not None  # noqa: S101 - it is in an account
    plan = ExperimentPlan.of_record(record.config)
    evidence = verdicts.get(record.experiment_id)
    if evidence is not None:
        log_es = (
            {name: _log_e(measures) for name, measures in evidence["treatments"].items()}
            if evidence["batches"]
            else None
        )
    else:
        log_es = _so_far(plan, record, judgement)
    if log_es is None:
        return []
    return [
        Tried(
            experiment=record.experiment_id,
            model=record.model,
            quarter=Quarter.of(record.started_at_ms),
            treatment=variant.name,
            version=variant.version,
            status=record.status,
            promoted=evidence is not None
            and evidence["verdict"] == "PROMOTE"
            and evidence["treatment"] == variant.name,
            log_e=log_es[variant.name],
        )
        for variant in plan.treatments
    ]


def _so_far(
    plan: ExperimentPlan, record: ExperimentRecord, judgement: Judgement | None
) -> dict[str, float] | None:
    """Log e-values of an experiment without a verdict; None when nobody has looked at it yet."""
    stored = None if judgement is None else judgement.state.get("trials", {}).get(record.experiment_id)
    trial = None if stored is None else Trial.from_json(stored)
    if trial is None or not trial.looked:
        return None
    if trial.evidence is None:
        return {variant.name: -math.inf for variant in plan.treatments}
    state = ExperimentState.from_json(trial.evidence)
    ranking = standings(plan, state)
    return {each.treatment: joint_log_e([one.log_e for one in each.primaries]) for each in ranking}


def _log_e(measures: Mapping[str, Any]) -> float:
    """Of all primaries in a verdict's evidence."""
    primaries = (measures["primary"], *measures.get("more_primaries", ()))
    return joint_log_e([each["log_e"] for each in primaries])
