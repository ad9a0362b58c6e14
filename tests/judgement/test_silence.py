"""A detector that is on and can say nothing is named with its reason, and none that speaks is."""

from dataclasses import replace

import pytest

from domain.drift.classic import ClassicPolicy
from domain.drift.promise import PromisePolicy
from domain.drift.rollup import RollUpPolicy
from domain.errors import InvalidField
from domain.judgement.policy import JudgementPolicy
from domain.judgement.silence import check_streams, silent
from domain.windows.calibration import Calibration
from domain.windows.profile import FeatureReference, MetricReference, ReferenceProfile
from tests.judgement.rows import profile
from tests.judgement.test_policy import EVERY

NUMERIC = FeatureReference(kind="numeric", edges=(0.0,), counts=(5, 5, 0, 0), means=(-1.0, 1.0), sd=1.0)
SIDE = FeatureReference(kind="categorical", categories=("buy",), counts=(9, 0, 0))
FULL = replace(
    profile(),
    task="probability",
    error_clip=None,
    features={"x": NUMERIC, "side": SIDE},
    prediction=NUMERIC,
    calibration=Calibration(x=(0.0, 1.0), y=(0.0, 1.0)),
    errors={"hit": MetricReference(n=100, mean=0.9, M2=9.0)},
)
HITS = replace(EVERY, error_metric="hit")


def why(policy: JudgementPolicy, reference: ReferenceProfile | None) -> dict[str, str]:
    return {each.detector: each.why for each in silent(policy, reference)}


def test_a_complete_profile_leaves_none_silent() -> None:
    assert why(HITS, FULL) == {}


def test_without_a_profile_only_the_errors_and_what_was_promised_speak() -> None:
    found = why(HITS, None)
    assert set(found) == {
        "features",
        "feature_scores",
        "predictions",
        "prediction_scores",
        "prediction_level",
        "estimate",
        "classics[0]",
    }


@pytest.mark.parametrize(
    ("policy", "reference", "expected"),
    [
        (
            replace(HITS, promise=PromisePolicy(metric="hit", tolerance=0.1)),
            replace(FULL, errors={}),
            {"promise": "no baseline", "estimate": "no baseline"},
        ),
        (HITS, replace(FULL, calibration=None), {"estimate": "the reference profile has no calibration"}),
        (
            HITS,
            replace(FULL, features={"x": replace(NUMERIC, means=(), sd=None)}),
            {"classics[0]": "PageHinkley: the reference profile does not hold the bin means of x"},
        ),
        (
            HITS,
            replace(FULL, features={"y": NUMERIC}),
            {"classics[0]": "PageHinkley: not in the reference profile: x"},
        ),
        (
            replace(HITS, features=RollUpPolicy(features=("x", "z"))),
            FULL,
            {"features": "not in the reference"},
        ),
        (
            replace(EVERY, promise=None),
            FULL,
            {
                "errors": "the reference profile has no error_clip",
                "classics[1]": "DDM: the reference profile has no error_clip",
            },
        ),
        (
            replace(HITS, error_metric="abs_error", classics=()),
            FULL,
            {"errors": "abs_error is not measured of task probability"},
        ),
        (
            replace(HITS, promise=PromisePolicy(metric="hit", tolerance=0.1)),
            # three standard errors of four items reach further than any rate
            replace(FULL, errors={"hit": MetricReference(n=4, mean=0.25, M2=0.75)}),
            {"promise": "nothing can be worse", "estimate": "nothing can be worse"},
        ),
        (replace(HITS, error_metric="value.pnl"), FULL, {}),
        (
            HITS,
            replace(FULL, prediction=SIDE),
            {"prediction_level": "the prediction is no number"},
        ),
    ],
)
def test_the_reason_is_said(
    policy: JudgementPolicy, reference: ReferenceProfile, expected: dict[str, str]
) -> None:
    found = why(policy, reference)
    assert set(found) == set(expected)
    assert all(found[name].startswith(reason) for name, reason in expected.items())


def test_a_classic_on_a_feature_that_is_no_number_is_refused_by_name() -> None:
    policy = replace(
        HITS, classics=(ClassicPolicy(detector="DDM"), ClassicPolicy(detector="ADWIN", stream="feature:side"))
    )
    with pytest.raises(InvalidField, match=r"policy\.drift\.classics\[1\]\.stream must be a numeric feature"):
        check_streams(policy, FULL)
    check_streams(HITS, FULL)
    check_streams(HITS, replace(FULL, features={}))
