"""The bodies of rows as the oracle writes them: plain loops, exact fractions, no code of the fold."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import orjson

from domain.windows.calibration import Calibration
from domain.windows.profile import FeatureReference, ReferenceProfile
from tests.windows.records import Outcome, Prediction


@dataclass(frozen=True)
class Scored:
    record: Prediction
    outcome: Outcome | None
    metrics: dict[str, float]
    values: dict[str, float]

    @property
    def contest(self) -> tuple[Any, ...]:
        return self.record.model, self.record.experiment, self.record.epoch


def group(r: Prediction) -> tuple[Any, ...]:
    return r.model, r.version, r.variant or "", r.experiment or "", r.epoch


def dumps(body: Any) -> bytes:
    return orjson.dumps(plain(body), option=orjson.OPT_SORT_KEYS)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return value


def exact_sum(values: Sequence[float]) -> float:
    return float(sum((Fraction(v) for v in values), Fraction(0)))


def moments(values: Sequence[float], xs: Sequence[float] | None = None) -> dict[str, float]:
    n = len(values)
    mean = exact_sum(values) / n
    body: dict[str, float] = {
        "n": n,
        "mean": mean,
        "M2": exact_sum([(v - mean) * (v - mean) for v in values]),
    }
    if xs is not None:
        mx = exact_sum(xs) / n
        body["mean_x"] = mx
        body["M2_x"] = exact_sum([(x - mx) * (x - mx) for x in xs])
        body["Cxy"] = exact_sum([(x - mx) * (v - mean) for x, v in zip(xs, values, strict=True)])
    return body


def unit_bucket(r: Prediction) -> int:
    digest = hashlib.blake2b(f"{r.experiment}|{r.unit}".encode(), digest_size=8).digest()
    return digest[0] % 64


def bin_counts(ref: FeatureReference, values: Sequence[Any]) -> list[int]:
    size = len(ref.edges) + 1 if ref.kind == "numeric" else len(ref.categories)
    counts = [0] * (size + 2)
    for value in values:
        if value is None:
            counts[size] += 1
        elif ref.kind == "numeric":
            if isinstance(value, str):
                counts[size + 1] += 1
            else:
                counts[sum(float(value) > edge for edge in ref.edges)] += 1
        else:
            text = {True: "true", False: "false"}[value] if isinstance(value, bool) else value
            text = text if isinstance(text, str) else repr(float(text)) if text else "0.0"
            counts[ref.categories.index(text) if text in ref.categories else size + 1] += 1
    return counts


def estimate(predictions: Sequence[float | str], calibration: Calibration) -> dict[str, float]:
    """Sums of calibrated probabilities; nothing when no prediction is a probability."""
    sides: dict[bool, list[float]] = {True: [], False: []}
    for p in predictions:
        if not isinstance(p, str) and 0 <= p <= 1:
            sides[p >= 0.5].append(calibrated(calibration, p))
    if not sides[True] and not sides[False]:
        return {}
    return {
        "n1": len(sides[True]),
        "s1": exact_sum(sides[True]),
        "n0": len(sides[False]),
        "s0": exact_sum(sides[False]),
    }


def calibrated(calibration: Calibration, p: float) -> float:
    """Linear between the thresholds on either side of `p`, never above the right one."""
    points = list(zip(calibration.x, calibration.y, strict=True))
    for x, y in points:
        if p == x:
            return y
    below, above = [point for point in points if point[0] < p], [point for point in points if point[0] > p]
    if not below or not above:
        return (below[-1] if below else above[0])[1]
    (x0, y0), (x1, y1) = below[-1], above[0]
    return min(y0 + (y1 - y0) / (x1 - x0) * (p - x0), y1)


def metrics(r: Prediction, o: Outcome, profile: ReferenceProfile | None) -> dict[str, float]:
    """Nothing when the outcome does not fit the prediction."""
    p, y = r.prediction, o.actual
    if isinstance(p, str) and isinstance(y, str):
        return {"hit": 1.0 if p == y else 0.0}
    if isinstance(p, str) or isinstance(y, str):
        return {}
    if profile is not None and profile.task == "probability":
        return probability_metrics(p, y)
    error = abs(p - y)
    if not (error * error <= 1e100 and abs(y) <= 1e100):
        return {}
    sign = (p > 0) - (p < 0)
    result = {
        "abs_error": error,
        "squared_error": error * error,
        "sign_hit": 1.0 if sign == (y > 0) - (y < 0) else 0.0,
        "directional_return": sign * y,
    }
    if profile is not None and profile.error_clip is not None:
        result["abs_error_clipped"] = min(error, profile.error_clip)
    return result


def probability_metrics(p: float, y: float) -> dict[str, float]:
    if not 0 <= p <= 1 or y not in (0, 1):
        return {}
    kept = min(max(p, 1e-15), 1 - 1e-15)
    likelihood = kept if y == 1 else 1 - kept
    hit = (p >= 0.5) == (y == 1)
    return {"log_loss": -logarithm(likelihood), "brier": (p - y) * (p - y), "hit": 1.0 if hit else 0.0}


def logarithm(x: float) -> float:
    """ln by the documented series: m 2^e, s = (m-1)/(m+1), e ln 2 + 2 (s + s^3/3 + s^5/5 + ... + s^25/25)."""
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m, e = m * 2, e - 1
    s = (m - 1) / (m + 1)
    tail = 0.0
    for odd in range(25, 1, -2):
        tail = (tail + 1 / odd) * (s * s)
    return e * 0.6931471805599453 + (s + s * tail) * 2


def score_body(mine: list[Scored], everyone: list[Scored]) -> dict[str, Any]:
    matched = [s for s in mine if s.outcome is not None]
    unscorable = [s for s in matched if not s.metrics]
    body: dict[str, Any] = {
        "n": len(mine),
        "matched": len(matched),
        "missing": len(mine) - len(matched),
        "served": sum(1 for s in mine if s.record.served),
        "unscorable": len(unscorable),
    }
    xs = [s.record.covariate for s in matched]
    adjusted = all(x is not None and -1e100 <= x <= 1e100 for x in xs)
    names = {name for s in matched for name in (*s.metrics, *s.values)}
    for name in names:
        have = [
            (s, {**s.metrics, **s.values}[name]) for s in matched if name in s.metrics or name in s.values
        ]
        covariates = [s.record.covariate or 0.0 for s, _ in have] if adjusted else None
        body.setdefault("metrics", {})[name] = moments([v for _, v in have], covariates)
        buckets: dict[int, list[float]] = defaultdict(list)
        for s, v in have:
            if s.record.experiment is not None and s.record.unit is not None:
                buckets[unit_bucket(s.record)].append(v)
        if buckets:
            sums = {b: [len(vs), exact_sum(vs)] for b, vs in buckets.items()}
            body.setdefault("units", {})[name] = sums
    return body | contrast(mine, everyone)


def contrast(mine: list[Scored], everyone: list[Scored]) -> dict[str, Any]:
    """Shadow minus served on the same request of the same experiment."""
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for s in mine:
        if s.record.served or s.record.experiment is None:
            continue
        for name, value in s.metrics.items():
            rivals = [
                o
                for o in everyone
                if o.record.served
                and o.contest == s.contest
                and o.record.prediction_id == s.record.prediction_id
                and name in o.metrics
            ]
            if rivals:
                rival = min(rivals, key=lambda o: (o.record.variant or "", o.record.version))
                pairs[name].append((value, rival.metrics[name]))
    body: dict[str, Any] = {}
    for name, both in pairs.items():
        body.setdefault("paired", {})[name] = moments([ours - theirs for ours, theirs in both])
        if name in ("hit", "sign_hit"):
            won, lost = sum(a > b for a, b in both), sum(a < b for a, b in both)
            body.setdefault("paired_hits", {})[name] = {"n": len(both), "b": won, "c": lost}
    return body
