"""Every table of the store. `*_ms` columns are event time; `UtcDateTime` columns are wall clock and outside
every digest. "Absent" in a key is "", because NULL is never equal to NULL in a unique index.

The guarantees that the design rests on are constraints here, not conventions in code: primary keys make
effects idempotent, partial unique indexes allow one PRODUCTION version, one RUNNING experiment and one open
retraining job per model.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from consumers.store.types import AUTO_ID, JsonText, Prose, UtcDateTime, enum_column, name
from schemas.events import DriftType, ExperimentStatus, ModelStage, RetrainingStatus, RetrainingTrigger

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_per_model(index: str, table_condition: str) -> Index:
    return Index(
        index,
        "model",
        unique=True,
        sqlite_where=text(table_condition),
        postgresql_where=text(table_condition),
    )


deployment = Table(
    "deployment",
    metadata,
    Column("key", name(128), primary_key=True),
    Column("value", JsonText, nullable=False),
)

# ---------------------------------------------------------------- windows

window_tallies = Table(
    "window_tallies",
    metadata,
    Column("kind", name(8), primary_key=True),
    Column("window_start_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("model", name(128), primary_key=True),
    Column("version", name(128), primary_key=True),
    Column("variant", name(128), primary_key=True),
    Column("experiment", name(128), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("horizon_s", BigInteger, primary_key=True, autoincrement=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", name(64), nullable=False),
    CheckConstraint("kind IN ('input', 'score')", name="kind"),
    # the judge reads one model's rows as they fall due; and asks which models have any that are newly due
    Index(None, "model", "due_ms"),
    Index(None, "due_ms", "model"),
)

arrival_tallies = Table(
    "arrival_tallies",
    metadata,
    Column("side", name(16), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("window_start_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", name(64), nullable=False),
    CheckConstraint("side IN ('predictions', 'outcomes')", name="side"),
)

partition_progress = Table(
    "partition_progress",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("predictions_offset", BigInteger, nullable=False),
    Column("predictions_newest_ms", BigInteger, nullable=False),
    Column("outcomes_offset", BigInteger, nullable=False),
    Column("outcomes_newest_ms", BigInteger, nullable=False),
    Column("inputs_through_ms", BigInteger, nullable=False),
    Column("outcomes_through_ms", BigInteger, nullable=False),
    Column("prediction_arrivals_through_ms", BigInteger, nullable=False),
    Column("outcome_arrivals_through_ms", BigInteger, nullable=False),
)

# what retention has deleted of the two tables above, so that the sums over them go on being right
skipped_ranges = Table(
    "skipped_ranges",
    metadata,
    Column("topic", name(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("first_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("tallied", BigInteger, nullable=False),
    Column("actor", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

pruned = Table(
    "pruned",
    metadata,
    Column("source", name(16), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("through_ms", BigInteger, nullable=False),
    Column("counts", JsonText, nullable=False),
    CheckConstraint("source IN ('rows', 'predictions', 'outcomes')", name="source"),
)

divergences = Table(
    "divergences",
    metadata,
    Column("id", AUTO_ID, primary_key=True),
    Column("row_key", Text, nullable=False),
    Column("stored_digest", name(64), nullable=False),
    Column("offered_digest", name(64), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("row_key", "offered_digest"),
)

# ---------------------------------------------------------------- judge, outbox, inbox

judgement_states = Table(
    "judgement_states",
    metadata,
    Column("model", name(128), primary_key=True),
    Column("judged_through_ms", BigInteger, nullable=False),
    Column("state", JsonText, nullable=False),
    Column("tallies_digest", name(64), nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", name(64), primary_key=True),
    Column("kind", name(64), nullable=False),
    Column("model", name(128), nullable=False),
    Column("subject", name(256), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("window_start_ms", BigInteger, nullable=False),
    Column("window_end_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", name(64), nullable=False),
    Column("config_hash", name(64), nullable=False),
    Column("code_version", name(64), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Index(None, "at_ms", "model", "decision_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", AUTO_ID, primary_key=True),
    Column("event_id", name(64), nullable=False, unique=True),
    Column("topic", name(249), nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("headers", JsonText, nullable=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Index(
        "ix_outbox_unsent",
        "id",
        sqlite_where=text("sent_at IS NULL"),
        postgresql_where=text("sent_at IS NULL"),
    ),
    # the relay's log sequence is the id: an id must never come twice, not even after a deletion
    sqlite_autoincrement=True,
)

inbox = Table(
    "inbox",
    metadata,
    Column("consumer", name(128), primary_key=True),
    Column("event_id", name(64), primary_key=True),
    Column("result", Prose),
    Column("handled_at", UtcDateTime, nullable=False),
)

# ---------------------------------------------------------------- registry

models = Table(
    "models",
    metadata,
    Column("name", name(128), primary_key=True),
    Column("task", name(64), nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("frozen", Boolean, nullable=False, server_default=text("false")),
    Column("created_at_ms", BigInteger, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model", name(128), ForeignKey("models.name"), primary_key=True),
    Column("version", name(128), primary_key=True),
    Column("stage", enum_column(ModelStage, "stage"), nullable=False),
    Column("status", name(64), nullable=False),
    Column("artifact_uri", name(1024), nullable=False),
    Column("artifact_sha256", name(64), nullable=False),
    Column("manifest", JsonText, nullable=False),
    Column("metadata", JsonText, nullable=False),
    Column("lineage", JsonText, nullable=False),
    Column("job_id", name(64), unique=True),
    Column("registered_at_ms", BigInteger, nullable=False),
    CheckConstraint(
        "status IN ('PENDING_REGISTRATION', 'REGISTERED', 'VALIDATION_FAILED', 'DEPLOYMENT_ACTIVE')",
        name="status",
    ),
    _one_per_model("uq_model_versions_one_production", "stage = 'PRODUCTION'"),
)

reference_profiles = Table(
    "reference_profiles",
    metadata,
    Column("model", name(128), primary_key=True),
    Column("version", name(128), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("digest", name(64), nullable=False),
    Column("effective_from_ms", BigInteger, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["model_versions.model", "model_versions.version"]),
)

transitions = Table(
    "transitions",
    metadata,
    Column("id", AUTO_ID, primary_key=True),
    Column("model", name(128), nullable=False),
    Column("version", name(128), nullable=False),
    Column("from_stage", enum_column(ModelStage, "from_stage")),
    Column("to_stage", enum_column(ModelStage, "to_stage"), nullable=False),
    Column("actor", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("decision_id", name(64)),
    Column("epoch", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["model_versions.model", "model_versions.version"]),
    Index(None, "model", "at_ms", "id"),
)

policies = Table(
    "policies",
    metadata,
    Column("model", name(128), primary_key=True),
    Column("effective_from_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("body", JsonText, nullable=False),
    Column("hash", name(64), nullable=False),
)

# ---------------------------------------------------------------- experiments, retraining, drift

experiments = Table(
    "experiments",
    metadata,
    Column("experiment_id", name(128), primary_key=True),
    Column("model", name(128), nullable=False),
    Column("config", JsonText, nullable=False),
    Column("config_hash", name(64), nullable=False),
    Column("status", enum_column(ExperimentStatus, "status"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("closed_at_ms", BigInteger),
    Column("decision_id", name(64)),
    _one_per_model("uq_experiments_one_running", "status = 'RUNNING'"),
)

experiment_moves = Table(
    "experiment_moves",
    metadata,
    Column("id", AUTO_ID, primary_key=True),
    Column("experiment_id", name(128), ForeignKey("experiments.experiment_id"), nullable=False),
    Column("move", name(32), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("shares", JsonText),
    Column("actor", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("experiment_id", "epoch", "move"),
)

retraining_jobs = Table(
    "retraining_jobs",
    metadata,
    Column("job_id", name(64), primary_key=True),
    Column("model", name(128), nullable=False),
    Column("status", enum_column(RetrainingStatus, "status"), nullable=False),
    Column("trigger", enum_column(RetrainingTrigger, "trigger"), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("request", JsonText, nullable=False),
    Column("as_of_ms", BigInteger, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("lease_owner", name(128)),
    Column("lease_until", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("version", name(128)),
    Column("result", JsonText),
    _one_per_model("uq_retraining_jobs_one_open", "status IN ('REQUESTED', 'RUNNING')"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("model", name(128), primary_key=True),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("through_ms", BigInteger, nullable=False),
)

scheduled_requests = Table(
    "scheduled_requests",
    metadata,
    Column("model", name(128), primary_key=True),
    Column("due_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("version", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
)

drift_episodes = Table(
    "drift_episodes",
    metadata,
    Column("episode_id", name(64), primary_key=True),
    Column("model", name(128), nullable=False),
    Column("version", name(128), nullable=False),
    Column("drift_type", enum_column(DriftType, "drift_type"), nullable=False),
    Column("severity", name(16), nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger),
    Column("opened_by", name(64)),
    Column("closed_by", name(64)),
    CheckConstraint("severity IN ('warn', 'drift')", name="severity"),
    Index(None, "model", "opened_at_ms"),
)

# who knows of an episode; it changes no decision
episode_acknowledgements = Table(
    "episode_acknowledgements",
    metadata,
    Column("episode_id", name(64), ForeignKey("drift_episodes.episode_id"), primary_key=True),
    Column("actor", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("acknowledged_at", UtcDateTime, nullable=False),
)

drift_mutes = Table(
    "drift_mutes",
    metadata,
    Column("mute_id", name(64), primary_key=True),
    Column("model", name(128), nullable=False),
    # NULL: of every type
    Column("drift_type", enum_column(DriftType, "drift_type")),
    Column("effective_from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),
    Column("actor", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
    Column("ended_ms", BigInteger),
    Column("ended_by", name(128)),
    Column("ended_because", Prose),
    Index(None, "model", "effective_from_ms"),
)

# budgets of false alarms that were divided over the fleet; what follows from one is in the models' policies
drift_budget_orders = Table(
    "drift_budget_orders",
    metadata,
    Column("id", AUTO_ID, primary_key=True),
    Column("per_month", Text, nullable=False),
    Column("policies", JsonText, nullable=False),
    Column("actor", name(128), nullable=False),
    Column("reason", Prose, nullable=False),
    Column("ordered_at", UtcDateTime, nullable=False),
)
