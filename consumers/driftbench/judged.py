"""A policy of the product as a detector: windows become rows, `domain.judgement.judge` judges them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from consumers.driftbench.streams import (
    LENGTH_MS,
    MODEL,
    VALUE,
    VERSION,
    Errors,
    Kind,
    Past,
    Seen,
    Stream,
    histogram,
)
from domain.judgement.alarm_rates import per_window, rates, within
from domain.judgement.decision import DecisionKind
from domain.judgement.judge import Frozen, judge
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.windows.moments import of
from domain.windows.rows import RowKey

_OFF: dict[str, Any] = {"features": None, "predictions": None, "errors": None}
_OUTCOME_S = 60
"""Seconds after a window's end at which its outcomes are complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Parts of the `drift` section of a policy document; those that it does not name are switched off."""

    name: str
    says: str
    document: Mapping[str, Any]
    kinds: tuple[Kind, ...]
    """Kinds of streams that it can watch."""
    share: int = 1
    """Models that have the rates of the document together."""

    @property
    def budget(self) -> float | None:
        """Declared false alarms per window of all models together; None if a part declares none."""
        declared = [
            rate.per_window
            for rate in rates(JudgementPolicy.from_json({"drift": _OFF | dict(self.document)}))
        ]
        if None in declared:
            return None
        return float(sum(rate for rate in declared if rate is not None))

    def policy(self, metric: str | None = None) -> JudgementPolicy:
        """For a stream of errors in this metric."""
        document = _OFF | dict(self.document)
        if metric is not None:
            document["error_metric"] = metric
            if "promise" in document:
                document["promise"] = {**document["promise"], "metric": metric}
        policy = JudgementPolicy.from_json({"drift": document})
        if self.share == 1:
            return policy
        shared = within(policy, per_window(policy) / self.share)
        for part, (rate, value) in shared.items():
            document[part] = {**document[part], rate: value}
        return JudgementPolicy.from_json({"drift": document})

    def begin(self, stream: Stream, past: Past) -> "Watching":
        metric = stream.metric if isinstance(stream, Errors) else None
        return Watching(self.policy(metric), past, metric)


class Watching:
    """One model from its first window on. `prepare` makes the rows, `take` judges them."""

    def __init__(self, policy: JudgementPolicy, past: Past, metric: str | None) -> None:
        self._frozen = Frozen(
            length_ms=LENGTH_MS,
            policies=[DatedPolicy(effective_from_ms=0, policy=policy)],
            profiles={VERSION: replace(past.profile, model=MODEL, version=VERSION)},
        )
        self._profile, self._metric = past.profile, metric
        self._state = ModelState()

    def prepare(self, seen: Seen) -> list[Row]:
        """The rows of one window, as the tally worker would have left them."""
        start_ms = seen.index * LENGTH_MS
        end_ms = start_ms + LENGTH_MS
        rows = [_row("input", start_ms, end_ms, self._inputs(seen))]
        if self._metric is not None and seen.items is not None:
            hits = 1.0 - seen.items if self._metric == "hit" else seen.items
            n = len(hits)
            body = {
                "n": n,
                "matched": n,
                "missing": 0,
                "served": n,
                "unscorable": 0,
                "metrics": {self._metric: of(hits).to_json()},
            }
            rows.append(_row("score", start_ms, end_ms + _OUTCOME_S * 1_000, body, _OUTCOME_S))
        return rows

    def take(self, rows: Sequence[Row]) -> bool:
        """Whether an episode opened in this window."""
        opened = False
        for decision in judge(MODEL, self._state, rows, self._frozen):
            opened |= decision.kind is DecisionKind.DRIFT
        return opened

    def step(self, seen: Seen) -> bool:
        return self.take(self.prepare(seen))

    def _inputs(self, seen: Seen) -> dict[str, Any]:
        if self._metric is not None or seen.items is None:
            n = sum(next(iter(seen.histograms.values()), [0])) or 1
            return {"n": n, "served": n, "duplicates": 0, "features": dict(seen.histograms)}
        n = len(seen.items)
        cells = histogram(self._profile.features[VALUE], seen.items)
        return {
            "n": n,
            "served": n,
            "duplicates": 0,
            "features": {VALUE: cells},
            "prediction_bins": cells,
            "prediction": of(seen.items[~np.isnan(seen.items)]).to_json(),
        }


def _row(kind: Any, start_ms: int, due_ms: int, body: Mapping[str, Any], horizon_s: int = 0) -> Row:
    key = RowKey(
        kind=kind,
        window_start_ms=start_ms,
        partition=0,
        model=MODEL,
        version=VERSION,
        variant="",
        experiment="",
        epoch=0,
        horizon_s=horizon_s,
    )
    return Row(key=key, due_ms=due_ms, body=body, digest="")
