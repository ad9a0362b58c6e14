"""How the arms of an experiment do now, from what the judge holds or the verdict that it gave."""

from consumers.services.dated_plans import shares_of
from consumers.services.experiment_moves import standing_of
from consumers.services.trial_paths import judged_numbers, trial_path
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.session import ReadSession
from domain.experiments.performance import VariantPerformance, performances
from domain.experiments.plan import ExperimentPlan
from domain.experiments.ramps import Shares
from domain.experiments.status import ExperimentStatus


async def performance_of(
    session: ReadSession, record: ExperimentRecord, length_ms: int, *, own: bool = False
) -> tuple[VariantPerformance, ...]:
    """Every arm. The judge keeps nothing of an experiment that a person ended: then its rows are read, and so
    they are for what each arm scored on its `own`."""
    plan = ExperimentPlan.of_record(record.config)
    numbers, levels = await judged_numbers(session, record, plan), None
    ended = numbers is None and record.started_at_ms is not None and record.ended_by_person
    if own or ended:
        told = await trial_path(session, record.experiment_id, length_ms)
        if told is not None:
            numbers = told.last if ended else numbers
            levels = told.levels if own else None
    return performances(plan, await present_shares(session, record, plan), numbers, levels)


async def present_shares(session: ReadSession, record: ExperimentRecord, plan: ExperimentPlan) -> Shares:
    """What each arm gets of the traffic now, or got at last; nothing but the champion's while paused."""
    if await standing_of(session, record) is ExperimentStatus.PAUSED:
        return {plan.champion.name: 1.0}
    return shares_of(plan, await ExperimentRepository(session).moves(record.experiment_id))
