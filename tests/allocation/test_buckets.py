"""Buckets never move: golden vectors, and shares that come out right."""

import json
from collections import Counter
from pathlib import Path

import pytest

from domain.allocation.buckets import BUCKETS, bucket_of

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['salt']}-{vector['identity']}"[:40])
def test_a_bucket_is_the_same_as_on_the_day_it_was_written_down(vector: dict[str, str | int]) -> None:
    assert bucket_of(str(vector["salt"]), str(vector["identity"])) == vector["bucket"]


def test_a_thousandth_of_many_identities_lands_in_a_thousandth_of_the_buckets() -> None:
    drawn = Counter(bucket_of("even", f"request-{number}") * 10 // BUCKETS for number in range(20_000))
    # binomial sd of a tenth of 20,000 is 42: four of them
    assert all(abs(count - 2_000) < 170 for count in drawn.values())


def test_another_salt_is_another_shuffle() -> None:
    same = sum(bucket_of("a", f"u{n}") // 5_000 == bucket_of("b", f"u{n}") // 5_000 for n in range(4_000))
    assert abs(same - 2_000) < 130


def test_salt_and_identity_do_not_run_into_each_other() -> None:
    assert bucket_of("ab", "c") != bucket_of("a", "bc")
