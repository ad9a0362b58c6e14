"""The training and validation sections of a model's policy, as frozen values; errors name the field."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import InvalidField
from domain.retraining.split import SplitPolicy
from domain.retraining.validation import ValidationPolicy

_FLOAT_TASK = "float"
SAFE_FORMATS = (".json", ".ubj", ".onnx", ".safetensors", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPolicy:
    """How a candidate is made: an external command with files in and out."""

    command: tuple[str, ...]
    """Program and arguments; `{python}` and `{job_dir}` are filled in, no shell is involved."""
    split: SplitPolicy
    params: Mapping[str, object] = field(default_factory=dict)
    """Passed to the command as they are, in job.json."""
    seed: int = 0
    timeout_s: int = 3600
    window_records: int | None = None
    """Records of one reference window, for the profile's overdispersion; None: as in the history."""
    task: str = _FLOAT_TASK
    formats: tuple[str, ...] = SAFE_FORMATS
    """File endings accepted in the model folder; nothing that runs code when it is loaded."""


class _Section:
    """Reads typed fields of one JSON object and remembers which ones were asked for."""

    def __init__(self, name: str, body: object) -> None:
        if not isinstance(body, Mapping):
            raise InvalidField("policy", name, "an object", body)
        self._name = name
        self._body = body
        self._asked: set[str] = set()

    def get(self, key: str, default: object = None) -> object:
        self._asked.add(key)
        return self._body.get(key, default)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"a whole number between {low} and {high}", value)
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        return None if self.get(key) is None else self.integer(key, low, high)

    def number(self, key: str, low: float, high: float, default: float) -> float:
        value = self.get(key, default)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not isinstance(value, int | float) or not usable or not low <= value <= high:
            raise self.wrong(key, f"a number between {low:g} and {high:g}", value)
        return float(value)

    def strings(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        value = self.get(key, default)
        listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        if not listed or not all(isinstance(entry, str) and entry for entry in listed):
            raise self.wrong(key, "a list of at least one string, none empty", value)
        return tuple(listed)

    def finish(self) -> None:
        unknown = sorted(str(key) for key in self._body if key not in self._asked)
        if unknown:
            raise self.wrong(unknown[0], "one of " + ", ".join(sorted(self._asked)), self._body[unknown[0]])

    def wrong(self, key: str, limit: str, value: object) -> InvalidField:
        return InvalidField(self._name, key, limit, value)


def parse_training(body: object) -> TrainingPolicy:
    """The `training` section. Raises InvalidField naming the field."""
    section = _Section("training", body)
    params = section.get("params", {})
    if not isinstance(params, Mapping):
        raise section.wrong("params", "an object", params)
    task = section.get("task", _FLOAT_TASK)
    if task != _FLOAT_TASK:
        raise section.wrong("task", f'"{_FLOAT_TASK}", the only task that is trained here', task)
    policy = TrainingPolicy(
        command=section.strings("command"),
        split=SplitPolicy(
            history_ms=section.integer("history_ms", 1, 10**14),
            holdout_rows=section.integer("holdout_rows", 1, 10**8),
            min_rows=section.integer("min_rows", 1, 10**9),
        ),
        params=dict(params),
        seed=section.integer("seed", 0, 2**31 - 1, 0),
        timeout_s=section.integer("timeout_s", 1, 7 * 86_400, 3600),
        window_records=section.optional_integer("window_records", 1, 10**6),
        formats=section.strings("formats", SAFE_FORMATS),
    )
    section.finish()
    return policy


def parse_validation(body: object) -> ValidationPolicy:
    """The `validation` section; an empty one takes the defaults. Raises InvalidField naming the field."""
    section = _Section("validation", body)
    policy = ValidationPolicy(
        tolerance=section.number("tolerance", -1.0, 100.0, 0.0),
        min_rows=section.integer("min_rows", 1, 10**8, 30),
    )
    section.finish()
    return policy
