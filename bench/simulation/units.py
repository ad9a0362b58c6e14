"""A3 on arrays: one run of a sticky experiment, all its looks; and what its information promises."""

import numpy as np
from scipy.special import log_ndtr

from bench.simulation.evidence import ALPHA, N_STAR, Evidence, Floats, Ints
from domain.experiments.evidence import rho_one_sided
from domain.experiments.state import TUNING_BATCHES
from domain.experiments.sticky import MIN_BUCKETS


def statistics(counts: Floats, sums: Floats, phases: Ints) -> tuple[Floats, Floats, Floats]:
    """s, information and v at every look; of looks without any measured phase the information is zero.

    `counts` and `sums` are [look, arm (control, treatment), bucket] of single batches, `phases` [look].
    """
    looks, _, buckets = counts.shape
    s, information, v = np.zeros(looks), np.zeros(looks), np.zeros(looks)
    closed_s, closed_information, closed, closed_pulls = 0.0, 0.0, 0, np.zeros(buckets)
    met = np.zeros(buckets, bool)
    for phase in np.unique(phases):
        at = np.flatnonzero(phases == phase)
        n, y = np.cumsum(counts[at], axis=0), np.cumsum(sums[at], axis=0)
        total = n.sum(axis=2, keepdims=True)
        occupied = (n > 0).sum(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = y.sum(axis=2, keepdims=True) / total
            pulls = (y - mean * n) / total
            variance = (pulls**2).sum(axis=2) * occupied / (occupied - 1)
            weight = 1 / variance.sum(axis=1)
        fine = (occupied >= MIN_BUCKETS).all(axis=1) & (variance > 0).all(axis=1)
        weight = np.where(fine, weight, 0.0)
        difference = np.where(fine, mean[:, 1, 0] - mean[:, 0, 0], 0.0)
        s[at] = closed_s + weight * difference
        information[at] = closed_information + weight
        joint = closed_pulls + np.where(fine[:, None], weight[:, None] * (pulls[:, 1] - pulls[:, 0]), 0.0)
        present = met | (fine[:, None] & (n > 0).any(axis=1))
        g = present.sum(axis=1)
        spread = (joint**2).sum(axis=1) * g / np.maximum(g - 1, 1)
        v[at] = np.where(closed + fine > 1, np.maximum(information[at], spread), information[at])
        closed_s, closed_information, closed = s[at][-1], information[at][-1], closed + int(fine[-1])
        closed_pulls, met = joint[-1], present[-1]
    return s, information, v


def by_units(counts: Floats, sums: Floats, phases: Ints, shared: Floats, n_star: int = N_STAR) -> Evidence:
    """Evidence of one run, [1, look]; `shared` is the variance [look] that batches add to that of units."""
    s, information, v = statistics(counts, sums, phases)
    v = v + information**2 * shared
    outcomes = counts.sum(axis=(1, 2)).cumsum()
    looks = len(s)
    known = np.flatnonzero((information > 0) & (np.arange(looks) >= TUNING_BATCHES - 1))
    up, down = np.full(looks, -np.inf), np.full(looks, -np.inf)
    if len(known):
        first = known[0]
        rho = rho_one_sided(information[first] / outcomes[first] * n_star, ALPHA)
        s, v = s[first:], v[first:]
        common = 0.5 * np.log(4 * rho / (v + rho)) + s * s / (2 * (v + rho))
        z = s / np.sqrt(v + rho)
        up[first:], down[first:] = common + log_ndtr(z), common + log_ndtr(-z)
    return Evidence(up[None], down[None])


def by_information(
    source: np.random.Generator, runs: int, gain: float, information: Floats, outcomes: Ints
) -> Evidence:
    """What to expect of the same test if every look's information [look] were known: Brownian motion with
    drift `gain` in information time, [run, look]."""
    steps = np.diff(information, prepend=0.0)
    s = np.cumsum(gain * steps + np.sqrt(steps) * source.standard_normal((runs, len(steps))), axis=1)
    at = TUNING_BATCHES - 1
    rho = rho_one_sided(information[at] / outcomes[at] * N_STAR, ALPHA)
    common = 0.5 * np.log(4 * rho / (information + rho)) + s * s / (2 * (information + rho))
    z = s / np.sqrt(information + rho)
    up, down = common + log_ndtr(z), common + log_ndtr(-z)
    up[:, :at] = down[:, :at] = -np.inf
    return Evidence(up, down)
