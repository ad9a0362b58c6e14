"""Pasts of a champion, as score rows tell them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from consumers.rehearsal.past import Past
from consumers.rehearsal.windows import Frame, TalliedWindow
from domain.windows.moments import of

LENGTH_MS = 60_000
DUE_MS = 61_000


def source(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def frame(number: int, horizon_s: int = 1) -> Frame:
    start_ms = number * LENGTH_MS
    return Frame(
        start_ms=start_ms, end_ms=start_ms + LENGTH_MS, due_ms=start_ms + DUE_MS, horizon_s=horizon_s
    )


def body(values: Sequence[float], x: Sequence[float] | None = None, missing: int = 0) -> dict[str, Any]:
    n = len(values)
    metrics = {"abs_error": of(values, x).to_json()} if n else {}
    return {"n": n + missing, "matched": n, "missing": missing, "served": n + missing, "metrics": metrics}


def past(windows: int = 100, per_window: int = 20, *, apart: bool = False, seed: int = 1) -> Past:
    """Standard normal errors, a window a minute."""
    drawn = source(seed).standard_normal((windows, per_window))
    return Past(
        windows=[
            TalliedWindow(frame=frame(number), body=body(values.tolist()), apart=apart)
            for number, values in enumerate(drawn)
        ]
    )
