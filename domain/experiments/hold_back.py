"""What stays behind after a promotion: the old version, for a while, as a witness."""

from dataclasses import dataclass

from domain.errors import InvalidField


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldBack:
    """The old version keeps `share` of the traffic for `duration_ms` of event time.

    In shadow mode it answers in the shadow of the new one instead, and the share has no meaning.
    """

    share: float
    duration_ms: int

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise InvalidField("HoldBack", "share", "above 0 and at most 0.5", self.share)
        if self.duration_ms < 1:
            raise InvalidField("HoldBack", "duration_ms", ">= 1", self.duration_ms)
