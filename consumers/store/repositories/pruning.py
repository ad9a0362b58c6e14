"""Retention: deleting what nobody reads any more, a bounded part at a time, oldest first.

Of window and arrival rows sums stay behind, written in the transaction that deletes them: the conservation
law and the replay know from them what is not missing but deleted. A worker that was behind may insert
deleted rows once more. They lie before what the sums cover, so nobody counts them, and they go at the next
pruning.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import orjson
from sqlalchemy import ColumnElement, and_, delete, exists, func, select, tuple_

from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import Upsert, WriteSession, upsert
from consumers.store.tables import arrival_tallies, inbox, judgement_states, outbox, pruned, window_tallies

NEVER_MS = -(2**62)
ROWS, PREDICTIONS, OUTCOMES = "rows", "predictions", "outcomes"
_KEYS_AT_ONCE = 1_000

Place = tuple[str, int]
"""A source (window rows, arrivals of predictions, arrivals of outcomes) and a partition."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted of one place.

    Window rows that fell due up to `through_ms`, with the sum of the input rows' `n`; or arrival rows of
    windows that began before it, with the sum of each counter.
    """

    through_ms: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SentPromise:
    """An event that the log has, without its value."""

    id: int
    topic: str
    headers: Mapping[str, str]


class PruningRepository(Repository[SessionT_co]):
    """Deletes at most `limit` things in one call, or a few more that belong together."""

    async def alone(self: "PruningRepository[WriteSession]") -> None:
        """Wait for another pruning to end its transaction, and keep others waiting for this one."""
        await self._session.lock("pruning")

    # ------------------------------------------------------------ outbox, inbox

    async def sent_before(self, before: datetime, after_id: int, limit: int) -> list[SentPromise]:
        """Events that the log has had since before `before`, by id.

        Never the newest of all events: by its id the relay sees that the store is not an old backup.
        """
        c = outbox.c
        newest = select(func.max(c.id)).scalar_subquery()
        query = select(c.id, c.topic, c.headers).where(c.id > after_id, c.id < newest, c.sent_at < before)
        rows = await self._session.rows(query.order_by(c.id).limit(limit))
        return [SentPromise(row.id, row.topic, dict(row.headers)) for row in rows]

    async def delete_sent(self: "PruningRepository[WriteSession]", ids: Collection[int]) -> int:
        """Delete these events, those of them that were sent."""
        statement = delete(outbox).where(outbox.c.id.in_(ids), outbox.c.sent_at.is_not(None))
        return await self._session.changed(statement)

    async def handled_before(self, before: datetime) -> int:
        """How many inbox entries `delete_handled` would delete."""
        return int(await self._session.scalar(select(func.count()).where(_handled(before))))

    async def delete_handled(self: "PruningRepository[WriteSession]", before: datetime, limit: int) -> int:
        """Forget that events were handled before `before`, unless they are still in the outbox."""
        c = inbox.c
        query = select(c.consumer, c.event_id).where(_handled(before)).limit(limit)
        keys = [tuple(row) for row in await self._session.rows(query)]
        if not keys:
            return 0
        return await self._session.changed(delete(inbox).where(tuple_(c.consumer, c.event_id).in_(keys)))

    # ------------------------------------------------------------ window and arrival rows

    async def pruned(self) -> dict[Place, Pruned]:
        """What was deleted so far, by place."""
        rows = await self._session.rows(select(pruned))
        return {(row.source, row.partition): Pruned(row.through_ms, row.counts) for row in rows}

    async def oldest_unjudged_ms(self) -> int | None:
        """When the first window row fell due that is not judged, None when all are."""
        c, j = window_tallies.c, judgement_states.c
        judged = exists().where(j.model == c.model, j.judged_through_ms >= c.due_ms)
        found: int | None = await self._session.scalar(select(func.min(c.due_ms)).where(~judged))
        return found

    async def rows_through(self, through_ms: int) -> int:
        """How many window rows fell due by `through_ms`."""
        due = window_tallies.c.due_ms <= through_ms
        return int(await self._session.scalar(select(func.count()).where(due)))

    async def arrivals_before(self, before_ms: int) -> int:
        """How many arrival rows there are of windows that began before `before_ms`."""
        began = arrival_tallies.c.window_start_ms < before_ms
        return int(await self._session.scalar(select(func.count()).where(began)))

    async def delete_rows(
        self: "PruningRepository[WriteSession]", through_ms: int, partitions: Sequence[int], limit: int
    ) -> int:
        """Delete the oldest window rows of those that fell due by `through_ms`, which must be judged."""
        c = window_tallies.c
        after_ms = await self.through_ms(ROWS)
        due = select(c.due_ms).where(c.due_ms <= through_ms).order_by(c.due_ms)
        last_ms = await self._session.scalar(due.limit(1).offset(limit - 1))
        last_ms = through_ms if last_ms is None else last_ms
        inputs = select(c.partition, c.body).where(
            c.due_ms <= last_ms, c.kind == "input", c.due_ms > after_ms
        )
        sums: dict[int, Counter[str]] = {partition: Counter() for partition in partitions}
        for row in await self._session.rows(inputs):
            sums[row.partition]["n"] += orjson.loads(row.body)["n"]
        deleted = await self._session.changed(delete(window_tallies).where(c.due_ms <= last_ms))
        await self._add(ROWS, last_ms, sums)
        return deleted

    async def delete_arrivals(
        self: "PruningRepository[WriteSession]",
        side: str,
        before_ms: int,
        partitions: Sequence[int],
        limit: int,
    ) -> int:
        """Delete the oldest arrival rows of `side` whose windows began before `before_ms`."""
        c = arrival_tallies.c
        old = and_(c.side == side, c.window_start_ms < before_ms)
        starts = select(c.window_start_ms).where(old).order_by(c.window_start_ms)
        # a part ends between two windows, and holds at least one
        last_ms = await self._session.scalar(starts.limit(1).offset(limit - 1))
        through_ms = before_ms if last_ms is None else last_ms + 1
        part = and_(c.side == side, c.window_start_ms < through_ms)
        after_ms = await self.through_ms(side)
        counted = select(c.partition, c.body).where(part, c.window_start_ms >= after_ms)
        sums: dict[int, Counter[str]] = {partition: Counter() for partition in partitions}
        for row in await self._session.rows(counted):
            sums[row.partition].update(orjson.loads(row.body))
        deleted = await self._session.changed(delete(arrival_tallies).where(part))
        await self._add(side, through_ms, sums)
        return deleted

    async def through_ms(self, source: str) -> int:
        """What was deleted of `source` so far; earlier than any event when nothing was."""
        query = select(func.max(pruned.c.through_ms)).where(pruned.c.source == source)
        found = await self._session.scalar(query)
        return NEVER_MS if found is None else int(found)

    async def _add(
        self: "PruningRepository[WriteSession]",
        source: str,
        through_ms: int,
        sums: Mapping[int, Mapping[str, int]],
    ) -> None:
        known = await self.pruned()
        statement = _keep(self._session.dialect)
        for partition, counts in sums.items():
            before = known.get((source, partition), Pruned(NEVER_MS, {}))
            total = Counter(before.counts)
            total.update(counts)
            row = {
                "source": source,
                "partition": partition,
                "through_ms": max(before.through_ms, through_ms),
                "counts": dict(total),
            }
            await self._session.execute(statement, row)


def _handled(before: datetime) -> ColumnElement[bool]:
    # whoever asks whether a promised event was obeyed looks here
    promised = exists().where(outbox.c.event_id == inbox.c.event_id)
    return and_(inbox.c.handled_at < before, ~promised)


@cache
def _keep(dialect: str) -> Upsert:
    insert = upsert(dialect, pruned)
    return insert.on_conflict_do_update(
        index_elements=["source", "partition"],
        set_={"through_ms": insert.excluded.through_ms, "counts": insert.excluded.counts},
    )
