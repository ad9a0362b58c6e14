"""What people say of drift: what is not to be announced, what somebody knows of, how often may be too often."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DRIFT_TYPES = ("CONCEPT_DRIFT", "DATA_DRIFT", "PREDICTION_DRIFT", "PERFORMANCE_DEGRADATION")


def _name(length: int) -> sa.types.TypeEngine[str]:
    """Text that sorts by its bytes on every database, whatever locale it was made with."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "episode_acknowledgements",
        sa.Column("episode_id", _name(64), nullable=False),
        sa.Column("actor", _name(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["episode_id"],
            ["drift_episodes.episode_id"],
            name=op.f("fk_episode_acknowledgements_episode_id_drift_episodes"),
        ),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_episode_acknowledgements")),
    )
    op.create_table(
        "drift_mutes",
        sa.Column("mute_id", _name(64), nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column(
            "drift_type",
            sa.Enum(*_DRIFT_TYPES, name="drift_type", native_enum=False, create_constraint=True, length=64),
            nullable=True,
        ),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("actor", _name(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", _name(128), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("mute_id", name=op.f("pk_drift_mutes")),
    )
    op.create_index(op.f("ix_drift_mutes_model_effective_from_ms"), "drift_mutes", ["model", "effective_from_ms"])
    op.create_table(
        "drift_budget_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("per_month", sa.Text(), nullable=False),
        sa.Column("policies", sa.Text(), nullable=False),
        sa.Column("actor", _name(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_budget_orders")),
    )
