"""Events to bytes and back; what is refused, and in which words."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas import InvalidRecord, OutcomeObserved, UnknownTopic, decode, encode

from .examples import AT, FULL, LATER

GOOD: dict[str, Any] = {
    "occurred_at": "2024-01-01T00:00:00Z",
    "prediction_id": "a",
    "model": "m",
    "version": "1",
    "prediction": 1.5,
    "horizon_s": 60,
}


def refusal(payload: bytes, event: str = "PredictionMade") -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        decode(event, payload)
    return caught.value


def refused(**changes: object) -> str:
    error = refusal(json.dumps({**GOOD, **changes}).encode())
    assert str(error) == error.reason
    return error.reason


def test_a_topic_an_event_name_and_a_class_all_say_what_to_decode() -> None:
    value = encode(FULL[1])
    for name in ("OutcomeObserved", "outcomes", "lifecycle.outcomes", "prod.eu.outcomes", OutcomeObserved):
        assert decode(name, value) == FULL[1]
    for name in ("dead-letter", "lifecycle.nothing", ""):
        with pytest.raises(UnknownTopic):
            decode(name, value)


def test_writers_are_strict() -> None:
    with pytest.raises(ValidationError):
        OutcomeObserved(occurred_at=LATER, prediction_id="a", actual=1.0, extra=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        OutcomeObserved(occurred_at=AT.replace(tzinfo=None), prediction_id="a", actual=1.0)
    with pytest.raises(ValidationError):
        OutcomeObserved(occurred_at=AT, prediction_id="a", actual=float("nan"))


def test_readers_ignore_unknown_fields_at_every_depth() -> None:
    for event in FULL:
        document = json.loads(encode(event))
        for node in (document, document.get("metrics"), document.get("production")):
            if isinstance(node, dict) and type(event).__name__ != "RetrainingChanged":
                node["added_later"] = [{"x": 1}]
        assert decode(type(event), json.dumps(document).encode()) == event


@pytest.mark.parametrize(
    "changes,reason",
    [
        ({"prediction_id": "x" * 65}, "prediction_id: String should have at most 64 characters"),
        ({"prediction_id": ""}, "prediction_id: String should have at least 1 character"),
        ({"model": 3}, "model: should be a valid string"),
        ({"model": None}, "model: should be a valid string"),
        ({"epoch": 1.5}, "epoch: should be a valid integer"),
        ({"epoch": -1}, "epoch: should be greater than or equal to 0"),
        ({"served": 1}, "served: should be a valid boolean"),
        ({"horizon_s": 0}, "horizon_s: should be greater than or equal to 1"),
        ({"horizon_s": 10**12}, "horizon_s: should be less than or equal to 31622400"),
        ({"prediction": True}, "prediction: should be a valid number or should be a valid string"),
        ({"prediction": "x" * 257}, "prediction: String should have at most 256 characters"),
        ({"prediction": float("nan")}, "prediction: should be a finite number"),
        ({"covariate": float("inf")}, "covariate: should be a finite number"),
        ({"covariate": "1"}, "covariate: should be a valid number"),
        ({"features": []}, "features: should be"),
        ({"features": {"price": float("-inf")}}, "features.price: should be a finite number"),
        ({"features": {"price": "x" * 257}}, "features.price: String should have at most 256 characters"),
        (
            {"features": {"price": [1]}},
            "features.price: should be a valid number or should be a valid boolean",
        ),
        ({"features": {"": 1}}, "features.: the name is refused: String should have at least 1 character"),
        ({"features": {str(n): n for n in range(513)}}, "features: Dictionary should have at most 512 items"),
        ({"occurred_at": "2024-01-01T00:00:00"}, "occurred_at: should have timezone info"),
        ({"occurred_at": 1704067200}, "occurred_at: should be a valid datetime"),
    ],
)
def test_a_refusal_names_the_field_and_the_limit(changes: dict[str, object], reason: str) -> None:
    assert refused(**changes).startswith(reason)


def test_a_missing_field_and_a_broken_document_are_named() -> None:
    assert refusal(b"{}").reason == "occurred_at: Field required"
    assert refusal(b"{}").field == "occurred_at"
    assert refusal(b"[]").reason == "record: should be an object"
    assert refusal(b"[]").field is None
    assert refusal(b"not json").reason.startswith("record: Invalid JSON: expected ident at line 1")
    assert refusal(b"").reason.startswith("record: Invalid JSON: EOF")
    assert refusal(b'{"model": "\xff"}').reason.startswith("record: Invalid JSON: invalid unicode")
    assert refusal(b'{"x":' * 9_000).reason.startswith("record: Invalid JSON: recursion limit")


def test_a_field_inside_a_part_is_named_by_its_path() -> None:
    document = json.loads(encode(FULL[2]))
    document["metrics"]["features"] = ["price", ""]
    reason = refusal(json.dumps(document).encode(), "DriftDetected").reason
    assert reason == "metrics.features.1: String should have at least 1 character"
    document["severity"] = "SECRET"
    document["metrics"]["features"] = []
    assert (
        refusal(json.dumps(document).encode(), "DriftDetected").reason
        == "severity: should be 'warn' or 'drift'"
    )


def test_a_refusal_is_one_short_line_that_quotes_little_of_the_record() -> None:
    for name in ("x" * 100_000, "\n\x1b[31m" * 50, "\u202e" * 100, "é" * 128):
        reason = refused(features={name: {"deep": ["secret"] * 100}})
        assert len(reason) <= 300
        assert reason.isprintable()
        assert "secret" not in reason
        assert reason.count("x") <= 80
