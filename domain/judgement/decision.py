"""What a judgement decides: plain facts with the evidence that lets anyone recompute them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

Json = Mapping[str, Any]
Key = tuple[str, str, str, str, str]
"""Kind, model, subject, window start and time of a decision."""


class DecisionKind(StrEnum):
    DRIFT = "drift"
    """An episode opened."""
    ESCALATION = "escalation"
    """A warning became a drift; the episode stays the same."""
    RECOVERY = "recovery"
    """An episode closed."""
    RETRAIN = "retrain"
    VERDICT = "verdict"
    """An experiment ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision. `(kind, model, subject, window_start_ms, at_ms)` is its natural key."""

    kind: DecisionKind
    model: str
    subject: str
    """Version and drift type, or the experiment."""
    at_ms: int
    """Event time: when the rows that decided it fell due."""
    window_start_ms: int
    window_end_ms: int
    """The range of windows that the evidence covers."""
    config_hash: str
    evidence: Json
    """Everything the decision rests on; event time only."""
    cause: Key | None = None
    """Key of the decision that opened the episode which this one follows."""

    @property
    def key(self) -> Key:
        """The natural key, as strings; the decision's id is made of it."""
        return (self.kind.value, self.model, self.subject, str(self.window_start_ms), str(self.at_ms))

    def body(self) -> bytes:
        """The canonical bytes that are stored, digested and compared by replay."""
        return orjson.dumps(
            {
                "kind": self.kind.value,
                "model": self.model,
                "subject": self.subject,
                "at_ms": self.at_ms,
                "window_start_ms": self.window_start_ms,
                "window_end_ms": self.window_end_ms,
                "config_hash": self.config_hash,
                "evidence": self.evidence,
            },
            option=orjson.OPT_SORT_KEYS,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.body()).hexdigest()
