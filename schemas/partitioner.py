"""Kafka's default partitioner for keyed records: murmur2 of the key, made positive, modulo the count.

Producers in any language must agree on it, or predictions and outcomes of one id part ways.
Source: org.apache.kafka.common.utils.Utils.murmur2 and BuiltInPartitioner.partitionForKey.
"""

from struct import Struct

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
# ids are at most 64 characters; longer keys build their Struct on the way
_WORDS = tuple(Struct(f"<{words}I") for words in range(65))


def murmur2(key: bytes) -> int:
    """The 32-bit hash as Java's signed int."""
    unsigned = _murmur2(key)
    return unsigned - (1 << 32) if unsigned >> 31 else unsigned


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of `key` among `partitions` (at least 1)."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(key: bytes) -> int:
    length = len(key)
    words = length >> 2
    layout = _WORDS[words] if words < 65 else Struct(f"<{words}I")
    h = (_SEED ^ length) & _MASK
    for k in layout.unpack_from(key):
        k = k * _M & _MASK
        h = (h * _M ^ (k ^ k >> 24) * _M) & _MASK
    tail = length & 3
    if tail:
        h = (h ^ int.from_bytes(key[-tail:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15
