"""The README's examples run as they stand."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import lifecycle_sdk
from lifecycle_sdk.contracts import record_of
from tests.sdk import brokers
from tests.sdk.announcements import promoted

README = Path(lifecycle_sdk.__file__).parents[1] / "README.md"


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == ""
    return done.stdout


def test_the_example_of_event_time_says_what_its_comments_say() -> None:
    section = README.read_text(encoding="utf-8").partition("## Which time to give")[2]
    program = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    assert run(program) == "Input should have timezone info\n"


async def test_the_example_on_kafka_publishes(kafka: str, topic_prefix: str) -> None:
    section = README.read_text(encoding="utf-8").partition("## On Kafka")[2]
    program = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    async with brokers.deployment(kafka, topic_prefix) as topics:
        before = await asyncio.to_thread(run, program, kafka, topic_prefix)
        assert before == "brent-move has no PRODUCTION version yet\n"
        await brokers.append(kafka, [record_of(promoted("1", 1), topics, source="test")])
        assert await asyncio.to_thread(run, program, kafka, topic_prefix) == "sent 1 1\n"
        assert len(await brokers.records(kafka, topics.outcomes)) == 1
