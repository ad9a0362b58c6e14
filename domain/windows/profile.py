"""The frozen reference that a version's inputs and errors are measured against."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

Task = Literal["regression", "probability", "label"]
FeatureKind = Literal["numeric", "categorical"]


class ProfileError(ValueError):
    """A reference profile breaks a rule; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReference:
    """Bins of one feature (or of the prediction) and how the reference data fell into them.

    Numeric: `edges` ascend strictly, bin i is (edges[i-1], edges[i]], one more bin than edges. Categorical:
    one bin per entry of `categories`. Two bins follow: missing, then unseen (an unknown category, or
    text where a number belongs). `counts` covers all of them.
    """

    kind: FeatureKind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...]
    phi: float = 1.0
    """Overdispersion of window means in the reference data, at least 1."""

    def __post_init__(self) -> None:
        if self.kind == "numeric" and self.categories or self.kind == "categorical" and self.edges:
            raise ProfileError("edges belong to numeric features, categories to categorical ones")
        if not all(isfinite(edge) for edge in self.edges) or any(a >= b for a, b in pairwise(self.edges)):
            raise ProfileError("edges must be finite and ascend strictly")
        if len(set(self.categories)) != len(self.categories):
            raise ProfileError("categories must differ from each other")
        if len(self.counts) != self.bins + 2 or any(count < 0 for count in self.counts):
            raise ProfileError(
                f"counts must be {self.bins + 2} numbers of at least 0: the bins, missing, unseen"
            )
        if not (isfinite(self.phi) and self.phi >= 1):
            raise ProfileError("phi must be finite and at least 1")

    @property
    def bins(self) -> int:
        """Bins without missing and unseen."""
        return len(self.edges) + 1 if self.kind == "numeric" else len(self.categories)

    def to_json(self) -> dict[str, Any]:
        cuts = (
            {"edges": list(self.edges)} if self.kind == "numeric" else {"categories": list(self.categories)}
        )
        return {"kind": self.kind, **cuts, "counts": list(self.counts), "phi": self.phi}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FeatureReference":
        """Inverse of `to_json`; raises ProfileError."""
        try:
            return cls(
                kind=_one_of(value["kind"], "numeric", "categorical"),
                edges=tuple(float(edge) for edge in value.get("edges", ())),
                categories=tuple(str(category) for category in value.get("categories", ())),
                counts=tuple(int(count) for count in value["counts"]),
                phi=float(value["phi"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _named(error) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProfile:
    """Immutable reference of one model version, registered before it serves.

    In force for windows that start at `effective_from_ms` or later.
    """

    model: str
    version: str
    task: Task
    effective_from_ms: int = 0
    features: Mapping[str, FeatureReference] = field(default_factory=dict)
    prediction: FeatureReference | None = None
    error_clip: float | None = None
    """Bound of the metric abs_error_clipped, for errors with heavy tails."""

    def __post_init__(self) -> None:
        if self.error_clip is not None and not (isfinite(self.error_clip) and self.error_clip > 0):
            raise ProfileError("error_clip must be finite and above 0")

    def in_force(self, window_start_ms: int) -> bool:
        return self.effective_from_ms <= window_start_ms

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "task": self.task,
            "effective_from_ms": self.effective_from_ms,
            "features": {name: reference.to_json() for name, reference in sorted(self.features.items())},
            "prediction": self.prediction.to_json() if self.prediction is not None else None,
            "error_clip": self.error_clip,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ReferenceProfile":
        """Inverse of `to_json`; unknown fields are ignored; raises ProfileError."""
        try:
            prediction, clip = value.get("prediction"), value.get("error_clip")
            return cls(
                model=str(value["model"]),
                version=str(value["version"]),
                task=_one_of(value["task"], "regression", "probability", "label"),
                effective_from_ms=int(value["effective_from_ms"]),
                features={name: FeatureReference.from_json(item) for name, item in value["features"].items()},
                prediction=FeatureReference.from_json(prediction) if prediction is not None else None,
                error_clip=float(clip) if clip is not None else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _named(error) from error


def _one_of(value: Any, *allowed: Any) -> Any:
    if value not in allowed:
        raise ProfileError(f"{value!r} is not one of {', '.join(allowed)}")
    return value


def _named(error: Exception) -> ProfileError:
    if isinstance(error, ProfileError):
        return error
    return ProfileError(f"missing field {error}" if isinstance(error, KeyError) else str(error))
