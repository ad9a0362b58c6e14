"""Keys go where Kafka's default partitioner puts them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.partitioner import murmur2, partition_for

# from Kafka's own tests of Utils.murmur2, and computed with Kafka
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def plain_murmur2(data: bytes) -> int:
    """The algorithm as published, byte by byte."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        k = (data[start] | data[start + 1] << 8 | data[start + 2] << 16 | data[start + 3] << 24) * m & mask
        h = (h * m & mask) ^ ((k ^ (k >> 24)) * m & mask)
    rest = data[whole:]
    for place in reversed(range(len(rest))):
        h ^= rest[place] << 8 * place
    if rest:
        h = h * m & mask
    h = (h ^ (h >> 13)) * m & mask
    h ^= h >> 15
    return h - (1 << 32) if h >= 1 << 31 else h


@pytest.mark.parametrize("key", KNOWN)
def test_known_hashes_are_reproduced(key: bytes) -> None:
    assert murmur2(key) == KNOWN[key]
    assert plain_murmur2(key) == KNOWN[key]


@given(st.binary(max_size=600))
def test_every_length_hashes_as_the_published_algorithm(key: bytes) -> None:
    assert murmur2(key) == plain_murmur2(key)


@given(st.binary(max_size=64), st.integers(1, 1_000))
def test_the_partition_is_the_positive_hash_modulo_the_count(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (plain_murmur2(key) & 0x7FFFFFFF) % partitions


def test_ids_spread_evenly() -> None:
    counts = Counter(partition_for(f"prediction-{number}".encode(), 8) for number in range(8_000))
    assert all(900 < counts[partition] < 1_100 for partition in range(8))
