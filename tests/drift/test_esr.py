"""e-SR sees small moves of scores, keeps its rate, and goes on from its JSON as if nothing had happened."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from domain.drift.esr import EsrFinding, EsrPolicy, EsrState, Kind, step
from domain.drift.rollup import CellsDiffer
from domain.drift.scores import Score, cell_shares, indicator_scale, numeric_scores
from domain.drift.tilt import bernoulli, cumulant, indicator_bets, score_bets, tilt
from domain.errors import InvalidField

Window = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class FrozenReference:
    kind: Kind
    counts: tuple[int, ...]
    phi: float = 1.0


EVEN = FrozenReference("numeric", (5000,) * 20 + (100, 100))
LABELS = FrozenReference("categorical", (60_000, 30_000, 9000, 1000, 0, 0))
POLICY = EsrPolicy()
TWENTIETHS = [NormalDist().inv_cdf(k / 20) for k in range(1, 20)]


def run(
    references: Mapping[str, FrozenReference], windows: Sequence[Window], policy: EsrPolicy = POLICY
) -> tuple[EsrState, list[EsrFinding | None]]:
    state, found = EsrState(), []
    for window in windows:
        state, finding = step(policy, state, references, window)
        found.append(finding)
    return state, found


def normal_window(generator: np.random.Generator, mean: float = 0.0, sd: float = 1.0) -> list[int]:
    """100 items over the cells of EVEN, whose bins are twentieths of a standard normal."""
    values = generator.standard_normal(100) * sd + mean
    return [*np.bincount(np.searchsorted(TWENTIETHS, values), minlength=20).tolist(), 0, 0]


class Oracle:
    """The tilts by plain bisection on arrays, the recursion by numpy's logaddexp."""

    def __init__(self, shares: Score, scores: Sequence[Score], edge: float, sizes: Sequence[float]) -> None:
        self.p = np.array(shares)
        self.slopes, self.cumulants = [], []
        for score, sign in itertools.product(map(np.array, scores), (1, -1)):
            start = self.theta(sign * score, edge)
            for size in sizes:
                end = self.theta(sign * score, edge + size)
                if start is not None and end is not None:
                    self.slopes.append((end - start) * sign * score)
                    self.cumulants.append(self.k(sign * score, end) - self.k(sign * score, start))
        self.log_m = np.full(len(self.slopes), -np.inf)

    def k(self, score: np.ndarray, theta: float) -> float:
        return float(logsumexp(theta * score, b=self.p))

    def theta(self, score: np.ndarray, mean: float) -> float | None:
        if mean >= score.max() * 0.98:
            return None

        def tilted(theta: float) -> float:
            weights = self.p * np.exp(theta * (score - score.max()))
            return float((weights * score).sum() / weights.sum())

        low, high = 0.0, 1.0
        while tilted(high) < mean:
            high *= 2
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if tilted(middle) < mean else (low, middle)
        return (low + high) / 2

    def update(self, counts: Sequence[int], phi: float) -> float:
        log_e = (np.array(self.slopes) @ counts - sum(counts) * np.array(self.cumulants)) / phi
        self.log_m = np.logaddexp(0.0, self.log_m) + log_e
        return float(logsumexp(self.log_m) - math.log(len(self.log_m)))


def indicator(shares: Score, cell: int) -> Score:
    share = shares[cell]
    return tuple((float(other == cell) - share) / indicator_scale(share) for other in range(len(shares)))


@pytest.mark.parametrize("phi", [1.0, 2.5])
@pytest.mark.parametrize("reference", [EVEN, LABELS], ids=["numeric", "categorical"])
def test_it_agrees_with_the_same_detector_on_arrays(reference: FrozenReference, phi: float) -> None:
    shares = cell_shares(reference.counts)
    cells = range(len(shares)) if reference.kind == "categorical" else range(20, 22)
    scores = [*numeric_scores(shares)] if reference.kind == "numeric" else []
    # so much tolerance that the uncertainty of the reference never widens it
    policy = EsrPolicy(delta=0.08, false_alarms_per_window=1e-200)
    oracle = Oracle(shares, [*scores, *(indicator(shares, cell) for cell in cells)], 0.08, policy.sizes)
    generator = np.random.default_rng(3)
    state = EsrState()
    moved = np.linspace(0.8, 1.3, len(shares)) * shares
    for _ in range(100):
        counts = generator.multinomial(80, moved / moved.sum()).tolist()
        drifting = FrozenReference(reference.kind, reference.counts, phi)
        state, _ = step(policy, state, {"x": drifting}, {"x": counts})
        expected = oracle.update(counts, phi)
        assert state.streams["x"].log_mean == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_scores_are_standardised_and_ignore_missing_and_unseen() -> None:
    shares = cell_shares((10, 400, 300, 200, 50, 30, 10))
    for score in numeric_scores(shares):
        assert sum(p * s for p, s in zip(shares, score, strict=True)) == pytest.approx(0, abs=1e-12)
        assert sum(p * s * s for p, s in zip(shares, score, strict=True)) == pytest.approx(1)
        assert score[-2] == score[-1] == pytest.approx(0, abs=1e-12)


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=25).filter(any),
    st.floats(0, 2),
    st.sampled_from([1, -1]),
)
def test_a_tilt_moves_the_mean_to_where_it_should(counts: list[int], mean: float, sign: int) -> None:
    shares = cell_shares([*counts, 0, 0])
    for score in numeric_scores(shares):
        signed = tuple(sign * value for value in score)
        theta = tilt(shares, signed, mean)
        if theta is None:
            assert mean >= 0.98 * max(signed)
            continue
        weights = [p * math.exp(theta * (f - max(signed))) for p, f in zip(shares, signed, strict=True)]
        tilted = math.fsum(w * f for w, f in zip(weights, signed, strict=True)) / math.fsum(weights)
        assert tilted == pytest.approx(mean, abs=1e-9)
        slope = 1e-5
        derivative = (cumulant(shares, signed, theta + slope) - cumulant(shares, signed, theta)) / slope
        assert derivative == pytest.approx(mean, abs=1e-2 * max(1.0, max(map(abs, signed)) ** 2))


def compositions(items: int, cells: int) -> list[tuple[int, ...]]:
    if cells == 1:
        return [(items,)]
    return [(k, *rest) for k in range(items + 1) for rest in compositions(items - k, cells - 1)]


def multinomial(counts: Sequence[int], shares: Sequence[float]) -> float:
    coefficient = math.factorial(sum(counts))
    for count in counts:
        coefficient //= math.factorial(count)
    return coefficient * math.prod(p**c for p, c in zip(shares, counts, strict=True))


@pytest.mark.parametrize("items", [1, 2, 5])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_bet_on_a_score_gains_on_average_while_the_tilt_is_tolerated(items: int, sign: int) -> None:
    shares = cell_shares((30, 50, 15, 4, 1))
    for score in numeric_scores(shares):
        signed = tuple(sign * value for value in score)
        edge = tilt(shares, signed, 0.2)
        assert edge is not None
        for bet in (bet for bet in score_bets(shares, score, 0.2, (0.2, 0.4, 0.8), sign) if bet):
            for part in (-1.0, 0.0, 0.5, 1.0):
                weights = [p * math.exp(part * edge * f) for p, f in zip(shares, signed, strict=True)]
                truth = [weight / math.fsum(weights) for weight in weights]
                gain = math.fsum(
                    multinomial(counts, truth)
                    * math.exp(bet.log_e(sum(c * f for c, f in zip(counts, score, strict=True)), items))
                    for counts in compositions(items, len(shares))
                )
                assert gain <= 1 + 1e-12
                if part == 1.0:  # at the very edge the bet is fair
                    assert gain == pytest.approx(1)


@pytest.mark.parametrize("sign", [1, -1])
def test_no_bet_on_a_cell_gains_on_average_while_its_share_is_tolerated(sign: int) -> None:
    edge = 0.3 + sign * 0.05
    bets = [bet for bet in indicator_bets(0.3, edge, POLICY.sizes, sign) if bet]
    assert bets
    for bet, items, part in itertools.product(bets, (1, 4, 9), (0.0, 0.5, 0.9, 1.0)):
        truth = edge * part if sign > 0 else edge + (1 - edge) * (1 - part)
        gain = math.fsum(
            math.comb(items, k) * truth**k * (1 - truth) ** (items - k) * math.exp(bet.log_e(k, items))
            for k in range(items + 1)
        )
        assert gain <= 1 + 1e-12
        if part == 1.0:
            assert gain == pytest.approx(1)


def test_the_expected_statistic_never_outgrows_the_number_of_windows() -> None:
    # exactly: every path of four windows of three items at the edge of the tolerance, one bet
    bet = bernoulli(0.2, 0.4)
    expected = [0.0] * 5
    for path in itertools.product(range(4), repeat=4):
        chance, m = 1.0, 0.0
        for k, bad in enumerate(path, start=1):
            chance *= math.comb(3, bad) * 0.2**bad * 0.8 ** (3 - bad)
            m = (1 + m) * math.exp(bet.log_e(bad, 3))
            # a prefix is shared by 4 ** (4 - k) paths
            expected[k] += chance * m / 4 ** (4 - k)
    for k in range(1, 5):
        assert expected[k] == pytest.approx(k, rel=1e-9)


def test_stationary_windows_of_many_features_do_not_alarm() -> None:
    generator = np.random.default_rng(1)
    names = ("a", "b", "c")
    windows = [{name: normal_window(generator) for name in names} for _ in range(1000)]
    assert run(dict.fromkeys(names, EVEN), windows)[1] == [None] * 1000


def test_a_reference_of_few_items_with_rare_categories_does_not_alarm() -> None:
    generator = np.random.default_rng(2)
    shares = 1 / np.arange(1, 31) ** 1.3
    shares = np.array([*(shares / shares.sum() * 0.998), 0.001, 0.001])
    for _ in range(4):
        reference = FrozenReference("categorical", tuple(generator.multinomial(500, shares).tolist()))
        windows = [{"x": row.tolist()} for row in generator.multinomial(1000, shares, size=100)]
        assert not any(run({"x": reference}, windows)[1])


@pytest.mark.parametrize("mean, sd, score", [(0.5, 1.0, "location"), (0.0, 1.4, "scale")])
def test_a_move_is_found_soon_and_described(mean: float, sd: float, score: str) -> None:
    generator = np.random.default_rng(4)
    calm = [{"moved": normal_window(generator), "still": normal_window(generator)} for _ in range(50)]
    moved = [{"moved": normal_window(generator, mean, sd), "still": normal_window(generator)}] * 8
    _, found = run({"moved": EVEN, "still": EVEN}, [*calm, *moved])
    assert not any(found[:50])
    first = next(finding for finding in found if finding)
    assert found.index(first) <= 54
    assert first.features == ("moved",)
    assert first.score == score
    assert first.upward
    assert first.cell is None
    assert first.mean_score > first.tolerance >= POLICY.delta
    assert first.log_e >= first.threshold == pytest.approx(math.log(10_000))
    assert first.log_e <= first.log_e_of["moved"]
    assert 1 <= first.evidence_windows <= 6
    assert first.sample_size == 100 * first.evidence_windows
    assert first.reference_size == 100_200


def test_missing_values_unseen_values_and_a_moved_category_are_named_by_their_cell() -> None:
    for cell, counts in ((20, [4] * 20 + [20, 0]), (21, [4] * 20 + [0, 20])):
        finding = next(f for f in run({"x": EVEN}, [{"x": counts}] * 4)[1] if f)
        assert (finding.score, finding.cell, finding.upward) == ("cell", cell, True)
    shrunk = next(f for f in run({"x": LABELS}, [{"x": [40, 50, 9, 1, 0, 0]}] * 4)[1] if f)
    assert shrunk.cell in (0, 1)
    assert shrunk.upward is (shrunk.cell == 1)


def test_a_move_within_the_tolerance_is_tolerated_for_ever() -> None:
    generator = np.random.default_rng(5)
    windows = [{"x": normal_window(generator, mean=0.1)} for _ in range(1500)]
    assert not any(run({"x": EVEN}, windows, EsrPolicy(delta=0.15))[1])
    assert any(run({"x": EVEN}, windows, EsrPolicy(delta=0.0))[1])


def test_more_features_share_one_rate() -> None:
    counts = [3] * 10 + [7] * 10 + [0, 0]
    windows = [{"x": counts}] * 30
    quiet = {f"quiet{k}": EVEN for k in range(99)}
    alone = next(k for k, finding in enumerate(run({"x": EVEN}, windows)[1]) if finding)
    finding = next(f for f in run({"x": EVEN, **quiet}, windows)[1] if f)
    crowded = run({"x": EVEN, **quiet}, windows)[1].index(finding)
    assert alone <= crowded <= alone + 5
    # log_e is the mean over all hundred
    assert finding.log_e == pytest.approx(finding.log_e_of["x"] - math.log(100))


def test_an_alarm_begins_afresh() -> None:
    windows = [{"x": [0] * 10 + [10] * 10 + [0, 0]}] * 2
    state, found = run({"x": EVEN}, windows)
    assert all(found)
    assert state == EsrState()


def test_windows_without_the_feature_or_without_items_change_nothing() -> None:
    state, _ = run({"x": EVEN}, [{"x": [5] * 20 + [0, 0]}])
    for window in ({}, {"x": [0] * 22}, {"other": [1, 2]}):
        assert step(POLICY, state, {"x": EVEN}, window) == (state, None)
    assert step(POLICY, EsrState(), {}, {"x": [1]}) == (EsrState(), None)
    empty = FrozenReference("numeric", (0,) * 22)
    assert run({"x": empty}, [{"x": [500] + [0] * 21}] * 5) == (EsrState(), [None] * 5)


def test_only_the_features_asked_for_are_watched() -> None:
    policy = EsrPolicy(features=("x",))
    state, _ = run({"x": EVEN, "y": EVEN}, [{"x": [5] * 20 + [0, 0], "y": [5] * 20 + [0, 0]}], policy)
    assert list(state.streams) == ["x"]


def test_other_cells_than_the_reference_has_are_refused() -> None:
    with pytest.raises(CellsDiffer, match="feature x: 3 cells in the window, 22 in the reference"):
        step(POLICY, EsrState(), {"x": EVEN}, {"x": [1, 2, 3]})


def test_evidence_goes_on_over_the_slots_of_a_season() -> None:
    day = FrozenReference("numeric", (500,) * 5 + (9500,) * 5 + (0, 0))
    night = FrozenReference("numeric", (9500,) * 5 + (500,) * 5 + (0, 0))
    generator = np.random.default_rng(6)
    state = EsrState()
    for k in range(400):
        reference = (day, night)[k % 2]
        counts = generator.multinomial(100, np.array(cell_shares(reference.counts))).tolist()
        state, finding = step(POLICY, state, {"x": reference}, {"x": counts})
        assert finding is None
    # night's values by day too: half of the windows look wrong, and that is found
    found = []
    for k in range(4):
        counts = generator.multinomial(100, np.array(cell_shares(night.counts))).tolist()
        state, finding = step(POLICY, state, {"x": (day, night)[k % 2]}, {"x": counts})
        found.append(finding)
    assert any(found)


def test_a_reference_in_one_bin_still_notices_that_values_moved() -> None:
    constant = FrozenReference("numeric", (10_000, 0, 0, 0))
    assert not any(run({"x": constant}, [{"x": [100, 0, 0, 0]}] * 200)[1])
    finding = next(f for f in run({"x": constant}, [{"x": [95, 5, 0, 0]}] * 10)[1] if f)
    assert finding.upward


def test_an_empty_reference_and_huge_windows_stay_finite() -> None:
    for counts in ((0, 0, 0, 0), (1, 0, 0, 0), (10**12, 10**12, 0, 0)):
        reference = FrozenReference("numeric", counts)
        for window in ([10**12, 0, 0, 0], [0, 0, 0, 10**12], [1, 1, 1, 1]):
            state, finding = step(POLICY, EsrState(), {"x": reference}, {"x": window})
            logs = [m for stream in state.streams.values() for m in stream.log_m if m is not None]
            assert all(map(math.isfinite, logs))
            assert finding is None or math.isfinite(finding.log_e)


def test_overdispersion_takes_the_weight_out_of_dependent_windows() -> None:
    generator = np.random.default_rng(7)
    level, windows = 0.0, []
    for _ in range(300):
        level = 0.9 * level + 0.1 * generator.standard_normal()
        windows.append({"x": normal_window(generator, mean=level)})
    dependent = FrozenReference(EVEN.kind, EVEN.counts, phi=15.0)
    assert any(run({"x": EVEN}, windows)[1])
    assert not any(run({"x": dependent}, windows)[1])


rows = st.lists(st.integers(0, 40), min_size=6, max_size=6)


@settings(max_examples=50)
@given(st.lists(st.fixed_dictionaries({}, optional={"a": rows, "b": rows}), max_size=25), st.data())
def test_a_restart_at_any_window_goes_on_the_same(windows: list[Window], data: st.DataObject) -> None:
    references = {"a": LABELS, "b": FrozenReference("numeric", (40, 30, 20, 10, 1, 0), 1.5)}
    turned = dict(reversed(references.items()))
    cut = data.draw(st.integers(0, len(windows)))
    straight, restarted = EsrState(), EsrState()
    for k, window in enumerate(windows):
        if k == cut:
            restarted = EsrState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        straight, left = step(POLICY, straight, references, window)
        # the order of features does not matter either
        backwards = {name: window[name] for name in reversed(list(window))}
        restarted, right = step(POLICY, restarted, turned, backwards)
        assert left == right
    assert orjson.dumps(straight.to_json()) == orjson.dumps(restarted.to_json())


@pytest.mark.parametrize(
    "field, value",
    [
        ("delta", -0.1),
        ("sizes", []),
        ("sizes", [0.4, 0.2]),
        ("sizes", [0.0, 0.2]),
        ("false_alarms_per_window", 0.0),
        ("false_alarms_per_window", 1.0),
    ],
)
def test_an_impossible_policy_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidField, match=rf"EsrPolicy\.{field} must be"):
        EsrPolicy.from_json({field: value})


def test_a_policy_survives_json() -> None:
    policy = EsrPolicy(delta=0.1, sizes=(0.5,), features=("x",))
    assert EsrPolicy.from_json(orjson.loads(orjson.dumps(policy.to_json()))) == policy
