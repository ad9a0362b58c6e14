"""Classics are refused where they could only be silent."""

import pytest

from domain.drift.classic import ERRORS_ONLY, WITHIN_UNIT, ClassicPolicy, Name
from domain.errors import InvalidField
from domain.judgement.policy import JudgementPolicy


@pytest.mark.parametrize("detector", WITHIN_UNIT)
def test_a_detector_of_rates_needs_an_error_metric_that_is_one(detector: Name) -> None:
    document = {"drift": {"error_metric": "squared_error", "classics": [{"detector": detector}]}}
    with pytest.raises(InvalidField, match="between 0 and 1") as refused:
        JudgementPolicy.from_json(document)
    assert (refused.value.owner, refused.value.field) == ("policy.drift", "error_metric")
    assert JudgementPolicy.from_json({"drift": {**document["drift"], "error_metric": "hit"}}).classics


def test_a_detector_of_any_level_takes_any_error_metric() -> None:
    for detector in ("ADWIN", "PageHinkley", "KSWIN", *set(ERRORS_ONLY) - set(WITHIN_UNIT)):
        drift = {"error_metric": "squared_error", "classics": [{"detector": detector}]}
        assert JudgementPolicy.from_json({"drift": drift}).classics == (ClassicPolicy(detector=detector),)
