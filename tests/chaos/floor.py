"""Whether enough happened in a run that its soundness says something."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def enough_happened(least: Mapping[str, int], figures: Mapping[str, Any]) -> Iterable[str]:
    """One objection for each figure that is below its least."""
    happened = {
        **figures,
        "decisions": sum(figures["decisions"].values()),
        "retrainings": figures["jobs"].get("SUCCEEDED", 0),
    }
    for name, wanted in least.items():
        if happened[name] < wanted:
            yield f"{happened[name]} {name}, of {wanted} at least"


def every_fault_hits(planned: int, history: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """One objection for each fault that found nothing to break, or did not come to its end."""
    if len(history) < planned:
        yield f"{len(history)} of {planned} faults began"
    for entry in history:
        if not entry.get("hit"):
            yield f"{entry['fault']} {entry['target']} at {entry['began_s']} s hit nothing"
