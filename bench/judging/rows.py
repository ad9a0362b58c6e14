"""Window rows of made-up models, for measuring what judging them costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.rows import RowKey, WindowRow, canonical

Stream = Literal["stationary", "tolerated", "drifting"]
Part = Literal["judge", "worker live", "worker catching up"]

VERSION, LENGTH_MS, ITEMS, BINS = "1", 60_000, 200, 20
FEATURES, MODELS = (1, 50, 500), (1, 100, 1_000)
BESIDE = 12
"""Features of each model where the number of models is varied."""
WINDOWS = 64
"""Of a model: every level of the roll-up closes a block."""
LIVE_WINDOWS = 16
"""Of a model where every window is a transaction."""
SHIFT: dict[Stream, float] = {"stationary": 0.0, "tolerated": 0.12, "drifting": 0.8}
"""Share by which the lower half of the bins grows and the upper half shrinks; its PSI is about its square."""
_REFERENCE = FeatureReference(
    kind="numeric", edges=tuple(float(edge) for edge in range(1, BINS)), counts=(500,) * BINS + (0, 0)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement."""

    part: Part
    stream: Stream
    features: int
    models: int
    windows: int
    """Of each model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a cell judges."""

    profile: ReferenceProfile
    rows: Sequence[tuple[RowKey, int, bytes]]
    """Key, due time and body of one model's rows, in judging order."""

    def of_model(self, model: str) -> list[WindowRow]:
        return [WindowRow(replace(key, model=model), due_ms, body) for key, due_ms, body in self.rows]


def prepared(cell: Cell, seed: int) -> Prepared:
    """The rows of one model; all models of a cell have the same, under names of their own."""
    source = np.random.default_rng(seed)
    names = [f"feature_{number:03d}" for number in range(cell.features)]
    shift = SHIFT[cell.stream] * np.repeat([1.0, -1.0], BINS // 2)
    share = (1.0 + shift) / BINS
    counts = source.multinomial(ITEMS, share, size=(cell.windows, cell.features + 1))
    rows = []
    for window in range(cell.windows):
        tables = [[*cells, 0, 0] for cells in counts[window].tolist()]
        body = {
            "n": ITEMS,
            "served": ITEMS,
            "duplicates": 0,
            "prediction": _moments(source, ITEMS),
            "features": dict(zip(names, tables, strict=False)),
            "prediction_bins": tables[-1],
        }
        errors = _moments(source, ITEMS)
        scores = {
            "n": ITEMS,
            "matched": ITEMS,
            "missing": 0,
            "served": ITEMS,
            "unscorable": 0,
            "metrics": {"abs_error": errors, "abs_error_clipped": errors},
        }
        end_ms = (window + 1) * LENGTH_MS
        rows.append((_key("input", window), end_ms, canonical(body)))
        rows.append((_key("score", window), end_ms + LENGTH_MS // 2, canonical(scores)))
    profile = ReferenceProfile(
        model="",
        version=VERSION,
        task="regression",
        features=dict.fromkeys(names, _REFERENCE),
        prediction=_REFERENCE,
        error_clip=4.0,
    )
    return Prepared(profile=profile, rows=rows)


def _moments(source: np.random.Generator, n: int) -> dict[str, float]:
    values = np.abs(source.standard_normal(n))
    return {"n": n, "mean": float(values.mean()), "M2": float(values.var() * n)}


def _key(kind: Literal["input", "score"], window: int) -> RowKey:
    return RowKey(
        kind=kind,
        partition=0,
        window_start_ms=window * LENGTH_MS,
        model="",
        version=VERSION,
        variant="",
        experiment="",
        epoch=0,
        horizon_s=30 if kind == "score" else 0,
    )
