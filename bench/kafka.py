"""CPU per record on Kafka, one core: the floor, the tally worker, a Faust agent, a Quix Streams app.

    python -m bench.kafka --kafka localhost:9092

All read the same topics in one run, each several times in turn. Floor and worker are those of `lifecycle
bench tally --kafka`. The peers (`bench/peers`) count far less than the worker: `peers/counting.py` says what.
Quix Streams is no dependency of the service: uv gives it an environment of its own, or name an interpreter
that has it.
"""

import asyncio
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from consumers.bench.cost import Spread, pinned
from consumers.bench.kafka import Filled, filled, floor, tally
from consumers.bench.places import store_name
from consumers.bench.stream import StreamPlan
from consumers.cli.options import json_option
from consumers.cli.output import print_json, print_table
from consumers.logger import LoggerService
from consumers.workers.shell import collect_seldom

PEERS = Path(__file__).parent / "peers"
UV = Path(sys.executable).with_name("uv")
WARM_UP = 5_000
FLOOR = f"floor: aiokafka {version('aiokafka')}, msgspec"


@click.command()
@click.option(
    "--kafka", required=True, metavar="HOST:PORT", help="Brokers, where topics are made and deleted."
)
@click.option("--database", metavar="URL", help="A PostgreSQL server for the worker.  [default: SQLite]")
@click.option("--predictions", type=click.IntRange(10_000), default=200_000, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--quix-python", metavar="PROGRAM", help="A Python with quixstreams.  [default: made by uv]")
@json_option
def main(
    kafka: str, database: str | None, predictions: int, repeats: int, quix_python: str | None, as_json: bool
) -> None:
    """CPU per record of the tally worker on Kafka, beside the floor, Faust and Quix Streams."""
    LoggerService("WARNING")
    collect_seldom()
    plan = StreamPlan(predictions=predictions)
    with pinned() as core, TemporaryDirectory(prefix="lifecycle-bench-") as home:
        records, costs = asyncio.run(measure(Path(home), plan, kafka, database, repeats, quix_python))
    least = costs[FLOOR].median
    rows = [
        {
            "what": name,
            "cpu_us_per_record": round(cost.median, 2),
            "from": round(cost.least, 2),
            "to": round(cost.most, 2),
            "times_floor": round(cost.median / least, 2),
        }
        for name, cost in costs.items()
    ]
    if as_json:
        print_json({"records": records, "features": plan.features, "core": core, "costs": rows})
    else:
        title = f"{records} records, {plan.features} features, {plan.models} models, {repeats} repeats"
        print_table(title, rows, list(rows[0]), "")


async def measure(
    home: Path,
    plan: StreamPlan,
    kafka: str,
    database: str | None,
    repeats: int,
    quix_python: str | None,
) -> tuple[int, dict[str, Spread]]:
    """How many records, and what each of the readers took for one."""
    quix = [quix_python] if quix_python else [str(UV), "run", "--quiet", "--no-project", "--script"]
    worker = f"tally worker, {store_name(database)}"
    costs: dict[str, list[float]] = {FLOOR: [], worker: []}
    async with filled(home, plan, kafka) as topics:
        for repeat in range(repeats):
            costs[FLOOR].append(await floor(topics))
            costs[worker].append((await tally(topics, database))[0])
            for number, command in enumerate(
                ([sys.executable, "faust_agents.py"], [*quix, "quix_app.py"]), start=repeat * 2
            ):
                said = await _peer(command, home, topics, f"{topics.settings.kafka.group}-{number}")
                costs.setdefault(said["framework"], []).append(said["cpu_us_per_record"])
    return topics.records, {name: Spread.of(each) for name, each in costs.items()}


async def _peer(command: list[str], home: Path, topics: Filled, group: str) -> dict[str, Any]:
    """What a peer says after it has counted everything but the warm-up and the heartbeats at the end."""
    beats = 2 * topics.plan.partitions
    arguments = {
        "kafka": topics.settings.kafka.bootstrap,
        "predictions": topics.topics.predictions,
        "outcomes": topics.topics.outcomes,
        "group": group,
        "warm-up": WARM_UP,
        "records": topics.records - beats - WARM_UP,
        "fetch-bytes": topics.settings.kafka.fetch_bytes,
    }
    *program, script = command
    process = await asyncio.create_subprocess_exec(
        *program,
        str(PEERS / script),
        *(f"--{name}={value}" for name, value in arguments.items()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,  # they leave folders behind
        env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"},
    )
    try:
        async with asyncio.timeout(600):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise click.ClickException(f"{script} failed:\n{err.decode(errors='replace')[-2_000:]}")
    said: dict[str, Any] = json.loads(out.splitlines()[-1])
    if said["predictions"] != topics.plan.predictions:
        raise click.ClickException(f"{script} counted {said}, not {topics.plan.predictions} predictions")
    return said


if __name__ == "__main__":
    main()
