"""Hash buckets of sticky units: their sums give a variance that knows the units' dependence."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

BUCKETS = 64


@lru_cache(maxsize=1 << 16)
def bucket(experiment: str, unit: str) -> int:
    """Bucket (0..63) of a unit within one experiment; another experiment shuffles anew."""
    return blake2b(f"{experiment}|{unit}".encode(), digest_size=8).digest()[0] & (BUCKETS - 1)


def grouped(pairs: Iterable[tuple[int, float]]) -> dict[int, list[float]]:
    """Values by bucket."""
    groups: dict[int, list[float]] = {}
    for number, value in pairs:
        groups.setdefault(number, []).append(value)
    return groups
