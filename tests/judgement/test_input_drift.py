"""Every detector of the inputs raises one alarm for one drift, and says what moved."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from domain.drift.adwin import AdwinPolicy
from domain.drift.classic import ClassicPolicy
from domain.drift.episodes import EpisodePolicy
from domain.drift.esr import EsrPolicy
from domain.drift.rollup import RollUpPolicy
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.judge import Frozen
from domain.judgement.policy import JudgementPolicy
from domain.judgement.rows import Row
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.season import Season
from tests.judgement.rows import LENGTH, POLICY, decide, frozen, inputs, kinds, of_kind, profile

QUIET = replace(POLICY, features=None, predictions=None, errors=None)
HALVES = FeatureReference(
    kind="numeric", edges=(0.0,), counts=(5_000, 5_000, 0, 0), means=(-1.0, 1.0), sd=1.25, phi=1.0
)
MEASURED = replace(profile(), features={"x": HALVES, "y": HALVES}, prediction=HALVES)


def under(policy: JudgementPolicy, reference: ReferenceProfile = MEASURED) -> Frozen:
    return frozen((0, policy), profiles=[reference])


def shifted(low: int, windows: int = 60, start: int = 20, until: int | None = None) -> list[Row]:
    end = windows if until is None else until
    return [inputs(w, low=low if start <= w < end else 200) for w in range(windows)]


def opened(decided: Sequence[Decision]) -> list[Decision]:
    return of_kind(decided, DecisionKind.DRIFT)


def test_evidence_names_the_feature_its_effect_sizes_and_the_bins_that_moved() -> None:
    (found,) = opened(decide(shifted(360), under(replace(POLICY, predictions=None))))
    evidence = found.evidence
    assert evidence["detector"] == "roll-up-chi-square"
    assert evidence["features"] == ["x"]
    assert (evidence["reference_size"], evidence["phi"], evidence["tolerance"]) == (10_000, 1.0, 0.1)
    (measured,) = evidence["measures"]
    assert measured["effect_sizes"] == evidence["effect_sizes"]
    # 40 % of the mass went from +1 to -1, and a standard deviation is 1.25
    assert measured["effect_sizes"]["wasserstein_per_sd"] == pytest.approx(0.4 * 2 / 1.25)
    assert measured["bins"] == [
        {"bin": "<= 0", "reference_share": 0.5, "share": 0.9},
        {"bin": "> 0", "reference_share": 0.5, "share": pytest.approx(0.1)},
    ]
    assert measured["p_value"] == evidence["p_value"]
    assert measured["statistic"] == evidence["statistic"]


def test_scores_find_a_small_move_sooner_than_the_roll_up_tolerates() -> None:
    """44 % in the lower half is a move of .12 sd, and a PSI of .014: within the roll-up's tolerance."""
    small = shifted(176, windows=200)
    assert decide(small, under(replace(QUIET, features=RollUpPolicy()))) == []
    scored = replace(QUIET, features=RollUpPolicy(), feature_scores=EsrPolicy(sizes=(0.05, 0.1)))
    (found,) = opened(decide(small, under(scored)))
    evidence = found.evidence
    assert found.subject == "1/DATA_DRIFT"
    assert (evidence["detector"], evidence["score"], evidence["features"]) == (
        "e-sr-scores",
        "location",
        ["x"],
    )
    assert evidence["upward"] is True
    assert evidence["log_e"] >= evidence["threshold"] == pytest.approx(math.log(1e4))
    assert "p_value" not in evidence
    assert evidence["measures"][0]["name"] == "x"
    assert found.window_end_ms - found.window_start_ms == evidence["block_windows"] * LENGTH


def test_all_detectors_of_the_features_drive_one_episode_and_the_others_are_named() -> None:
    every = replace(
        QUIET,
        features=RollUpPolicy(levels=3),
        feature_scores=EsrPolicy(),
        classics=(ClassicPolicy(detector="PageHinkley", stream="feature:x", params={"threshold": 0.5}),),
        episodes=EpisodePolicy(quiet_windows=3),
    )
    (found,) = opened(decide(shifted(400, windows=70, start=40), under(every)))
    also = [each["detector"] for each in found.evidence["also"]]
    assert sorted([found.evidence["detector"], *also]) == [
        "e-sr-scores",
        "river-PageHinkley",
        "roll-up-chi-square",
    ]
    assert found.at_ms == 41 * LENGTH


def test_a_classic_reads_the_mean_of_a_numeric_feature_and_is_silent_without_bin_means() -> None:
    only = replace(
        QUIET,
        classics=(ClassicPolicy(detector="PageHinkley", stream="feature:x", params={"threshold": 0.5}),),
    )
    (found,) = opened(decide(shifted(360), under(only)))
    assert found.subject == "1/DATA_DRIFT"
    assert found.evidence["features"] == ["x"]
    assert (found.evidence["mean_before"], found.evidence["mean_after"]) == (
        pytest.approx(-0.25, abs=0.01),
        pytest.approx(-0.8),
    )
    bare = replace(MEASURED, features={"x": replace(HALVES, means=(), sd=None)})
    assert decide(shifted(360), under(only, bare)) == []


def leveled(levels: Sequence[float]) -> list[Row]:
    return [inputs(w, level=level) for w, level in enumerate(levels)]


@pytest.mark.parametrize("moved", [0.5, -0.5])
def test_the_level_of_predictions_alarms_both_ways(moved: float) -> None:
    policy = replace(QUIET, prediction_level=AdwinPolicy())
    decided = decide(leveled([0.0] * 30 + [moved] * 10), under(policy))
    (found,) = opened(decided)
    assert found.subject == "1/PREDICTION_DRIFT"
    assert found.evidence["detector"] == "bucket-adwin"
    assert found.evidence["metric"] == "prediction"
    assert found.evidence["mean_after"] == pytest.approx(moved)


def autoregressive(windows: int, n: int = 100, rho: float = 0.9) -> list[Row]:
    """Predictions of variance 1 that remember each other, so that window means vary 19 times as much."""
    generator = np.random.default_rng(3)
    level, rows = 0.0, []
    for window in range(windows):
        values = []
        for noise in generator.normal(0, math.sqrt(1 - rho**2), n).tolist():
            level = rho * level + noise
            values.append(level)
        moments = {"n": n, "mean": float(np.mean(values)), "M2": float(np.var(values)) * n}
        row = inputs(window, n=n, low=n // 2)
        rows.append(replace(row, body={**row.body, "prediction": moments}))
    return rows


def test_phi_of_the_reference_keeps_remembering_predictions_quiet_and_without_it_they_alarm() -> None:
    policy = replace(QUIET, prediction_level=AdwinPolicy())
    rows = autoregressive(600)
    with_phi = replace(MEASURED, prediction=replace(HALVES, phi=19.0))
    assert decide(rows, under(policy, with_phi)) == []
    assert len(opened(decide(rows, under(policy)))) > 3


def test_the_scale_of_the_level_is_the_references_range() -> None:
    wide = replace(MEASURED, prediction=replace(HALVES, means=(-500.0, 500.0), sd=400.0))
    policy = replace(QUIET, prediction_level=AdwinPolicy())
    rows = leveled([0.0] * 30 + [0.6] * 5)
    assert opened(decide(rows, under(policy)))
    # with values anywhere in a range of 1,000 a mean of .6 more is no evidence yet
    assert decide(rows, under(policy, wide)) == []


def test_a_reference_of_one_value_has_a_unit_all_the_same() -> None:
    constant = replace(MEASURED, prediction=replace(HALVES, means=(0.0, 0.0), sd=None))
    unknown = replace(MEASURED, prediction=replace(HALVES, means=(), sd=None))
    rows = leveled([0.0] * 30 + [0.6] * 5)
    policy = replace(QUIET, prediction_level=AdwinPolicy())
    found, known = (opened(decide(rows, under(policy, each))) for each in (constant, unknown))
    assert [each.evidence["threshold"] for each in found] == [each.evidence["threshold"] for each in known]
    assert found


def test_without_moments_of_predictions_their_level_is_not_watched() -> None:
    policy = replace(QUIET, prediction_level=AdwinPolicy())
    assert decide([inputs(w) for w in range(40)], under(policy)) == []


SEASON = Season(period_ms=4 * LENGTH, slots=4)
"""Four windows make a day: the lower half of x holds 80 %, 50 %, 20 % and 50 % of it by turns."""
DAY = (320, 200, 80, 200)
BY_SLOT = tuple((low * 10, (400 - low) * 10, 0, 0) for low in DAY)
SEASONAL = replace(
    HALVES, counts=(sum(s[0] for s in BY_SLOT), sum(s[1] for s in BY_SLOT), 0, 0), seasonal=BY_SLOT
)


def daily(windows: int, moved: int = 0, start: int = 0) -> list[Row]:
    return [
        inputs(
            w,
            low=DAY[w % 4] + (moved if w >= start else 0),
            predicted_low=DAY[w % 4],
            level=0.01 * DAY[w % 4],
        )
        for w in range(windows)
    ]


def seasonal_profile() -> ReferenceProfile:
    return replace(MEASURED, features={"x": SEASONAL}, prediction=SEASONAL, season=SEASON)


def blind_profile() -> ReferenceProfile:
    plain = replace(SEASONAL, seasonal=())
    return replace(MEASURED, features={"x": plain}, prediction=plain)


SEASON_POLICY = replace(
    QUIET,
    features=RollUpPolicy(),
    feature_scores=EsrPolicy(),
    predictions=RollUpPolicy(),
    prediction_scores=EsrPolicy(),
    episodes=EpisodePolicy(quiet_windows=3),
)


def test_a_daily_cycle_is_no_drift_with_a_reference_per_slot() -> None:
    assert decide(daily(256), under(SEASON_POLICY, seasonal_profile())) == []


def test_a_daily_cycle_alarms_for_ever_without_slots() -> None:
    found = decide(daily(256), under(SEASON_POLICY, blind_profile()))
    assert {decision.subject for decision in opened(found)} == {"1/DATA_DRIFT", "1/PREDICTION_DRIFT"}
    # the episodes never end: every day alarms again
    assert of_kind(found, DecisionKind.RECOVERY) == []


def test_a_drift_on_top_of_a_daily_cycle_is_found_at_once() -> None:
    found = opened(decide(daily(80, moved=70, start=41), under(SEASON_POLICY, seasonal_profile())))
    assert [decision.subject for decision in found] == ["1/DATA_DRIFT"]
    assert found[0].window_start_ms >= 41 * LENGTH
    assert found[0].at_ms <= 43 * LENGTH


def test_a_moved_daily_cycle_is_a_drift_although_the_days_as_a_whole_stay() -> None:
    """The same day six hours later: no long block can see it, each slot does."""
    rows = [inputs(w, low=DAY[(w + (1 if w >= 40 else 0)) % 4], predicted_low=DAY[w % 4]) for w in range(80)]
    found = opened(decide(rows, under(SEASON_POLICY, seasonal_profile())))
    assert [decision.subject for decision in found] == ["1/DATA_DRIFT"]
    assert found[0].at_ms == 41 * LENGTH


def test_the_level_of_predictions_forgives_the_usual_course_of_the_day() -> None:
    """The level goes as the reference's slots do, in units of its bin means of -1 and 1: -.6, 0, .6, 0."""
    levels = [0.6 - 1.2 * (low / 400 - 0.2) / 0.6 for low in DAY]
    rows = [inputs(w, level=-levels[w % 4]) for w in range(200)]
    assert [round(level, 9) for level in levels] == [-0.6, 0.0, 0.6, 0.0]
    policy = replace(QUIET, prediction_level=AdwinPolicy())
    usual = [inputs(w, level=levels[w % 4]) for w in range(200)]
    assert decide(usual, under(policy, seasonal_profile())) == []
    assert opened(decide(rows, under(policy, seasonal_profile())))


def test_recovery_and_a_second_drift_give_a_second_alarm_of_scores() -> None:
    policy = replace(QUIET, feature_scores=EsrPolicy(), episodes=EpisodePolicy(quiet_windows=3))
    lows = [200] * 20 + [360] * 10 + [200] * 40 + [360] * 10 + [200] * 40
    decided = decide([inputs(w, low=low) for w, low in enumerate(lows)], under(policy))
    assert [k for k in kinds(decided) if k != "retrain"] == ["drift", "recovery", "drift", "recovery"]


def test_an_opening_after_a_cooldown_says_how_many_alarms_were_held_back() -> None:
    patient = replace(
        QUIET, features=RollUpPolicy(levels=1), episodes=EpisodePolicy(quiet_windows=2, cooldown_windows=6)
    )
    lows = [200] * 5 + [360] * 2 + [200] * 3 + [360] * 20
    decided = decide([inputs(w, low=low) for w, low in enumerate(lows)], under(patient))
    first, second = opened(decided)
    assert "held_alarms" not in first.evidence
    # recovered in window 8; the next six are the cooldown, and the last five of them alarm
    assert second.evidence["held_alarms"] == 5
    assert second.at_ms == 16 * LENGTH
