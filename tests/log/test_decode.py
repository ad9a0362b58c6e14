"""Hot decoding gives what the contract gives, for every record whatever its bytes."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.log.decode import Limits, Outcome, Prediction, decode_outcomes, decode_predictions
from domain.windows.records import Invalid
from schemas import Event, InvalidRecord, LogRecord, OutcomeObserved, PredictionMade, decode, encode, from_ms
from schemas.events import MAX_HORIZON_S

NOW = 1_700_000_000_000
LIMITS = Limits(max_horizon_s=MAX_HORIZON_S)
GOOD: dict[str, Any] = {
    "occurred_at": "2024-01-01T00:00:00Z",
    "prediction_id": "a",
    "model": "m",
    "version": "1",
    "prediction": 1.5,
    "features": {"price": 13.5},
    "horizon_s": 60,
}
GOOD_OUTCOME: dict[str, Any] = {
    "occurred_at": "2024-01-01T00:00:00Z",
    "prediction_id": "a",
    "actual": 1.5,
    "values": {"pnl": 1.0},
}


def stored(value: bytes | None, *, timestamp_ms: int = NOW) -> LogRecord:
    return LogRecord("t", 0, 0, timestamp_ms, b"a", value, (), NOW)


def prediction(value: bytes, limits: Limits = LIMITS) -> object:
    (found,) = decode_predictions([stored(value)], limits)
    return found


def outcome(value: bytes) -> object:
    (found,) = decode_outcomes([stored(value)], LIMITS)
    return found


def by_contract(event: type[Event], value: bytes) -> Event | InvalidRecord:
    try:
        return decode(event, value)
    except InvalidRecord as error:
        return error


def typed(value: object) -> object:
    """A value with the types in it, since 1.0 == True."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    return type(value), value


def assert_parity(found: object, event: type[Event], value: bytes) -> None:
    expected = by_contract(event, value)
    if isinstance(expected, InvalidRecord):
        assert found == Invalid(expected.reason, True)
        assert expected.field is None or expected.reason.startswith(f"{expected.field}: ")
        assert len(expected.reason) <= 300
        assert expected.reason.isprintable()
        return
    twin = Prediction if event is PredictionMade else Outcome
    assert type(found) is twin
    for name in twin.__struct_fields__:
        ours, theirs = getattr(found, name), getattr(expected, name)
        if name == "occurred_at":
            # beyond microseconds one rounds and the other cuts
            assert abs(ours - theirs) <= timedelta(microseconds=1)
        else:
            assert typed(ours) == typed(theirs)


def check_both(value: bytes) -> None:
    assert_parity(prediction(value), PredictionMade, value)
    assert_parity(outcome(value), OutcomeObserved, value)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=128)
labels = st.text(max_size=256)
finite = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(timezones=st.timezones())
predictions = st.builds(
    PredictionMade,
    occurred_at=moments,
    prediction_id=st.text(min_size=1, max_size=64),
    model=names,
    version=names,
    variant=st.none() | names,
    experiment=st.none() | names,
    epoch=st.integers(0, 2**31 - 1),
    served=st.booleans(),
    prediction=finite | labels,
    features=st.dictionaries(names, finite | st.booleans() | labels | st.none(), max_size=6),
    unit=st.none() | names,
    covariate=st.none() | finite,
    horizon_s=st.integers(1, MAX_HORIZON_S),
)
outcomes = st.builds(
    OutcomeObserved,
    occurred_at=moments,
    prediction_id=st.text(min_size=1, max_size=64),
    actual=finite | labels,
    values=st.dictionaries(names, finite, max_size=4),
)
RAW = [
    *[
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "-0",
        "-0.0",
        "01",
        "1.",
        ".5",
        "+1",
        "0x1",
    ],
    *["9007199254740993", "18446744073709551616", "-9223372036854775809", "1" + "0" * 30, "9" * 400],
    *["1.0", "1e2", "60.0", "6e1", "true", "null", "[]", "{}", "[[[[1]]]]", '{"a": {"a": {}}}', "[" * 500],
    *['""', '"1"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"a\nb"', '"\\q"', '"\ud7ff"', '"'],
    *['"2024-01-01 00:00:00Z"', '"2024-01-01T00:00:00+24:00"', '"2024-01-01T00:00:00"', '"1704067200"'],
    *['"2024-01-01T24:00:00Z"', '"2024-01-01T00:00:00.1234567Z"', '"2024-01-01T00:00:60Z"', '"2024-01-01"'],
    *['"2024-01-01T00:00Z"', '"9999-12-31T23:59:59-23:59"', '"2024-02-30T00:00:00Z"', "1704067200", "1.5"],
]
# the contract's limits and what is just beyond them
RAW += [json.dumps("é" * length) for length in (64, 65, 128, 129, 256, 257)]
RAW += ["-1", "0", "1", "2147483647", "2147483648", "31622400", "31622401"]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=140), inner, max_size=3),
)
fragments = st.sampled_from(RAW) | anything.map(json.dumps)
FIELDS = [*PredictionMade.model_fields, "actual", "values", "later"]


def document(fields: Sequence[tuple[str, str]]) -> bytes:
    """A JSON object from raw texts; names may repeat."""
    return ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in fields) + "}").encode()


def good(base: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value)) for name, value in base.items()]


@given(predictions)
def test_a_written_prediction_takes_the_fast_way_with_equal_values(event: PredictionMade) -> None:
    value = encode(event)
    assert type(prediction(value)) is Prediction
    assert_parity(prediction(value), PredictionMade, value)


@given(outcomes)
def test_a_written_outcome_takes_the_fast_way_with_equal_values(event: OutcomeObserved) -> None:
    value = encode(event)
    assert type(outcome(value)) is Outcome
    assert_parity(outcome(value), OutcomeObserved, value)


@given(
    st.sampled_from([GOOD, GOOD_OUTCOME]), st.lists(st.tuples(st.sampled_from(FIELDS), fragments), max_size=3)
)
def test_any_fields_added_or_repeated_are_judged_as_the_contract_does(
    base: dict[str, Any], extra: list[tuple[str, str]]
) -> None:
    check_both(document([*good(base), *extra]))
    check_both(document([*extra, *good(base)]))


@given(
    st.sampled_from(["features", "values"]), st.lists(st.tuples(st.text(max_size=130), fragments), max_size=3)
)
def test_any_feature_or_value_is_judged_as_the_contract_does(
    field: str, inner: list[tuple[str, str]]
) -> None:
    base = {**GOOD, **GOOD_OUTCOME}
    names = PredictionMade.model_fields if field == "features" else OutcomeObserved.model_fields
    rest = [(name, text) for name, text in good(base) if name in names and name != field]
    check_both(document([*rest, (field, document(inner).decode())]))


@given(predictions, st.data())
def test_any_damaged_bytes_are_judged_as_the_contract_does(
    event: PredictionMade, data: st.DataObject
) -> None:
    value = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    check_both(bytes(value))
    check_both(bytes(value[: data.draw(st.integers(1, len(value)))]))


@given(st.binary(min_size=1, max_size=50))
def test_any_bytes_are_judged_as_the_contract_does(value: bytes) -> None:
    check_both(value)


@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize("field", [*PredictionMade.model_fields, "later"])
def test_every_odd_text_in_every_field_is_judged_as_the_contract_does(field: str, raw: str) -> None:
    rest = [(name, text) for name, text in good(GOOD) if name != field]
    check_both(document([*rest, (field, raw)]))
    check_both(document([*good(GOOD), ("features", document([("odd", raw)]).decode())]))


@pytest.mark.parametrize(
    "changes,reason",
    [
        ({"prediction_id": "x" * 65}, "prediction_id: String should have at most 64 characters"),
        (
            {"features": {str(n): 1.0 for n in range(10_000)}},
            "features: Dictionary should have at most 512 items",
        ),
        ({"features": {"price": float("nan")}}, "features.price: should be a finite number"),
        ({"prediction": [1]}, "prediction: should be a valid number or should be a valid string"),
        ({"horizon_s": 0}, "horizon_s: should be greater than or equal to 1"),
        ({"model": 7}, "model: should be a valid string"),
    ],
)
def test_a_refused_record_names_field_and_limit(changes: dict[str, Any], reason: str) -> None:
    found = prediction(json.dumps({**GOOD, **changes}).encode())
    assert isinstance(found, Invalid)
    assert found.reason.startswith(reason)
    assert found.moves_time


@pytest.mark.parametrize("count", [64, 65, 512, 513])
def test_the_number_of_features_and_values_is_judged_as_the_contract_does(count: int) -> None:
    many = {str(number): 1.0 for number in range(count)}
    check_both(json.dumps({**GOOD, "features": many}).encode())
    check_both(json.dumps({**GOOD_OUTCOME, "values": many}).encode())


@pytest.mark.parametrize("length", [0, 1, 128, 129])
def test_the_length_of_a_name_is_judged_as_the_contract_does(length: int) -> None:
    check_both(json.dumps({**GOOD, "features": {"n" * length: 1.0}}).encode())
    check_both(json.dumps({**GOOD_OUTCOME, "values": {"n" * length: 1.0}}).encode())


def test_text_that_is_not_utf_8_is_refused_even_in_an_unknown_field() -> None:
    value = json.dumps({**GOOD, "later": "@"}).encode().replace(b"@", b"\xff")
    check_both(value)
    assert isinstance(prediction(value), Invalid)


def test_limits_of_exactly_the_contract_pass() -> None:
    widest = {
        **GOOD,
        "prediction_id": "é" * 64,
        "model": "m" * 128,
        "features": {str(number): "x" * 256 for number in range(512)},
        "epoch": 2**31 - 1,
        "horizon_s": MAX_HORIZON_S,
    }
    assert isinstance(prediction(json.dumps(widest).encode()), Prediction)


def test_a_horizon_above_the_deployments_limit_is_invalid() -> None:
    value = json.dumps({**GOOD, "horizon_s": 61}).encode()
    assert prediction(value, Limits(max_horizon_s=60)) == Invalid(
        "horizon_s: 61 is above the limit of 60", True
    )
    assert isinstance(prediction(value, Limits(max_horizon_s=61)), Prediction)


def test_a_record_of_ten_megabytes_is_refused_unparsed() -> None:
    value = json.dumps({**GOOD, "model": "x" * 10_000_000}).encode()
    reason = f"record: {len(value)} bytes are above the limit of 1048576"
    assert prediction(value) == Invalid(reason, True)
    exact = Limits(max_bytes=len(json.dumps(GOOD)))
    assert isinstance(prediction(json.dumps(GOOD).encode(), exact), Prediction)


def test_a_later_writers_record_is_read_by_the_contract() -> None:
    value = json.dumps({**GOOD, "later": {"deep": [1]}}).encode()
    assert prediction(value) == prediction(json.dumps(GOOD).encode())


def test_an_empty_value_is_a_heartbeat() -> None:
    beats = [stored(b""), stored(None)]
    assert list(decode_predictions(beats, LIMITS)) == [None, None]
    assert list(decode_outcomes(beats, LIMITS)) == [None, None]


@pytest.mark.parametrize("value", [json.dumps(GOOD).encode(), b"", None, b"broken"])
def test_a_clock_that_lies_makes_any_record_invalid_and_moves_no_time(value: bytes | None) -> None:
    late = stored(value, timestamp_ms=NOW + 60_001)
    before = stored(value, timestamp_ms=-1)
    found = list(decode_predictions([late, before], LIMITS))
    assert found == list(decode_outcomes([late, before], LIMITS))
    assert found == [
        Invalid(f"timestamp: {NOW + 60_001} ms is later than the latest accepted, {NOW + 60_000} ms", False),
        Invalid("timestamp: -1 ms is before the epoch", False),
    ]


def test_a_clock_at_the_limit_is_believed() -> None:
    edges = [stored(b"", timestamp_ms=NOW + 60_000), stored(b"", timestamp_ms=0)]
    assert list(decode_predictions(edges, LIMITS)) == [None, None]


def test_one_bad_record_spoils_no_other() -> None:
    value = json.dumps(GOOD).encode()
    found = decode_predictions([stored(value), stored(b"{"), stored(b""), stored(value)], LIMITS)
    assert [type(one) for one in found] == [Prediction, Invalid, type(None), Prediction]


ODD = {
    "good": stored(json.dumps(GOOD).encode()),
    "later writer's": stored(json.dumps(GOOD | {"new": 1}).encode()),
    "invalid": stored(b"{}"),
    "not JSON": stored(b"\xff"),
    "heartbeat": stored(None),
    "empty": stored(b""),
    "too large": stored(b" " * (LIMITS.max_bytes + 1)),
    "escaped": stored(json.dumps(GOOD | {"prediction": '"'}).encode()),
    "NUL": stored(json.dumps(GOOD | {"model": "\0"}).encode()),
    "before the epoch": stored(b"{}", timestamp_ms=-1),
    "of the future": stored(b"{}", timestamp_ms=NOW + LIMITS.future_ms + 1),
}


SOUND = ["good", "later writer's", "invalid", "not JSON", "escaped"]
"""Of these a whole batch takes the quick way."""


@given(st.lists(st.sampled_from(SOUND), max_size=6) | st.lists(st.sampled_from(sorted(ODD)), max_size=6))
def test_each_record_of_a_batch_is_judged_as_it_would_be_alone(names: list[str]) -> None:
    records = [ODD[name] for name in names]
    alone = [found for record in records for found in decode_predictions([record], LIMITS)]
    assert decode_predictions(records, LIMITS) == alone


def test_the_twins_have_the_fields_and_defaults_of_the_contract() -> None:
    for twin, event in ((Prediction, PredictionMade), (Outcome, OutcomeObserved)):
        assert set(twin.__struct_fields__) == event.model_fields.keys()
    least = {name: GOOD[name] for name in GOOD if name != "features"}
    value = json.dumps(least).encode()
    assert_parity(prediction(value), PredictionMade, value)
    assert from_ms(1_704_067_200_000) == getattr(prediction(value), "occurred_at")  # noqa: B009


@pytest.mark.parametrize("field", ["model", "version", "variant", "experiment", "unit"])
def test_a_name_with_a_nul_is_invalid_and_a_label_with_one_is_not(field: str) -> None:
    """A database refuses NUL in text: such a record would stop its partition for ever."""
    found = prediction(json.dumps(GOOD | {field: "a\x00b"}).encode())
    assert isinstance(found, Invalid)
    assert found.reason.startswith(field)
    assert isinstance(prediction(json.dumps(GOOD | {"prediction": "a\x00b"}).encode()), Prediction)
