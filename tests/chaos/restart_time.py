"""`python -m tests.chaos.restart_time`: from SIGKILL of a tally worker to its first new row. Prints JSON.

The log holds ten minutes of windows that wait for outcomes, at 5,000 records a second: that is what the next
life has to fold again before it can close anything.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaProducer

from schemas.partitioner import partition_for
from tests.chaos.crew import Crew
from tests.chaos.deployment import environment, lifecycle
from tests.chaos.machines import Machines
from tests.chaos.scenario import PARTITIONS, Scenario
from tests.chaos.topics import ends, lags

_LENGTH_S, _GRACE_S = 60, 30
_BEGIN_MS = 1_700_000_040_000 // 60_000 * 60_000
_FEATURES, _MODELS = 12, 8
_BATCH_BYTES = 900_000
_PREFIX, _GROUP = "restart.", "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured."""

    open_s: int = 600
    """How long a window stays open for outcomes."""
    per_second: int = 5_000
    """Records of both topics together, of event time."""
    repeats: int = 3

    @property
    def scenario(self) -> Scenario:
        """Windows of a minute, and the settings of one deployment on one broker."""
        return Scenario(seed=0, seconds=0, window_s=_LENGTH_S)


class Stream:
    """Predictions, and an outcome for each a second later; one prediction in a hundred waits for long."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers = 0
        r = Random(1)
        names = [f"feature_{n:02}" for n in range(_FEATURES)]
        # drawing is what would cost most: a thousand sets of features take turns
        self._features = [orjson.dumps({name: r.gauss(0, 1) for name in names}) for _ in range(1_000)]
        self._long_s = plan.open_s - _GRACE_S

    def second(self, number: int) -> Iterator[tuple[str, int, bytes, bytes, int]]:
        """(topic, partition, key, value, timestamp) of one second of event time."""
        for index in range(self._plan.per_second // 2):
            at_ms = _BEGIN_MS + number * 1_000 + index * 2_000 // self._plan.per_second
            key = b"request-%010d" % self._numbers
            partition = partition_for(key, PARTITIONS)
            horizon_s = self._long_s if self._numbers % 100 == 0 else 1
            head = b'{"occurred_at":"2023-11-14T22:14:00+00:00","prediction_id":"%b",' % key
            features = self._features[self._numbers % 1_000]
            model = b"model-%d" % (self._numbers % _MODELS)
            body = b'"model":"%b","version":"1","prediction":0.5,"features":%b,"horizon_s":%d}'
            yield "predictions", partition, key, head + body % (model, features, horizon_s), at_ms
            yield "outcomes", partition, key, head + b'"actual":0.25}', at_ms + 1_000
            self._numbers += 1


async def append(producer: AIOKafkaProducer, stream: Stream, seconds: range) -> int:
    """Write seconds of the stream in large batches, in order; how many records that were."""
    batches: dict[tuple[str, int], Any] = {}
    count = 0

    async def send(place: tuple[str, int]) -> None:
        batch = batches.pop(place)
        batch.close()
        await (await producer.send_batch(batch, f"{_PREFIX}{place[0]}", partition=place[1]))

    for second in seconds:
        for topic, partition, key, value, timestamp_ms in stream.second(second):
            place = (topic, partition)
            batch = batches.get(place) or batches.setdefault(place, producer.create_batch())
            if batch.append(key=key, value=value, timestamp=timestamp_ms) is None:
                await send(place)
                batches[place] = batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp_ms)
            count += 1
        await asyncio.sleep(0)
    for place in list(batches):
        await send(place)
    return count


async def beat(producer: AIOKafkaProducer, at_ms: int) -> None:
    """An empty record in every partition: time passes `at_ms` everywhere."""
    for name in ("predictions", "outcomes"):
        for partition in range(PARTITIONS):
            await producer.send_and_wait(f"{_PREFIX}{name}", b"", partition=partition, timestamp_ms=at_ms)


@dataclass(slots=True, kw_only=True)
class Measurement:
    """One deployment with a single tally worker."""

    plan: Plan
    machines: Machines
    folder: Path
    producer: AIOKafkaProducer
    crew: Crew

    async def measure(self) -> dict[str, Any]:
        """Fill the log, let the worker catch up, and kill it as often as was asked for."""
        stream, length = Stream(self.plan), _LENGTH_S
        filled_s = self.plan.open_s + length
        began = time.monotonic()
        records = await append(self.producer, stream, range(filled_s))
        filling_s = time.monotonic() - began
        began = time.monotonic()
        self.crew.start("tally-0")
        await self._caught_up()
        first_s = time.monotonic() - began
        restarts = []
        for number in range(self.plan.repeats):
            # one window more, of which the dead worker has seen nothing
            start_s = filled_s + number * length
            restarts.append(await self._restart(stream, start_s))
        return {
            "open_windows_s": self.plan.open_s,
            "records_per_second": self.plan.per_second,
            "partitions": PARTITIONS,
            "features": _FEATURES,
            "records_filled": records,
            "filling_s": round(filling_s, 1),
            "first_catching_up_s": round(first_s, 1),
            "kill_to_first_new_row_s": [restart["row_s"] for restart in restarts],
            "kill_to_caught_up_s": [restart["lag_0_s"] for restart in restarts],
            "restarts": restarts,
        }

    async def _restart(self, stream: Stream, start_s: int) -> dict[str, Any]:
        before = await self._rows()
        # nothing of it may be read before the kill: the row shall be one that only the next life can write
        self.crew.members["tally-0"].send(signal.SIGSTOP)
        more = await append(self.producer, stream, range(start_s, start_s + _LENGTH_S))
        slack_ms = self.plan.scenario.windows.slack_ms
        await beat(self.producer, _BEGIN_MS + (start_s + _LENGTH_S) * 1_000 + slack_ms)
        behind = await self._behind()
        killed = time.monotonic()
        self.crew.members["tally-0"].send(signal.SIGKILL)
        await _until(lambda: self._more_than(before), 0.05)
        row_s = time.monotonic() - killed
        await self._caught_up()
        return {
            "row_s": round(row_s, 2),
            "lag_0_s": round(time.monotonic() - killed, 2),
            "records_to_fold_again": behind,
            "of_them_new": more,
            "resident_mb": self._resident_mb(),
        }

    async def _rows(self) -> int:
        return int(await self._ask("SELECT count(*) FROM window_tallies"))

    async def _behind(self) -> int:
        """Records between the low water of all partitions and the ends."""
        low = await self._ask("SELECT sum(predictions_offset + outcomes_offset) FROM partition_progress")
        total = 0
        for name in ("predictions", "outcomes"):
            total += sum((await ends(self.machines.bootstrap, f"{_PREFIX}{name}")).values())
        return total - int(low or 0)

    async def _ask(self, query: str) -> Any:
        connection = await asyncpg.connect(self.machines.database)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def _caught_up(self) -> None:
        await _until(self._no_lag, 0.2)

    async def _no_lag(self) -> bool:
        names = ("predictions", "outcomes")
        bootstrap, group = self.machines.bootstrap, f"{_GROUP}.tally"
        return not any([await lags(bootstrap, group, f"{_PREFIX}{name}") for name in names])

    async def _more_than(self, rows: int) -> bool:
        return await self._rows() > rows

    def _resident_mb(self) -> int | None:
        process = self.crew.members["tally-0"].process
        with contextlib.suppress(OSError, AttributeError):
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])  # type: ignore[union-attr]
            return pages * os.sysconf("SC_PAGE_SIZE") >> 20
        return None


async def _until(true: Callable[[], Awaitable[bool]], poll_s: float) -> None:
    while True:
        if await true():
            return
        await asyncio.sleep(poll_s)


async def measured(plan: Plan, folder: Path) -> dict[str, Any]:
    """Servers of one's own, a deployment, the measurement. Raises Unavailable."""
    machines = await Machines(1).up()
    try:
        settings = environment(
            plan.scenario,
            home=folder / "home",
            database=machines.database,
            bootstrap=machines.bootstrap,
            prefix=_PREFIX,
            group=_GROUP,
        )
        settings |= {
            "LIFECYCLE_WINDOWS__MAX_HORIZON_S": str(plan.open_s),
            "LIFECYCLE_WINDOWS__GRACE_S": str(_GRACE_S),
            "LIFECYCLE_WINDOWS__MEMORY_S": "0",
        }
        for name in ("SESSION_TIMEOUT_S", "REQUEST_TIMEOUT_S", "STUCK_AFTER_S"):
            del settings[f"LIFECYCLE_KAFKA__{name}"]  # those of the product
        made = await lifecycle("init", environment=settings)
        if made.code != 0:
            raise RuntimeError(made.err)
        producer = AIOKafkaProducer(
            bootstrap_servers=machines.bootstrap, compression_type="lz4", max_batch_size=_BATCH_BYTES
        )
        await producer.start()
        crew = Crew(folder, settings)
        try:
            found = Measurement(plan=plan, machines=machines, folder=folder, producer=producer, crew=crew)
            return await found.measure() | {"complaints": crew.complaints()}
        finally:
            await crew.abandon()
            await producer.stop()
    finally:
        await machines.down()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.restart_time", description=__doc__)
    parser.add_argument("--open-s", type=int, default=600)
    parser.add_argument("--per-second", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args(arguments)
    plan = replace(Plan(), open_s=asked.open_s, per_second=asked.per_second, repeats=asked.repeats)
    with TemporaryDirectory() as folder:
        document = asyncio.run(measured(plan, Path(folder)))
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
