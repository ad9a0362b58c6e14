"""Values drawn from a row's moments have exactly those moments; arms share out what there was, no more."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.rehearsal.arms import Arms, Effect
from consumers.rehearsal.windows import Column, LoggedWindow, Outcomes, PairedWindow, TalliedWindow
from domain.allocation.assign import Allocation
from domain.allocation.split import Arm
from domain.experiments.plan import ExperimentPlan
from domain.windows.merge import merge_bodies
from domain.windows.moments import of
from tests.experiments.streams import plan
from tests.rehearsal.pasts import body, frame, source

values = st.lists(st.floats(-100, 100), min_size=1, max_size=60)


def arms(found: ExperimentPlan, effect: Effect | None = None, units: tuple[str, ...] = ()) -> Arms:
    return Arms(found, effect or Effect(), units, "salt", source())


@given(values, st.integers(0, 5))
def test_arms_share_out_what_a_window_scored(scored: list[float], missing: int) -> None:
    window = TalliedWindow(frame=frame(0), body=body(scored, missing=missing))
    found = arms(plan("PERCENTAGE_SPLIT")).bodies(window.outcomes(2, source()), 0)
    whole = merge_bodies("score", list(found.values()))
    assert (whole["n"], whole["missing"]) == (len(scored) + missing, missing)
    moments, expected = whole["metrics"]["abs_error"], window.body["metrics"]["abs_error"]
    assert moments["n"] == expected["n"]
    assert moments["mean"] == pytest.approx(expected["mean"], abs=1e-9)
    assert moments["M2"] == pytest.approx(expected["M2"], rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=4, max_size=40))
def test_what_values_and_covariate_have_in_common_is_kept(pairs: list[tuple[float, float]]) -> None:
    y, x = [a for a, _ in pairs], [b for _, b in pairs]
    column = TalliedWindow(frame=frame(0), body=body(y, x)).outcomes(1, source()).columns["abs_error"]
    assert column.x is not None
    drawn, expected = of(column.values[0], column.x).to_json(), of(y, x).to_json()
    assert drawn == pytest.approx(expected, rel=1e-6, abs=1e-5)


def test_hits_are_kept_whole() -> None:
    hit = {"n": 10, "mean": 0.3, "M2": 2.1}
    window = TalliedWindow(frame=frame(0), body={**body([]), "n": 10, "matched": 10, "metrics": {"hit": hit}})
    drawn = window.outcomes(1, source()).columns["hit"].values[0]
    assert sorted(drawn.tolist()) == [0.0] * 7 + [1.0] * 3


def _logged(n: int, units: Any = None, **columns: Any) -> Outcomes:
    return Outcomes(
        n=n,
        matched=np.ones(n, bool),
        columns={name: Column(np.arange(n), np.array(each)[None]) for name, each in columns.items()},
        ids=[f"p{number}" for number in range(n)],
        units=units,
    )


def test_records_of_the_log_go_where_the_router_would_have_sent_them() -> None:
    found = plan("PERCENTAGE_SPLIT")
    records = _logged(400, abs_error=np.arange(400.0))
    split = [Arm(name=v.name, share=v.share, champion=v.champion) for v in found.variants]
    router = Allocation(found.strategy, "salt", split)
    mine = arms(found).bodies(records, 0)
    for variant in found.variants:
        theirs = [k for k in range(400) if router.answers(f"p{k}")[0].arm == variant.name]
        assert mine[variant.name]["metrics"]["abs_error"] == of([float(k) for k in theirs]).to_json()
    again = arms(found).bodies(records, 1)
    assert again != mine, "the second time round they are other requests"


def test_units_keep_their_arm_and_those_without_one_take_no_part() -> None:
    found = plan("USER_SEGMENT")
    names = tuple(f"u{number}" for number in range(40))
    numbers = np.arange(400) % 41
    records = _logged(400, np.where(numbers == 40, -1, numbers), abs_error=np.ones(400))
    allocated = arms(found, units=names)
    first, second = allocated.bodies(records, 0), allocated.bodies(records, 1)
    assert first == second
    assert sum(each["n"] for each in first.values()) == 400 - 9
    for each in first.values():
        assert sum(n for n, _ in each["units"]["abs_error"].values()) == each["n"]


def test_arms_switch_by_unit_and_period_as_the_router_would_have_them() -> None:
    found = plan("SWITCHBACK", period_ms=1_000)
    names = ("u0", "u1", "u2")
    numbers = np.arange(400) % 4
    at_ms = np.arange(400) * 100
    records = replace(
        _logged(400, np.where(numbers == 3, -1, numbers), abs_error=np.arange(400.0)), at_ms=at_ms
    )
    split = [Arm(name=v.name, share=v.share, champion=v.champion) for v in found.variants]
    router = Allocation("SWITCHBACK", "salt", split, period_ms=1_000)
    for later_ms in (0, 7_000):
        mine = arms(found, units=names).bodies(records, 0, later_ms)
        for variant in found.variants:
            theirs = []
            for k in range(400):
                unit = (*names, None)[numbers[k]]
                (answer,) = router.answers(f"p{k}", unit, at_ms=int(at_ms[k]) + later_ms)
                theirs += [float(k)] if answer.arm == variant.name else []
            assert mine[variant.name]["metrics"]["abs_error"] == of(theirs).to_json()


@pytest.mark.parametrize("gain", [0.25, -0.25])
def test_an_effect_is_the_first_challengers(gain: float) -> None:
    found = plan("PERCENTAGE_SPLIT")
    window = TalliedWindow(frame=frame(0), body=body(source().standard_normal(4_000).tolist()))
    plain = arms(found).bodies(window.outcomes(2, source()), 0)
    moved = arms(found, Effect(gain=gain)).bodies(window.outcomes(2, source()), 0)
    champion, challenger = (variant.name for variant in found.variants)
    assert moved[champion] == plain[champion]
    means = [each[challenger]["metrics"]["abs_error"]["mean"] for each in (moved, plain)]
    # errors shall fall
    assert means[0] - means[1] == pytest.approx(-gain)


@pytest.mark.parametrize("gain", [0.1, -0.1])
def test_an_effect_on_hits_changes_their_rate(gain: float) -> None:
    found = plan("PERCENTAGE_SPLIT", primary={"metric": "hit", "direction": "increase"})
    records = _logged(20_000, hit=(np.arange(20_000) % 4 == 0).astype(float))
    champion, challenger = (variant.name for variant in found.variants)
    moved = arms(found, Effect(gain=gain, base_rate=0.25)).bodies(records, 0)
    rates = {name: moved[name]["metrics"]["hit"]["mean"] for name in (champion, challenger)}
    assert rates[champion] == pytest.approx(0.25, abs=0.01)
    assert rates[challenger] == pytest.approx(0.25 + gain, abs=0.01)


def test_an_effect_on_a_ratio_is_one_of_the_ratio() -> None:
    goal = {"metric": "value.pnl", "direction": "increase", "denominator": "value.volume"}
    found = plan("USER_SEGMENT", primary=goal)
    volume = 1.0 + np.arange(400) % 3
    records = _logged(400, np.arange(400) % 40, **{"value.pnl": 2 * volume, "value.volume": volume})
    bodies = arms(found, Effect(gain=0.5), tuple(f"u{k}" for k in range(40))).bodies(records, 0)
    ratios = []
    for variant in found.variants:
        metrics = bodies[variant.name]["metrics"]
        ratios.append(metrics["value.pnl"]["mean"] / metrics["value.volume"]["mean"])
    assert ratios == pytest.approx([2.0, 2.5])


def test_shadows_without_pairs_differ_by_chance() -> None:
    """By sqrt(2 / n) standard deviations, or as much more as differences are known to vary."""
    found = plan("SHADOW_MODE", primary={"metric": "abs_error", "direction": "decrease"})
    scored = body(source().standard_normal(50).tolist())
    scored["metrics"]["hit"] = {"n": 50, "mean": 0.3, "M2": 10.5}
    for scale in (1.0, 3.0):
        window = TalliedWindow(frame=frame(0), body=scored, apart=True, scales={"abs_error": scale})
        drawing, means, hits = source(), [], []
        for _ in range(2_000):
            drawn = window.outcomes(2, drawing)
            paired = arms(found).bodies(drawn, 0)[found.treatments[0].name]["paired"]
            means.append(paired["abs_error"]["mean"])
            hits.append(drawn.columns["hit"].values.mean())
        sd = math.sqrt(window.moments("abs_error").M2 / 49)
        assert np.std(means) == pytest.approx(scale * sd * math.sqrt(2 / 50), rel=0.08)
        assert abs(np.mean(means)) < 0.02 * scale
        assert np.mean(hits) == pytest.approx(0.3, abs=0.01)


def test_pairs_are_centred_and_tossed() -> None:
    found = plan("SHADOW_MODE", primary={"metric": "hit", "direction": "increase"})
    differences = {"n": 1_000, "mean": -0.3, "M2": 1_000.0}
    window = PairedWindow(
        frame=frame(0),
        body={
            **body([0.0] * 1_000),
            "paired": {"abs_error": differences, "hit": {"n": 1_000, "mean": -0.4, "M2": 240.0}},
            "paired_hits": {"hit": {"n": 1_000, "b": 0, "c": 400}},
        },
        centres={"abs_error": -0.3, "hit": -0.4},
    )
    drawn = window.outcomes(2, source())
    assert drawn.columns["abs_error"].values[1].mean() == pytest.approx(0.0)
    bodies = arms(found).bodies(drawn, 0)
    hits = bodies[found.treatments[0].name]["paired_hits"]["hit"]
    assert hits["b"] + hits["c"] == 400
    assert abs(hits["b"] - 200) < 4 * math.sqrt(100)


def test_a_window_of_records_says_what_its_row_would() -> None:
    window = LoggedWindow(frame=frame(3), records=_logged(5, abs_error=[1.0, 2.0, 3.0, 4.0, 5.0]))
    assert window.moments("abs_error") == of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert window.moments("hit").n == 0
