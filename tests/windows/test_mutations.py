"""Negative controls: each rule of the window, switched off, is caught by the simulation."""

from pathlib import Path
from random import Random

import pytest

from tests.windows.logs import PROFILES, make_log, make_lopsided_log, make_policy
from tests.windows.mutants import Mutation, mutant
from tests.windows.simulation import Broken, Parts, maxima, run

LOGS = 60
LOPSIDED = 120

MUTATIONS = [
    Mutation(
        "a prediction behind newest - slack is late",
        "predictions",
        "or timestamp < before - slack",
        "or timestamp < before - 2 * slack",
    ),
    Mutation(
        "an outcome behind newest - slack is late",
        "outcomes",
        "or timestamp < before - slack",
        "or timestamp < before - 2 * slack",
    ),
    Mutation(
        "exactly slack behind is not late",
        "predictions",
        "or timestamp < before - slack",
        "or timestamp <= before - slack",
    ),
    Mutation(
        "a late record is judged by newest before it",
        "predictions",
        "or timestamp < before - slack",
        "or timestamp < self.newest_ms - slack",
    ),
    Mutation(
        "the second of an id is a duplicate",
        "predictions",
        "if first is not None:",
        "if first is cell is None:",
    ),
    Mutation(
        "ids are per model and variant",
        "cells",
        "self.seen.setdefault((r.model, r.variant), {})",
        "self.seen.setdefault((r.model, None), {})",
    ),
    Mutation(
        "a duplicate counts in the row it repeats",
        "predictions",
        "first.duplicates += 1",
        "cell.duplicates += 1",
    ),
    Mutation(
        "the last outcome wins",
        "outcomes",
        "for position in reversed(self._positions(outcome_id)):",
        "for position in self._positions(outcome_id):",
    ),
    Mutation(
        "an earlier outcome is used when the last is not eligible",
        "outcomes",
        "elif self._earlier and outcome_id in self._earlier:",
        "elif self._earlier is None:",
    ),
    Mutation(
        "the cutoff is exclusive",
        "outcomes",
        "elif from_ms <= times[number - first] < cutoff_ms:",
        "elif from_ms <= times[number - first] <= cutoff_ms:",
    ),
    Mutation(
        "an outcome may be slack older than its window, not more",
        "fold",
        "from_ms = window.start_ms - self._policy.slack_ms",
        "from_ms = window.start_ms - 2 * self._policy.slack_ms",
    ),
    Mutation(
        "an outcome may be slack older than its window",
        "fold",
        "from_ms = window.start_ms - self._policy.slack_ms",
        "from_ms = window.start_ms",
    ),
    Mutation("grace belongs to the cutoff", "policy", "horizon_s * 1000 + self.grace_ms", "horizon_s * 1000"),
    Mutation(
        "the input side closes at newest - slack",
        "predictions",
        "return max(0, self.newest_ms - self._policy.slack_ms)",
        "return max(0, self.newest_ms)",
    ),
    Mutation(
        "the outcome side closes at newest - slack",
        "outcomes",
        "return max(0, self.newest_ms - self._policy.slack_ms)",
        "return max(0, self.newest_ms)",
    ),
    Mutation(
        "the input side closes no later than newest - slack",
        "predictions",
        "if (index + 1) * self._policy.length_ms <= limit",
        "if (index + 1) * self._policy.length_ms < limit",
    ),
    Mutation(
        "heartbeats and invalid predictions move time",
        "predictions",
        "if timestamp > newest and not (isinstance(record, Invalid) and not record.moves_time):",
        "if timestamp > newest and not isinstance(record, Invalid):",
    ),
    Mutation(
        "heartbeats move time on the outcome side",
        "outcomes",
        "if timestamp > newest and not (isinstance(record, Invalid) and not record.moves_time):",
        "if timestamp > newest and record is not None:",
    ),
    Mutation(
        "a timestamp that is not believed moves nothing",
        "predictions",
        "if timestamp > newest and not (isinstance(record, Invalid) and not record.moves_time):",
        "if timestamp > newest:",
    ),
    Mutation(
        "low water stays at the first record of open windows",
        "fold",
        "marks = [(window.offset, window.newest_before_ms) for window in predictions.open.values()]",
        "marks: list[tuple[int, int]] = []",
    ),
    Mutation(
        "low water stays at windows that wait for outcomes",
        "kept",
        "self._held.add(window.index)",
        "self._held.discard(window.index)",
    ),
    Mutation(
        "low water stays at finished windows that undecided outcomes refer to",
        "kept",
        "heappush(self._marks, (self._policy.last_arrival_window(window.finish_ms), window.index))",
        "self._held.discard(window.index)",
    ),
    Mutation(
        "low water stays at the arrival window that is filling",
        "fold",
        "marks += [(arrival.offset, arrival.newest_before_ms) for arrival in predictions.arrivals]",
        "marks += []",
    ),
    Mutation(
        "low water stays at finished windows that a prediction without an arrival row may repeat",
        "kept",
        "if oldest_repeated is not None and self._marks[0][1] >= oldest_repeated:",
        "if oldest_repeated is not None and self._marks[0][1] < 0:",
    ),
    Mutation(
        "low water stays at undecided outcomes",
        "fold",
        "undecided = [(arrival.offset, arrival.newest_before_ms) for arrival in outcomes.arrivals]",
        "undecided: list[tuple[int, int]] = []",
    ),
    Mutation(
        "newest goes back with low water",
        "fold",
        "predictions_newest_ms=low_predictions[1],",
        "predictions_newest_ms=predictions.newest_ms,",
    ),
    Mutation(
        "newest of outcomes goes back with low water",
        "fold",
        "outcomes_newest_ms=low_outcomes[1],",
        "outcomes_newest_ms=outcomes.newest_ms,",
    ),
    Mutation(
        "rows in the starting rectangle are not emitted again",
        "fold",
        "if end_ms <= self._start.inputs_through_ms:",
        "if end_ms < 0:",
    ),
    Mutation(
        "score rows in the starting rectangle are not emitted again",
        "fold",
        "return end_ms <= self._start.inputs_through_ms and cutoff_ms <= self._start.outcomes_through_ms",
        "return False",
    ),
    Mutation(
        "the rectangle is left by either side",
        "fold",
        "return end_ms <= self._start.inputs_through_ms and cutoff_ms <= self._start.outcomes_through_ms",
        "return end_ms <= self._start.inputs_through_ms",
    ),
    Mutation(
        "arrival rows before the starting point are not emitted again",
        "fold",
        "return (arrival.window + 1) * self._policy.length_ms <= through",
        "return False",
    ),
    Mutation(
        "an arrival window is decided when the windows it may refer to are finished",
        "fold",
        "and self._kept.finished_through(last_window)",
        "",
    ),
    Mutation(
        "an arrival window is decided when no new window can refer to it",
        "fold",
        "and (last_window + 1) * self._policy.length_ms <= self._predictions.through_ms",
        "",
    ),
    Mutation(
        "a window is remembered after its last cutoff",
        "kept",
        "finish_ms = max(cutoffs.values()) + self._policy.memory_ms",
        "finish_ms = max(cutoffs.values())",
    ),
    Mutation(
        "a superseded outcome is not an orphan",
        "outcomes",
        "fate = MATCHED if winner is None else SUPERSEDED",
        "fate = MATCHED if winner is None else ORPHAN",
    ),
    Mutation(
        "only the winner is matched",
        "outcomes",
        "fate = MATCHED if winner is None else SUPERSEDED",
        "fate = MATCHED",
    ),
    Mutation(
        "a shadow answer is paired with the served one", "score_row", "if cell.served[row]:", "if True:"
    ),
    Mutation(
        "the served answer is not paired with itself",
        "score_row",
        "if not cell.served[row] and cell.ids[row] in by_id",
        "if cell.ids[row] in by_id",
    ),
    Mutation(
        "pairs are within one allocation epoch",
        "score_row",
        "return (key.model, key.experiment, key.epoch) if",
        "return (key.model, key.experiment, 0) if",
    ),
    Mutation(
        "outcome values belong to served predictions",
        "metrics",
        "if outcome.values and served[row]:",
        "if outcome.values:",
    ),
    Mutation(
        "a profile counts from the window it takes effect in",
        "fold",
        "return profile if profile is not None and profile.in_force(window_start_ms) else None",
        "return profile",
    ),
    Mutation(
        "an estimate sums calibrated probabilities",
        "input_row",
        "calibrated, positive = calibration.map(p), p >= POSITIVE",
        "calibrated, positive = p, p >= POSITIVE",
    ),
    Mutation(
        "an estimate parts predictions where a hit does",
        "metrics",
        "POSITIVE = 0.5",
        "POSITIVE = 0.7",
    ),
    Mutation(
        "what is no probability is not estimated from",
        "input_row",
        "p = numbers[(numbers >= 0) & (numbers <= 1)]",
        "p = numbers",
    ),
    Mutation(
        "covariates adjust only when every matched prediction has one",
        "score_row",
        "and all(cell.covariates[row] is not None for row in scores.matched)",
        "",
    ),
]


def simulate(parts: Parts) -> None:
    for seed in range(LOGS + LOPSIDED):
        r = Random(seed)
        settings = make_policy(r)
        policy = parts.policy(**settings.to_json())
        made = make_log if seed < LOGS else make_lopsided_log
        run(made(r, r.choice([30, 60])), policy, PROFILES, r, 1 + seed % 3, parts)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_switching_a_rule_off_is_caught(mutation: Mutation, tmp_path: Path) -> None:
    # KeyError: a fold that closes a window too early trips over its own remains
    with mutant(mutation, tmp_path) as parts, pytest.raises((Broken, KeyError)):
        simulate(parts)


def test_independent_maxima_of_progress_lose_rows() -> None:
    with pytest.raises(Broken):
        simulate(Parts(advance=maxima))


def test_an_unchanged_copy_passes(tmp_path: Path) -> None:
    with mutant(None, tmp_path) as parts:
        simulate(parts)
