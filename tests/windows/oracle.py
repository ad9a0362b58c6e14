"""The plain oracle: what the rows of a whole log are, written from the design, sharing no code with the fold.

It sees both logs at once, keeps everything, sums in exact fractions and loops plainly.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.windows.policy import WindowPolicy
from domain.windows.profile import ReferenceProfile
from domain.windows.records import Invalid
from tests.windows.oracle_bodies import (
    Scored,
    bin_counts,
    dumps,
    estimate,
    group,
    metrics,
    moments,
    score_body,
    unit_bucket,
)
from tests.windows.records import Log, Outcome, Prediction

Key = tuple[Any, ...]
Profiles = Mapping[tuple[str, str], ReferenceProfile]


@dataclass(frozen=True)
class Expected:
    rows: dict[Key, tuple[int, bytes]] = field(default_factory=dict)
    """RowKey fields -> (due, body)"""
    arrivals: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """(side, window start) -> body"""


@dataclass(frozen=True)
class Told:
    """What a record is told when it arrives."""

    position: int
    timestamp: int
    arrival: int
    fate: str
    """heartbeat, invalid, late or taken"""


def told(entries: Sequence[tuple[int, Any]], length: int, slack: int) -> tuple[list[Told], int]:
    """Lateness and arrival window of every record of one topic-partition, and its newest timestamp."""
    newest, result = 0, []
    for position, (timestamp, record) in enumerate(entries):
        lies = isinstance(record, Invalid) and not record.moves_time
        after = newest if lies else max(newest, timestamp)
        if record is None:
            fate = "heartbeat"
        elif isinstance(record, Invalid):
            fate = "invalid"
        else:
            fate = "late" if timestamp < newest - slack else "taken"
        result.append(Told(position, timestamp, after // length, fate))
        newest = after
    return result, newest


class Oracle:
    """Everything that follows from one log; `expected` is the answer."""

    def __init__(self, policy: WindowPolicy, profiles: Profiles, log: Log, partition: int = 0) -> None:
        self.policy, self.profiles, self.log, self.partition = policy, profiles, log, partition
        self.L = policy.length_ms
        self.expected = Expected()
        self.ptold, self.pnewest = told(log.predictions, self.L, policy.slack_ms)
        self.otold, self.onewest = told(log.outcomes, self.L, policy.slack_ms)
        self.windows: dict[int, list[Prediction]] = defaultdict(list)
        self.repeats: dict[tuple[int, Key], int] = defaultdict(int)
        self.fates: list[str] = [t.fate for t in self.ptold]
        self.dedupe()
        self.input_rows()
        self.winners: set[int] = set()
        self.losers: set[int] = set()
        self.score_rows()
        self.prediction_arrivals()
        self.outcome_arrivals()

    # ---- predictions

    def dedupe(self) -> None:
        first: dict[tuple[Any, ...], Prediction] = {}
        for t in self.ptold:
            record = self.log.predictions[t.position][1]
            if t.fate != "taken" or not isinstance(record, Prediction):
                continue
            w = t.timestamp // self.L
            same = (w, record.model, record.prediction_id, record.variant)
            if same in first:
                self.fates[t.position] = "duplicate"
                self.repeats[w, group(first[same])] += 1
            else:
                self.fates[t.position] = "tallied"
                first[same] = record
                self.windows[w].append(record)

    def input_closed(self, w: int) -> bool:
        return self.pnewest - self.policy.slack_ms >= (w + 1) * self.L

    def input_rows(self) -> None:
        for w, records in self.windows.items():
            if not self.input_closed(w):
                continue
            for g in {group(r) for r in records}:
                members = [r for r in records if group(r) == g]
                body = self.input_body(w, members, self.repeats[w, g])
                self.expected.rows["input", w * self.L, self.partition, *g, 0] = (
                    (w + 1) * self.L,
                    dumps(body),
                )

    def input_body(self, w: int, members: list[Prediction], repeats: int) -> dict[str, Any]:
        body: dict[str, Any] = {"n": len(members), "served": 0, "duplicates": repeats}
        numbers: list[float] = []
        labels: dict[str, int] = defaultdict(int)
        units: dict[int, int] = defaultdict(int)
        for r in members:
            body["served"] += 1 if r.served else 0
            if isinstance(r.prediction, str):
                labels[r.prediction] += 1
            elif -1e100 <= r.prediction <= 1e100:
                numbers.append(r.prediction)
            if r.experiment is not None and r.unit is not None:
                units[unit_bucket(r)] += 1
        if numbers:
            body["prediction"] = moments(numbers)
        if labels:
            body["labels"] = labels
        if units:
            body["units"] = units
        profile = self.profile(members[0], w)
        if profile is not None and profile.features:
            body["features"] = {
                name: bin_counts(ref, [r.features.get(name) for r in members])
                for name, ref in profile.features.items()
            }
        if profile is not None and profile.prediction is not None:
            body["prediction_bins"] = bin_counts(profile.prediction, [r.prediction for r in members])
        if profile is not None and profile.calibration is not None:
            expected = estimate([r.prediction for r in members], profile.calibration)
            body |= {"estimate": expected} if expected else {}
        return body

    def profile(self, record: Prediction, w: int) -> ReferenceProfile | None:
        profile = self.profiles.get((record.model, record.version))
        return None if profile is None or profile.effective_from_ms > w * self.L else profile

    # ---- outcomes

    def cutoff(self, w: int, horizon_s: int) -> int:
        return (w + 1) * self.L + horizon_s * 1000 + self.policy.grace_ms

    def eligible(self, w: int, record: Prediction) -> list[int]:
        """Positions of the outcomes that may be used for a prediction in w."""
        return [
            t.position
            for t in self.otold
            if t.fate == "taken"
            and self.outcome(t.position).prediction_id == record.prediction_id
            and w * self.L - self.policy.slack_ms <= t.timestamp < self.cutoff(w, record.horizon_s)
        ]

    def outcome(self, position: int) -> Outcome:
        record = self.log.outcomes[position][1]
        assert isinstance(record, Outcome)
        return record

    def score_rows(self) -> None:
        for w, records in self.windows.items():
            for horizon in {r.horizon_s for r in records}:
                cutoff = self.cutoff(w, horizon)
                if not self.input_closed(w) or self.onewest - self.policy.slack_ms < cutoff:
                    continue
                due = [r for r in records if r.horizon_s == horizon]
                scored = [self.scored(w, r) for r in due]
                for g in {group(r) for r in due}:
                    body = score_body([s for s in scored if group(s.record) == g], scored)
                    self.expected.rows["score", w * self.L, self.partition, *g, horizon] = (
                        cutoff,
                        dumps(body),
                    )

    def scored(self, w: int, record: Prediction) -> Scored:
        positions = self.eligible(w, record)
        if not positions:
            return Scored(record, None, {}, {})
        self.winners.add(positions[-1])
        self.losers.update(positions[:-1])
        outcome = self.outcome(positions[-1])
        values = {}
        if record.served:
            values = {f"value.{k}": v for k, v in outcome.values.items() if -1e100 <= v <= 1e100}
        return Scored(record, outcome, metrics(record, outcome, self.profile(record, w)), values)

    # ---- arrivals

    def prediction_arrivals(self) -> None:
        names = ("tallied", "duplicate", "late", "invalid", "heartbeat")
        for a in {t.arrival for t in self.ptold}:
            if a < self.pnewest // self.L:
                fates = [self.fates[t.position] for t in self.ptold if t.arrival == a]
                self.arrival("predictions", a, {name: fates.count(name) for name in names})

    def outcome_arrivals(self) -> None:
        names = ("matched", "superseded", "late_correction", "orphan", "late", "invalid", "heartbeat")
        for a in {t.arrival for t in self.otold}:
            if self.decided(a):
                fates = [self.fate(t) for t in self.otold if t.arrival == a]
                self.arrival("outcomes", a, {name: fates.count(name) for name in names})

    def arrival(self, side: str, a: int, counts: dict[str, int]) -> None:
        counts["read"] = sum(counts.values()) - counts["heartbeat"]
        self.expected.arrivals[side, a * self.L] = dumps(counts)

    def forgotten(self, w: int) -> int:
        return max(self.cutoff(w, r.horizon_s) for r in self.windows[w]) + self.policy.memory_ms

    def decided(self, a: int) -> bool:
        last = ((a + 1) * self.L - 1 + self.policy.slack_ms) // self.L
        return (
            self.onewest // self.L > a
            and self.input_closed(last)
            and all(
                self.onewest - self.policy.slack_ms >= self.forgotten(w) for w in self.windows if w <= last
            )
        )

    def fate(self, t: Told) -> str:
        if t.fate != "taken":
            return t.fate
        if t.position in self.winners:
            return "matched"
        if t.position in self.losers:
            return "superseded"
        wanted = self.outcome(t.position).prediction_id
        for w, records in self.windows.items():
            for r in records:
                cutoff = self.cutoff(w, r.horizon_s)
                if r.prediction_id == wanted and cutoff <= t.timestamp < self.forgotten(w):
                    return "late_correction"
        return "orphan"
