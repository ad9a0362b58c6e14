"""What people said not to announce: drift of a model, or one kind of it, for a while.

A muted episode is decided, opens and recovers like any other, with the mute in its evidence; it is not
announced, and asks for no retraining while a mute governs. Like a policy a mute takes effect after all that
is judged, and so does its early end: whether a decision was muted never changes afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from domain.judgement.decision import Decision, DecisionKind
from domain.plain import Json

MUTED = "muted"
"""In the evidence of an opening or escalation: the mute that governed it."""
OPENED_MUTED = "opened_muted"
"""In the evidence of an escalation: nobody was told of the opening, so that this is what is announced."""
_ANNOUNCED = (DecisionKind.DRIFT, DecisionKind.ESCALATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedMute:
    """Governs what falls due from `effective_from_ms` on and before `until_ms` and `ended_ms`. Event time."""

    mute_id: str
    drift_type: str | None
    """None: of every type."""
    effective_from_ms: int
    until_ms: int | None
    """As it was ordered; None: until somebody ends it."""
    actor: str
    reason: str
    ended_ms: int | None = None
    """From when on somebody ended it early."""

    def governs(self, drift_type: str, at_ms: int) -> bool:
        """Whether drift of this type that falls due at `at_ms` is muted by it."""
        ends = [end for end in (self.until_ms, self.ended_ms) if end is not None]
        mine = self.drift_type is None or self.drift_type == drift_type
        return mine and self.effective_from_ms <= at_ms and all(at_ms < end for end in ends)

    def evidence(self) -> Json:
        """What a decision says of it: what was ordered at first, for an early end comes later."""
        return {
            "mute_id": self.mute_id,
            "effective_from_ms": self.effective_from_ms,
            "until_ms": self.until_ms,
            "actor": self.actor,
            "reason": self.reason,
        }


def governing(mutes: Sequence[DatedMute], drift_type: str, at_ms: int) -> DatedMute | None:
    """Of the mutes that govern, the one that began first; None if none does."""
    found = [mute for mute in mutes if mute.governs(drift_type, at_ms)]
    return min(found, key=lambda mute: (mute.effective_from_ms, mute.mute_id), default=None)


def noted(decisions: Iterator[Decision], mutes: Sequence[DatedMute]) -> Iterator[Decision]:
    """The same decisions; those that would be announced say if they are not, or were not before."""
    for decision in decisions:
        notes = _notes(decision, mutes) if decision.kind in _ANNOUNCED else {}
        yield replace(decision, evidence={**decision.evidence, **notes}) if notes else decision


def announces(kind: DecisionKind, evidence: Mapping[str, Any]) -> bool:
    """Whether the world is told of this opening or escalation: once for each episode at most."""
    opening = kind is DecisionKind.DRIFT
    first = opening or (kind is DecisionKind.ESCALATION and bool(evidence.get(OPENED_MUTED)))
    return first and MUTED not in evidence


def _notes(decision: Decision, mutes: Sequence[DatedMute]) -> Json:
    drift_type = decision.evidence["drift_type"]
    notes: Json = {}
    mute = governing(mutes, drift_type, decision.at_ms)
    if mute is not None:
        notes[MUTED] = mute.evidence()
    if decision.cause is not None:
        _, _, _, _, opened_ms = decision.cause
        if governing(mutes, drift_type, int(opened_ms)) is not None:
            notes[OPENED_MUTED] = True
    return notes
