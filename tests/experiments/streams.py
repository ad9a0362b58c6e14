"""Windows of made-up experiments for the tests: seeded, one minute long, in due order."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.verdict import Verdict

MINUTE_MS = 60_000
Body = Mapping[str, Any]


def plan(strategy: str = "PERCENTAGE_SPLIT", treatments: int = 1, **fields: object) -> ExperimentPlan:
    share = 1 / (treatments + 1)
    names = ["champion", *(f"challenger-{k}" for k in range(1, treatments + 1))]
    base: dict[str, Any] = {
        "experiment": "e",
        "model": "m",
        "strategy": strategy,
        "variants": [
            {"name": name, "version": str(k), "share": share, "champion": k == 0}
            for k, name in enumerate(names)
        ],
        "primary": {"metric": "abs_error", "direction": "decrease"},
        "harm": [{"metric": "abs_error", "direction": "decrease", "margin": 0.0}],
    }
    return ExperimentPlan.from_json(base | fields)


def moments(values: np.ndarray) -> Body:
    mean = float(values.mean())
    return {"n": len(values), "mean": mean, "M2": float(((values - mean) ** 2).sum())}


def arm(metrics: Mapping[str, np.ndarray], missing: int = 0) -> Body:
    n = len(next(iter(metrics.values())))
    body = {name: moments(values) for name, values in metrics.items() if n}
    return {"n": n + missing, "matched": n, "missing": missing, "metrics": body}


def shadow_arm(differences: np.ndarray, metric: str = "abs_error") -> Body:
    n = len(differences)
    return {"n": n, "matched": n, "missing": 0, "metrics": {}, "paired": {metric: moments(differences)}}


def hit_arm(only_challenger: int, only_champion: int, n: int) -> Body:
    differences = np.array([1.0] * only_challenger + [-1.0] * only_champion)
    values = np.concatenate([differences, np.zeros(n - len(differences))])
    hits = {"hit": {"n": n, "b": only_challenger, "c": only_champion}}
    return {**shadow_arm(values, "hit"), "paired_hits": hits}


def windows(arms: Iterable[Mapping[str, Body]], horizon_s: int = 1) -> Iterator[WindowScores]:
    for k, one in enumerate(arms):
        end_ms = (k + 1) * MINUTE_MS
        yield WindowScores(
            window_start_ms=k * MINUTE_MS,
            window_end_ms=end_ms,
            due_ms=end_ms + horizon_s * 1000,
            horizon_s=horizon_s,
            arms=one,
        )


def split_arms(
    generator: np.random.Generator, count: int, gain: float, per_arm: int = 50
) -> list[dict[str, Body]]:
    return [
        {
            "champion": arm({"abs_error": generator.standard_normal(per_arm)}),
            "challenger-1": arm({"abs_error": generator.standard_normal(per_arm) - gain}),
        }
        for _ in range(count)
    ]


def run(
    chosen: ExperimentPlan, scores: Iterable[WindowScores], state: ExperimentState | None = None
) -> tuple[ExperimentState, Verdict | None]:
    """Until the first verdict or the end."""
    state = state or ExperimentState()
    for window in scores:
        state, found = step(chosen, state, window)
        if found is not None:
            return state, found
    return state, None


def kind(found: Verdict | None) -> str | None:
    return found.kind if found else None


def unit_sums(units: np.ndarray, values: np.ndarray, buckets: int = 64) -> dict[str, list[float]]:
    """As a score row has them, with a unit's number modulo `buckets` for a hash."""
    homes = units % buckets
    counts = np.bincount(homes, minlength=buckets)
    sums = np.bincount(homes, weights=values, minlength=buckets)
    return {str(b): [int(counts[b]), float(sums[b])] for b in range(buckets) if counts[b]}


def unit_arm(units: np.ndarray, metrics: Mapping[str, np.ndarray]) -> Body:
    sums = {name: unit_sums(units, values) for name, values in metrics.items() if len(values)}
    return {**arm(metrics), "units": sums}


def sticky_arms(
    generator: np.random.Generator, count: int, gain: float, units: int = 400, spread: float = 0.3
) -> list[dict[str, Body]]:
    """100 requests a window of units that keep their arm and have effects of their own."""
    own = generator.normal(0.0, spread, units)
    treated = generator.random(units) < 0.5
    arms = []
    for _ in range(count):
        who = generator.integers(0, units, 100)
        values = own[who] + generator.standard_normal(100) - gain * treated[who]
        arms.append(
            {
                name: unit_arm(who[chosen], {"abs_error": values[chosen]})
                for name, chosen in (("champion", ~treated[who]), ("challenger-1", treated[who]))
            }
        )
    return arms
