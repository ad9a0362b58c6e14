"""Which stretches of windows could alarm at all: the others need not be judged to know that they do not.

A roll-up's waiting blocks are empty after every longest block, so stretches of that many windows are
independent of each other. The chi-squares of all blocks of a stretch are computed at once; where none of
them reaches its level by the product's own p-value and Benjamini-Hochberg, no alarm is possible. What is
left, and a little more, is judged by the product. So a million windows take minutes and not hours, and what
alarms is the same (tests/driftbench/test_screening.py).
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import chdtrc

from consumers.driftbench.laws import Ints
from domain.drift.chisquare import noncentral_sf
from domain.drift.rollup import RollUpPolicy
from domain.windows.moments import Floats
from domain.windows.profile import FeatureReference

_ROOM = 1.001
"""Levels are taken this much larger: rounding must not hide an alarm."""


def suspects(
    policy: RollUpPolicy, references: Mapping[str, FeatureReference], counts: Mapping[str, Ints]
) -> Ints:
    """Numbers of the stretches in `counts` (by feature, windows x cells) that have to be judged.

    The windows must be a multiple of the policy's longest block.
    """
    names = sorted(counts)
    windows = len(counts[names[0]])
    stretches = windows // policy.longest_block
    if stretches * policy.longest_block != windows:
        raise ValueError(f"{windows} windows are no multiple of {policy.longest_block}")
    found = np.zeros(stretches, np.bool_)
    for index in range(policy.levels):
        size = policy.ratio**index
        level = policy.level(index) * _ROOM
        p = np.stack(
            [_p_values(policy, references[name], _blocks(counts[name], size), level) for name in names]
        )
        ordered = np.sort(p, axis=0)
        ranks = np.arange(1, len(names) + 1)[:, None] / len(names)
        alarms = (ordered <= level * ranks).any(axis=0)
        found |= alarms.reshape(stretches, -1).any(axis=1)
    return np.flatnonzero(found)


def _blocks(counts: Ints, size: int) -> Ints:
    blocks: Ints = counts.reshape(-1, size, counts.shape[1]).sum(axis=1)
    return blocks


def _p_values(policy: RollUpPolicy, reference: FeatureReference, blocks: Ints, level: float) -> Floats:
    """Of each block; 1 where it is larger than `level` for sure, because no tolerance makes it smaller."""
    r = np.array(reference.counts, np.float64)
    m, n = r.sum(), blocks.sum(axis=1)
    scale = np.sqrt(n / m)[:, None]
    total = r + blocks
    gap = (scale * r - blocks / scale) ** 2
    statistic = np.divide(gap, total, out=np.zeros_like(gap), where=total > 0).sum(axis=1) / reference.phi
    df = (total > 0).sum(axis=1) - 1
    p = np.where(n >= policy.min_items, chdtrc(df, statistic), 1.0)
    for block in np.flatnonzero(p <= level):
        far = policy.tolerance_warn / (1 / m + 1 / n[block]) / reference.phi
        p[block] = noncentral_sf(float(statistic[block]), int(df[block]), float(far))
    p[p > level] = 1.0
    return np.asarray(p, np.float64)
