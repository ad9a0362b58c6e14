"""When the calendar asks for a new model: a cron line that is read in a time zone.

A due time is a local time of the line, and each counts once: one that the clocks skip in spring is due when
the old clock would have shown it, one that they show twice in autumn is due the first time. croniter is only
given times without a zone: with one, its search for earlier times stops or shifts at a change of the clocks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from domain.errors import InvalidField
from domain.plain import Json, read, write

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all arithmetic here is on UTC without saying so
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - a local time
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)
_SHIFT = timedelta(hours=2)
"""No zone moves its clocks further for summer (the largest is Antarctica/Troll's)."""
_FIELDS = 5
_MAX_LENGTH = 256
_PART = re.compile(r"\*|[0-9]{1,2}|[a-z]{3}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The `retrain.schedule` of a policy."""

    cron: str
    """Minute, hour, day of the month, month, day of the week; if both days are given, either one counts."""
    timezone: str = "UTC"
    """A name of the IANA time zone database."""

    def __post_init__(self) -> None:
        if not _usable(self.cron):
            limit = 'five fields of numbers, names, "*", ",", "-" and "/" that some date fulfils'
            raise InvalidField("Schedule", "cron", limit, self.cron)
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            # `from None`: the search path of this machine helps nobody
            limit = "a time zone such as Europe/London"
            raise InvalidField("Schedule", "timezone", limit, self.timezone) from None

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Schedule":
        """Raises InvalidField for an unknown, missing or unusable field."""
        return read(cls, data)

    def latest_due(self, now_ms: int) -> int:
        """The newest due time up to and including `now_ms`."""
        now = _EPOCH + now_ms * _MILLISECOND
        start, zone = self._latest_local(now), ZoneInfo(self.timezone)
        # a second later, because the search begins before its start
        times = croniter(self.cron, start + timedelta(seconds=1))
        best: datetime | None = None
        found_at = start
        while True:
            local: datetime = times.get_prev(datetime)
            if best is not None and local < found_at - _SHIFT:
                return (best - _EPOCH) // _MILLISECOND
            due = local.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
            # a skipped time may be due after one that follows it on the clock: 01:45 after 02:00
            if due > now:
                continue
            if best is None:
                best, found_at = due, local
            best = max(best, due)

    def due(self, through_ms: int, now_ms: int) -> int | None:
        """The due time that has to be acted on now, if all up to `through_ms` are done with.

        Of several that were missed it is the latest: one model trained late replaces them all.
        """
        latest = self.latest_due(now_ms)
        return latest if latest > through_ms else None

    def _latest_local(self, now: datetime) -> datetime:
        """The latest local time that can be due: when clocks are set back, they have shown later ones."""
        zone = ZoneInfo(self.timezone)
        before, at, after = (
            (now + days * _DAY).replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) - days * _DAY
            for days in (-1, 0, 1)
        )
        return at if before == after else at + _SHIFT


def schedule_of(policy: Mapping[str, Any]) -> Schedule | None:
    """The schedule of a policy document, None if it has none. Raises InvalidField."""
    retrain = policy.get("retrain", {})
    if not isinstance(retrain, Mapping) or retrain.get("schedule") is None:
        return None
    schedule = retrain["schedule"]
    if not isinstance(schedule, Mapping):
        raise InvalidField("RetrainPolicy", "schedule", "an object with cron and timezone, or null", schedule)
    return Schedule.from_json(schedule)


def _usable(cron: str) -> bool:
    fields = cron.split()
    # croniter knows more: seconds and years, and random times, which would differ between two workers
    if len(cron) > _MAX_LENGTH or len(fields) != _FIELDS:
        return False
    if not all(_PART.fullmatch(part) for field in fields for part in re.split("[,/-]", field)):
        return False
    try:
        croniter(cron, _ANY_DAY).get_next(datetime)
    except CroniterError:
        return False
    return True
