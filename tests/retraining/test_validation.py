"""The challenger's holdout error against the champion's logged answers, on the same rows."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.retraining.validation import ValidationPolicy, Verdict, compare, mean_absolute_error

POLICY = ValidationPolicy(tolerance=0.1, min_rows=3)


def test_an_error_at_the_limit_passes_and_one_above_does_not() -> None:
    actual, champion = [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]
    at_limit = compare([1.1] * 4, champion, actual, POLICY, "1")
    assert (at_limit.verdict, at_limit.passed, at_limit.limit) == (Verdict.PASSED, True, 1.1)
    above = compare([1.2] * 4, champion, actual, POLICY, "1")
    assert (above.verdict, above.passed) == (Verdict.WORSE, False)
    assert "1.2 against 1 of version 1 on 4 holdout rows: above the limit 1.1" in above.summary()


def test_rows_that_the_champion_did_not_answer_count_for_neither() -> None:
    found = compare([0.0, 0.0, 0.0, 9.0], [1.0, 1.0, 1.0, None], [0.0] * 4, POLICY, "1")
    assert (found.n, found.challenger_mae, found.champion_mae) == (3, 0.0, 1.0)


def test_too_few_common_rows_never_pass() -> None:
    found = compare([0.0] * 3, [1.0, 1.0, None], [0.0] * 3, POLICY, "7")
    assert (found.verdict, found.passed, found.n) == (Verdict.TOO_FEW_ROWS, False, 2)
    assert found.summary() == "version 7 answered 2 holdout rows, 3 needed"
    nothing = compare([], [], [], POLICY, "7")
    assert (nothing.verdict, nothing.challenger_mae) == (Verdict.TOO_FEW_ROWS, None)


def test_a_first_version_has_nobody_to_be_compared_with() -> None:
    found = compare([1.0, 3.0], [None, None], [0.0, 0.0], POLICY, None)
    assert (found.verdict, found.passed, found.challenger_mae) == (Verdict.NO_CHAMPION, True, 2.0)


def test_the_evidence_is_plain_json() -> None:
    evidence = compare([1.0] * 3, [1.0] * 3, [0.0] * 3, POLICY, "1").evidence()
    assert orjson.loads(orjson.dumps(evidence)) == {
        "verdict": "PASSED",
        "n": 3,
        "challenger_mae": 1.0,
        "champion_mae": 1.0,
        "limit": 1.1,
        "min_rows": 3,
        "champion_version": "1",
    }


def test_predictions_and_outcomes_must_have_one_length() -> None:
    with pytest.raises(ValueError, match="zip"):
        mean_absolute_error([1.0], [1.0, 2.0])


finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_a_bit(
    rows: list[tuple[float, float]], shuffle: object
) -> None:
    ordered = mean_absolute_error([p for p, _ in rows], [a for _, a in rows])
    mixed = list(rows)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    assert mean_absolute_error([p for p, _ in mixed], [a for _, a in mixed]) == ordered
    assert ordered is not None
    assert math.isfinite(ordered)
