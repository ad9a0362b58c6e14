"""Decoding for a fold gives what ordinary decoding gives, in numbers where it can."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.log.decode import Limits, decode_predictions
from consumers.log.numbers import NumbersDecoder
from domain.windows.records import Invalid, Numbers, PredictionRecord
from schemas import LogRecord

NOW = 1_700_000_000_000
LIMITS = Limits(max_horizon_s=3_600)
GOOD: dict[str, Any] = {
    "occurred_at": "2024-01-01T00:00:00Z",
    "prediction_id": "a",
    "model": "m",
    "version": "1",
    "prediction": 1.5,
    "features": {"price": 13.5, "size": -0.0},
    "horizon_s": 60,
}
FIELDS = (
    *("prediction_id", "model", "version", "variant", "experiment", "epoch", "served"),
    *("prediction", "unit", "covariate", "horizon_s"),
)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def stored(value: bytes | None, timestamp_ms: int = NOW) -> LogRecord:
    return LogRecord("t", 0, 0, timestamp_ms, b"a", value, (), NOW)


def plain(made: PredictionRecord | Invalid | None) -> Any:
    """What a fold reads of it, with the types, since 1.0 == True."""
    if made is None or isinstance(made, Invalid):
        return made
    features = made.features
    if isinstance(features, Numbers):
        features = dict(zip(features.names, features.numbers(), strict=True))
    typed = {name: repr(value) for name, value in sorted(features.items())}
    return getattr(made, "occurred_at"), [repr(getattr(made, field)) for field in FIELDS], typed  # noqa: B009


def assert_parity(values: Sequence[bytes | None], decoder: NumbersDecoder | None = None) -> list[bool]:
    """Whether each came as numbers."""
    records, limits = [stored(value) for value in values], LIMITS
    found = (decoder or NumbersDecoder()).decode(records, limits)
    assert [plain(made) for made in found] == [plain(made) for made in decode_predictions(records, limits)]
    return [isinstance(getattr(made, "features", None), Numbers) for made in found]


def test_from_the_second_record_of_a_version_on_features_come_as_numbers() -> None:
    other = GOOD | {"version": "2", "features": {"depth": 1.0}}
    values = [compact(each) for each in (GOOD, GOOD, other, other, GOOD)]
    assert assert_parity(values) == [False, True, False, True, True]


def test_names_are_remembered_from_batch_to_batch() -> None:
    decoder = NumbersDecoder()
    other = GOOD | {"features": {"depth": 1.0}}
    gap = GOOD | {"features": {"price": None, "size": 1.0}}
    assert assert_parity([compact(GOOD)], decoder) == [False]
    assert assert_parity([compact(GOOD), compact(other)], decoder) == [True, False]
    assert assert_parity([compact(other), compact(gap)], decoder) == [True, False]
    assert assert_parity([compact(other), compact(other)], decoder) == [False, True]


def test_any_number_of_versions_is_read() -> None:
    decoder = NumbersDecoder()
    many = [compact(GOOD | {"version": str(number)}) for number in range(200)]
    seen = [assert_parity(many, decoder) for _ in range(20)]
    assert all(seen[-1])
    assert_parity([compact(GOOD | {"version": str(number)}) for number in range(2_000)] * 2, decoder)


ODD = {
    "other names": GOOD | {"features": {"price": 1.0}},
    "one name more": GOOD | {"features": {"price": 1.0, "size": 1.0, "depth": 2.0}},
    "a gap": GOOD | {"features": {"price": None, "size": 1.0}},
    "text": GOOD | {"features": {"price": "x", "size": 1.0}},
    "text with a brace": GOOD | {"features": {"price": "}", "size": 1.0}},
    "a truth value": GOOD | {"features": {"price": True, "size": 1.0}},
    "nested": GOOD | {"features": {"price": {"a": 1.0}, "size": 1.0}},
    "no features": GOOD | {"features": {}},
    "an array": GOOD | {"features": [1.0]},
    "later writer's": GOOD | {"later": {"features": {"price": 1.0, "size": 2.0}}},
    "features of a later field only": {
        **{name: value for name, value in GOOD.items() if name != "features"},
        "later": {"features": {"price": 1.0, "size": 2.0}},
    },
    "too far": GOOD | {"horizon_s": 3_601},
    "no model": GOOD | {"model": ""},
    "escaped": GOOD | {"model": '"features":{'},
    "NUL": GOOD | {"model": "\0"},
}
BYTES = {
    **{name: compact(value) for name, value in ODD.items()},
    "spaces": json.dumps(GOOD).encode(),
    "an unknown field first": b'{"-":"",' + compact(GOOD)[1:],
    "features twice": compact(GOOD)[:-1] + b',"features":{"price":7.0,"size":8.0}}',
    "features twice, first not text": b'{"features":{"a":"\xff"},' + compact(GOOD)[1:],
    "features twice, last a word": compact(GOOD)[:-1] + b',"features":null}',
    "features twice, first deep": b'{"features":' + b"[" * 201 + b"]" * 201 + b"," + compact(GOOD)[1:],
    "features twice, first as deep as allowed": (
        b'{"features":' + b"[" * 190 + b"]" * 190 + b"," + compact(GOOD)[1:]
    ),
    "features twice, first broken": b'{"features":{"a":},' + compact(GOOD)[1:],
    "a name twice": compact(GOOD).replace(b'"price":13.5', b'"price":1.0,"price":2.0'),
    "names in another order": compact(GOOD | {"features": {"size": 1.0, "price": 2.0}}),
    "whole numbers": compact(GOOD | {"features": {"size": 1, "price": 2**70}}),
    "not finite": compact(GOOD).replace(b"13.5", b"1e999"),
    "NaN": compact(GOOD).replace(b"13.5", b"NaN"),
    "no end": compact(GOOD)[: compact(GOOD).index(b"}")],
    "text before": compact(GOOD).replace(b'"features"', b'"x"features"'),
    "digits after": compact(GOOD).replace(b'},"horizon_s"', b'}0,"horizon_s"'),
    "text after": compact(GOOD).replace(b'},"horizon_s"', b'}"","horizon_s"'),
    "a byte that is no text": compact(GOOD).replace(b'"m"', b'"\xff"'),
    "a name that needs escaping": compact(GOOD | {"features": {'"': 1.0, "\n": 2.0}}),
    "letters": json.dumps(
        GOOD | {"features": {"préis": 1.0}}, ensure_ascii=False, separators=(",", ":")
    ).encode(),
    "deep": compact(GOOD)[:-1] + b',"later":' + b'{"a":' * 300 + b"1" + b"}" * 301,
}


@pytest.mark.parametrize("value", BYTES.values(), ids=BYTES.keys())
def test_an_odd_record_is_judged_as_ever_and_spoils_no_other(value: bytes) -> None:
    good = compact(GOOD)
    # it may be the first of its version, too
    assert_parity([value, good, good, value, good])
    assert assert_parity([good, good, value, good, good])[-1]


fragments = st.sampled_from(
    [
        '"features":{',
        '"-":""',
        '"',
        "{",
        "}",
        ",",
        ":",
        "0",
        "e0",
        ".5",
        "\\",
        " ",
        "null",
        '"model":"x"',
        "[",
        "]",
    ]
)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), fragments | st.text(max_size=2)), max_size=4)
)
def test_any_damage_is_judged_as_ever(edits: list[tuple[int, int, str]]) -> None:
    good = compact(GOOD)
    value = good
    for at, removed, text in edits:
        at %= len(value) + 1
        value = value[:at] + text.encode("utf-8", "surrogatepass") + value[at + removed :]
    assert_parity([good, value, good])


def test_a_batch_without_numbers_is_not_tried_for_ever() -> None:
    text = compact(GOOD | {"features": {"side": "buy"}})
    assert not any(assert_parity([text] * 300))
    assert assert_parity([text] * 300 + [compact(GOOD)] * 2) == [False] * 302


def test_heartbeats_and_clocks_that_lie_are_judged_as_ever() -> None:
    good = compact(GOOD)
    records = [stored(good), stored(good), stored(None), stored(good, timestamp_ms=-1), stored(good)]
    found = NumbersDecoder().decode(records, LIMITS)
    assert [plain(made) for made in found] == [plain(made) for made in decode_predictions(records, LIMITS)]
    assert NumbersDecoder().decode([], LIMITS) == []
