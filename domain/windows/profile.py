"""The frozen reference that a version's inputs and errors are measured against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, TypeVar

from domain.windows.calibration import Calibration
from domain.windows.profile_error import ProfileError, reading
from domain.windows.season import Season

Task = Literal["regression", "probability", "label"]
FeatureKind = Literal["numeric", "categorical"]
Part = TypeVar("Part")


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
    """Overdispersion of window means in the reference data, at least 1. With `seasonal`, of what the windows
    of a slot differ by from the slot's own counts."""
    means: tuple[float, ...] = ()
    """Mean of the numbers in each bin (numeric), ascending; of an empty bin, a number inside it. () = not
    measured."""
    sd: float | None = None
    """Standard deviation of the numbers, above 0; None = not measured, or all are the same."""
    seasonal: tuple[tuple[int, ...], ...] = ()
    """Per slot of the profile's season, the part of `counts` that fell into it. () = no season."""

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
        self._check_numbers()
        self._check_slots()

    def _check_numbers(self) -> None:
        if self.kind == "categorical" and (self.means or self.sd is not None):
            raise ProfileError("means and sd belong to numeric features")
        if self.means and len(self.means) != self.bins:
            raise ProfileError(f"means must be {self.bins} numbers, one a bin")
        if not all(map(isfinite, self.means)) or any(a > b for a, b in pairwise(self.means)):
            raise ProfileError("means must be finite and must not descend")
        if self.sd is not None and not (isfinite(self.sd) and self.sd > 0):
            raise ProfileError("sd must be finite and above 0")

    def _check_slots(self) -> None:
        if any(len(slot) != len(self.counts) or any(count < 0 for count in slot) for slot in self.seasonal):
            raise ProfileError(f"seasonal must hold {len(self.counts)} numbers of at least 0 a slot")
        if self.seasonal and tuple(map(sum, zip(*self.seasonal, strict=True))) != self.counts:
            raise ProfileError("seasonal must add up to counts")

    @property
    def bins(self) -> int:
        """Bins without missing and unseen."""
        return len(self.edges) + 1 if self.kind == "numeric" else len(self.categories)

    def to_json(self) -> dict[str, Any]:
        cuts = (
            {"edges": list(self.edges)} if self.kind == "numeric" else {"categories": list(self.categories)}
        )
        measured: dict[str, Any] = {
            "means": list(self.means) or None,
            "sd": self.sd,
            "seasonal": [list(slot) for slot in self.seasonal] or None,
        }
        return {"kind": self.kind, **cuts, "counts": list(self.counts), "phi": self.phi} | _set(measured)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FeatureReference":
        """Inverse of `to_json`; raises ProfileError."""
        with reading():
            sd = value.get("sd")
            return cls(
                kind=_one_of(value["kind"], "numeric", "categorical"),
                edges=tuple(float(edge) for edge in value.get("edges", ())),
                categories=tuple(str(category) for category in value.get("categories", ())),
                counts=tuple(int(count) for count in value["counts"]),
                phi=float(value["phi"]),
                means=tuple(float(mean) for mean in value.get("means", ())),
                sd=float(sd) if sd is not None else None,
                seasonal=tuple(tuple(int(n) for n in slot) for slot in value.get("seasonal", ())),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReference:
    """A metric on reference rows with outcomes: what the version promised."""

    n: int
    mean: float
    M2: float
    """Sum of squared deviations from the mean."""
    phi: float = 1.0
    """Overdispersion of window means, at least 1."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ProfileError("n must be at least 1")
        if not isfinite(self.mean):
            raise ProfileError("mean must be finite")
        if not (isfinite(self.M2) and self.M2 >= 0):
            raise ProfileError("M2 must be finite and at least 0")
        if not (isfinite(self.phi) and self.phi >= 1):
            raise ProfileError("phi must be finite and at least 1")

    def to_json(self) -> dict[str, float]:
        return {"n": self.n, "mean": self.mean, "M2": self.M2, "phi": self.phi}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "MetricReference":
        """Inverse of `to_json`; raises ProfileError."""
        with reading():
            mean, m2, phi = (float(value[name]) for name in ("mean", "M2", "phi"))
            return cls(n=int(value["n"]), mean=mean, M2=m2, phi=phi)


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
    season: Season | None = None
    """With it, every feature and the prediction have counts per slot."""
    calibration: Calibration | None = None
    """Of the predicted probabilities (task probability): with it, windows hold what CBPE estimates from."""
    errors: Mapping[str, MetricReference] = field(default_factory=dict)
    """By metric of the task; hits as they are, not as misses."""

    def __post_init__(self) -> None:
        if self.error_clip is not None and not (isfinite(self.error_clip) and self.error_clip > 0):
            raise ProfileError("error_clip must be finite and above 0")
        if self.calibration is not None and self.task != "probability":
            raise ProfileError(f"calibration belongs to task probability, not {self.task}")
        slots = self.season.slots if self.season is not None else 0
        predictions = {"prediction": self.prediction} if self.prediction is not None else {}
        for name, reference in ({f"features.{n}": r for n, r in self.features.items()} | predictions).items():
            if len(reference.seasonal) != slots:
                raise ProfileError(f"{name}.seasonal must have as many slots as season: {slots}")

    def in_force(self, window_start_ms: int) -> bool:
        return self.effective_from_ms <= window_start_ms

    def to_json(self) -> dict[str, Any]:
        """Fields that came after profiles had been registered are left out while unset: digests stay."""
        later: dict[str, Any] = {
            "season": self.season.to_json() if self.season is not None else None,
            "calibration": self.calibration.to_json() if self.calibration is not None else None,
            "errors": {name: errors.to_json() for name, errors in sorted(self.errors.items())} or None,
        }
        return {
            "model": self.model,
            "version": self.version,
            "task": self.task,
            "effective_from_ms": self.effective_from_ms,
            "features": {name: reference.to_json() for name, reference in sorted(self.features.items())},
            "prediction": self.prediction.to_json() if self.prediction is not None else None,
            "error_clip": self.error_clip,
        } | _set(later)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ReferenceProfile":
        """Inverse of `to_json`; unknown fields are ignored; raises ProfileError."""
        with reading():
            clip = value.get("error_clip")
            return cls(
                model=str(value["model"]),
                version=str(value["version"]),
                task=_one_of(value["task"], "regression", "probability", "label"),
                effective_from_ms=int(value["effective_from_ms"]),
                features={
                    name: _read(f"features.{name}", FeatureReference.from_json, item)
                    for name, item in value["features"].items()
                },
                prediction=_read_set("prediction", FeatureReference.from_json, value.get("prediction")),
                error_clip=float(clip) if clip is not None else None,
                season=_read_set("season", Season.from_json, value.get("season")),
                calibration=_read_set("calibration", Calibration.from_json, value.get("calibration")),
                errors={
                    name: _read(f"errors.{name}", MetricReference.from_json, item)
                    for name, item in value.get("errors", {}).items()
                },
            )


def _read(field: str, read: Callable[[Mapping[str, Any]], Part], value: Mapping[str, Any]) -> Part:
    with reading(field):
        return read(value)


def _read_set(field: str, read: Callable[[Mapping[str, Any]], Part], value: Any) -> Part | None:
    return _read(field, read, value) if value is not None else None


def _set(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _one_of(value: Any, *allowed: Any) -> Any:
    if value not in allowed:
        raise ProfileError(f"{value!r} is not one of {', '.join(allowed)}")
    return value
