"""Made-up assignments to two arms that were promised half each: A6, and the test that looks as often."""

import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2

from bench.simulation.evidence import Evidence, Floats, Ints
from bench.simulation.streams import BATCH, LOOKS, Draw, Generator, Seen
from domain.experiments.srm import PRIOR_MASS


def assigned(share: float) -> Draw:
    """`share` is what the treatment really gets."""

    def draw(source: Generator, runs: int) -> Seen:
        ours = np.cumsum(source.binomial(BATCH, share, (runs, LOOKS)), axis=1)
        outcomes = BATCH * np.arange(1, LOOKS + 1)
        theirs = outcomes - ours
        with np.errstate(divide="ignore"):
            p = -np.log(chi2.sf((ours - theirs) ** 2 / outcomes, 1))
        nothing = np.full(ours.shape, -np.inf)
        return Seen(
            {"product": Evidence(by_ratio(ours, theirs), nothing), "naive": Evidence(p, nothing)}, outcomes
        )

    return draw


def by_ratio(ours: Ints, theirs: Ints) -> Floats:
    """Log e-value [run, look] that two arms of the counts so far are not assigned half each."""
    half, n = PRIOR_MASS / 2, ours + theirs
    log_e: Floats = gammaln(PRIOR_MASS) - gammaln(PRIOR_MASS + n) + n * np.log(2.0)
    for count in (ours, theirs):
        log_e = log_e + gammaln(half + count) - gammaln(half)
    return log_e
