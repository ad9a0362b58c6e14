"""Who answers a request and whose answer is served, by an experiment's strategy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .buckets import bucket_of
from .split import Arm, InvalidSplit, Split, split_of

Strategy = Literal["PERCENTAGE_SPLIT", "USER_SEGMENT", "NAMED_SEGMENTS", "SWITCHBACK", "SHADOW_MODE"]
_STRATEGIES = frozenset(get_args(Strategy))
_BY_UNIT = frozenset({"USER_SEGMENT", "NAMED_SEGMENTS"})


class UnitMissing(ValueError):
    """Where units keep their arm, a request without a unit cannot be assigned."""


class TimeMissing(ValueError):
    """SWITCHBACK assigns by period, so a request without its time cannot be assigned."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm that answers; only a served answer is acted on."""

    arm: str
    served: bool


class Allocation:
    """The assignment of one allocation epoch: a pure function of (salt, request, unit, segment, time)."""

    def __init__(
        self,
        strategy: str,
        salt: str,
        arms: Sequence[Arm],
        *,
        segments: Collection[str] = (),
        period_ms: int | None = None,
    ) -> None:
        """Raises InvalidSplit for arms that cannot be given traffic and for an unknown strategy.

        In SHADOW_MODE shares have no meaning and are not looked at: every arm answers. NAMED_SEGMENTS is
        USER_SEGMENT among the units of `segments`; SWITCHBACK assigns anew in every `period_ms`.
        """
        if strategy not in _STRATEGIES:
            raise InvalidSplit(f"unknown strategy {strategy!r}")
        if (strategy == "NAMED_SEGMENTS") != bool(segments):
            raise InvalidSplit("segments are named by NAMED_SEGMENTS, and by it alone")
        if (strategy == "SWITCHBACK") != (period_ms is not None and period_ms >= 1):
            raise InvalidSplit("SWITCHBACK has a period of at least 1 ms, and it alone")
        if strategy == "SHADOW_MODE" and sum(arm.champion for arm in arms) != 1:
            raise InvalidSplit("exactly one arm must be the champion")
        self._strategy = strategy
        self._salt = salt
        self._segments = frozenset(segments)
        self._period_ms = period_ms
        self._shadow = tuple(Answer(arm.name, arm.champion) for arm in arms)
        self._split: Split | None = None if strategy == "SHADOW_MODE" else split_of(arms)

    def answers(
        self,
        prediction_id: str,
        unit: str | None = None,
        *,
        segment: str | None = None,
        at_ms: int | None = None,
    ) -> tuple[Answer, ...]:
        """The arms that answer, in the order of the config. Exactly one answer is served.

        PERCENTAGE_SPLIT draws by request, USER_SEGMENT by unit (raises UnitMissing without one), and so does
        NAMED_SEGMENTS. Nothing answers a request of no segment or another one: it has no part in this.
        SWITCHBACK draws by unit (all requests without one are one unit) and period of `at_ms`, the request's
        event time (raises TimeMissing without it): the identity is the period's number, a colon, the unit.
        """
        if self._split is None:
            return self._shadow
        if self._segments and segment not in self._segments:
            return ()
        identity = prediction_id
        if self._period_ms is not None:
            if at_ms is None:
                raise TimeMissing(f"request {prediction_id!r} names no time")
            identity = f"{at_ms // self._period_ms}:{unit or ''}"
        if self._strategy in _BY_UNIT:
            if unit is None:
                raise UnitMissing(f"request {prediction_id!r} names no unit")
            identity = unit
        return (Answer(self._split.arm_of(bucket_of(self._salt, identity)), True),)
