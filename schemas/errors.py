"""What can go wrong with records and the log. Errors keep their data as attributes and print as one line."""

# named for what happened, as Kafka's errors are

MAX_REASON = 300


class InvalidRecord(ValueError):
    """A record that no retry can make readable; it belongs in the dead-letter topic.

    `reason` is deterministic, one line of at most `MAX_REASON` characters, and quotes at most 80 characters
    of the record. `field` is the dotted name of the field at fault, or None when the whole record is.
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        self.reason = reason[:MAX_REASON]
        self.field = field
        super().__init__(self.reason)


class LogError(Exception):
    """The log refused an operation; nothing was written."""


class FutureTimestamp(LogError):
    """A record is stamped further in the future than the log allows, so one wrong clock cannot push time."""

    def __init__(self, topic: str, timestamp_ms: int, limit_ms: int) -> None:
        self.topic, self.timestamp_ms, self.limit_ms = topic, timestamp_ms, limit_ms
        super().__init__(f"{topic}: timestamp {timestamp_ms} is later than the latest accepted, {limit_ms}")


class UnknownTopic(LogError):
    """No such topic, or the topic has no such partition."""

    def __init__(self, topic: str, partition: int | None = None) -> None:
        self.topic, self.partition = topic, partition
        which = "" if partition is None else f" or no partition {partition}"
        super().__init__(f"the log has no topic {topic!r}{which}")


class RecordTooLarge(LogError):
    """A single record is larger than its topic takes, now and again; the others are not affected."""

    def __init__(self, topic: str, size: int) -> None:
        self.topic, self.size = topic, size
        super().__init__(f"{topic} takes no record of {size} bytes: raise its max.message.bytes")


class TopicMismatch(LogError):
    """A topic exists with another number of partitions; keys would move, so it is never changed."""

    def __init__(self, topic: str, expected: int, found: int) -> None:
        self.topic, self.expected, self.found = topic, expected, found
        super().__init__(f"topic {topic!r} has {found} partitions, {expected} were asked for")


class OffsetOutOfRange(LogError):
    """The offset is before the first kept record or beyond the end."""

    def __init__(self, topic: str, partition: int, offset: int, begin: int, end: int) -> None:
        self.topic, self.partition, self.offset, self.begin, self.end = topic, partition, offset, begin, end
        super().__init__(
            f"{topic}[{partition}]: offset {offset} is outside the log, which holds {begin}..{end}"
        )


class LogUnavailable(LogError):
    """The log cannot be used now: the file is locked, full or damaged, the brokers do not answer.

    `path` is the file or the brokers' addresses; `__cause__` is the driver's error.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"the log {path} is unavailable: {problem}")


class LogRefused(LogError):
    """The brokers or their settings refuse it, and will again: a person must do what the message says.

    `path` is the brokers' addresses; `__cause__` is the driver's error. No secret is in it.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"the log {path} refuses: {problem}")


class UnreadableBatch(LogRefused):
    """Records that were written and cannot be decoded any more: what holds them is damaged.

    `next_offset` is the offset after the batch, None if not even its header can be read. It may be read
    later, or from another replica; otherwise a person must say that it is skipped.
    """

    def __init__(
        self, path: str, topic: str, partition: int, first_offset: int, next_offset: int | None, cause: str
    ) -> None:
        self.topic, self.partition = topic, partition
        self.first_offset, self.next_offset, self.cause = first_offset, next_offset, cause
        to = "NEXT" if next_offset is None else next_offset
        super().__init__(
            path,
            f"{topic}[{partition}]: the batch at offset {first_offset} cannot be decoded; "
            f"if no replica has it whole: lifecycle topics skip {topic} --partition {partition} "
            f"--from {first_offset} --to {to} --actor NAME --reason TEXT ({cause[:120]})",
        )


class LogStuck(LogError):
    """The log answers and has records for this reader, and none arrives: only a new process helps."""

    def __init__(self, seconds: float, where: str) -> None:
        self.seconds = seconds
        super().__init__(
            f"no record came for {seconds:g} s although {where} holds some: start the process again"
        )
