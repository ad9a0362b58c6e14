"""The rules of the window, one by one, on logs small enough to read.

Windows of 1 s, slack 100 ms, grace and memory 200 ms.
"""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from domain.windows.calibration import Calibration
from domain.windows.fold import Closed, PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.progress import Progress
from domain.windows.records import Invalid
from domain.windows.rows import RowKey
from tests.windows.records import Outcome, OutcomeEntry, Prediction, PredictionEntry

POLICY = WindowPolicy(length_ms=1_000, slack_ms=100, grace_ms=200)
CUTOFF = 2_200  # of window 0 at a horizon of one second
END = 100_000


def p(prediction_id: str = "i", **fields: Any) -> Prediction:
    return Prediction(prediction_id=prediction_id, **fields)


def o(prediction_id: str = "i", actual: float | str = 1.0, **values: float) -> Outcome:
    return Outcome(prediction_id=prediction_id, actual=actual, values=values)


def fold(
    predictions: Sequence[PredictionEntry],
    outcomes: Sequence[OutcomeEntry] = (),
    profile: ReferenceProfile | None = None,
    until: int = END,
) -> Closed:
    """Fold both topics, then heartbeats at `until`, and close."""
    partition = PartitionFold(POLICY, Progress.start(0))
    for entries, add in ((predictions, partition.add_predictions), (outcomes, partition.add_outcomes)):
        ended: list[Any] = [*entries, (until, None)]
        add(range(len(ended)), [timestamp for timestamp, _ in ended], [record for _, record in ended])
    return partition.close({("m", "1"): profile} if profile is not None else {})


def body(closed: Closed, kind: str, window: int = 0, **fields: Any) -> dict[str, Any]:
    """The one row of this kind and window whose key has these fields."""
    found = [
        row
        for row in closed.rows
        if (row.key.kind, row.key.window_start_ms) == (kind, window * 1_000)
        and all(getattr(row.key, name) == value for name, value in fields.items())
    ]
    assert len(found) == 1
    value: dict[str, Any] = orjson.loads(found[0].body)
    return value


def fates(closed: Closed, side: str) -> dict[str, int]:
    """What became of all records of a side, without zeros; read and heartbeats left out."""
    total: dict[str, int] = {}
    for arrival in closed.arrivals:
        if arrival.side == side:
            for name, count in orjson.loads(arrival.body).items():
                if count and name not in ("read", "heartbeat"):
                    total[name] = total.get(name, 0) + count
    return total


def test_a_prediction_gives_an_input_row_at_its_windows_end_and_a_score_row_at_its_cutoff() -> None:
    closed = fold([(10, p(prediction=3.0))], [(1_500, o(actual=1.0))])
    assert [(row.key, row.due_ms) for row in closed.rows] == [
        (RowKey("input", 0, 0, "m", "1", "", "", 0, 0), 1_000),
        (RowKey("score", 0, 0, "m", "1", "", "", 0, 1), CUTOFF),
    ]
    assert orjson.loads(closed.rows[0].body) == {
        "n": 1,
        "served": 1,
        "duplicates": 0,
        "prediction": {"n": 1, "mean": 3.0, "M2": 0.0},
    }
    score = orjson.loads(closed.rows[1].body)
    assert (score["n"], score["matched"], score["missing"], score["unscorable"]) == (1, 1, 0, 0)
    assert score["metrics"]["abs_error"] == {"n": 1, "mean": 2.0, "M2": 0.0}


@pytest.mark.parametrize("newest, closes", [(1_099, False), (1_100, True)])
def test_the_input_side_closes_when_newest_is_slack_past_the_end(newest: int, closes: bool) -> None:
    assert bool(fold([(0, p())], until=newest).rows) is closes


@pytest.mark.parametrize("newest, closes", [(CUTOFF + 99, 1), (CUTOFF + 100, 2)])
def test_the_outcome_side_closes_when_newest_is_slack_past_the_cutoff(newest: int, closes: int) -> None:
    assert len(fold([(0, p())], until=newest).rows) == closes


@pytest.mark.parametrize("timestamp, n", [(800, 2), (799, 1)])
def test_a_record_more_than_slack_behind_its_partition_is_late(timestamp: int, n: int) -> None:
    closed = fold([(900, p("a")), (timestamp, p("b"))])
    assert body(closed, "input")["n"] == n
    assert fates(closed, "predictions") == ({"tallied": 2} if n == 2 else {"tallied": 1, "late": 1})


def test_a_heartbeat_and_an_invalid_record_move_time() -> None:
    for mover in (None, Invalid("not JSON", moves_time=True)):
        assert fates(fold([(900, mover), (700, p())]), "predictions").get("late") == 1


def test_a_record_whose_clock_lies_moves_nothing() -> None:
    closed = fold([(10**15, Invalid("from the future", moves_time=False)), (700, p())])
    assert fates(closed, "predictions") == {"invalid": 1, "tallied": 1}


def test_the_first_of_an_id_and_variant_counts_and_repeats_count_with_it() -> None:
    closed = fold(
        [(0, p(prediction=1.0)), (1, p(prediction=2.0, version="2")), (2, p(variant="b", experiment="e"))]
    )
    assert body(closed, "input", variant="") == {
        "n": 1,
        "served": 1,
        "duplicates": 1,
        "prediction": {"n": 1, "mean": 1.0, "M2": 0.0},
    }
    assert body(closed, "input", variant="b")["duplicates"] == 0
    assert fates(closed, "predictions") == {"tallied": 2, "duplicate": 1}


def test_the_same_id_in_another_window_is_another_prediction() -> None:
    closed = fold([(0, p()), (1_000, p())], [(1_100, o())])
    assert body(closed, "score", 0)["matched"] == body(closed, "score", 1)["matched"] == 1
    assert fates(closed, "outcomes") == {"matched": 1}


def test_the_last_outcome_in_the_partition_wins_even_with_an_older_timestamp() -> None:
    closed = fold([(0, p(prediction=0.0))], [(1_000, o(actual=5.0)), (950, o(actual=7.0))])
    assert body(closed, "score")["metrics"]["abs_error"]["mean"] == 7.0
    assert fates(closed, "outcomes") == {"matched": 1, "superseded": 1}


@pytest.mark.parametrize(
    "timestamp, fate",
    [
        (CUTOFF - 1, "matched"),
        (CUTOFF, "late_correction"),
        (CUTOFF + 199, "late_correction"),
        (CUTOFF + 200, "orphan"),
    ],
)
def test_the_cutoff_is_exclusive_and_memory_ends(timestamp: int, fate: str) -> None:
    assert fates(fold([(0, p())], [(timestamp, o())]), "outcomes") == {fate: 1}


@pytest.mark.parametrize("timestamp, fate", [(900, "matched"), (899, "orphan")])
def test_an_outcome_may_be_slack_older_than_the_window(timestamp: int, fate: str) -> None:
    assert fates(fold([(1_000, p())], [(timestamp, o())]), "outcomes") == {fate: 1}


def test_a_correction_after_the_cutoff_changes_no_row() -> None:
    closed = fold([(0, p(prediction=0.0))], [(1_000, o(actual=5.0)), (CUTOFF, o(actual=7.0))])
    assert body(closed, "score")["metrics"]["abs_error"]["mean"] == 5.0
    assert fates(closed, "outcomes") == {"matched": 1, "late_correction": 1}


def test_no_outcome_is_missing_and_no_prediction_is_an_orphan() -> None:
    closed = fold([(0, p("a"))], [(500, o("b"))])
    assert (body(closed, "score")["matched"], body(closed, "score")["missing"]) == (0, 1)
    assert fates(closed, "outcomes") == {"orphan": 1}


def test_an_outcome_that_comes_before_its_prediction_is_read_is_joined() -> None:
    partition = PartitionFold(POLICY, Progress.start(0))
    partition.add_outcomes([0, 1], [500, END], [o(), None])
    assert not partition.close({}).arrivals
    assert partition.pending().outcomes == {"read": 1, "open": 1, "late": 0, "invalid": 0, "heartbeat": 1}
    partition.add_predictions([0, 1], [0, END], [p(), None])
    closed = partition.close({})
    assert body(closed, "score")["matched"] == 1
    assert fates(closed, "outcomes") == {"matched": 1}


def test_a_shadow_answer_is_paired_with_the_served_one() -> None:
    shadow = {"experiment": "e", "epoch": 1}
    answers: list[PredictionEntry] = []
    for name, ours, theirs in (("a", 1.0, -1.0), ("b", -1.0, 1.0), ("c", 1.0, 3.0), ("missing", 1.0, 1.0)):
        answers.append((0, p(name, variant="new", prediction=ours, served=False, **shadow)))
        answers.append((0, p(name, variant="old", version="0", prediction=theirs, **shadow)))
    closed = fold(answers, [(1_000, o(name, actual=2.0, pnl=4.0)) for name in "abc"])
    challenger = body(closed, "score", variant="new")
    assert challenger["paired"]["abs_error"] == {"n": 3, "mean": pytest.approx(0.0), "M2": 8.0}
    assert challenger["paired_hits"] == {"sign_hit": {"n": 3, "b": 1, "c": 1}}
    assert "value.pnl" not in challenger["metrics"]
    champion = body(closed, "score", variant="old")
    assert champion["metrics"]["value.pnl"] == {"n": 3, "mean": 4.0, "M2": 0.0}
    assert "paired" not in champion


def test_units_of_sticky_experiments_are_summed_in_buckets() -> None:
    sticky = {"variant": "a", "experiment": "e", "unit": "BRN", "prediction": 0.0}
    closed = fold([(0, p("a", **sticky)), (0, p("b", **sticky))], [(1_000, o("a")), (1_000, o("b", 2.0))])
    (bucket,) = body(closed, "input")["units"]
    assert body(closed, "input")["units"] == {bucket: 2}
    assert body(closed, "score")["units"]["abs_error"] == {bucket: [2, 3.0]}
    assert "units" not in body(fold([(0, p(unit="BRN"))]), "input")


def test_covariates_stand_beside_metrics_when_every_matched_prediction_has_one() -> None:
    outcomes = [(1_000, o("a", 1.0)), (1_000, o("b", 3.0))]
    both = fold([(0, p("a", covariate=1.0)), (0, p("b", covariate=2.0)), (0, p("c"))], outcomes)
    assert body(both, "score")["metrics"]["abs_error"] == {
        "n": 2,
        "mean": 2.0,
        "M2": 2.0,
        "mean_x": 1.5,
        "M2_x": 0.5,
        "Cxy": 1.0,
    }
    one = fold([(0, p("a", covariate=1.0)), (0, p("b"))], outcomes)
    assert "Cxy" not in body(one, "score")["metrics"]["abs_error"]


def test_features_are_counted_with_a_profile_in_force_and_not_otherwise() -> None:
    reference = FeatureReference(kind="numeric", edges=(0.0,), counts=(0, 0, 0, 0))

    def profile(effective_from_ms: int) -> ReferenceProfile:
        return ReferenceProfile(
            model="m",
            version="1",
            task="regression",
            features={"f": reference},
            prediction=reference,
            effective_from_ms=effective_from_ms,
        )

    predictions: list[PredictionEntry] = [(0, p("a", features={"f": 1.0}, prediction=-1.0)), (0, p("b"))]
    row = body(fold(predictions, profile=profile(0)), "input")
    assert row["features"] == {"f": [0, 1, 1, 0]}
    assert row["prediction_bins"] == [2, 0, 0, 0]
    for without in (None, profile(1)):
        row = body(fold(predictions, profile=without), "input")
        assert not {"features", "prediction_bins"} & set(row)


def test_horizons_of_one_window_share_an_input_row_and_have_a_score_row_each() -> None:
    closed = fold([(0, p("a")), (0, p("b", horizon_s=5))])
    assert body(closed, "input")["n"] == 2
    assert [row.due_ms for row in closed.rows if row.key.kind == "score"] == [CUTOFF, CUTOFF + 4_000]


def test_a_fold_that_has_read_nothing_has_nothing_to_say() -> None:
    partition = PartitionFold(POLICY, Progress.start(7))
    assert not partition.closable()
    assert partition.closing_versions() == set()
    assert partition.close({}) == Closed([], [], Progress.start(7))
    partition.add_predictions([], [], [])
    assert partition.close({}).progress == Progress.start(7)


def test_columns_of_different_length_are_refused() -> None:
    partition = PartitionFold(POLICY, Progress.start(0))
    for add in (partition.add_predictions, partition.add_outcomes):
        with pytest.raises(ValueError, match="parallel"):
            add([0, 1], [5], [None])
    assert partition.close({}).progress == Progress.start(0)


def test_a_calibrated_version_sums_what_its_predictions_are_worth_by_the_side_they_fall_on() -> None:
    profile = ReferenceProfile(
        model="m",
        version="1",
        task="probability",
        calibration=Calibration(x=(0.0, 0.5, 1.0), y=(0.0, 0.25, 1.0)),
    )
    answers = (0.2, 0.5, 0.75, 1.0, 1.5, -0.1, "yes")
    log = [(number, p(str(number), prediction=answer)) for number, answer in enumerate(answers)]
    assert body(fold(log, profile=profile), "input")["estimate"] == {
        "n1": 3,
        "s1": 0.25 + 0.625 + 1.0,
        "n0": 1,
        "s0": 0.1,
    }
    assert "estimate" not in body(fold(log[4:], profile=profile), "input")


def test_without_a_calibration_in_force_a_row_holds_no_estimate() -> None:
    later = ReferenceProfile(
        model="m",
        version="1",
        task="probability",
        effective_from_ms=1_000,
        calibration=Calibration(x=(0.5,), y=(0.5,)),
    )
    closed = fold([(0, p(prediction=0.7)), (1_000, p("j", prediction=0.7))], profile=later)
    assert "estimate" not in body(closed, "input", 0)
    assert body(closed, "input", 1)["estimate"] == {"n1": 1, "s1": 0.5, "n0": 0, "s0": 0.0}
