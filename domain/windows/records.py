"""What the fold reads of a decoded record. The wire decoder's structs satisfy these as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

Feature = float | str | bool | None


class Numbers:
    """Features that are all numbers, of names that were known before they were read."""

    __slots__ = ()
    names: ClassVar[tuple[str, ...]]

    def numbers(self) -> tuple[float, ...]:
        """One for each of `names`; every one a float, and finite."""
        raise NotImplementedError


class PredictionRecord(Protocol):
    """One model's answer to one request; every float is finite."""

    @property
    def prediction_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def experiment(self) -> str | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def served(self) -> bool: ...
    @property
    def prediction(self) -> float | str: ...
    @property
    def features(self) -> Mapping[str, Feature] | Numbers: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def covariate(self) -> float | None: ...
    @property
    def horizon_s(self) -> int: ...


class OutcomeRecord(Protocol):
    """What really happened to one request; every float is finite."""

    @property
    def prediction_id(self) -> str: ...
    @property
    def actual(self) -> float | str: ...
    @property
    def values(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True)
class Invalid:
    """A record that cannot be used.

    `moves_time` is False only for a record whose timestamp is not to be believed: it must not push the
    partition's time forward.
    """

    reason: str
    moves_time: bool = True
