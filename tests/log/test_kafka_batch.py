"""Batches that aiokafka cannot decode, read from their bytes alone: no broker."""

import struct
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from consumers.log.kafka_batch import BrokenBatch, batch_at, lenient_records, opened
from consumers.log.port import LogRecord

END = 1 << 40
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

_names = st.text(max_size=12).filter(lambda name: name.isprintable())
_headers = st.lists(st.tuples(_names, st.none() | st.binary(max_size=20)), max_size=4)
_records = st.lists(
    st.tuples(
        st.integers(0, 1 << 42),
        st.none() | st.binary(max_size=40),
        st.none() | st.binary(max_size=90),
        _headers,
    ),
    min_size=1,
    max_size=30,
)


def built(records: list[tuple[int, Any, Any, Any]], codec: int = 0, base: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 20)
    for number, (at_ms, key, value, headers) in enumerate(records):
        builder.append(number, at_ms, key, value, headers)
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def summed(batch: bytes) -> bytes:
    """With the right checksum; a batch carries it before what it covers."""
    checksum: bytes = calc_crc32c(batch[21:]).to_bytes(4, "big")
    return batch[:17] + checksum + batch[21:]


def by_aiokafka(data: bytes, offset: int = 0) -> list[LogRecord]:
    return [
        LogRecord(
            one.topic,
            one.partition,
            one.offset,
            one.timestamp,
            one.key,
            one.value,
            one.headers,
            one.timestamp,
        )
        for one in opened("t", 3, data, offset)
    ]


def leniently(data: bytes, offset: int = 0) -> list[LogRecord]:
    batch = batch_at(data, offset, END)
    assert batch is not None
    return lenient_records(batch, "t", 3)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@given(records=_records, base=st.integers(0, END // 2), append_time=st.booleans())
def test_what_aiokafka_can_decode_is_decoded_alike(
    codec: int, records: list[Any], base: int, append_time: bool
) -> None:
    data = built(records, codec, base)
    if append_time:
        attributes = struct.unpack_from(">h", data, 21)[0] | 0x08
        data = summed(data[:21] + struct.pack(">h", attributes) + data[23:])
    assert leniently(data, base) == by_aiokafka(data, base)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_a_name_that_is_not_utf_8_is_shown_and_the_rest_is_as_it_was(codec: int) -> None:
    plain = built([(7, b"k", b"v", [("a", b"1"), ("name", None)]), (8, None, None, [])])
    records = plain[61:].replace(b"name", b"\xffame")
    packed = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
    if codec:
        from aiokafka import codec as codecs

        records = getattr(codecs, f"{packed[codec]}_encode")(records)
    head = bytearray(plain[:61])
    head[8:12] = struct.pack(">i", len(head) + len(records) - 12)
    head[21:23] = struct.pack(">h", codec)
    data = summed(bytes(head) + records)
    with pytest.raises(UnicodeDecodeError):
        by_aiokafka(data)
    first, second = leniently(data)
    assert list(first.headers) == [("a", b"1"), ("\\xffame", None)]
    assert first._replace(headers=()) == LogRecord("t", 3, 0, 7, b"k", b"v", (), 7)
    assert second == LogRecord("t", 3, 1, 8, None, None, (), 8)


def test_the_batch_of_an_offset_is_found_among_others() -> None:
    three, two = built([(1, b"a", b"", [])] * 3, base=10), built([(1, b"b", b"", [])] * 2, base=20)
    data = three + two + two[:-1]
    for offset, base in ((10, 10), (12, 10), (13, 20), (21, 20)):
        found = batch_at(data, offset, END)
        assert found is not None
        assert (found.base_offset, found.next_offset) == (base, base + (3 if base == 10 else 2))
    assert batch_at(data, 22, END) is None, "what was cut off is no batch"
    assert batch_at(data, 20, 21) is None, "nothing ends after the log"
    assert batch_at(b"", 0, END) is None


@given(noise=st.binary(max_size=200))
def test_noise_is_no_batch(noise: bytes) -> None:
    found = batch_at(noise, 0, END)
    assert found is None or len(found.raw) <= len(noise)


@given(records=_records, codec=st.sampled_from([*CODECS.values()]), at=st.integers(0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_never_taken_for_records(
    records: list[Any], codec: int, at: int, bit: int
) -> None:
    data = bytearray(built(records, codec))
    place = 21 + at % (len(data) - 21)
    data[place] ^= 1 << bit
    batch = batch_at(bytes(data), 0, END)
    if batch is not None:
        with pytest.raises(BrokenBatch, match="checksum"):
            lenient_records(batch, "t", 3)
