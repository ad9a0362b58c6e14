# /// script
# requires-python = ">=3.11"
# dependencies = ["quixstreams==3.28.1"]
# ///
"""The counting of `counting.py` by a Quix Streams application, one dataframe per topic, counts in memory.

Without its own windows: they count by key, so every record would first be written to another topic
(`group_by`), and keep their state in RocksDB and a changelog topic. JSON is decoded by orjson, into dicts.
Prints one line of JSON.
"""

from typing import Any

import quixstreams
from arguments import parse
from counting import Counting


def main() -> None:
    given = parse("CPU per record of a Quix Streams application.")
    counting = Counting(given.warm_up, given.records)
    app = quixstreams.Application(
        given.kafka,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="WARNING",
        consumer_extra_config={
            "max.partition.fetch.bytes": given.fetch_bytes,
            # By default librdkafka fetches all of a topic of this size ahead: most of the work of fetching
            # would be done, and not counted, before the clock starts.
            "queued.min.messages": 5_000,
        },
    )

    def predicted(value: Any, _key: Any, timestamp_ms: int, _headers: Any) -> None:
        if value is not None and not counting.done:
            counting.prediction(timestamp_ms, value)
            if counting.done:
                app.stop()

    def observed(value: Any, _key: Any, _timestamp_ms: int, _headers: Any) -> None:
        if value is not None and not counting.done:
            counting.outcome(value)
            if counting.done:
                app.stop()

    app.dataframe(app.topic(given.predictions)).update(predicted, metadata=True)
    app.dataframe(app.topic(given.outcomes)).update(observed, metadata=True)
    app.run()
    print(counting.report(f"Quix Streams {quixstreams.__version__}"), flush=True)


if __name__ == "__main__":
    main()
