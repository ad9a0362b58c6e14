"""Who divided a budget of false alarms over the fleet, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from consumers.store.repositories.base import Repository, SessionT_co, columns_of, names_of
from consumers.store.session import WriteSession
from consumers.store.tables import drift_budget_orders


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOrder:
    """One order. `ordered_at` is the wall clock."""

    per_month: str
    """The budget as it was written: a decimal or a fraction."""
    policies: Mapping[str, str]
    """By model: hash of the policy that it gave the model, of those that changed."""
    actor: str
    reason: str
    ordered_at: datetime


class BudgetOrderRepository(Repository[SessionT_co]):
    """Orders in the order in which they were given."""

    async def add(self: "BudgetOrderRepository[WriteSession]", order: BudgetOrder) -> None:
        """Append to the history."""
        await self._session.execute(drift_budget_orders.insert().values(**columns_of(order)))

    async def last(self) -> BudgetOrder | None:
        """The newest order, None before the first."""
        columns = [drift_budget_orders.c[name] for name in names_of(BudgetOrder)]
        row = await self._session.first(select(*columns).order_by(drift_budget_orders.c.id.desc()).limit(1))
        return None if row is None else BudgetOrder(**row._mapping)
