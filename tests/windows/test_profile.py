from typing import Any

import orjson
import pytest

from domain.windows.calibration import Calibration
from domain.windows.profile import FeatureReference, MetricReference, ReferenceProfile
from domain.windows.profile_error import ProfileError
from domain.windows.rows import canonical
from domain.windows.season import Season
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
        ({"kind": "numeric", "counts": (0,) * 3, "means": (1.0, 2.0)}, "means must be 1"),
        ({"kind": "numeric", "edges": (1.0,), "counts": (0,) * 4, "means": (2.0, 1.0)}, "means .* descend"),
        ({"kind": "numeric", "counts": (0,) * 3, "means": (float("inf"),)}, "means must be finite"),
        ({"kind": "numeric", "counts": (0,) * 3, "sd": 0.0}, "sd must be finite and above 0"),
        ({"kind": "categorical", "categories": ("a",), "counts": (0,) * 3, "sd": 1.0}, "means and sd"),
        (
            {"kind": "numeric", "counts": (2, 0, 0), "seasonal": ((1, 0, 0), (0, 0, 0))},
            "seasonal must add up",
        ),
        ({"kind": "numeric", "counts": (2, 0, 0), "seasonal": ((2, 0), (0, 0))}, "seasonal must hold 3"),
        ({"kind": "numeric", "counts": (2, 0, 0), "seasonal": ((3, 0, 0), (-1, 0, 0))}, "seasonal"),
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
        ({"season": {"slots": 2}}, "season: missing field 'period_ms'"),
        ({"season": {"period_ms": 10, "slots": 1}}, "season: slots must be 2 to 168"),
        ({"prediction": {"kind": "numeric", "counts": [1], "phi": 1}}, "prediction: counts must be 3"),
        ({"features": {"f": {"kind": "numeric", "counts": [1], "phi": 1}}}, "features.f: counts"),
        ({"errors": {"abs_error": {"n": 0, "mean": 1, "M2": 0, "phi": 1}}}, "errors.abs_error: n must"),
        ({"errors": {"hit": {"n": 1, "mean": 1, "M2": -1, "phi": 1}}}, "errors.hit: M2 must"),
        ({"calibration": {"x": [0.1], "y": [0.1]}}, "calibration belongs to task probability"),
        ({"task": "probability", "calibration": {"x": [2], "y": [0.1]}}, "calibration: x and y"),
        (
            {
                "season": {"period_ms": 10, "slots": 2},
                "prediction": {"kind": "numeric", "counts": [1, 0, 0], "phi": 1},
            },
            r"prediction\.seasonal must have as many slots as season: 2",
        ),
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


def test_fields_that_came_later_are_absent_while_unset() -> None:
    profile = ReferenceProfile(
        model="m",
        version="1",
        task="regression",
        features={"f": FeatureReference(kind="numeric", edges=(0.0,), counts=(1, 2, 0, 0))},
    )
    # to the byte what was stored before there were such fields
    assert canonical(profile.to_json()) == (
        b'{"effective_from_ms":0,"error_clip":null,"features":{"f":{"counts":[1,2,0,0],"edges":[0.0],'
        b'"kind":"numeric","phi":1.0}},"model":"m","prediction":null,"task":"regression","version":"1"}'
    )


def test_every_field_survives_the_round_trip() -> None:
    number = FeatureReference(
        kind="numeric",
        edges=(0.0,),
        counts=(3, 2, 1, 0),
        phi=1.5,
        means=(-1.0, 2.0),
        sd=1.25,
        seasonal=((1, 2, 0, 0), (2, 0, 1, 0)),
    )
    profile = ReferenceProfile(
        model="m",
        version="1",
        task="probability",
        features={"f": number},
        prediction=number,
        season=Season(period_ms=86_400_000, slots=2),
        calibration=Calibration(x=(0.1, 0.9), y=(0.2, 0.7)),
        errors={"hit": MetricReference(n=5, mean=0.8, M2=0.8, phi=2.0)},
    )
    body = canonical(profile.to_json())
    again = ReferenceProfile.from_json(orjson.loads(body))
    assert again == profile
    assert canonical(again.to_json()) == body
