"""Accounts of alpha over the store: what a model's experiments have spent, and whether another one fits."""

from collections.abc import Iterable, Sequence

from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.session import ReadSession
from domain.experiments.budget import Account, BudgetPolicy, Quarter, Spending
from domain.judgement.state import Trial
from schemas.events import ExperimentStatus


async def account_of(session: ReadSession, model: str, quarter: Quarter) -> Account:
    """The model's account of `quarter`, with the budget of the last policy that was in force in it.

    Who starts an experiment holds the model's lock: nobody else can spend or be given back meanwhile.
    """
    judgement = await JudgementRepository(session).load(model, for_update=False)
    started = spendings(await ExperimentRepository(session).list(model), judgement)
    return await account_over(session, model, quarter, started)


async def account_over(
    session: ReadSession, model: str, quarter: Quarter, started: Sequence[Spending]
) -> Account:
    """The same, of what is known to have `started`."""
    policy = await PolicyRepository(session).in_force(model, quarter.end_ms - 1)
    return Account.of(model, quarter, BudgetPolicy.of_document(policy.body if policy else {}), started)


def spendings(records: Iterable[ExperimentRecord], judgement: Judgement | None) -> list[Spending]:
    """What the experiments of one model that were ever started spent; `judgement` is the model's.

    Hold-backs spend nothing: all that they can do is take a promotion back.
    """
    return [
        Spending(
            experiment=record.experiment_id,
            alpha=record.config["alpha"],
            started_at_ms=record.started_at_ms,
            returned=_never_looked(record, record.started_at_ms, judgement),
        )
        for record in records
        if record.started_at_ms is not None and not record.reverses
    ]


def _never_looked(record: ExperimentRecord, started_at_ms: int, judgement: Judgement | None) -> bool:
    """Whether it was cancelled before the judge looked at any batch of it, and none can follow."""
    if record.status is not ExperimentStatus.CANCELLED or record.closed_at_ms is None:
        return False
    if judgement is None:
        return record.closed_at_ms <= started_at_ms
    trial = judgement.state.get("trials", {}).get(record.experiment_id)
    if trial is not None and Trial.from_json(trial).looked:
        return False
    # rows count until it ends, and a verdict that comes to nothing ends it later than what is judged
    return record.closed_at_ms <= max(started_at_ms, judgement.judged_through_ms)
