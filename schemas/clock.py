"""Milliseconds since the epoch (the time of log and store) to and from aware datetimes (that of the wire)."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone is not accepted")
    return (moment - EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The UTC datetime of `milliseconds` since the epoch."""
    return EPOCH + milliseconds * _MILLISECOND
