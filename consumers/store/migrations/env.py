"""Alembic's entry: runs on the connection, and in the transaction, that `schema.py` hands over."""

from alembic import context

from consumers.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most things in place
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
