"""Policies are written by people: a wrong field is named with its limit."""

import pytest

from domain.errors import InvalidField
from domain.retraining.policy import SAFE_FORMATS, parse_training, parse_validation
from domain.retraining.validation import ValidationPolicy

TRAINING = {"command": ["{python}", "train.py"], "history_ms": 1000, "min_rows": 10, "holdout_rows": 5}


def test_a_short_section_takes_the_defaults() -> None:
    policy = parse_training(TRAINING)
    assert policy.command == ("{python}", "train.py")
    assert (policy.split.history_ms, policy.split.min_rows, policy.split.holdout_rows) == (1000, 10, 5)
    assert (policy.seed, policy.timeout_s, policy.formats, policy.params) == (0, 3600, SAFE_FORMATS, {})
    assert parse_validation({}) == ValidationPolicy(tolerance=0.0, min_rows=30)


def test_no_format_that_runs_code_is_accepted_unless_it_is_asked_for() -> None:
    assert not {".pkl", ".pickle", ".joblib", ".pt", ".py"} & set(SAFE_FORMATS)


@pytest.mark.parametrize(
    "field,value",
    [
        ("command", "python train.py"),
        ("command", []),
        ("command", ["python", 3]),
        ("history_ms", 0),
        ("history_ms", True),
        ("history_ms", "1000"),
        ("min_rows", -1),
        ("holdout_rows", None),
        ("holdout_rows", 1.5),
        ("params", []),
        ("seed", 2**31),
        ("timeout_s", 0),
        ("task", "label"),
        ("formats", [""]),
        ("comand", ["x"]),
    ],
)
def test_a_wrong_training_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidField, match=rf"training\.{field} must be") as caught:
        parse_training({**TRAINING, field: value})
    assert (caught.value.owner, caught.value.field) == ("training", field)


@pytest.mark.parametrize("field", ["command", "history_ms", "min_rows", "holdout_rows"])
def test_a_missing_training_field_is_named(field: str) -> None:
    with pytest.raises(InvalidField, match=rf"training\.{field}"):
        parse_training({key: value for key, value in TRAINING.items() if key != field})


@pytest.mark.parametrize(
    "body,field",
    [
        ({"tolerance": float("nan")}, "tolerance"),
        ({"min_rows": 0}, "min_rows"),
        ({"tolerence": 0.1}, "tolerence"),
    ],
)
def test_a_wrong_validation_field_is_named(body: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField, match=rf"validation\.{field}"):
        parse_validation(body)


def test_a_section_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidField, match=r"policy\.training must be an object"):
        parse_training(["command"])
