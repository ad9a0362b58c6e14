"""What holds for every log: small logs that hypothesis can shrink."""

from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.windows.fold import Closed, PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress, dominates
from tests.windows.logs import PROFILES, make_log, make_policy
from tests.windows.oracle import Oracle
from tests.windows.records import Log
from tests.windows.simulation import PARTITION, Parts, Store, Worker, compare, run, step

randoms = st.randoms(use_true_random=False, note_method_calls=False)


def emitted(closings: list[Closed]) -> tuple[object, object, Progress]:
    rows = sorted((row for closed in closings for row in closed.rows), key=lambda row: row.key)
    arrivals = [arrival for closed in closings for arrival in closed.arrivals]
    return rows, sorted(arrivals, key=lambda row: (row.side, row.window_start_ms)), closings[-1].progress


def fold_whole(log: Log, policy: WindowPolicy, r: Random | None) -> list[Closed]:
    """All of the log at once, or in random steps with a close after some of them."""
    worker = Worker.boot(Parts(), policy, log, Progress.start(PARTITION))
    closings = []
    while r is not None and not worker.done:
        step(worker, r)
        if r.random() < 0.3:
            closings.append(worker.close(PROFILES, policy.length_ms))
    worker.read_predictions(len(log.predictions))
    worker.read_outcomes(len(log.outcomes))
    return [*closings, worker.close(PROFILES, policy.length_ms)]


@given(randoms, st.integers(0, 8), st.integers(1, 3))
def test_any_workers_give_the_rows_of_the_oracle(r: Random, requests: int, workers: int) -> None:
    run(make_log(r, requests), make_policy(r), PROFILES, r, workers)


@given(randoms, st.integers(0, 8))
def test_neither_batches_nor_interleaving_nor_closing_times_change_a_byte(r: Random, requests: int) -> None:
    log, policy = make_log(r, requests), make_policy(r)
    assert emitted(fold_whole(log, policy, r)) == emitted(fold_whole(log, policy, None))


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_restart_from_any_commit_emits_exactly_what_that_commit_does_not_claim(
    seed: int, requests: int
) -> None:
    r = Random(seed)
    log, policy = make_log(r, requests), make_policy(r)
    expected = Oracle(policy, PROFILES, log, PARTITION).expected
    closings = fold_whole(log, policy, r)
    store = Store(lambda old, new: new)
    for closed in closings[:-1]:
        store.commit(closed)
        again = Store(lambda old, new: new, dict(store.rows), dict(store.arrivals))
        worker = Worker.boot(Parts(), policy, log, closed.progress)
        worker.read_outcomes(len(log.outcomes))
        worker.read_predictions(len(log.predictions))
        last = worker.close(PROFILES, policy.length_ms)
        again.commit(last)
        compare(expected, again)
        assert len(last.rows) == len(expected.rows) - len(store.rows)
        assert last.progress == closings[-1].progress


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_progress_of_one_fold_only_rises(seed: int, requests: int) -> None:
    r = Random(seed)
    closings = fold_whole(make_log(r, requests), make_policy(r), r)
    states = [Progress.start(PARTITION), *(closed.progress for closed in closings)]
    for old, new in pairwise(states):
        assert dominates(new, old)
        assert new.predictions_offset >= old.predictions_offset
        assert new.outcomes_offset >= old.outcomes_offset
        assert new.prediction_arrivals_through_ms >= old.prediction_arrivals_through_ms
        assert new.outcome_arrivals_through_ms >= old.outcome_arrivals_through_ms


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_nothing_is_kept_once_time_has_passed_everything(seed: int, requests: int) -> None:
    r = Random(seed)
    log, policy = make_log(r, requests), make_policy(r)
    latest = max(timestamp for timestamp, _ in [*log.predictions, *log.outcomes] if timestamp < 10**13)
    log.predictions.append((latest + 10**6, None))
    log.outcomes.append((latest + 10**6, None))
    worker = Worker.boot(Parts(), policy, log, Progress.start(PARTITION))
    worker.read_predictions(len(log.predictions))
    worker.read_outcomes(len(log.outcomes))
    progress = worker.close(PROFILES, policy.length_ms).progress
    state = worker.fold.open_state()
    assert (state.open_windows, state.closed_windows, state.outcomes) == (0, 0, 0)
    # only the heartbeats that passed it all are still to be counted
    assert worker.fold.pending().predictions["heartbeat"] == 1
    assert progress.predictions_offset == 10 + 3 * (len(log.predictions) - 1)
    assert progress.outcomes_offset == 10 + 3 * (len(log.outcomes) - 1)


@given(randoms, st.integers(0, 6))
def test_asking_changes_nothing(r: Random, requests: int) -> None:
    log, policy = make_log(r, requests), make_policy(r)
    asked, silent = (PartitionFold(policy, Progress.start(PARTITION)) for _ in range(2))
    for fold in (asked, silent):
        fold.add_predictions(range(len(log.predictions)), *columns(log.predictions))
        fold.add_outcomes(range(len(log.outcomes)), *columns(log.outcomes))
        if fold is asked:
            assert (fold.closable(), fold.closing_versions()) == (fold.closable(), fold.closing_versions())
            assert fold.pending() == fold.pending()
            assert fold.open_state() == fold.open_state()
    assert asked.close(PROFILES) == silent.close(PROFILES)


def columns(entries: list[tuple[int, Any]]) -> tuple[list[int], list[Any]]:
    return [timestamp for timestamp, _ in entries], [record for _, record in entries]
