"""Retraining by the calendar: each due time asks once in the whole deployment, however many workers look.

Whoever finds a due time first moves the schedule past it, records the request and promises its event, in one
transaction; the event's id is derived from model and due time. The row is also what the event is held
against when it comes back: a request that no schedule made is not obeyed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consumers.logger import get_logger
from consumers.services.context import ServiceContext
from consumers.services.identity import scheduled_event_id
from consumers.store.engine import Store
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.schedules import ScheduledRequest, ScheduleRecord, ScheduleRepository
from consumers.store.session import ReadSession, WriteSession
from domain.errors import InvalidField
from domain.retraining.schedule import Schedule, schedule_of
from schemas.clock import from_ms, to_ms
from schemas.events import RetrainingTrigger, RetrainRequested

_log = get_logger("registry")
EVERY_S = 5.0


@dataclass(slots=True, kw_only=True)
class Schedules:
    """`await fire(now)` asks for what has come due; however often it is called, it looks every `every_s`."""

    context: ServiceContext
    store: Store
    every_s: float = EVERY_S
    _looked_at: datetime | None = None
    _unusable: set[str] = field(default_factory=set)

    async def fire(self, now: datetime) -> int:
        """How many requests were promised. Due times missed since the last one are one, the latest.

        A schedule counts from the first time it is seen here: nothing is due for a time before that. A model
        without a PRODUCTION version has nothing to replace, its due times pass. Raises StoreUnavailable.
        """
        # a clock that was set back must not silence the schedules
        if self._looked_at is not None and 0 <= (now - self._looked_at) / timedelta(seconds=1) < self.every_s:
            return 0
        async with self.store.read() as session:
            wanted, known = await self._wanted(session), await ScheduleRepository(session).all()
        now_ms = to_ms(now)
        fired: list[ScheduledRequest] = []
        if _anything_to_do(wanted, known, now_ms):
            async with self.store.write() as session:
                for model in sorted(wanted.keys() | known.keys()):
                    request = await self._settle(session, model, wanted.get(model), known.get(model), now_ms)
                    fired += [request] if request else []
        self._looked_at = now
        for request in fired:
            _log.info("schedule.fired", model=request.model, message=request.reason)
        return len(fired)

    async def _wanted(self, session: ReadSession) -> dict[str, Schedule]:
        found = {}
        for policy in await PolicyRepository(session).newest():
            try:
                schedule = schedule_of(policy.body)
            except InvalidField as error:
                # it was checked when it was put in force: by a release or a time zone database that knew more
                if policy.hash not in self._unusable:
                    self._unusable.add(policy.hash)
                    _log.error("schedule.unusable", model=policy.model, message=str(error))
                continue
            if schedule is not None:
                found[policy.model] = schedule
        return found

    async def _settle(
        self,
        session: WriteSession,
        model: str,
        wanted: Schedule | None,
        known: ScheduleRecord | None,
        now_ms: int,
    ) -> ScheduledRequest | None:
        schedules = ScheduleRepository(session)
        if wanted is None:
            if known is not None:
                await schedules.end(known)
            return None
        if known is None or not _same(wanted, known):
            new = ScheduleRecord(model=model, cron=wanted.cron, timezone=wanted.timezone, through_ms=now_ms)
            await schedules.begin(new, known)
            return None
        due_ms = wanted.due(known.through_ms, now_ms)
        if due_ms is None or not await schedules.advance(known, due_ms):
            return None
        production = await ModelRepository(session).production(model)
        if production is None:
            _log.warning("schedule.passed", model=model, message="nothing is PRODUCTION: nothing to retrain")
            return None
        reason = f"schedule {wanted.cron} {wanted.timezone}"
        request = ScheduledRequest(model=model, due_ms=due_ms, version=production.version, reason=reason)
        # a schedule that was taken back and given again may come upon a due time that it has asked for
        if not await schedules.add_request(request):
            return None
        await self.context.promise(session, scheduled_event(request))
        return request


def scheduled_event(request: ScheduledRequest) -> RetrainRequested:
    """The one event that a scheduled request stands for."""
    due = from_ms(request.due_ms)
    return RetrainRequested(
        event_id=scheduled_event_id(request.model, request.due_ms),
        occurred_at=due,
        model=request.model,
        version=request.version,
        trigger=RetrainingTrigger.SCHEDULED,
        reason=request.reason,
        as_of=due,
    )


def _anything_to_do(wanted: Mapping[str, Schedule], known: Mapping[str, ScheduleRecord], now_ms: int) -> bool:
    return wanted.keys() != known.keys() or any(
        not _same(schedule, known[model]) or schedule.due(known[model].through_ms, now_ms) is not None
        for model, schedule in wanted.items()
    )


def _same(schedule: Schedule, record: ScheduleRecord) -> bool:
    return (schedule.cron, schedule.timezone) == (record.cron, record.timezone)
