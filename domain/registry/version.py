"""What a registered version is: its description, its files and where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What a person or a trainer says about a version."""

    model: str
    task: str = "float"
    created_at_ms: int
    """Event time: for a retrained version the job's `as_of`."""
    description: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArtifact:
    """The stored files of a version."""

    uri: str
    sha256: str
    """Of the canonical manifest, which holds path, size and SHA-256 of every file."""
    manifest: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version came from; enough to make it again."""

    source: str
    """`retraining`, `bootstrap` or `import`."""
    parent_version: str | None = None
    as_of_ms: int | None = None
    job_id: str | None = None
    train_rows: int = 0
    holdout_rows: int = 0
    train_sha256: str | None = None
    holdout_sha256: str | None = None
    validation: Mapping[str, object] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    seed: int = 0
