"""How an experiment is moved: under its model's lock, by the table, into the history, and announced.

The parts that every order of `consumers.services.experiments` is made of; what each order means is there.
"""

from dataclasses import dataclass

from consumers.services.context import ServiceContext
from consumers.services.dated_plans import shares_of
from consumers.services.identity import experiment_event_id
from consumers.services.registry import MAX_REASON, closed_through_ms
from consumers.store.errors import NotFound
from consumers.store.repositories.decisions import Decision, DecisionRepository
from consumers.store.repositories.experiments import ExperimentMove, ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.session import ReadSession, WriteSession
from domain.experiments.handling import VerdictPolicy
from domain.experiments.plan import ExperimentPlan, Variant
from domain.experiments.ramps import Shares
from domain.experiments.status import EXPERIMENTS, ExperimentStatus, Pause
from domain.transitions import after
from schemas.clock import from_ms
from schemas.events import AllocationStrategy, ExperimentChanged, VariantOffer
from schemas.events import ExperimentStatus as WireStatus


def standing(record: ExperimentRecord, last_move: str | None) -> ExperimentStatus:
    """Where it is in the table of moves: to routers a paused experiment is a running one with one arm."""
    if record.status is WireStatus.RUNNING and last_move == Pause.__name__:
        return ExperimentStatus.PAUSED
    return ExperimentStatus(record.status.value)


async def standing_of(session: ReadSession, record: ExperimentRecord) -> ExperimentStatus:
    """The same, with the history read."""
    moves = await ExperimentRepository(session).moves(record.experiment_id)
    return standing(record, moves[-1].move if moves else None)


async def verdict_of(session: ReadSession, record: ExperimentRecord) -> Decision | None:
    """What the judge decided about it, carried out or not."""
    verdicts = await DecisionRepository(session).list(model=record.model, kind="verdict")
    return next((each for each in verdicts if each.subject == record.experiment_id), None)


async def event_time_ms(session: ReadSession, model: str, wall_ms: int) -> int:
    """How far event time has got for the model: judged or closed; the wall clock before anything is."""
    judgement = await JudgementRepository(session).load(model, for_update=False)
    judged_ms = judgement.judged_through_ms if judgement else 0
    return max(judged_ms, await closed_through_ms(session)) or wall_ms


async def waits(session: ReadSession, model: str, verdict: str, at_ms: int) -> bool:
    """Whether the policy in force at `at_ms` leaves this verdict to a person."""
    policy = await PolicyRepository(session).in_force(model, at_ms)
    return VerdictPolicy.of_document(policy.body if policy else {}).waits(verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentMoves:
    """Stateless; every method works in the caller's transaction."""

    context: ServiceContext

    async def locked(self, session: WriteSession, experiment: str) -> ExperimentRecord:
        """The record as nobody else can change it until the transaction ends."""
        record = await self.get(session, experiment)
        await ModelRepository(session).get_model(record.model, for_update=True)
        return await self.get(session, experiment)

    async def get(self, session: WriteSession, experiment: str) -> ExperimentRecord:
        """The record. Raises NotFound."""
        record = await ExperimentRepository(session).get(experiment)
        if record is None:
            raise NotFound("experiment", experiment)
        return record

    async def from_now(self, session: WriteSession, record: ExperimentRecord, at_ms: int = 0) -> int:
        """Where an order takes effect: later than everything that is judged, however far that has got."""
        return await self.after_judged(session, record.model, max(at_ms, record.started_at_ms or 0))

    async def after_judged(self, session: WriteSession, model: str, at_ms: int) -> int:
        """`at_ms`, or how far the model is judged if that is later."""
        judgement = await JudgementRepository(session).load(model, for_update=True)
        return max(at_ms, judgement.judged_through_ms) if judgement else at_ms

    async def shares(self, session: WriteSession, plan: ExperimentPlan) -> Shares:
        """What the arms get, or will get again when a pause ends."""
        return shares_of(plan, await ExperimentRepository(session).moves(plan.experiment))

    async def set_status(
        self,
        session: WriteSession,
        record: ExperimentRecord,
        move: type[object],
        *,
        decision_id: str | None = None,
        started_at_ms: int | None = None,
        closed_at_ms: int | None = None,
    ) -> None:
        """By compare-and-set, along the table.

        Raises IllegalTransition, StaleExperiment, ExperimentAlreadyRunning.
        """
        to = after(EXPERIMENTS, await standing_of(session, record), move)
        await ExperimentRepository(session).set_status(
            record.experiment_id,
            record.status,
            WireStatus(to.value),
            decision_id=decision_id,
            started_at_ms=started_at_ms,
            closed_at_ms=closed_at_ms,
        )

    async def new_epoch(
        self,
        session: WriteSession,
        experiment: str,
        move: type[object],
        at_ms: int,
        actor: str,
        reason: str,
        shares: Shares | None = None,
    ) -> ExperimentRecord:
        """The next allocation epoch, remembered and offered to routers."""
        await ExperimentRepository(session).raise_epoch(experiment)
        record = await self.get(session, experiment)
        await self.remember(session, record, move, at_ms, actor, reason, shares)
        return await self.announce(session, experiment, at_ms, None)

    async def remember(
        self,
        session: WriteSession,
        record: ExperimentRecord,
        move: type[object],
        at_ms: int,
        actor: str,
        reason: str,
        shares: Shares | None = None,
    ) -> None:
        """Append to the history."""
        done = ExperimentMove(
            experiment_id=record.experiment_id,
            move=move.__name__,
            epoch=record.epoch,
            at_ms=at_ms,
            actor=actor,
            reason=reason[:MAX_REASON],
            shares=shares,
        )
        await ExperimentRepository(session).add_move(done, self.context.now())

    async def announce(
        self, session: WriteSession, experiment: str, at_ms: int, decision_id: str | None
    ) -> ExperimentRecord:
        """Promise the event with the experiment as it is now; routers obey its variants."""
        record = await self.get(session, experiment)
        plan = ExperimentPlan.of_record(record.config)
        shares: Shares = await self.shares(session, plan)
        if await standing_of(session, record) is ExperimentStatus.PAUSED:
            shares = {plan.champion.name: 1.0}
        offers = [
            await self._offer(session, plan, variant, shares[variant.name])
            for variant in plan.variants
            if variant.name in shares
        ]
        await self.context.promise(
            session,
            ExperimentChanged(
                event_id=experiment_event_id(experiment, record.status.value, record.epoch),
                occurred_at=from_ms(at_ms),
                model=record.model,
                experiment=experiment,
                status=record.status,
                strategy=AllocationStrategy("NAMED_SEGMENTS" if plan.segments else plan.strategy),
                epoch=record.epoch,
                salt=experiment,
                variants=tuple(offers),
                segments=plan.segments,
                period_ms=plan.period_ms,
                config_hash=record.config_hash,
                decision_id=decision_id,
            ),
        )
        return record

    async def _offer(
        self, session: WriteSession, plan: ExperimentPlan, variant: Variant, share: float
    ) -> VariantOffer:
        version: VersionRecord | None = await ModelRepository(session).get_version(
            plan.model, variant.version
        )
        if version is None:
            raise NotFound("version", f"{variant.version} of {plan.model}")
        return VariantOffer(
            name=variant.name,
            version=variant.version,
            champion=variant.champion,
            share=share,
            artifact_uri=version.artifact_uri,
            artifact_sha256=version.artifact_sha256,
        )
