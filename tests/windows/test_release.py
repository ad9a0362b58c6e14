"""A closed window's predictions are let go of at once: the worker's garbage collector looks seldom."""

import gc
from collections.abc import Iterator

import pytest

from domain.windows.cells import Cell
from domain.windows.fold import PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress
from tests.windows.records import Prediction


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_closed_window_leaves_no_cells_behind() -> None:
    before = _cells()
    policy = WindowPolicy(length_ms=1_000, slack_ms=0, grace_ms=0)
    fold = PartitionFold(policy, Progress.start(0))
    for window in range(5):
        predictions = [
            Prediction(prediction_id=f"{window}-{n}", variant=variant) for n in range(3) for variant in "ab"
        ]
        fold.add_predictions(range(window * 6, window * 6 + 6), [window * 1_000] * 6, predictions)
        if fold.closable():
            fold.close({})
        del predictions
    # those of the window that is open
    assert _cells() - before == 2


def _cells() -> int:
    return sum(type(each) is Cell for each in gc.get_objects())
