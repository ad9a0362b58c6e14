"""The judge: turns closed window rows into decisions, model by model, in the order in which rows fall due.

A row falls due at its window's end (inputs) or its cutoff (scores). Everything due up to
T = min over partitions of min(inputs_through, outcomes_through) is in the table, so the judge takes one
model's rows up to T in one order, whatever order they were written in. State, decisions and events move in
one transaction under the model's row lock: any number of judges may run.
"""

from dataclasses import dataclass, field

from consumers.logger import get_logger
from consumers.services.judging import NEVER_MS, Judging
from consumers.store.engine import Store
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from schemas.clock import from_ms

_log = get_logger("judge")


@dataclass(slots=True)
class JudgeCounts:
    """What one judge has done since it started."""

    rows: int = 0
    decisions: int = 0


@dataclass(slots=True, kw_only=True)
class JudgeWorker:
    """`await step()` judges every model that has something due; returns the number of rows judged."""

    store: Store
    judging: Judging
    counts: JudgeCounts = field(default_factory=JudgeCounts)
    _judged_to_ms: int | None = None

    async def step(self) -> int:
        """Judge all that is due. Returns the number of rows judged; 0 means idle."""
        async with self.store.read() as session:
            through_ms = await judged_clock(session)
            if through_ms is None or through_ms == self._judged_to_ms:
                return 0
            after_ms = NEVER_MS if self._judged_to_ms is None else self._judged_to_ms
            models = await TallyRepository(session).models_with_rows(after_ms)
        rows = 0
        for model in models:
            async with self.store.write() as session:
                outcome = await self.judging.judge(session, model, through_ms)
            rows += outcome.rows
            self.counts.rows += outcome.rows
            self.counts.decisions += len(outcome.decisions)
            for decision in outcome.decisions:
                _log.info(
                    f"judge.{decision.kind}",
                    model=model,
                    subject=decision.subject,
                    decision=decision.decision_id,
                    at=from_ms(decision.at_ms).isoformat(),
                )
        self._judged_to_ms = through_ms
        return rows


async def judged_clock(session: ReadSession) -> int | None:
    """The time up to which every partition's rows are in the table; None before all of them reported."""
    partitions = await DeploymentRepository(session).get("partitions")
    progress = await TallyRepository(session).all_progress()
    if not isinstance(partitions, int) or len(progress) < partitions:
        return None
    return min(min(p.inputs_through_ms, p.outcomes_through_ms) for p in progress)
