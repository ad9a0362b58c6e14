"""Which schema a database has, and bringing it to this release's."""

from sqlalchemy import URL, Connection, inspect, text

from consumers.store.errors import SchemaMismatch
from consumers.store.migrations import HEAD, REVISIONS
from consumers.store.url import shown

# any constant will do, as long as every release uses the same
_UPGRADE_LOCK = 0x6C696665


def revision_of(connection: Connection) -> str | None:
    """The schema revision of the database, None when it holds no store."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def check_revision(url: URL, found: str | None) -> None:
    """Raise SchemaMismatch unless the store has exactly this release's schema."""
    if found != HEAD:
        raise mismatch(url, found)


def mismatch(url: URL, found: str | None) -> SchemaMismatch:
    """The error for a store of schema `found`; a revision this release does not know is a newer one."""
    ahead = found is not None and found not in REVISIONS
    return SchemaMismatch(shown(url), found, HEAD, ahead=ahead)


def upgrade_schema(connection: Connection, url: URL) -> None:
    """Run the missing migrations inside the caller's transaction; any number of processes may try at once.

    Raises SchemaMismatch for the schema of a newer release.
    """
    # imported here: 0.2 s that only an upgrade needs
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    found = revision_of(connection)
    if found is not None and found not in REVISIONS:
        raise mismatch(url, found)
    config = Config()
    config.set_main_option("script_location", "consumers.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
