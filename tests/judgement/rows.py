"""Window rows of one model as the judge reads them, filled in where a test does not care."""

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any

import orjson

from domain.drift.adwin import AdwinPolicy
from domain.drift.episodes import EpisodePolicy
from domain.drift.retrain import RetrainPolicy
from domain.drift.rollup import RollUpPolicy
from domain.experiments.plan import ExperimentPlan
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.judge import Frozen, judge
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.judgement.trials import DatedPlan
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.rows import RowKey

MODEL = "m"
LENGTH = 1_000
GRACE = 500
_HALVES = FeatureReference(kind="numeric", edges=(0.0,), counts=(5_000, 5_000, 0, 0))
POLICY = JudgementPolicy(
    features=RollUpPolicy(levels=3),
    predictions=RollUpPolicy(levels=3),
    errors=AdwinPolicy(),
    episodes=EpisodePolicy(quiet_windows=3),
    retrain=RetrainPolicy(cooldown_ms=0, budget=100),
)
PLAN = ExperimentPlan.from_json(
    {
        "experiment": "e",
        "model": MODEL,
        "strategy": "SHADOW_MODE",
        "variants": [
            {"name": "champion", "version": "1", "champion": True},
            {"name": "challenger", "version": "2"},
        ],
        "primary": {"metric": "abs_error", "direction": "decrease"},
        "minimums": {"batches": 2, "outcomes_per_arm": 10},
        "batch": {"min_outcomes": 10, "min_per_arm": 2, "horizon_multiple": 1.0},
        "variances": {"abs_error": 0.01},
        "n_star": 100,
    }
)


def profile(version: str = "1", effective_from_ms: int = 0) -> ReferenceProfile:
    return ReferenceProfile(
        model=MODEL,
        version=version,
        task="regression",
        effective_from_ms=effective_from_ms,
        features={"x": _HALVES, "y": _HALVES},
        prediction=_HALVES,
        error_clip=1.0,
    )


def frozen(
    *policies: tuple[int, JudgementPolicy],
    plan: DatedPlan | None = None,
    profiles: Sequence[ReferenceProfile] | None = None,
) -> Frozen:
    found = [profile("1"), profile("2")] if profiles is None else profiles
    return Frozen(
        length_ms=LENGTH,
        policies=[DatedPolicy(effective_from_ms=at, policy=one) for at, one in policies or [(0, POLICY)]],
        profiles={one.version: one for one in found},
        plans={} if plan is None else {plan.plan.experiment: plan},
    )


def _row(kind: Any, window: int, due_ms: int, body: dict[str, Any], **key: Any) -> Row:
    names = {
        "partition": 0,
        "version": "1",
        "variant": "",
        "experiment": "",
        "epoch": 0,
        "horizon_s": 0,
        **key,
    }
    written = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return Row(
        key=RowKey(kind=kind, window_start_ms=window * LENGTH, model=MODEL, **names),
        due_ms=due_ms,
        body=orjson.loads(written),
        digest=hashlib.sha256(written).hexdigest(),
    )


def inputs(
    window: int,
    *,
    n: int = 400,
    low: int = 200,
    predicted_low: int | None = None,
    level: float | None = None,
    error_rate: float | None = None,
    served: bool = True,
    **key: Any,
) -> Row:
    """One window's inputs: `low` of `n` items of feature x lie in its lower half; y never moves.

    `level` is the predictions' mean, with a variance of 1; at `error_rate` the inputs let expect errors.
    """
    below = n // 2 if predicted_low is None else predicted_low
    body: dict[str, Any] = {
        "n": n,
        "served": n if served else 0,
        "duplicates": 0,
        "features": {"x": [low, n - low, 0, 0], "y": [n // 2, n - n // 2, 0, 0]},
        "prediction_bins": [below, n - below, 0, 0],
    }
    if level is not None:
        body["prediction"] = {"n": n, "mean": level, "M2": float(n)}
    if error_rate is not None:
        half = n // 2
        body["estimate"] = {
            "n1": half,
            "s1": half * (1 - error_rate),
            "n0": n - half,
            "s0": (n - half) * error_rate,
        }
    return _row("input", window, (window + 1) * LENGTH, body, **key)


def scores(
    window: int,
    *,
    n: int = 40,
    mean: float = 0.1,
    spread: float = 0.01,
    served: bool = True,
    gain: float | None = None,
    hit: float | None = None,
    horizon_s: int = 1,
    **key: Any,
) -> Row:
    """One window's errors; `gain` is how much smaller a shadow's are than the served answer's.

    With `hit`, the share of right answers, the errors are those of a probability.
    """
    moments = {"n": n, "mean": mean, "M2": n * spread}
    body: dict[str, Any] = {
        "n": n,
        "matched": n,
        "missing": 0,
        "served": n if served else 0,
        "unscorable": 0,
        "metrics": {"abs_error": moments, "abs_error_clipped": moments},
    }
    if hit is not None:
        body["metrics"] = {"hit": {"n": n, "mean": hit, "M2": n * hit * (1 - hit)}}
    if gain is not None:
        body["paired"] = {"abs_error": {"n": n, "mean": -gain, "M2": n * 0.01}}
    due_ms = (window + 1) * LENGTH + horizon_s * 1_000 + GRACE
    return _row("score", window, due_ms, body, horizon_s=horizon_s, **key)


def trial(window: int, *, gain: float = 0.0, epoch: int = 1, n: int = 40) -> list[Row]:
    """Both arms of the experiment in one window."""
    arms: dict[str, Any] = {"experiment": "e", "epoch": epoch, "n": n}
    return [
        scores(window, version="1", variant="champion", **arms),
        scores(window, version="2", variant="challenger", served=False, gain=gain, **arms),
    ]


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The order in which the store hands rows over."""

    def order(row: Row) -> tuple[Any, ...]:
        k = row.key
        rest = (k.version, k.variant, k.experiment, k.epoch, k.partition)
        return (row.due_ms, k.kind, k.window_start_ms, k.horizon_s, *rest)

    return sorted(rows, key=order)


def decide(rows: Sequence[Row], configuration: Frozen | None = None) -> list[Decision]:
    """All decisions of a model whose whole life is `rows`."""
    return list(judge(MODEL, ModelState(), in_order(rows), configuration or frozen()))


def of_kind(decisions: Sequence[Decision], kind: DecisionKind) -> list[Decision]:
    return [decision for decision in decisions if decision.kind is kind]


def kinds(decisions: Sequence[Decision]) -> list[str]:
    return [decision.kind.value for decision in decisions]


def stored(state: ModelState, r: Random) -> ModelState:
    """The state as a database gives it back, which may keep keys in any order."""
    return ModelState.from_json(_shuffled(orjson.loads(orjson.dumps(state.to_json())), r))


def _shuffled(value: Any, r: Random) -> Any:
    if isinstance(value, dict):
        names = list(value)
        r.shuffle(names)
        return {name: _shuffled(value[name], r) for name in names}
    return [_shuffled(item, r) for item in value] if isinstance(value, list) else value
