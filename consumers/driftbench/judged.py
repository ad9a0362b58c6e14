"""A policy of the product as a detector: windows become rows, `domain.judgement.judge` judges them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from consumers.driftbench.streams import LENGTH_MS, MODEL, VALUE, VERSION, Past, Seen, Stream, histogram
from domain.judgement.decision import DecisionKind
from domain.judgement.judge import Frozen, judge
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.windows.moments import of
from domain.windows.rows import RowKey

_OFF: dict[str, Any] = {"features": None, "predictions": None, "errors": None}
_HISTOGRAMS = ("features", "feature_scores", "predictions", "prediction_scores")
_SCORES = ("errors", "promise")
_OUTCOME_S = 60
"""Seconds after a window's end at which its outcomes are complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The `drift` section of a policy document; parts that it does not name are switched off."""

    name: str
    says: str
    document: Mapping[str, Any]
    kinds: tuple[str, ...]
    """Kinds of streams that it can watch."""
    budget: float | None = None
    """Declared false alarms per window of one model; None if it declares none."""
    whole: bool = field(default=False)
    """Parts that the document does not name take their defaults."""

    def policy(self, metric: str | None = None) -> JudgementPolicy:
        document = {**({} if self.whole else _OFF), **self.document}
        if metric is not None:
            document["error_metric"] = metric
        return JudgementPolicy.from_json({"drift": document})

    def begin(self, stream: Stream, past: Past) -> "Watching":
        metric = getattr(stream, "metric", None)
        return Watching(self.policy(metric), past, metric, self._reads())

    def _reads(self) -> frozenset[str]:
        """What of a window the policy looks at: rows hold no more than that."""
        reads = set()
        for name, part in self.document.items():
            if name in _HISTOGRAMS:
                reads.add("histogram")
            elif name in _SCORES:
                reads.add("errors")
            elif name == "prediction_level":
                reads.add("moments")
            elif name == "classics":
                reads |= {"errors" if each["reads"] == "errors" else "moments" for each in part}
        return frozenset(reads | ({"histogram", "moments", "errors"} if self.whole else set()))


class Watching:
    """One model from its first window on. `prepare` makes the rows, `take` judges them."""

    def __init__(
        self, policy: JudgementPolicy, past: Past, metric: str | None, reads: frozenset[str]
    ) -> None:
        # retraining does not end a drift here: a bench that resets detectors by it would hide repeated alarms
        self._frozen = Frozen(
            length_ms=LENGTH_MS,
            policies=[DatedPolicy(effective_from_ms=0, policy=policy)],
            profiles={VERSION: replace(past.profile, model=MODEL, version=VERSION)},
        )
        self._profile, self._metric, self._reads = past.profile, metric, reads
        self._state = ModelState()
        self.open = False
        """Whether an episode is open."""

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
        self.open = any(watch.openings for watch in self._state.watches.values())
        return opened

    def step(self, seen: Seen) -> bool:
        return self.take(self.prepare(seen))

    def _inputs(self, seen: Seen) -> dict[str, Any]:
        if self._metric is not None or seen.items is None:
            n = sum(next(iter(seen.histograms.values()), [0])) or 1
            return {"n": n, "served": n, "duplicates": 0, "features": dict(seen.histograms)}
        n = len(seen.items)
        body: dict[str, Any] = {"n": n, "served": n, "duplicates": 0}
        if "histogram" in self._reads:
            cells = histogram(self._profile.features[VALUE], seen.items)
            body |= {"features": {VALUE: cells}, "prediction_bins": cells}
        if "moments" in self._reads:
            present = seen.items[seen.items == seen.items]
            body["prediction"] = of(present).to_json()
        return body


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
