"""Is the challenger good enough to be tried? Its holdout predictions against the champion's logged ones."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PASSED = "PASSED"
    WORSE = "WORSE"
    TOO_FEW_ROWS = "TOO_FEW_ROWS"
    NO_CHAMPION = "NO_CHAMPION"
    """Nothing to compare with: the first version of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPolicy:
    tolerance: float = 0.0
    """How much worse the challenger's mean absolute error may be, as a share of the champion's.

    Negative asks for a gain.
    """
    min_rows: int = 30
    """Fewest rows that both answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The evidence; plain JSON by `evidence()`."""

    verdict: Verdict
    n: int
    challenger_mae: float | None
    champion_mae: float | None
    limit: float | None
    """The largest challenger error that passes."""
    min_rows: int
    champion_version: str | None

    @property
    def passed(self) -> bool:
        return self.verdict in (Verdict.PASSED, Verdict.NO_CHAMPION)

    def evidence(self) -> dict[str, object]:
        return {**asdict(self), "verdict": self.verdict.value}

    def summary(self) -> str:
        """One line for a person."""
        ours, theirs, rows = self.challenger_mae, self.champion_mae, f"{self.n} holdout rows"
        match self.verdict:
            case Verdict.TOO_FEW_ROWS:
                return f"version {self.champion_version} answered {rows}, {self.min_rows} needed"
            case Verdict.NO_CHAMPION:
                return f"no champion to compare with; mean absolute error {ours:.6g} on {rows}"
            case Verdict.PASSED | Verdict.WORSE:
                relation = "within" if self.passed else "above"
                return (
                    f"mean absolute error {ours:.6g} against {theirs:.6g} of version {self.champion_version} "
                    f"on {rows}: {relation} the limit {self.limit:.6g}"
                )


def mean_absolute_error(predicted: Sequence[float], actual: Sequence[float]) -> float | None:
    """Correctly rounded sum over n; None without rows. Raises ValueError for different lengths."""
    if not actual:
        return None
    return math.fsum(abs(p - a) for p, a in zip(predicted, actual, strict=True)) / len(actual)


def compare(
    challenger: Sequence[float],
    champion: Sequence[float | None],
    actual: Sequence[float],
    policy: ValidationPolicy,
    champion_version: str | None,
) -> Validation:
    """Both mean absolute errors over the rows that the champion answered (None: it did not)."""
    rows = [
        (ours, theirs, truth)
        for ours, theirs, truth in zip(challenger, champion, actual, strict=True)
        if theirs is not None
    ]
    if champion_version is None:
        mae = mean_absolute_error(challenger, actual)
        return Validation(
            verdict=Verdict.NO_CHAMPION,
            n=len(actual),
            challenger_mae=mae,
            champion_mae=None,
            limit=None,
            min_rows=policy.min_rows,
            champion_version=None,
        )
    truths = [row[2] for row in rows]
    challenger_mae = mean_absolute_error([row[0] for row in rows], truths)
    champion_mae = mean_absolute_error([row[1] for row in rows], truths)
    limit = None if champion_mae is None else champion_mae * (1 + policy.tolerance)
    return Validation(
        verdict=_verdict(len(rows), challenger_mae, limit, policy),
        n=len(rows),
        challenger_mae=challenger_mae,
        champion_mae=champion_mae,
        limit=limit,
        min_rows=policy.min_rows,
        champion_version=champion_version,
    )


def _verdict(n: int, challenger_mae: float | None, limit: float | None, policy: ValidationPolicy) -> Verdict:
    if challenger_mae is None or limit is None or n < policy.min_rows:
        return Verdict.TOO_FEW_ROWS
    return Verdict.PASSED if challenger_mae <= limit else Verdict.WORSE
