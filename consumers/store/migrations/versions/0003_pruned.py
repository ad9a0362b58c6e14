"""Retention: what was deleted of window and arrival rows, in sums."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name = sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql")
    op.create_table(
        "pruned",
        sa.Column("source", name, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("through_ms", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.CheckConstraint("source IN ('rows', 'predictions', 'outcomes')", name=op.f("ck_pruned_source")),
        sa.PrimaryKeyConstraint("source", "partition", name=op.f("pk_pruned")),
    )
