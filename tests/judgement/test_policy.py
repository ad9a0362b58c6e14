"""A drift policy names what is wrong by where it stands, and keeps the hashes of documents of before."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from domain.drift.adwin import AdwinPolicy
from domain.drift.classic import ClassicPolicy
from domain.drift.esr import EsrPolicy
from domain.drift.estimate import EstimatePolicy
from domain.drift.promise import PromisePolicy
from domain.errors import InvalidField
from domain.judgement.policy import JudgementPolicy

EVERY = JudgementPolicy(
    feature_scores=EsrPolicy(delta=0.1),
    prediction_scores=EsrPolicy(),
    prediction_level=AdwinPolicy(delta=0.01),
    promise=PromisePolicy(metric="hit", baseline=0.9, tolerance=0.02),
    estimate=EstimatePolicy(tolerance=0.02),
    classics=(
        ClassicPolicy(detector="PageHinkley", stream="feature:x", params={"threshold": 5.0}),
        ClassicPolicy(detector="DDM"),
    ),
)


def test_the_default_policy_has_the_hash_that_it_had_before_there_were_more_detectors() -> None:
    assert JudgementPolicy().hash() == "b2718abb85a06f3ece31dd5501df6514abae300a9e8aed259e529cf47c98fdf5"
    assert set(JudgementPolicy().to_json()["drift"]) == {
        "features",
        "predictions",
        "errors",
        "error_metric",
        "episodes",
    }


def test_a_policy_survives_json() -> None:
    document = orjson.loads(orjson.dumps(EVERY.to_json()))
    assert JudgementPolicy.from_json(document) == EVERY
    assert JudgementPolicy.from_json(document).hash() == EVERY.hash()


@pytest.mark.parametrize(
    "changed",
    [
        replace(EVERY, feature_scores=None),
        replace(EVERY, prediction_level=None),
        replace(EVERY, classics=EVERY.classics[:1]),
        replace(EVERY, promise=PromisePolicy(metric="hit", baseline=0.91, tolerance=0.02)),
    ],
)
def test_every_part_counts_for_the_detectors_hash(changed: JudgementPolicy) -> None:
    assert changed.detectors_hash() != EVERY.detectors_hash()


@pytest.mark.parametrize(
    ("drift", "named"),
    [
        ({"feature_scores": {"delta": -1}}, r"policy\.drift\.feature_scores\.delta must be >= 0"),
        ({"prediction_scores": {"sizes": [2, 1]}}, r"policy\.drift\.prediction_scores\.sizes"),
        ({"prediction_level": {"delta": 2}}, r"policy\.drift\.prediction_level\.delta must be > 0 and < 1"),
        ({"errors": {"delta": 2}}, r"policy\.drift\.errors\.delta must be > 0 and < 1"),
        ({"predictions": {"levels": 0}}, r"policy\.drift\.predictions\.levels must be 1 to 20"),
        ({"promise": {"metric": "hit"}}, r"policy\.drift\.promise\.tolerance must be given"),
        ({"promise": {"metric": "log_loss", "tolerance": 0.1}}, r"policy\.drift\.promise\.metric"),
        (
            {"estimate": {"figure": "auc", "tolerance": 0.1}},
            r"policy\.drift\.estimate\.figure must be one of",
        ),
        ({"estimate": True}, r"policy\.drift\.estimate must be an object"),
        ({"episodes": {"cooldown_windows": -1}}, r"policy\.drift\.episodes\.cooldown_windows must be >= 0"),
        ({"classics": {}}, r"policy\.drift\.classics must be a list of objects"),
        ({"classics": [{}]}, r"policy\.drift\.classics\[0\]\.detector must be given"),
        (
            {"classics": [{"detector": "DDM"}, {"detector": "HDDM", "stream": "errors"}]},
            r"policy\.drift\.classics\[1\]\.detector must be one of ADWIN",
        ),
        (
            {"classics": [{"detector": "DDM"}, {"detector": "DDM"}]},
            r"policy\.drift\.classics\[1\] must be another",
        ),
        ({"classics": [{"detector": "DDM", "seed": n} for n in range(33)]}, r"classics must be at most 32"),
        ({"error_scores": {}}, r"policy\.drift\.error_scores must be one of features, predictions"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(drift: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidField, match=named):
        JudgementPolicy.from_json({"drift": drift})


def test_null_switches_a_later_part_off_as_if_it_was_absent() -> None:
    assert (
        JudgementPolicy.from_json({"drift": {"promise": None, "feature_scores": None}}) == JudgementPolicy()
    )
