"""The counting of `counting.py` by two plain Faust agents, one per topic, with the counts in memory.

Without Faust's tables, which would keep the counts over a restart and cost more. JSON is decoded by orjson,
into dicts, without a model. Prints one line of JSON.
"""

import asyncio

import faust
from arguments import parse
from counting import Counting


async def main() -> None:
    given = parse("CPU per record of plain Faust agents.")
    counting = Counting(given.warm_up, given.records)
    done = asyncio.Event()
    app = faust.App(
        given.group,
        broker=f"kafka://{given.kafka}",
        store="memory://",
        value_serializer="json",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=given.fetch_bytes,
        broker_commit_interval=1.0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )

    @app.agent(app.topic(given.predictions))
    async def predictions(stream: faust.StreamT) -> None:
        async for event in stream.events():
            if event.value is not None and not counting.done:
                counting.prediction(round(event.message.timestamp * 1_000), event.value)
                if counting.done:
                    done.set()

    @app.agent(app.topic(given.outcomes))
    async def outcomes(stream: faust.StreamT) -> None:
        async for event in stream.events():
            if event.value is not None and not counting.done:
                counting.outcome(event.value)
                if counting.done:
                    done.set()

    await app.start()
    await done.wait()
    print(counting.report(f"Faust {faust.__version__}"), flush=True)
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
