"""What repositories work on: a session that reads, and one that writes as well.

Neither commits: `Store.write()` does, once, when its block ends. The two are different types, so that the
type checker refuses the writing methods of a repository made from a read session; called all the same, they
end in AttributeError before the database sees anything.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, Delete, Executable, Row, Select, Table, Update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from consumers.store.faults import faults_translated

Upsert = postgresql.Insert | sqlite.Insert
_BATCH = 1000


class ReadSession:
    """One snapshot of the store, for as long as its `async with` block lasts."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows of `query`."""
        with faults_translated():
            return (await self._connection.execute(query)).all()

    async def first(self, query: Select[*tuple[Any, ...]]) -> Row[*tuple[Any, ...]] | None:
        """The first row of `query`."""
        with faults_translated():
            return (await self._connection.execute(query)).first()

    async def scalar(self, query: Select[*tuple[Any, ...]]) -> Any:
        """The first column of the first row, or None."""
        with faults_translated():
            return (await self._connection.execute(query)).scalar()

    async def stream(self, query: Select[*tuple[Any, ...]]) -> AsyncIterator[Row[*tuple[Any, ...]]]:
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
        self, statement: Executable, parameters: Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run `statement`, once per parameter set (executemany) when there are any."""
        with faults_translated():
            return await self._connection.execute(statement, parameters)

    async def changed(self, statement: Insert | Update | Delete) -> int:
        """Run `statement`; how many rows it changed."""
        return (await self.execute(statement)).rowcount

    def upsert(self, table: Table) -> Upsert:
        """An INSERT of the dialect in use, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
        if self._connection.dialect.name == "postgresql":
            return postgresql.insert(table)
        return sqlite.insert(table)

    async def insert_if_absent(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert `row` unless any unique key of it is taken; whether it was inserted."""
        return await self.changed(self.upsert(table).values(row).on_conflict_do_nothing()) == 1

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
