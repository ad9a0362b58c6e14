"""The first schema: windows, decisions, registry, experiments, retraining, drift episodes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _name(length: int) -> sa.types.TypeEngine[str]:
    """Text that sorts by its bytes on every database, whatever locale it was made with."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    _create_windows()
    _create_decisions()
    _create_registry()
    _create_loops()


def _create_windows() -> None:
    op.create_table(
        "deployment",
        sa.Column("key", _name(128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_deployment")),
    )
    op.create_table(
        "window_tallies",
        sa.Column("kind", _name(8), nullable=False),
        sa.Column("window_start_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column("version", _name(128), nullable=False),
        sa.Column("variant", _name(128), nullable=False),
        sa.Column("experiment", _name(128), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("horizon_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _name(64), nullable=False),
        sa.CheckConstraint("kind IN ('input', 'score')", name=op.f("ck_window_tallies_kind")),
        sa.PrimaryKeyConstraint(
            "kind",
            "window_start_ms",
            "partition",
            "model",
            "version",
            "variant",
            "experiment",
            "epoch",
            "horizon_s",
            name=op.f("pk_window_tallies"),
        ),
    )
    op.create_index(
        op.f("ix_window_tallies_due_ms_model"), "window_tallies", ["due_ms", "model"], unique=False
    )
    op.create_index(
        op.f("ix_window_tallies_model_due_ms"), "window_tallies", ["model", "due_ms"], unique=False
    )
    op.create_table(
        "arrival_tallies",
        sa.Column("side", _name(16), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("window_start_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _name(64), nullable=False),
        sa.CheckConstraint("side IN ('predictions', 'outcomes')", name=op.f("ck_arrival_tallies_side")),
        sa.PrimaryKeyConstraint("side", "partition", "window_start_ms", name=op.f("pk_arrival_tallies")),
    )
    op.create_table(
        "partition_progress",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("predictions_offset", sa.BigInteger(), nullable=False),
        sa.Column("predictions_newest_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcomes_offset", sa.BigInteger(), nullable=False),
        sa.Column("outcomes_newest_ms", sa.BigInteger(), nullable=False),
        sa.Column("inputs_through_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcomes_through_ms", sa.BigInteger(), nullable=False),
        sa.Column("prediction_arrivals_through_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome_arrivals_through_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_partition_progress")),
    )
    op.create_table(
        "divergences",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.Column("stored_digest", _name(64), nullable=False),
        sa.Column("offered_digest", _name(64), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_divergences")),
        sa.UniqueConstraint("row_key", "offered_digest", name=op.f("uq_divergences_row_key_offered_digest")),
    )


def _create_decisions() -> None:
    op.create_table(
        "judgement_states",
        sa.Column("model", _name(128), nullable=False),
        sa.Column("judged_through_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tallies_digest", _name(64), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_judgement_states")),
    )
    op.create_table(
        "decisions",
        sa.Column("decision_id", _name(64), nullable=False),
        sa.Column("kind", _name(64), nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column("subject", _name(256), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("window_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("window_end_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _name(64), nullable=False),
        sa.Column("config_hash", _name(64), nullable=False),
        sa.Column("code_version", _name(64), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
    )
    op.create_index(
        op.f("ix_decisions_at_ms_model_decision_id"),
        "decisions",
        ["at_ms", "model", "decision_id"],
        unique=False,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", _name(64), nullable=False),
        sa.Column("topic", _name(249), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_id", name=op.f("uq_outbox_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_outbox_unsent",
        "outbox",
        ["id"],
        unique=False,
        sqlite_where=sa.text("sent_at IS NULL"),
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", _name(128), nullable=False),
        sa.Column("event_id", _name(64), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "event_id", name=op.f("pk_inbox")),
    )


def _create_registry() -> None:
    op.create_table(
        "models",
        sa.Column("name", _name(128), nullable=False),
        sa.Column("task", _name(64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("frozen", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "model_versions",
        sa.Column("model", _name(128), nullable=False),
        sa.Column("version", _name(128), nullable=False),
        sa.Column(
            "stage",
            sa.Enum(
                "DEVELOPMENT",
                "STAGING",
                "PRODUCTION",
                "ARCHIVED",
                name="stage",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=False,
        ),
        sa.Column("status", _name(64), nullable=False),
        sa.Column("artifact_uri", _name(1024), nullable=False),
        sa.Column("artifact_sha256", _name(64), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("lineage", sa.Text(), nullable=False),
        sa.Column("job_id", _name(64), nullable=True),
        sa.Column("registered_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('PENDING_REGISTRATION', 'REGISTERED', 'VALIDATION_FAILED', 'DEPLOYMENT_ACTIVE')",
            name=op.f("ck_model_versions_status"),
        ),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_model_versions_model_models")),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("job_id", name=op.f("uq_model_versions_job_id")),
    )
    op.create_index(
        "uq_model_versions_one_production",
        "model_versions",
        ["model"],
        unique=True,
        sqlite_where=sa.text("stage = 'PRODUCTION'"),
        postgresql_where=sa.text("stage = 'PRODUCTION'"),
    )
    op.create_table(
        "reference_profiles",
        sa.Column("model", _name(128), nullable=False),
        sa.Column("version", _name(128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _name(64), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name=op.f("fk_reference_profiles_model_version_model_versions"),
        ),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_reference_profiles")),
    )
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column("version", _name(128), nullable=False),
        sa.Column(
            "from_stage",
            sa.Enum(
                "DEVELOPMENT",
                "STAGING",
                "PRODUCTION",
                "ARCHIVED",
                name="from_stage",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=True,
        ),
        sa.Column(
            "to_stage",
            sa.Enum(
                "DEVELOPMENT",
                "STAGING",
                "PRODUCTION",
                "ARCHIVED",
                name="to_stage",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=False,
        ),
        sa.Column("actor", _name(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decision_id", _name(64), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name=op.f("fk_transitions_model_version_model_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index(
        op.f("ix_transitions_model_at_ms_id"), "transitions", ["model", "at_ms", "id"], unique=False
    )
    op.create_table(
        "policies",
        sa.Column("model", _name(128), nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("hash", _name(64), nullable=False),
        sa.PrimaryKeyConstraint("model", "effective_from_ms", name=op.f("pk_policies")),
    )


def _create_loops() -> None:
    op.create_table(
        "experiments",
        sa.Column("experiment_id", _name(128), nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("config_hash", _name(64), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "CREATED",
                "RUNNING",
                "COMPLETED_PROMOTED",
                "COMPLETED_ROLLED_BACK",
                "CANCELLED",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=False,
        ),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("decision_id", _name(64), nullable=True),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_experiments")),
    )
    op.create_index(
        "uq_experiments_one_running",
        "experiments",
        ["model"],
        unique=True,
        sqlite_where=sa.text("status = 'RUNNING'"),
        postgresql_where=sa.text("status = 'RUNNING'"),
    )
    op.create_table(
        "retraining_jobs",
        sa.Column("job_id", _name(64), nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "REQUESTED",
                "SUPPRESSED",
                "RUNNING",
                "SUCCEEDED",
                "VALIDATION_FAILED",
                "FAILED",
                "CANCELLED",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=False,
        ),
        sa.Column(
            "trigger",
            sa.Enum(
                "MANUAL",
                "SCHEDULED",
                "DRIFT_DETECTED",
                name="trigger",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", _name(128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("version", _name(128), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_retraining_jobs")),
    )
    op.create_index(
        "uq_retraining_jobs_one_open",
        "retraining_jobs",
        ["model"],
        unique=True,
        sqlite_where=sa.text("status IN ('REQUESTED', 'RUNNING')"),
        postgresql_where=sa.text("status IN ('REQUESTED', 'RUNNING')"),
    )
    op.create_table(
        "drift_episodes",
        sa.Column("episode_id", _name(64), nullable=False),
        sa.Column("model", _name(128), nullable=False),
        sa.Column("version", _name(128), nullable=False),
        sa.Column(
            "drift_type",
            sa.Enum(
                "CONCEPT_DRIFT",
                "DATA_DRIFT",
                "PREDICTION_DRIFT",
                "PERFORMANCE_DEGRADATION",
                name="drift_type",
                native_enum=False,
                create_constraint=True,
                length=64,
            ),
            nullable=False,
        ),
        sa.Column("severity", _name(16), nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("opened_by", _name(64), nullable=True),
        sa.Column("closed_by", _name(64), nullable=True),
        sa.CheckConstraint("severity IN ('warn', 'drift')", name=op.f("ck_drift_episodes_severity")),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_drift_episodes")),
    )
    op.create_index(
        op.f("ix_drift_episodes_model_opened_at_ms"),
        "drift_episodes",
        ["model", "opened_at_ms"],
        unique=False,
    )
