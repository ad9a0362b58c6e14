"""An example PredictionService: tomorrow's absolute move of Brent crude, in dollars.

Written with the SDK alone (and the model's own library). It publishes what it predicts and what really came,
follows promotions without a restart, and answers in the shadow when an experiment asks for it. All its state
lies in the prices, the log and the feed, so it may be killed at any moment.

Whoever drives event time writes one JSON object a line to its input and reads one from its output:
  at the start         {"ready": true, "last_week": null or the newest week that is in the log}
  {"advance": 1325}    {"done": 1325, "published": true, "predictions": 5, "outcomes": 5, "versions": ["1"]}
                       or {"error": "what went wrong"}, and then nothing of that week was published
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import brent
import numpy as np
import xgboost

from lifecycle_sdk import (
    ArtifactClient,
    ArtifactRefused,
    Assignment,
    EmbeddedEvents,
    EmbeddedPublisher,
    LogError,
    NothingInProduction,
    OutcomeObserved,
    PredictionMade,
    Router,
)

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


class PredictionService:
    """Publishes one week at a time, each once."""

    def __init__(self, model: str, publisher: EmbeddedPublisher, router: Router, models: Models) -> None:
        self._model = model
        self._publisher = publisher
        self._router = router
        self._models = models
        self._outcomes = _outcomes_by_week()

    async def advance(self, week: int) -> dict[str, object]:
        """Publish the week's predictions and outcomes in one batch, unless the log has it already."""
        last = await self._publisher.last_sequence()
        if last is not None and week <= last:
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
        published = await self._publisher.publish([*predictions, *outcomes], sequence=week)
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


async def serve(home: Path, model: str) -> None:
    """Read commands until the input ends."""
    publisher = EmbeddedPublisher(home / "log.sqlite", producer=PRODUCER)
    events = EmbeddedEvents(home / "log.sqlite")
    models = Models(ArtifactClient(home / "artifacts"))
    service = PredictionService(model, publisher, Router(events, model), models)
    _say({"ready": True, "last_week": await publisher.last_sequence()})
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            week = json.loads(line)["advance"]
        except (ValueError, KeyError, TypeError):
            _say({"error": f"not a command: {line.strip()[:80]}"})
            continue
        try:
            _say(await service.advance(week))
        except (ArtifactRefused, LogError, NothingInProduction) as error:
            # nothing of the week was published: whoever drives may repair it and ask again
            _say({"error": str(error)})
    await events.close()
    await publisher.close()


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Forecasts Brent's daily move; driven by lines on stdin.")
    parser.add_argument("--home", type=Path, required=True, help="the embedded deployment")
    parser.add_argument("--model", default="brent-move")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.home, arguments.model))


if __name__ == "__main__":
    main()
