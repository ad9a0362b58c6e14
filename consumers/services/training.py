"""From an order to a candidate: history, files, the external command, validation, profile, upload.

Works outside any transaction and may be repeated from the start at any time: everything it leaves behind is
either made anew (the job folder) or named by its content (the artifact).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from consumers.artifacts.backend import ArtifactError, CloudStorageBackend
from consumers.services.command import CommandFailed, run_command
from consumers.services.experiments import plan_from_template
from consumers.services.history import HistoricalDataService
from consumers.services.publishing import publish
from consumers.services.retraining import Candidate
from consumers.services.training_files import (
    TrainingInput,
    TrainingOutput,
    TrainingOutputError,
    read_output,
    write_input,
)
from domain.errors import InvalidField
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.retraining.history import HistoryRow, LabelledRow
from domain.retraining.policy import TrainingPolicy, parse_training, parse_validation
from domain.retraining.split import Split, TooLittleHistory, split
from domain.retraining.validation import Validation, ValidationPolicy, compare
from domain.windows.baseline import Judged
from domain.windows.build import build_profile
from domain.windows.clip import error_clip
from domain.windows.policy import WindowPolicy
from domain.windows.profile import ReferenceProfile

UNUSABLE = (ValueError, TypeError, ArithmeticError, OSError, pa.ArrowException)
"""What reading, checking and copying files of any content can end in: the job fails, the trainer goes on."""


class TrainingFailed(Exception):
    """The order cannot be carried out; `tail` is the end of what the command complained about."""

    def __init__(self, detail: str, tail: str = "") -> None:
        super().__init__(detail)
        self.detail, self.tail = detail, tail


class CandidateRejected(Exception):
    """There is nothing good enough to register; `evidence` says why."""

    def __init__(self, detail: str, evidence: Mapping[str, object]) -> None:
        super().__init__(detail)
        self.detail, self.evidence = detail, evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to train."""

    job_id: str
    attempt: int
    model: str
    as_of_ms: int
    policy: Mapping[str, object]
    """The model's policy in force at `as_of_ms`: sections training, validation, experiment."""
    champion: str | None
    """PRODUCTION version to be compared with."""
    source: str = "retraining"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policies:
    training: TrainingPolicy
    validation: ValidationPolicy
    experiment: Mapping[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    history: HistoricalDataService
    artifacts: CloudStorageBackend
    jobs_path: Path
    windows: WindowPolicy

    async def candidate(self, order: Order, rows: Sequence[LabelledRow] | None = None) -> Candidate:
        """Trains on the log's history up to `as_of`, or on `rows`.

        Raises TrainingFailed, CandidateRejected, HistoryNotClosed.
        """
        policies = _parse(order)
        if rows is None:
            start_ms = max(0, order.as_of_ms - policies.training.split.history_ms)
            rows = await self.history.fetch(order.model, order.as_of_ms, from_ms=start_ms)
        parts = _split(rows, policies.training, order.as_of_ms)
        folder = self.jobs_path / order.job_id / f"attempt-{order.attempt}"
        written = await asyncio.to_thread(
            write_input, folder, parts.train, parts.holdout, _job(order, policies)
        )
        try:
            await run_command(policies.training.command, folder, timeout_s=policies.training.timeout_s)
        except CommandFailed as error:
            raise TrainingFailed(error.problem, error.tail) from error
        try:
            return await self._made_of(order, policies, parts, written)
        except UNUSABLE as error:
            raise TrainingFailed(f"what the training left cannot be used: {_brief(error)}") from error

    async def _made_of(
        self, order: Order, policies: _Policies, parts: Split, written: TrainingInput
    ) -> Candidate:
        output = await self._read(policies.training, written.folder, parts)
        validation = _validate(order, policies.validation, parts, output)
        artifact = await self._publish(order.model, output)
        return Candidate(
            metadata=_metadata(order, policies.training, written, output),
            artifact=artifact,
            profile=self._profile(policies.training, written, parts, output),
            lineage=_lineage(order, policies.training, written, parts, validation),
            detail=validation.summary(),
            experiment_template=policies.experiment,
        )

    async def _read(self, policy: TrainingPolicy, folder: Path, parts: Split) -> TrainingOutput:
        try:
            return await asyncio.to_thread(read_output, folder, parts.holdout, policy.formats)
        except TrainingOutputError as error:
            raise TrainingFailed(str(error)) from error

    async def _publish(self, model: str, output: TrainingOutput) -> ModelArtifact:
        try:
            return await publish(self.artifacts, model, output.model_folder, output.files)
        except ArtifactError as error:
            raise TrainingFailed(f"the model cannot be stored: {error}") from error

    def _profile(
        self, policy: TrainingPolicy, written: TrainingInput, parts: Split, output: TrainingOutput
    ) -> ReferenceProfile:
        windows = {self.windows.window_start(row.occurred_at_ms) for row in parts.train}
        usual = max(1, round(len(parts.train) / len(windows)))
        predictions = np.array(output.holdout_predictions, np.float64)
        actuals = np.array([float(row.actual) for row in parts.holdout])
        return build_profile(
            # The registry fills in who it belongs to and from when on it counts.
            model="",
            version="",
            task="regression",
            features={name: [row.features.get(name) for row in parts.train] for name in written.features},
            predictions=predictions,
            judged=Judged(predictions=predictions, actuals=actuals),
            error_clip=error_clip(predictions, actuals),
            window_records=policy.window_records or usual,
        )


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _parse(order: Order) -> _Policies:
    try:
        if "training" not in order.policy:
            raise InvalidField("policy", "training", "given to train anything", None)
        template = order.policy.get("experiment")
        if template is not None:
            # Built with names that do not matter here: better to fail now than after hours of training.
            plan_from_template(template, experiment="-", model=order.model, champion="1", challenger="2")
        return _Policies(
            training=parse_training(order.policy["training"]),
            validation=parse_validation(order.policy.get("validation", {})),
            experiment=template if isinstance(template, Mapping) else None,
        )
    except InvalidField as error:
        raise TrainingFailed(str(error)) from error


def _split(rows: Sequence[LabelledRow], policy: TrainingPolicy, as_of_ms: int) -> Split:
    try:
        return split([row for row in rows if _is_numeric(row)], policy.split, as_of_ms)
    except TooLittleHistory as error:
        raise CandidateRejected(str(error), {"found": error.found, "needed": error.needed}) from error


def _is_numeric(row: LabelledRow) -> bool:
    answer = row.prediction if isinstance(row, HistoryRow) else 0.0
    return not isinstance(row.actual, str) and not isinstance(answer, str)


def _job(order: Order, policies: _Policies) -> dict[str, object]:
    return {
        "job_id": order.job_id,
        "model": order.model,
        "as_of_ms": order.as_of_ms,
        "champion": order.champion,
        "task": policies.training.task,
        "params": dict(policies.training.params),
        "seed": policies.training.seed,
    }


def _validate(order: Order, policy: ValidationPolicy, parts: Split, output: TrainingOutput) -> Validation:
    champion = [_answer(row, order.champion) for row in parts.holdout]
    actual = [float(row.actual) for row in parts.holdout]
    validation = compare(output.holdout_predictions, champion, actual, policy, order.champion)
    if not validation.passed:
        raise CandidateRejected(validation.summary(), validation.evidence())
    return validation


def _answer(row: LabelledRow, champion: str | None) -> float | None:
    answer = row.answers.get(champion) if isinstance(row, HistoryRow) and champion is not None else None
    return None if answer is None or isinstance(answer, str) else float(answer)


def _metadata(
    order: Order, policy: TrainingPolicy, written: TrainingInput, output: TrainingOutput
) -> ModelMetadata:
    return ModelMetadata(
        model=order.model,
        task=policy.task,
        created_at_ms=order.as_of_ms,
        description=f"{order.source} {order.job_id}",
        metrics=output.metrics,
        params=policy.params,
        features=tuple(written.features),
    )


def _lineage(
    order: Order, policy: TrainingPolicy, written: TrainingInput, parts: Split, validation: Validation
) -> Lineage:
    return Lineage(
        source=order.source,
        parent_version=order.champion,
        as_of_ms=order.as_of_ms,
        job_id=order.job_id,
        train_rows=len(parts.train),
        holdout_rows=len(parts.holdout),
        train_sha256=written.train_sha256,
        holdout_sha256=written.holdout_sha256,
        validation=validation.evidence(),
        command=policy.command,
        seed=policy.seed,
    )
