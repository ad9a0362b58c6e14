"""The conservation law: every record of the log is accounted for, exactly once.

predictions: records = tallied + duplicate + late + invalid + heartbeats, and tallied = rows' n + open
outcomes:    records = matched + superseded + late + late corrections + orphan + invalid + open + heartbeats

Of both, what an operator skipped because it is damaged counts among the records, with the fate `skipped`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from consumers.services.refolding import Refolding
from consumers.store.engine import Store
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.pruning import OUTCOMES, PREDICTIONS, ROWS, PruningRepository
from consumers.store.repositories.skipped import SkippedRange, SkippedRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.windows.progress import Progress
from domain.windows.rows import ArrivalRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One partition of one hot topic: what the log holds and where each record went."""

    side: str
    partition: int
    records: int
    """Records ever appended, heartbeats among them."""
    fates: Mapping[str, int]
    """Counts by fate, stored rows and open state together."""
    in_rows: int | None
    """Predictions in input rows or in open windows; None for outcomes."""
    skipped_later: int = 0
    """Of those tallied: records that were skipped afterwards, so that their windows may have closed without
    them."""

    @property
    def unaccounted(self) -> int:
        """Records without a fate; 0 when the law holds."""
        return self.records - sum(self.fates.values())

    @property
    def balanced(self) -> bool:
        if self.in_rows is None or self.unaccounted:
            return self.unaccounted == 0
        return 0 <= self.fates["tallied"] - self.in_rows <= self.skipped_later


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciling:
    """Checks the law of every partition against log and store; writes nothing."""

    store: Store
    refolding: Refolding

    async def accounts(self) -> list[Account]:
        """Two accounts per partition. What no row accounts for yet is folded again from the low water."""
        accounts = []
        async with self.store.read() as session:
            tallies = TallyRepository(session)
            partitions = await DeploymentRepository(session).get("partitions") or 0
            progress = {each.partition: each for each in await tallies.all_progress()}
            ranges = await SkippedRepository(session).all()
            pruning = PruningRepository(session)
            rows_after_ms = await pruning.through_ms(ROWS)
            stored = await stored_counts(session, progress)
            in_rows = Counter({place[1]: sums["n"] for place, sums in stored.items() if place[0] == ROWS})
            async for row in tallies.all_rows():
                at = progress.get(row.key.partition)
                if row.key.kind != "input" or row.due_ms <= rows_after_ms:
                    continue
                if at is not None and row.due_ms <= at.inputs_through_ms:
                    in_rows[row.key.partition] += orjson.loads(row.body)["n"]
        for partition in range(partitions):
            refolded = await self.refolding.fold(progress.get(partition, Progress.start(partition)))
            pending = refolded.fold.pending()
            topics = self.refolding.topics
            for side, topic, records, waiting in (
                ("predictions", topics.predictions, refolded.predictions_offset, pending.predictions),
                ("outcomes", topics.outcomes, refolded.outcomes_offset, pending.outcomes),
            ):
                counts = stored.get((side, partition), Counter()) + Counter(waiting)
                fates = {
                    name: counts[name] for name in sorted(counts.keys() | waiting.keys()) if name != "read"
                }
                if skipped := _skipped(ranges, topic, partition, records):
                    fates["skipped"] = skipped
                accounts.append(
                    Account(
                        side=side,
                        partition=partition,
                        records=records,
                        fates=fates,
                        in_rows=in_rows[partition] + pending.open_predictions
                        if side == "predictions"
                        else None,
                        skipped_later=sum(each.tallied for each in _of(ranges, topic, partition)),
                    )
                )
        return accounts


async def stored_counts(
    session: ReadSession, progress: Mapping[int, Progress]
) -> dict[tuple[str, int], Counter[str]]:
    """Counts of all rows that `progress` claims, pruned ones too, by (side or `ROWS`, partition).

    Of a side they are those of the partition's first records, one stretch of it.
    """
    pruning = PruningRepository(session)
    stored = {place: Counter(each.counts) for place, each in (await pruning.pruned()).items()}
    from_ms = {side: await pruning.through_ms(side) for side in (PREDICTIONS, OUTCOMES)}
    # Rows beyond the progress are another worker's, whose progress was not the one to keep: the low water's
    # fold will count their records once more.
    async for arrival in TallyRepository(session).all_arrivals():
        at = progress.get(arrival.partition)
        if at is None or not _claimed_arrival(arrival, at):
            continue
        if arrival.window_start_ms < from_ms[arrival.side]:
            continue  # deleted, and inserted again by a worker that was behind
        stored.setdefault((arrival.side, arrival.partition), Counter()).update(orjson.loads(arrival.body))
    return stored


def _skipped(ranges: Sequence[SkippedRange], topic: str, partition: int, offset: int) -> int:
    """Records of a partition before `offset` that nobody reads."""
    return sum(each.lost for each in _of(ranges, topic, partition) if each.first_offset < offset)


def _of(ranges: Sequence[SkippedRange], topic: str, partition: int) -> list[SkippedRange]:
    return [each for each in ranges if (each.topic, each.partition) == (topic, partition)]


def _claimed_arrival(arrival: ArrivalRow, progress: Progress) -> bool:
    through = (
        progress.prediction_arrivals_through_ms
        if arrival.side == "predictions"
        else progress.outcome_arrivals_through_ms
    )
    return arrival.window_start_ms < through
