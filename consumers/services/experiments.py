"""Experiments: a frozen plan, one running per model, offered to routers, ended by a verdict or by a person.

Stateless, like all services: every method works in the caller's transaction and never commits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumers.services.budgets import account_of
from consumers.services.context import ServiceContext
from consumers.services.identity import experiment_event_id
from consumers.services.registry import Registry
from consumers.store.errors import NotFound
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.session import WriteSession
from domain.errors import DomainError, InvalidField
from domain.experiments.budget import Quarter
from domain.experiments.plan import ExperimentPlan, Variant
from domain.experiments.status import (
    EXPERIMENTS,
    Cancel,
    ConcludePromoted,
    ConcludeRolledBack,
    ExperimentStatus,
    Start,
)
from domain.transitions import after
from schemas.clock import from_ms
from schemas.events import AllocationStrategy, ExperimentChanged, ModelStage, VariantOffer
from schemas.events import ExperimentStatus as WireStatus

PROMOTE = "PROMOTE"
CHAMPION, CHALLENGER = "champion", "challenger"
_GIVEN_BY_US = ("experiment", "model", "variants")


class NotComparable(DomainError):
    """The plan's versions are not where they must be: champion PRODUCTION, challengers STAGING."""

    def __init__(self, experiment: str, version: str, needed: ModelStage, found: ModelStage | None) -> None:
        super().__init__(
            f"experiment {experiment}: version {version} must be {needed.value}, "
            f"and is {found.value if found else 'not registered'}"
        )
        self.experiment, self.version, self.needed, self.found = experiment, version, needed, found


def plan_from_template(
    template: object, *, experiment: str, model: str, champion: str, challenger: str
) -> ExperimentPlan:
    """The plan of a champion against one challenger; `template` is the policy's `experiment` section.

    It holds every field of a plan but names and variants, and `challenger_share` (0.5) for a split of
    traffic. Raises InvalidField naming the field.
    """
    if not isinstance(template, Mapping):
        raise InvalidField("policy", "experiment", "an object", template)
    body: dict[str, Any] = dict(template)
    for name in _GIVEN_BY_US:
        if name in body:
            raise InvalidField("policy.experiment", name, "left out: it is filled in", body[name])
    share = body.pop("challenger_share", 0.5)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise InvalidField("policy.experiment", "challenger_share", "above 0 and below 1", share)
    split = body.get("strategy") == AllocationStrategy.PERCENTAGE_SPLIT.value
    ours = share if split else 0.0
    variants = [
        {"name": CHAMPION, "version": champion, "share": 1.0 - ours, "champion": True},
        {"name": CHALLENGER, "version": challenger, "share": ours, "champion": False},
    ]
    return ExperimentPlan.from_json({**body, "experiment": experiment, "model": model, "variants": variants})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentManager:
    context: ServiceContext
    registry: Registry

    async def create(self, session: WriteSession, plan: ExperimentPlan) -> ExperimentRecord:
        """Records the plan as CREATED; again is harmless. Raises ImmutableConflict for another plan."""
        experiments = ExperimentRepository(session)
        await experiments.add(
            ExperimentRecord(
                experiment_id=plan.experiment,
                model=plan.model,
                config=plan.to_json(),
                config_hash=plan.config_hash,
                status=WireStatus.CREATED,
            )
        )
        return await self._get(session, plan.experiment)

    async def start(self, session: WriteSession, experiment: str, *, at_ms: int) -> ExperimentRecord:
        """CREATED to RUNNING, and offers the arms to routers; one that runs already is left as it is.

        It starts no earlier than what the judge has judged: its rows count from there on. Its alpha is spent
        from the account of the quarter in which it starts. Raises NotComparable, AlphaBudgetSpent,
        ExperimentAlreadyRunning, IllegalTransition, NotFound.
        """
        record = await self._get(session, experiment)
        if record.status is WireStatus.RUNNING:
            return record
        await ModelRepository(session).get_model(record.model, for_update=True)
        plan = ExperimentPlan.from_json(record.config)
        await self._check_stages(session, plan)
        at_ms = await self._after_judged(session, record.model, at_ms)
        # the model is locked above: two that start at once spend one after the other
        account = await account_of(session, record.model, Quarter.of(at_ms))
        account.admit(experiment, plan.alpha)
        await self._set(session, record, Start, started_at_ms=at_ms)
        await ExperimentRepository(session).raise_epoch(experiment)
        return await self._announce(session, experiment, at_ms, None)

    async def conclude(
        self,
        session: WriteSession,
        experiment: str,
        *,
        verdict: str,
        decision_id: str,
        at_ms: int,
        winner: str | None = None,
    ) -> bool:
        """Ends a RUNNING experiment by its verdict; False, changing nothing, when it does not run any more.

        Challengers are archived, all but the `winner` of a PROMOTE: `Registry.promote` belongs into the same
        transaction.
        """
        record = await self._get(session, experiment)
        if record.status is not WireStatus.RUNNING:
            return False
        move = ConcludePromoted if verdict == PROMOTE else ConcludeRolledBack
        await self._set(session, record, move, decision_id=decision_id, closed_at_ms=at_ms)
        await self._announce(session, experiment, at_ms, decision_id)
        for variant in ExperimentPlan.from_json(record.config).treatments:
            if variant.version != winner:
                await self._archive(session, record, variant, verdict, decision_id, at_ms)
        return True

    async def cancel(
        self, session: WriteSession, experiment: str, *, at_ms: int = 0, decision_id: str | None = None
    ) -> bool:
        """Ends an experiment without a verdict; challengers stay in STAGING. False when it has ended already.

        What the judge has judged already stays judged, so it ends no earlier than that; without `at_ms` it
        ends right there, however far event time is from the wall clock: nothing is judged for it any more.
        """
        record = await self._get(session, experiment)
        if record.status not in (WireStatus.CREATED, WireStatus.RUNNING):
            return False
        begun_ms = max(at_ms, record.started_at_ms or 0)
        closed_at_ms = await self._after_judged(session, record.model, begun_ms)
        await self._set(session, record, Cancel, decision_id=decision_id, closed_at_ms=closed_at_ms)
        await self._announce(session, experiment, closed_at_ms, decision_id)
        return True

    async def _after_judged(self, session: WriteSession, model: str, at_ms: int) -> int:
        judgement = await JudgementRepository(session).load(model, for_update=True)
        return max(at_ms, judgement.judged_through_ms) if judgement else at_ms

    async def _get(self, session: WriteSession, experiment: str) -> ExperimentRecord:
        record = await ExperimentRepository(session).get(experiment)
        if record is None:
            raise NotFound("experiment", experiment)
        return record

    async def _set(
        self,
        session: WriteSession,
        record: ExperimentRecord,
        move: type[object],
        *,
        decision_id: str | None = None,
        started_at_ms: int | None = None,
        closed_at_ms: int | None = None,
    ) -> None:
        to = after(EXPERIMENTS, ExperimentStatus(record.status.value), move)
        await ExperimentRepository(session).set_status(
            record.experiment_id,
            record.status,
            WireStatus(to.value),
            decision_id=decision_id,
            started_at_ms=started_at_ms,
            closed_at_ms=closed_at_ms,
        )

    async def _check_stages(self, session: WriteSession, plan: ExperimentPlan) -> None:
        for variant in plan.variants:
            needed = ModelStage.PRODUCTION if variant.champion else ModelStage.STAGING
            found = await ModelRepository(session).get_version(plan.model, variant.version)
            if found is None or found.stage is not needed:
                stage = found.stage if found else None
                raise NotComparable(plan.experiment, variant.version, needed, stage)

    async def _archive(
        self,
        session: WriteSession,
        record: ExperimentRecord,
        loser: Variant,
        verdict: str,
        decision_id: str,
        at_ms: int,
    ) -> None:
        version = await ModelRepository(session).get_version(record.model, loser.version)
        if version is None or version.stage is not ModelStage.STAGING:
            return  # a person was quicker
        await self.registry.archive(
            session,
            record.model,
            loser.version,
            actor="judge",
            reason=f"experiment {record.experiment_id}: {verdict}",
            at_ms=at_ms,
            decision_id=decision_id,
        )

    async def _announce(
        self, session: WriteSession, experiment: str, at_ms: int, decision_id: str | None
    ) -> ExperimentRecord:
        record = await self._get(session, experiment)
        plan = ExperimentPlan.from_json(record.config)
        offers = [await self._offer(session, plan, variant) for variant in plan.variants]
        await self.context.promise(
            session,
            ExperimentChanged(
                event_id=experiment_event_id(experiment, record.status.value, record.epoch),
                occurred_at=from_ms(at_ms),
                model=record.model,
                experiment=experiment,
                status=record.status,
                strategy=AllocationStrategy(plan.strategy),
                epoch=record.epoch,
                salt=experiment,
                variants=tuple(offers),
                config_hash=record.config_hash,
                decision_id=decision_id,
            ),
        )
        return record

    async def _offer(self, session: WriteSession, plan: ExperimentPlan, variant: Variant) -> VariantOffer:
        version: VersionRecord | None = await ModelRepository(session).get_version(
            plan.model, variant.version
        )
        if version is None:
            raise NotFound("version", f"{variant.version} of {plan.model}")
        return VariantOffer(
            name=variant.name,
            version=variant.version,
            champion=variant.champion,
            share=variant.share,
            artifact_uri=version.artifact_uri,
            artifact_sha256=version.artifact_sha256,
        )
