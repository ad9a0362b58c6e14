"""Stories to tell, small and made by arithmetic alone."""

import math
from typing import Any

from consumers.demo.story import DemoStory, Episode, Job, Promotion, Series, Trial

DAY_MS = 86_400_000
START_MS = 800_000_000_000 // DAY_MS * DAY_MS


def at(day: int) -> int:
    return START_MS + day * DAY_MS


def series(days: int = 900, promoted_day: int = 500) -> Series:
    """Version 1 is 0.3 off every day, version 2, from `promoted_day` on, 0.1."""
    actual = [1.0 + 0.5 * math.sin(day / 40) for day in range(days)]
    later = [day >= promoted_day for day in range(days)]
    frozen = [value + 0.3 for value in actual]
    return Series(
        at_ms=tuple(at(day) for day in range(days)),
        price=tuple(20 + 5 * math.sin(day / 90) for day in range(days)),
        actual=tuple(actual),
        served=tuple(
            value + 0.1 if new else old for value, old, new in zip(actual, frozen, later, strict=True)
        ),
        served_version=tuple("2" if new else "1" for new in later),
        frozen_v1=tuple(frozen),
    )


def body(kind: str, **evidence: Any) -> dict[str, Any]:
    return {"kind": kind, "evidence": evidence}


def measure(estimate: float, log_e: float, **other: Any) -> dict[str, Any]:
    return {
        "metric": "abs_error",
        "claim": "better",
        "threshold": math.log(20),
        "log_e": log_e,
        "estimate": estimate,
        "lower": estimate - 0.01,
        "upper": estimate + 0.01,
        **other,
    }


def trial(verdict: str | None = "PROMOTE", **other: Any) -> Trial:
    log_e = math.log(26) if verdict == "PROMOTE" else math.log(0.08)
    evidence = body(
        "verdict",
        verdict=verdict,
        outcomes=456,
        batches=31,
        rule="challenger is better on abs_error",
        treatments={"challenger": {"primary": measure(0.0155, log_e), "harm": []}},
    )
    values = {
        "id": "brent-2-v-1",
        "champion_version": "1",
        "challenger_version": "2",
        "strategy": "SHADOW_MODE",
        "metric": "abs_error",
        "status": "COMPLETED_PROMOTED",
        "started_at_ms": at(300),
        "ended_at_ms": at(500),
        "verdict": verdict,
        "decision_id": "verdict-1",
        "evidence": evidence,
        **other,
    }
    return Trial(**values)


def error_episode(day: int, **other: Any) -> Episode:
    evidence = body("drift", metric="abs_error_clipped", mean_before=0.31, mean_after=0.52, sample_size=400)
    values = {
        "id": f"error-{day}",
        "version": "1",
        "drift_type": "CONCEPT_DRIFT",
        "severity": "drift",
        "opened_at_ms": at(day),
        "closed_at_ms": at(day + 30),
        "evidence": evidence,
        **other,
    }
    return Episode(**values)


def input_episode(day: int, *features: str) -> Episode:
    return error_episode(
        day, id=f"input-{day}", drift_type="DATA_DRIFT", evidence=body("drift", features=list(features))
    )


def job(day: int, status: str = "SUCCEEDED", **other: Any) -> Job:
    validation = {"n": 125, "challenger_mae": 0.2941, "champion_mae": 0.3101, "champion_version": "1"}
    values = {
        "id": f"job-{day}",
        "status": status,
        "opened_at_ms": at(day),
        "reason": "CONCEPT_DRIFT (drift)",
        "validation": validation,
        **other,
    }
    return Job(**values)


def story(**other: Any) -> DemoStory:
    """Drift, a job, an experiment and a promotion."""
    told = trial()
    values = {
        "model": "brent",
        "predictions": 1_100,
        "outcomes": 900,
        "windows": 129,
        "drift_episodes": (
            input_episode(50, "price", "mean_60"),
            input_episode(120, "price"),
            input_episode(180, "price", "abs_move"),
            error_episode(300),
            input_episode(400, "mean_5"),
        ),
        "retraining_jobs": (job(300, version="2", train_rows=1_200),),
        "experiments": (told,),
        "promotions": (
            Promotion(
                at_ms=at(500),
                version="2",
                previous_version="1",
                actor="registry",
                decision_id="verdict-1",
                evidence=told.evidence,
            ),
        ),
        "divergences": 0,
        "conservation_ok": True,
        "report": "report.html",
        "series": series(),
        "change_points_ms": (at(250),),
        **other,
    }
    return DemoStory(**values)


def uneventful(days: int = 0) -> DemoStory:
    """Nothing happened."""
    return story(
        drift_episodes=(),
        retraining_jobs=(),
        experiments=(),
        promotions=(),
        change_points_ms=(),
        series=series(days, promoted_day=days),
    )
