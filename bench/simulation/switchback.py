"""Made-up experiments that switch by period: whole periods of one arm, whose outcomes share their luck."""

import math

import numpy as np

from bench.simulation.evidence import Batches, Floats, by_contrast, naive_of
from bench.simulation.streams import BATCH, LOOKS, Draw, Generator, Seen


def switches(periods: int = 5, units: int = 1, share: float = 0.5, memory: float = 0.0) -> Draw:
    """`periods` of each unit in a batch. Period and outcome have the same variance; `memory` is the
    correlation of a period's luck with that of the one before, which all units have in common.

    A batch goes on until it has both arms: so draws of one arm alone are drawn again.
    """
    size = BATCH // (periods * units)

    def draw(source: Generator, runs: int) -> Seen:
        cells = periods * units
        treated = source.random((runs, LOOKS, cells)) < share
        while (alone := treated.all(axis=2) | ~treated.any(axis=2)).any():
            treated[alone] = source.random((int(alone.sum()), cells)) < share
        luck = _remembered(source.standard_normal((runs, LOOKS * periods)), memory)
        level = np.repeat(luck.reshape(runs, LOOKS, periods), units, axis=2)
        means = level + source.standard_normal(level.shape) / math.sqrt(size)
        within = source.chisquare(size - 1, level.shape)
        one, zero = (_arm(means, within, mine, size) for mine in (treated, ~treated))
        batches = Batches(
            n1=size * treated.sum(axis=2),
            n0=size * (~treated).sum(axis=2),
            mean1=one[0],
            mean0=zero[0],
            M2_1=one[1],
            M2_0=zero[1],
        )
        outcomes = np.arange(1, LOOKS + 1) * BATCH
        return Seen({"product": by_contrast(batches), "naive": naive_of(batches)}, outcomes)

    return draw


def _remembered(fresh: Floats, memory: float) -> Floats:
    luck = fresh.copy()
    for at in range(1, luck.shape[1]):
        luck[:, at] = memory * luck[:, at - 1] + math.sqrt(1 - memory**2) * fresh[:, at]
    return luck


def _arm(means: Floats, within: Floats, mine: np.ndarray, size: int) -> tuple[Floats, Floats]:
    """Mean and M2 of all outcomes in the cells that are its."""
    mean = (means * mine).sum(axis=2) / mine.sum(axis=2)
    spread = within + size * (means - mean[..., None]) ** 2
    return mean, (spread * mine).sum(axis=2)
