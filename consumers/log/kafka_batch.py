"""Record batches as brokers hand them over, for the few that aiokafka cannot decode.

Layout: Kafka protocol documentation, "Record Batch" and "Record" (format 2, of every broker since 0.11).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import codec
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint
from aiokafka.structs import TopicPartition

from consumers.log.port import LogRecord

# base offset, length, leader epoch, format, checksum, attributes, last offset less the base, first and newest
# time, three fields of the producer, and how many records follow
_HEADER = struct.Struct(">qiibIhiqqqhii")
_BEFORE_LENGTH_ENDS = 12
_CHECKED_FROM = 21
_FORMAT = 2
_CODEC, _APPEND_TIME = 0x07, 0x08
_EXPAND: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}


class BrokenBatch(ValueError):
    """What the bytes say contradicts itself."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of a fetch: offsets `base_offset` up to, and not with, `next_offset`."""

    raw: bytes
    base_offset: int
    next_offset: int


def opened(topic: str, partition: int, data: bytes, offset: int) -> Any:
    """aiokafka's iterator over the records of `data` from `offset` on. Raises whatever it raises."""
    place = TopicPartition(topic, partition)
    batches = MemoryRecords(data)
    return PartitionRecords(place, batches, None, offset, None, None, True, READ_UNCOMMITTED)


def batch_at(data: bytes, offset: int, end: int) -> Batch | None:
    """The batch in `data` that holds `offset`, or the first one after it; None if no header makes sense.

    `end` is that of the partition. The header may be what is damaged.
    """
    at = 0
    while len(data) - at >= _HEADER.size:
        base, length, _, magic, _, _, last, *_ = _HEADER.unpack_from(data, at)
        size, following = _BEFORE_LENGTH_ENDS + length, base + last + 1
        if magic != _FORMAT or size < _HEADER.size or len(data) - at < size or not base < following <= end:
            return None
        if offset < following:
            return Batch(data[at : at + size], base, following)
        at += size
    return None


def lenient_records(batch: Batch, topic: str, partition: int) -> list[LogRecord]:
    """The records of `batch` as aiokafka gives them, but header names need not be UTF-8.

    Brokers check what they can account for, the checksum and the compression, but names are only bytes to
    them. Raises BrokenBatch, IndexError or what a decompressor raises.
    """
    raw = batch.raw
    base, _, _, _, checksum, attributes, _, first_ms, newest_ms, _, _, _, count = _HEADER.unpack_from(raw)
    if calc_crc32c(raw[_CHECKED_FROM:]) != checksum:
        raise BrokenBatch("the checksum is wrong")
    body = bytearray(_EXPAND[attributes & _CODEC](raw[_HEADER.size :]))
    found, at = [], 0
    for _ in range(count):
        length, at = decode_varint(body, at)
        end = at + length
        _, at = decode_varint(body, at)  # attributes, unused
        later_ms, at = decode_varint(body, at)
        delta, at = decode_varint(body, at)
        key, at = _bytes(body, at)
        value, at = _bytes(body, at)
        headers, at = _headers(body, at)
        if at != end:
            raise BrokenBatch(f"a record of {length} bytes ends after {at - end + length}")
        time_ms = newest_ms if attributes & _APPEND_TIME else first_ms + later_ms
        found.append(LogRecord(topic, partition, base + delta, time_ms, key, value, headers, time_ms))
    if at != len(body):
        raise BrokenBatch(f"{len(body) - at} bytes follow the last record")
    return found


def _headers(body: bytearray, at: int) -> tuple[tuple[tuple[str, Any], ...], int]:
    count, at = decode_varint(body, at)
    headers = []
    for _ in range(count):
        name, at = _bytes(body, at)
        if name is None:
            raise BrokenBatch("a header has no name")
        value, at = _bytes(body, at)
        headers.append((name.decode(errors="backslashreplace"), value))
    return tuple(headers), at


def _bytes(body: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(body, at)
    if length < 0:
        return None, at
    if at + length > len(body):
        raise BrokenBatch(f"{length} bytes are announced, {len(body) - at} are there")
    return bytes(body[at : at + length]), at + length
