"""A remembered profile is the stored one, whatever was asked for before, and memory has an end."""

from collections.abc import Sequence
from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from consumers.services.profiles import profile_of
from consumers.services.remembered import RememberedProfiles
from consumers.store.repositories.profiles import StoredProfile
from tests.services.deployment import profile


def stored(version: str, clip: float) -> StoredProfile:
    body = orjson.dumps(replace(profile(version), error_clip=clip).to_json(), option=orjson.OPT_SORT_KEYS)
    return StoredProfile(model="m", version=version, body=body, digest="", effective_from_ms=0)


ASKED = st.lists(st.tuples(st.sampled_from("123"), st.sampled_from([1.0, 2.0, 30.0])), max_size=30)


@given(ASKED, st.integers(0, 1_000))
def test_whatever_was_asked_before_the_stored_profile_is_returned(
    asked: Sequence[tuple[str, float]], limit: int
) -> None:
    remembered = RememberedProfiles(limit)
    for version, clip in asked:
        one = stored(version, clip)
        assert remembered.of(one) == profile_of(one)
        assert sum(len(stored(each, 1.0).body) for each in "1" * len(remembered)) <= limit + 5 * len(asked)


def test_the_same_bytes_are_parsed_once_and_the_least_wanted_is_forgotten() -> None:
    one, two, three = (stored(version, 1.0) for version in "123")
    remembered = RememberedProfiles(2 * len(one.body))
    first, second = remembered.of(one), remembered.of(two)
    assert remembered.of(stored("1", 1.0)) is first
    remembered.of(three)
    assert len(remembered) == 2
    assert remembered.of(one) is first
    assert remembered.of(two) is not second


def test_a_profile_larger_than_memory_is_still_returned() -> None:
    remembered = RememberedProfiles(10)
    assert remembered.of(stored("1", 1.0)) == profile_of(stored("1", 1.0))
    assert len(remembered) == 0
