"""The window fold of one partition: two co-partitioned topics in, rows and progress out.

A pure function of the two logs: neither the batches, nor how the topics interleave, nor when `close` is
called, nor a restart from low water changes a byte of any row (docs/adr/0001, and 0005 for the fates).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.windows.arrivals import PREDICTION_FATES, Arrival, added
from domain.windows.cells import Cell, OpenWindow
from domain.windows.histogram import FeatureBins
from domain.windows.input_row import input_body
from domain.windows.kept import ClosedWindow, KeptWindows
from domain.windows.metrics import score
from domain.windows.outcomes import OutcomeSide
from domain.windows.pending import OpenState, Pending
from domain.windows.policy import WindowPolicy
from domain.windows.predictions import PredictionSide
from domain.windows.profile import ReferenceProfile
from domain.windows.progress import Progress
from domain.windows.records import Invalid, OutcomeRecord, PredictionRecord
from domain.windows.rows import ArrivalRow, RowKey, Side, WindowRow, canonical
from domain.windows.score_row import ScoredCell, score_bodies

Version = tuple[str, str]
"""(model, version)"""
Profiles = Mapping[Version, ReferenceProfile]


@dataclass(frozen=True, slots=True)
class Closed:
    """What one `close` yields, to be written in one transaction; progress only where it dominates."""

    rows: list[WindowRow]
    arrivals: list[ArrivalRow]
    progress: Progress


class PartitionFold:
    """Folds one partition from `progress` on. Read both topics from its offsets.

    Rows that `progress` claims are rebuilt for state but not emitted again. `close` hands each row over once:
    after a failed write the fold is worthless, make a new one from the stored progress.
    """

    def __init__(self, policy: WindowPolicy, progress: Progress) -> None:
        self._policy = policy
        self._start = progress
        self._predictions = PredictionSide(
            policy, progress.predictions_offset, progress.predictions_newest_ms
        )
        self._outcomes = OutcomeSide(policy, progress.outcomes_offset, progress.outcomes_newest_ms)
        self._kept = KeptWindows(policy)
        self._bins: dict[Version, tuple[ReferenceProfile, FeatureBins]] = {}

    def add_predictions(
        self,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        records: Sequence[PredictionRecord | Invalid | None],
    ) -> None:
        """Fold the next predictions, in offset order; timestamps in ms, None is a heartbeat."""
        self._predictions.add(offsets, timestamps, records)

    def add_outcomes(
        self,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        records: Sequence[OutcomeRecord | Invalid | None],
    ) -> None:
        """Fold the next outcomes, in offset order; timestamps in ms, None is a heartbeat."""
        self._outcomes.add(offsets, timestamps, records)

    # ------------------------------------------------------------ closing

    def closable(self) -> bool:
        """Whether `close` would have something to do. Cheap enough to ask after every batch."""
        predictions, through = self._predictions, self._outcomes.through_ms
        if predictions.closable() or self._kept.scorable(through) or self._kept.finishable(through):
            return True
        newest_window = self._policy.window(predictions.newest_ms)
        if predictions.arrivals and predictions.arrivals[0].window < newest_window:
            return True
        return bool(self._outcomes.arrivals) and self._decided(self._outcomes.arrivals[0])

    def through_ms(self) -> tuple[int, int]:
        """(inputs, outcomes): the rectangle that the next `close` would claim."""
        return self._predictions.through_ms, self._outcomes.through_ms

    def closing_versions(self) -> set[Version]:
        """Versions whose reference profile the next `close` will want."""
        inputs, outcomes = self._predictions.through_ms, self._outcomes.through_ms
        length = self._policy.length_ms
        ending = [
            window for index, window in self._predictions.open.items() if (index + 1) * length <= inputs
        ]
        wanted = {(cell.key.model, cell.key.version) for window in ending for cell in window.tallied()}
        return wanted | {(cell.key.model, cell.key.version) for cell in self._kept.scorable_cells(outcomes)}

    def close(self, profiles: Profiles) -> Closed:
        """Emit every row that is complete, forget what no later record can refer to, and say how far that is.

        `profiles` holds the registered reference profiles of `closing_versions()`; a version without one is
        tallied without features.
        """
        rows: list[WindowRow] = []
        for window in self._predictions.take_closed():
            rows += self._input_rows(window, profiles)
            self._kept.keep(window)
            window.release()
        for closed, horizon_s in self._kept.take_scorable(self._outcomes.through_ms):
            rows += self._score_rows(closed, horizon_s, profiles)
        for closed in self._kept.take_finished(self._outcomes.through_ms):
            for horizon_s, ids in closed.ids.items():
                self._outcomes.note_corrections(ids, closed.cutoffs[horizon_s], closed.finish_ms)
        arrivals = [*self._prediction_arrivals(), *self._outcome_arrivals()]
        undecided = self._outcomes.arrivals
        self._kept.drop_marks(undecided[0].window if undecided else None, self._predictions.oldest_repeated())
        rows.sort(key=lambda row: row.key)
        return Closed(rows, arrivals, self._progress())

    def _input_rows(self, window: OpenWindow, profiles: Profiles) -> list[WindowRow]:
        start_ms = window.index * self._policy.length_ms
        end_ms = start_ms + self._policy.length_ms
        if end_ms <= self._start.inputs_through_ms:
            return []
        groups: dict[RowKey, list[Cell]] = {}
        for cell in window.tallied():
            k = cell.key
            key = RowKey(
                "input",
                start_ms,
                self._start.partition,
                k.model,
                k.version,
                k.variant or "",
                k.experiment or "",
                k.epoch,
                0,
            )
            groups.setdefault(key, []).append(cell)
        rows = []
        for key, cells in groups.items():
            profile = _in_force(profiles, (key.model, key.version), start_ms)
            bins = self._feature_bins(profile) if profile is not None else None
            rows.append(WindowRow(key, end_ms, canonical(input_body(cells, profile, bins))))
        return rows

    def _score_rows(self, window: ClosedWindow, horizon_s: int, profiles: Profiles) -> list[WindowRow]:
        cutoff_ms = window.cutoffs[horizon_s]
        from_ms = window.start_ms - self._policy.slack_ms
        # settled even when the rows are written already: the fates of outcomes follow from it
        settled = [
            (cell, self._outcomes.settle(cell.ids, from_ms, cutoff_ms))
            for cell in window.cells.pop(horizon_s)
        ]
        if self._claimed(window, cutoff_ms):
            return []
        scored = []
        for cell, outcomes in settled:
            profile = _in_force(profiles, (cell.key.model, cell.key.version), window.start_ms)
            scored.append(ScoredCell(cell, score(cell.predictions, cell.served, outcomes, profile)))
        rows = []
        for item, body in zip(scored, score_bodies(scored), strict=True):
            k = item.cell.key
            key = RowKey(
                "score",
                window.start_ms,
                self._start.partition,
                k.model,
                k.version,
                k.variant or "",
                k.experiment or "",
                k.epoch,
                horizon_s,
            )
            rows.append(WindowRow(key, cutoff_ms, canonical(body)))
        return rows

    def _claimed(self, window: ClosedWindow, cutoff_ms: int) -> bool:
        """Whether the rectangle this fold started from holds the rows already."""
        end_ms = window.start_ms + self._policy.length_ms
        return end_ms <= self._start.inputs_through_ms and cutoff_ms <= self._start.outcomes_through_ms

    def _feature_bins(self, profile: ReferenceProfile) -> FeatureBins | None:
        if not profile.features:
            return None
        known = self._bins.get((profile.model, profile.version))
        if known is None or known[0] is not profile:
            known = self._bins[profile.model, profile.version] = (profile, FeatureBins(profile.features))
        return known[1]

    # ------------------------------------------------------------ arrivals

    def _prediction_arrivals(self) -> list[ArrivalRow]:
        return [
            self._arrival_row("predictions", arrival, arrival.prediction_counts())
            for arrival in self._predictions.take_arrivals()
            if not self._emitted("predictions", arrival)
        ]

    def _outcome_arrivals(self) -> list[ArrivalRow]:
        rows = []
        undecided = self._outcomes.arrivals
        while undecided and self._decided(undecided[0]):
            arrival = undecided[0]
            fates = self._outcomes.retire(arrival)
            if not self._emitted("outcomes", arrival):
                rows.append(self._arrival_row("outcomes", arrival, arrival.outcome_counts(fates)))
        return rows

    def _decided(self, arrival: Arrival) -> bool:
        """Whether no window can use, or be referred to by, an outcome that arrived then."""
        last_window = self._policy.last_window_served(arrival.window)
        return (
            arrival.window < self._policy.window(self._outcomes.newest_ms)
            and (last_window + 1) * self._policy.length_ms <= self._predictions.through_ms
            and self._kept.finished_through(last_window)
        )

    def _emitted(self, side: Side, arrival: Arrival) -> bool:
        start = self._start
        through = (
            start.prediction_arrivals_through_ms
            if side == "predictions"
            else start.outcome_arrivals_through_ms
        )
        return (arrival.window + 1) * self._policy.length_ms <= through

    def _arrival_row(self, side: Side, arrival: Arrival, counts: Mapping[str, int]) -> ArrivalRow:
        start_ms = arrival.window * self._policy.length_ms
        return ArrivalRow(side, self._start.partition, start_ms, canonical(counts))

    # ------------------------------------------------------------ where it stands

    def _progress(self) -> Progress:
        predictions, outcomes, length = self._predictions, self._outcomes, self._policy.length_ms
        marks = [(window.offset, window.newest_before_ms) for window in predictions.open.values()]
        marks += [(arrival.offset, arrival.newest_before_ms) for arrival in predictions.arrivals]
        kept = self._kept.low_water()
        marks += [kept] if kept is not None else []
        low_predictions = min([*marks, (predictions.next_offset, predictions.newest_ms)])
        undecided = [(arrival.offset, arrival.newest_before_ms) for arrival in outcomes.arrivals]
        low_outcomes = min([*undecided, (outcomes.next_offset, outcomes.newest_ms)])
        decided_ms = (
            outcomes.arrivals[0].window * length
            if outcomes.arrivals
            else self._start.outcome_arrivals_through_ms
        )
        return Progress(
            partition=self._start.partition,
            predictions_offset=low_predictions[0],
            predictions_newest_ms=low_predictions[1],
            outcomes_offset=low_outcomes[0],
            outcomes_newest_ms=low_outcomes[1],
            inputs_through_ms=predictions.through_ms,
            outcomes_through_ms=outcomes.through_ms,
            prediction_arrivals_through_ms=self._policy.window_start(predictions.newest_ms),
            outcome_arrivals_through_ms=decided_ms,
        )

    def pending(self) -> Pending:
        """What was read and is in no arrival row yet, and what is in no input row yet."""
        predictions = dict.fromkeys(("read", *PREDICTION_FATES, "heartbeat"), 0)
        for arrival in self._predictions.arrivals:
            if not self._emitted("predictions", arrival):
                predictions = added(predictions, arrival.prediction_counts())
        outcomes = dict.fromkeys(("read", "open", "late", "invalid", "heartbeat"), 0)
        for arrival in self._outcomes.arrivals:
            if not self._emitted("outcomes", arrival):
                outcomes = added(outcomes, arrival.outcome_counts({"open": arrival.accepted}))
        through, length = self._start.inputs_through_ms, self._policy.length_ms
        waiting = sum(
            len(window) for window in self._predictions.open.values() if (window.index + 1) * length > through
        )
        return Pending(predictions, outcomes, waiting)

    def open_state(self) -> OpenState:
        """Sizes of what is held in memory."""
        opened = self._predictions.open
        return OpenState(
            len(opened), sum(len(window) for window in opened.values()), len(self._kept), len(self._outcomes)
        )


def _in_force(profiles: Profiles, version: Version, window_start_ms: int) -> ReferenceProfile | None:
    profile = profiles.get(version)
    return profile if profile is not None and profile.in_force(window_start_ms) else None
