"""Migrations: found in the package, equal to the tables, safe to run together, strict about releases."""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from consumers.store.engine import Store, open_store, upgrade
from consumers.store.errors import SchemaMismatch, StoreUnavailable
from consumers.store.migrations import HEAD, REVISIONS
from consumers.store.repositories.episodes import Acknowledgement, EpisodeRepository
from consumers.store.repositories.mutes import MuteRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.tables import metadata
from consumers.store.url import store_url
from tests.store.builders import NOW
from tests.store.fixtures import ENGINES


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


_CATALOG = {
    "columns": "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, "
    "collname, pg_get_expr(adbin, adrelid) FROM pg_attribute "
    "JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r' AND relnamespace = 'public'::regnamespace "
    "LEFT JOIN pg_collation ON pg_collation.oid = attcollation "
    "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}


async def catalog(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """What a PostgreSQL database holds, as the server says it."""
    connection = await asyncpg.connect(url)
    try:
        found = {name: await connection.fetch(query) for name, query in _CATALOG.items()}
    finally:
        await connection.close()
    return {
        name: sorted(tuple(map(str, row)) for row in rows if row[0] != "alembic_version")
        for name, rows in found.items()
    }


async def test_the_migrated_schema_is_that_of_the_tables_on_postgresql(
    postgresql_url: str, pg_url: str
) -> None:
    engine = create_async_engine(store_url(pg_url))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    migrated = await catalog(postgresql_url)
    assert migrated == await catalog(pg_url)
    conditions = {row[2].split(" WHERE ")[1] for row in migrated["indexes"] if " WHERE " in row[2]}
    assert len(conditions) == 4


async def test_names_are_compared_by_their_bytes_on_postgresql(postgresql_url: str) -> None:
    columns = (await catalog(postgresql_url))["columns"]
    names = {row[:2]: row[4] for row in columns if row[2].startswith("character varying")}
    prose = {key for key, collation in names.items() if collation != "C"}
    # what is one of a few words is never sorted
    assert {column for _, column in prose} <= {
        "stage",
        "from_stage",
        "to_stage",
        "status",
        "trigger",
        "drift_type",
    }


@pytest.fixture(params=ENGINES)
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that nobody has made yet."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    empty: str = request.getfixturevalue("pg_url")
    return empty


async def test_upgrading_twice_or_from_many_sides_at_once_is_harmless(new_url: str) -> None:
    await asyncio.gather(*(upgrade(new_url) for _ in range(4)))
    await upgrade(new_url)
    store = await open_store(new_url)
    async with store.read() as session:
        assert (await TallyRepository(session).counts()).inputs == 0
    await store.dispose()


async def test_a_store_of_the_release_before_keeps_its_episodes_and_policies(new_url: str) -> None:
    await upgrade_to("0005", new_url)
    engine = create_async_engine(store_url(new_url))
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO drift_episodes (episode_id, model, version, drift_type, severity, opened_at_ms) "
                "VALUES ('p-1', 'brent', '1', 'DATA_DRIFT', 'warn', 10)"
            )
        )
    await engine.dispose()
    with pytest.raises(SchemaMismatch, match=f"has schema 0005; this release needs {HEAD}"):
        await open_store(new_url)
    store = await open_store(new_url, migrate=True)
    async with store.write() as session:
        (kept,) = await EpisodeRepository(session).list()
        assert (kept.episode_id, kept.severity, kept.closed_at_ms) == ("p-1", "warn", None)
        known = Acknowledgement(episode_id="p-1", actor="ada", reason="known", acknowledged_at=NOW)
        assert await EpisodeRepository(session).acknowledge(known) == known
        assert await MuteRepository(session).all() == []
    await store.dispose()


async def upgrade_to(revision: str, url: str) -> None:
    """As an older release left it."""
    config = Config()
    config.set_main_option("script_location", "consumers.store:migrations")

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    engine = create_async_engine(store_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


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
