"""Payloads that were written once and must be readable for ever."""

import json
from pathlib import Path

import pytest

from schemas import Event, decode, encode, event_of

from .examples import FULL

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("event", FULL, ids=lambda event: type(event).__name__)
def test_a_golden_payload_decodes_to_the_event_it_was_made_of(event: Event) -> None:
    assert decode(type(event), golden(type(event).__name__)) == event


@pytest.mark.parametrize("event", FULL, ids=lambda event: type(event).__name__)
def test_the_writer_still_writes_the_golden_bytes(event: Event) -> None:
    assert encode(event) == golden(type(event).__name__).strip()


@pytest.mark.parametrize("event", FULL, ids=lambda event: type(event).__name__)
def test_a_payload_of_required_fields_and_a_later_writers_extra_decodes(event: Event) -> None:
    name = type(event).__name__
    payload = golden(f"{name}.minimal")
    assert "added_later" in json.loads(payload)
    decoded = decode(name, payload)
    assert type(decoded) is type(event)
    assert all(getattr(decoded, field) == getattr(event, field) for field in decoded.model_fields_set)


def test_every_golden_file_belongs_to_an_event() -> None:
    names = {path.name.partition(".")[0] for path in GOLDEN.glob("*.json")}
    assert names == {type(event).__name__ for event in FULL}
    assert all(event_of(name).__name__ == name for name in names)
