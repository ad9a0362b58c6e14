"""The records of a run: requests, answers, outcomes, and everything that can be wrong with them.

Pure and seeded. What serves and what is tried follows the registry, which faults delay: so the log differs
from run to run, and the oracle reads the log itself.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from schemas.clock import from_ms
from schemas.codec import encode
from schemas.events import OutcomeObserved, PredictionMade
from schemas.partitioner import partition_for
from tests.chaos.poison import poison
from tests.chaos.scenario import DRIFTING, PARTITIONS, STEADY, UNKNOWN_YET, Scenario

PREDICTIONS, OUTCOMES = "predictions", "outcomes"
_DRIFT_AT = 0.35
"""Part of the run after which the drifting model's world moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """One record to append. A heartbeat has no value and names its partition."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A running experiment as routers see it."""

    experiment: str
    epoch: int
    shadow: bool
    champion: str
    challenger: str


@dataclass(frozen=True, slots=True)
class World:
    """What the registry says: who is PRODUCTION, and what is tried."""

    production: Mapping[str, str] = field(default_factory=dict)
    trials: Mapping[str, Trial] = field(default_factory=dict)


@dataclass(order=True, slots=True)
class _Due:
    at_ms: int
    number: int
    make: Any = field(compare=False)


class Traffic:
    """Emits the records of one slice of event time after the other."""

    def __init__(self, scenario: Scenario, begin_ms: int) -> None:
        self.scenario, self.begin_ms = scenario, begin_ms
        self._random = Random(f"traffic {scenario.seed}")
        self._numbers = count()
        self._waiting: list[_Due] = []
        self._moved = {(topic, p): begin_ms for topic in (PREDICTIONS, OUTCOMES) for p in range(PARTITIONS)}

    def slice(self, from_ms_: int, to_ms: int, requests: int, world: World) -> list[Raw]:
        """The records of event time [from, to), in the order in which they are sent."""
        r = self._random
        for at_ms in sorted(r.randrange(from_ms_, to_ms) for _ in range(requests)):
            self._request(at_ms, world)
        records: list[Raw] = []
        while self._waiting and self._waiting[0].at_ms < to_ms:
            records += self._sent(heappop(self._waiting))
        if not self.scenario.live:
            records += self._beats(to_ms)
        return records

    def last(self) -> list[Raw]:
        """Whatever was still to come, and heartbeats that close every window there is."""
        records: list[Raw] = []
        while self._waiting:
            records += self._sent(heappop(self._waiting))
        policy = self.scenario.windows
        newest = max(self._moved.values())
        beyond = (policy.max_horizon_s * 1_000) + policy.grace_ms + policy.memory_ms + 4 * policy.length_ms
        return records + [
            Raw(topic=topic, key=None, value=b"", timestamp_ms=newest + beyond, partition=p)
            for topic in (PREDICTIONS, OUTCOMES)
            for p in range(PARTITIONS)
        ]

    # ------------------------------------------------------------ requests

    def _request(self, at_ms: int, world: World) -> None:
        r = self._random
        model = r.choice((STEADY, *self.scenario.models))
        request = f"{self.scenario.seed}-{next(self._numbers)}"
        if self.scenario.live and self._quiet(request, at_ms):
            return
        actual = r.gauss(0, 1)
        horizon_s = r.choice(self.scenario.horizons_s)
        answers = list(self._answers(request, model, at_ms, actual, horizon_s, world))
        self._at(at_ms, lambda: [(PREDICTIONS, answer) for answer in answers])
        self._disturb_answers(answers, at_ms)
        self._outcomes(request, at_ms, actual, horizon_s)

    def _quiet(self, request: str, at_ms: int) -> bool:
        """Live partitions fall silent now and then: the workers have to beat for them."""
        spell = (at_ms - self.begin_ms) // 15_000
        return spell % 4 == 3 and partition_for(request.encode(), PARTITIONS) == spell % PARTITIONS

    def _answers(
        self, request: str, model: str, at_ms: int, actual: float, horizon_s: int, world: World
    ) -> Iterator[PredictionMade]:
        r = self._random
        features = self._features(model, at_ms)
        common = {
            "prediction_id": request,
            "model": model,
            "features": features,
            "horizon_s": horizon_s,
            "covariate": actual + r.gauss(0, 1) if r.random() < 0.97 else None,
            "unit": r.choice(("BRN", "WTI", "NG")),
            "occurred_at": from_ms(at_ms),
        }
        trial = world.trials.get(model)
        if trial is None:
            version = world.production.get(model, "1")
            if model == STEADY and r.random() < 0.2:
                version = UNKNOWN_YET
            yield self._answer(common, version, actual, at_ms)
            return
        arms = {"champion": trial.champion, "challenger": trial.challenger}
        served = "champion" if trial.shadow or r.random() < 0.5 else "challenger"
        for variant, version in arms.items():
            if trial.shadow or variant == served:
                tried = {
                    "variant": variant,
                    "experiment": trial.experiment,
                    "epoch": trial.epoch,
                    "served": variant == served,
                }
                yield self._answer(common | tried, version, actual, at_ms)

    def _answer(self, common: dict[str, Any], version: str, actual: float, at_ms: int) -> PredictionMade:
        spread = error_of(self.scenario.seed, common["model"], version)
        if common["model"] == DRIFTING and self._drifted(at_ms):
            spread *= 3
        return PredictionMade(version=version, prediction=actual + self._random.gauss(0, spread), **common)

    def _features(self, model: str, at_ms: int) -> dict[str, float | str | bool | None]:
        r = self._random
        shift = 1.5 if model == DRIFTING and self._drifted(at_ms) else 0.0
        features: dict[str, float | str | bool | None] = {
            "x": r.gauss(shift, 1),
            "y": r.gauss(0, 1) if r.random() < 0.98 else None,
            "side": r.choice(("buy", "sell", "sell", "hold")),
        }
        if r.random() < 0.02:
            features[r.choice("xy")] = r.choice((True, 0.0, -0.0, 1e300, "odd"))
        return features

    def _drifted(self, at_ms: int) -> bool:
        whole_ms = self.scenario.seconds * self.scenario.speed * 1_000
        return at_ms - self.begin_ms > whole_ms * _DRIFT_AT

    def _disturb_answers(self, answers: list[PredictionMade], at_ms: int) -> None:
        r, policy = self._random, self.scenario.windows
        if r.random() < 0.02:  # sent twice, the second time perhaps much later
            self._at(at_ms + r.choice((0, 50, policy.slack_ms, policy.length_ms)), self._again(answers))
        if r.random() < 0.01:  # another answer under the same id: it must not count
            other = answers[0].model_copy(update={"prediction": 1e6})
            self._at(at_ms + 1, lambda: [(PREDICTIONS, other)])
        if r.random() < 0.01:  # arrives when its partition is far ahead
            delay = r.choice((policy.slack_ms - 50, policy.slack_ms + 50, 2 * policy.length_ms))
            late = answers[0].model_copy(update={"prediction_id": answers[0].prediction_id + "-late"})
            self._at(at_ms + delay, lambda: [(PREDICTIONS, late)])

    def _again(self, answers: list[PredictionMade]) -> Any:
        return lambda: [(PREDICTIONS, answer) for answer in answers]

    # ------------------------------------------------------------ outcomes

    def _outcomes(self, request: str, at_ms: int, actual: float, horizon_s: int) -> None:
        r, policy = self._random, self.scenario.windows
        if r.random() < 0.03:
            return  # missing
        due_ms = at_ms + horizon_s * 1_000
        cutoff_ms = (at_ms // policy.length_ms + 1) * policy.length_ms + horizon_s * 1_000 + policy.grace_ms
        seen_ms = due_ms + r.choice((0, 0, 20, policy.grace_ms // 2))
        self._outcome(request, seen_ms, actual)
        if r.random() < 0.03:  # corrected in time
            self._outcome(request, min(seen_ms + r.randrange(1_000), cutoff_ms - 1), actual + 0.1)
        if r.random() < 0.02:  # corrected just in time, or not
            self._outcome(request, cutoff_ms + r.choice((-1, 0, 1, policy.memory_ms // 2)), 99.0)
        if r.random() < 0.01:
            self._outcome(f"nobody-{request}", seen_ms, actual)
        if r.random() < 0.01:
            late = self._observed(request, seen_ms, -5.0)
            self._at(seen_ms + policy.slack_ms * 3, lambda: [(OUTCOMES, late)])

    def _outcome(self, request: str, at_ms: int, actual: float) -> None:
        event = self._observed(request, at_ms, actual)
        self._at(at_ms, lambda: [(OUTCOMES, event)])

    def _observed(self, request: str, at_ms: int, actual: float) -> OutcomeObserved:
        values = {"pnl": round(actual * 10, 2)} if self._random.random() < 0.5 else {}
        return OutcomeObserved(
            prediction_id=request, actual=actual, values=values, occurred_at=from_ms(at_ms)
        )

    # ------------------------------------------------------------ sending

    def _at(self, at_ms: int, make: Any) -> None:
        heappush(self._waiting, _Due(at_ms, next(self._numbers), make))

    def _sent(self, due: _Due) -> Iterator[Raw]:
        r = self._random
        for topic, event in due.make():
            key, value = event.prediction_id.encode(), encode(event)
            partition = partition_for(key, PARTITIONS)
            # the record's time is the event's, and the order of sending is a little off
            at_ms = round(event.occurred_at.timestamp() * 1_000)
            jitter = r.randrange(self.scenario.windows.slack_ms // 2) if r.random() < 0.1 else 0
            if r.random() < 0.004:
                yield Raw(
                    topic=topic,
                    key=key if r.random() < 0.8 else None,
                    value=poison(r, value),
                    timestamp_ms=at_ms,
                    partition=r.randrange(PARTITIONS),
                )
            if r.random() < 0.001:  # to the wrong one: outcomes are orphans there
                partition = r.randrange(PARTITIONS)
            moment = max(self.begin_ms, at_ms - jitter)
            self._moved[topic, partition] = max(self._moved[topic, partition], moment)
            yield Raw(topic=topic, key=key, value=value, timestamp_ms=moment, partition=partition)

    def _beats(self, to_ms: int) -> Iterator[Raw]:
        idle_ms = self.scenario.windows.length_ms // 2
        for (topic, partition), moved_ms in self._moved.items():
            if to_ms - moved_ms > idle_ms or self._random.random() < 0.002:
                self._moved[topic, partition] = max(moved_ms, to_ms - 1)
                yield Raw(topic=topic, key=None, value=b"", timestamp_ms=to_ms - 1, partition=partition)


def error_of(seed: int, model: str, version: str) -> float:
    """Standard deviation of a version's error: clearly better or clearly worse than its champion."""
    if version == "1" or model == STEADY:
        return 1.0
    if model == DRIFTING:  # a retrained version knows the new world
        return 0.5
    digest = hashlib.sha256(f"{seed} {model} {version}".encode()).digest()[0]
    # about two challengers of three are better than what they challenge
    better = sum(
        hashlib.sha256(f"{seed} {model} {known}".encode()).digest()[0] < 170
        for known in range(2, int(version) + 1)
    )
    return float(0.75**better) if digest < 170 else float(1.4 * 0.75**better)
