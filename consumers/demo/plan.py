"""The demo's settings and policy: daily prices, weekly windows, few data and much patience.

Policies are set for daily data; the data are as they came. Why each number is what it is stands beside it.
"""

from pathlib import Path
from typing import Any

MODEL = "brent-move"
DAY_S = 86_400
DAY_MS = DAY_S * 1_000
WEEK_MS = 7 * DAY_MS
SLACK_MS = 3_600_000
HORIZON_S = DAY_S
PARTITIONS = 2
TOPIC_PREFIX = "brent-demo."
_ROLL_UP = {"tolerance_warn": 0.1, "tolerance_drift": 0.25, "false_alarms_per_window": 1e-3}


def settings_document(
    *, kafka: str | None = None, topic_prefix: str = TOPIC_PREFIX, database: str | None = None
) -> dict[str, Any]:
    """What the demo writes to `lifecycle.toml`; `kafka` are brokers, `database` is the URL of a store."""
    on_kafka = {
        "topic_prefix": topic_prefix,
        # every week is waited for: half a second of rest for each worker would add up
        "poll_interval_s": 0.02,
        "kafka": {"bootstrap": kafka, "group": topic_prefix.rstrip(".")},
    }
    return {
        "partitions": PARTITIONS,
        **({"database_url": database} if database else {}),
        **(on_kafka if kafka else {}),
        # the demo drives event time itself
        "heartbeats": False,
        "log_level": "WARNING",
        "windows": {
            "length_s": WEEK_MS / 1_000,
            "slack_s": SLACK_MS / 1_000,
            # over Christmas the outcome of a day's prediction may come five days later
            "grace_s": 5.0 * DAY_S,
            "max_horizon_s": 7 * DAY_S,
        },
    }


def policy_document(*, trainer: Path, archive: Path, archive_sha256: str) -> dict[str, Any]:
    """The model's policy: what raises an alarm, what it leads to, how a challenger is made and tried."""
    return {
        "drift": {
            # five predictions a week: only blocks of 32 and 64 weeks hold the 100 that a test needs
            "features": _ROLL_UP,
            "predictions": _ROLL_UP,
            "errors": {"delta": 0.002},
            "error_metric": "abs_error_clipped",
            "episodes": {"quiet_windows": 5},
        },
        "retrain": {
            # the price of oil drifts for ever: that alone is no reason to retrain, a growing error is
            "drift_types": ["CONCEPT_DRIFT", "PERFORMANCE_DEGRADATION"],
            "min_severity": "drift",
            "cooldown_ms": 180 * DAY_MS,
            "budget": 1,
            "budget_window_ms": 30 * DAY_MS,
            "hold_while_experiment": True,
        },
        "training": {
            "command": ["{python}", str(trainer), "{job_dir}"],
            "history_ms": 40 * 366 * DAY_MS,
            "min_rows": 375,
            "holdout_rows": 125,
            "seed": 7,
            "task": "float",
            # what was known before serving began is part of every training: the log alone forgets 1990
            "params": {"archive": str(archive), "archive_sha256": archive_sha256},
        },
        "validation": {"tolerance": 0.0, "min_rows": 60},
        "experiment": {
            "strategy": "SHADOW_MODE",
            "primary": {"metric": "abs_error", "direction": "decrease"},
            "alpha": 0.05,
            "harm": [{"metric": "abs_error", "direction": "decrease", "margin": 0.0}],
            "harm_alpha": 0.05,
            "minimums": {"batches": 20, "outcomes_per_arm": 100, "arrived_share": 0.95},
            # two weeks a batch: ten outcomes, ten times the label horizon
            "batch": {"min_outcomes": 10, "min_per_arm": 10, "horizon_multiple": 5.0},
            # a year of trading days is when we hope to know; after three we stop asking
            "n_star": 250,
            "max_outcomes": 756,
        },
    }
