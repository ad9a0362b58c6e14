"""Made-up experiments of several equal challengers, each compared with the same champion."""

import numpy as np

from bench.simulation.evidence import ALPHA, Batches, Evidence, Floats, by_contrast
from bench.simulation.streams import BATCH, LOOKS, Draw, Generator, Seen


def family(treatments: int) -> Draw:
    """Normal values, the same number in every arm. "product" shares alpha out among the treatments,
    "uncorrected" gives it to each. Harm is not shared out by the rules: it is that of the first treatment."""
    size = BATCH // (treatments + 1)

    def draw(source: Generator, runs: int) -> Seen:
        arms = [_moments(source, runs, size) for _ in range(treatments + 1)]
        tests = {}
        for name, parts in (("product", treatments), ("uncorrected", 1)):
            each = [_against(one, arms[0], size, ALPHA / parts) for one in arms[1:]]
            # a threshold of alpha / parts, on the scale of one of alpha
            up = np.max([evidence.up for evidence in each], axis=0) - np.log(parts)
            tests[name] = Evidence(up, _against(arms[1], arms[0], size, ALPHA).down)
        return Seen(tests, size * (treatments + 1) * np.arange(1, LOOKS + 1))

    return draw


def _moments(source: Generator, runs: int, size: int) -> tuple[Floats, Floats]:
    shape = (runs, LOOKS)
    return source.standard_normal(shape) / np.sqrt(size), source.chisquare(size - 1, shape)


def _against(one: tuple[Floats, Floats], zero: tuple[Floats, Floats], size: int, alpha: float) -> Evidence:
    n = np.full(LOOKS, size)
    batches = Batches(n1=n, n0=n, mean1=one[0], mean0=zero[0], M2_1=one[1], M2_0=zero[1])
    return by_contrast(batches, alpha=alpha)
