"""Retraining by the calendar: how far each model's schedule has come, and the requests it made."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, select, update

from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import WriteSession
from consumers.store.tables import scheduled_requests, schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A model's schedule. Due times up to `through_ms` are done with, or were before the schedule."""

    model: str
    cron: str
    timezone: str
    through_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRequest:
    """What a model's schedule asked for at a due time."""

    model: str
    due_ms: int
    version: str
    reason: str


class ScheduleRepository(Repository[SessionT_co]):
    """Schedules by model, requests by (model, due time). Of several workers that do the same, one does it."""

    async def all(self) -> dict[str, ScheduleRecord]:
        """Every schedule by its model."""
        rows = await self._session.rows(select(schedules))
        return {row.model: ScheduleRecord(**row._mapping) for row in rows}

    async def begin(
        self: "ScheduleRepository[WriteSession]", new: ScheduleRecord, instead_of: ScheduleRecord | None
    ) -> bool:
        """Start `new`. False when the model's schedule is not `instead_of` any more (None: has one)."""
        if instead_of is None:
            return bool(await self._session.insert_if_absent(schedules, columns_of(new)))
        change = update(schedules).where(_is(instead_of)).values(columns_of(new))
        return await self._session.changed(change) == 1

    async def end(self: "ScheduleRepository[WriteSession]", old: ScheduleRecord) -> bool:
        """Forget a schedule that the model has no more. False when it is not `old` any more."""
        return await self._session.changed(delete(schedules).where(_is(old))) == 1

    async def advance(self: "ScheduleRepository[WriteSession]", record: ScheduleRecord, due_ms: int) -> bool:
        """Be done with `due_ms`. False when another transaction was first: it does what there is to do."""
        change = update(schedules).where(_is(record)).values(through_ms=due_ms)
        return await self._session.changed(change) == 1

    async def add_request(self: "ScheduleRepository[WriteSession]", request: ScheduledRequest) -> bool:
        """Record a request; False when there is one of this due time, which is left as it is."""
        return bool(await self._session.insert_if_absent(scheduled_requests, columns_of(request)))

    async def request(self, model: str, due_ms: int) -> ScheduledRequest | None:
        """What the model's schedule asked for at `due_ms`, None if nothing."""
        c = scheduled_requests.c
        row = await self._session.first(
            select(scheduled_requests).where(c.model == model, c.due_ms == due_ms)
        )
        return None if row is None else ScheduledRequest(**row._mapping)


def _is(record: ScheduleRecord) -> ColumnElement[bool]:
    return and_(*(schedules.c[name] == value for name, value in columns_of(record).items()))
