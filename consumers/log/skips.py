"""Ranges of offsets that an operator said to read past, since nobody can decode what is there.

An explicit row in the store, never a jump of the reader's own: a batch that is damaged on one replica may be
sound on another, or an hour later, and rows must not depend on who read when. So a range that was skipped
stays skipped for every reader, even where its batch can be read.
"""

from collections.abc import Awaitable, Callable, Sequence

Ranges = Sequence[tuple[int, int]]
"""(first offset, next offset after the range), in order."""
Provider = Callable[[str, int], Awaitable[Ranges]]
"""What is skipped of a topic's partition."""


class Skips:
    """What is skipped, as far as this process knows. Costs one question a partition where nothing is damaged:
    it is asked anew when a batch cannot be decoded, and by a feed that begins to read anywhere."""

    def __init__(self, provider: Provider | None = None) -> None:
        self._provider = provider
        self._known: dict[tuple[str, int], Ranges] = {}

    async def of(self, topic: str, partition: int, *, anew: bool = False) -> Ranges:
        """The ranges of a partition, with `anew` those of a moment ago too. Passes errors of the store on."""
        if self._provider is None:
            return ()
        place = topic, partition
        if anew or place not in self._known:
            self._known[place] = sorted(await self._provider(topic, partition))
        return self._known[place]

    def known(self, topic: str, partition: int) -> Ranges:
        """What `of` said last."""
        return self._known.get((topic, partition), ())


def past(ranges: Ranges, offset: int) -> int:
    """Where a reader of `offset` goes on: `offset` itself unless it is skipped."""
    for first, following in ranges:
        if first <= offset < following:
            offset = following
    return offset


def stop(ranges: Ranges, offset: int) -> int | None:
    """The first skipped offset after `offset`, which is not skipped itself."""
    return min((first for first, _ in ranges if first > offset), default=None)
