"""Wherever the rows are cut and however the state is stored, the later decisions are the same bytes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from random import Random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.adwin import AdwinPolicy
from domain.drift.classic import ClassicPolicy
from domain.drift.episodes import EpisodePolicy
from domain.drift.esr import EsrPolicy
from domain.drift.estimate import EstimatePolicy
from domain.drift.promise import PromisePolicy
from domain.judgement.decision import Decision, DecisionKind, Key
from domain.judgement.judge import Frozen, judge
from domain.judgement.rows import Row, instants
from domain.judgement.state import ModelState
from domain.judgement.trials import DatedPlan
from domain.windows.calibration import Calibration
from domain.windows.profile import FeatureReference, MetricReference, ReferenceProfile
from domain.windows.season import Season
from tests.judgement.rows import (
    LENGTH,
    MODEL,
    PLAN,
    POLICY,
    frozen,
    in_order,
    inputs,
    profile,
    scores,
    stored,
    trial,
)


def life(r: Random) -> list[Row]:
    """Some windows of a model: two versions, drifts, an experiment, partitions, holes."""
    rows: list[Row] = []
    low, mean, version = 200, 0.1, "1"
    for window in range(r.randrange(3, 16)):
        low = r.choice([200, 270, 390]) if r.random() < 0.2 else low
        mean = r.choice([0.1, 0.5, 0.9]) if r.random() < 0.15 else mean
        version = r.choice("12") if r.random() < 0.1 else version
        if r.random() < 0.1:
            continue
        for partition in range(r.choice([1, 1, 2])):
            key: dict[str, Any] = {"version": version, "partition": partition}
            rows.append(inputs(window, low=low, predicted_low=r.choice([200, 200, 380]), **key))
            for horizon_s in r.choice([(1,), (1, 2)]):
                level = mean + r.random() / 10
                rows.append(scores(window, mean=level, spread=r.random() / 10, horizon_s=horizon_s, **key))
        rows += (
            trial(window, gain=r.choice([0.0, 0.1, 0.2]), epoch=r.choice([1, 2])) if r.random() < 0.7 else []
        )
    return in_order(rows)


def configuration(r: Random) -> Frozen:
    cancelled = r.choice([None, None, r.randrange(16) * LENGTH])
    experiment = replace(PLAN, max_duration_ms=r.choice([None, 2 * LENGTH, 6 * LENGTH]))
    plan = DatedPlan(plan=experiment, started_at_ms=r.choice([-1, 4 * LENGTH]), cancelled_at_ms=cancelled)
    patient = replace(POLICY, retrain=replace(POLICY.retrain, cooldown_ms=5 * LENGTH, repeat_ms=7 * LENGTH))
    later = r.randrange(1, 16) * LENGTH + r.choice([0, 1])
    return frozen((0, POLICY), (later, patient), plan=plan)


def in_pieces(pieces: list[list[Row]], frozen_parts: Frozen, r: Random) -> tuple[list[bytes], bytes]:
    state, decided = ModelState(), []
    for piece in pieces:
        decided += [decision.body() for decision in judge(MODEL, state, piece, frozen_parts)]
        state = stored(state, r)
    return decided, orjson.dumps(state.to_json(), option=orjson.OPT_SORT_KEYS)


def whole(rows: list[Row], frozen_parts: Frozen) -> tuple[list[bytes], bytes]:
    state = ModelState()
    decided = [decision.body() for decision in judge(MODEL, state, rows, frozen_parts)]
    return decided, orjson.dumps(state.to_json(), option=orjson.OPT_SORT_KEYS)


def single_instants(rows: list[Row]) -> Iterator[list[Row]]:
    for instant in instants(rows):
        yield list(instant.rows)


@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_a_cut_at_every_instant_changes_nothing(r: Random) -> None:
    rows, parts = life(r), configuration(r)
    assert in_pieces(list(single_instants(rows)), parts, r) == whole(rows, parts)


@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_a_cut_at_any_due_time_changes_nothing(r: Random) -> None:
    rows, parts = life(r), configuration(r)
    by_due = [list(group) for _, group in groupby(rows, key=lambda row: row.due_ms)]
    pieces: list[list[Row]] = [[]]
    for group in by_due:
        if r.random() < 0.3:
            pieces.append([])
        pieces[-1].extend(group)
    assert in_pieces(pieces, parts, r) == whole(rows, parts)


@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_every_decision_has_a_key_of_its_own_and_names_a_decision_before_it(r: Random) -> None:
    decided: list[Decision] = list(judge(MODEL, ModelState(), life(r), configuration(r)))
    keys = [decision.key for decision in decided]
    assert len(set(keys)) == len(keys)
    assert [d.at_ms for d in decided] == sorted(d.at_ms for d in decided)
    for at, decision in enumerate(decided):
        assert decision.cause is None or decision.cause in keys[:at]


EVERY = replace(
    POLICY,
    error_metric="hit",
    feature_scores=EsrPolicy(),
    prediction_scores=EsrPolicy(),
    prediction_level=AdwinPolicy(),
    promise=PromisePolicy(metric="hit", tolerance=0.02),
    estimate=EstimatePolicy(tolerance=0.02),
    classics=(
        ClassicPolicy(detector="PageHinkley", params={"min_instances": 2, "threshold": 0.2}),
        ClassicPolicy(detector="KSWIN", stream="prediction", params={"window_size": 6, "stat_size": 2}),
        ClassicPolicy(detector="ADWIN", stream="feature:x", params={"grace_period": 1, "clock": 1}),
    ),
    episodes=EpisodePolicy(quiet_windows=2, cooldown_windows=1),
)
BY_SLOT = ((150, 250, 0, 0), (250, 150, 0, 0))
SEASONAL = FeatureReference(
    kind="numeric", edges=(0.0,), counts=(400, 400, 0, 0), means=(-1.0, 1.0), sd=1.0, seasonal=BY_SLOT
)


def classifier(version: str, effective_from_ms: int = 0) -> ReferenceProfile:
    return replace(
        profile(version, effective_from_ms),
        task="probability",
        error_clip=None,
        features={"x": SEASONAL},
        prediction=SEASONAL,
        season=Season(period_ms=2 * LENGTH, slots=2),
        calibration=Calibration(x=(0.0, 1.0), y=(0.0, 1.0)),
        errors={"hit": MetricReference(n=2_000, mean=0.9, M2=180.0)},
    )


def classified(r: Random) -> list[Row]:
    """A life in which everything that can be read is there, and most of it moves at times."""
    rows: list[Row] = []
    low, hit, expected, version = 200, 0.9, 0.1, "1"
    for window in range(r.randrange(3, 20)):
        low = r.choice([200, 240, 390]) if r.random() < 0.2 else low
        hit = r.choice([0.9, 0.6, 0.2]) if r.random() < 0.2 else hit
        expected = r.choice([0.1, 0.3, 0.5]) if r.random() < 0.2 else expected
        version = r.choice("12") if r.random() < 0.1 else version
        if r.random() < 0.1:
            continue
        for partition in range(r.choice([1, 1, 2])):
            key: dict[str, Any] = {"version": version, "partition": partition}
            level = r.choice([0.0, 0.0, 0.4]) + r.random() / 20
            rows.append(inputs(window, low=low, level=level, error_rate=expected, **key))
            right = hit - r.random() / 20
            rows += [scores(window, n=100, hit=right, horizon_s=h, **key) for h in r.choice([(1,), (1, 4)])]
    return in_order(rows)


def of_everything(r: Random) -> Frozen:
    later = r.randrange(1, 40) * LENGTH + r.choice([0, 1])
    warned = replace(EVERY.retrain, min_severity="warn")
    changed = replace(EVERY, episodes=EpisodePolicy(quiet_windows=3), retrain=warned)
    profiles = [classifier("1", r.choice([0, 5 * LENGTH])), classifier("2")]
    return frozen((0, EVERY), (later, changed), profiles=profiles)


@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_a_cut_at_every_instant_changes_nothing_with_all_detectors_on(r: Random) -> None:
    rows, parts = classified(r), of_everything(r)
    assert in_pieces(list(single_instants(rows)), parts, r) == whole(rows, parts)


@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_every_stream_has_one_episode_at_a_time_with_all_detectors_on(r: Random) -> None:
    decided = list(judge(MODEL, ModelState(), classified(r), of_everything(r)))
    keys = [decision.key for decision in decided]
    assert len(set(keys)) == len(keys)
    streams: dict[str, Key | None] = {}
    for decision in decided:
        version, _, kind = decision.subject.partition("/")
        stream = version + ("/errors" if kind in ("CONCEPT_DRIFT", "PERFORMANCE_DEGRADATION") else kind)
        if decision.kind is DecisionKind.DRIFT:
            assert streams.get(stream) is None
            streams[stream] = decision.key
        elif decision.kind is DecisionKind.ESCALATION:
            assert not kind.endswith("estimate")
            assert decision.cause == streams[stream]
        elif decision.kind is DecisionKind.RECOVERY:
            assert decision.cause == streams.pop(stream)
        assert decision.window_start_ms < decision.window_end_ms
