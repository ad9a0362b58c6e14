"""Recomputing every row and decision from the log, and comparing them with the store, byte for byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import orjson

from consumers.services.judging import frozen_for, recompute
from consumers.services.profiles import profile_of
from consumers.services.refolding import Refolding
from consumers.store.engine import Store
from consumers.store.repositories.decisions import Decision, DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.pruning import ROWS, PruningRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.judgement.rows import Row
from domain.windows.fold import PartitionFold
from domain.windows.profile import ReferenceProfile
from domain.windows.progress import Progress
from domain.windows.rows import RowKey, WindowRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first decision that the log does not bear out. One side is None if only the other has it."""

    stored: Decision | None
    recomputed: Decision | None

    @property
    def decision(self) -> Decision:
        """Whichever there is; the stored one first."""
        either = self.stored or self.recomputed
        assert either is not None  # noqa: S101 - made with at least one of them
        return either


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What a replay found. `first_row` is the first stored window row that differs, in judging order."""

    decisions: int
    rows: int
    row_differences: int
    first_row: RowKey | None
    first_difference: Difference | None

    @property
    def equal(self) -> bool:
        return self.first_difference is None and self.row_differences == 0


@dataclass(slots=True)
class _Rows:
    """Recomputed rows by key."""

    by_key: dict[RowKey, WindowRow] = field(default_factory=dict)

    def of_model(self, model: str, through_ms: int) -> list[Row]:
        mine = [row for key, row in self.by_key.items() if key.model == model and row.due_ms <= through_ms]
        mine.sort(key=judging_order)
        return [
            Row(
                key=row.key,
                due_ms=row.due_ms,
                body=orjson.loads(row.body),
                digest=sha256(row.body).hexdigest(),
            )
            for row in mine
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """One snapshot of all that a replay compares."""

    length_ms: int
    """Of a window."""
    rows: Mapping[RowKey, tuple[int, bytes]]
    """Due time and SHA-256 of the body."""
    progress: Mapping[int, Progress]
    judged: Mapping[str, int]
    """By model, how far it is judged."""
    decisions: Sequence[Decision]
    pruned_through_ms: int
    """Rows that fell due by then are deleted."""

    def claims(self, row: WindowRow) -> bool:
        """Whether the row must be there by what the workers say of their progress."""
        at = self.progress.get(row.key.partition)
        if (
            row.due_ms <= self.pruned_through_ms
            or at is None
            or row.key.window_start_ms + self.length_ms > at.inputs_through_ms
        ):
            return False
        return row.key.kind == "input" or row.due_ms <= at.outcomes_through_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaying:
    """Replays a deployment's log against its store; writes nothing.

    Recomputed rows are held in memory with their bodies, of all models at once, and the rows of one model as
    parsed JSON while it is judged: memory grows with the number of rows. Of the stored rows only digests are.
    """

    store: Store
    refolding: Refolding

    async def replay(self) -> ReplayReport:
        """Recompute all rows and decisions. Raises LogIncomplete.

        The store is read first: all it holds then is in the log already, also while workers go on.
        """
        stored = await self._stored()
        rows = await self._refold()
        recomputed: list[Decision] = []
        async with self.store.read() as session:
            for model, judged_through_ms in stored.judged.items():
                recomputed += await self._decisions(session, model, judged_through_ms, rows)
        differing = _differing_rows(stored, rows)
        return ReplayReport(
            decisions=len(recomputed),
            rows=len(stored.rows),
            row_differences=len(differing),
            first_row=min(differing)[1] if differing else None,
            first_difference=first_difference(stored.decisions, recomputed),
        )

    async def verify(self, decision: Decision) -> Decision | None:
        """The same decision recomputed from the log; None if the log does not lead to it."""
        rows = await self._refold()
        async with self.store.read() as session:
            recomputed = await self._decisions(session, decision.model, decision.at_ms, rows)
        return next((each for each in recomputed if each.decision_id == decision.decision_id), None)

    async def _refold(self) -> _Rows:
        rows = _Rows()
        profiles: dict[tuple[str, str], ReferenceProfile] = {}

        async def close(fold: PartitionFold) -> None:
            if not fold.closable():
                return
            wanted = fold.closing_versions() - profiles.keys()
            if wanted:
                async with self.store.read() as session:
                    found = await ProfileRepository(session).get_many(wanted)
                profiles.update({key: profile_of(profile) for key, profile in found.items()})
            rows.by_key.update({row.key: row for row in fold.close(profiles).rows})

        async with self.store.read() as session:
            partitions = await DeploymentRepository(session).get("partitions")
        for partition in range(partitions or 0):
            await self.refolding.fold(Progress.start(partition), close)
        return rows

    async def _stored(self) -> _Stored:
        async with self.store.read() as session:
            tallies = TallyRepository(session)
            return _Stored(
                length_ms=self.refolding.policy.length_ms,
                rows={row.key: (row.due_ms, sha256(row.body).digest()) async for row in tallies.all_rows()},
                progress={each.partition: each for each in await tallies.all_progress()},
                judged={
                    each.model: each.judged_through_ms for each in await JudgementRepository(session).all()
                },
                decisions=await DecisionRepository(session).list(),
                pruned_through_ms=await PruningRepository(session).through_ms(ROWS),
            )

    async def _decisions(
        self, session: ReadSession, model: str, through_ms: int, rows: _Rows
    ) -> list[Decision]:
        mine = rows.of_model(model, through_ms)
        frozen = await frozen_for(session, model, mine, self.refolding.policy.length_ms)
        decisions, _ = recompute(model, mine, frozen)
        return decisions


def judging_order(row: WindowRow) -> tuple[int, str, int, int, str, str, str, int, int]:
    """The order in which the store hands rows to the judge."""
    k = row.key
    return (
        row.due_ms,
        k.kind,
        k.window_start_ms,
        k.horizon_s,
        k.version,
        k.variant,
        k.experiment,
        k.epoch,
        k.partition,
    )


def _differing_rows(stored: _Stored, rows: _Rows) -> list[tuple[int, RowKey]]:
    """Stored rows that the log does not lead to, and rows that should be stored and are not."""
    differing = []
    for key, (due_ms, digest) in stored.rows.items():
        again = rows.by_key.get(key)
        if again is None or sha256(again.body).digest() != digest:
            differing.append((due_ms, key))
    differing += [
        (row.due_ms, key) for key, row in rows.by_key.items() if key not in stored.rows and stored.claims(row)
    ]
    return differing


def first_difference(stored: Sequence[Decision], recomputed: Sequence[Decision]) -> Difference | None:
    """The earliest decision, in event time, that only one side has or that differs in a byte."""
    left = {decision.decision_id: decision for decision in stored}
    right = {decision.decision_id: decision for decision in recomputed}
    differing = [
        Difference(stored=left.get(key), recomputed=right.get(key))
        for key in left.keys() | right.keys()
        if key not in left or key not in right or left[key].body != right[key].body
    ]
    return min(
        differing, key=lambda d: (d.decision.at_ms, d.decision.model, d.decision.decision_id), default=None
    )
