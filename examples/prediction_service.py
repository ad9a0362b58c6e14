"""An example PredictionService: tomorrow's absolute move of Brent crude, in dollars.

Written with the SDK alone (and the model's own library). It publishes what it predicts and what really came,
follows promotions without a restart, and answers in the shadow when an experiment asks for it. All its state
lies in the prices, the log and the feed, so it may be killed at any moment.

Whoever drives event time writes one JSON object a line to its input and reads one from its output:
  at the start         {"ready": true, "last_week": null or the newest week that is in the log}
  {"advance": 1325}    {"done": 1325, "published": true, "predictions": 5, "outcomes": 5, "versions": ["1"]}
                       or {"error": "what went wrong"}: it may be repaired and asked again

The embedded log has a week whole or not at all. Kafka may have a part of the newest week, if a run was killed
or an error came while it was published; asked for that week again, only what is missing is published.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import brent
import numpy as np
import xgboost

from lifecycle_sdk import (
    ArtifactClient,
    ArtifactRefused,
    Assignment,
    EmbeddedEvents,
    EmbeddedPublisher,
    KafkaConnection,
    KafkaEvents,
    KafkaPublisher,
    LogError,
    NothingInProduction,
    OutcomeObserved,
    PredictionMade,
    Router,
    Topics,
)
from lifecycle_sdk.contracts import InvalidRecord, LogRecord, decode

HORIZON_S = 86_400
PRODUCER = "prediction-service"


class Models:
    """Boosters by artifact, fetched and verified once."""

    def __init__(self, artifacts: ArtifactClient) -> None:
        self._artifacts = artifacts
        self._loaded: dict[str, tuple[xgboost.Booster, list[str]]] = {}

    async def answer(self, assignment: Assignment, days: Sequence[brent.Day]) -> list[float]:
        """The assigned version's forecast for each day."""
        booster, names = await self._load(assignment)
        rows = [[day.features[name] for name in names] for day in days if day.features is not None]
        return [float(value) for value in booster.inplace_predict(np.array(rows, dtype=np.float64))]

    async def _load(self, assignment: Assignment) -> tuple[xgboost.Booster, list[str]]:
        if assignment.artifact_sha256 not in self._loaded:
            found = await self._artifacts.fetch(assignment.artifact_uri, assignment.artifact_sha256)
            booster = xgboost.Booster(model_file=str(found.path("model.ubj")))
            booster.set_param({"nthread": 1})
            names = json.loads(found.path("features.json").read_text())
            self._loaded[assignment.artifact_sha256] = (booster, names)
        return self._loaded[assignment.artifact_sha256]


HotEvent = PredictionMade | OutcomeObserved


class Weeks(Protocol):
    """Publishes weeks, each once, over any number of restarts."""

    async def last(self) -> int | None:
        """The newest week of which something is in the log."""
        ...

    async def is_over(self, week: int) -> bool:
        """Whether nothing of `week` is left to be published."""
        ...

    async def publish(self, week: int, events: Sequence[HotEvent]) -> bool:
        """Publish what the log has not got; False if it has all of it."""
        ...


class EmbeddedWeeks:
    """A week is one batch, and its number the batch's sequence: the log itself refuses it a second time."""

    def __init__(self, publisher: EmbeddedPublisher) -> None:
        self._publisher = publisher

    async def last(self) -> int | None:
        return await self._publisher.last_sequence()

    async def is_over(self, week: int) -> bool:
        last = await self.last()
        return last is not None and week <= last

    async def publish(self, week: int, events: Sequence[HotEvent]) -> bool:
        return await self._publisher.publish(events, sequence=week)


class KafkaWeeks:
    """Kafka keeps no sequences: what is in the log is read back, at the start and after every error.

    Weeks are published one after the other, so of all weeks but the newest the log has everything. The newest
    is over when this process has published it, or a heartbeat says that time has passed its end.
    """

    def __init__(self, publisher: KafkaPublisher, events: KafkaEvents) -> None:
        self._publisher = publisher
        self._events = events
        self._offsets: dict[tuple[str, int], int] = {}
        self._published: set[tuple[str, str, str | None]] = set()
        self._newest: int | None = None
        self._done: int | None = None
        self._passed_ms = 0
        self._certain = False

    async def last(self) -> int | None:
        await self._read_back()
        return self._newest

    async def is_over(self, week: int) -> bool:
        await self._read_back()
        if self._newest is None or week > self._newest:
            return False
        return week < self._newest or week == self._done or self._passed_ms >= (week + 1) * brent.WEEK_MS

    async def publish(self, week: int, events: Sequence[HotEvent]) -> bool:
        await self._read_back()
        missing = [event for event in events if _identity(event) not in self._published]
        # until the brokers have acknowledged all, the log may have any part of it
        self._certain = False
        await self._publisher.publish(missing)
        self._certain = True
        self._published.update(map(_identity, missing))
        self._done = self._newest = week
        return bool(missing)

    async def _read_back(self) -> None:
        if self._certain:
            return
        for topic in (self._events.topics.predictions, self._events.topics.outcomes):
            for partition in range(await self._events.partitions(topic)):
                at = (topic, partition)
                while records := await self._events.read(topic, partition, self._offsets.get(at)):
                    self._offsets[at] = records[-1].offset + 1
                    for record in records:
                        self._note(record)
        self._certain = True

    def _note(self, record: LogRecord) -> None:
        if not record.value:
            self._passed_ms = max(self._passed_ms, record.timestamp_ms)
            return
        try:
            event = decode(record.topic, record.value)
        except InvalidRecord:
            return  # none of this service's; the tally worker sends it to the dead letters
        if isinstance(event, HotEvent):
            self._published.add(_identity(event))
            week = record.timestamp_ms // brent.WEEK_MS
            self._newest = week if self._newest is None else max(week, self._newest)


def _identity(event: HotEvent) -> tuple[str, str, str | None]:
    """What is published once: an answer of each variant to a request, and the request's outcome."""
    match event:
        case PredictionMade():
            return "prediction", event.prediction_id, event.variant
        case OutcomeObserved():
            return "outcome", event.prediction_id, None


class PredictionService:
    """Publishes one week at a time, each once."""

    def __init__(self, model: str, weeks: Weeks, router: Router, models: Models) -> None:
        self._model = model
        self._weeks = weeks
        self._router = router
        self._models = models
        self._outcomes = _outcomes_by_week()

    async def advance(self, week: int) -> dict[str, object]:
        """Publish the week's predictions and outcomes, unless the log has them already."""
        if await self._weeks.is_over(week):
            return {"done": week, "published": False, "predictions": 0, "outcomes": 0, "versions": []}
        await self._router.poll()
        days = brent.days_in(week)
        predictions = await self._predictions(days)
        outcomes = [
            OutcomeObserved(
                prediction_id=day.prediction_id, actual=day.target, occurred_at=_moment(day.outcome_ms)
            )
            for day in self._outcomes.get(week, ())
            if day.target is not None and day.outcome_ms is not None
        ]
        published = await self._weeks.publish(week, [*predictions, *outcomes])
        return {
            "done": week,
            "published": published,
            "predictions": len(predictions),
            "outcomes": len(outcomes),
            "versions": sorted({prediction.version for prediction in predictions}),
        }

    async def _predictions(self, days: Sequence[brent.Day]) -> list[PredictionMade]:
        # One route per request; in the demo a week's requests are routed alike, so versions answer in bulk.
        answers: dict[Assignment, list[brent.Day]] = {}
        for day in days:
            for assignment in self._router.route(day.prediction_id):
                answers.setdefault(assignment, []).append(day)
        predictions = []
        for assignment, asked in answers.items():
            for day, forecast in zip(asked, await self._models.answer(assignment, asked), strict=True):
                predictions.append(self._prediction(day, assignment, forecast))
        # in the order of event time, as a live service would publish
        return sorted(predictions, key=lambda made: (made.occurred_at, not made.served))

    def _prediction(self, day: brent.Day, assignment: Assignment, forecast: float) -> PredictionMade:
        return PredictionMade(
            prediction_id=day.prediction_id,
            model=self._model,
            version=assignment.version,
            variant=assignment.variant,
            experiment=assignment.experiment,
            epoch=assignment.epoch,
            served=assignment.served,
            prediction=forecast,
            features=dict(day.features or {}),
            horizon_s=HORIZON_S,
            occurred_at=_moment(day.event_ms),
        )


def _outcomes_by_week() -> dict[int, list[brent.Day]]:
    """Served days by the week in which their outcome becomes known."""
    found: dict[int, list[brent.Day]] = {}
    for day in brent.served_days():
        if day.outcome_ms is not None:
            found.setdefault(day.outcome_ms // brent.WEEK_MS, []).append(day)
    return found


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


async def serve(arguments: argparse.Namespace) -> None:
    """Read commands until the input ends."""
    if arguments.kafka is None:
        await _serve_embedded(arguments.home, arguments.model)
    else:
        await _serve_kafka(arguments.kafka, arguments.topic_prefix, arguments.artifacts, arguments.model)


async def _serve_embedded(home: Path, model: str) -> None:
    events = EmbeddedEvents(home / "log.sqlite")
    async with EmbeddedPublisher(home / "log.sqlite", producer=PRODUCER) as publisher:
        models = Models(ArtifactClient(home / "artifacts"))
        weeks = EmbeddedWeeks(publisher)
        await _answer(weeks, PredictionService(model, weeks, Router(events, model), models))
    await events.close()


async def _serve_kafka(bootstrap: str, prefix: str, artifacts: Path, model: str) -> None:
    connection, topics = KafkaConnection(bootstrap=bootstrap), Topics(prefix)
    events = KafkaEvents(connection, topics=topics)
    async with KafkaPublisher(connection, producer=PRODUCER, topics=topics) as publisher:
        weeks = KafkaWeeks(publisher, events)
        models = Models(ArtifactClient(artifacts))
        await _answer(weeks, PredictionService(model, weeks, Router(events, model), models))
    await events.close()


async def _answer(weeks: Weeks, service: PredictionService) -> None:
    _say({"ready": True, "last_week": await weeks.last()})
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            week = json.loads(line)["advance"]
        except (ValueError, KeyError, TypeError):
            _say({"error": f"not a command: {line.strip()[:80]}"})
            continue
        try:
            _say(await service.advance(week))
        except (ArtifactRefused, LogError, NothingInProduction) as error:
            _say({"error": str(error)})


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Forecasts Brent's daily move; driven by lines on stdin.")
    engine = parser.add_mutually_exclusive_group(required=True)
    engine.add_argument("--home", type=Path, help="an embedded deployment")
    engine.add_argument("--kafka", metavar="BOOTSTRAP", help="addresses of brokers; needs --artifacts")
    parser.add_argument("--topic-prefix", default=Topics().prefix, help="of the topics on Kafka")
    parser.add_argument("--artifacts", type=Path, help="the deployment's artifact folder")
    parser.add_argument("--model", default="brent-move")
    arguments = parser.parse_args()
    if (arguments.kafka is None) != (arguments.artifacts is None):
        parser.error("--kafka and --artifacts belong together")
    try:
        asyncio.run(serve(arguments))
    except LogError as error:
        sys.exit(f"prediction service: {error}")


if __name__ == "__main__":
    main()
