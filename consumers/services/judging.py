"""Judging one model in one transaction: rows due, the pure judgement, and its effects.

`recompute` is the same judgement without a store's state behind it; replay and verify use it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import orjson

from consumers.services.context import ServiceContext
from consumers.services.dated_plans import dated_plan
from consumers.services.decisions import decision_id, event_of
from consumers.services.experiment_moves import waits
from consumers.services.experiments import ExperimentManager
from consumers.services.muting import dated_mutes
from consumers.services.remembered import RememberedProfiles
from consumers.store.repositories.decisions import Decision as StoredDecision
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.episodes import Episode, EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import StoredRow, TallyRepository
from consumers.store.session import ReadSession, WriteSession
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.judge import Frozen, judge
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.judgement.trials import DatedPlan
from schemas.events import DriftType

CODE_VERSION = version("gal-friday-lifecycle")
_PROFILES = RememberedProfiles()
NEVER_MS = -(2**62)
"""Earlier than any event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one call did."""

    rows: int
    decisions: Sequence[StoredDecision]
    more: bool = False
    """Whether there may be more that is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Judges models; stateless between calls, so any number may run."""

    context: ServiceContext
    experiments: ExperimentManager
    slice_rows: int = 5_000
    """Rows judged in one transaction, and those that fall due together with the last of them."""

    async def judge(self, session: WriteSession, model: str, through_ms: int) -> Judged:
        """Judge a slice of what `model` has due up to `through_ms`, all effects in the caller's transaction.

        A slice ends between two due times, so slices decide what the whole would: a judge that is far behind
        holds neither all rows nor the write lock for long.
        """
        judgements = JudgementRepository(session)
        before = await judgements.load(model, for_update=True)
        judged_through_ms = before.judged_through_ms if before else NEVER_MS
        stored = await TallyRepository(session).rows_due(
            model, judged_through_ms, through_ms, at_least=self.slice_rows
        )
        if not stored:
            return Judged(rows=0, decisions=())
        more = len(stored) >= self.slice_rows
        rows = [row_of(row) for row in stored]
        state = ModelState.from_json(before.state) if before else ModelState()
        frozen = await frozen_for(session, model, rows, self.context.windows.length_ms)
        decided = list(judge(model, state, rows, frozen))
        recorded = [await self._effect(session, decision) for decision in decided]
        await judgements.save(
            Judgement(
                model=model,
                judged_through_ms=rows[-1].due_ms if more else through_ms,
                state=state.to_json(),
                tallies_digest=state.tallies_digest,
            )
        )
        return Judged(rows=len(rows), decisions=recorded, more=more)

    async def _effect(self, session: WriteSession, decision: Decision) -> StoredDecision:
        recorded = stored_form(decision)
        await DecisionRepository(session).add(recorded, self.context.now())
        event = event_of(decision)
        if event is not None:
            await self.context.promise(session, event)
        match decision.kind:
            case DecisionKind.DRIFT:
                await EpisodeRepository(session).open(_episode(decision, recorded.decision_id))
            case DecisionKind.ESCALATION if decision.cause is not None:
                await EpisodeRepository(session).escalate(
                    decision_id(decision.cause), severity=decision.evidence["severity"]
                )
            case DecisionKind.RECOVERY if decision.cause is not None:
                await EpisodeRepository(session).close(
                    decision_id(decision.cause), closed_at_ms=decision.at_ms, closed_by=recorded.decision_id
                )
            case DecisionKind.VERDICT if decision.evidence["verdict"] != "PROMOTE":
                # A promotion is the registry's to apply, by compare-and-set; keeping the champion needs none.
                verdict = decision.evidence["verdict"]
                if not await waits(session, decision.model, verdict, decision.at_ms):
                    await self.experiments.conclude(
                        session,
                        decision.subject,
                        verdict=verdict,
                        decision_id=recorded.decision_id,
                        at_ms=decision.at_ms,
                    )
            case _:
                pass
        return recorded


async def judged_clock(session: ReadSession) -> int | None:
    """The time up to which every partition's rows are in the table; None before all of them reported."""
    partitions = await DeploymentRepository(session).get("partitions")
    progress = await TallyRepository(session).all_progress()
    if not isinstance(partitions, int) or len(progress) < partitions:
        return None
    return min(min(p.inputs_through_ms, p.outcomes_through_ms) for p in progress)


def row_of(stored: StoredRow) -> Row:
    """A stored row as the judgement reads it."""
    return Row(key=stored.key, due_ms=stored.due_ms, body=orjson.loads(stored.body), digest=stored.digest)


def stored_form(decision: Decision) -> StoredDecision:
    """The decision with its id, canonical bytes and digest: what the store keeps and replay compares."""
    return StoredDecision(
        decision_id=decision_id(decision.key),
        kind=decision.kind.value,
        model=decision.model,
        subject=decision.subject,
        at_ms=decision.at_ms,
        window_start_ms=decision.window_start_ms,
        window_end_ms=decision.window_end_ms,
        body=decision.body(),
        digest=decision.digest,
        config_hash=decision.config_hash,
        code_version=CODE_VERSION,
    )


async def frozen_for(session: ReadSession, model: str, rows: Sequence[Row], length_ms: int) -> Frozen:
    """The frozen configurations that judging `rows` reads.

    All experiments of the model that were ever started are among them, also those without a row here: they
    hold retraining, end by time, or were cancelled. So what is judged does not depend on how rows were cut
    into calls.
    """
    versions = {(model, row.key.version) for row in rows}
    profiles = await ProfileRepository(session).get_many(versions)
    policies = await PolicyRepository(session).all(model)
    return Frozen(
        length_ms=length_ms,
        policies=[
            DatedPolicy(effective_from_ms=p.effective_from_ms, policy=JudgementPolicy.from_json(p.body))
            for p in policies
        ],
        profiles={key[1]: _PROFILES.of(profile) for key, profile in profiles.items()},
        plans=await _plans(session, model),
        mutes=await dated_mutes(session, model),
    )


async def _plans(session: ReadSession, model: str) -> Mapping[str, DatedPlan]:
    plans: dict[str, DatedPlan] = {}
    experiments = ExperimentRepository(session)
    allocations = await experiments.allocations(model)
    for record in await experiments.list(model):
        if record.started_at_ms is not None:
            name = record.experiment_id
            plans[name] = dated_plan(record, record.started_at_ms, allocations.get(name, ()))
    return plans


def recompute(model: str, rows: Sequence[Row], frozen: Frozen) -> tuple[list[StoredDecision], dict[str, Any]]:
    """All decisions of one model from all its rows, and the state they leave."""
    state = ModelState()
    decided = [stored_form(decision) for decision in judge(model, state, rows, frozen)]
    return decided, state.to_json()


def _episode(decision: Decision, identity: str) -> Episode:
    evidence = decision.evidence
    return Episode(
        episode_id=identity,
        model=decision.model,
        version=evidence["version"],
        drift_type=DriftType(evidence["drift_type"]),
        severity=evidence["severity"],
        opened_at_ms=decision.at_ms,
        opened_by=identity,
    )
