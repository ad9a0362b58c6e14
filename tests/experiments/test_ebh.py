"""e-BH is its definition, whatever the e-values, their order and their number."""

import math
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidField
from domain.experiments.ebh import ebh

# away from the thresholds K / (q k) themselves, which the hand-made cases below hold
E = st.one_of(st.just(0.0), st.floats(1e-6, 1e9).map(lambda value: value * math.pi))
LEVELS = st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5])


def log(e: float) -> float:
    return math.log(e) if e else -math.inf


def by_definition(es: list[float], q: float) -> set[int]:
    """The largest set R with e_i >= K / (q |R|) for all i of R, found by trying all of them."""
    best: set[int] = set()
    for size in range(len(es), 0, -1):
        for chosen in combinations(range(len(es)), size):
            if all(es[i] >= len(es) / (q * size) for i in chosen):
                return set(chosen)
    return best


def rejected(es: list[float], q: float) -> set[int]:
    return {i for i, yes in enumerate(ebh([log(e) for e in es], q).rejected) if yes}


@given(st.lists(E, max_size=8), LEVELS)
def test_it_is_the_largest_self_consistent_set(es: list[float], q: float) -> None:
    assert rejected(es, q) == by_definition(es, q)


@given(st.lists(E, min_size=1, max_size=30), LEVELS, st.randoms(use_true_random=False))
def test_the_order_of_the_hypotheses_does_not_matter(es: list[float], q: float, random: Random) -> None:
    order = list(range(len(es)))
    random.shuffle(order)
    whole, again = ebh([log(e) for e in es], q), ebh([log(es[i]) for i in order], q)
    assert again.rejected == tuple(whole.rejected[i] for i in order)
    assert again.q_values == tuple(whole.q_values[i] for i in order)
    assert again.threshold == whole.threshold


@given(st.lists(E, min_size=1, max_size=20), LEVELS, st.data())
def test_more_evidence_anywhere_never_loses_a_discovery(
    es: list[float], q: float, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(es) - 1))
    more = [*es]
    more[index] += data.draw(st.floats(0, 1e9))
    assert rejected(es, q) <= rejected(more, q)


@given(st.lists(E, min_size=1, max_size=20), LEVELS, LEVELS)
def test_a_laxer_level_never_loses_a_discovery(es: list[float], one: float, other: float) -> None:
    strict, lax = sorted((one, other))
    assert rejected(es, strict) <= rejected(es, lax)


@given(st.lists(E, min_size=1, max_size=20), LEVELS)
def test_q_values_and_the_threshold_say_the_same_as_the_rejections(es: list[float], q: float) -> None:
    found = ebh([log(e) for e in es], q)
    assert found.count == sum(found.rejected)
    for e, yes, level in zip(es, found.rejected, found.q_values, strict=True):
        assert yes is (log(e) >= found.threshold)
        assert yes is (level <= q)
        if 0 < level < 1:
            i = found.q_values.index(level)
            assert i in rejected(es, level * (1 + 1e-9))
            assert i not in rejected(es, level * (1 - 1e-9))


def test_one_experiment_alone_needs_one_over_q_and_gets_by_with_exactly_that() -> None:
    assert rejected([20.0], 0.05) == {0}
    assert rejected([19.999999], 0.05) == set()
    assert math.exp(ebh([0.0], 0.05).threshold) == pytest.approx(20)


def test_exact_thresholds_are_enough_and_ties_go_together() -> None:
    assert rejected([60.0, 30.0, 20.0], 0.05) == {0, 1, 2}
    assert rejected([30.0, 30.0, 1.0], 0.05) == {0, 1}
    assert rejected([29.9, 29.9, 1.0], 0.05) == set()


def test_nothing_to_judge_is_nothing_found() -> None:
    found = ebh([], 0.1)
    assert (found.rejected, found.q_values, found.count) == ((), (), 0)


@pytest.mark.parametrize("q", [0.0, 1.0, -0.1, math.nan])
def test_a_level_that_is_none_is_refused(q: float) -> None:
    with pytest.raises(InvalidField):
        ebh([1.0], q)
    with pytest.raises(InvalidField):
        ebh([math.nan], 0.1)


def test_the_false_discovery_rate_holds_under_dependence() -> None:
    """Likelihood ratios of Gaussians that share one shock, 40 without an effect and 10 with one."""
    generator = np.random.default_rng(7)
    mean = np.r_[np.zeros(40), np.full(10, 3.0)]
    shares, found = [], 0
    for _ in range(2_000):
        shock, own = generator.standard_normal(), generator.standard_normal(50)
        x = mean + math.sqrt(0.6) * shock + math.sqrt(0.4) * own
        result = ebh((3.0 * x - 4.5).tolist(), 0.1)
        false = sum(result.rejected[:40])
        shares.append(false / max(result.count, 1))
        found += result.count - false
    assert np.mean(shares) <= 0.1
    assert found > 1_000
