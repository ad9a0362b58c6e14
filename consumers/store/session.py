"""What repositories work on: a session that reads, and one that writes as well.

Neither commits: `Store.write()` does, once, when its block ends. The two are different types, so that the
type checker refuses the writing methods of a repository made from a read session; called all the same, they
end in AttributeError before the database sees anything.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    CursorResult,
    Delete,
    Executable,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from consumers.store.faults import faults_translated
from consumers.store.locks import lock_key

Query = Select[*tuple[Any, ...]]
Parameters = Mapping[str, Any]
Upsert = postgresql.Insert | sqlite.Insert
_BATCH = 1000

_LOCK = select(func.pg_advisory_xact_lock(bindparam("key", type_=BigInteger)))
_LOCK_SHARED = select(func.pg_advisory_xact_lock_shared(bindparam("key", type_=BigInteger)))
_TRY_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("key", type_=BigInteger)))


class ReadSession:
    """One snapshot of the store, for as long as its `async with` block lasts."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    async def rows(
        self, query: Query, parameters: Parameters | None = None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows of `query`."""
        with faults_translated():
            return (await self._connection.execute(query, parameters)).all()

    async def first(self, query: Query, parameters: Parameters | None = None) -> Row[*tuple[Any, ...]] | None:
        """The first row of `query`."""
        with faults_translated():
            return (await self._connection.execute(query, parameters)).first()

    async def scalar(self, query: Query, parameters: Parameters | None = None) -> Any:
        """The first column of the first row, or None."""
        with faults_translated():
            return (await self._connection.execute(query, parameters)).scalar()

    async def stream(self, query: Query) -> AsyncIterator[Row[*tuple[Any, ...]]]:
        """The rows of `query` without holding all of them in memory."""
        with faults_translated():
            async with self._connection.stream(query) as result:
                async for batch in result.partitions(_BATCH):
                    for row in batch:
                        yield row


class WriteSession(ReadSession):
    """One transaction that writes. Refused statements leave it usable; other errors end it."""

    __slots__ = ()

    async def execute(
        self,
        statement: Executable,
        parameters: Sequence[Parameters] | Parameters | None = None,
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run `statement`, with one set of parameters or once with each of several (executemany)."""
        with faults_translated():
            return await self._connection.execute(statement, parameters)

    async def changed(self, statement: Insert | Update | Delete) -> int:
        """Run `statement`; how many rows it changed."""
        return (await self.execute(statement)).rowcount

    async def lock(self, name: str, *, shared: bool = False) -> None:
        """Hold `name` until the transaction ends, waiting for whoever holds it; holding it again is free.

        `shared` shuts out those only who do not share. On SQLite every writer holds everything. Unlike a row
        lock it is there before the row is, and whatever the holder reads afterwards is what others committed.
        """
        if self.dialect == "postgresql":
            query = _LOCK_SHARED if shared else _LOCK
            await self.scalar(query, {"key": lock_key(name)})

    async def try_lock(self, name: str) -> bool:
        """As `lock`, but False at once where it would wait."""
        if self.dialect != "postgresql":
            return True
        return bool(await self.scalar(_TRY_LOCK, {"key": lock_key(name)}))

    async def insert_if_absent(self, table: Table, *rows: Parameters) -> int:
        """Insert those of `rows` (at least one) that no unique key forbids; how many."""
        statement = _insert_if_absent(self.dialect, table)
        if len(rows) == 1:
            return (await self.execute(statement, rows[0])).rowcount
        if self.dialect == "postgresql":  # whose driver does not count what an executemany inserts
            returning: Executable = statement.returning(literal_column("1"))
            return len((await self.execute(returning, rows)).all())
        return (await self.execute(statement, rows)).rowcount

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A block whose failure undoes only the block (PostgreSQL refuses all after an error otherwise)."""
        with faults_translated():
            savepoint = await self._connection.begin_nested()
        try:
            yield
        except BaseException:
            with faults_translated():
                await savepoint.rollback()
            raise
        with faults_translated():
            await savepoint.commit()


def upsert(dialect: str, table: Table) -> Upsert:
    """An INSERT of the dialect, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@cache  # building a statement takes longer than running it
def _insert_if_absent(dialect: str, table: Table) -> Upsert:
    return upsert(dialect, table).on_conflict_do_nothing()
