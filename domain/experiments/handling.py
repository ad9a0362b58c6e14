"""Which verdicts are carried out at once, and which wait until a person completes the experiment.

No verdict depends on this and no hash holds it: what is decided is the same, only who acts on it is not. A
verdict that waits keeps the experiment RUNNING and its traffic as it is. INCONCLUSIVE never waits, there is
nothing to weigh.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domain.plain import Json, read_section, write

SECTION = "verdicts"
"""Of a policy document."""
Handling = Literal["automatic", "by_hand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictPolicy:
    """By default both are automatic."""

    promote: Handling = "automatic"
    roll_back: Handling = "automatic"

    def waits(self, verdict: str) -> bool:
        """Whether a person has to carry out a verdict of this kind."""
        handling = {"PROMOTE": self.promote, "ROLL_BACK": self.roll_back}
        return handling.get(verdict, "automatic") == "by_hand"

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "VerdictPolicy":
        """The `verdicts` section of a policy; the default without one. Raises InvalidField."""
        return read_section(cls, document, SECTION)

    def to_json(self) -> Json:
        return write(self)
