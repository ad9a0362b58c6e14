"""How well detections agree with what several people marked: F-measure and covering.

Both are those of van den Burg and Williams, "An Evaluation of Change Point Detection Algorithms"
(arXiv:2003.06222), section 4.2. A change point is the index, from 0, of the first observation of a new
segment, and 0 is one in every set: without it a series that nobody marked would have no precision.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

Marks = Mapping[str, Collection[int]]
"""By annotator."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`precision` is against the marks of all together, `recall` the mean over the annotators."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def agreement(marks: Marks, found: Collection[int], before: int = 5, after: int = 5) -> Agreement:
    """A mark is met by a detection from `before` observations before it to `after` after it.

    One detection meets one mark at most, marks in ascending order each taking the nearest that is left.

    >>> agreement({"ann": [10, 20], "bob": [10]}, [11, 40])
    Agreement(precision=0.6666666666666666, recall=0.8333333333333333)
    """
    detected = {0, *found}
    together = {0}.union(*marks.values())
    recalls = [_met({0, *own}, detected, before, after) / len({0, *own}) for own in marks.values()]
    return Agreement(
        precision=_met(together, detected, before, after) / len(detected),
        recall=math.fsum(recalls) / len(recalls),
    )


def _met(marks: Collection[int], found: Collection[int], before: int, after: int) -> int:
    left, met = set(found), 0
    for mark in sorted(marks):
        near = [each for each in left if -before <= each - mark <= after]
        if near:
            left.remove(min(near, key=lambda each: (abs(each - mark), each)))
            met += 1
    return met


def covering(marks: Marks, found: Collection[int], observations: int) -> float:
    """Mean over the annotators of how well their segments are covered by those between detections: each
    segment by the one of largest Jaccard index, weighted by length.

    >>> covering({"ann": [5]}, [5], 10), covering({"ann": [5]}, [], 10)
    (1.0, 0.5)
    """
    ours = _segments(found, observations)
    each = [
        math.fsum(
            (high - low) * max(_jaccard(low, high, *segment) for segment in ours)
            for low, high in _segments(own, observations)
        )
        / observations
        for own in marks.values()
    ]
    return math.fsum(each) / len(each)


def _segments(points: Collection[int], observations: int) -> list[tuple[int, int]]:
    borders = sorted({0, observations, *(point for point in points if 0 < point < observations)})
    return list(pairwise(borders))


def _jaccard(low: int, high: int, other_low: int, other_high: int) -> float:
    shared = min(high, other_high) - max(low, other_low)
    return max(0, shared) / (high - low + other_high - other_low - max(0, shared))
