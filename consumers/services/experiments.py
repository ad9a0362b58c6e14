"""Experiments: a frozen plan, one running per model, offered to routers, ended by a verdict or by a person.

Stateless, like all services: every method works in the caller's transaction and never commits. Every move
holds the model's lock, follows `domain.experiments.status`, is appended to the history and announced; one
that the table does not allow raises IllegalTransition before anything is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from consumers.services.budgets import account_of
from consumers.services.calibrations import require_calibrated
from consumers.services.context import ServiceContext
from consumers.services.experiment_moves import ExperimentMoves, standing_of, verdict_of
from consumers.services.identity import hold_back_id
from consumers.services.registry import Registry
from consumers.store.repositories.experiments import (
    ExperimentRecord,
    ExperimentRepository,
)
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from domain.errors import DomainError, InvalidField
from domain.experiments.budget import Quarter
from domain.experiments.plan import ExperimentPlan, Variant
from domain.experiments.ramps import Shares, ramped
from domain.experiments.reversal import reversed_plan
from domain.experiments.status import (
    EXPERIMENTS,
    Cancel,
    ConcludePromoted,
    ConcludeRolledBack,
    ExperimentStatus,
    Pause,
    Ramp,
    Resume,
    Start,
    Stop,
)
from domain.transitions import after
from schemas.events import AllocationStrategy, ModelStage
from schemas.events import ExperimentStatus as WireStatus

PROMOTE, ROLL_BACK = "PROMOTE", "ROLL_BACK"
CHAMPION, CHALLENGER = "champion", "challenger"
AUTOMATION = "lifecycle"
_GIVEN_BY_US = ("experiment", "model", "variants", "reverses")


class NoVerdict(DomainError):
    """There is nothing to carry out."""

    def __init__(self, experiment: str) -> None:
        super().__init__(f"experiment {experiment} has no verdict yet; stopping it ends it without one")
        self.experiment = experiment


class NotComparable(DomainError):
    """The plan's versions are not where they must be: champion PRODUCTION, challengers STAGING (held back:
    ARCHIVED)."""

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
    ours = 0.0 if body.get("strategy") == AllocationStrategy.SHADOW_MODE.value else share
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
        return await self._moves.get(session, plan.experiment)

    async def start(
        self,
        session: WriteSession,
        experiment: str,
        *,
        at_ms: int,
        actor: str = AUTOMATION,
        reason: str = "",
    ) -> ExperimentRecord:
        """CREATED to RUNNING, and offers the arms to routers; one that runs already is left as it is.

        It starts no earlier than what the judge has judged: its rows count from there on. Its alpha is spent
        from the account of the quarter in which it starts; a hold-back promotes nothing new and spends none.
        Raises NotComparable, AlphaBudgetSpent, ExperimentAlreadyRunning, IllegalTransition, NotFound.
        """
        record = await self._moves.locked(session, experiment)
        standing = await standing_of(session, record)
        if standing is ExperimentStatus.RUNNING:
            return record
        after(EXPERIMENTS, standing, Start)
        plan = ExperimentPlan.of_record(record.config)
        await self._check_stages(session, plan)
        at_ms = await self._moves.after_judged(session, record.model, at_ms)
        await require_calibrated(session, plan, at_ms)
        if plan.reverses is None:
            # the model is locked above: two that start at once spend one after the other
            account = await account_of(session, record.model, Quarter.of(at_ms))
            account.admit(experiment, plan.alpha)
        await self._moves.set_status(session, record, Start, started_at_ms=at_ms)
        return await self._moves.new_epoch(session, experiment, Start, at_ms, actor, reason)

    async def ramp(
        self, session: WriteSession, experiment: str, shares: Shares, *, actor: str, reason: str
    ) -> ExperimentRecord:
        """Gives challengers other `shares` and the champion the rest, in a new allocation epoch.

        The plan stays frozen, and the evidence goes on. Raises InvalidRamp, IllegalTransition unless it is
        RUNNING, NotFound.
        """
        record = await self._moves.locked(session, experiment)
        after(EXPERIMENTS, await standing_of(session, record), Ramp)
        plan = ExperimentPlan.of_record(record.config)
        given = ramped(plan, await self._moves.shares(session, plan), shares)
        at_ms = await self._moves.from_now(session, record)
        return await self._moves.new_epoch(session, experiment, Ramp, at_ms, actor, reason, given)

    async def pause(
        self, session: WriteSession, experiment: str, *, actor: str, reason: str
    ) -> ExperimentRecord:
        """Gives all traffic to the champion until `resume`, shadows included; the evidence stays.

        Its longest duration goes on, and outcomes that are under way still count: they may roll it back; a
        promotion waits for a person. Raises IllegalTransition unless it is RUNNING, NotFound.
        """
        record = await self._moves.locked(session, experiment)
        after(EXPERIMENTS, await standing_of(session, record), Pause)
        at_ms = await self._moves.from_now(session, record)
        return await self._moves.new_epoch(session, experiment, Pause, at_ms, actor, reason)

    async def resume(
        self, session: WriteSession, experiment: str, *, actor: str, reason: str
    ) -> ExperimentRecord:
        """Gives the arms back what they had, in a new epoch. Raises IllegalTransition, NotFound."""
        record = await self._moves.locked(session, experiment)
        after(EXPERIMENTS, await standing_of(session, record), Resume)
        given = await self._moves.shares(session, ExperimentPlan.of_record(record.config))
        at_ms = await self._moves.from_now(session, record)
        return await self._moves.new_epoch(session, experiment, Resume, at_ms, actor, reason, given)

    async def conclude(
        self,
        session: WriteSession,
        experiment: str,
        *,
        verdict: str,
        decision_id: str,
        at_ms: int,
        winner: str | None = None,
        actor: str = "judge",
        reason: str | None = None,
    ) -> bool:
        """Ends a RUNNING experiment by its verdict; False, changing nothing, when it does not run any more.

        Challengers are archived, all but the `winner` of a PROMOTE: `Registry.promote` belongs into the same
        transaction.
        """
        record = await self._moves.locked(session, experiment)
        if record.status is not WireStatus.RUNNING:
            return False
        move = ConcludePromoted if verdict == PROMOTE else ConcludeRolledBack
        why = f"experiment {experiment}: {verdict}" if reason is None else reason
        await self._moves.set_status(session, record, move, decision_id=decision_id, closed_at_ms=at_ms)
        await self._moves.remember(session, record, move, at_ms, actor, why)
        await self._moves.announce(session, experiment, at_ms, decision_id)
        for variant in ExperimentPlan.of_record(record.config).treatments:
            if variant.version != winner:
                await self._archive(session, record, variant, actor, why, at_ms, decision_id)
        return True

    async def complete(self, session: WriteSession, experiment: str, *, actor: str, reason: str) -> str:
        """Carries out the verdict that waits for a person; its kind.

        Raises NoVerdict, IllegalTransition if it has ended, WrongStage or StalePromotion if another version
        is PRODUCTION by now, NotFound; then nothing is changed.
        """
        record = await self._moves.locked(session, experiment)
        decided = await verdict_of(session, record)
        if decided is None:
            after(EXPERIMENTS, await standing_of(session, record), ConcludePromoted)
            raise NoVerdict(experiment)
        evidence = orjson.loads(decided.body)["evidence"]
        promotes = evidence["verdict"] == PROMOTE
        move = ConcludePromoted if promotes else ConcludeRolledBack
        after(EXPERIMENTS, await standing_of(session, record), move)
        at_ms = await self._moves.after_judged(session, record.model, decided.at_ms)
        if promotes:
            await self.promote(
                session,
                experiment,
                version=evidence["version"],
                expected_production=evidence["champion_version"],
                decision_id=decided.decision_id,
                at_ms=at_ms,
                actor=actor,
                reason=reason,
            )
        else:
            await self.conclude(
                session,
                experiment,
                verdict=evidence["verdict"],
                decision_id=decided.decision_id,
                at_ms=at_ms,
                actor=actor,
                reason=reason,
            )
        return str(evidence["verdict"])

    async def promote(
        self,
        session: WriteSession,
        experiment: str,
        *,
        version: str,
        expected_production: str | None,
        decision_id: str,
        at_ms: int,
        actor: str,
        reason: str,
    ) -> int:
        """Ends it for its winner, which becomes PRODUCTION, and begins its hold-back; the model's new epoch.

        What a hold-back held back is restored. Raises WrongStage, StalePromotion, NotFound; then nothing is
        changed.
        """
        record = await self._moves.locked(session, experiment)
        plan = ExperimentPlan.of_record(record.config)
        enter = self.registry.promote if plan.reverses is None else self.registry.restore
        async with session.savepoint():
            await self.conclude(
                session,
                experiment,
                verdict=PROMOTE,
                decision_id=decision_id,
                at_ms=at_ms,
                winner=version,
                actor=actor,
                reason=reason,
            )
            epoch = await enter(
                session,
                record.model,
                version,
                expected_production=expected_production,
                actor=actor,
                reason=reason,
                at_ms=at_ms,
                decision_id=decision_id,
            )
            if plan.hold_back is not None:
                name = hold_back_id(experiment)
                held = reversed_plan(plan, plan.hold_back, experiment=name, version=version)
                await self.create(session, held)
                await self.start(session, name, at_ms=at_ms, reason=f"hold-back of {experiment}")
        return epoch

    async def stop(
        self, session: WriteSession, experiment: str, *, actor: str, reason: str
    ) -> ExperimentRecord:
        """Ends it INCONCLUSIVE in the name of a person: the champion stays, challengers are archived.

        Rows that are judged later do not count. Raises IllegalTransition unless it is RUNNING or PAUSED,
        NotFound.
        """
        record = await self._moves.locked(session, experiment)
        after(EXPERIMENTS, await standing_of(session, record), Stop)
        at_ms = await self._moves.from_now(session, record)
        await self._moves.set_status(session, record, Stop, closed_at_ms=at_ms)
        await self._moves.remember(session, record, Stop, at_ms, actor, reason)
        ended = await self._moves.announce(session, experiment, at_ms, None)
        for variant in ExperimentPlan.of_record(record.config).treatments:
            await self._archive(session, record, variant, actor, reason, at_ms, None)
        return ended

    async def cancel(
        self,
        session: WriteSession,
        experiment: str,
        *,
        at_ms: int = 0,
        decision_id: str | None = None,
        actor: str = AUTOMATION,
        reason: str = "",
    ) -> bool:
        """Ends an experiment without a verdict; challengers stay in STAGING. False when it has ended already.

        What the judge has judged already stays judged, so it ends no earlier than that; without `at_ms` it
        ends right there, however far event time is from the wall clock: nothing is judged for it any more.
        """
        record = await self._moves.locked(session, experiment)
        if record.status not in (WireStatus.CREATED, WireStatus.RUNNING):
            return False
        closed_at_ms = await self._moves.from_now(session, record, at_ms)
        await self._moves.set_status(
            session, record, Cancel, decision_id=decision_id, closed_at_ms=closed_at_ms
        )
        await self._moves.remember(session, record, Cancel, closed_at_ms, actor, reason)
        await self._moves.announce(session, experiment, closed_at_ms, decision_id)
        return True

    @property
    def _moves(self) -> ExperimentMoves:
        return ExperimentMoves(context=self.context)

    async def _check_stages(self, session: WriteSession, plan: ExperimentPlan) -> None:
        for variant in plan.variants:
            tried = ModelStage.STAGING if plan.reverses is None else ModelStage.ARCHIVED
            needed = ModelStage.PRODUCTION if variant.champion else tried
            found = await ModelRepository(session).get_version(plan.model, variant.version)
            if found is None or found.stage is not needed:
                stage = found.stage if found else None
                raise NotComparable(plan.experiment, variant.version, needed, stage)

    async def _archive(
        self,
        session: WriteSession,
        record: ExperimentRecord,
        loser: Variant,
        actor: str,
        reason: str,
        at_ms: int,
        decision_id: str | None,
    ) -> None:
        version = await ModelRepository(session).get_version(record.model, loser.version)
        if version is None or version.stage is not ModelStage.STAGING:
            return  # a person was quicker
        await self.registry.archive(
            session,
            record.model,
            loser.version,
            actor=actor,
            reason=reason,
            at_ms=at_ms,
            decision_id=decision_id,
        )
