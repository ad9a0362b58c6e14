"""The controls compute what they are named for."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from consumers.driftbench.naive import ks_below, wasserstein
from consumers.driftbench.situations import STREAMS
from consumers.driftbench.streams import Past, Seen


def test_wasserstein_is_that_of_scipy() -> None:
    source = np.random.default_rng(4)
    reference, items = np.sort(source.standard_normal(10_000)), np.sort(source.standard_normal(100) + 0.1)
    assert wasserstein(reference, items) == pytest.approx(wasserstein_distance(reference, items), rel=1e-9)
    # 97 is no divisor of 10,000: nearly exact
    assert wasserstein(reference, items[:97]) == pytest.approx(
        wasserstein_distance(reference, items[:97]), abs=0.005
    )


def test_kolmogorov_smirnov_is_that_of_scipy() -> None:
    source = np.random.default_rng(5)
    past = Past(STREAMS["normal"].learn(source).profile, source.standard_normal((100, 100)))
    assert past.items is not None
    # scipy corrects the asymptotic p-value for the sample's size, by less than .03
    for _ in range(40):
        items = source.standard_normal(100) + 0.2
        p = ks_2samp(past.items.ravel(), items, method="asymp").pvalue
        assert ks_below(p + 0.03)(past)(Seen(0, items))
        assert not ks_below(p - 0.03)(past)(Seen(0, items))
