"""The embedded log: held to the port, and to what a file shared by processes must survive."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from consumers.log.embedded import EmbeddedLog
from consumers.log.port import EventLog, LogUnavailable, TopicSpec
from schemas.logfile import LogFile, LogRecord, NewRecord

from .conformance import FOUR, NOW, ONE, Clock, SequencedLogConformance, record
from .writer import BATCH

ROOT = Path(__file__).parents[2]
SHARED = TopicSpec(name="shared", partitions=2, cleanup="delete")


class TestEmbeddedLog(SequencedLogConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def log(self, clock: Clock, tmp_path: Path) -> AsyncIterator[EventLog]:
        log = await EmbeddedLog.open(tmp_path / "log.db", now_ms=clock)
        await log.create_topics([ONE, FOUR])
        yield log
        await log.close()

    async def test_tasks_share_one_log(self, log: EventLog) -> None:
        await asyncio.gather(*(log.append([record(str(number))]) for number in range(50)))
        assert [one.offset for one in await log.read("one", 0, 0, 100)] == list(range(50))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


class Opener(Protocol):
    def __call__(self, path: Path, *, busy_timeout_s: float = 30, fsync: bool = False) -> LogFile: ...


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens log files that are closed when the test ends."""
    logs: list[LogFile] = []

    def open_log(path: Path, *, busy_timeout_s: float = 30, fsync: bool = False) -> LogFile:
        logs.append(LogFile(path, now_ms=lambda: NOW, busy_timeout_s=busy_timeout_s, fsync=fsync))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


def writer(path: Path, name: str, batches: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.log.writer", str(path), name, str(batches)]
    return subprocess.Popen(command, cwd=ROOT)


def everything(log: LogFile, partition: int) -> list[LogRecord]:
    found: list[LogRecord] = []
    while batch := log.read("shared", partition, len(found), 97):
        found += batch
    return found


def batches_of(log: LogFile) -> Counter[str]:
    """Records per batch over both partitions, checking that offsets have no gap."""
    counts: Counter[str] = Counter()
    for partition in range(2):
        found = everything(log, partition)
        assert [one.offset for one in found] == list(range(len(found)))
        counts.update((one.key or b"").decode().rpartition("-")[0] for one in found)
    return counts


def test_processes_that_write_and_read_at_once_lose_nothing(path: Path, opened: Opener) -> None:
    names, batches = ["a", "b", "c"], 40
    log = opened(path)
    log.create_topics([SHARED])
    processes = [writer(path, name, batches) for name in names]
    seen = [0, 0]
    while any(process.poll() is None for process in processes):
        for partition in range(2):
            found = log.read("shared", partition, seen[partition], 50)
            assert [one.offset for one in found] == list(range(seen[partition], seen[partition] + len(found)))
            seen[partition] += len(found)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert batches_of(log) == {f"{name}-{number}": BATCH for name in names for number in range(batches)}
    log.close()


def test_many_processes_may_create_the_same_file(path: Path, opened: Opener) -> None:
    script = (
        "import sys; from schemas.logfile import LogFile, TopicSpec\n"
        "log = LogFile(sys.argv[1], now_ms=lambda: 0)\n"
        "log.create_topics([TopicSpec(name='t', partitions=3, cleanup='delete')])\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert list(opened(path).topics()) == ["t"]


def test_a_writer_killed_at_any_moment_leaves_whole_batches_only(path: Path, opened: Opener) -> None:
    batches = 3_000
    log = opened(path)
    log.create_topics([SHARED])
    pauses = random.Random(7)
    kills = 0
    for _ in range(5):
        process = writer(path, "w", batches)
        start = log.end("shared", 0)
        while process.poll() is None and log.end("shared", 0) <= start + pauses.randrange(200):
            pass
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        counts = batches_of(log)
        assert set(counts.values()) == {BATCH}
        assert sorted(int(name.rpartition("-")[2]) for name in counts) == list(range(len(counts)))
        assert log.last_sequence("w") == len(counts) - 1
    assert kills > 0
    log.close()
    assert set(batches_of(opened(path)).values()) == {BATCH}


def test_an_open_reader_does_not_stop_the_writer(path: Path, opened: Opener) -> None:
    reader, log = opened(path), opened(path)
    log.create_topics([SHARED])
    log.append([NewRecord(topic="shared", key=b"k", value=b"v" * 99, timestamp_ms=NOW, partition=0)] * 50)
    assert len(reader.read("shared", 0, 0, 50, max_bytes=500)) == 5
    log.append([NewRecord(topic="shared", key=b"k", value=b"v", timestamp_ms=NOW, partition=0)])
    assert reader.end("shared", 0) == 51


def test_a_locked_file_is_reported_in_one_line_and_nothing_is_written(path: Path, opened: Opener) -> None:
    log = opened(path, busy_timeout_s=0.05)
    log.create_topics([ONE])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="another process holds its lock") as caught:
        log.append([record("a")])
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert log.read("one", 0, 0, 1) == []
    other.execute("ROLLBACK")
    other.close()
    assert log.append([record("a")]) == [(0, 0)]


def test_a_full_disk_is_reported_and_the_log_goes_on_when_there_is_room(path: Path, opened: Opener) -> None:
    log = opened(path)
    log.create_topics([ONE])
    log.append([record("a")])
    # SQLite's own limit on the file raises the same error as a disk without room
    limit = log._connection.execute("PRAGMA max_page_count").fetchone()[0]
    pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
    log._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = NewRecord(topic="one", key=b"big", value=b"x" * 1_000_000, timestamp_ms=NOW)
    with pytest.raises(LogUnavailable, match="the disk is full"):
        log.append([record("b"), big], producer="p", sequence=1)
    assert (log.end("one", 0), log.last_sequence("p")) == (1, None)
    log._connection.execute(f"PRAGMA max_page_count = {limit}")
    assert log.append([record("b"), big], producer="p", sequence=1) == [(0, 1), (0, 2)]


def test_a_file_that_is_no_database_is_refused_untouched(path: Path, opened: Opener) -> None:
    text = b"prices of Brent, 1987\n" * 500
    path.write_bytes(text)
    with pytest.raises(LogUnavailable, match="the file is not a log"):
        opened(path)
    assert path.read_bytes() == text


def test_a_database_of_something_else_is_refused(path: Path, opened: Opener) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE models (name TEXT)")
    other.commit()
    other.close()
    with pytest.raises(LogUnavailable, match="something else"):
        opened(path)


def test_a_later_format_is_refused(path: Path, opened: Opener) -> None:
    opened(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(LogUnavailable, match="its format is 2, this version reads 1"):
        opened(path)


def test_a_damaged_file_is_reported(path: Path, opened: Opener) -> None:
    log = opened(path)
    log.create_topics([ONE])
    log.append([record(str(number)) for number in range(2_000)])
    log.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(LogUnavailable, match="damaged"):
        opened(path).read("one", 0, 0, 10)


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path, opened: Opener) -> None:
    with pytest.raises(LogUnavailable, match="cannot be opened"):
        opened(tmp_path / "nowhere" / "log.db")


def test_everything_is_there_after_reopening(path: Path, opened: Opener) -> None:
    log = opened(path)
    log.create_topics([ONE, FOUR])
    log.append([record("a"), record("b")], producer="p", sequence=3)
    log.commit("g", "one", 0, 1)
    log.delete_before("one", 0, 1)
    log.close()
    again = opened(path, fsync=True)
    assert again.topics() == {"four": FOUR, "one": ONE}
    assert (again.begin("one", 0), again.end("one", 0), again.position("g", "one", 0)) == (1, 2, 1)
    assert again.append([record("a")], producer="p", sequence=3) is None
    assert [one.key for one in again.read("one", 0, 1, 5)] == [b"b"]
