"""How much alpha a model may spend in a quarter: an account over all experiments that started in it.

Every experiment may promote a challenger that is no better with a chance of its alpha. Without an account a
model that is tried often enough is promoted by noise for sure. Here the alphas of the experiments that a
quarter starts add up to at most its budget; then by the union bound the chance of any false promotion among
them is at most the budget, and so is their expected number. That holds under any dependence and also when
whether and with which alpha the next experiment starts depends on how the others went: each alpha is fixed
before its experiment has data.

An experiment that was cancelled before the judge had looked at any batch of it gives its alpha back: it never
had a chance to promote. No other does. A cancelled one that had looks had its chance, and if alpha came back
whenever the evidence was disappointing, trying again until it is not would be free: somebody who does so
promotes noise in 20 % of quarters with a budget of 10 %, and in 5 % if it does not come back (simulated in
tests/experiments/test_budget.py). One that ended by a verdict has used it, whatever the verdict was.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.errors import DomainError, InvalidField
from domain.plain import Json, read_section, write

SECTION = "alpha_budget"
"""Of a policy document."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ROUNDING = 1e-9
"""Alphas are decimal fractions that floats cannot hold: 0.1 + 0.1 + 0.1 fits into 0.3."""
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """`per_quarter` is the alpha of one model and quarter. The default lets two experiments of alpha 0.05
    start; None keeps an account, and refuses nothing."""

    per_quarter: float | None = 0.10

    def __post_init__(self) -> None:
        fine = self.per_quarter is None or 0 < self.per_quarter <= 1
        if not fine:
            limit = "above 0 and at most 1, or null for no limit"
            raise InvalidField("BudgetPolicy", "per_quarter", limit, self.per_quarter)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "BudgetPolicy":
        """The `alpha_budget` section of a policy; the default without one. Raises InvalidField."""
        return read_section(cls, document, SECTION)

    def to_json(self) -> Json:
        return write(self)


@dataclass(frozen=True, slots=True, order=True)
class Quarter:
    """Three months of UTC, such as 2026Q4."""

    year: int
    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 4:
            raise InvalidField("quarter", "number", "1 to 4", self.number)
        if not 1 <= self.year <= 9998:
            raise InvalidField("quarter", "year", "1 to 9998", self.year)

    @classmethod
    def of(cls, at_ms: int) -> "Quarter":
        """The quarter of an event time."""
        moment = _EPOCH + at_ms * _MILLISECOND
        return cls(moment.year, (moment.month + 2) // 3)

    @classmethod
    def parse(cls, text: str) -> "Quarter":
        """From the form `2026Q4`. Raises InvalidField."""
        found = re.fullmatch(r"([0-9]{4})-?[Qq]([1-4])", text)
        if found is None:
            raise InvalidField("quarter", "name", "of the form 2026Q4", text)
        return cls(int(found[1]), int(found[2]))

    @property
    def start_ms(self) -> int:
        return (datetime(self.year, 3 * self.number - 2, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND

    @property
    def end_ms(self) -> int:
        """The first millisecond after it."""
        year, month = (self.year, 3 * self.number + 1) if self.number < 4 else (self.year + 1, 1)
        return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND

    def __str__(self) -> str:
        return f"{self.year:04}Q{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one started experiment takes from the account of the quarter in which it started."""

    experiment: str
    alpha: float
    started_at_ms: int
    returned: bool = False
    """Cancelled before the first look: it costs nothing."""


class AlphaBudgetSpent(DomainError):
    """The experiment's alpha does not fit into what is left of its quarter."""

    def __init__(self, account: "Account", experiment: str, alpha: float) -> None:
        self.account, self.experiment, self.asked = account, experiment, alpha
        self.left = account.left
        self.spent_by = tuple((each.experiment, each.alpha) for each in account.entries if not each.returned)
        named = [f"{name} ({spent:g})" for name, spent in self.spent_by[:_MOST_NAMED]]
        more = len(self.spent_by) - len(named)
        spenders = ", ".join(named) + (f" and {more} more" if more else "")
        super().__init__(
            f"experiment {experiment} asks for alpha {alpha:g}, and of the {account.budget:g} that "
            f"{account.model} may spend in {account.quarter} {account.left:g} is left"
            + (f"; spent by {spenders}" if spenders else "")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The alpha of one model and quarter."""

    model: str
    quarter: Quarter
    budget: float | None
    """None is no limit."""
    entries: tuple[Spending, ...] = ()
    """Of this quarter only, those that started first, first."""

    @classmethod
    def of(cls, model: str, quarter: Quarter, policy: BudgetPolicy, started: Iterable[Spending]) -> "Account":
        """The account over all experiments of the model that were ever started."""
        mine = [each for each in started if Quarter.of(each.started_at_ms) == quarter]
        mine.sort(key=lambda each: (each.started_at_ms, each.experiment))
        return cls(model=model, quarter=quarter, budget=policy.per_quarter, entries=tuple(mine))

    @property
    def spent(self) -> float:
        """The union bound: the chance of any false promotion among these experiments is at most this."""
        # to 12 digits, because people compare it with the decimal fractions that they wrote
        return round(math.fsum(each.alpha for each in self.entries if not each.returned), 12)

    @property
    def left(self) -> float | None:
        """None without a limit. Zero when a smaller budget was set than is spent already."""
        return None if self.budget is None else max(0.0, round(self.budget - self.spent, 12))

    def admit(self, experiment: str, alpha: float) -> None:
        """Raises AlphaBudgetSpent unless another experiment of this alpha fits."""
        left = self.left
        if left is not None and alpha > left + _ROUNDING:
            raise AlphaBudgetSpent(self, experiment, alpha)
