"""Wherever the rows are cut and however the state is stored, the later decisions are the same bytes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from random import Random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from domain.judgement.decision import Decision
from domain.judgement.judge import Frozen, judge
from domain.judgement.rows import Row, instants
from domain.judgement.state import ModelState
from domain.judgement.trials import DatedPlan
from tests.judgement.rows import (
    LENGTH,
    MODEL,
    PLAN,
    POLICY,
    frozen,
    in_order,
    inputs,
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
