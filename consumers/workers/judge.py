"""The judge: turns closed window rows into decisions, model by model, in the order in which rows fall due.

A row falls due at its window's end (inputs) or its cutoff (scores). Everything due up to
T = min over partitions of min(inputs_through, outcomes_through) is in the table, so the judge takes one
model's rows up to T in one order, whatever order they were written in. State, decisions and events of
a slice of due time move in one transaction under the model's lock: any number of judges may run, and one that
meets another goes on to the next model.
"""

from dataclasses import dataclass, field

from consumers.logger import get_logger
from consumers.metrics import DecisionCounts
from consumers.services.judging import NEVER_MS, Judging, judged_clock
from consumers.store.engine import Store
from consumers.store.errors import Refused, StaleJudgement
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.tallies import TallyRepository
from domain.errors import DomainError
from schemas.clock import from_ms

_log = get_logger("judge")
# what the store refuses is that model's too: a decision taken by other evidence, an episode that is gone
_OF_THE_MODEL = (ArithmeticError, DomainError, Refused, ValueError)


@dataclass(slots=True)
class JudgeCounts:
    """What one judge has done since it started."""

    rows: int = 0
    decisions: int = 0
    failed: int = 0
    """Judgements that ended in an error which is the model's own; they are tried again."""
    passed_over: int = 0
    """Models that somebody else was at; they are looked at again."""
    made: DecisionCounts = field(default_factory=DecisionCounts)


@dataclass(slots=True, kw_only=True)
class JudgeWorker:
    """`await step()` judges every model that has something due; returns the number of rows judged.

    A model whose judgement fails by what is in its rows or configuration, or is refused by the store, is
    logged and tried again at the next step; the others are judged. A store that is away ends the step.
    """

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
        before, done = self.counts.rows, True
        for model in models:
            try:
                done = await self._judge(model, through_ms) and done
            except StaleJudgement:
                done = False  # another judge went further meanwhile
            except _OF_THE_MODEL as error:
                done = False
                self.counts.failed += 1
                _log.error("judge.failed", model=model, error=type(error).__name__, reason=str(error))
        if done:
            self._judged_to_ms = through_ms
        return self.counts.rows - before

    async def _judge(self, model: str, through_ms: int) -> bool:
        """All that the model has due, one transaction for each slice. False when somebody else is at it."""
        more = True
        while more:
            async with self.store.write() as session:
                if not await JudgementRepository(session).claim(model):
                    self.counts.passed_over += 1
                    return False
                outcome = await self.judging.judge(session, model, through_ms)
            more = outcome.more
            self.counts.rows += outcome.rows
            self.counts.decisions += len(outcome.decisions)
            for decision in outcome.decisions:
                late_s = self.judging.context.now().timestamp() - decision.window_end_ms / 1_000
                self.counts.made.add(decision.kind, late_s)
                _log.info(
                    f"judge.{decision.kind}",
                    model=model,
                    subject=decision.subject,
                    decision=decision.decision_id,
                    at=from_ms(decision.at_ms).isoformat(),
                )
        return True
