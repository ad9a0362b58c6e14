"""Events as the registry would announce them, and the log that they are announced in."""

from datetime import UTC, datetime
from pathlib import Path

from lifecycle_sdk.contracts import (
    AllocationStrategy,
    ExperimentChanged,
    ExperimentStatus,
    LogFile,
    ModelStage,
    ModelStageChanged,
    OutcomeObserved,
    PredictionMade,
    ProductionPointer,
    Topics,
    VariantOffer,
)

MODEL = "brent-move"
AT = datetime(2001, 2, 3, 17, tzinfo=UTC)
NOW_MS = 1_700_000_000_000


def new_log(path: Path, partitions: int = 2) -> LogFile:
    file = LogFile(path, now_ms=lambda: NOW_MS)
    file.create_topics(Topics().specs(partitions))
    return file


def digest(version: str) -> str:
    return version[-1] * 64


def promoted(version: str, epoch: int, *, model: str = MODEL, empty: bool = False) -> ModelStageChanged:
    pointer = ProductionPointer(
        version=version,
        artifact_uri=f"local:{model}/{version}",
        artifact_sha256=digest(version),
        epoch=epoch,
    )
    return ModelStageChanged(
        event_id=f"{model}-{version}-{epoch}",
        occurred_at=AT,
        model=model,
        version=version,
        from_stage=ModelStage.STAGING,
        to_stage=ModelStage.PRODUCTION,
        actor="registry",
        reason="test",
        production=None if empty else pointer,
    )


def experiment(
    *,
    name: str = "exp-1",
    model: str = MODEL,
    status: ExperimentStatus = ExperimentStatus.RUNNING,
    strategy: AllocationStrategy = AllocationStrategy.SHADOW_MODE,
    epoch: int = 1,
    champion: str = "1",
    challenger: str = "2",
    share: float = 0.5,
) -> ExperimentChanged:
    arms = (("champion", champion, True, 1 - share), ("challenger", challenger, False, share))
    return ExperimentChanged(
        event_id=f"{name}-{epoch}-{status}",
        occurred_at=AT,
        model=model,
        experiment=name,
        status=status,
        strategy=strategy,
        segments=("vip",) if strategy is AllocationStrategy.NAMED_SEGMENTS else (),
        period_ms=60_000 if strategy is AllocationStrategy.SWITCHBACK else None,
        epoch=epoch,
        salt=name,
        variants=tuple(
            VariantOffer(
                name=arm,
                version=version,
                champion=is_champion,
                share=its_share,
                artifact_uri=f"local:{model}/{version}",
                artifact_sha256=digest(version),
            )
            for arm, version, is_champion, its_share in arms
        ),
        config_hash="c" * 64,
    )


def prediction(identity: str = "p1", *, at: datetime = AT) -> PredictionMade:
    return PredictionMade(
        prediction_id=identity, model=MODEL, version="1", prediction=0.5, horizon_s=86_400, occurred_at=at
    )


def outcome(identity: str = "p1", *, at: datetime = AT) -> OutcomeObserved:
    return OutcomeObserved(prediction_id=identity, actual=0.25, occurred_at=at)
