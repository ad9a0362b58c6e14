"""Screening changes no figure: what it leaves out cannot alarm."""

import numpy as np
import pytest

from consumers.driftbench import measures
from consumers.driftbench.judged import Judged
from consumers.driftbench.laws import When, moved, normal
from consumers.driftbench.measures import source_of
from consumers.driftbench.screening import suspects
from consumers.driftbench.situations import STREAMS
from consumers.driftbench.streams import NEVER, VALUE, Features, Numbers, Seen, Stream
from domain.drift.rollup import RollUpPolicy, RollUpState, step

OFTEN = {"false_alarms_per_window": 0.02, "levels": 4, "tolerance_warn": 0.0}
"""Alarms often enough for a short test."""


@pytest.mark.parametrize(
    "stream",
    [
        STREAMS["normal"],
        STREAMS["ar1-no-phi"],
        STREAMS["zipf"],
        Features(name="five", says="", features=5),
        Numbers(name="at the edge", says="", law=moved(normal, by=0.07), tolerated=("roll-up",)),
    ],
    ids=lambda stream: stream.name,
)
def test_every_alarm_of_the_roll_up_is_in_a_suspect_stretch(stream: Stream) -> None:
    policy = RollUpPolicy.from_json(OFTEN | {"tolerance_warn": 0.002})
    source = source_of(9, stream.name, 0)
    past = stream.learn(source)
    counts = stream.counts(source, past, When.of(0, 1_600, 0))
    assert counts is not None
    found = set(suspects(policy, past.profile.features, counts).tolist())
    state, alarms = RollUpState(), set()
    for window in range(1_600):
        cells = {name: rows[window].tolist() for name, rows in counts.items()}
        state, finding = step(policy, state, past.profile.features, cells)
        if finding is not None:
            alarms.add(window // policy.longest_block)
    assert alarms <= found
    assert len(found - alarms) <= 1
    assert 0 < len(found) < 200 or stream.name == "ar1-no-phi"


def test_screened_false_alarms_are_those_of_judging_every_window() -> None:
    detector = Judged(name="often", says="", document={"features": OFTEN}, kinds=("numbers",))
    stream = Numbers(name="independent", says="", law=moved(normal), measured_phi=False)
    piece = measures.screened(stream, detector, 1_600, seed=2)
    source = source_of(2, stream.name, 0)
    past = stream.learn(source)
    counts = stream.counts(source, past, When.of(0, 1_600, NEVER))
    assert counts is not None
    episodes, watching = 0, detector.begin(stream, past)
    for window, row in enumerate(counts[VALUE].tolist()):
        if window % 8 == 0:
            watching = detector.begin(stream, past)
        episodes += watching.step(Seen(window, histograms={VALUE: row}))
    assert (
        piece.episodes == episodes > 8
    )  # 32 alarms are declared, of which a stretch of 8 windows makes one episode


def test_windows_that_are_no_whole_stretches_are_refused() -> None:
    stream = STREAMS["normal"]
    past = stream.learn(source_of(1, "normal", 0))
    counts = {VALUE: np.zeros((65, 22), np.int64)}
    with pytest.raises(ValueError, match="65 windows are no multiple of 64"):
        suspects(RollUpPolicy(), past.profile.features, counts)
