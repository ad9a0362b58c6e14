"""Migrations: found in the package, equal to the tables, safe to run together, strict about releases."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from consumers.store.engine import Store, open_store, upgrade
from consumers.store.errors import SchemaMismatch, StoreUnavailable
from consumers.store.migrations import HEAD, REVISIONS
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.tables import metadata


def set_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def test_the_list_of_revisions_is_that_of_the_packaged_files() -> None:
    config = Config()
    config.set_main_option("script_location", "consumers.store:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS
    assert scripts.get_heads() == [HEAD]


def test_the_migrated_schema_is_that_of_the_tables(migrated_file: Path) -> None:
    engine = create_engine(f"sqlite:///{migrated_file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_migrated_statements_are_those_of_the_tables(migrated_file: Path, tmp_path: Path) -> None:
    # the comparison above misses CHECKs and the conditions of partial indexes
    created = tmp_path / "created.db"
    engine = create_engine(f"sqlite:///{created}")
    metadata.create_all(engine)
    engine.dispose()
    assert statements(migrated_file) == statements(created)


def statements(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    found = {_normal(sql) for (sql,) in connection.execute(query)}
    connection.close()
    return found


def _normal(sql: str) -> str:
    """One statement with its parts in a fixed order: the two ways write constraints in different orders."""
    head, _, body = sql.partition("\n")
    parts = sorted(line.strip().rstrip(",") for line in body.splitlines() if line.strip(" ,)"))
    return " ".join([head.strip(), *parts])


def test_the_tables_can_be_made_on_postgresql_with_their_partial_indexes() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    indexes = [index for table in metadata.sorted_tables for index in table.indexes]
    made += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    conditions = {statement.split(" WHERE ")[1] for statement in made if " WHERE " in statement}
    assert conditions == {
        "stage = 'PRODUCTION'",
        "status = 'RUNNING'",
        "status IN ('REQUESTED', 'RUNNING')",
        "sent_at IS NULL",
    }


async def test_upgrading_twice_or_from_many_sides_at_once_is_harmless(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    await asyncio.gather(*(upgrade(path) for _ in range(4)))
    await upgrade(path)
    store = await open_store(path)
    async with store.read() as session:
        assert (await TallyRepository(session).counts()).inputs == 0
    await store.dispose()


async def test_an_open_store_can_be_migrated(store: Store) -> None:
    await store.migrate()
    await store.check_schema()


def test_the_error_for_a_store_of_an_older_release_says_how_to_upgrade() -> None:
    error = SchemaMismatch("sqlite:///store.db", "0001", "0002", ahead=False)
    assert str(error) == (
        "the store sqlite:///store.db has schema 0001; this release needs 0002: run `lifecycle init`"
    )


async def test_a_database_without_our_tables_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(SchemaMismatch, match="holds no tables yet"):
        await open_store(str(path))


async def test_a_store_of_a_newer_release_is_neither_opened_nor_upgraded(
    migrated_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    shutil.copy(migrated_file, path)
    set_revision(path, "9999")
    for migrate in (False, True):
        with pytest.raises(SchemaMismatch, match="newer release") as caught:
            await open_store(str(path), migrate=migrate)
        assert caught.value.ahead


async def test_an_upgrade_that_cannot_get_its_turn_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await open_store(str(path), migrate=True, busy_timeout_s=0.05)
    assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    other.close()
    await upgrade(str(path))
