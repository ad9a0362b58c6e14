"""Window rows and how far each partition is: what the tally worker writes and the judge reads."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Integer,
    Row,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from consumers.store.repositories.base import Repository, SessionT_co, columns_of, names_of
from consumers.store.session import Upsert, WriteSession, upsert
from consumers.store.tables import (
    arrival_tallies,
    divergences,
    model_versions,
    partition_progress,
    pruned,
    window_tallies,
)
from consumers.store.types import digest_of
from domain.windows.progress import Progress
from domain.windows.rows import ArrivalRow, RowKey, WindowRow


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A window row as stored."""

    key: RowKey
    due_ms: int
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Divergence:
    """A row that two workers computed differently. `row_key` is the canonical JSON of its natural key."""

    row_key: str
    stored_digest: str
    offered_digest: str


@dataclass(frozen=True, slots=True)
class UnknownVersion:
    """A version that has window rows and is not registered; window starts of its first and last row."""

    model: str
    version: str
    first_window_ms: int
    last_window_ms: int


@dataclass(frozen=True, slots=True)
class TallyCounts:
    """How many rows there are of each kind."""

    inputs: int
    scores: int
    arrivals: int
    divergences: int


_ROW_KEY = names_of(RowKey)
_ARRIVAL_KEY = ("side", "partition", "window_start_ms")
_ROW = [window_tallies.c[name] for name in (*_ROW_KEY, "due_ms", "body", "digest")]
_IS_DUE = (
    window_tallies.c.model == bindparam("of_model"),
    window_tallies.c.due_ms > bindparam("after_ms"),
    window_tallies.c.due_ms <= bindparam("through_ms"),
)
_ROWS_DUE = (
    select(*_ROW)
    .where(*_IS_DUE)
    .order_by(
        *(window_tallies.c[name] for name in ("due_ms", "kind", "window_start_ms", "horizon_s", "version")),
        *(window_tallies.c[name] for name in ("variant", "experiment", "epoch", "partition")),
    )
)
_EXPERIMENT_ROWS = _ROWS_DUE.where(
    window_tallies.c.kind == "score", window_tallies.c.experiment == bindparam("of_experiment")
)
_VERSION_SCORES = _ROWS_DUE.where(
    window_tallies.c.kind == "score", window_tallies.c.version == bindparam("of_version")
)
_NTH_DUE = (
    select(window_tallies.c.due_ms)
    .where(*_IS_DUE)
    .order_by(window_tallies.c.due_ms)
    .limit(1)
    .offset(bindparam("nth", type_=Integer))
)
# bind parameters of one statement are limited (32,766 on SQLite): 9 for each key
_KEYS_AT_ONCE = 500

_SIDES = ("predictions", "outcomes")

Offered = list[dict[str, Any]]


class TallyRepository(Repository[SessionT_co]):
    """Window rows, arrival rows, progress and divergences."""

    async def insert_closed(
        self: "TallyRepository[WriteSession]",
        rows: Sequence[WindowRow],
        arrivals: Sequence[ArrivalRow],
        progress: Progress,
        *,
        now: datetime,
    ) -> list[Divergence]:
        """Write what a fold closed, and move its partition's progress if `progress` dominates the stored one.

        Rows that are there already stay as they are. Those that were offered with other bytes are returned,
        and recorded in `divergences` (each once): a window is a function of the log, so somebody must look.
        """
        offered_rows = [_offered_row(row) for row in rows]
        offered_arrivals = [_offered_arrival(row) for row in arrivals]
        found = [
            *await self._insert(window_tallies, _ROW_KEY, offered_rows),
            *await self._insert(arrival_tallies, _ARRIVAL_KEY, offered_arrivals),
        ]
        if found:
            recorded = [{**columns_of(one), "recorded_at": now} for one in found]
            await self._session.insert_if_absent(divergences, *recorded)
        await self._session.execute(_move(self._session.dialect), columns_of(progress))
        return found

    async def progress(self, partition: int) -> Progress | None:
        """The partition's progress, None before its first closing."""
        query = select(partition_progress).where(partition_progress.c.partition == partition)
        row = await self._session.first(query)
        return None if row is None else Progress(**row._mapping)

    async def all_progress(self) -> list[Progress]:
        """Every partition's progress, by partition."""
        rows = await self._session.rows(select(partition_progress).order_by(partition_progress.c.partition))
        return [Progress(**row._mapping) for row in rows]

    async def rows_due(
        self, model: str, after_ms: int, through_ms: int, *, at_least: int | None = None
    ) -> list[StoredRow]:
        """The model's rows with after_ms < due_ms <= through_ms.

        Order: due_ms, kind, window_start_ms, horizon_s, version, variant, experiment, epoch, partition. With
        `at_least`, only the first that many, and all others that fall due together with the last of them.
        """
        span = {"of_model": model, "after_ms": after_ms, "through_ms": through_ms}
        if at_least is not None:
            last_ms = await self._session.scalar(_NTH_DUE, {**span, "nth": at_least - 1})
            span["through_ms"] = through_ms if last_ms is None else last_ms
        return [_stored(row) for row in await self._session.rows(_ROWS_DUE, span)]

    async def experiment_rows(
        self, model: str, experiment: str, after_ms: int, through_ms: int
    ) -> list[StoredRow]:
        """The experiment's score rows with after_ms < due_ms <= through_ms, in the order of `rows_due`."""
        span = {"of_model": model, "after_ms": after_ms, "through_ms": through_ms}
        rows = await self._session.rows(_EXPERIMENT_ROWS, {**span, "of_experiment": experiment})
        return [_stored(row) for row in rows]

    async def version_scores(
        self, model: str, version: str, after_ms: int, through_ms: int
    ) -> list[StoredRow]:
        """The version's score rows with after_ms < due_ms <= through_ms, in the order of `rows_due`."""
        span = {"of_model": model, "after_ms": after_ms, "through_ms": through_ms}
        rows = await self._session.rows(_VERSION_SCORES, {**span, "of_version": version})
        return [_stored(row) for row in rows]

    async def input_windows(self, model: str, version: str, *, before_ms: int, limit: int) -> list[int]:
        """Starts of the last `limit` windows that end by `before_ms` and have an input row of the version,
        ascending."""
        c = window_tallies.c
        mine = select(c.window_start_ms).where(
            c.kind == "input", c.model == model, c.version == version, c.due_ms <= before_ms
        )
        query = mine.distinct().order_by(c.window_start_ms.desc()).limit(limit)
        return sorted(row.window_start_ms for row in await self._session.rows(query))

    async def version_inputs(
        self, model: str, version: str, from_ms: int, to_ms: int, *, through_ms: int
    ) -> list[StoredRow]:
        """The version's input rows of windows that start from `from_ms` to `to_ms` (not included) and end by
        `through_ms`, by window and partition."""
        c = window_tallies.c
        mine = select(*_ROW).where(
            c.kind == "input",
            c.model == model,
            c.version == version,
            c.window_start_ms >= from_ms,
            c.window_start_ms < to_ms,
            c.due_ms <= through_ms,
        )
        query = mine.order_by(c.window_start_ms, c.partition, c.variant, c.experiment, c.epoch)
        return [_stored(row) for row in await self._session.rows(query)]

    async def models_with_rows(self, after_ms: int) -> list[str]:
        """The models that have rows with due_ms > after_ms, by name."""
        c = window_tallies.c
        query = select(c.model).where(c.due_ms > after_ms).distinct().order_by(c.model)
        return [row.model for row in await self._session.rows(query)]

    async def last_input_ms(self) -> int | None:
        """End of the latest window that has an input row, None without any."""
        c = window_tallies.c
        query = select(c.due_ms).where(c.kind == "input").order_by(c.window_start_ms.desc()).limit(1)
        last: int | None = await self._session.scalar(query)
        return last

    async def all_rows(self) -> AsyncIterator[StoredRow]:
        """Every window row in the order of its key, without holding them all in memory."""
        query = select(*_ROW).order_by(*(window_tallies.c[name] for name in _ROW_KEY))
        async for row in self._session.stream(query):
            yield _stored(row)

    async def all_arrivals(self) -> AsyncIterator[ArrivalRow]:
        """Every arrival row in the order (side, partition, window_start_ms)."""
        c = arrival_tallies.c
        query = select(c.side, c.partition, c.window_start_ms, c.body)
        async for row in self._session.stream(query.order_by(c.side, c.partition, c.window_start_ms)):
            yield ArrivalRow(*row)

    async def fates(self) -> dict[tuple[str, str], int]:
        """Records of all closed windows by (side, fate), those of pruned rows too; `read` is their sum."""
        totals: Counter[tuple[str, str]] = Counter()
        for side, fate, number in await self._session.rows(_fates_of(self._session.dialect)):
            totals[side, fate] += int(number)
        c = pruned.c
        for row in await self._session.rows(select(c.source, c.counts).where(c.source.in_(_SIDES))):
            for fate, number in row.counts.items():
                totals[row.source, fate] += number
        return dict(totals)

    async def unknown_versions(self) -> list[UnknownVersion]:
        """Versions that are in the tallies and not in the registry."""
        c, v = window_tallies.c, model_versions.c
        query = (
            select(c.model, c.version, func.min(c.window_start_ms), func.max(c.window_start_ms))
            .outerjoin_from(window_tallies, model_versions, and_(c.model == v.model, c.version == v.version))
            .where(v.version.is_(None))
            .group_by(c.model, c.version)
            .order_by(c.model, c.version)
        )
        return [UnknownVersion(*row) for row in await self._session.rows(query)]

    async def counts(self) -> TallyCounts:
        """How many rows there are."""
        c = window_tallies.c
        query = select(
            select(func.count()).where(c.kind == "input").scalar_subquery(),
            select(func.count()).where(c.kind == "score").scalar_subquery(),
            select(func.count()).select_from(arrival_tallies).scalar_subquery(),
            select(func.count()).select_from(divergences).scalar_subquery(),
        )
        (row,) = await self._session.rows(query)
        return TallyCounts(*row)

    async def divergence_count(self) -> int:
        """How many different divergences were found so far; 0 in a sound deployment."""
        return int(await self._session.scalar(select(func.count()).select_from(divergences)))

    async def divergences(self) -> list[Divergence]:
        """Every divergence, in the order of discovery."""
        c = divergences.c
        query = select(c.row_key, c.stored_digest, c.offered_digest).order_by(c.id)
        return [Divergence(*row) for row in await self._session.rows(query)]

    async def _insert(
        self: "TallyRepository[WriteSession]", table: Table, key: tuple[str, ...], offered: Offered
    ) -> list[Divergence]:
        if not offered:
            return []
        # one order for all writers: on PostgreSQL two bulk inserts could deadlock otherwise
        offered.sort(key=lambda row: [row[name] for name in key])
        inserted = await self._session.insert_if_absent(table, *offered)
        return [] if inserted == len(offered) else await self._compare(table, key, offered)

    async def _compare(
        self: "TallyRepository[WriteSession]", table: Table, key: tuple[str, ...], offered: Offered
    ) -> list[Divergence]:
        columns = [table.c[name] for name in key]
        stored: dict[tuple[Any, ...], str] = {}
        for start in range(0, len(offered), _KEYS_AT_ONCE):
            keys = [tuple(row[name] for name in key) for row in offered[start : start + _KEYS_AT_ONCE]]
            found = await self._session.rows(
                select(*columns, table.c.digest).where(tuple_(*columns).in_(keys))
            )
            stored.update((tuple(row)[:-1], row.digest) for row in found)
        return [
            Divergence(_key_json({name: row[name] for name in key}), digest, row["digest"])
            for row in offered
            if (digest := stored[tuple(row[name] for name in key)]) != row["digest"]
        ]


@cache
def _fates_of(dialect: str) -> Select[*tuple[Any, ...]]:
    """Added up by the database: there may be millions of arrival rows."""
    c, p = arrival_tallies.c, pruned.c
    if dialect == "postgresql":
        entries = func.jsonb_each_text(cast(func.convert_from(c.body, "UTF8"), JSONB))
    else:
        entries = func.json_each(cast(c.body, Text))
    entry = entries.table_valued("key", "value", joins_implicitly=True)
    # rows that a late worker inserted once more are in the sums of what was pruned
    again = and_(p.source == c.side, p.partition == c.partition, p.through_ms > c.window_start_ms)
    return (
        select(c.side, entry.c.key, func.sum(cast(entry.c.value, BigInteger)))
        .select_from(arrival_tallies.outerjoin(pruned, again), entry)
        .where(p.source.is_(None))
        .group_by(c.side, entry.c.key)
    )


@cache
def _move(dialect: str) -> Upsert:
    # Both sides in one condition: two independent maxima would claim windows that nobody closed.
    insert = upsert(dialect, partition_progress)
    stored, new = partition_progress.c, insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["partition"],
        set_={name: new[name] for name in names_of(Progress) if name != "partition"},
        where=and_(
            stored.inputs_through_ms <= new.inputs_through_ms,
            stored.outcomes_through_ms <= new.outcomes_through_ms,
            stored.prediction_arrivals_through_ms <= new.prediction_arrivals_through_ms,
            stored.outcome_arrivals_through_ms <= new.outcome_arrivals_through_ms,
        ),
    )


def _offered_row(row: WindowRow) -> dict[str, Any]:
    return {**columns_of(row.key), "due_ms": row.due_ms, "body": row.body, "digest": digest_of(row.body)}


def _offered_arrival(row: ArrivalRow) -> dict[str, Any]:
    return {**columns_of(row), "digest": digest_of(row.body)}


def _stored(row: Row[*tuple[Any, ...]]) -> StoredRow:
    *key, due_ms, body, digest = row
    return StoredRow(RowKey(*key), due_ms, body, digest)


def _key_json(key: dict[str, Any]) -> str:
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()
