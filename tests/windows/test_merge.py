from random import Random

import orjson
import pytest

from domain.windows.merge import merge_bodies
from domain.windows.moments import of
from domain.windows.policy import WindowPolicy
from domain.windows.rows import canonical
from tests.windows.logs import PROFILES, make_log
from tests.windows.oracle import Oracle
from tests.windows.records import Log

INPUT = {
    "n": 2,
    "served": 1,
    "duplicates": 1,
    "features": {"f": [1, 1, 0, 0]},
    "prediction": {"n": 2, "mean": 1.0, "M2": 2.0},
    "prediction_bins": [2, 0, 0, 0],
    "units": {"7": 2},
}


def test_one_body_merges_to_itself() -> None:
    assert merge_bodies("input", [INPUT]) == INPUT


def test_counts_add_and_moments_merge() -> None:
    other = {"n": 1, "served": 1, "duplicates": 0, "features": {"f": [0, 0, 1, 0]}, "labels": {"up": 1}}
    assert merge_bodies("input", [INPUT, other]) == {
        **INPUT,
        "n": 3,
        "served": 2,
        "features": {"f": [1, 1, 1, 0]},
        "labels": {"up": 1},
    }


def test_scores_merge_metric_by_metric() -> None:
    a = {
        "n": 3,
        "matched": 2,
        "missing": 1,
        "served": 3,
        "unscorable": 0,
        "metrics": {"hit": of([1.0, 0.0]).to_json()},
    }
    a |= {"units": {"hit": {"3": [2, 1.0]}}, "paired_hits": {"hit": {"n": 2, "b": 1, "c": 0}}}
    b = {
        "n": 1,
        "matched": 1,
        "missing": 0,
        "served": 1,
        "unscorable": 0,
        "metrics": {"hit": of([1.0]).to_json()},
    }
    b |= {"units": {"hit": {"3": [1, 1.0], "4": [1, 0.5]}}, "paired_hits": {"hit": {"n": 1, "b": 0, "c": 1}}}
    b |= {"paired": {"hit": of([-1.0]).to_json()}}
    merged = merge_bodies("score", [a, b])
    assert (merged["n"], merged["matched"], merged["missing"], merged["unscorable"]) == (4, 3, 1, 0)
    assert merged["metrics"]["hit"] == {
        "n": 3,
        "mean": pytest.approx(2 / 3),
        "M2": pytest.approx(2 / 3),
    }
    assert merged["units"] == {"hit": {"3": [3, 2.0], "4": [1, 0.5]}}
    assert merged["paired"] == {"hit": {"n": 1, "mean": -1.0, "M2": 0.0}}
    assert merged["paired_hits"] == {"hit": {"n": 3, "b": 1, "c": 1}}


def test_histograms_of_other_bins_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        merge_bodies("input", [INPUT, {**INPUT, "features": {"f": [1, 1, 0]}}])


@pytest.mark.parametrize("seed", range(5))
def test_partitions_merge_to_the_same_bytes_every_time_and_near_the_unpartitioned_row(seed: int) -> None:
    r = Random(seed)
    log = make_log(r, 60)
    policy = WindowPolicy(length_ms=10**7, slack_ms=10**6, grace_ms=10**6)
    time = max(timestamp for timestamp, _ in [*log.predictions, *log.outcomes] if timestamp < 10**13) + 10**8
    sides = [
        Log([e for e in log.predictions if belongs(e[1], k)], [e for e in log.outcomes if belongs(e[1], k)])
        for k in range(2)
    ]
    for part in (*sides, log):
        part.predictions.append((time, None))
        part.outcomes.append((time, None))
    rows = [Oracle(policy, PROFILES, part).expected.rows for part in (*sides, log)]
    assert rows[2]
    for key, (_, body) in rows[2].items():
        parts = [orjson.loads(table[key][1]) for table in rows[:2] if key in table]
        merged = merge_bodies(key[0], parts)
        assert canonical(merged) == canonical(merge_bodies(key[0], parts))
        whole = orjson.loads(body)
        assert {name: merged[name] for name in whole if isinstance(whole[name], int)} == {
            name: value for name, value in whole.items() if isinstance(value, int)
        }
        assert merged.get("features") == whole.get("features")
        assert merged.get("paired_hits") == whole.get("paired_hits")
        for name, moments in whole.get("metrics", {}).items():
            assert merged["metrics"][name]["mean"] == pytest.approx(moments["mean"], rel=1e-9, abs=1e-9)
            assert merged["metrics"][name]["M2"] == pytest.approx(moments["M2"], rel=1e-9, abs=1e-9)


def belongs(record: object, partition: int) -> bool:
    """Partition by id, as the log does by key."""
    return sum(getattr(record, "prediction_id", "").encode()) % 2 == partition


def test_estimates_add_and_the_sums_are_correctly_rounded() -> None:
    parts = [
        {"estimate": {"n1": 2, "s1": 0.1, "n0": 1, "s0": 1e16}},
        {"estimate": {"n1": 1, "s1": 0.2, "n0": 3, "s0": 1.0}},
        {},
        {"estimate": {"n1": 0, "s1": 0.0, "n0": 1, "s0": -1e16}},
    ]
    merged = merge_bodies("input", parts)
    assert merged == {"estimate": {"n1": 3, "s1": 0.1 + 0.2, "n0": 5, "s0": 1.0}}
