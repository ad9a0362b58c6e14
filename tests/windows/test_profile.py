from typing import Any

import orjson
import pytest

from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.profile_error import ProfileError
from domain.windows.rows import canonical
from tests.windows.logs import PROFILES


@pytest.mark.parametrize(
    "profile", PROFILES.values(), ids=lambda profile: f"{profile.model} {profile.version}"
)
def test_json_round_trip_through_bytes(profile: ReferenceProfile) -> None:
    body = canonical(profile.to_json())
    again = ReferenceProfile.from_json(orjson.loads(body))
    assert again == profile
    assert canonical(again.to_json()) == body


def test_a_profile_is_in_force_from_its_window_on() -> None:
    profile = ReferenceProfile(model="m", version="1", task="regression", effective_from_ms=1_000)
    assert [profile.in_force(start) for start in (999, 1_000, 1_001)] == [False, True, True]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"kind": "numeric", "edges": (1.0, 1.0), "counts": (0,) * 5}, "edges"),
        ({"kind": "numeric", "edges": (2.0, 1.0), "counts": (0,) * 5}, "edges"),
        ({"kind": "numeric", "edges": (float("inf"),), "counts": (0,) * 4}, "edges"),
        ({"kind": "numeric", "categories": ("a",), "counts": (0,) * 3}, "categories"),
        ({"kind": "categorical", "edges": (1.0,), "counts": (0,) * 3}, "edges"),
        ({"kind": "categorical", "categories": ("a", "a"), "counts": (0,) * 4}, "categories"),
        ({"kind": "numeric", "edges": (1.0,), "counts": (0,) * 3}, "counts"),
        ({"kind": "numeric", "edges": (1.0,), "counts": (0, -1, 0, 0)}, "counts"),
        ({"kind": "numeric", "counts": (0,) * 3, "phi": 0.5}, "phi"),
        ({"kind": "numeric", "counts": (0,) * 3, "phi": float("nan")}, "phi"),
    ],
)
def test_a_reference_that_breaks_a_rule_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        FeatureReference(**fields)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"task": "poetry"}, "poetry"),
        ({"error_clip": 0.0}, "error_clip"),
        ({"features": {"f": {"kind": "numeric"}}}, "counts"),
        ({"features": {"f": {"kind": "round", "counts": [], "phi": 1}}}, "round"),
        ({"features": []}, "items"),
        ({"effective_from_ms": "soon"}, "soon"),
    ],
)
def test_a_malformed_profile_is_refused_with_a_reason(change: dict[str, Any], message: str) -> None:
    good = ReferenceProfile(model="m", version="1", task="regression").to_json()
    with pytest.raises(ProfileError, match=message):
        ReferenceProfile.from_json({**good, **change})


def test_a_missing_field_is_named() -> None:
    good = ReferenceProfile(model="m", version="1", task="regression").to_json()
    del good["version"]
    with pytest.raises(ProfileError, match="version"):
        ReferenceProfile.from_json(good)


def test_unknown_fields_are_ignored() -> None:
    profile = ReferenceProfile(model="m", version="1", task="regression")
    assert ReferenceProfile.from_json({**profile.to_json(), "colour": "red"}) == profile
