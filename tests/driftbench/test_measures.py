"""What is measured: known facts in small, the same for the same seed, with exact bounds."""

import pytest
from scipy.stats import beta

from consumers.driftbench import measures
from consumers.driftbench.detectors import watching
from consumers.driftbench.measures import Delay, Detector, FalseAlarms
from consumers.driftbench.situations import STREAMS


def named(stream: str, detector: str) -> Detector:
    return next(each for each in watching(STREAMS[stream]) if each.name == detector)


def false_alarms(stream: str, detector: str, windows: int = 1_600) -> FalseAlarms:
    return measures.false_alarms(STREAMS[stream], named(stream, detector), windows, seed=1)


def delay(stream: str, detector: str, runs: int = 8) -> Delay:
    return measures.delay(STREAMS[stream], named(stream, detector), runs, seed=1)


def test_a_fixed_threshold_of_psi_floods_and_the_roll_up_does_not() -> None:
    flood = false_alarms("normal", "psi-0.1")
    assert flood.alarming is not None
    assert flood.alarming / flood.windows == pytest.approx(0.40, abs=0.05)
    assert flood.episodes > 25
    assert false_alarms("normal", "roll-up").episodes <= 2


def test_kolmogorov_smirnov_at_five_percent_alarms_on_five_percent() -> None:
    found = false_alarms("normal", "ks-0.05")
    assert found.alarming is not None
    assert found.alarming / found.windows == pytest.approx(0.045, abs=0.02)


def test_without_phi_autocorrelation_floods_and_with_it_nothing_alarms() -> None:
    assert false_alarms("ar1-no-phi", "e-sr").episodes > 25
    assert false_alarms("ar1", "e-sr").episodes == 0
    assert false_alarms("ar1-no-phi", "e-sr").verdict == "broken"


def test_a_large_shift_is_found_at_once_and_a_tolerated_one_is_not() -> None:
    found = delay("mean+1", "roll-up")
    assert found.early + len(found.delays) == found.runs
    assert found.median == 1
    assert delay("mean+0.15", "roll-up", runs=3).median is None


def test_adwin_on_window_means_is_many_times_slower_than_on_tallies() -> None:
    ours, rivers = delay("mean+0.25", "bucket-adwin"), delay("mean+0.25", "adwin-means")
    assert ours.median is not None
    assert rivers.median is not None
    assert ours.median <= 10
    assert rivers.median >= 5 * ours.median


def test_a_seed_gives_the_same_figures() -> None:
    assert false_alarms("zipf", "roll-up") == false_alarms("zipf", "roll-up")
    assert delay("mass-0.1", "e-sr", runs=4) == delay("mass-0.1", "e-sr", runs=4)


def test_a_fleet_has_its_budget_together() -> None:
    alone, fleet = STREAMS["normal"], STREAMS["models-100"]
    assert named("normal", "roll-up").budget == pytest.approx(1e-4)
    assert named("models-100", "roll-up").budget == pytest.approx(1e-4)
    assert {each.name for each in watching(fleet)} < {each.name for each in watching(alone)}


@pytest.mark.parametrize("count, windows", [(0, 30_000), (3, 64_000), (64_000, 64_000)])
def test_bounds_are_those_of_clopper_and_pearson(count: int, windows: int) -> None:
    found = FalseAlarms(stream="s", detector="d", windows=windows, episodes=count, alarming=None, budget=1e-4)
    upper = beta.ppf(0.95, count + 1, windows - count) if count < windows else 1.0
    lower = beta.ppf(0.05, count, windows - count + 1) if count else 0.0
    assert (found.lower, found.upper) == pytest.approx((lower * 1e4, upper * 1e4))


def test_a_verdict_needs_enough_windows() -> None:
    def verdict(episodes: int, windows: int, budget: float | None = 1e-4) -> str:
        return FalseAlarms(
            stream="s", detector="d", windows=windows, episodes=episodes, alarming=None, budget=budget
        ).verdict

    assert verdict(0, 10_000) == "open"
    assert verdict(0, 30_000) == "held"
    assert verdict(3, 10_000) == "open"
    assert verdict(4, 10_000) == "broken"
    assert verdict(4, 10_000, None) == "none declared"


def test_the_median_counts_what_was_missed_and_leaves_out_what_was_early() -> None:
    def of(delays: tuple[int, ...], missed: int, early: int) -> Delay:
        runs = len(delays) + missed + early
        return Delay(stream="s", detector="d", runs=runs, early=early, missed=missed, delays=delays)

    assert of((1, 2, 9), 0, 5).median == 2
    assert of((1, 2, 9), 2, 0).median == 9
    assert of((1, 2), 2, 0).median is None
    assert of((), 0, 4).median is None
    assert (of((1, 2), 2, 4).missed_share, of((1, 2), 2, 4).early_share) == (0.5, 0.5)
