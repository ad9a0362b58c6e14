"""The drift half of a judgement: detectors over one version's merged rows, and the episodes they open.

A version is judged only in windows in which it served: a shadow's drift costs nobody. What looks at input
rows is in `inputs`, what looks at score rows in `errors`; what they find drives one episode per kind of
drift (`streams`).
"""

from collections.abc import Iterator

from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.errors import judge_errors
from domain.judgement.inputs import judge_inputs
from domain.judgement.state import ModelState
from domain.judgement.streams import Context, decision

__all__ = ["Context", "judge_errors", "judge_inputs", "retire"]


def retire(state: ModelState, context: Context, version: str) -> Iterator[Decision]:
    """A version that stopped serving: whatever was open closes, and its detectors are forgotten."""
    watch = state.watches.pop(version)
    for stream, opening in sorted(watch.openings.items()):
        evidence = {"reason": "the version no longer serves", "last_served_ms": watch.served_at_ms}
        yield decision(context, DecisionKind.RECOVERY, stream, evidence, opening)
